"""Calibration against other libraries and by hand; thresholds by hand; coverage over simulated cohorts; the card."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss

from dala.cli.main import main
from dala.errors import DataError
from dala.runtime.calibration import NOT_CALIBRATED
from dala.runtime.card import read_card
from dala.stats import metrics
from dala.stats.conformal import Cohort, held_out_thresholds, sigmoid
from dala.studies import calibration
from dala.studies import calibration_fit as module
from dala.studies.calibration_fit import (
    SETS_LIMIT,
    calibrate,
    choose,
    measure_probabilities,
    reliability,
)
from tests.helpers.cohorts import cohort_of, simulated

ROOT = Path(__file__).resolve().parents[2]
EVIDENCE = ROOT / "evidence" / "calibration_breakhis_200x.json"


def test_scores_are_those_of_scikit_learn() -> None:
    cohort = cohort_of(simulated(3, repeats=1))
    p = sigmoid(cohort.margins)
    found = measure_probabilities(cohort, p)
    for name, weights in (("by_picture", cohort.by_image), ("balanced", cohort.balanced)):
        expected = log_loss(cohort.labels, p[0], sample_weight=weights)
        assert found[name]["log_loss"]["value"] == pytest.approx(expected)
        expected = brier_score_loss(cohort.labels, p[0], sample_weight=weights)
        assert found[name]["brier"]["value"] == pytest.approx(expected)
        for interval in found[name].values():
            assert interval["low"] is not None
            assert interval["low"] < interval["high"]


def test_calibration_error_and_reliability_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "BINS", 2)
    cohort = Cohort.of([0, 0, 1, 1, 1], ["a", "b", "c", "c", "d"], [[0.2, 0.8, 0.4, 0.9, 0.7]])
    p = sigmoid(cohort.margins)
    # Below one half .2, .4: mean .3, half malignant. Above .8, .9, .7: mean .8, two of three. |-.4| + |.4| over 5.
    found = measure_probabilities(cohort, p)["by_picture"]
    assert found["ece_equal_width"]["value"] == pytest.approx(0.16)
    # Equal mass cuts at the median .7: two below, three from there on. The same cut here.
    assert found["ece_equal_mass"]["value"] == pytest.approx(0.16)
    first, second = reliability(cohort, p)["equal_width"]
    assert (first["low"], first["high"], first["pictures"], first["groups"]) == (0, 0.5, 2, 2)
    assert first["mean_probability"] == pytest.approx(0.3)
    assert (first["malignant"]["value"], second["malignant"]["value"]) == pytest.approx((1 / 2, 2 / 3))
    assert second["groups"] == 3


def test_calibration_error_balances_classes_and_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "BINS", 1)
    cohort = Cohort.of([0, 0, 1, 1, 1], ["a", "b", "c", "c", "d"], [[0.2, 0.8, 0.4, 0.9, 0.7]])
    found = measure_probabilities(cohort, sigmoid(cohort.margins))
    # One bin: benign mean .5, malignant mean of (.65, .7) .675; their mean .5875 against one half.
    assert found["balanced"]["ece_equal_width"]["value"] == pytest.approx(0.0875)
    assert found["by_picture"]["ece_equal_width"]["value"] == pytest.approx(0)


def test_a_parameter_is_kept_only_if_it_pays_on_groups_left_out() -> None:
    blown_up = calibrate(simulated(5, 30, 30, scale=4))
    assert blown_up["chosen"] != "none"
    before, after = (
        blown_up["candidates"][name]["held_out"]["balanced"]["log_loss"]["value"] for name in ("none", "temperature")
    )
    assert after < before
    assert blown_up["log_loss_against_the_one_before"]["temperature"]["mean"] == pytest.approx(after - before)
    # The margin of two normal populations a distance of 2 apart with variance 1.49 is off by 2 / 1.53, here times 4.
    assert blown_up["candidates"]["temperature"]["temperature"] == pytest.approx(4 * 1.53 / 2, rel=0.35)
    cohort = Cohort.of([0, 0, 1, 1], ["a", "b", "c", "d"], [[0.4, 0.4, 0.6, 0.6]])
    p = sigmoid(cohort.margins)
    better, worse = (np.where(cohort.labels == 1, q, 1 - q)[None] for q in (0.9, 0.5))
    assert choose(cohort, {"none": p, "temperature": worse, "temperature and bias": better})[0] == "none"
    assert choose(cohort, {"none": p, "temperature": better, "temperature and bias": worse})[0] == "temperature"
    chosen, differences = choose(cohort, {"none": worse, "temperature": p, "temperature and bias": better})
    assert chosen == "temperature and bias"
    assert differences["temperature"]["mean"] == pytest.approx(np.log(0.5) - np.log(0.6))
    assert differences["temperature"]["standard_error"] == pytest.approx(0, abs=1e-12)


def test_a_group_has_no_say_in_its_own_figures() -> None:
    """Bend one group's predictions: the scaling and the threshold by which it is judged do not move."""
    plain = simulated(6, scale=3)
    bent = copy.deepcopy(plain)
    own = np.array(plain["groups"]) == "g004"
    p = np.array(bent["probabilities"]["dala_resnet50"])
    p[:, own] = 1 - p[:, own] / 2
    bent["probabilities"]["dala_resnet50"] = p.tolist()
    judged = []
    for predictions in (plain, bent):
        cohort = cohort_of(predictions)
        scalings = [module.fit_to(cohort, cohort.order != k, "temperature and bias") for k in range(len(cohort.names))]
        limits = held_out_thresholds(cohort, scalings, 0.1, each_class=True)
        judged.append((scalings, limits))
    k = sorted(set(plain["groups"])).index("g004")
    assert judged[0][0][k] == judged[1][0][k]
    assert judged[0][1][k] == judged[1][1][k]
    assert judged[0][0][k - 1] != judged[1][0][k - 1]


