"""Scores against tables worked out by hand, scikit-learn and imbalanced-learn; intervals against what they promise."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from dala.stats import metrics
from dala.stats.metrics import (
    BINARY_METRICS,
    MULTICLASS_METRICS,
    bin_edges,
    bin_of,
    binary_intervals,
    binary_scores,
    calibration_error,
    multiclass_intervals,
    multiclass_scores,
)
from dala.stats.paired import paired_difference
from tests.helpers.cohorts import random_case


def table(tp: int, fn: int, tn: int, fp: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities .9 / .1 that give this 2x2 table."""
    return np.array([1] * (tp + fn) + [0] * (tn + fp)), np.array([0.9] * tp + [0.1] * fn + [0.1] * tn + [0.9] * fp)


def test_a_table_by_hand() -> None:
    # TP 8, FN 2, TN 3, FP 1: TPR 8/10, TNR 3/4.
    scores = binary_scores(*table(tp=8, fn=2, tn=3, fp=1))
    assert scores == {
        # Pairs: 8 x 3 won, 8 x 1 and 2 x 3 tied, 2 x 1 lost: (24 + 14 / 2) / 40.
        "auc": pytest.approx(31 / 40),
        "balanced_accuracy": pytest.approx(0.775),
        "accuracy": pytest.approx(11 / 14),
        "sensitivity": pytest.approx(0.8),
        "specificity": pytest.approx(0.75),
        # 2 TP / (2 TP + FP + FN) = 16 / 19
        "f1": pytest.approx(16 / 19),
        "gmean": pytest.approx(sqrt(0.6)),
        # (1 + 0.1 x 0.05) x 0.6
        "iba": pytest.approx(0.603),
        # 11 right ones miss by 0.1, 3 wrong ones by 0.9
        "brier": pytest.approx((11 * 0.01 + 3 * 0.81) / 14),
        # .9 is said of 8 malignant and 1 benign (promised 8.1), .1 of 3 benign and 2 malignant (promised .5).
        "ece": pytest.approx((0.1 + 1.5) / 14),
    }


def test_an_unbalanced_table_by_hand() -> None:
    # Everything is called malignant: TPR 1, TNR 0. High accuracy, and GMean and IBA see through it.
    scores = binary_scores(*table(tp=9, fn=0, tn=0, fp=1))
    assert scores["accuracy"] == pytest.approx(0.9)
    assert scores["f1"] == pytest.approx(18 / 19)
    assert (scores["gmean"], scores["iba"], scores["balanced_accuracy"], scores["auc"]) == (0, 0, 0.5, 0.5)


def test_iba_prefers_sensitivity() -> None:
    # TPR .9, TNR .5: (1 + .04) .45 = .468; mirrored: (1 - .04) .45 = .432.
    assert binary_scores(*table(9, 1, 5, 5))["iba"] == pytest.approx(0.468)
    assert binary_scores(*table(5, 5, 9, 1))["iba"] == pytest.approx(0.432)


