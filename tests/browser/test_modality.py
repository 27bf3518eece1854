"""A mammogram in a real browser: dropped as DICOM, shown in the words of its own card, corrected, and drawn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from dala.gate.checks import MAMMOGRAM
from dala.phantoms.film import draw_film
from dala.runtime.card import SERVED, read_card
from tests.helpers.browser import Served, Visit, settle
from tests.helpers.dicoms import PATIENT, film_dicom

DT = "DT Grad-CAM: above the threshold"
FITS = """width => {
    const main = document.querySelector("[data-testid=stMain]");
    const fits = document.documentElement.scrollWidth <= width && main.scrollWidth <= main.clientWidth;
    return innerWidth === width && fits;
}"""


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As it comes from an archive: without a suffix."""
    path = tmp_path_factory.mktemp("film") / "IM0001"
    path.write_bytes(film_dicom(draw_film(seed=3).pixels[..., 0]))
    return path


def fits(page: Page) -> None:
    """Nothing is wider than the screen, a narrow one neither."""
    for width in (480, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function(FITS, arg=width)


def show_example(page: Page) -> None:
    """The drawn film of the empty page's gallery."""
    page.get_by_role("button", name="Mammogram", exact=True).click()
    expect(page.get_by_text("not a radiograph and has no diagnosis")).to_be_visible(timeout=90_000)
    expect(page.get_by_text(DT)).to_be_attached(timeout=60_000)
    settle(page)
    fits(page)


def show_anyway(page: Page) -> None:
    """A drawn film that is uploaded is none to the gate."""
    outside = page.get_by_test_id("stAlert").filter(has_text="unlike the films")
    expect(outside).to_be_visible(timeout=90_000)
    settle(page)
    page.get_by_text("Show me anyway").click()


def test_a_dicom_film_from_drop_to_verdict(visit: Callable[..., Visit], app: Served, film: Path) -> None:
    visited = visit()
    page = visited.page
    page.locator("input[type=file]").set_input_files(film)
    show_anyway(page)
    expect(page.get_by_text(DT)).to_be_attached(timeout=60_000)
    settle(page)
    auc = read_card(SERVED[MAMMOGRAM])[0].fields["metrics"]["values"]["auc"]["value"]
    expect(page.get_by_text("Hardly better than guessing.")).to_be_visible()
    expect(page.get_by_text(f"(AUC {auc:.3f})")).to_be_visible()
    # Outside the model's competence none of its figures hold, so none stands beside the answer.
    expect(page.get_by_text("In cross-validation by case on")).to_have_count(0)
    expect(page.get_by_text("because the DICOM file says that it is a mammogram")).to_be_visible()
    expect(page.get_by_text("Steadier map")).to_have_count(0)
    page.get_by_role("button", name="What its card says about its limits").click()
    expect(page.get_by_text("Film scanners only: no digital mammography, no tomosynthesis.")).to_be_visible()
    page.keyboard.press("Escape")
    assert "Unbekannt" not in page.content()
    fits(page)

    # That the person corrects what it is read as is tested in tests/pages.
    expect(page.get_by_role("radio", name="Mammogram")).to_be_checked()
    expect(page.get_by_role("radio", name="H&E patch")).not_to_be_checked()
    page.get_by_role("button", name="Remove").click()
    show_example(page)
    assert visited.complaints == []
    log = app.log.read_text()
    assert "Traceback" not in log
    assert PATIENT.split("^")[0] not in log
