"""The teacher: a linear classifier on the middle of the network, at a finer scale than the network itself works at.

With a few benign patients, the more a feature knows about ImageNet's objects, the more of it a classifier can bend to
the slides at hand. Texture half-way up the network, averaged over a picture seen larger, carries over to new patients
better than the last layer does; but it is no place to explain a verdict from. So it teaches: the network's head begins
as a ridge regression of the teacher's logits on the network's own features, and is fine-tuned towards its answers
(knowledge distillation, Hinton, Vinyals and Dean 2015).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from dala.nets.runtime import network_input


def middle_features(
    trunk: nn.Module, pixels: NDArray[np.uint8], side: int, path: Path, device: torch.device
) -> NDArray[np.float32]:
    """Compute, or find at `path`, the trunk's output without its last stage, averaged over the picture.

    Of a ResNet50 (stem to layer3) that is layer2's output, (N, 512) float32. pixels: (N, H, W, 3) uint8.
    """
    if path.is_file():
        found: NDArray[np.float32] = np.load(path)
        return found
    middle = nn.Sequential(*list(trunk.children())[:-1]).eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    parts = []
    with torch.no_grad():
        for start in tqdm(range(0, len(pixels), 16), desc="what the teacher sees", unit="batch"):
            x = network_input(torch.from_numpy(pixels[start : start + 16]), side).to(device)
            with torch.autocast(device.type, torch.bfloat16):
                parts.append(middle(x).float().mean((2, 3)).cpu())
    features = torch.cat(parts).numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.stem}.partial.npy")
    np.save(partial, features)
    partial.replace(path)
    return features
