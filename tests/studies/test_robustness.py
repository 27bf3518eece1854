"""Robustness: each image is judged by the fold that has not seen its patient, and the shares add up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dala.data.perturb import Perturbation
from dala.data.pixels import load_pixels
from dala.errors import DataError
from dala.nets.imagenet import Backbone
from dala.preprocess.views import network_input
from dala.studies import held_out
from dala.studies.held_out import FOLDS, analysed, readers, sample
from dala.studies.robustness import STUDY, Scores, measure, scored
from dala.training.cross_validation import cross_validate, kept_networks
from dala.training.recipe import Recipe
from dala.training.tasks import breakhis
from dala.training.tasks.breakhis import BreakHis
from tests.helpers.starts import slim_resnets
from tests.helpers.trees import draw_tree

NEGATIVE = Perturbation("negative", "times", "inverted", (0, 1), 0, lambda pixels, level, random: 255 - pixels)


@pytest.fixture(scope="module")
def backbone() -> Iterator[Backbone]:
    with slim_resnets() as start:
        yield start


@pytest.fixture(scope="module")
def task(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> BreakHis:
    slides = {"A": tuple(str(n) for n in range(101, 106)), "DC": tuple(str(n) for n in range(201, 207))}
    tree = draw_tree(tmp_path_factory.mktemp("tree"), slides)
    return replace(breakhis.load(tree), recipe=replace(recipe, epochs=1))


@pytest.fixture(scope="module")
def runs(task: BreakHis, backbone: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("robustness")
    record = cross_validate(task, backbone, where, FOLDS, 1)
    for name in ("dala_resnet50", "linear_probe", "colour_only"):
        np.save(where / f"{name}.npy", np.array(record["predictions"]["probabilities"][name]))
    return where


@pytest.mark.slow
def test_unchanged_images_get_the_answers_of_the_cross_validation(
    task: BreakHis, backbone: Backbone, runs: Path
) -> None:
    pixels = load_pixels(task.records)
    found = analysed(pixels, task.groups, readers(task, backbone, runs))
    for name in ("dala_resnet50", "linear_probe", "colour_only"):
        np.testing.assert_allclose(found[name], np.load(runs / f"{name}.npy")[0], atol=0.02)  # bfloat16


@pytest.mark.slow
def test_an_unknown_group_is_analysed_by_every_fold(task: BreakHis, backbone: Backbone, runs: Path) -> None:
    pixels = load_pixels(task.records)
    by = readers(task, backbone, runs)
    found = analysed(pixels[:2], np.array(["elsewhere", "elsewhere"]), by)
    with torch.no_grad():
        each = [net(network_input(pixels[:2], task.recipe.enlarged)).softmax(1)[:, 1].numpy() for net in by.networks]
    np.testing.assert_allclose(found["dala_resnet50"], np.mean(each, 0), atol=0.02)


def test_the_table_by_hand() -> None:
    labels, groups = np.array([0, 1, 0, 1]), np.array(["a", "b", "c", "d"])
    plain, changed = np.array([0.2, 0.9, 0.4, 0.8]), np.array([0.6, 0.5, 0.4, 0.9])
    found = scored(labels, changed, plain, groups)
    # Pairs won: .5 > .6 no, .5 > .4 yes, .9 > both. True class: -.4, -.4, 0, +.1.
    assert found["auc"]["value"] == 0.75
    assert found["balanced_accuracy"]["value"] == 0.75
    assert found["shift"]["value"] == pytest.approx(-0.175)


def test_the_sample_takes_as_many_of_every_group() -> None:
    groups = np.array(["a"] * 5 + ["b"] * 2 + ["c"] * 9)
    chosen = sample(groups, 3)
    assert [int((groups[chosen] == group).sum()) for group in "abc"] == [3, 2, 3]
    assert (np.diff(chosen) > 0).all()
    np.testing.assert_array_equal(chosen, sample(groups, 3))


@pytest.mark.slow
def test_the_file_holds_what_was_analysed_and_a_second_run_analyses_nothing(
    task: BreakHis, backbone: Backbone, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "robustness.json"
    record = measure(task, backbone, runs, path, 2, task, [NEGATIVE])
    assert STUDY.load(path) == record
    neutral, inverted = record.changes["negative"].levels
    unchanged = record.unchanged["dala_resnet50"]
    assert Scores(auc=neutral.auc, balanced_accuracy=neutral.balanced_accuracy, shift=neutral.shift) == unchanged
    assert neutral.shift["value"] == 0.0
    # Pale is benign and dark malignant here: negatives turn colour around completely.
    assert record.unchanged["colour_only"].auc["value"] == 1.0
    assert inverted.colour_only.auc["value"] == 0.0
    (row,) = record.originals
    assert (row.magnification, row.images, row.groups, row.benign) == (200, 33, 11, 15)
    assert (row.colour_only.right, row.colour_only.auc) == (33, 1.0)

    monkeypatch.setattr(held_out, "analysed", lambda *given: pytest.fail("analysed again"))
    assert measure(task, backbone, runs, path, 2, task, [NEGATIVE]) == record


def test_missing_networks_are_one_sentence(task: BreakHis, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="crossvalidate breakhis"):
        kept_networks(task, tmp_path, 5)
