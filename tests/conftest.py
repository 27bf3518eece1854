"""Fixtures that several rooms use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.helpers.trees import draw_tree

if TYPE_CHECKING:
    from dala.nets.imagenet import Backbone
    from dala.training.recipe import Recipe

# Exact numbers are torch's; the engines have tests of their own, and the served app of the browser tests chooses its.
os.environ["DALA_ENGINE"] = "torch"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images beside the repository; a test that needs it is skipped where it is missing."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the shared images are not at {folder}")
    return folder


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("breakhis")
    return draw_tree(
        root, {"A": ("101AB", "102", "103", "104CD"), "DC": ("201", "202", "203", "204", "205", "206", "207")}
    )


@pytest.fixture(scope="session")
def backbone() -> Backbone:
    """A seeded random ResNet50 in place of ImageNet's."""
    import torch
    from torchvision.models import resnet50

    from dala.nets.imagenet import Backbone

    torch.manual_seed(0)
    state = {key: value for key, value in resnet50().state_dict().items() if "num_batches" not in key}
    return Backbone(state, "random")


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    """The shipped recipe, shrunk to what a test can carry."""
    from dala.training.recipe import Recipe

    return Recipe(enlarged=32, epochs=3, batch=8, norm_batches=2, teacher=48, geometric_views=1, stained_views=1)
