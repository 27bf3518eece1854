"""The same seed gives the same figures as ever, to the last of six decimals: BACH and Mini-DDSM beside BreakHis, whose
stored predictions `test_cross_validation` compares. These are of ResNet50s of the true size."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from dala.nets.imagenet import Backbone
from dala.training import films
from dala.training.cross_validation import cross_validate
from dala.training.recipe import Recipe
from dala.training.tasks import bach, mini_ddsm
from tests.helpers.held_out import assert_as_stored
from tests.helpers.trees import draw_bach, draw_mini_ddsm

pytestmark = [
    pytest.mark.slow,
    pytest.mark.exhaustive(instead="training/test_cross_validation.py::test_cross_validation_is_grouped_and_resumes"),
    pytest.mark.usefixtures("one_thread"),
]


def test_bach(backbone: Backbone, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bach, "FIELD", (66, 43))  # as small as the drawn images
    small = dataclasses.replace(recipe, geometric_views=0, stained_views=0, epochs=0.5)
    task = dataclasses.replace(bach.load(draw_bach(tmp_path / "tree")), recipe=small)
    assert_as_stored("bach", cross_validate(task, backbone, tmp_path, folds=2, repeats=1))


def test_mini_ddsm(backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mini_ddsm.MiniDDSM, "decimals", 6)
    monkeypatch.setattr(films, "PROBE_SIDE", 64)
    small = dataclasses.replace(
        mini_ddsm.RECIPE, enlarged=32, epochs=1, batch=8, norm_batches=2, teacher=64, geometric_views=1
    )
    task = dataclasses.replace(mini_ddsm.load(draw_mini_ddsm(tmp_path / "tree")), recipe=small)
    assert_as_stored("mini_ddsm", cross_validate(task, backbone, tmp_path, folds=2, repeats=2))
