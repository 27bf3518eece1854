"""The teacher: a linear classifier on the middle of the network, at a finer scale than the network itself works at.

With a few benign patients, the more a feature knows about ImageNet's objects, the more of it a classifier can bend to
the slides at hand. Texture half-way up the network, averaged over an image seen larger, carries over to new patients
better than the last layer does; but it is no place to explain a verdict from. So it teaches: the network's head begins
as a ridge regression of the teacher's logits on the network's own features, and is fine-tuned towards its answers
(knowledge distillation, Hinton, Vinyals and Dean 2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from dala.data.pixels import Images
from dala.preprocess.views import network_input

CHUNK = 16


def middle_features(
    trunk: nn.Module, stages: Sequence[str], images: Images, side: int, path: Path, device: torch.device
) -> NDArray[np.float32]:
    """Compute, or find at `path`, the outputs of these stages of the trunk, averaged over the image, side by side.

    Of a ResNet50's layer2 that is (N, 512) float32, of layer3 (N, 1024).
    """
    if path.is_file():
        found: NDArray[np.float32] = np.load(path)
        return found
    trunk = trunk.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    rows = []
    with torch.no_grad():
        for start in tqdm(range(0, len(images), CHUNK), desc="what the teacher sees", unit="batch"):
            x = network_input(images[start : start + CHUNK], side).to(device)
            means = []
            with torch.autocast(device.type, torch.bfloat16):
                for name, stage in trunk.named_children():
                    x = stage(x)
                    if name in stages:
                        means.append(x.float().mean((2, 3)).cpu())
                    if len(means) == len(stages):
                        break
            rows.append(torch.cat(means, 1))
    features = torch.cat(rows).numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.stem}.partial.npy")
    np.save(partial, features)
    partial.replace(path)
    return features
