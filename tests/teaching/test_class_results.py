"""A class's results, worked out by hand."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from io import StringIO

import numpy as np

from dala.cases.deck_records import Deck, Item, Read, Truth
from dala.teaching.class_results import (
    class_score,
    density,
    distribution,
    marks_of,
    model_score,
    to_csv,
)

ANSWERED = {"status": "ok", "verdict": "malignant"}
UNSURE, OUTSIDE = {"status": "ok", "verdict": None}, {"status": "outside", "verdict": None}


def item(number: int, diagnosis: str | None, opinion: dict[str, object] | None, *calls: str) -> Item:
    reads = tuple(Read(number, reader, call, ()) for reader, call in enumerate(calls, start=1))
    return Item(number, True, Truth(diagnosis, "", "", opinion, f"{number}.png"), reads, None)


ITEMS = (
    item(1, "malignant", ANSWERED, "malignant", "benign", "not sure"),
    item(2, "benign", ANSWERED, "benign", "benign"),
    item(3, "benign", UNSURE, "malignant", "not sure"),
    item(4, "malignant", OUTSIDE, "malignant"),
    item(5, None, ANSWERED, "malignant", "malignant", "malignant"),
)


def test_how_a_case_was_called() -> None:
    found = distribution(ITEMS[0], 5)
    assert found.counts == {"benign": 1, "malignant": 1, "not sure": 1} and (found.answered, found.missing) == (3, 2)


def test_not_sure_and_outside_are_neither_right_nor_wrong() -> None:
    score = class_score(ITEMS)
    # Called with a known answer: 1 of 2, 2 of 2, 0 of 1, 1 of 1.
    assert (score.right.count, score.right.of, score.not_sure) == (4, 6, 2)
    assert (score.sensitivity.count, score.sensitivity.of) == (2, 3)
    assert (score.specificity.count, score.specificity.of) == (2, 3)
    second = class_score(ITEMS, 2)
    assert (second.right.count, second.right.of, second.not_sure) == (1, 2, 1)
    model = model_score(ITEMS)
    assert (model.right.count, model.right.of, model.not_sure, model.outside) == (1, 2, 1, 1)
    hidden = (Item(1, False, None, None, None),)
    assert class_score(hidden).right.of == model_score(hidden).right.of == 0


def test_marks_lie_over_one_another() -> None:
    square = ((0.0, 0.0), (0.49, 0.0), (0.49, 0.49), (0.0, 0.49))
    field = density([square, square, ((0.75, 0.5),)], 100, 200)
    assert field.shape == (100, 200) and field.dtype == np.float32
    assert (field[10, 10], field[10, 150], field[50, 150]) == (2, 0, 1)
    # A single place is a disc of 4 % of the longer side: 8 pixels around (150, 50).
    rows, columns = np.nonzero(field == 1)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (42, 58, 142, 158)
    assert not density([], 10, 10).any()


def test_marks_without_any_are_left_out() -> None:
    reads = (Read(1, 1, "benign", ()), Read(1, 2, "malignant", ((0.5, 0.5),)))
    assert marks_of(Item(1, True, None, reads, None)) == [((0.5, 0.5),)]


def test_the_table_has_every_answer_and_no_formula() -> None:
    reads = (Read(1, 1, "benign", ()), Read(1, 2, "not sure", ((0.25, 0.5), (0.5, 1.0))))
    items = (Item(1, False, Truth("malignant", "", "", OUTSIDE, "=a.png"), reads, None),)
    deck = Deck("x", "Monday", 7, datetime.now(UTC), ("a", "A"), True, True, items, {1: "@Anna", 2: "17"})
    rows = list(csv.DictReader(StringIO(to_csv(deck))))
    assert [(row["image"], row["name"], row["call"], row["right"], row["mark"], row["model"]) for row in rows] == [
        ("'=a.png", "'@Anna", "benign", "false", "", "outside"),
        ("'=a.png", "17", "not sure", "", "0.2500 0.5000; 0.5000 1.0000", "outside"),
    ]
