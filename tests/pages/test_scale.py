"""The first page with weights that see at a physical scale: the scale is said and chosen, a field is looked at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from dala import opinion
from dala.explanation.render import encode_png
from dala.export.worth import basis, worth
from dala.gate import Gate
from dala.phantoms.tissue import draw
from dala.runtime import predict as runtime
from dala.runtime.calibration import Calibration
from dala.runtime.card import Card
from pages.parts.second_opinion import fields as fields_module
from pages.parts.shared import percent
from tests.helpers.physical import at_scale

pytestmark = pytest.mark.slow

PAGE = Path(__file__).resolve().parents[2] / "pages" / "second_opinion.py"
EITHER = {"0.10": {"benign": 0.5, "malignant": 0.5}}
FIELD = draw("nest_beside_ducts").pixels  # 700 x 460 px
PART, OTHER = FIELD[:230, :350], draw("solid_sheets").pixels[:230, :350]


def measured(wrong: float, auc: float) -> dict[str, Any]:
    return {
        "images": 58,
        "groups": 17,
        "scores": {"auc": {"value": auc, "low": None, "high": None}},
        "answered": {"share": 0.75, "wrong": wrong},
        "protocol": "by array",
    }


LABORATORIES = {"laboratories": {"A": measured(0.05, 0.96)}, "unknown_laboratory": measured(0.125, 0.88)}


@pytest.fixture(scope="module")
def model() -> runtime.Model:
    seen = at_scale(runtime.load_model("breakhis"), EITHER, pooling={"rule": "top_k", "k": 1}, field_um=[96, 64])
    return replace(seen, card=Card({**seen.card.fields, **LABORATORIES}))


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, model: runtime.Model) -> Iterator[AppTest]:
    monkeypatch.delenv("DALA_SAMPLES", raising=False)
    monkeypatch.setattr(runtime, "load_model", lambda *_: model)
    # Fields so small are out of focus where the gate sees them enlarged, and drawings are no tissue.
    monkeypatch.setattr(opinion, "assess", lambda *_: Gate(None, None, None))
    at = AppTest.from_file(str(PAGE), default_timeout=120)
    at.query_params["plain"] = "true"
    yield at.run()
    st.cache_resource.clear()


def upload(page: AppTest, pixels: np.ndarray, name: str = "patch.png") -> None:
    page.file_uploader[0].set_value([(name, encode_png(np.ascontiguousarray(pixels)), "image/png")])
    page.run()
    assert not page.exception


def said(page: AppTest) -> str:
    return "\n".join(one.value for one in [*page.header, *page.markdown, *page.caption, *page.error])


def sizes(page: AppTest) -> Any:
    return next(one for one in page.get("button_group") if str(one.key).startswith("pixel-size-"))


def own(page: AppTest) -> Any:
    return next(one for one in page.number_input if one.key.startswith("pixel-size-own-"))


def buttons(page: AppTest) -> list[Any]:
    return [one for one in page.button if str(one.key).startswith("field-")]


def test_a_size_is_chosen_for_one_image_alone(page: AppTest) -> None:
    upload(page, PART)
    assert "pixel size **unknown**" in said(page) and "0.7, 1 and 1.4 times 0.35 um/px" in said(page)
    own(page).set_value(0.5).run()
    assert "Seen at 0.5 um/px; pixel size **0.5 um** (chosen)" in said(page)
    assert "350 x 230 px at 0.5 um per pixel" in said(page)
    upload(page, OTHER)
    assert "pixel size **unknown**" in said(page)
    upload(page, PART)
    assert "pixel size **0.5 um** (chosen)" in said(page)
    sizes(page).set_value("200X").run()
    assert "pixel size **0.35 um** (chosen: BreakHis 200X)" in said(page)
    sizes(page).set_value("unknown").run()
    assert "pixel size **unknown**" in said(page)


def test_the_names_size_can_be_replaced_and_taken_back(page: AppTest) -> None:
    upload(page, FIELD[:224, :224], "SOB_B_A-14-9999-400-001.png")
    assert "(by its name: BreakHis 400X)" in said(page)
    assert "pixel size **0.547 x 0.359 um**" in said(page)  # 700 / 224 and 460 / 224 times 0.175
    sizes(page).set_value("0.5").run()
    assert "pixel size **0.5 um** (chosen)" in said(page)
    sizes(page).set_value("told").run()
    assert "(by its name: BreakHis 400X)" in said(page)


def test_a_scale_that_decides_the_answer_is_said_with_the_control(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = opinion.predict

    def hanging(*given: Any) -> runtime.Prediction:
        found = predict(*given)
        if found.scale is None or found.scale.known:
            return found
        tried = (np.array([0.9, 0.1]), np.array([0.05, 0.95]))
        return replace(found, probabilities=np.array([0.3, 0.7]), rescaled=tried)

    monkeypatch.setattr(opinion, "predict", hanging)
    upload(page, PART)
    assert page.header[0].value == "◆ Not sure: the scale is unknown"
    assert "malignant: 10 % at 0.24 um/px, 70 % at 0.35 um/px, 95 % at 0.49 um/px" in said(page)
    sizes(page).set_value("0.5").run()
    assert page.header[0].value in ("▲ Malignant", "● Benign")


def test_too_many_fields_at_this_scale_leave_the_control(page: AppTest) -> None:
    upload(page, PART)
    sizes(page).set_value("40X").run()
    assert "fields of view; at most 48" in said(page) and not page.header
    sizes(page).set_value("0.25").run()
    assert page.header


def test_a_field_is_looked_at_and_left(page: AppTest, model: runtime.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fields_module.SHOWN_FIRST == 9
    monkeypatch.setattr(fields_module, "SHOWN_FIRST", 4)
    upload(page, FIELD, "SOB_B_A-14-9999-200-001.png")
    whole = opinion.second_opinion(encode_png(FIELD), model, pixel_size_um=0.35)
    found = whole.prediction.fields
    assert len(found) == 9 and len(buttons(page)) == 4
    next(one for one in page.toggle if one.label == "Show all 9 fields").set_value(True).run()
    fields = buttons(page)
    shares = [float(one.probabilities[1]) for one in found]
    assert [one.label.split(" ", 1)[1] for one in fields] == [percent(share) for share in shares]
    assert shares == sorted(shares, reverse=True)
    fields[-1].click().run()
    assert f"Field {len(found)} of {len(found)}: " in said(page)
    next(one for one in page.button if str(one.key).startswith("whole-")).click().run()
    assert "Field 2 of" not in said(page)


def test_figures_are_of_the_laboratory_that_the_image_is_taken_for(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str | None] = [None]
    monkeypatch.setattr(opinion, "assess", lambda *_: Gate(None, None, None, taken[0]))
    for laboratory, words in (
        (
            None,
            "From a laboratory that the model does not know. On another, left out of its training: 12.5",
        ),
        (
            "A",
            "Taken for an image of A. On patients it had not seen there: 5.0 % of its answers were wrong, 75.0 % were",
        ),
        ("B", "Taken for an image of B. Nobody has measured how often the model is wrong there."),
    ):
        taken[0] = laboratory
        st.cache_resource.clear()
        upload(page, PART)
        assert words in said(page).replace("\N{NO-BREAK SPACE}", " ").replace("\\", "")


def test_not_sure_in_an_unknown_laboratory_has_no_percentage(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that never answers benign there must not say "not sure, over 99 % benign"."""
    predict = opinion.predict
    sets = {0.1: (0.5, 0.5)}
    calibration = Calibration(("benign", "malignant"), 1.0, (0.0, 0.0), {0.1: (0.9, 0.0)}, {"A": sets})

    def leaning(*given: Any) -> runtime.Prediction:
        found = predict(*given)
        p = np.array([0.9995, 0.0005])
        fields = tuple(replace(one, probabilities=p) for one in found.fields)
        return replace(found, probabilities=p, fields=fields, rescaled=(), calibration=calibration)

    monkeypatch.setattr(opinion, "predict", leaning)
    for laboratory, heading in (("A", "● Benign"), (None, "◆ Not sure")):
        st.cache_resource.clear()
        monkeypatch.setattr(opinion, "assess", lambda *_, here=laboratory: Gate(None, None, None, here))
        upload(page, PART)
        own(page).set_value(0.5).run()
        assert page.header[0].value == heading
        shown = [*(one.label for one in buttons(page)), said(page)]
        assert any("over 99 %" in one for one in shown) is (laboratory is not None)
    assert "The model leans towards ● **benign**; no probability holds for its laboratory." in said(page)
    assert {one.label for one in buttons(page)} == {"◆ Not sure"}


def test_what_is_known_against_an_answer(model: runtime.Model) -> None:
    assert worth(model.card, "A").endswith("AUC 0.960.") and "0.880" not in worth(model.card, "A")
    assert basis(model.card, "A") == "58 images of 17 patients: by array"
    assert basis(model.card, "B") == "not measured"
    one_source = runtime.load_model("breakhis").card
    assert worth(one_source, None).startswith("In cross-validation by accession group on BreakHis 200X: balanced ")
    assert "Nobody has measured" in worth(one_source, None)
