"""Comparison of engines: counts and differences worked out by hand, and the shipped default within its limits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dala.nets.weights import read_card
from dala.training.parity import LIMITS, Answer, compared

ROOT = Path(__file__).resolve().parents[2]
MAP = np.array([[1, 2], [3, 5]], np.float32)


def test_differences_by_hand() -> None:
    base = Answer(0.6, ("malignant",), True, MAP)
    reference = {3: base, 7: base, 9: replace(base, probability=0.505)}
    rows = {
        3: base,
        7: Answer(0.59, ("benign", "malignant"), False, -MAP),
        9: replace(base, probability=0.495),
    }
    found = compared(reference, rows)
    assert found["pictures"] == 3
    assert found["probability"]["mean"] == pytest.approx(0.02 / 3)
    assert found["probability"]["largest"] == pytest.approx(0.01)
    assert found["probability"]["percentile_99"] == pytest.approx(0.01)
    assert found["changed"] == {"label": 1, "set": 1, "gate": 1}
    assert found["map_correlation"] == {"smallest": pytest.approx(-1), "median": pytest.approx(1)}


def test_the_engines_that_are_chosen_by_themselves_are_good_enough() -> None:
    """What the repository measured of the engines that `auto` takes; stale or too bad figures fail here."""
    record = json.loads((ROOT / "evidence" / "engines_breakhis.json").read_text())
    assert record["weights_sha256"] == read_card("breakhis")[0].fields["sha256"]
    verdicts, questions = record["engines"]["openvino-f32"], record["engines"]["openvino-bf16"]
    assert verdicts["pictures"] == questions["pictures"] == 689
    assert verdicts["probability"]["largest"] <= LIMITS["largest"] and set(verdicts["changed"].values()) == {0}
    assert questions["probability"]["percentile_99"] <= LIMITS["percentile_99"]
    for row in (verdicts, questions):
        assert row["map_correlation"]["smallest"] >= LIMITS["map_correlation"]
