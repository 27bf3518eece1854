"""A data set of tiny drawn images in BreakHis's layout: benign ones pale, malignant ones dark, eleven accessions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

FOLDERS = {"A": ("benign", "adenosis"), "DC": ("malignant", "ductal_carcinoma")}


def draw_tree(root: Path, accessions: dict[str, tuple[str, ...]], images: int = 3) -> Path:
    """Write `images` PNGs of 48 x 32 px per slide number into the official tree; returns the root."""
    draw = np.random.default_rng(0)
    for code, slides in accessions.items():
        class_, subtype = FOLDERS[code]
        for slide in slides:
            name = f"SOB_{class_[0].upper()}_{code}-14-{slide}"
            folder = (
                root
                / "BreaKHis_v1/histology_slides/breast"
                / class_
                / "SOB"
                / subtype
                / f"SOB_{class_[0].upper()}_{code}_14-{slide}"
                / "200X"
            )
            folder.mkdir(parents=True)
            for number in range(1, images + 1):
                base = 200 if code == "A" else 90
                pixels = draw.integers(base - 40, base + 40, (32, 48, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{name}-200-{number:03d}.png")
    return root
