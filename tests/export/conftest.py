"""One drawn image with its opinion and its explanation, for every export."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dala.explanation.render import encode_png
from dala.gate import Gate
from dala.opinion import Explanation, Opinion, explain, second_opinion
from dala.phantoms.tissue import draw
from dala.runtime.predict import load_model
from tests.helpers.reports import NAME


@pytest.fixture(scope="session")
def opinion() -> Opinion:
    found = second_opinion(encode_png(draw("nest_beside_ducts").pixels), load_model("breakhis"), name=f"{NAME}.png")
    return replace(found, gate=Gate(None, 1.5, 0.42))


@pytest.fixture(scope="session")
def explanation(opinion: Opinion) -> Explanation:
    return explain(opinion, "malignant", "mean_std", 0.5)
