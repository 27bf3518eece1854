"""The engine: grouped, resumable, the same figures as ever, and several classes of few patients."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from dala.cli.main import main
from dala.errors import DataError
from dala.nets.imagenet import Backbone
from dala.runtime.card import read_card
from dala.training import cross_validation as engine
from dala.training.cross_validation import cross_validate, kept_networks, write_evidence
from dala.training.recipe import Recipe
from dala.training.task import folds_of, probe
from dala.training.tasks import breakhis
from tests.helpers.held_out import assert_as_stored
from tests.helpers.starts import slim_resnets
from tests.helpers.trees import draw_tree

pytestmark = pytest.mark.usefixtures("one_thread")

# Accessions by subtype: two subtypes of one group, one of two groups, the rest of three.
FEW = {
    "A": ("101",), "F": ("111AB", "112"), "PT": ("121",), "TA": ("131", "132", "133"),
    "DC": ("201", "202", "203", "204"), "LC": ("211", "212", "213"), "MC": ("221", "222", "223"),
    "PC": ("231", "232", "233CD"),
}  # fmt: skip


@pytest.fixture
def slim() -> Iterator[Backbone]:
    with slim_resnets() as start:
        yield start


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """The tiles of every fine-tuning that takes place."""
    fine_tune, seen = engine.fine_tune, []

    def counted(*arguments: Any) -> object:
        seen.append(arguments[4])
        return fine_tune(*arguments)

    monkeypatch.setattr(engine, "fine_tune", counted)
    return seen


@pytest.mark.slow
def test_cross_validation_is_grouped_and_resumes(
    tree: Path, backbone: Backbone, recipe: Recipe, tmp_path: Path, fitted: list[np.ndarray]
) -> None:
    task = dataclasses.replace(breakhis.load(tree), recipe=dataclasses.replace(recipe, epochs=1))
    record = cross_validate(task, backbone, tmp_path, folds=2, repeats=2)
    assert len(fitted) == 4
    for training in fitted:
        inside = set(task.groups[training])
        outside = set(task.groups[np.setdiff1d(np.arange(33), training)])
        assert inside.isdisjoint(outside)
        assert outside
    assert set(record["scores"]) == {
        "dala_resnet50",
        "dala_resnet50_stain_shift",
        "linear_probe",
        "colour_only",
        "teacher",
    }
    assert record["scores"]["colour_only"]["auc"]["value"] == 1.0  # the drawn classes differ in brightness
    assert_as_stored("breakhis", record)
    assert record["data"] == {
        "name": "BreakHis", "magnifications": [200], "pictures": 33, "benign": 12, "malignant": 21, "groups": 11,
        "benign_groups": 4,
    }  # fmt: skip
    assert record["by_group"]["14-101"]["pictures"] == 3
    write_evidence(tmp_path / "some.json", record)
    kept = json.loads((tmp_path / "some_predictions.json").read_text())
    assert "predictions" not in json.loads((tmp_path / "some.json").read_text())
    assert kept["labels"] == task.labels.tolist()
    assert kept["recipe"]["epochs"] == 1
    rescored = np.mean([roc_auc_score(kept["labels"], p) for p in kept["probabilities"]["linear_probe"]])
    assert rescored == pytest.approx(record["scores"]["linear_probe"]["auc"]["value"])
    again = cross_validate(task, backbone, tmp_path, folds=2, repeats=2)
    assert len(fitted) == 4  # every fold was found on disk
    assert json.loads(json.dumps(again)) == json.loads(json.dumps(record))
    assert len(kept_networks(task, tmp_path, 2)) == 2
    with pytest.raises(DataError, match="networks are missing"):
        kept_networks(task, tmp_path, 3)


def test_linear_probe_separates_what_is_separable(tree: Path) -> None:
    draw = np.random.default_rng(0)
    labels = np.repeat([0, 1], 40)
    x = draw.normal(labels[:, None] * 3.0, 1.0, (80, 2))
    groups = np.array([f"{i // 8}" for i in range(80)])
    training, test = np.arange(0, 80, 2), np.arange(1, 80, 2)
    fold = folds_of(breakhis.load(tree), 2, 1)[0]
    answer = probe(x, labels, groups)(fold, training, test)
    assert answer is not None
    assert roc_auc_score(labels[test], answer[:, 1]) > 0.95


def test_runs_of_other_groups_and_recipes_are_kept_apart(tree: Path, tmp_path: Path) -> None:
    task = breakhis.load(tree)
    regrouped = dataclasses.replace(task, groups=np.array([record.slide for record in task.records]))
    assert task.folder(tmp_path) == breakhis.load(tree).folder(tmp_path)
    assert task.folder(tmp_path) != regrouped.folder(tmp_path)
    recipe = dataclasses.replace(task.recipe, batch=9)
    assert task.folder(tmp_path) != dataclasses.replace(task, recipe=recipe).folder(tmp_path)
    subtypes = breakhis.load(draw_tree(tmp_path / "few", FEW, images=1), question="subtype")
    assert subtypes.name == "breakhis_subtype_200x"


def test_a_class_without_an_image_is_a_sentence(tree: Path, backbone: Backbone, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds none of fibroadenoma, phyllodes tumour"):
        cross_validate(breakhis.load(tree, question="subtype"), backbone, tmp_path, 2, 1)
    assert list(tmp_path.iterdir()) == []  # nothing was computed for it


@pytest.mark.slow
def test_eight_subtypes_end_to_end(
    slim: Backbone,
    recipe: Recipe,
    tmp_path: Path,
    fitted: list[np.ndarray],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """crossvalidate, train and evaluate --task subtype, where some subtypes come from one patient."""
    root = draw_tree(tmp_path / "tree", FEW, images=2)
    small = dataclasses.replace(recipe, epochs=1, geometric_views=0)
    monkeypatch.setattr(breakhis, "Recipe", lambda: small)
    monkeypatch.setattr("dala.training.backbone.load_backbone", lambda source: slim)
    evidence, out = tmp_path / "e.json", tmp_path / "subtypes.safetensors"
    common = ["breakhis", "--data", str(root), "--task", "subtype"]
    kept = ["--runs", str(tmp_path / "runs"), "--evidence", str(evidence)]
    assert main(["crossvalidate", *common, *kept, "--folds", "3", "--repeats", "1"]) == 0

    task = breakhis.load(root, question="subtype")
    assert task.not_testable == ["adenosis", "phyllodes tumour"]
    assert len(fitted) == 3
    for training in fitted:
        assert set(task.labels[training]) == set(range(8))  # every subtype is known to every network
        assert {"14-101", "14-121"} <= set(task.groups[training])
    record = json.loads(evidence.read_text())
    assert record["data"]["not_testable"] == ["adenosis", "phyllodes tumour"]
    assert record["data"]["groups_per_class"]["fibroadenoma"] == 2
    assert record["data"]["per_class"]["ductal carcinoma"] == 8
    assert "not testable, for want of accession groups: adenosis, phyllodes tumour" in record["protocol"]
    assert record["command"] == "dala crossvalidate breakhis --data ROOT --task subtype"
    assert record["tested"] == {"pictures": 36, "groups": 18}
    scores = record["scores"]["colour_only"]
    assert scores["recall_adenosis"] == {"value": None, "low": None, "high": None}
    assert scores["recall_fibroadenoma"]["value"] is not None and scores["auc"]["value"] is not None
    assert np.sum(record["confusion"]["counts"], axis=1) == pytest.approx([0, 4, 0, 6, 8, 6, 6, 6])
    told = json.loads((tmp_path / "e_predictions.json").read_text())
    assert len(told["files"]) == len(told["labels"]) == 36
    p = np.array(told["probabilities"]["dala_resnet50"])
    assert p.shape == (1, 36, 8)
    np.testing.assert_allclose(p.sum(axis=2), 1, atol=1e-5)
    recalls = [np.mean(p[0, np.array(told["labels"]) == k].argmax(1) == k) for k in (1, 3, 4, 5, 6, 7)]
    assert np.mean(recalls) == pytest.approx(record["scores"]["dala_resnet50"]["balanced_accuracy"]["value"])

    assert main(["train", *common, *kept, "--out", str(out)]) == 0
    card, _ = read_card(out)
    assert card.classes == task.classes
    assert card.fields["metrics"]["values"] == record["scores"]["dala_resnet50"]
    assert card.fields["recipe"]["rate"] == small.lr
    assert any("adenosis, phyllodes tumour" in line for line in card.fields["limits"])
    assert card.calibration is None
    assert not out.with_suffix(".colour.safetensors").exists()

    capsys.readouterr()
    assert main(["evaluate", *common, "--weights", str(out), "--json"]) == 0
    scored = json.loads(capsys.readouterr().out)
    assert (scored["pictures"], scored["groups"]) == (40, 20)
    assert scored["recall_adenosis"]["value"] is not None
    assert "all groups (40 of 40 images) were in the weights' training data" in scored["protocol"]
    # Two classes are another task.
    assert main(["evaluate", "breakhis", "--data", str(root), "--weights", str(out)]) == 1
    assert "know" in capsys.readouterr().err
