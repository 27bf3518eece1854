"""The report part of the first page: what the person adds, and files that are made of what is on the screen."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest
from streamlit.delta_generator import DeltaGenerator
from streamlit.testing.v1 import AppTest

from dala.explanation.effect import EffectCurve
from dala.explanation.render import encode_png
from dala.export.geojson import geojson
from dala.export.pdf import pdf
from dala.export.report import Remarks, read_report, report
from dala.gate import Gate
from dala.opinion import Explanation, Opinion, explain, second_opinion
from dala.phantoms.tissue import draw
from dala.runtime.predict import load_model

NAME = "Erika Mustermann 1961"
Files = dict[str, tuple[str, bytes | str]]


@pytest.fixture(scope="module")
def opinion() -> Opinion:
    found = second_opinion(encode_png(draw("nest_beside_ducts").pixels), load_model("breakhis"), name=f"{NAME}.png")
    return replace(found, gate=Gate(None, 1.5, 0.42))


@pytest.fixture(scope="module")
def explanation(opinion: Opinion) -> Explanation:
    return explain(opinion, "malignant", "otsu", 1.1, colour_map="magma", opacity=0.7, limit=0.05)


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> Files:
    """What the download buttons of the last run offer: file name and content."""
    found: Files = {}

    def button(_: DeltaGenerator, label: str, data: bytes | str, file_name: str, mime: str, **__: Any) -> None:
        found[label] = (file_name, data)

    monkeypatch.setattr(DeltaGenerator, "download_button", button)
    return found


def script(shown: dict[str, object]) -> None:
    from pages.parts.second_opinion.report import show_report

    show_report(shown["opinion"], shown["explanation"], shown["effect"])


def page_of(opinion: Opinion, explanation: Explanation, effect: EffectCurve | None = None) -> AppTest:
    return page_with({"opinion": opinion, "explanation": explanation, "effect": effect})


def page_with(shown: dict[str, object]) -> AppTest:
    """A page that shows what is in the dictionary each time that it runs."""
    app = AppTest.from_function(script, default_timeout=60, kwargs={"shown": shown}).run()
    assert not app.exception
    return app


def ask_for_pdf(app: AppTest) -> None:
    next(one for one in app.button if one.label == "Make the report (PDF)").click().run()
    assert not app.exception


@pytest.mark.slow
def test_the_files_are_what_is_on_the_screen(opinion: Opinion, explanation: Explanation, offered: Files) -> None:
    app = page_of(opinion, explanation)
    panels, day = explanation.panels, date.today()
    image = f"{opinion.patch.sha256[:12]}-malignant"
    wanted = {
        "Numbers (JSON)": (f"{image}.json", report(opinion, explanation, Remarks(), day).json()),
        "Regions (GeoJSON)": (f"{image}.geojson", geojson(opinion, explanation)),
        "DT Grad-CAM (PNG)": (f"{image}-dt.png", encode_png(panels.dt)),
        "Grad-CAM (PNG)": (f"{image}-gradcam.png", encode_png(panels.gradcam)),
        "Colour bar (PNG)": (f"{image}-bar.png", encode_png(panels.bar)),
    }
    assert offered == wanted
    ask_for_pdf(app)
    assert offered == wanted | {"Report (PDF)": (f"{image}.pdf", pdf(opinion, explanation, Remarks(), day))}


@pytest.mark.slow
def test_a_pdf_of_other_colours_is_another_pdf(opinion: Opinion, explanation: Explanation, offered: Files) -> None:
    shown: dict[str, object] = {"opinion": opinion, "explanation": explanation, "effect": None}
    app = page_with(shown)
    ask_for_pdf(app)
    assert "Report (PDF)" in offered
    offered.clear()
    # The same numbers, but not the same images.
    paler = explain(opinion, "malignant", "otsu", 1.1, colour_map="magma", opacity=0.3, limit=0.05)
    shown["explanation"] = paler
    app.run()
    assert not app.exception
    assert "Report (PDF)" not in offered and offered["Grad-CAM (PNG)"][1] == encode_png(paler.panels.gradcam)
    ask_for_pdf(app)
    assert offered["Report (PDF)"][1] == pdf(opinion, paler, Remarks(), date.today())


@pytest.mark.slow
def test_what_the_person_adds_is_in_the_files(opinion: Opinion, explanation: Explanation, offered: Files) -> None:
    curve = EffectCurve("malignant", "blurred", *(np.array([one]) for one in (0.01, 0.2, 0.9, 0.3)), 0.95, 0.1, 0, None)
    app = page_of(opinion, explanation, curve)
    image = opinion.patch.sha256[:12]
    app.segmented_control(key=f"own-read-{image}").set_value("not sure")
    app.segmented_control(key=f"agree-{image}").set_value("disagree")
    app.text_area(key=f"comment-{image}").set_value("Größe der Kerne").run()
    assert not app.exception
    name, numbers = offered["Numbers (JSON)"]
    found = read_report(str(numbers)).content
    assert found["person"] == {
        "comment": "Größe der Kerne",
        "read_first": None,
        "own_read": "not sure",
        "agree": False,
    }
    assert found["effect"]["kept_area"] == [0.2]
    assert (found["opinion"]["rule"], found["opinion"]["parameter"]) == ("otsu", 1.1)
    assert found["opinion"]["file"] is None and NAME not in json.dumps(found) and NAME not in name
    words = Remarks("Größe der Kerne", "not sure", False)
    ask_for_pdf(app)
    assert offered["Report (PDF)"][1] == pdf(opinion, explanation, words, date.today(), curve)
    # Only when told to is the name written.
    app.toggle(key="with-name").set_value(True).run()
    name, numbers = offered["Numbers (JSON)"]
    assert name == f"{NAME}-malignant.json"
    assert read_report(str(numbers)).content["opinion"]["file"] == f"{NAME}.png"
    # What is taken back is not said.
    app.segmented_control(key=f"own-read-{image}").set_value(None)
    app.segmented_control(key=f"agree-{image}").set_value(None).run()
    assert read_report(str(offered["Numbers (JSON)"][1])).content["person"] == {
        "comment": "Größe der Kerne",
        "read_first": None,
        "own_read": None,
        "agree": None,
    }


def test_nobody_asks_for_patient_data(opinion: Opinion, explanation: Explanation, offered: Files) -> None:
    app = page_of(opinion, explanation)
    assert [one.label for one in app.text_area] == ["Comment"] and not app.text_input
    assert not app.toggle(key="with-name").value
    assert app.text_area[0].value == ""
