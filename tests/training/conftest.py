"""A data set of tiny drawn images in BreakHis's layout: benign ones pale, malignant ones dark, eleven accessions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import resnet50

from dala.nets.imagenet import Backbone
from dala.training.recipe import Recipe

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


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("breakhis")
    return draw_tree(
        root, {"A": ("101AB", "102", "103", "104CD"), "DC": ("201", "202", "203", "204", "205", "206", "207")}
    )


@pytest.fixture(scope="session")
def backbone() -> Backbone:
    """A seeded random ResNet50 in place of ImageNet's."""
    torch.manual_seed(0)
    state = {key: value for key, value in resnet50().state_dict().items() if "num_batches" not in key}
    return Backbone(state, "random")


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    """The shipped recipe, shrunk to what a test can carry."""
    return Recipe(enlarged=32, epochs=3, batch=8, norm_batches=2, teacher=48, geometric_views=1, stained_views=1)
