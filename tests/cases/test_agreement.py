"""Agreement over kept cases: against scikit-learn, by hand, and with intervals over patients."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, recall_score

from dala.cases.agreement import agreement, disagreements, parts
from dala.cases.kept import AgreementRow
from dala.stats.bootstrap import resampled_groups


def row(number: int, answer: str, diagnosis: str | None = None, **more: Any) -> AgreementRow:
    facts: dict[str, Any] = {
        "reader": ("a", "Anna"),
        "created": datetime(2026, 1 + number % 3, 5, tzinfo=UTC),
        "patient": f"P{number}",
        "laboratory": None,
        "probability": 0.5,
        "before": None,
        "after": None,
        "agrees": None,
    } | more
    return AgreementRow(id=f"{number:022}", answer=answer, diagnosis=diagnosis, **facts)  # type: ignore[arg-type]


def cohort(patients: int, each: int, seed: int) -> list[AgreementRow]:
    """Cases of patients who have one diagnosis each; the model is right in most and more so in some patients."""
    random = np.random.default_rng(seed)
    rows = []
    for patient in range(patients):
        truth = ("benign", "malignant")[patient % 2]
        right = random.uniform(0.5, 1.0)
        for case in range(each):
            said = truth if random.random() < right else ("malignant", "benign")[patient % 2]
            rows.append(row(patient * each + case, said, truth, patient=f"P{patient}"))
    return rows


def test_figures_are_those_of_scikit_learn() -> None:
    rows = cohort(40, 5, seed=1)
    truths, answers = [one.diagnosis for one in rows], [one.answer for one in rows]
    found = agreement(rows, "model", "diagnosis")
    assert (found.cases, found.patients, found.decided) == (200, 40, 200)
    assert found.kappa["value"] == pytest.approx(cohen_kappa_score(truths, answers))
    assert found.sensitivity["value"] == pytest.approx(recall_score(truths, answers, pos_label="malignant"))
    assert found.specificity["value"] == pytest.approx(recall_score(truths, answers, pos_label="benign"))
    assert found.same["value"] == pytest.approx(np.mean([a == b for a, b in zip(truths, answers, strict=True)]))


def test_intervals_are_over_patients_as_those_of_the_package() -> None:
    """Kinds of patients that are drawn together have the distribution of patients that are drawn one by one."""
    rows = cohort(60, 6, seed=2)
    found = agreement(rows, "model", "diagnosis").sensitivity
    right = np.array([[one.answer == "malignant" for one in rows if one.patient == f"P{p}"] for p in range(1, 60, 2)])
    draws = resampled_groups(np.ones((30, 1), bool))
    shares = (draws @ right.sum(axis=1)) / (draws @ np.full(30, 6))
    low, high = np.quantile(shares, (0.025, 0.975))
    assert (found["low"], found["high"]) == (pytest.approx(low, abs=0.02), pytest.approx(high, abs=0.02))
    # As many cases of as many patients each say more than the same ones of few.
    alone = agreement([row(n, one.answer, one.diagnosis) for n, one in enumerate(rows)], "model", "diagnosis")
    wide, narrow = found["high"] - found["low"], alone.sensitivity["high"] - alone.sensitivity["low"]  # type: ignore[operator]
    assert alone.sensitivity["value"] == found["value"] and narrow < wide


def test_not_sure_and_outside_are_counted_apart() -> None:
    rows = [
        row(0, "malignant", "malignant"),
        row(1, "benign", "benign"),
        row(2, "not sure", "malignant"),
        row(3, "outside", "benign"),
        row(4, "malignant", None),
    ]
    found = agreement(rows, "model", "diagnosis")
    assert (found.cases, found.decided) == (4, 2)
    assert found.table == {
        ("malignant", "malignant"): 1, ("benign", "benign"): 1, ("malignant", "not sure"): 1, ("benign", "outside"): 1,
    }  # fmt: skip
    assert found.kappa["value"] == 1 and found.sensitivity["value"] == 1
    assert found.kappa["low"] is None, "every draw is the same"
    # One patient counts in the sensitivity: nothing is known of how patients differ.
    assert found.sensitivity["low"] is None and found.specificity["low"] is None


@pytest.mark.parametrize("rows", [[], [row(0, "malignant", "malignant")], [row(0, "outside", "benign")]], ids=len)
def test_where_there_is_too_little_there_is_no_figure(rows: list[AgreementRow]) -> None:
    found = agreement(rows, "model", "diagnosis")
    assert found.kappa == {"value": None, "low": None, "high": None}
    assert found.specificity["value"] is None
    assert agreement(rows, "before", "after").cases == 0


def test_readers_are_held_against_the_diagnosis_before_and_after() -> None:
    rows = [
        row(n, "malignant", "malignant", before=before, after=after)
        for n, (before, after) in enumerate(
            [("benign", "malignant"), ("malignant", "malignant"), ("not sure", "malignant"), ("benign", "benign")]
        )
    ]
    assert agreement(rows, "before", "diagnosis").sensitivity["value"] == pytest.approx(1 / 3)
    assert agreement(rows, "after", "diagnosis").sensitivity["value"] == pytest.approx(3 / 4)
    assert [one.patient for one in disagreements(rows, "model", "before")] == ["P0", "P3"]
    assert disagreements(rows, "model", "diagnosis") == []


def test_parts_by_reader_laboratory_and_month() -> None:
    rows = [row(n, "benign", "benign", reader=("ab"[n == 4], "x"), laboratory=(None, "UCSB")[n > 2]) for n in range(5)]
    assert {name: len(some) for name, some in parts(rows, "reader").items()} == {"a": 4, "b": 1}
    assert {name: len(some) for name, some in parts(rows, "laboratory").items()} == {None: 3, "UCSB": 2}
    assert list(parts(rows, "month")) == ["2026-01", "2026-02", "2026-03"]


def test_a_case_without_a_patient_is_one_of_its_own() -> None:
    rows = [row(n, "benign", "benign", patient=None) for n in range(3)] + [row(3, "benign", "benign", patient="")]
    assert agreement(rows, "model", "diagnosis").patients == 4


def test_where_all_are_right_the_interval_is_wilsons_over_patients() -> None:
    rows = [row(n, "malignant", "malignant", patient=f"P{n // 2}") for n in range(20)]
    found = agreement(rows, "model", "diagnosis").sensitivity
    assert (found["value"], found["high"]) == (1.0, pytest.approx(1.0))
    # 10 of 10 patients: n / (n + z^2) with z = 1.96.
    assert found["low"] == pytest.approx(10 / (10 + 1.959964**2))
