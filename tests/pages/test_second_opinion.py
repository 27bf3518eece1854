"""The page through Streamlit's own test harness: upload, verdict, slider, refusal, examples."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from dala import opinion
from dala.explain.render import encode_png
from dala.phantoms import PHANTOMS, draw

ROOT = Path(__file__).resolve().parents[2]


def picture(seed: int) -> bytes:
    """A PNG that no other test uploads, so that no cache of the page knows it."""
    pixels = draw(PHANTOMS[0]).pixels.copy()
    pixels[:8, :8] = np.random.default_rng(seed).integers(0, 256, (8, 8, 3))
    return encode_png(pixels)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the pictures that the network has looked at."""
    seen: list[str] = []
    predict = opinion.predict

    def counted(patch: opinion.Patch, model: opinion.Model) -> opinion.Prediction:
        seen.append(patch.name)
        return predict(patch, model)

    monkeypatch.setattr(opinion, "predict", counted)
    return seen


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.delenv("DALA_SAMPLES", raising=False)
    at = AppTest.from_file(str(ROOT / "pages" / "second_opinion.py"), default_timeout=120)
    return at.run()


def upload(page: AppTest, name: str, data: bytes, kind: str = "image/png") -> AppTest:
    page.file_uploader[0].set_value((name, data, kind))
    page.run()
    assert not page.exception
    return page


def text(page: AppTest) -> str:
    return "\n".join(element.value for element in [*page.markdown, *page.caption])


def metric(page: AppTest, label: str) -> str:
    return next(m.value for m in page.metric if m.label == label)


def test_empty_page_says_what_to_do(page: AppTest) -> None:
    assert not page.exception
    assert "Drop an H&E breast patch here" in page.file_uploader[0].label
    assert "No picture yet" in text(page)
    assert not page.metric


def test_upload_gives_a_verdict_and_sliders_run_no_network(page: AppTest, passes: list[str]) -> None:
    upload(page, "patch.png", picture(1))
    assert passes == ["patch.png"]
    shown = text(page)
    assert "## ▲ Malignant" in shown or "## ● Benign" in shown
    assert "not calibrated" in shown
    assert "The model saw the whole picture, 700 x 460 px, squeezed to 224 x 224." in shown
    kept = []
    for k in (-1.0, 0.0, 1.0, 2.0):
        page.slider(key="parameter-mean_std").set_value(k).run()
        kept.append(float(metric(page, "Kept area").removesuffix(" %")))
    assert kept == sorted(kept, reverse=True)
    assert kept[0] > kept[-1]
    page.selectbox(key="rule").set_value("percentile").run()
    assert page.slider(key="parameter-percentile").value == 80
    page.slider(key="opacity").set_value(0.9).run()
    page.selectbox(key="colour_map").set_value("magma").run()
    assert not page.exception
    assert passes == ["patch.png"]


def test_towards_the_other_class(page: AppTest, passes: list[str]) -> None:
    data = picture(2)
    upload(page, "patch.png", data)
    control = page.segmented_control[0]
    assert control.value in ("benign", "malignant")
    for target in ("benign", "malignant"):
        control = page.segmented_control[0].set_value(target)
        page.run()
        assert not page.exception
        assert page.segmented_control[0].value == target
    assert len(passes) == 1


@pytest.mark.parametrize(
    ("name", "data"),
    [("text.png", b"this is no picture"), ("empty.png", b""), ("cut.png", picture(3)[:5000])],
)
def test_refusal_is_a_sentence_and_the_page_goes_on(page: AppTest, passes: list[str], name: str, data: bytes) -> None:
    upload(page, name, data)
    assert len(page.error) == 1
    assert page.error[0].value.endswith(".")
    assert not page.metric
    assert passes == []
    upload(page, "good.png", picture(4 + len(name)))
    assert not page.error
    assert passes == ["good.png"]


def test_drawn_example_is_named_as_drawn(page: AppTest) -> None:
    page.selectbox(key="example").set_value(f"drawn:{PHANTOMS[0]}").run()
    assert not page.exception
    assert "Drawn by code" in page.warning[0].value
    assert page.metric


def test_samples_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passes: list[str]) -> None:
    (tmp_path / "case").mkdir()
    (tmp_path / "case" / "mine.png").write_bytes(picture(20))
    (tmp_path / "notes.txt").write_text("not listed")
    monkeypatch.setenv("DALA_SAMPLES", str(tmp_path))
    page = AppTest.from_file(str(ROOT / "pages" / "second_opinion.py"), default_timeout=120).run()
    assert "case/mine.png" in page.selectbox(key="example").options
    assert not any("notes" in option for option in page.selectbox(key="example").options)
    page.selectbox(key="example").set_value("file:case/mine.png").run()
    assert passes == ["mine.png"]
    assert page.metric


def test_missing_weights_are_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import streamlit as st

    from dala.nets import weights

    st.cache_resource.clear()
    read_card = weights.read_card
    monkeypatch.setattr(weights, "read_card", lambda name, folder: read_card(name, tmp_path))
    page = AppTest.from_file(str(ROOT / "pages" / "second_opinion.py"), default_timeout=120).run()
    assert "There is no model card" in page.error[0].value
    assert not page.exception
    st.cache_resource.clear()


def test_the_screen_shows_the_exported_bytes() -> None:
    """What `encode_png` makes is lossless: the download equals the panel, pixel for pixel."""
    pixels = draw(PHANTOMS[1]).pixels
    again = cv2.imdecode(np.frombuffer(encode_png(pixels), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(again, pixels)