@pytest.fixture
def predictions_of_card(tmp_path: Path) -> tuple[Path, Path]:
    """Simulated predictions of the shipped card's own recipe and groups, and a copy of that card."""
    card, _ = read_card("breakhis")
    fields = {key: value for key, value in card.fields.items() if key != "calibration"}
    fields["limits"] = [NOT_CALIBRATED, "Another limit."]
    given = simulated(9, 8, 29)
    names = dict(zip(sorted(set(given["groups"])), sorted(card.training_groups), strict=True))
    given["groups"] = [names[group] for group in given["groups"]]
    given["recipe"] = {key: value for key, value in fields["recipe"].items() if key != "seed"}
    given["probabilities"]["dala_resnet50_stain_shift"] = given["probabilities"]["dala_resnet50"]
    fields["training_data"] = fields["training_data"] | {"pictures": len(given["labels"])}
    (tmp_path / "some.json").write_text(json.dumps(fields))
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps(given))
    return path, tmp_path / "some.safetensors"


@pytest.mark.slow
def test_the_card_gets_the_calibration_and_keeps_the_rest(
    predictions_of_card: tuple[Path, Path], tmp_path: Path
) -> None:
    predictions, weights = predictions_of_card
    before, _ = read_card(weights)
    record = calibration.measure(predictions, weights, tmp_path / "out" / "c.json")
    written = json.loads((tmp_path / "out" / "c.json").read_text())
    assert written == record.to_json()
    assert written["weights_sha256"] == before.fields["sha256"]
    after, _ = read_card(weights)
    assert after.fields["calibration"] == written["calibration"]
    assert after.fields["limits"] == ["Another limit.", SETS_LIMIT]
    same = before.fields.keys() - {"limits"}
    assert {key: after.fields[key] for key in same} == {key: before.fields[key] for key in same}
    assert after.calibration is not None
    assert set(after.calibration.thresholds) == {0.1, 0.05}
    # Eight benign groups cannot carry a promise for the benign class at .10; that one is reported, not served.
    assert written["sets_for_each_class"]["0.10"]["possible"] == {"benign": False, "malignant": True}
    assert written["sets_for_each_class"]["0.10"]["thresholds"]["benign"] == 0
    assert written["sets"]["0.10"]["thresholds"]["benign"] > 0
    # The same images in the same stain: the same figures.
    assert written["under_stain_change"]["sets"]["0.10"]["coverage"] == written["sets"]["0.10"]["coverage"]
    calibration.measure(predictions, weights, tmp_path / "c.json")
    again, _ = read_card(weights)
    assert again.fields == after.fields


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": {"epochs": 9}},
        {"imagenet": "torchvision"},
        {"groups": ["a"] * 10},
        {"labels": [0]},
    ],
)
def test_predictions_of_another_recipe_change_nothing(
    predictions_of_card: tuple[Path, Path], tmp_path: Path, change: dict[str, Any]
) -> None:
    predictions, weights = predictions_of_card
    predictions.write_text(json.dumps(json.loads(predictions.read_text()) | change))
    card = weights.with_suffix(".json").read_text()
    with pytest.raises(DataError, match="another recipe or of other images"):
        calibration.measure(predictions, weights, tmp_path / "c.json")
    assert weights.with_suffix(".json").read_text() == card
    assert not (tmp_path / "c.json").exists()


