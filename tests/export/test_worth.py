"""What is said of answers in unknown laboratories, worked out by hand on made cards."""

from __future__ import annotations

from typing import Any

import pytest

from dala.export.worth import all_left_out, each_left_out, worth
from dala.runtime.card import Card, read_card
from dala.words import NO_BREAK


def card(**answered: tuple[float, float | None, float | None]) -> Card:
    """Of laboratories left out, each with the share that was answered, the share of it that was wrong and its end."""

    def one(share: float, wrong: float | None, high: float | None) -> dict[str, Any]:
        low = None if wrong is None else 0.0
        return {"answered": {"share": {"value": share, "low": 0, "high": 1},
                             "wrong": {"value": wrong, "low": low, "high": high}}}  # fmt: skip

    return Card({"left_out": {name: one(*figures) for name, figures in answered.items()}, "laboratories": {}})


def spaced(text: str) -> str:
    return text.replace(NO_BREAK, " ")


@pytest.mark.parametrize(
    ("answered", "said"),
    [
        (
            {"A": (0.061, 0.0, 0.247), "B": (0.333, 0.0, 0.369), "C": (0.733, 0.03, 0.103)},
            "In 3 laboratories left out of its training it answered 6.1 % to 73.3 % of the images; at most 3.0 % of "
            "the answers were wrong (by the intervals up to 36.9 %).",
        ),
        (
            {"A": (0.5, 0.2, 0.4), "B": (0.0, None, None)},
            "In 2 laboratories left out of its training it answered 0.0 % to 50.0 % of the images; at most 20.0 % of "
            "the answers were wrong (by the intervals up to 40.0 %).",
        ),
        ({"A": (0.0, None, None)}, "In 1 laboratory left out of its training it answered 0.0 % of the images."),
    ],
)
def test_all_laboratories_left_out_in_a_sentence(answered: dict[str, Any], said: str) -> None:
    assert spaced(all_left_out(card(**answered))) == said


def test_the_shipped_card_says_all_and_each() -> None:
    shipped = read_card("breast")[0]
    every = each_left_out(shipped)
    assert all(name in every for name in shipped.fields["left_out"]) and every in worth(shipped, None)
    assert f"In {len(shipped.fields['left_out'])} laboratories" in all_left_out(shipped)
