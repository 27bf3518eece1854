"""Below the maps: the steadier map, the effect curve and the report, through Streamlit's own harness."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from dala import inquiry
from dala.explanation.effect import EffectCurve
from dala.export.report import LONGEST_COMMENT
from dala.gate import Gate
from dala.gate.checks import Reason
from dala.inquiry import AugmentedMap
from dala.opinion import Opinion
from dala.phantoms.tissue import PHANTOMS
from dala.runtime import predict as runtime
from dala.runtime.calibration import Calibration
from pages.parts.second_opinion.inquiry import enough_for

PAGE = Path(__file__).resolve().parents[2] / "pages" / "second_opinion.py"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str, bool]]]:
    """The page's questions, answered at once by made-up curves: what they mean is tested in tests/explanation."""
    questions: list[tuple[str, str, bool]] = []

    def effect(opinion: Opinion, target: str, baseline: str, progress: object = None) -> EffectCurve:
        questions.append((target, baseline, opinion.augmented))
        share = np.array([0.125, 0.25])
        found = (1, None) if baseline == "blurred" else (None, "The baseline alone already gives this verdict, so no.")
        return EffectCurve(
            target,
            baseline,
            np.array([0.02, 0.01]),
            share,
            np.array([0.3, 0.9]),
            np.array([0.9, 0.2]),
            0.95,
            0.1,
            *found,
        )

    def augmented_maps(opinion: Opinion, progress: object = None) -> dict[str, AugmentedMap]:
        questions.append(("steady", "", opinion.augmented))
        answer = {}
        for name, rough in opinion.maps.items():
            fine = np.repeat(np.repeat(rough.values, 2, 0), 2, 1)
            mean = type(rough)(fine, name)
            answer[name] = AugmentedMap(mean, np.full(fine.shape, 0.001, np.float32), np.zeros(fine.shape, bool))
        return answer

    monkeypatch.delenv("DALA_SAMPLES", raising=False)
    monkeypatch.setattr(runtime, "load_familiarity", lambda *_: None)
    monkeypatch.setattr(inquiry, "effect", effect)
    monkeypatch.setattr(inquiry, "augmented_maps", augmented_maps)
    yield questions
    st.cache_resource.clear()


@pytest.fixture
def page(asked: list[tuple[str, str, bool]]) -> AppTest:
    at = AppTest.from_file(str(PAGE), default_timeout=120)
    at.query_params["plain"] = "true"
    at.run()
    at.selectbox(key="example").set_value(f"drawn:{PHANTOMS[4]}").run()
    assert not at.exception
    return at


def texts(page: AppTest) -> str:
    return "\n".join(element.value for element in [*page.markdown, *page.caption])


@pytest.mark.slow
def test_nothing_is_measured_unasked(page: AppTest, asked: list[tuple[str, str, bool]]) -> None:
    assert asked == []
    assert "Measured on request" in texts(page)


@pytest.mark.slow
def test_the_effect_is_measured_once_and_told(page: AppTest, asked: list[tuple[str, str, bool]]) -> None:
    target = page.segmented_control[0].value
    next(button for button in page.button if button.label == "Measure").click().run()
    assert not page.exception
    assert asked == [(target, "blurred", False)]
    told = texts(page)
    assert f"With the whole image the probability of {target} is 95 %, with the replacement alone 10 %." in told
    assert "smallest marked part that alone keeps the verdict is 25 % of the image" in told
    assert "threshold 0.01" in told and "Without it the probability is 20 %" in told
    # In a laboratory that the model does not know no probability is enough for benign.
    assert target == "benign" and "is the answer from " not in page.get("plotly_chart")[0].proto.spec
    # Moving the threshold asks nothing anew; another replacement does, once.
    page.slider[0].set_value(0.5).run()
    assert len(asked) == 1
    page.segmented_control(key="baseline").set_value("glass").run()
    assert asked[1:] == [(target, "glass", False)]
    assert "No threshold is suggested." in texts(page)
    page.segmented_control(key="baseline").set_value("blurred").run()
    assert len(asked) == 2
    page.segmented_control[0].set_value("malignant").run()
    next(button for button in page.button if button.label == "Measure").click().run()
    assert "malignant is the answer from " in page.get("plotly_chart")[0].proto.spec


@pytest.mark.slow
def test_the_steadier_map_is_what_is_shown_and_measured(page: AppTest, asked: list[tuple[str, str, bool]]) -> None:
    assert "The map has 21 x 31 cells" in texts(page)
    page.toggle(key="steady").set_value(True).run()
    assert not page.exception
    assert "The map has 42 x 62 cells" in texts(page) and "How steady is the map?" in texts(page)
    next(button for button in page.button if button.label == "Measure").click().run()
    assert [question[2] for question in asked if question[0] != "steady"] == [True]
    page.toggle(key="steady").set_value(False).run()
    assert "The map has 21 x 31 cells" in texts(page)
    assert sum(question[0] == "steady" for question in asked) == 1


@pytest.mark.slow
def test_files_are_named_by_fingerprint_unless_asked_otherwise(page: AppTest) -> None:
    labels = [one.label for one in page.get("download_button")]
    images = ["DT Grad-CAM (PNG)", "Grad-CAM (PNG)", "Colour bar (PNG)"]
    assert labels == ["Numbers (JSON)", "Regions (GeoJSON)", *images]
    comment = next(one for one in page.text_area if one.label == "Comment")
    assert comment.max_chars == LONGEST_COMMENT
    comment.set_value("Kerne").run()
    assert not page.exception
    # The PDF is made when it is asked for, and not offered any more once it is of another setting.
    next(button for button in page.button if button.label == "Make the report (PDF)").click().run()
    assert not page.exception
    assert "Report (PDF)" in [one.label for one in page.get("download_button")]
    page.slider[0].set_value(0.5).run()
    assert "Report (PDF)" not in [one.label for one in page.get("download_button")]


def test_outside_the_competence_no_probability_is_enough() -> None:
    """Malignant alone from .71, where benign is out of the set: 1 - .29."""
    calibration = Calibration(("benign", "malignant"), 1.0, (0.0, 0.0), {0.1: (0.29, 0.4)})
    prediction = SimpleNamespace(calibration=calibration)
    for reason, wanted in ((None, pytest.approx(0.71)), (Reason("out_of_focus", "It is blurred."), None)):
        opinion: Any = SimpleNamespace(prediction=prediction, gate=Gate(reason, None, None))
        assert enough_for(opinion, "malignant") == wanted
    opinion = SimpleNamespace(prediction=SimpleNamespace(calibration=None), gate=Gate(None, None, None))
    assert enough_for(opinion, "malignant") is None
