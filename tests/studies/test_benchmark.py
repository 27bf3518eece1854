"""Benchmark and ablation: same folds as crossvalidate, resumable row by row, honest about what a row is worth."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dala.cli.main import main
from dala.nets.imagenet import Backbone
from dala.stats.metrics import BINARY_METRICS
from dala.studies import ablation as ablating
from dala.studies import benchmark as benchmarking
from dala.studies.ablation import COMPARISONS, VARIANTS, comparisons
from dala.studies.benchmark import CHECK
from dala.training import cross_validation
from dala.training.features import apply_to_view
from dala.training.fine_tune import fine_tune
from dala.training.recipe import Recipe
from dala.training.task import Fold, folds_of
from dala.training.tasks import breakhis
from dala.training.tasks.breakhis import BreakHis
from tests.helpers.starts import slim_resnets, torchvisions_slim_resnet


@pytest.fixture(scope="module")
def backbone() -> Iterator[Backbone]:
    with slim_resnets() as start:
        yield start


@pytest.fixture(scope="module")
def tiny(recipe: Recipe) -> Recipe:
    """A step or two."""
    return dataclasses.replace(recipe, epochs=0.3, norm_batches=1, stained_views=0)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folder name of every fine-tuning that takes place."""
    seen = []

    def counted(*arguments: object) -> object:
        seen.append(arguments[-1].parent.name + "/" + arguments[-1].name)  # type: ignore[attr-defined]
        return fine_tune(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(cross_validation, "fine_tune", counted)
    monkeypatch.setattr(benchmarking, "CHECK_SIDE", 32)
    return seen


def task_of(tree: Path, recipe: Recipe) -> BreakHis:
    return dataclasses.replace(breakhis.load(tree), recipe=recipe)


@pytest.mark.slow
def test_rows_resume_and_full_ones_stay(
    tree: Path, backbone: Backbone, tiny: Recipe, tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "benchmark.json"
    monkeypatch.setattr("torchvision.models.resnet50", torchvisions_slim_resnet)  # what a file to start from must hold
    save_file(backbone.state, tmp_path / "start.safetensors")

    def run(names: tuple[str, ...], budget: benchmarking.Budget, recipe: Recipe = tiny) -> dict[str, str]:
        start = str(tmp_path / "start.safetensors")
        return benchmarking.measure(task_of(tree, recipe), names, start, tmp_path / "runs", path, 2, 1, budget)

    assert run(("densenet121", "resnet50"), "check") == {}
    assert len(calls) == 2  # one fold of each
    rows = json.loads(path.read_text())["networks"]
    assert list(rows) == ["resnet50", "densenet121"]  # in the registry's order
    for row in rows.values():
        assert (row["budget"], row["initialisation"], row["side"]) == (CHECK, "random", 32)
        assert CHECK in row["protocol"]
        assert set(row["scores"]) == set(BINARY_METRICS)
        assert row["command"].endswith("--folds 2 --budget check")
    # Of the slim one: its stem, its four stages and its linear head.
    parameters = 9_536 + (24_896 + 167_040 + 663_808 + 2_646_528) + 4_098
    assert rows["resnet50"]["cost"]["parameters"] == parameters

    # A pretrained run of all folds takes the place of a check, and no later check takes its own.
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *a, **k: torch.load("nowhere"))
    refused = run(("resnet50", "densenet121"), "full")
    assert list(refused) == ["densenet121"]
    assert "cannot be had" in refused["densenet121"]
    assert [name for name in calls[2:]] == ["resnet50-start/fold-0-0-of-2", "resnet50-start/fold-0-1-of-2"]
    run(("resnet50",), "check")
    rows = json.loads(path.read_text())["networks"]
    assert rows["resnet50"]["budget"] == "full"
    assert rows["resnet50"]["initialisation"] == "ImageNet (ResNet50's weights), from start.safetensors"
    assert rows["resnet50"]["scores"]["auc"]["low"] is not None
    assert rows["densenet121"]["budget"] == CHECK
    before = json.loads(path.read_text())["networks"]["resnet50"]["scores"]
    run(("resnet50",), "full")
    assert len(calls) == 4  # both folds were found
    assert json.loads(path.read_text())["networks"]["resnet50"]["scores"] == before

    run(("resnet50",), "check", dataclasses.replace(tiny, lr=2e-5))
    assert list(json.loads(path.read_text())["networks"]) == ["resnet50"]  # the other recipe's rows are gone


def by_hand(task: BreakHis, backbone: Backbone, recipe: Recipe, fold: Fold, folder: Path, runs: Path) -> np.ndarray:
    """Logits (test, 2) of DALAResNet50, trained on a fold by itself."""
    features = task.features(task.tiles(), backbone, dataclasses.replace(task, recipe=recipe).folder(runs))
    make = cross_validation.dala_resnet50(task, recipe, backbone)
    net = fine_tune(
        make(fold.seed), features, task.labels, task.groups, fold.training, recipe, fold.seed, folder
    )  # fmt: skip
    return apply_to_view(torch.nn.Sequential(net.tail, net.head), features, "plain", fold.test)


@pytest.mark.slow
def test_ablation_gives_dala_what_training_gives_and_resumes(
    tree: Path, backbone: Backbone, tiny: Recipe, tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = ("resnet50", "dala_resnet50", "dala_resnet50_relu")
    monkeypatch.setattr(ablating, "VARIANTS", {name: VARIANTS[name] for name in wanted})
    task, path, runs = task_of(tree, tiny), tmp_path / "ablation.json", tmp_path / "runs"
    record = ablating.measure(task, backbone, runs, path, 2, 1)
    assert len(calls) == 6
    assert ablating.STUDY.load(path) == record
    assert list(record.variants) == list(wanted)
    assert [(row.variant, row.against) for row in record.comparisons] == [
        ("dala_resnet50", "resnet50"), ("dala_resnet50", "dala_resnet50_relu"),
    ]  # fmt: skip
    for row in record.comparisons:
        one, other = (record.variants[name].scores["brier"]["value"] for name in (row.variant, row.against))
        assert row.metrics["brier"]["value"] == pytest.approx(one - other)
        for test in (row.tests.correct, row.tests.brier):
            assert 0 < test.p <= test.p_holm <= 1
    # A fold of DALAResNet50 is what training, and with it crossvalidate, makes of it, bit for bit.
    fold = folds_of(task, 2, 1)[1]
    expected = by_hand(task, backbone, tiny, fold, tmp_path / "fit", runs)
    with np.load(task.folder(runs) / "dala_resnet50-random" / "fold-0-1-of-2.npz") as kept:
        np.testing.assert_array_equal(kept["plain"], expected)
    ablating.measure(task, backbone, runs, path, 2, 1)
    assert len(calls) == 6


@pytest.mark.slow
def test_ablation_by_labels_trains_without_the_teacher(
    tree: Path, backbone: Backbone, tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ablating, "VARIANTS", {"dala_resnet50": VARIANTS["dala_resnet50"]})
    recipe = dataclasses.replace(tiny, teacher=64, distillation=1.0)
    task, path, runs = task_of(tree, recipe), tmp_path / "ablation.json", tmp_path / "runs"
    record = ablating.measure(task, backbone, runs, path, 2, 1, by="labels")
    assert record.recipe == recipe.record  # what the page compares with the card
    trained = record.trained_by
    assert trained == recipe.memorising.record and trained["teacher"] == 0
    assert trained["trust"] == 0 and trained["rate"] == 1e-4
    assert "labels alone" in record.protocol and "--by labels" in record.command
    alone = dataclasses.replace(task, recipe=recipe.memorising)
    assert alone.features(alone.tiles(), backbone, alone.folder(runs)).teacher is None
    fold = folds_of(task, 2, 1)[0]
    expected = by_hand(alone, backbone, recipe.memorising, fold, tmp_path / "fit", runs)
    with np.load(alone.folder(runs) / "dala_resnet50-random" / "fold-0-0-of-2.npz") as kept:
        np.testing.assert_array_equal(kept["plain"], expected)


def test_comparisons_find_what_is_there(tree: Path) -> None:
    task = breakhis.load(tree)
    draw = np.random.default_rng(0)
    poor = draw.uniform(0, 1, (1, 33))
    predictions = {
        "resnet50": poor,
        "resnet50_attention": poor.copy(),
        "dala_resnet50": np.where(task.labels == 1, 0.9, 0.1)[None],
    }
    rows = {row.variant: row for row in comparisons(task.labels, task.groups, predictions)}
    assert set(rows) == {"resnet50_attention", "dala_resnet50"}
    assert rows["resnet50_attention"].tests.correct == ablating.Test(difference=0.0, p=1.0, p_holm=1.0)
    better = rows["dala_resnet50"]
    tests = (better.tests.correct, better.tests.brier)
    assert better.tests.brier.difference < 0
    # Four tests: the two of the copy have p 1, so the smaller of the others is multiplied by four, the larger by three.
    p, corrected = [test.p for test in tests], [test.p_holm for test in tests]
    assert min(corrected) == pytest.approx(4 * min(p))
    assert max(corrected) == pytest.approx(max(4 * min(p), 3 * max(p)))
    assert better.tests.brier.p < 0.01
    assert better.metrics["accuracy"]["low"] > 0


def test_every_compared_variant_exists() -> None:
    assert len(VARIANTS) == 6
    assert {name for pair in COMPARISONS for name in pair} == set(VARIANTS)


def test_unknown_network_is_a_wrong_call(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "breakhis", "--data", str(tree), "--networks", "resnet50,alexnet"]) == 2
    assert "not alexnet" in capsys.readouterr().err
