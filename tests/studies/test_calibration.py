"""Calibration against other libraries and by hand; thresholds by hand; coverage over simulated cohorts; the card."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss

from dala.cli.main import main
from dala.errors import DataError
from dala.runtime.calibration import NOT_CALIBRATED, Calibration
from dala.runtime.card import read_card
from dala.studies import calibration as module
from dala.studies.calibration import (
    SETS_LIMIT,
    Cohort,
    Scaling,
    calibrate,
    calibrate_weights,
    choose,
    fit_scaling,
    least_probability,
    measure_probabilities,
    measure_sets,
    members,
    reliability,
    resampled_groups,
    thresholds_of,
)

ROOT = Path(__file__).resolve().parents[2]
EVIDENCE = ROOT / "evidence" / "calibration_breakhis_200x.json"


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def simulated(seed: int, benign: int = 10, malignant: int = 20, scale: float = 1.0, repeats: int = 2) -> dict[str, Any]:
    """Groups of 2 to 9 images; a patient's and an image's deviation; margins `scale` times too large."""
    draw = np.random.default_rng(seed)
    labels, groups, margins = [], [], []
    for k in range(benign + malignant):
        label = int(k >= benign)
        patient = draw.normal(2 * label - 1, 1)
        for _ in range(draw.integers(2, 10)):
            labels.append(label)
            groups.append(f"g{k:03}")
            margins.append(scale * (patient + draw.normal(0, 0.7) + draw.normal(0, 0.2, repeats)))
    probabilities = sigmoid(np.array(margins).T)
    return {
        "protocol": "p", "command": "c", "imagenet": "npm", "recipe": {},
        "data": {"pictures": len(labels), "groups": benign + malignant},
        "labels": labels, "groups": groups, "probabilities": {"dala_resnet50": probabilities.tolist()},
    }  # fmt: skip


def cohort_of(predictions: dict[str, Any]) -> Cohort:
    return Cohort.of(predictions["labels"], predictions["groups"], predictions["probabilities"]["dala_resnet50"])


def test_fit_is_an_unpenalised_logistic_regression() -> None:
    draw = np.random.default_rng(0)
    margins, labels = draw.normal(0, 3, (1, 200)), draw.integers(0, 2, 200)
    labels = np.where(draw.random(200) < 0.7, margins[0] > 0, labels).astype(np.int64)
    weights = draw.uniform(0.5, 2, 200)
    for bias in (False, True):
        fitted = fit_scaling(margins, labels, weights, bias=bias)
        known = LogisticRegression(C=np.inf, fit_intercept=bias, tol=1e-10).fit(margins.T, labels, weights)
        assert 1 / fitted.temperature == pytest.approx(known.coef_[0, 0], rel=1e-3)
        assert fitted.bias == pytest.approx(known.intercept_[0] if bias else 0, abs=1e-3)
    assert fit_scaling(margins, labels, weights, temperature=False) == Scaling(1.0, 0.0)


def test_repeats_share_a_images_weight() -> None:
    draw = np.random.default_rng(1)
    margins = draw.normal(0, 2, (3, 50))
    labels = (margins.mean(0) + draw.normal(0, 2, 50) > 0).astype(np.int64)
    three = fit_scaling(margins, labels, np.ones(50), bias=True)
    flat = fit_scaling(margins.reshape(1, -1), np.tile(labels, 3), np.ones(150), bias=True)
    assert (three.temperature, three.bias) == pytest.approx((flat.temperature, flat.bias), rel=1e-4)


def test_temperature_stays_in_its_bounds_where_classes_do_not_overlap() -> None:
    labels = np.array([0, 0, 1, 1])
    assert fit_scaling(np.array([[-2.0, -1, 1, 2]]), labels, np.ones(4)).temperature == pytest.approx(0.1)
    assert fit_scaling(np.array([[2.0, 1, -1, -2]]), labels, np.ones(4)).temperature == pytest.approx(10)


def test_threshold_by_hand() -> None:
    # Three groups: sizes 1, 2, 1, so shares 1, 1/2, 1/2, 1, and one share for the patient to come: 4 in all.
    confidence, order = np.array([[0.9, 0.8, 0.3, 0.6]]), np.array([0, 1, 1, 2])
    # Sorted .9 (1), .8 (1.5), .6 (2.5), .3 (3); alpha .5 asks for 2, .375 for 2.5, .25 for 3, .2 for 3.2: too much.
    for alpha, expected in ((0.5, 0.6), (0.375, 0.6), (0.37, 0.3), (0.25, 0.3), (0.2, 0.0)):
        assert least_probability(confidence, order, alpha) == expected
    # A second repeat halves the shares within a group: .9 (.5), .8 (.75), .7 (1.25), .6 (1.75), .5 (2) ...
    twice = np.array([[0.9, 0.8, 0.3, 0.6], [0.7, 0.2, 0.1, 0.5]])
    assert least_probability(twice, order, 0.5) == 0.5


@pytest.mark.parametrize(
    ("groups", "alpha", "possible"), [(8, 0.1, False), (9, 0.1, True), (18, 0.05, False), (19, 0.05, True)]
)
def test_how_many_groups_an_alpha_needs(groups: int, alpha: float, possible: bool) -> None:
    confidence = np.linspace(0.3, 0.9, groups)[None]
    assert least_probability(confidence, np.arange(groups), alpha) == (pytest.approx(0.3) if possible else 0)
    assert (module._needed(alpha) <= groups) is possible


def test_thresholds_for_each_class_come_from_its_own_groups() -> None:
    probability = np.array([[0.1, 0.2, 0.9, 0.7]])  # confidence .9, .8 benign, .9, .7 malignant
    labels, order = np.array([0, 0, 1, 1]), np.arange(4)
    assert thresholds_of(probability, labels, order, 0.4, each_class=False) == pytest.approx((0.8, 0.8))
    assert thresholds_of(probability, labels, order, 0.4, each_class=True) == pytest.approx((0.8, 0.7))


def test_sets_by_hand() -> None:
    cohort = Cohort.of([0, 0, 0, 1, 1], ["a", "a", "b", "c", "d"], [[0.1, 0.5, 0.9, 0.8, 0.3]])
    inside = members(sigmoid(cohort.margins), [(0.6, 0.6)] * 4, cohort.order)
    assert inside[0].astype(int).tolist() == [[1, 1, 0, 0, 1]]  # the second was empty and became both
    assert inside[1].astype(int).tolist() == [[0, 1, 1, 1, 0]]
    found = measure_sets(cohort, inside, resampled_groups(cohort))
    values = {key: {name: one["value"] for name, one in part.items()} for key, part in found.items()}
    # Covered: yes, yes (both), no, yes, no. By group: a 1, b 0, c 1, d 0.
    assert values["coverage"] == pytest.approx({"by_picture": 0.6, "by_group": 0.5, "benign": 0.5, "malignant": 0.5})
    assert values["not_sure"] == pytest.approx({"by_picture": 0.2, "by_group": 1 / 8, "benign": 1 / 4, "malignant": 0})
    # Sure: images 1, 3, 4, 5, right in 1 and 4; by group a 1/2 of 1/2, b, c, d.
    assert values["right_when_sure"] == pytest.approx(
        {"by_picture": 0.5, "by_group": 1.5 / 3.5, "when_benign": 0.5, "when_malignant": 0.5}
    )
    everything = members(sigmoid(cohort.margins), [(0.0, 0.0)] * 4, cohort.order)
    none_sure = measure_sets(cohort, everything, resampled_groups(cohort))
    assert none_sure["right_when_sure"]["by_picture"] == {"value": None, "low": None, "high": None}
    assert none_sure["coverage"]["by_group"] == {"value": 1.0, "low": 1.0, "high": 1.0}


def test_the_thresholds_that_are_served_give_the_measured_sets() -> None:
    """members() here and Calibration.set_of() on the server are one rule."""
    calibration = Calibration(("benign", "malignant"), 1.0, (0.0, 0.0), {0.1: (0.7, 0.6)})
    probability = np.array([[0.1, 0.3, 0.35, 0.5, 0.6, 0.95]])
    inside = members(probability, [(0.7, 0.6)], np.zeros(6, dtype=np.intp))
    for k, p in enumerate(probability[0]):
        served = calibration.set_of(np.array([1 - p, p]), 0.1).classes
        assert served == tuple(name for name, part in zip(calibration.classes, inside[:, 0, k], strict=True) if part)


@pytest.mark.parametrize("alpha", [0.1, 0.2])
def test_coverage_of_new_patients_in_simulation(alpha: float) -> None:
    """Thresholds of 30 groups, 20 new groups each time: hits average at 1 - alpha, up to 1 / 31 above."""
    covered = []
    for seed in range(150):
        known, new = cohort_of(simulated(2 * seed, 15, 15)), cohort_of(simulated(2 * seed + 1, 10, 10))
        least = thresholds_of(sigmoid(known.margins), known.labels, known.order, alpha, each_class=False)
        p = sigmoid(new.margins)
        confidence = np.where(new.labels == 1, p, 1 - p)
        covered.append(np.average(confidence >= least[0], weights=np.broadcast_to(new.by_group, p.shape)))
    error = np.std(covered) / np.sqrt(len(covered))
    assert 1 - alpha - 3 * error < np.mean(covered) < 1 - alpha + 1 / 31 + 3 * error


def test_scores_are_those_of_scikit_learn() -> None:
    cohort = cohort_of(simulated(3, repeats=1))
    p = sigmoid(cohort.margins)
    found = measure_probabilities(cohort, p, resampled_groups(cohort))
    for name, weights in (("by_picture", cohort.by_image), ("balanced", cohort.balanced)):
        expected = log_loss(cohort.labels, p[0], sample_weight=weights)
        assert found[name]["log_loss"]["value"] == pytest.approx(expected)
        expected = brier_score_loss(cohort.labels, p[0], sample_weight=weights)
        assert found[name]["brier"]["value"] == pytest.approx(expected)
        for interval in found[name].values():
            assert interval["low"] is not None
            assert interval["low"] < interval["high"]


def test_calibration_error_and_reliability_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BINS", 2)
    cohort = Cohort.of([0, 0, 1, 1, 1], ["a", "b", "c", "c", "d"], [[0.2, 0.8, 0.4, 0.9, 0.7]])
    p, draws = sigmoid(cohort.margins), resampled_groups(cohort)
    # Below one half .2, .4: mean .3, half malignant. Above .8, .9, .7: mean .8, two of three. |-.4| + |.4| over 5.
    found = measure_probabilities(cohort, p, draws)["by_picture"]
    assert found["ece_equal_width"]["value"] == pytest.approx(0.16)
    # Equal mass cuts at the median .7: two below, three from there on. The same cut here.
    assert found["ece_equal_mass"]["value"] == pytest.approx(0.16)
    first, second = reliability(cohort, p, draws)["equal_width"]
    assert (first["low"], first["high"], first["pictures"], first["groups"]) == (0, 0.5, 2, 2)
    assert first["mean_probability"] == pytest.approx(0.3)
    assert (first["malignant"]["value"], second["malignant"]["value"]) == pytest.approx((1 / 2, 2 / 3))
    assert second["groups"] == 3


def test_calibration_error_balances_classes_and_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BINS", 1)
    cohort = Cohort.of([0, 0, 1, 1, 1], ["a", "b", "c", "c", "d"], [[0.2, 0.8, 0.4, 0.9, 0.7]])
    found = measure_probabilities(cohort, sigmoid(cohort.margins), resampled_groups(cohort))
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
        limits = module.held_out_thresholds(cohort, scalings, 0.1, each_class=True)
        judged.append((scalings, limits))
    k = sorted(set(plain["groups"])).index("g004")
    assert judged[0][0][k] == judged[1][0][k]
    assert judged[0][1][k] == judged[1][1][k]
    assert judged[0][0][k - 1] != judged[1][0][k - 1]


def test_a_temperature_changes_no_set() -> None:
    cohort = cohort_of(simulated(7))
    answers = []
    for scaling in (Scaling(), Scaling(3.0), Scaling(0.4)):
        p = scaling.probability(cohort.margins)
        least = thresholds_of(p, cohort.labels, cohort.order, 0.2, each_class=False)
        answers.append(members(p, [least] * len(cohort.names), cohort.order))
    np.testing.assert_array_equal(answers[0], answers[1])
    np.testing.assert_array_equal(answers[0], answers[2])


def test_groups_are_resampled_within_their_class() -> None:
    cohort = cohort_of(simulated(8, 4, 9))
    draws = resampled_groups(cohort, 500)
    np.testing.assert_array_equal(draws[:, :4].sum(1), 4)
    np.testing.assert_array_equal(draws[:, 4:].sum(1), 9)
    assert draws[:, 0].mean() == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize(
    ("labels", "groups", "probabilities"),
    [
        ([0, 1], ["a", "b"], [[0.1, 0.2]]),  # one group of each class
        ([0, 0, 1, 1], ["a", "b", "c", "d"], [[0.1, 0.2, 0.3, 1.1]]),
        ([0, 0, 1, 1], ["a", "b", "c", "d"], [[0.1, 0.2, 0.3, float("nan")]]),
        ([0, 0, 1, 1], ["a", "b", "c", "d"], [[0.1, 0.2]]),
        ([0, 0, 1, 1], ["a", "b"], [[0.1, 0.2, 0.3, 0.4]]),
    ],
)
def test_unusable_predictions_are_a_sentence(labels: Any, groups: Any, probabilities: Any) -> None:
    with pytest.raises(DataError, match=r"^Calibration .+\.$"):
        Cohort.of(labels, groups, probabilities)


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


def test_the_card_gets_the_calibration_and_keeps_the_rest(
    predictions_of_card: tuple[Path, Path], tmp_path: Path
) -> None:
    predictions, weights = predictions_of_card
    before, _ = read_card(weights)
    record = calibrate_weights(predictions, weights, tmp_path / "out" / "c.json")
    written = json.loads((tmp_path / "out" / "c.json").read_text())
    assert written == json.loads(json.dumps(record))
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
    calibrate_weights(predictions, weights, tmp_path / "c.json")
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
        calibrate_weights(predictions, weights, tmp_path / "c.json")
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
    given = json.loads((ROOT / "evidence" / "breakhis_200x_predictions.json").read_text(encoding="utf-8"))
    again = json.loads(json.dumps(calibrate(given)))
    for alpha, thresholds in record["calibration"]["thresholds"].items():
        assert again["calibration"]["thresholds"][alpha] == pytest.approx(thresholds)
    assert again["sets"]["0.10"]["coverage"]["by_picture"]["value"] == pytest.approx(
        record["sets"]["0.10"]["coverage"]["by_picture"]["value"]
    )
    assert NOT_CALIBRATED not in card.fields["limits"]
