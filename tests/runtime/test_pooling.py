"""Pooling of fields, worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from dala.runtime.pooling import MEAN, NOISY_OR, TOP_K, Pooling, margins

# Benign and malignant; the margins are 3, -1, 1 and -5.
LOGITS = np.array([[0.0, 3.0], [1.0, 0.0], [1.0, 2.0], [2.0, -3.0]])


def test_margins_by_hand() -> None:
    assert margins(LOGITS, 1).tolist() == [3, -1, 1, -5]
    assert margins(LOGITS, 0).tolist() == [-3, 1, -1, 5]
    assert margins(np.array([[1.0, 2.0, 6.0]]), 2).tolist() == [4.5]


def test_mean_and_top_k_by_hand() -> None:
    assert Pooling(MEAN).pooled(LOGITS, 1).tolist() == [1, 0.5]
    assert Pooling(TOP_K, 2).pooled(LOGITS, 1).tolist() == [0.5, 2.5]  # the first and the third
    assert Pooling(TOP_K, 9).pooled(LOGITS, 1).tolist() == [1, 0.5]
    assert Pooling(TOP_K, 1).pooled(LOGITS, 0).tolist() == [2, -3]


def test_noisy_or_by_hand() -> None:
    p = 1 - math.prod(1 - 1 / (1 + math.exp(-margin)) for margin in (3, -1, 1, -5))
    for positive in (0, 1):
        found = Pooling(NOISY_OR).pooled(LOGITS if positive else LOGITS[:, ::-1], positive)
        assert found[positive] - found[1 - positive] == pytest.approx(math.log(p / (1 - p)))
    # Where every field is clearly negative, so is the image, to any number of digits.
    found = Pooling(NOISY_OR).pooled(np.array([[0.0, -60.0], [0.0, -60.0]]), 1)
    assert found[1] - found[0] == pytest.approx(-60 + math.log(2))


def test_the_shift_grows_with_the_number_of_fields() -> None:
    found = Pooling(TOP_K, 1, 0.5).pooled(LOGITS, 1)
    assert found.tolist() == pytest.approx([0, 3 - 0.5 * math.log(4)])
    assert LOGITS[0].tolist() == [0, 3], "nothing given is written to"


@pytest.mark.parametrize("rule", [MEAN, TOP_K, NOISY_OR])
def test_a_single_field_is_the_image(rule: str) -> None:
    assert Pooling(rule, 3, 0.5).pooled(LOGITS[:1], 1).tolist() == [0, 3]


def test_one_malignant_field_of_six_survives() -> None:
    """What the mean loses: five benign fields against one that is clearly malignant."""
    logits = np.array([[0.0, 4.0], *[[3.0, 0.0]] * 5])
    lean = {rule: margins(Pooling(rule).pooled(logits, 1)[None], 1)[0] for rule in (MEAN, TOP_K, NOISY_OR)}
    assert lean[MEAN] < 0 < 3 < lean[TOP_K] < lean[NOISY_OR]


def test_of_a_card() -> None:
    def card(classes: int, **pooling: Any) -> dict[str, Any]:
        return {"classes": list("abcd")[:classes], "input": {"pooling": pooling} if pooling else {}}

    assert Pooling.of_card(card(2)) == Pooling("mean", 1, 0.0)
    assert Pooling.of_card(card(4, rule="top_k", k=3, shift=0.1)) == Pooling("top_k", 3, 0.1)
    with pytest.raises(ValueError, match="two classes, not 4"):
        Pooling.of_card(card(4, rule="noisy_or"))
