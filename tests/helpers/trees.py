"""Data sets of tiny drawn images in the official layouts: BreakHis, BACH, Mini-DDSM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tests.helpers.films import film

# Subtypes by their code: class, folder, and a grey level that tells them apart.
FOLDERS = {
    "A": ("benign", "adenosis", 200),
    "F": ("benign", "fibroadenoma", 185),
    "PT": ("benign", "phyllodes_tumor", 170),
    "TA": ("benign", "tubular_adenoma", 155),
    "DC": ("malignant", "ductal_carcinoma", 90),
    "LC": ("malignant", "lobular_carcinoma", 75),
    "MC": ("malignant", "mucinous_carcinoma", 60),
    "PC": ("malignant", "papillary_carcinoma", 45),
}
# Classes of BACH: prefix of the names, and a colour that tells them apart.
COLOURS = {
    "Normal": ("n", (230, 200, 220)),
    "Benign": ("b", (190, 120, 190)),
    "InSitu": ("is", (140, 70, 150)),
    "Invasive": ("iv", (80, 40, 110)),
}


def draw_tree(root: Path, accessions: dict[str, tuple[str, ...]], images: int = 3) -> Path:
    """Write `images` PNGs of 48 x 32 px per slide number into BreakHis's tree; returns the root."""
    draw = np.random.default_rng(0)
    for code, slides in accessions.items():
        class_, subtype, base = FOLDERS[code]
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
                pixels = draw.integers(base - 40, base + 40, (32, 48, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{name}-200-{number:03d}.png")
    return root


def draw_bach(root: Path, size: tuple[int, int] = (192, 144)) -> Path:
    """Four images of `size` (width, height) a class of BACH, the first two of one patient; returns the root."""
    photos, draw = root / "ICIAR2018_BACH_Challenge" / "Photos", np.random.default_rng(0)
    truth, patients = [], []
    for folder, (prefix, colour) in COLOURS.items():
        (photos / folder).mkdir(parents=True)
        for number in range(1, 5):
            name = f"{prefix}{number:03d}.tif"
            noise = draw.integers(-25, 26, (size[1], size[0], 3))
            Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)).save(photos / folder / name)
            truth.append(f"{name},{folder}")
            patients.append(f"{name},{prefix if number < 3 else ''}")
    (photos / "microscopy_ground_truth.csv").write_text("\n".join(truth))
    (photos.parent / "patient_microscopy.csv").write_text("\n".join(patients))
    return root


def draw_mini_ddsm(root: Path) -> Path:
    """Four cases of two views a status and scanner of Mini-DDSM; returns the root.

    Benign cases have a darker background than cancer: the site effect, drawn. The breasts are all alike.
    """
    number = 0
    for letter, statuses in (("B", ("Normal", "Benign", "Cancer")), ("C", ("Benign", "Cancer"))):
        for status in statuses:
            level = {"Normal": 8, "Benign": 20, "Cancer": 50}[status] + (5 if letter == "C" else 0)
            for _ in range(4):
                number += 1
                folder = root / status / f"{number:04d}"
                folder.mkdir(parents=True)
                for view in ("LEFT_CC", "RIGHT_CC"):
                    drawn = film(right=view.startswith("RIGHT"), background=level, seed=number, size=299)[0]
                    Image.fromarray(drawn).save(folder / f"{letter}_{number:04d}_1.{view}.jpg", quality=95)
    return root
