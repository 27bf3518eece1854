"""What pip needs to take PyTorch without CUDA where that is of use: `pip install $(python install/torch_index.py) ...`.

PyPI's PyTorch for Linux brings CUDA, 4 GB that a machine without an NVIDIA GPU never uses. PyTorch's own index has a
build for the processor alone. Its address is printed as an option if there is no such GPU and the index answers within
three seconds; otherwise nothing is printed, and pip takes PyPI's. What was decided, and why, goes to standard error.
`TORCH_INDEX` names another index, such as a mirror in a hospital; empty, it asks none.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import urllib.request
from pathlib import Path

INDEX = "https://download.pytorch.org/whl/cpu"
PATIENCE = 3.0  # seconds, with the look-up of its name
SIGNS = ("/proc/driver/nvidia/version", "/dev/nvidia0", "/dev/dxg")  # the last: Windows lends its GPU to its Linux


def has_gpu(signs: tuple[str, ...] = SIGNS) -> bool:
    """Whether the driver of an NVIDIA GPU is there."""
    return shutil.which("nvidia-smi") is not None or any(Path(sign).exists() for sign in signs)


def answers(index: str, patience: float = PATIENCE) -> bool:
    """Whether the index lists torch, within so many seconds whatever it does."""
    heard: list[bool] = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(f"{index.rstrip('/')}/torch/", timeout=patience) as answer:
                heard.append(answer.status == 200 and b"torch" in answer.read(2**20))
        except (OSError, ValueError):
            heard.append(False)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(patience)
    return heard == [True]


def options(index: str, system: str = sys.platform, gpu: bool | None = None) -> tuple[list[str], str]:
    """The options for pip, and a sentence on why."""
    if system != "linux":
        return [], "PyTorch from PyPI, which has no CUDA for this system."
    if has_gpu() if gpu is None else gpu:
        return [], "PyTorch from PyPI, with CUDA: there is an NVIDIA GPU."
    if not index:
        return [], "PyTorch from PyPI, with CUDA: TORCH_INDEX is empty."
    if not answers(index):
        return [], f"PyTorch from PyPI, with CUDA that is not used here: {index} does not answer."
    return ["--extra-index-url", index], f"PyTorch without CUDA, from {index}: there is no NVIDIA GPU."


if __name__ == "__main__":
    found, why = options(os.environ.get("TORCH_INDEX", INDEX))
    print(why, file=sys.stderr)
    print(" ".join(found))
