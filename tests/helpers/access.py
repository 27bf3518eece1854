"""What axe-core finds on a page, in the light and in the dark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from playwright.sync_api import Page, expect

from tests.helpers.browser import PAGE_MS, settle
from tests.helpers.npm import package

AXE = "4.10.3"
BRIEF = {"resultTypes": ["violations"], "selectors": False}
OF_COLOURS = ["color-contrast", "link-in-text-block"]
# Of Streamlit's own drop zone: a section with role=presentation that has a name.
STREAMLITS_OWN = {"presentation-role-conflict"}


def source() -> str:
    """Of axe-core, fetched by npm where it is not at hand yet."""
    return (package("axe-core", AXE) / "axe.min.js").read_text(encoding="utf-8")


def violations(page: Page, axe: str, themes: Sequence[str]) -> list[str]:
    """What axe finds against WCAG 2 A and AA and its own best practice, a line each.

    themes: those that the page is turned to, one after another. In those after the first one only colours are others.
    """
    settle(page)
    expect(page.locator("[data-stale=true]")).to_have_count(0, timeout=PAGE_MS)
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0, timeout=PAGE_MS)  # of a widget whose code is fetched
    if not page.evaluate("'axe' in window"):  # of a document that was opened before
        page.evaluate(axe)
    lines = []
    for number, theme in enumerate(themes):
        themed(page, theme)
        options = BRIEF | {"runOnly": OF_COLOURS} if number else BRIEF
        run = "async options => (await axe.run(document, options)).violations"
        found: list[dict[str, Any]] = page.evaluate(run, options)
        lines += [
            f"{theme}, {one['id']}: {node['html'][:120]} {node.get('failureSummary', '')[:200]}"
            for one in found
            if one["id"] not in STREAMLITS_OWN
            for node in one["nodes"]
        ]
    return lines


BOTH = ("light", "dark")
THEMED = """theme => {
    const seen = [document.querySelector(".stApp")], all = root => {
        for (const one of root.querySelectorAll("*")) {
            if (one.matches(".viewer") && one.style.colorScheme && one.checkVisibility()) seen.push(one);
            if (one.shadowRoot) all(one.shadowRoot);
        }
    };
    all(document);
    const moves = document.getAnimations().some(one => one instanceof CSSTransition);
    return !moves && seen.every(one => getComputedStyle(one).colorScheme === theme);
}"""


def themed(page: Page, theme: str) -> None:
    """Turn the page, viewers too, to the browser's light or dark setting."""
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    page.wait_for_function(THEMED, arg=theme)
