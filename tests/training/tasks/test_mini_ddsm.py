"""Mammograms from drawn films to scores, weights and a card; what the baselines see, by hand."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dala.cli.train import _transposed
from dala.data import mini_ddsm
from dala.errors import DataError
from dala.export.bundle import export_explanation
from dala.intake.image import read_image
from dala.nets.imagenet import Backbone
from dala.opinion import second_opinion
from dala.preprocess.mammogram import crop_breast
from dala.runtime.card import read_card
from dala.runtime.predict import Model, load_model, predict
from dala.training import films
from dala.training.cross_validation import cross_validate, write_evidence
from dala.training.evaluate import evaluate
from dala.training.recipe import Recipe
from dala.training.release import card_fields, metrics_of, own_record, train
from dala.training.site_effect import MASKED_OUT, WHOLE_FILM, naive_table
from dala.training.tasks import mini_ddsm as training
from dala.training.tasks.mini_ddsm import MiniDDSM
from tests.helpers.films import film as draw
from tests.helpers.starts import slim_resnets
from tests.helpers.trees import draw_mini_ddsm

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_mini_ddsm(tmp_path_factory.mktemp("mini_ddsm"))


@pytest.fixture(scope="module")
def backbone() -> Iterator[Backbone]:
    with slim_resnets() as start:
        yield start


@pytest.fixture(scope="module")
def small() -> Recipe:
    return dataclasses.replace(
        training.RECIPE, enlarged=32, epochs=1, batch=8, norm_batches=2, teacher=64, geometric_views=1
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module", autouse=True)
def miniature() -> Iterator[None]:
    """Predictions as exact as the stored ones, probes of small films, and a tenth of the trees."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MiniDDSM, "decimals", 6)
        patch.setattr(films, "PROBE_SIDE", 64)
        trees = training.ExtraTreesClassifier
        patch.setattr(training, "ExtraTreesClassifier", lambda count, **others: trees(count // 10, **others))
        yield


@pytest.fixture(scope="module")
def task(tree: Path, small: Recipe) -> MiniDDSM:
    return dataclasses.replace(training.load(tree), recipe=small)


@pytest.fixture(scope="module")
def record(task: MiniDDSM, backbone: Backbone, runs: Path) -> dict:
    return cross_validate(task, backbone, runs, folds=2, repeats=2)


def test_what_the_network_and_the_baselines_are_shown() -> None:
    film, truth = draw(background=60, frame=4)
    pixels = np.repeat(film[..., None], 3, axis=2)
    assert np.array_equal(films.breast(pixels, 64), crop_breast(pixels).resized(64))
    assert np.array_equal(films.whole_film(pixels, 299), pixels)
    hidden = films.masked_out(pixels, 299)[..., 0]
    assert (hidden[truth] == films.BLANK).mean() > 0.9  # all but the margin at the chest wall
    assert (hidden[90:210, 20:120] == films.BLANK).all()
    assert np.array_equal(hidden[:, 200:], film[:, 200:])  # label, black box and frame are left


def test_grey_levels_by_hand() -> None:
    film = np.zeros((299, 299, 3), dtype=np.uint8)
    film[:, :100] = 90
    share = 100 / 299
    mean, deviation, median = films.grey_levels(film)
    assert (mean, median) == (pytest.approx(90 * share), 0)
    assert deviation == pytest.approx(90 * np.sqrt(share * (1 - share)))


def test_background_levels_do_not_depend_on_the_breast() -> None:
    one, other = (draw(background=40, label=False, box=False, seed=seed)[0] for seed in (0, 1))
    levels = [films.background_levels(np.repeat(film[..., None], 3, axis=2)) for film in (one, other)]
    np.testing.assert_allclose(levels[0][1:8], 40, atol=1)
    np.testing.assert_allclose(levels[0], levels[1], atol=3)


@pytest.mark.slow
def test_cross_validation_finds_the_drawn_site_effect_and_nothing_in_the_breast(record: dict) -> None:
    scores = record["scores"]
    # Backgrounds tell the classes apart without a mistake, breasts are all alike.
    for name in (MASKED_OUT, "background_trees", "grey_levels"):
        assert scores[name]["auc"]["value"] > 0.9, name
    assert 0.1 < scores["linear_probe"]["auc"]["value"] < 0.9
    assert list(scores) == [
        "dala_resnet50", "teacher", "linear_probe", "grey_levels", "masked_out_probe", "background_trees",
        "whole_film_probe", "whole_film_dala_resnet50",
    ]  # fmt: skip
    assert set(record["explained"]) == set(scores)
    assert set(record["scores_by_letter"]) == {"B", "C"}
    assert record["data"]["by_letter"] == {"B": [8, 8], "C": [8, 8]}
    assert record["data"]["groups"] == 16
    assert f"AUC {scores[MASKED_OUT]['auc']['value']:.2f} (B " in record["site_effect"]


@pytest.mark.slow
def test_every_image_is_predicted_once_a_repeat_by_a_model_that_has_not_seen_its_case(
    record: dict, task: MiniDDSM, backbone: Backbone, runs: Path
) -> None:
    told = record["predictions"]["probabilities"]
    assert {name: np.shape(p) for name, p in told.items()} == {
        name: (1 if name == WHOLE_FILM else 2, 32) for name in record["scores"]
    }
    assert all(0 < p < 1 for p in np.ravel(told["dala_resnet50"]))
    # From disk the same record again: nothing is trained twice.
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*.np?")}
    assert len([path for path in before if path.suffix == ".npz"]) == 4 + 2  # breast twice, whole film once
    again = cross_validate(task, backbone, runs, folds=2, repeats=2)
    assert again == record
    assert before == {path: path.stat().st_mtime_ns for path in runs.rglob("*.np?")}


@pytest.mark.slow
def test_the_naive_table_leads_from_the_claim_to_its_undoing(record: dict) -> None:
    rows = record["naive_three_classes"]["table"]
    assert [(row["input"], row["letters"], row["split"]) for row in rows[:2]] == [
        ("whole film", "all", "by image"), ("masked out", "all", "by image"),
    ]  # fmt: skip
    assert rows[0]["pictures"] == 40
    assert rows[0]["largest_class"] == pytest.approx(16 / 40)
    assert rows[-1]["pictures"] == 24  # scanner B alone
    assert rows[-1]["largest_class"] == pytest.approx(1 / 3)
    assert all(0 <= row["accuracy"] <= 1 for row in rows)
    assert f"{rows[0]['accuracy']:.0%} accuracy" in record["naive_three_classes"]["verdict"]


def test_cases_are_scored_by_the_mean_of_their_images() -> None:
    p, labels, names = training.of_cases(
        {"x": np.array([[0.1, 0.3, 0.9, 0.7, 0.5]])}, np.array([0, 0, 1, 1, 1]), np.array(["a", "a", "b", "b", "b"])
    )
    assert names.tolist() == ["a", "b"]
    assert labels.tolist() == [0, 1]
    np.testing.assert_allclose(p["x"], [[0.2, 0.7]])


@pytest.mark.slow
def test_a_row_a_model_for_the_terminal(record: dict) -> None:
    text = _transposed(record["scores"]).splitlines()
    assert len(text) == 1 + len(record["scores"])
    assert text[0].split() == ["auc", "balanced_accuracy", "sensitivity", "specificity"]
    assert text[1].startswith("dala_resnet50 ")


@pytest.mark.slow
def test_the_card_takes_metrics_of_its_own_recipe_only(record: dict, task: MiniDDSM, tmp_path: Path) -> None:
    path = tmp_path / "mini_ddsm.json"
    write_evidence(path, record)
    other = dataclasses.replace(task, recipe=dataclasses.replace(task.recipe, epochs=9))
    assert own_record(path, other, "random") is None
    assert own_record(path, task, "npm") is None
    assert own_record(tmp_path / "none.json", task, "random") is None
    found = own_record(path, task, "random")
    assert found is not None
    metrics = metrics_of(task, found)
    assert metrics["values"] == record["scores"]["dala_resnet50"]
    assert metrics["by_letter"]["B"] == record["scores_by_letter"]["B"]["dala_resnet50"]
    assert record["site_effect"] in card_fields("x", task, 0, found, "npm")["limits"]
    assert metrics_of(task, None)["values"] == {}
    rows = json.loads((tmp_path / "mini_ddsm_predictions.json").read_text(encoding="utf-8"))
    assert rows["files"][0].startswith("B_")


@pytest.mark.slow
def test_weights_serve_what_training_saw(task: MiniDDSM, backbone: Backbone, runs: Path, tmp_path: Path) -> None:
    dataset = dataclasses.replace(task, recipe=dataclasses.replace(task.recipe, enlarged=64))
    path = tmp_path / "films.safetensors"
    card = train(dataset, backbone, runs, tmp_path / "none.json", path)
    assert card is not None
    features = dataset.features(dataset.tiles(), backbone, dataset.folder(runs))
    assert (card.input.preprocess, card.modality, card.input.size) == ("mammogram", "mammogram, digitised film", 64)
    model = load_model(path)
    # The trunk of a served film equals the cached one of training, up to bfloat16.
    film = dataset.records[1]
    pooled = predict(read_image(film.path), model).pooled[0]
    cached = features.batch(["plain"], np.array([1]), torch.device("cpu")).float().mean((2, 3))[0].numpy()
    np.testing.assert_allclose(pooled, cached, rtol=0.1, atol=0.05 * np.abs(cached).max())
    scored = evaluate(dataset, model)
    assert set(scored["scores"]) == {"all", "B", "C"}
    assert "all groups (32 of 32 images) were in the weights' training data" in scored["protocol"]
    # The whole way of a user: a right breast, mirrored for the network, explained where it is.
    opinion = second_opinion(film.path, model)
    assert film.side == "RIGHT"
    assert "mirrored" in opinion.seen
    told = export_explanation(opinion, "malignant", "mean_std", None, tmp_path / "out")
    assert told["map"]["box"] == pytest.approx(list(crop_breast(np.asarray(Image.open(film.path))).box))
    assert not opinion.maps["malignant"].upsampled(299, 299)[:, :100].any()


def test_histology_weights_do_not_score_films(task: MiniDDSM) -> None:
    with pytest.raises(DataError, match="for H&E histology"):
        evaluate(task, Model(None, read_card("breakhis")[0]))  # type: ignore[arg-type]


def test_three_statuses_within_one_letter_are_asked_for(tree: Path) -> None:
    without = mini_ddsm.load(tree, ("C",), "status")
    with pytest.raises(DataError, match="do not hold normal, benign and malignant"):
        naive_table(without, {look: np.zeros((len(without.labels), 2)) for look in films.LOOKS}, 2)