@pytest.mark.parametrize("content", [None, "{", "[]", "{}"])
def test_the_command_says_what_is_wrong(
    predictions_of_card: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    predictions, weights = predictions_of_card
    predictions.unlink() if content is None else predictions.write_text(content)
    call = ["calibrate", "breakhis", "--predictions", str(predictions), "--weights", str(weights)]
    assert main([*call, "--out", str(tmp_path / "c.json")]) == 1
    assert "crossvalidate" in capsys.readouterr().err


def test_the_command_prints_what_it_wrote(
    predictions_of_card: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predictions, weights = predictions_of_card
    call = ["calibrate", "breakhis", "--predictions", str(predictions), "--weights", str(weights)]
    assert main([*call, "--out", str(tmp_path / "c.json")]) == 0
    written = json.loads((tmp_path / "c.json").read_text())
    printed = capsys.readouterr().out
    assert f"scaling kept: {written['chosen']}" in printed
    assert f"coverage {written['sets']['0.05']['coverage']['by_picture']['value']:.3f}" in printed


def test_the_shipped_card_says_what_the_evidence_says() -> None:
    """Both are of one run of the command on the predictions that lie beside, for the weights that lie there."""
    record = json.loads(EVIDENCE.read_text(encoding="utf-8"))
    card, _ = read_card("breakhis")
    assert card.fields["calibration"] == record["calibration"]
    assert record["weights_sha256"] == card.fields["sha256"]
    assert NOT_CALIBRATED not in card.fields["limits"]


def numbers(record: Any, path: str = "") -> dict[str, float]:
    """Every number of a record by its path, NaN for one that is missing."""
    if isinstance(record, dict | list):
        parts = record.items() if isinstance(record, dict) else enumerate(record)
        return {name: value for key, part in parts for name, value in numbers(part, f"{path}/{key}").items()}
    return {} if isinstance(record, str) else {path: np.nan if record is None else record}


@pytest.mark.parametrize("name", ["breakhis_200x", pytest.param("mini_ddsm", marks=pytest.mark.slow)])
def test_every_shipped_figure_follows_from_the_stored_predictions(name: str) -> None:
    record = json.loads((ROOT / "evidence" / f"calibration_{name}.json").read_text(encoding="utf-8"))
    given = json.loads((ROOT / "evidence" / f"{name}_predictions.json").read_text(encoding="utf-8"))
    again, shipped = numbers(calibrate(given)), numbers(record)
    assert len(shipped) > 300
    assert again == pytest.approx(shipped, rel=1e-9, nan_ok=True)
