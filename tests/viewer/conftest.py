"""An empty page of Chromium, for the viewer's code without the app around it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.helpers.browser import fresh_page


@pytest.fixture(scope="module")
def blank(chromium: Browser) -> Iterator[Page]:
    with fresh_page(chromium) as page:
        yield page
