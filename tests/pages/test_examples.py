"""The drawn examples of the first page, as the weights that are served answer them."""

from __future__ import annotations

import pytest

from dala.opinion import second_opinion
from dala.phantoms.film import FILMS
from dala.phantoms.tissue import PHANTOMS
from dala.runtime.predict import load_model
from pages.parts.second_opinion.examples import phantom_png
from pages.parts.second_opinion.first import ANSWERS, OUTSIDE_SIGN
from pages.parts.shared import NOT_SURE

pytestmark = pytest.mark.slow

# Drawn as what is benign in tissue, and as what is not; the last is a mixture that may be called either.
BENIGN, MALIGNANT = {"regular_ducts", "loose_stroma"}, {"solid_sheets", "single_files", "mucin_pools"}


def test_no_drawing_has_a_wrong_headline_and_each_kind_of_answer_is_shown() -> None:
    model = load_model()
    opinions = {name: second_opinion(phantom_png(name), model, pixel_size_um=0.35) for name in PHANTOMS}
    answers = {name: one.verdict.answer if one.gate.inside else "outside" for name, one in opinions.items()}
    assert set(answers) > BENIGN | MALIGNANT
    words = {None: NOT_SURE, "benign": "● Benign", "malignant": "▲ Malignant", "outside": OUTSIDE_SIGN}
    film = second_opinion(phantom_png(FILMS[0]))
    said = {name: words[answer] for name, answer in answers.items()}
    assert said | {FILMS[0]: words["outside" if not film.gate.inside else film.verdict.answer]} == ANSWERS
    assert all(answers[name] in (None, "benign", "outside") for name in BENIGN)
    assert all(answers[name] in (None, "malignant", "outside") for name in MALIGNANT)
    assert {"malignant", "outside", None} <= set(answers.values())
    # What the model leans to where it is not sure is right as well.
    assert all(opinions[name].prediction.label == "benign" for name in BENIGN)
    assert all(opinions[name].prediction.label == "malignant" for name in MALIGNANT)
