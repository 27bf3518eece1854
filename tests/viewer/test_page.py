"""The viewer's side of the page: what is packed for the browser, and what is taken back from it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import streamlit as st
from streamlit.errors import StreamlitAPIException
from streamlit.testing.v1 import AppTest

from dala import opinion
from dala.explanation.gradcam import SignedMap
from dala.explanation.render import COLOUR_MAPS, encode_png
from dala.explanation.threshold import RULES
from dala.opinion import Opinion
from dala.phantoms.tissue import PHANTOMS, draw
from dala.runtime import predict as runtime
from pages.parts.second_opinion import viewer as _viewer

pytestmark = pytest.mark.usefixtures("weights_stay_loaded", "components_stay_found")

PAGE = Path(__file__).resolve().parents[2] / "pages" / "second_opinion.py"
SET = {
    "target": "benign",
    "rule": "fixed",
    "parameter": 0.25,
    "opacity": 0.8,
    "colour_map": "magma",
    "fixed": True,
    "limit": 0.5,
}


@dataclass
class Browser:
    """Stands where the component is mounted: keeps what it was given and answers with a state."""

    given: list[bytes] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)

    def __call__(self, **mounted: Any) -> dict[str, Any]:
        self.given.append(mounted["data"])
        return self.state

    def header(self) -> dict[str, Any]:
        return unpack(self.given[-1])[0]

    def sets(self, **changes: Any) -> None:
        self.state = {"settings": {"start": self.header()["start"], **SET, **changes}}


def unpack(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(data[:4], "little")
    return json.loads(data[4 : 4 + length]), data[4 + length :]


def part(place: dict[str, int], body: bytes) -> bytes:
    return body[place["offset"] : place["offset"] + place["length"]]


@pytest.fixture(scope="module")
def model() -> runtime.Model:
    return runtime.load_model("breakhis")


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch, model: runtime.Model) -> Iterator[Browser]:
    browser = Browser()
    monkeypatch.delenv("DALA_SAMPLES", raising=False)
    monkeypatch.setattr(runtime, "load_model", lambda *_: runtime.Model(model.net, model.card))
    monkeypatch.setattr(runtime, "load_familiarity", lambda *_: None)
    monkeypatch.setattr(_viewer, "component", lambda name: browser)
    yield browser
    st.cache_resource.clear()


@pytest.fixture
def page(browser: Browser) -> AppTest:
    at = AppTest.from_file(str(PAGE), default_timeout=120).run()
    return choose(at, 0)


def choose(page: AppTest, number: int) -> AppTest:
    page.selectbox(key="example").set_value(f"drawn:{PHANTOMS[number]}").run()
    assert not page.exception
    return page


def said(page: AppTest) -> str:
    return next(caption.value for caption in page.caption if caption.value.startswith("Table and downloads: "))


def drawn(number: int, model: runtime.Model) -> Opinion:
    name = PHANTOMS[number]
    return opinion.second_opinion(encode_png(draw(name).pixels), model, name=f"{name}.png")


@pytest.mark.slow
def test_what_the_browser_sets_is_what_the_server_explains(
    page: AppTest, browser: Browser, model: runtime.Model
) -> None:
    assert "k = 1;" in said(page)
    data = browser.given[-1]
    browser.sets()
    page.run()
    assert not page.exception
    computed = drawn(0, model)
    regions = opinion.explain(computed, "benign", "fixed", 0.25).regions
    assert said(page) == (
        f"Table and downloads: towards benign, Fraction of the maximum, fraction = 0.25; threshold: "
        f"{regions.threshold:.3g}, kept area: {100 * regions.kept_area:.1f} %, share of evidence: "
        f"{100 * regions.kept_evidence:.0f} %, regions ({regions.dropped} tiny dropped): {len(regions.regions)}."
    )
    assert not page.dataframe, "the regions are listed in the viewer"
    # Nothing of it is sent back: the data of an image stay what they were, and no slider is moved by the server.
    assert browser.given[-1] == data
    assert not page.metric


@pytest.mark.slow
def test_nothing_is_taken_that_was_not_offered(page: AppTest, browser: Browser) -> None:
    before = said(page)
    for changes in (
        {"start": "of another viewer"},
        {"target": "normal"},
        {"target": ["benign"]},
        {"rule": "none"},
        {"parameter": 1.01},
        {"parameter": float("nan")},
        {"parameter": "1"},
        {"parameter": None},
        {"opacity": 0.0},
        {"colour_map": "jet"},
        {"fixed": 1},
        {"limit": 0.3},
        {"limit": None},
        {"more": 1},
    ):
        browser.sets(**changes)
        page.run()
        assert not page.exception, changes
        assert said(page) == before, changes
    for settings in (None, "text", [1], {}, {"start": browser.header()["start"]}):
        browser.state = {"settings": settings}
        page.run()
        assert not page.exception, settings
        assert said(page) == before, settings
    browser.sets()
    page.run()
    assert said(page) != before


@pytest.mark.slow
def test_settings_survive_another_image_but_for_target_and_parameter(
    page: AppTest, browser: Browser, model: runtime.Model
) -> None:
    first = browser.header()["start"]
    label = browser.header()["settings"]["target"]
    browser.sets(target="benign" if label == "malignant" else "malignant")
    page.run()
    choose(page, 1)
    header = browser.header()
    assert header["start"] != first
    expected = {"target": drawn(1, model).prediction.label, "parameter": RULES["fixed"].default}
    assert header["settings"] == SET | expected
    assert "fraction = 0.5;" in said(page)
    # Back at the first image its old answer still lies in the component's state; it belongs to a start that is over.
    choose(page, 0)
    assert browser.header()["start"] not in (first, header["start"])
    assert browser.header()["settings"]["target"] == label
    assert "fraction = 0.5;" in said(page)


@pytest.mark.slow
def test_the_plain_view_takes_over_the_settings_and_gives_them_back(page: AppTest, browser: Browser) -> None:
    browser.sets()
    page.run()
    start = browser.header()["start"]
    page.toggle(key="plain").set_value(True).run()
    assert not page.exception
    (slider,) = [one for one in page.slider if one.key.startswith("parameter-fixed")]
    assert slider.value == 0.25
    assert page.selectbox(key="rule").value == "fixed"
    assert page.selectbox(key="colour_map").value == "magma"
    assert page.slider(key="opacity").value == 0.8
    assert page.toggle(key="fixed").value is True
    assert page.select_slider(key="limit").value == 0.5
    slider.set_value(0.75).run()
    assert not page.exception
    page.toggle(key="plain").set_value(False).run()
    assert not page.exception
    header = browser.header()
    assert header["start"] != start
    assert header["settings"] == SET | {"parameter": 0.75}


@pytest.mark.slow
@pytest.mark.parametrize(
    "error", [StreamlitAPIException("no such thing"), AttributeError("v2"), FileNotFoundError("x")]
)
def test_without_components_the_plain_view_is_shown(
    browser: Browser, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def unavailable(name: str) -> None:
        raise error

    monkeypatch.setattr(_viewer, "component", unavailable)
    page = choose(AppTest.from_file(str(PAGE), default_timeout=120).run(), 0)
    assert page.info[0].value.startswith("The viewer is not available here, so this is the plain view.")
    assert len(page.metric) == 4
    assert any(slider.key.startswith("parameter") for slider in page.slider)


@pytest.mark.slow
def test_the_real_component_mounts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "load_familiarity", lambda *_: None)
    page = choose(AppTest.from_file(str(PAGE), default_timeout=120).run(), 0)
    assert not page.info
    (mounted,) = page.get("bidi_component")
    assert mounted.proto.component_name == "dala_heatmap"
    assert unpack(mounted.proto.bytes)[0]["image"]["type"] == "image/png"
    st.cache_resource.clear()


def test_the_parts_are_the_image_and_the_very_fields(model: runtime.Model) -> None:
    computed = drawn(2, model)
    start = _viewer.Start("1", _viewer.identity(computed), _viewer.Settings("benign", "otsu", 1.0))
    header, body = unpack(_viewer.packed(computed, start))
    assert header["detail"] is None
    image = cv2.imdecode(np.frombuffer(part(header["image"], body), np.uint8), cv2.IMREAD_COLOR_RGB)
    np.testing.assert_array_equal(image, computed.image)
    height, width = image.shape[:2]
    assert (header["image"]["height"], header["image"]["width"]) == (height, width)
    assert len(header["fields"]) == 1, "of two mirrors one is enough"
    for target in header["targets"]:
        sent = np.frombuffer(part(header["fields"][target["field"]], body), "<f4").reshape(height, width)
        np.testing.assert_array_equal(target["sign"] * sent, computed.maps[target["name"]].upsampled(height, width))
    assert header["rules"][0]["name"] == "mean_std"
    assert list(header["colour_maps"]) == list(COLOUR_MAPS)
    assert header["minimum_area"] == 0.002


@pytest.mark.slow
def test_three_classes_have_a_field_each(model: runtime.Model) -> None:
    rng = np.random.default_rng(0)
    maps = {name: SignedMap(rng.standard_normal((3, 4)).astype(np.float32), name) for name in ("a", "b", "c")}
    parts, _ = _viewer.heavy("three", False, replace(drawn(0, model), maps=maps))
    assert parts["targets"] == [{"name": name, "field": number, "sign": 1} for number, name in enumerate(maps)]
    st.cache_resource.clear()


@pytest.mark.parametrize(("side", "detail"), [((900, 1200), (900, 1200)), ((5000, 2500), (4096, 2048))])
def test_a_large_patch_comes_with_its_own_pixels(side: tuple[int, int], detail: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (side[0] // 50, side[1] // 50, 3)).astype(np.uint8)
    pixels = np.asarray(cv2.resize(small, side[::-1], interpolation=cv2.INTER_CUBIC), np.uint8)
    decoded = cv2.imdecode(np.frombuffer(_viewer.detail_jpeg(pixels), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert decoded.shape[:2] == detail
    if side == detail:
        assert np.abs(decoded.astype(int) - pixels).mean() < 1.5
