"""Protocols side by side: official fold files, the leak in numbers, scores that are pooled only where they may be."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dala.errors import DataError
from dala.nets.imagenet import Backbone
from dala.studies import headline
from dala.studies.protocols import (
    STUDY,
    Leakage,
    Split,
    by_group_predictions,
    leakage,
    measure,
    official_folds,
    score,
)
from dala.training.cross_validation import cross_validate, write_evidence
from dala.training.recipe import Recipe
from dala.training.tasks import breakhis
from dala.training.tasks.breakhis import BreakHis
from tests.helpers.starts import slim_resnets


@pytest.fixture(scope="module")
def backbone() -> Iterator[Backbone]:
    with slim_resnets() as start:
        yield start


def write_folds(folder: Path, dataset: BreakHis, shift: int = 0) -> None:
    for number in range(1, 6):
        lines = [
            f"{record.name}|200|{number}|{'test' if (index + number + shift) % 3 == 0 else 'train'}"
            for index, record in enumerate(dataset.records)
        ]
        lines.append("SOB_B_A-14-99999-200-001.png|200|1|train")  # of an image that this tree lacks
        (folder / f"dsfold{number}.txt").write_text("\n".join(lines) + "\n")


def test_official_folds_are_read_for_the_images_that_are_there(tree: Path, tmp_path: Path) -> None:
    dataset = breakhis.load(tree)
    write_folds(tmp_path, dataset)
    folds = official_folds(tmp_path, [record.name for record in dataset.records])
    assert len(folds) == 5
    assert folds[0][1].tolist() == list(range(2, 33, 3))  # (index + 1) % 3 == 0
    assert sorted([*folds[4][0], *folds[4][1]]) == list(range(33))


@pytest.mark.parametrize(("damage", "sentence"), [("a|b", "Line 1"), ("", "does not say")])
def test_official_folds_that_do_not_fit_are_refused(tree: Path, tmp_path: Path, damage: str, sentence: str) -> None:
    dataset = breakhis.load(tree)
    write_folds(tmp_path, dataset)
    (tmp_path / "dsfold3.txt").write_text(damage)
    with pytest.raises(DataError, match=sentence):
        official_folds(tmp_path, [record.name for record in dataset.records])
    (tmp_path / "dsfold3.txt").unlink()
    with pytest.raises(DataError, match=r"dsfold3\.txt is missing"):
        official_folds(tmp_path, [record.name for record in dataset.records])


def test_leakage_by_hand() -> None:
    groups = np.array(["a", "a", "b", "b", "c"])
    folds = [(np.array([0, 2, 3]), np.array([1, 4])), (np.array([0, 1, 4]), np.array([2, 3]))]
    # Fold 1: image 1 is of a, which was trained on; fold 2: b was not. One of four test images is known.
    assert leakage(folds, groups) == Leakage(groups_on_both_sides=(1, 0), share_of_test_images=0.25)


def test_scores_are_pooled_where_every_image_is_tested_once_and_averaged_otherwise() -> None:
    labels, groups = np.array([0, 1, 0, 1]), np.array(["a", "b", "c", "d"])
    halves = [(np.array([2, 3]), np.array([0, 1])), (np.array([0, 1]), np.array([2, 3]))]
    pooled = score(labels, groups, halves, [np.array([0.1, 0.3]), np.array([0.4, 0.9])])
    assert pooled["auc"]["value"] == 0.75  # .3 < .4 across the folds
    assert pooled["sensitivity"]["value"] == 0.5
    overlapping = [(np.array([0]), np.array([0, 1, 2])), (np.array([3]), np.array([0, 1]))]
    mean = score(labels, groups, overlapping, [np.array([0.1, 0.3, 0.2]), np.array([0.4, 0.9])])
    assert mean["accuracy"] == {"value": pytest.approx((2 / 3 + 1) / 2), "low": None, "high": None}


@pytest.mark.slow
def test_the_table_holds_every_protocol_and_resumes(
    tree: Path, backbone: Backbone, recipe: Recipe, tmp_path: Path
) -> None:
    small = dataclasses.replace(breakhis.load(tree), recipe=dataclasses.replace(recipe, epochs=1))
    with pytest.raises(DataError, match="crossvalidate"):
        by_group_predictions(tmp_path / "none.json", small)
    write_evidence(tmp_path / "x.json", cross_validate(small, backbone, tmp_path, folds=2, repeats=1))
    assert headline.STUDY.load(tmp_path / "x.json").recipe == small.recipe.record
    predictions = tmp_path / "x_predictions.json"
    assert by_group_predictions(predictions, small)["dala_resnet50"].shape == (1, 33)
    with pytest.raises(DataError, match="another recipe"):
        by_group_predictions(predictions, dataclasses.replace(small, recipe=recipe))
    write_folds(tmp_path, small)
    record = measure(small, backbone, tmp_path, tmp_path / "p.json", predictions, tmp_path, count=2)
    assert list(record.columns) == ["by_image", "official_folds", "by_slide", "by_group"]
    leaky, honest = record.columns["by_image"], record.columns["by_group"]
    assert isinstance(leaky, Split) and isinstance(honest, Split)
    assert honest.leakage.share_of_test_images == 0
    assert leaky.leakage.share_of_test_images > 0.9
    assert "dala_resnet50_memorising" in leaky.scores
    assert STUDY.load(tmp_path / "p.json") == record
