"""Scoring weights on a tree by the path that serves users, honest about what the weights have seen."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from dala.errors import DataError
from dala.runtime.card import Card
from dala.runtime.predict import Model, load_model
from dala.stats.metrics import BINARY_METRICS
from dala.training.colour_only import colour_statistics
from dala.training.evaluate import evaluate, known_groups
from dala.training.tasks import breakhis


def test_colour_statistics_by_hand() -> None:
    image = np.array([[[0, 10, 20], [2, 10, 40]]], np.uint8)  # mean 1, 10, 30; deviation 1, 0, 10
    np.testing.assert_allclose(colour_statistics(image[None]), [[1, 10, 30, 1, 0, 10]])


@pytest.fixture(scope="module")
def model() -> Model:
    """The shipped weights, asked about images that are not enlarged further than the drawn ones are worth."""
    model = load_model("breakhis")
    fields = json.loads(json.dumps(model.card.fields))
    fields["input"]["enlarged"] = 64
    return Model(model.net, Card(fields))


def with_groups(model: Model, groups: list[str]) -> Model:
    fields = json.loads(json.dumps(model.card.fields))
    fields["training_data"]["groups"] = groups
    return Model(model.net, Card(fields))


@pytest.mark.slow
def test_evaluate_scores_a_tree(tree: Path, model: Model) -> None:
    task = breakhis.load(tree, None)
    seen: list[tuple[int, int]] = []
    record = evaluate(task, with_groups(model, ["14-999"]), lambda done, total: seen.append((done, total)))
    assert list(record) == ["protocol", "weights", "pictures", "groups", *BINARY_METRICS]
    assert (record["pictures"], record["groups"], record["weights"]) == (33, 11, "breakhis")
    assert seen == [(n, 33) for n in range(1, 34)]
    assert "none of these groups was in the weights' training data" in record["protocol"]
    assert all(set(record[name]) == {"value", "low", "high"} for name in BINARY_METRICS)
    json.dumps(record, allow_nan=False)


def test_protocol_names_known_patients(tree: Path, model: Model) -> None:
    task = breakhis.load(tree, None)
    some = known_groups(task.groups, with_groups(model, ["14-101", "14-201"]))
    assert "2 of the 11 groups (6 of 33 images) were in the weights' training data" in some
    everything = known_groups(task.groups, with_groups(model, sorted(set(task.groups))))
    assert "all groups (33 of 33 images) were in the weights' training data" in everything


@pytest.mark.slow
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
        evaluate(breakhis.load(tree, question="subtype"), model)
