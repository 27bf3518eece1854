"""The viewer mounted in an empty page, with data that the app cannot be made to send: no evidence, broken bytes."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import cv2
import numpy as np
import pytest
from playwright.sync_api import Page, expect

from dala.explanation.render import COLOUR_MAPS, encode_png
from dala.explanation.threshold import RULES
from pages.parts.component import sources
from pages.parts.second_opinion import viewer as _viewer

pytestmark = pytest.mark.browser

HEIGHT, WIDTH = 60, 90
MOUNT = """async ([html, css, source, text]) => {
    const module = await import(URL.createObjectURL(new Blob([source], {type: "text/javascript"})));
    document.body.innerHTML = `<style>${css}</style>${html}`;
    window.told = {};
    const tell = (name, value) => { window.told[name] = value };
    window.show = text => {
        const data = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
        module.default({ parentElement: document.body, data, setStateValue: tell, setTriggerValue: tell });
    };
    show(text);
}"""


def packed(field: np.ndarray, image: np.ndarray, start: str = "1", **settings: Any) -> bytes:
    """What `_viewer.packed` makes, of one field and its mirror."""
    image, values = encode_png(image), field.astype("<f4").tobytes()
    header = {
        "start": start,
        "id": "image",
        "verdict": "malignant",
        "usual": {
            "target": "malignant",
            "rule": "fixed",
            "parameter": 0.5,
            "opacity": 0.5,
            "colour_map": "verdant",
            "fixed": False,
            "limit": None,
        },
        "settings": {
            "target": "malignant",
            "rule": "fixed",
            "parameter": 0.5,
            "opacity": 0.5,
            "colour_map": "viridis",
            "fixed": False,
            "limit": None,
            **settings,
        },
        "patch": {"width": WIDTH, "height": HEIGHT},
        "rules": [vars(rule) for rule in RULES.values()],
        "colour_maps": {name: base64.b64encode(table.tobytes()).decode() for name, table in COLOUR_MAPS.items()},
        "limits": _viewer.COLOUR_LIMITS,
        "minimum_area": _viewer.MINIMUM_AREA,
        "image": {"offset": 0, "length": len(image), "type": "image/png", "width": WIDTH, "height": HEIGHT},
        "detail": None,
        "fields": [{"offset": len(image), "length": len(values)}],
        "targets": [{"name": "malignant", "field": 0, "sign": 1}, {"name": "benign", "field": 0, "sign": -1}],
    }
    text = json.dumps(header).encode()
    return struct.pack("<I", len(text)) + text + image + values


def mount(page: Page, data: bytes) -> None:
    page.evaluate(MOUNT, [*sources("heatmap"), base64.b64encode(data).decode()])


def drawn(page: Page, kind: str) -> np.ndarray:
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    data = page.locator(f"[data-kind={kind}] canvas").evaluate("canvas => canvas.toDataURL().split(',')[1]")
    return cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR_RGB)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)


def test_without_evidence_nothing_is_coloured_and_it_is_said(blank: Page, image: np.ndarray) -> None:
    mount(blank, packed(np.full((HEIGHT, WIDTH), -0.5, np.float32), image))
    expect(blank.locator(".reason")).to_have_text(
        "The map holds no positive evidence for this target, so there is nothing to show."
    )
    values = [blank.locator(f".value-{name}").inner_text() for name in ("threshold", "area", "evidence", "regions")]
    assert values == ["none", "0.0 %", "0 %", "0"]
    expect(blank.locator(".bar-title")).to_contain_text("no positive evidence: nothing is coloured")
    expect(blank.locator(".mark")).to_be_hidden()
    patch = drawn(blank, "patch")
    np.testing.assert_array_equal(drawn(blank, "gradcam"), patch)
    np.testing.assert_array_equal(drawn(blank, "dt"), patch)
    # Its mirror is evidence everywhere: one region, all of the image.
    blank.get_by_text("benign", exact=True).click()
    expect(blank.locator(".value-area")).to_have_text("100.0 %")
    expect(blank.locator(".value-threshold")).to_have_text("0.25")
    expect(blank.locator(".reason")).to_be_empty()
    blank.wait_for_function("told.settings")
    told = blank.evaluate("told.settings")
    assert (told["start"], told["target"], told["parameter"]) == ("1", "benign", 0.5)
    assert (drawn(blank, "gradcam") != patch).any()


def test_a_fixed_scale_says_that_values_lie_above_it(blank: Page, image: np.ndarray) -> None:
    field = np.linspace(0.1, 3, HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH)
    mount(blank, packed(field, image, fixed=True, limit=1))
    expect(blank.locator(".ticks span").last).to_have_text("\u2265 1.00")
    expect(blank.locator(".mark")).to_have_text("threshold: off the bar")
    expect(blank.locator(".value-threshold")).to_have_text("1.5")


def test_another_map_of_the_same_image_leaves_the_view_where_it_is(blank: Page, image: np.ndarray) -> None:
    field = np.linspace(0.1, 3, HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH)
    mount(blank, packed(field, image))
    blank.get_by_role("button", name="Zoom in").click()
    drawn(blank, "dt")
    view = blank.locator("[data-kind=dt] canvas").get_attribute("data-view")
    assert view is not None
    assert view.startswith("1.5000")
    shown = blank.locator(".value-threshold").inner_text()
    blank.evaluate("text => show(text)", base64.b64encode(packed(field / 2, image, start="2")).decode())
    expect(blank.locator(".value-threshold")).not_to_have_text(shown)
    drawn(blank, "dt")
    assert blank.locator("[data-kind=dt] canvas").get_attribute("data-view") == view


@pytest.mark.parametrize("data", [b"", b"\x10\x00\x00\x00no header", None])
def test_what_cannot_be_shown_is_told_to_the_server(blank: Page, image: np.ndarray, data: bytes | None) -> None:
    good = packed(np.ones((HEIGHT, WIDTH), np.float32), image)
    broken = good.replace(b"\x89PNG", b"no png") if data is None else data
    mount(blank, broken)
    blank.wait_for_function("told.failed")
    assert len(blank.evaluate("told.failed")) > 10
    expect(blank.locator(".starting")).to_be_visible()
