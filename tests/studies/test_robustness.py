"""Robustness: each image is judged by the fold that has not seen its patient, and the shares add up."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dala.data import breakhis
from dala.data.perturb import Change
from dala.data.pixels import load_pixels
from dala.errors import DataError
from dala.nets.imagenet import Backbone
from dala.preprocess.views import network_input
from dala.studies import robustness as module
from dala.studies.robustness import judged, judges, mean_shift, robustness, sample, scored
from dala.training.evaluate import cross_validate, kept_networks
from dala.training.recipe import Recipe
from tests.helpers.trees import draw_tree

NEGATIVE = Change("negative", "times", "inverted", (0, 1), 0, lambda pixels, level, random: 255 - pixels)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> breakhis.Dataset:
    slides = {"A": tuple(str(n) for n in range(101, 106)), "DC": tuple(str(n) for n in range(201, 207))}
    return breakhis.load(draw_tree(tmp_path_factory.mktemp("tree"), slides), 200)


@pytest.fixture(scope="module")
def folder(
    dataset: breakhis.Dataset,
    backbone: Backbone,
    recipe: Recipe,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    where = tmp_path_factory.mktemp("robustness")
    record = cross_validate(dataset, backbone, recipe, where, module.FOLDS, 1)
    np.save(where / "held_out.npy", np.array(record["predictions"]["probabilities"]["dala_resnet50"]))
    for name in ("linear_probe", "colour_only"):
        np.save(where / f"{name}.npy", np.array(record["predictions"]["probabilities"][name]))
    return where


@pytest.mark.slow
def test_unchanged_images_get_the_answers_of_the_cross_validation(
    dataset: breakhis.Dataset, backbone: Backbone, recipe: Recipe, folder: Path
) -> None:
    pixels = load_pixels(dataset.records)
    by = judges(dataset, pixels, backbone, recipe, folder)
    found = judged(pixels, dataset.groups, by)
    for name, file in (("dala_resnet50", "held_out"), ("linear_probe", "linear_probe"), ("colour_only", "colour_only")):
        np.testing.assert_allclose(found[name], np.load(folder / f"{file}.npy")[0], atol=0.02)  # bfloat16


@pytest.mark.slow
def test_an_unknown_group_is_judged_by_every_fold(
    dataset: breakhis.Dataset, backbone: Backbone, recipe: Recipe, folder: Path
) -> None:
    pixels = load_pixels(dataset.records)
    by = judges(dataset, pixels, backbone, recipe, folder)
    found = judged(pixels[:2], np.array(["elsewhere", "elsewhere"]), by)
    with torch.no_grad():
        each = [net(network_input(pixels[:2], recipe.enlarged)).softmax(1)[:, 1].numpy() for net in by.networks]
    np.testing.assert_allclose(found["dala_resnet50"], np.mean(each, 0), atol=0.02)


def test_the_table_by_hand() -> None:
    labels, groups = np.array([0, 1, 0, 1]), np.array(["a", "b", "c", "d"])
    plain, changed = np.array([0.2, 0.9, 0.4, 0.8]), np.array([0.6, 0.5, 0.4, 0.9])
    found = scored(labels, changed, plain, groups)
    # Pairs won: .5 > .6 no, .5 > .4 yes, .9 > both. True class: -.4, -.4, 0, +.1.
    assert found["auc"]["value"] == 0.75
    assert found["balanced_accuracy"]["value"] == 0.75
    assert found["shift"]["value"] == pytest.approx(-0.175)


def test_the_shift_is_a_mean_over_patients() -> None:
    groups = np.array(["a", "a", "a", "b"])
    found = mean_shift(np.array([0.3, 0.3, 0.3, -0.1]), groups)
    assert found["value"] == pytest.approx(0.1)  # not the images' 0.2
    assert (found["low"], found["high"]) == pytest.approx((-0.1, 0.3))
    assert mean_shift(np.array([0.3]), np.array(["a"])) == {"value": 0.3, "low": None, "high": None}


def test_the_sample_takes_as_many_of_every_group() -> None:
    groups = np.array(["a"] * 5 + ["b"] * 2 + ["c"] * 9)
    chosen = sample(groups, 3)
    assert [int((groups[chosen] == group).sum()) for group in "abc"] == [3, 2, 3]
    assert (np.diff(chosen) > 0).all()
    np.testing.assert_array_equal(chosen, sample(groups, 3))


@pytest.mark.slow
def test_the_file_holds_what_was_judged_and_a_second_run_judges_nothing(
    dataset: breakhis.Dataset,
    backbone: Backbone,
    recipe: Recipe,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "robustness.json"
    record = robustness(dataset, backbone, recipe, folder, path, 2, dataset, [NEGATIVE])
    assert json.loads(path.read_text()) == json.loads(json.dumps(record))
    neutral, inverted = record["changes"]["negative"]["levels"]
    unchanged = record["unchanged"]["dala_resnet50"]
    assert {key: neutral[key] for key in unchanged} == unchanged
    assert neutral["shift"]["value"] == 0.0
    # Pale is benign and dark malignant here: negatives turn colour around completely.
    assert record["unchanged"]["colour_only"]["auc"]["value"] == 1.0
    assert inverted["colour_only"]["auc"]["value"] == 0.0
    (row,) = record["originals"]
    assert (row["magnification"], row["pictures"], row["groups"], row["benign"]) == (200, 33, 11, 15)
    assert row["colour_only"] == {"right": 33, "auc": 1.0}

    monkeypatch.setattr(module, "judged", lambda *given: pytest.fail("judged again"))
    assert robustness(dataset, backbone, recipe, folder, path, 2, dataset, [NEGATIVE]) == record


def test_missing_networks_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="crossvalidate breakhis"):
        kept_networks(tmp_path, 5)