@pytest.mark.parametrize("seed", range(5))
def test_against_scikit_learn(seed: int) -> None:
    labels, p = random_case(seed)
    called = p >= 0.5
    scores = binary_scores(labels, p)
    assert scores["auc"] == pytest.approx(sk.roc_auc_score(labels, p), abs=1e-12)
    assert scores["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(labels, called))
    assert scores["accuracy"] == pytest.approx(sk.accuracy_score(labels, called))
    assert scores["sensitivity"] == pytest.approx(sk.recall_score(labels, called))
    assert scores["specificity"] == pytest.approx(sk.recall_score(labels, called, pos_label=0))
    assert scores["f1"] == pytest.approx(sk.f1_score(labels, called))
    assert scores["brier"] == pytest.approx(sk.brier_score_loss(labels, p))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_against_imbalanced_learn(seed: int) -> None:
    from imblearn.metrics import geometric_mean_score, make_index_balanced_accuracy

    labels, p = random_case(seed)
    called = (p >= 0.5).astype(int)
    scores = binary_scores(labels, p)
    options = {"pos_label": 1, "average": "binary"}
    assert scores["gmean"] == pytest.approx(geometric_mean_score(labels, called, **options))
    # (1 + a (TPR - TNR)) TPR TNR is the weighted *square* of the GMean.
    iba = make_index_balanced_accuracy(alpha=0.1, squared=True)(geometric_mean_score)
    assert scores["iba"] == pytest.approx(iba(labels, called, **options))
    # The trap: macro averaging over both classes cancels the dominance, and IBA becomes GMean^2.
    assert scores["iba"] != pytest.approx(iba(labels, called, average="macro"), abs=1e-4)


def test_the_threshold_itself_is_malignant() -> None:
    labels, p = np.array([1, 1, 0, 0]), np.array([0.5, 0.4999, 0.5, 0.4999])
    assert binary_scores(labels, p)["sensitivity"] == 0.5
    assert binary_scores(labels, p)["specificity"] == 0.5


def test_one_class_only_leaves_scores_without_a_value() -> None:
    malignant = binary_scores([1, 1, 1, 1], [0.9, 0.8, 0.7, 0.1])
    assert {name for name, value in malignant.items() if value is None} == {
        "auc", "balanced_accuracy", "specificity", "gmean", "iba",
    }  # fmt: skip
    assert malignant["sensitivity"] == malignant["accuracy"] == pytest.approx(0.75)
    assert malignant["f1"] == pytest.approx(6 / 7)
    benign = binary_scores([0, 0], [0.9, 0.2])
    assert {name for name, value in benign.items() if value is not None} == {"accuracy", "specificity", "brier", "ece"}


@pytest.mark.parametrize(
    ("labels", "p", "message"),
    [
        ([0, 1], [0.2, 1.2], "between 0 and 1"),
        ([0, 1], [0.2, float("nan")], "between 0 and 1"),
        ([0, 2], [0.2, 0.3], "Labels must be 0"),
        ([0, 1, 1], [0.2, 0.3], "are needed"),
        ([], [], "are needed"),
        ([0, 1], [[0.2, 0.3], [0.1, 0.2]], "binary_intervals takes repeats"),
    ],
)
def test_wrong_arguments(labels: list, p: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        binary_scores(labels, p)
    if "repeats" not in message:
        with pytest.raises(ValueError, match=message):
            binary_intervals(labels, p, ["a"] * len(labels))


@pytest.mark.slow
def test_the_bootstrap_is_the_one_that_copies_images_about() -> None:
    """The fast bootstrap against a plain one: the same draws, images really copied, scikit-learn for the AUC."""
    labels, p = random_case(0, images=120)
    groups = np.array([f"{label}-{i % 6}" for i, label in enumerate(labels)])
    fast = binary_intervals(labels, p, groups, resamples=100, seed=4)

    names = np.unique(groups)
    random, plain = np.random.default_rng(4), []
    benign, malignant = (np.flatnonzero([name.startswith(label) for name in names]) for label in "01")
    counts = np.zeros((100, names.size), dtype=int)
    for stratum in (benign, malignant):
        counts[:, stratum] = random.multinomial(stratum.size, np.full(stratum.size, 1 / stratum.size), 100)
    for draw in counts:
        copied = np.concatenate([np.flatnonzero(groups == name) for name in np.repeat(names, draw)])
        y, q = labels[copied], p[copied]
        plain.append([sk.roc_auc_score(y, q), sk.balanced_accuracy_score(y, q >= 0.5), sk.f1_score(y, q >= 0.5),
                      sk.brier_score_loss(y, q)])  # fmt: skip
    low, high = np.quantile(plain, [0.025, 0.975], axis=0)
    for column, name in enumerate(["auc", "balanced_accuracy", "f1", "brier"]):
        assert fast[name]["low"] == pytest.approx(low[column], abs=1e-12)
        assert fast[name]["high"] == pytest.approx(high[column], abs=1e-12)


def test_values_are_the_plain_scores_and_lie_within_their_intervals() -> None:
    labels, p = random_case(1)
    groups = np.arange(300) % 40
    plain, intervals = binary_scores(labels, p), binary_intervals(labels, p, groups)
    assert tuple(intervals) == BINARY_METRICS
    for name, interval in intervals.items():
        if name != "patient_recognition_rate":
            assert interval["value"] == pytest.approx(plain[name])
        assert interval["low"] < interval["value"] < interval["high"]


def test_repeats_average_and_do_not_shrink_to_the_seed() -> None:
    labels, first = random_case(2)
    second = np.clip(first + np.random.default_rng(0).normal(0, 0.2, 300), 0, 1)
    groups = np.arange(300) % 20
    both = binary_intervals(labels, np.stack([first, second]), groups)
    one, two = binary_scores(labels, first), binary_scores(labels, second)
    for name in one:
        assert both[name]["value"] == pytest.approx((one[name] + two[name]) / 2)
    # The same repeat twice says nothing new: exactly the interval of one.
    assert binary_intervals(labels, np.stack([first, first]), groups) == binary_intervals(labels, first, groups)


def test_same_seed_same_interval() -> None:
    labels, p = random_case(3)
    groups = np.arange(300) % 11
    assert binary_intervals(labels, p, groups, seed=1) == binary_intervals(labels, p, groups, seed=1)
    assert binary_intervals(labels, p, groups, seed=1) != binary_intervals(labels, p, groups, seed=2)


def test_one_group_gives_values_without_an_interval() -> None:
    labels, p = random_case(4)
    for interval in binary_intervals(labels, p, np.zeros(300)).values():
        assert interval["value"] is not None
        assert interval["low"] is None and interval["high"] is None


def test_one_class_gives_null_throughout() -> None:
    intervals = binary_intervals([1, 1, 1], [0.9, 0.8, 0.2], ["a", "b", "c"])
    assert intervals["auc"] == intervals["specificity"] == {"value": None, "low": None, "high": None}
    # Drawn from three patients of whom two are right: from 0 to 1.
    assert intervals["sensitivity"] == {"value": pytest.approx(2 / 3), "low": 0, "high": 1}
    assert intervals["accuracy"] == intervals["sensitivity"]


def test_a_class_with_one_patient_has_no_interval_and_the_other_has() -> None:
    labels, p = table(tp=6, fn=2, tn=3, fp=1)
    intervals = binary_intervals(labels, p, ["a", "b"] * 4 + ["c"] * 4)
    assert {name for name, interval in intervals.items() if interval["low"] is not None} == {"sensitivity"}


def test_groups_are_drawn_whole() -> None:
    # Patient a is always right, b always wrong: with two malignant patients the sensitivity is 0, 1/2 or 1.
    labels = [1] * 20 + [0] * 4
    p = [0.9] * 10 + [0.1] * 10 + [0.1] * 4
    groups = ["a"] * 10 + ["b"] * 10 + ["c", "c", "d", "d"]
    assert binary_intervals(labels, p, groups)["sensitivity"] == {"value": 0.5, "low": 0, "high": 1}


def test_a_single_patient_with_both_classes_is_drawn_like_the_others() -> None:
    # Malignant images: m and n all right, x all wrong. x has benign images too and joins m and n. Three draws from
    # m, n, x are all x in 1 of 27 resamples (3.7 %, more than the 2.5 % tail) and without x in 8 of 27.
    labels = [1] * 30 + [0] * 12
    p = [0.9] * 20 + [0.1] * 10 + [0.1] * 12
    groups = ["m"] * 10 + ["n"] * 10 + ["x"] * 10 + ["x"] * 4 + ["b"] * 4 + ["c"] * 4
    interval = binary_intervals(labels, p, groups)["sensitivity"]
    assert interval == {"value": pytest.approx(2 / 3), "low": 0, "high": 1}


def test_patients_with_both_classes_never_leave_a_draw_without_one() -> None:
    labels, p = random_case(5, images=40)
    mixed = np.arange(40) % 4  # four patients, all with both classes
    single = np.where(np.arange(40) < 4, "mixed", np.where(labels == 1, "m", "b") + (np.arange(40) % 3).astype(str))
    assert len(set(labels[single == "mixed"])) == 2
    for groups in (mixed, single):
        for interval in binary_intervals(labels, p, groups).values():
            assert interval["low"] <= interval["value"] <= interval["high"]


@pytest.mark.slow
def test_intervals_cover_the_truth_and_only_by_patient() -> None:
    """100 cohorts of 20 + 20 patients with 15 images each, whose share of right images differs between patients.

    A patient's sensitivity is drawn from Beta(2, 1/2), mean .8, so the truth is .8. The interval by patient must cover
    it in about 95 of 100 cohorts (the percentile bootstrap of 20 groups falls a little short of that). Images of a
    patient correlate by 1 / (2 + 1/2 + 1) = .29, so the variance is 1 + 14 x .29 = 5 times that of independent
    images, and the interval by image covers only about 62 times: P(|z| < 1.96 / sqrt 5).
    """
    random = np.random.default_rng(0)
    covered = {"patient": 0, "picture": 0}
    labels, patients = np.repeat([0, 1], 300), np.repeat(np.arange(40), 15)
    for cohort in range(100):
        right = random.random(600) < np.repeat(random.beta(2, 0.5, 40), 15)
        p = np.where(right == (labels == 1), 0.9, 0.1)
        for unit, groups in (("patient", patients), ("picture", np.arange(600))):
            interval = binary_intervals(labels, p, groups, resamples=200, seed=cohort)["sensitivity"]
            covered[unit] += interval["low"] <= 0.8 <= interval["high"]
    assert 86 <= covered["patient"] <= 100
    assert 50 <= covered["picture"] <= 74


def test_several_classes_by_hand() -> None:
    # Rows true, columns called:   0  1  2
    #                           0  3  1  0    recall 3/4
    #                           1  1  1  0    recall 1/2
    #                           2  0  0  2    recall 1
    labels = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    called = np.array([0, 0, 0, 1, 0, 1, 2, 2])
    scores = multiclass_scores(labels, np.eye(3)[called])
    assert scores["accuracy"] == pytest.approx(6 / 8)
    # F1: 2 3 / (4 + 4), 2 1 / (2 + 2), 1
    assert scores["f1"] == pytest.approx((0.75 + 0.5 + 1) / 3)
    assert scores["gmean"] == pytest.approx((0.75 * 0.5) ** (1 / 3))
    # TNR: 3/4, 5/6, 1. IBA: .5625 (1 + 0), (1 - .1 / 3) 5/12, 1
    assert scores["iba"] == pytest.approx((0.5625 + (1 - 0.1 / 3) * 5 / 12 + 1) / 3)
    assert scores["balanced_accuracy"] == pytest.approx(2.25 / 3)
    # Certain of every call: a wrong one costs 1 + 1. Class 0 against the rest: 3 x 3 pairs won, 3 x 1 and 1 x 3 tied,
    # 1 x 1 lost; class 1: 1 x 5 won, 1 x 1 and 1 x 5 tied, 1 x 1 lost; class 2: all won.
    assert scores["brier"] == pytest.approx(2 * 2 / 8)
    assert scores["auc"] == pytest.approx(((9 + 3) / 16 + (5 + 3) / 12 + 1) / 3)
    assert scores["ece"] == pytest.approx(2 / 8)


@pytest.mark.parametrize("seed", range(3))
def test_several_classes_against_other_programs(seed: int) -> None:
    from imblearn.metrics import geometric_mean_score, make_index_balanced_accuracy

    random = np.random.default_rng(seed)
    labels = random.integers(0, 5, 200)
    p = random.dirichlet(np.ones(6), 200)  # a sixth class that no image has
    p[np.arange(200), labels] += 0.2
    called = p.argmax(axis=1)
    scores = multiclass_scores(labels, p)
    assert scores["accuracy"] == pytest.approx(sk.accuracy_score(labels, called))
    assert scores["f1"] == pytest.approx(sk.f1_score(labels, called, average="macro", labels=np.arange(5)))
    assert scores["gmean"] == pytest.approx(geometric_mean_score(labels, called, labels=np.arange(5)))
    iba = make_index_balanced_accuracy(alpha=0.1, squared=True)(geometric_mean_score)
    per_class = iba(labels, called, labels=np.arange(5), average=None)
    assert scores["iba"] == pytest.approx(np.mean(per_class))
    assert scores["balanced_accuracy"] == pytest.approx(
        sk.recall_score(labels, called, labels=np.arange(5), average="macro")
    )
    against = [sk.roc_auc_score(labels == k, p[:, k]) for k in range(5)]
    assert scores["auc"] == pytest.approx(np.mean(against))
    q = p / p.sum(axis=1, keepdims=True)
    assert multiclass_scores(labels, q)["brier"] == pytest.approx(
        sk.brier_score_loss(labels, q, labels=np.arange(6), scale_by_half=False)
    )
    assert multiclass_scores(labels, q)["ece"] == pytest.approx(of_called_class(labels, q))


def test_several_classes_refuse_what_makes_no_sense() -> None:
    assert multiclass_scores([1, 1], [[0.2, 0.8], [0.9, 0.1]]) == {
        "accuracy": 0.5, "f1": pytest.approx(2 / 3), "gmean": None, "iba": None, "balanced_accuracy": None, "auc": None,
        # (.04 + .04 + .81 + .81) / 2; promised .8 and .9, right and wrong
        "brier": pytest.approx(0.85), "ece": pytest.approx((0.2 + 0.9) / 2),
    }  # fmt: skip
    with pytest.raises(ValueError, match="Labels must be 0 to 1"):
        multiclass_scores([0, 2], [[0.5, 0.5], [0.5, 0.5]])
    with pytest.raises(ValueError, match="not finite"):
        multiclass_scores([0], [[0.5, float("nan")]])
    with pytest.raises(ValueError, match="are needed"):
        multiclass_scores([0, 1], [0.5, 0.5])


def expected_calibration_error(truth: np.ndarray, promised: np.ndarray, equal_mass: bool = False) -> float | None:
    """The error of plain images, all in one group."""
    images = np.size(truth)
    return calibration_error(
        np.asarray(truth), np.asarray(promised)[None], np.zeros(images, int), np.ones(images), np.ones((1, 1)),
        equal_mass=equal_mass,
    )["value"]  # fmt: skip


def of_called_class(labels: np.ndarray, p: np.ndarray) -> float | None:
    """The same of several classes: the probability of the called one as a promise to be right."""
    q = np.asarray(p)
    return expected_calibration_error(q.argmax(axis=1) == labels, q.max(axis=1))


def test_calibration_error_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, p = [0, 0, 1, 1, 1], [0.1, 0.3, 0.45, 0.8, 1.0]
    assert expected_calibration_error([1, 0, 1, 0], [0.5] * 4) == 0
    monkeypatch.setattr(metrics, "BINS", 2)
    # Two bins: [0, .5) promises .85 and holds 1 malignant; [.5, 1] promises 1.8 and holds 2: (.15 + .2) / 5.
    assert expected_calibration_error(labels, p) == pytest.approx(0.07)
    # Equal mass: the median, .45, opens the second bin. .4 promised and 0 there; 2.25 promised and 3 there.
    assert expected_calibration_error(labels, p, equal_mass=True) == pytest.approx((0.4 + 0.75) / 5)
    # A bin holds its lower edge, and the last one 1.
    assert expected_calibration_error([1, 0], [0.5, 1.0]) == pytest.approx(abs(1.5 - 1) / 2)


def test_calibration_error_of_several_classes_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # Called 0 (.6, right), 1 (.8, right), 2 (.9, wrong): bins of a tenth, one each.
    p = [[0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.05, 0.05, 0.9]]
    monkeypatch.setattr(metrics, "BINS", 10)
    assert multiclass_scores([0, 1, 1], p)["ece"] == pytest.approx((0.4 + 0.2 + 0.9) / 3)
    assert of_called_class([0, 1, 1], p) == pytest.approx((0.4 + 0.2 + 0.9) / 3)
    # One bin: 2.3 promised, 2 right.
    monkeypatch.setattr(metrics, "BINS", 1)
    assert of_called_class([0, 1, 1], p) == pytest.approx(0.3 / 3)


@pytest.mark.parametrize("bins", [5, 15])
def test_calibration_error_against_scikit_learns_curve(bins: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "BINS", bins)
    labels, p = random_case(7)
    p = np.random.default_rng(0).permutation(np.linspace(0.0013, 0.9987, 300))  # no ties, none on an edge
    for equal_mass, strategy in ((False, "uniform"), (True, "quantile")):
        share, promised = calibration_curve(labels, p, n_bins=bins, strategy=strategy)
        inside = bin_of(p, bin_edges(p, equal_mass=equal_mass))
        expected = np.sum(np.bincount(inside) * np.abs(share - promised)) / 300
        assert expected_calibration_error(labels, p, equal_mass) == pytest.approx(expected)
        if equal_mass:
            assert set(np.bincount(inside)) == {300 // bins}
    assert binary_scores(labels, p)["ece"] == pytest.approx(expected_calibration_error(labels, p))


def test_patient_recognition_rate_by_hand() -> None:
    # Patient a: 3 of 4 right, b: 0 of 1, c: 2 of 2. Images: 5 of 7; patients: (3/4 + 0 + 1) / 3.
    labels = [1, 1, 1, 1, 0, 0, 0]
    p = [0.9, 0.5, 0.7, 0.2, 0.6, 0.1, 0.4]
    patients = list("aaaabcc")
    intervals = binary_intervals(labels, p, patients)
    assert intervals["patient_recognition_rate"]["value"] == pytest.approx(1.75 / 3)
    assert intervals["accuracy"]["value"] == pytest.approx(5 / 7)
    several = np.stack([1 - np.array(p), np.array(p), np.zeros(7)], axis=1)
    intervals = multiclass_intervals(labels, several, patients, "xyz")
    expected = pytest.approx((0.5 + 0 + 1) / 3)  # a tie calls 0
    assert intervals["patient_recognition_rate"]["value"] == expected
    with pytest.raises(ValueError, match="groups of shape"):
        binary_intervals(labels, p, ["a"])


def test_patient_recognition_rate_draws_patients() -> None:
    # Two malignant patients, one always right and one never, and two benign ones always right: (1 + 0 + 2) / 4, and
    # the malignant two are 0, 1 or 2 times right in a resample.
    labels, p = [1, 1, 0, 0], [0.9, 0.1, 0.1, 0.1]
    interval = binary_intervals(labels, p, list("abcd"))["patient_recognition_rate"]
    assert interval == {"value": 0.75, "low": 0.5, "high": 1.0}
    found = paired_difference(labels, p, [0.9, 0.9, 0.1, 0.1], list("abcd"), metric="patient_recognition_rate")
    assert found["difference"] == pytest.approx(0.25)


def four_classes(seed: int, images: int = 160, patients: int = 20) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    groups = random.integers(0, patients, images)
    labels = (groups + (random.random(images) < 0.2)) % 4  # most patients have images of two classes
    p = random.dirichlet(np.ones(4), images) + 0.4 * np.eye(4)[labels]
    return labels, p / p.sum(axis=1, keepdims=True), groups.astype(str)


def test_two_classes_are_no_special_case() -> None:
    labels, p = random_case(8)
    groups = np.arange(300) % 30
    # With two classes AUC, accuracy, balanced accuracy, GMean and the recognition rate are the binary ones, whose Brier
    # counts one class and not both. No probability of exactly .5: there the binary score calls malignant.
    p = np.where(p == 0.5, 0.51, p)
    one, two = binary_intervals(labels, p, groups), multiclass_intervals(
        labels, np.stack([1 - p, p], axis=1), groups, ("benign", "malignant")
    )  # fmt: skip
    for name in ("auc", "accuracy", "balanced_accuracy", "gmean", "patient_recognition_rate"):
        assert two[name]["value"] == pytest.approx(one[name]["value"])
    assert two["brier"]["value"] == pytest.approx(2 * one["brier"]["value"])
    assert two["recall_malignant"]["value"] == pytest.approx(one["sensitivity"]["value"])
    assert two["recall_benign"]["value"] == pytest.approx(one["specificity"]["value"])
    assert two["iba"]["value"] == pytest.approx(two["gmean"]["value"] ** 2)  # the trap of method.md


@pytest.mark.slow
def test_the_bootstrap_of_several_classes_copies_images_about() -> None:
    labels, p, groups = four_classes(0)
    fast = multiclass_intervals(labels, p, groups, "abcd", resamples=100, seed=3)
    assert set(fast) == {*MULTICLASS_METRICS, "recall_a", "recall_b", "recall_c", "recall_d"}

    names = np.unique(groups)
    kinds = [tuple(np.unique(labels[groups == name])) for name in names]
    alone = [kinds.count(kind) == 1 for kind in kinds]
    order = sorted(set(kinds), key=lambda kind: [index in kind for index in range(4)])
    largest = max(reversed(order), key=kinds.count)  # of equals the last
    kinds = [largest if single else kind for kind, single in zip(kinds, alone, strict=True)]
    random, counts = np.random.default_rng(3), np.zeros((100, names.size), dtype=int)
    for kind in (one for one in order if one in kinds):
        stratum = np.array([index for index, own in enumerate(kinds) if own == kind])
        counts[:, stratum] = random.multinomial(stratum.size, np.full(stratum.size, 1 / stratum.size), 100)
    plain = []
    for draw in counts:
        copied = np.concatenate([np.flatnonzero(groups == name) for name in np.repeat(names, draw)])
        y, q = labels[copied], p[copied]
        share = [np.mean(q[i].argmax(1) == y[i]) for i in np.split(np.arange(y.size), _ends(groups[copied]))]
        counted = np.repeat(share, _multiples(groups[copied], names, draw))
        plain.append([sk.roc_auc_score(y, q, multi_class="ovr"), sk.balanced_accuracy_score(y, q.argmax(1)),
                      sk.f1_score(y, q.argmax(1), average="macro"), of_called_class(y, q),
                      np.mean(counted)])  # fmt: skip
    low, high = np.quantile(plain, [0.025, 0.975], axis=0)
    for column, name in enumerate(["auc", "balanced_accuracy", "f1", "ece", "patient_recognition_rate"]):
        assert fast[name]["low"] == pytest.approx(low[column], abs=1e-12), name
        assert fast[name]["high"] == pytest.approx(high[column], abs=1e-12), name


def _ends(groups: np.ndarray) -> np.ndarray:
    """Where the next patient begins in copies that lie patient by patient."""
    return np.flatnonzero(groups[1:] != groups[:-1]) + 1


def _multiples(groups: np.ndarray, names: np.ndarray, draw: np.ndarray) -> np.ndarray:
    """How often each patient was drawn, in the order in which they lie in the copies."""
    there = groups[np.concatenate([[0], _ends(groups)])]
    return draw[np.searchsorted(names, there)]


def test_several_classes_average_over_repeats() -> None:
    labels, p, groups = four_classes(1)
    _, q, _ = four_classes(2)
    both = multiclass_intervals(labels, np.stack([p, q]), groups, "abcd")
    one, two = multiclass_scores(labels, p), multiclass_scores(labels, q)
    for name, value in one.items():
        assert both[name]["value"] == pytest.approx((value + two[name]) / 2)
        assert both[name]["low"] <= both[name]["value"] <= both[name]["high"] or name == "ece"
    assert multiclass_intervals(labels, np.stack([p, p]), groups, "abcd") == multiclass_intervals(
        labels, p, groups, "abcd"
    )


def test_several_classes_without_a_class_or_with_one_patient() -> None:
    p = np.full((6, 3), 1 / 3) + 0.1 * np.eye(3)[[0, 0, 1, 1, 0, 1]]
    scores = multiclass_intervals([0, 0, 0, 1, 1, 1], p, list("aabccc"), ("x", "y", "z"))
    # Class y has one patient: no interval but for x's recall; z does not occur: no recall.
    assert scores["recall_x"]["value"] == pytest.approx(2 / 3)
    assert scores["recall_x"]["low"] == 0 and scores["recall_x"]["high"] == 1
    assert scores["recall_z"] == {"value": None, "low": None, "high": None}
    assert scores["recall_y"] == {"value": pytest.approx(2 / 3), "low": None, "high": None}
    assert scores["gmean"] == {"value": pytest.approx(2 / 3), "low": None, "high": None}
    only = multiclass_intervals([2, 2], p[:2], ["a", "b"], ("x", "y", "z"))
    assert {name for name, interval in only.items() if interval["value"] is None} == {
        "balanced_accuracy", "gmean", "iba", "auc", "recall_x", "recall_y",
    }  # fmt: skip
    assert only["accuracy"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    with pytest.raises(ValueError, match="of 2 classes"):
        multiclass_intervals([0, 1], p[:2], ["a", "b"], ("x", "y"))
