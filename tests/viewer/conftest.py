"""An empty page of Chromium, for the viewer's code without the app around it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, sync_playwright


@pytest.fixture(scope="module")
def blank() -> Iterator[Page]:
    """Debian's Chromium, or the one that DALA_CHROMIUM names. Absent: a skip, but a failure where CI is set."""
    program = os.environ.get("DALA_CHROMIUM") or shutil.which("chromium")
    if program is None:
        message = "No chromium on the PATH and none named by DALA_CHROMIUM."
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        yield browser.new_page()
        browser.close()
