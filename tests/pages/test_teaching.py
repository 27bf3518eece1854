"""The teaching page through Streamlit's own harness: a round of reading, the map taken apart, the changed image."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit as st
from PIL import Image
from streamlit.testing.v1 import AppTest

from dala.opinion import second_opinion
from dala.phantoms.tissue import draw
from dala.runtime.predict import load_model
from dala.teaching.perturb import SLIDERS, levels
from dala.teaching.unfold import unfold
from pages.parts.teaching import failing
from tests.pages.conftest import Files

PAGE = Path(__file__).resolve().parents[2] / "pages" / "teaching.py"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("DALA_SAMPLES", raising=False)
    yield
    st.cache_resource.clear()


def opened(part: str = "Read first") -> AppTest:
    at = AppTest.from_file(str(PAGE), default_timeout=120).run()
    assert not at.exception
    if part != "Read first":
        at.segmented_control(key="part").set_value(part).run()
        assert not at.exception
    return at


def button(at: AppTest, label: str) -> Any:
    (found,) = [one for one in at.button if one.label == label]
    return found


def words(at: AppTest) -> str:
    return "\n".join(str(one.value) for one in [*at.markdown, *at.subheader, *at.caption, *at.info])


def begun(at: AppTest) -> None:
    """The same five drawings for every test."""
    at.segmented_control(key="reading-count").set_value(5)
    at.number_input(key="deck").set_value(7)
    button(at, "Start reading").click().run()


def call(at: AppTest, answer: str, sure: int = 75) -> AppTest:
    (control,) = [one for one in at.segmented_control if one.label == "Your call"]
    (slider,) = [one for one in at.slider if one.label.startswith("How sure")]
    slider.set_value(sure)
    control.set_value(answer).run()
    button(at, "Commit and reveal").click().run()
    assert not at.exception
    return at


@pytest.mark.slow
def test_a_round_is_read_revealed_and_scored(files: Files) -> None:
    at = opened()
    begun(at)
    for number in range(1, 6):
        said = words(at)
        assert f"Case {number} of 5" in said
        # Nothing tells the answer before the call.
        assert "model" not in said.lower() and "malignant" not in said.lower() and not at.get("imgs")
        assert button(at, "Commit and reveal").disabled
        call(at, "malignant", 50 + 5 * number)
        said = words(at)
        assert "The model:" in said and "it is not tissue and has no diagnosis" in said
        button(at, "See the score" if number == 5 else "Next case").click().run()
    name, table = files["All reads (CSV)"]
    rows = list(csv.DictReader(StringIO(table)))
    assert name == "reads.csv"
    assert [row["confidence"] for row in rows] == ["0.55", "0.60", "0.65", "0.70", "0.75"]
    right = sum(row["answer"] == "malignant" for row in rows)
    (score,) = at.table
    mine = score.value.iloc[0]
    assert mine["Right"].startswith(f"{right} of 5 (")
    assert mine["Sensitivity (malignant found)"].startswith(f"{right} of {right} (" if right else "undefined")
    assert mine["Specificity (benign left alone)"].startswith(f"0 of {5 - right} (" if right < 5 else "undefined")
    # A model of tissue has no score on drawings.
    assert score.value["Reader"].tolist() == ["You"]
    assert "**Drawings:** 5 of 5 cases." in words(at) and "agree**" not in words(at)
    assert {row["drawn"] for row in rows} == {"true"}
    button(at, "Another round").click().run()
    assert button(at, "Start reading")


@pytest.mark.slow
def test_a_round_may_end_early() -> None:
    at = opened()
    begun(at)
    call(at, "benign")
    button(at, "Next case").click().run()
    button(at, "End the round").click().run()
    assert not at.exception
    assert "1 case read" in words(at)


@pytest.mark.slow
def test_images_of_a_folder_are_read_by_their_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for folder in ("benign", "malignant"):
        (tmp_path / folder).mkdir()
        Image.fromarray(draw("loose_stroma").pixels[:230, :350]).save(tmp_path / folder / "one.png")
    Image.fromarray(draw("loose_stroma").pixels[:230, :350]).save(tmp_path / "unknown.png")
    (tmp_path / "malignant" / "broken.png").write_bytes(b"no image")
    monkeypatch.setenv("DALA_SAMPLES", str(tmp_path))
    at = opened()
    assert "The samples folder holds 3 images with a known answer" in words(at)
    button(at, "Start reading").click().run()
    seen = 0
    for _ in range(3):
        if errors := [one.value for one in at.error]:
            assert "broken" in errors[0] and "is left out" in errors[0]
            button(at, "Continue").click().run()
            continue
        call(at, "benign")
        seen += 1
        button(
            at, "See the score" if "See the score" in [one.label for one in at.button] else "Next case"
        ).click().run()
        assert not at.exception
    assert seen == 2
    assert "2 cases read" in words(at)


@pytest.mark.slow
def test_the_map_is_taken_apart_with_its_own_numbers_and_rules_are_compared() -> None:
    at = opened("How it works")
    opinion = second_opinion(encode(draw("solid_sheets").pixels), load_model("breakhis"))
    steps = unfold(opinion, opinion.prediction.label)
    rows = at.table[0].value
    products = [float(text.strip("*")) for text in rows["Product (0.001)"]]
    assert products[-1] == pytest.approx(1000 * steps.total.max(), abs=6e-4)
    # With a pencil: the products above it, as they are shown, make the sum.
    assert sum(products[:-1]) == pytest.approx(products[-1], abs=0.006)
    assert [row for row in rows["Map"]][:8] == [str(channel.number) for channel in steps.strongest]
    said = words(at)
    assert "2,048 feature maps of 10 x 10 cells" in said
    assert f"here {(steps.total < 0).sum()} of 100 cells" in said
    at.segmented_control[1].set_value("benign" if steps.target == "malignant" else "malignant").run()
    assert not at.exception
    assert f"here {(steps.total > 0).sum()} of 100 cells" in words(at)
    # Rules are compared on this one map.
    sliders = [one for one in at.slider if one.key and one.key.startswith("rule-")]
    assert len(sliders) == 5
    at.slider(key="rule-fixed").set_value(0.9).run()
    assert not at.exception


@pytest.mark.slow
def test_changes_are_followed_by_network_colours_and_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    at = opened("Where it fails")
    rows = at.table[0].value
    assert list(rows["As it came"]) == list(rows["Changed"])
    assert "Nothing has moved." in words(at)
    at.slider(key="disturb-blur").set_value(3.0)
    at.slider(key="disturb-brightness").set_value(0.5).run()
    assert not at.exception
    rows = at.table[0].value
    assert all(before != after for before, after in zip(rows["As it came"], rows["Changed"], strict=True))
    button(at, "Reset all").click().run()
    assert "Nothing has moved." in words(at)
    (jpeg,) = [slider for slider in SLIDERS if slider.name == "jpeg"]
    assert failing.levels is levels and len(levels(jpeg)) == 11
    monkeypatch.setattr(failing, "levels", partial(levels, count=3))
    at.selectbox(key="disturb-sweep").set_value("jpeg").run()
    assert not at.exception
    assert f"of these {len(levels(jpeg, 3))} images (open circles)" in words(at)


@pytest.mark.slow
def test_a_slider_turns_the_default_case_over_without_a_warning() -> None:
    """The lesson's third part: the image that stands there is within the model's competence, changed or not."""
    at = opened("Where it fails")
    rows = at.table[0].value.set_index("Answer of")
    network, gate = rows.index[0], rows.index[-1]
    assert "malignant" in rows["As it came"][network] and rows["As it came"][gate].startswith("passes")
    at.slider(key="disturb-haematoxylin").set_value(0.3).run()
    assert not at.exception
    rows = at.table[0].value.set_index("Answer of")
    assert "benign" in rows["Changed"][network] and rows["Changed"][gate].startswith("passes")


def test_a_sample_that_cannot_be_read_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    monkeypatch.setenv("DALA_SAMPLES", str(tmp_path))
    at = opened("Where it fails")
    assert len(at.error) == 1


def encode(pixels: np.ndarray) -> bytes:
    from dala.explanation.render import encode_png

    return encode_png(pixels)
