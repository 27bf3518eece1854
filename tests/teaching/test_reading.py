"""Scores worked out by hand, marks on tiny images, the table."""

from __future__ import annotations

import csv
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest

from dala.stats.agreement import Share
from dala.teaching.reading import (
    COLUMNS,
    Read,
    agreement,
    area_of,
    evidence_at,
    hit,
    hits,
    mark_from,
    score_of_model,
    score_of_reader,
    to_csv,
)

B, M = "benign", "malignant"


def read(
    answer: str, call: str, model: str, confidence: float = 0.8, p: float = 0.5, found: bool | None = None
) -> Read:
    return Read(1, "a.png", answer, call, confidence, (), found, model, p, True)


# Reader: 3 of 5 right, 2 of 3 malignant, 1 of 2 benign. Model: 4 of 5 right, 3 of 3 malignant, 1 of 2 benign.
READS = [
    read(M, M, M, 0.9, 0.8, True),
    read(M, M, M, 0.6, 0.7, False),
    read(M, B, M, 1.0, 0.9),
    read(B, B, B, 0.7, 0.2),
    read(B, M, M, 0.5, 0.6),
]


def test_scores_by_hand() -> None:
    mine, its = score_of_reader(READS), score_of_model(READS)
    assert (mine.right, mine.sensitivity, mine.specificity) == (Share(3, 5), Share(2, 3), Share(1, 2))
    assert (its.right, its.sensitivity, its.specificity) == (Share(4, 5), Share(3, 3), Share(1, 2))
    # Own probabilities of malignant: .9 .6 0 .3 .5
    assert mine.brier == pytest.approx((0.1**2 + 0.4**2 + 1 + 0.3**2 + 0.5**2) / 5)
    assert its.brier == pytest.approx((0.2**2 + 0.3**2 + 0.1**2 + 0.2**2 + 0.6**2) / 5)
    assert hits(READS) == Share(1, 2)


def test_not_sure_outside_and_drawings_are_no_answers_of_the_model() -> None:
    unsure = replace(READS[0], not_sure=True)
    outside, drawn = replace(READS[1], inside=False), replace(READS[2], drawn=True)
    reads = [unsure, outside, drawn, *READS[3:]]
    # The last two alone: benign called benign, and benign called malignant.
    its = score_of_model(reads)
    assert (its.right, its.sensitivity, its.specificity) == (Share(1, 2), Share(0, 0), Share(1, 2))
    assert agreement(reads).same == Share(2, 2)
    assert score_of_reader(reads) == score_of_reader(READS)


def test_kappa_by_hand() -> None:
    together = agreement(READS)
    assert together.same == Share(4, 5)
    # p_o = 4/5; the reader calls 3 of 5 malignant, the model 4 of 5: p_e = 12/25 + 2/25 = 14/25.
    assert together.kappa == pytest.approx((4 / 5 - 14 / 25) / (1 - 14 / 25))


def test_what_has_no_value_is_undefined() -> None:
    one_class = [read(M, M, M)] * 3
    assert agreement(one_class).kappa is None
    assert score_of_reader(one_class).specificity.value is None
    assert score_of_reader(one_class).specificity.interval is None
    empty = score_of_reader([])
    assert (empty.brier, empty.right.value) == (None, None)
    assert agreement([]).kappa is None
    # All agree on two classes: perfect.
    assert agreement([read(M, M, M), read(B, B, B)]).kappa == 1


def test_marks_on_a_small_image() -> None:
    lesion = np.zeros((10, 20), bool)
    lesion[:, 10:] = True
    assert hit(((0.75, 0.5),), lesion) is True
    assert hit(((0.25, 0.5),), lesion) is False
    assert hit(((1.0, 1.0),), lesion) is True  # the far corner is the last pixel
    assert hit((), lesion) is None
    assert hit(((0.5, 0.5),), np.zeros((10, 20), bool)) is None
    # Columns 8 to 16 and rows 2 to 6: seven of nine columns are in the lesion.
    outline = ((0.4, 0.2), (0.8, 0.2), (0.8, 0.6), (0.4, 0.6))
    area = area_of(outline, 10, 20)
    assert area.sum() == 9 * 5 and area[2:7, 8:17].all()
    assert hit(outline, lesion) is True
    # Columns 4 to 12: three of nine.
    assert hit(((0.2, 0.2), (0.6, 0.2), (0.6, 0.6), (0.2, 0.6)), lesion) is False


def test_evidence_under_a_mark() -> None:
    field = np.full((10, 10), -1.0)
    field[0, 0], field[9, 9] = 4.0, 1.0
    assert evidence_at(((0.99, 0.99),), field) == 0.25
    assert evidence_at(((0.5, 0.5),), field) == 0
    assert evidence_at(((0.5, 0.5), (1, 0.5), (1, 1), (0.5, 1)), field) == pytest.approx(0.2)
    assert evidence_at((), field) is None
    assert evidence_at(((0.5, 0.5),), -np.ones((3, 3))) is None


@pytest.mark.parametrize(
    "sent",
    [None, "x", [[0.1]], [[0.1, 2]], [[0.1, float("nan")]], [["a", 0.1]], [0.1, 0.2], {"x": 1}, [[0.1, 0.1]] * 2001],
)
def test_what_no_marker_sends_is_no_mark(sent: object) -> None:
    assert mark_from(sent) == ()


def test_a_mark_is_taken_as_sent() -> None:
    assert mark_from([[0, 1], [0.25, 0.5]]) == ((0.0, 1.0), (0.25, 0.5))


def test_the_table_reads_back_and_holds_no_formula() -> None:
    told = Read(2, "=cmd.png", M, B, 0.85, ((0.5, 0.25), (1, 1)), False, M, 0.9, False)
    rows = list(csv.DictReader(StringIO(to_csv([told, READS[3]]))))
    assert tuple(rows[0]) == COLUMNS
    assert rows[0] == {
        "case": "2", "name": "'=cmd.png", "answer": M, "call": B, "confidence": "0.85", "right": "false",
        "mark": "0.5000 0.2500; 1.0000 1.0000", "mark_in_lesion": "false", "model": M, "model_p_malignant": "0.900000",
        "within_model_competence": "false", "model_not_sure": "false", "drawn": "false",
    }  # fmt: skip
    assert (rows[1]["right"], rows[1]["mark"], rows[1]["mark_in_lesion"]) == ("true", "", "")
