"""The first page with mammograms: read as, corrected, judged by their own model in its own words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from dala.explanation.render import encode_png
from dala.gate.checks import HISTOLOGY, MAMMOGRAM
from dala.phantoms.film import draw_film
from dala.phantoms.tissue import PHANTOMS, draw
from dala.runtime import predict as runtime
from dala.runtime.card import SERVED, read_card
from dala.words import counted
from tests.helpers.dicoms import dicom, film_dicom

pytestmark = pytest.mark.slow

PAGE = Path(__file__).resolve().parents[2] / "pages" / "second_opinion.py"
CARD = read_card(SERVED[MAMMOGRAM])[0]
FILM = draw_film(seed=1).pixels[..., 0]
IMAGE = encode_png(draw(PHANTOMS[0]).pixels[:230, :350])


@pytest.fixture(scope="module", autouse=True)
def drawings_pass() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DALA_SAMPLES", raising=False)
        patch.setattr(runtime, "load_familiarity", lambda *_: None)
        yield
    st.cache_resource.clear()


@pytest.fixture
def page() -> AppTest:
    at = AppTest.from_file(str(PAGE), default_timeout=120)
    at.query_params["plain"] = "true"
    at.run()
    assert not at.exception
    return at


def upload(page: AppTest, name: str, data: bytes) -> AppTest:
    page.file_uploader[0].set_value([(name, data, "application/octet-stream")])
    page.run()
    assert not page.exception
    return page


def said(page: AppTest) -> str:
    parts = [*page.header, *page.markdown, *page.caption, *page.warning]
    return "\n".join(element.value for element in parts)


def read_as(page: AppTest) -> Any:
    return next(control for control in page.segmented_control if control.key.startswith("modality-"))


def test_a_dicom_film_is_judged_by_the_films_model_in_its_cards_words(page: AppTest) -> None:
    upload(page, "IM0001", film_dicom(FILM))
    assert read_as(page).value == MAMMOGRAM
    assert "because the DICOM file says that it is a mammogram" in said(page)
    assert page.header[0].value in ("▲ Malignant", "● Benign", "◆ Not sure")
    fields = CARD.fields
    auc = fields["metrics"]["values"]["auc"]["value"]
    unsure = fields["calibration"]["measured"]["not_sure_0.10"]["value"]
    assert f"AUC {auc:.3f}" in said(page)
    assert f"It answers “not sure” for {100 * unsure:.0f} % of the images." in said(page)
    assert "In cross-validation by case on " in said(page)
    training = fields["training_data"]
    images, cases = counted(training["pictures"], "image"), counted(len(training["groups"]), "case")
    assert f"{images} (whole film) of {cases}" in said(page)
    assert "The model saw the breast alone" in said(page)
    assert "accession" not in said(page)
    assert "Focus, tissue" not in said(page)
    assert all(limit[:40] in said(page).replace("\\", "") for limit in fields["limits"])
    assert [control.options for control in page.segmented_control if control.key == "baseline"] == [
        ["the image, blurred"]
    ]


def test_a_patch_is_judged_as_before(page: AppTest) -> None:
    upload(page, "patch.png", IMAGE)
    assert read_as(page).value == HISTOLOGY
    assert "because it has colours" in said(page)
    assert "a laboratory that the model does not know" in said(page)
    assert "guessing" not in said(page)


def test_the_person_corrects_what_it_is_read_as(page: AppTest) -> None:
    upload(page, "film.png", encode_png(draw_film(seed=2).pixels))
    assert read_as(page).value == MAMMOGRAM
    assert "because it is grey with smooth shades" in said(page)
    read_as(page).set_value(HISTOLOGY)
    page.run()
    assert not page.exception
    assert page.header[0].value == "Outside the model's competence"
    assert "The image is grey" in page.warning[0].value
    assert "a person has read it as an H&E patch" in said(page)
    read_as(page).set_value(MAMMOGRAM)
    page.run()
    assert "Outside" not in page.header[0].value
    assert "a person has read it" not in said(page)


def test_a_patch_handed_to_the_films_model_is_outside(page: AppTest) -> None:
    upload(page, "patch.png", IMAGE)
    read_as(page).set_value(MAMMOGRAM)
    page.run()
    assert not page.exception
    assert page.header[0].value == "Outside the model's competence"
    assert "a mammogram is grey" in page.warning[0].value
    next(one for one in page.toggle if one.label == "Show me anyway").set_value(True).run()
    assert not page.exception
    assert "not a verdict" in said(page)


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        ({"Modality": "MG", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.2"}, "has seen digitised films only"),
        ({"Modality": "CT"}, "computed tomography"),
    ],
)
def test_what_the_model_has_never_seen_is_outside(page: AppTest, header: dict[str, str], sentence: str) -> None:
    upload(page, "image", film_dicom(FILM, **header))
    assert page.header[0].value == "Outside the model's competence"
    assert sentence in page.warning[0].value


def test_a_damaged_dicom_is_a_sentence_and_the_page_goes_on(page: AppTest) -> None:
    upload(page, "cut.dcm", dicom(np.zeros((64, 64), np.uint16))[:4000])
    assert page.error[0].value.startswith("'cut.dcm' is a damaged")
    upload(page, "good.dcm", film_dicom(FILM))
    assert not page.error
    assert page.header


def test_the_drawn_film_is_named_as_drawn(page: AppTest) -> None:
    page.button(key="choose-mammogram").click().run()
    assert not page.exception
    assert "not a radiograph and has no diagnosis" in page.warning[0].value
    assert not any(control.key.startswith("modality-") for control in page.segmented_control)
    assert "mini\\_ddsm" in said(page)


def test_a_name_of_a_training_case_is_no_proof(page: AppTest) -> None:
    case = CARD.fields["training_data"]["groups"][0]
    upload(page, f"C_{case}_1.LEFT_CC.jpg", film_dicom(FILM, SeriesNumber=1))
    assert any(f"is from case {case}, on which the model was trained" in one.value for one in page.warning)
    upload(page, f"A_{case}_1.LEFT_CC.jpg", film_dicom(FILM, SeriesNumber=2))
    assert not any("is from case" in one.value for one in page.warning)


def test_the_numbers_to_take_away_are_of_the_right_card(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: dict[str, Any] = {}

    def noted(_: Any, label: str, data: Any = None, *arguments: Any, **options: Any) -> bool:
        taken[label] = data
        return False

    monkeypatch.setattr("streamlit.delta_generator.DeltaGenerator.download_button", noted)
    upload(page, "film", film_dicom(FILM))
    content = json.loads(taken["Numbers (JSON)"])
    assert content["opinion"]["weights"] == CARD.name
    assert content["model"]["protocol"] == CARD.fields["metrics"]["protocol"]
    assert content["model"]["measured"]["auc"] == CARD.fields["metrics"]["values"]["auc"]
    assert content["opinion"]["file"] is None
