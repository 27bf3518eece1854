"""Browsers of the soak test: each keeps, reopens, compares and deletes cases of its own, beside programs and a scan.

All are profiles of one Chromium. How long a page takes is counted from what its user does until what it was done for is
seen; a case that shows something else than was kept is a failure.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import numpy as np
from playwright.async_api import Browser, Page, async_playwright, expect

if TYPE_CHECKING:
    from tests.soak import Found

ACTIONS, SHARES = ("keep", "reopen", "compare", "delete"), (0.35, 0.3, 0.2, 0.15)
EXAMPLES = ("regular ducts", "solid sheets")
LONGEST = 120_000  # ms


@dataclass
class Reader:
    """One browser: its own random numbers, and its own cases, by id their title."""

    number: int
    url: str
    page: Page
    found: Found
    cases: dict[str, str] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)

    async def run(self, end: float) -> None:
        rng = np.random.default_rng(1000 + self.number)
        while time.monotonic() < end:
            kind = str(rng.choice(ACTIONS, p=SHARES)) if len(self.cases) > 1 else "keep"
            try:
                await getattr(self, f"_{kind}")(rng)
                self.found.did(f"browser: {kind}")
            except Exception as error:
                said = str(error).replace("\n", " ")
                self.found.wrong(f"browser {self.number}, {kind}: {type(error).__name__}: {said}")

    async def _keep(self, rng: np.random.Generator) -> None:
        page, title = self.page, f"browser {self.number}, case {rng.integers(10**9)}"
        start = time.perf_counter()
        await page.goto(self.url)
        examples = page.get_by_role("combobox", name="Examples")
        await examples.wait_for()
        start = self._took("page", start)
        await examples.fill(str(rng.choice(EXAMPLES)))
        await page.keyboard.press("Enter")
        await self._maps()
        self._took("answer", start)
        box = page.locator(".st-key-keep")
        await box.get_by_role("textbox", name="Title").fill(title)
        start = time.perf_counter()
        await box.get_by_role("button", name="Keep this case").click()
        opened = box.get_by_role("link", name="Open the case")
        await opened.wait_for()
        self._took("keep", start)
        await opened.click()
        await page.wait_for_url(re.compile(r"/cases\?.*id="))
        identity = parse_qs(urlsplit(page.url).query)["id"][0]
        assert identity not in self.cases
        self.cases[identity] = title
        await self._is_open(identity)

    async def _reopen(self, rng: np.random.Generator) -> None:
        identity = self._any(rng)
        start = time.perf_counter()
        await self.page.goto(f"{self.url}/cases?id={identity}")
        await self._is_open(identity)
        await self._maps()
        self._took("reopen", start)

    async def _compare(self, rng: np.random.Generator) -> None:
        pair = [str(one) for one in rng.choice(list(self.cases), 2, replace=False)]
        start = time.perf_counter()
        await self.page.goto(f"{self.url}/compare?a={pair[0]}&b={pair[1]}")
        await expect(self.page.locator(".side [data-kind=dt] canvas")).to_have_count(2)
        for number, identity in enumerate(pair):
            await expect(self.page.locator(".side").nth(number)).to_contain_text(self.cases[identity])
        self._took("compare", start)

    async def _delete(self, rng: np.random.Generator) -> None:
        page, identity = self.page, self._any(rng)
        await page.goto(f"{self.url}/cases?id={identity}")
        await self._is_open(identity)
        await self._maps()  # what stands below them moves until they are there
        await page.get_by_role("button", name="Delete", exact=True).click()
        start = time.perf_counter()
        await page.get_by_role("button", name="Delete this case").click()
        await page.get_by_role("heading", name="Cases", exact=True).wait_for()
        self._took("delete", start)
        self.gone.append(identity)
        del self.cases[identity]

    async def _is_open(self, identity: str) -> None:
        await expect(self.page.locator(".st-key-case-top")).to_contain_text(self.cases[identity])

    async def _maps(self) -> None:
        """The maps are there, and their numbers."""
        await self.page.get_by_role("slider", name="Dynamic threshold").wait_for()
        await expect(self.page.locator(".viewer .value-regions")).not_to_be_empty()

    def _took(self, what: str, since: float) -> float:
        now = time.perf_counter()
        self.found.took(what, now - since)
        return now

    def _any(self, rng: np.random.Generator) -> str:
        return str(rng.choice(list(self.cases)))


def browse(url: str, count: int, end: float, found: Found, readers: list[Reader]) -> None:
    """So many browsers until the time is over; what they hold is in `readers`."""
    try:
        asyncio.run(_browse(url, count, end, found, readers))
    except Exception as error:
        found.wrong(f"the browsers ended: {type(error).__name__}: {error}")


async def _browse(url: str, count: int, end: float, found: Found, readers: list[Reader]) -> None:
    expect.set_options(timeout=LONGEST)
    installed = filter(None, map(shutil.which, ("chromium-headless-shell", "chromium")))
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=os.environ.get("DALA_CHROMIUM") or next(installed, None),
            args=["--no-sandbox", "--disable-background-networking"],
        )
        for number in range(count):
            readers.append(Reader(number, url, await _page(browser, number, found), found))
        await asyncio.gather(*(reader.run(end) for reader in readers))
        await browser.close()


async def _page(browser: Browser, number: int, found: Found) -> Page:
    context = await browser.new_context(viewport={"width": 1280, "height": 900})
    page = await context.new_page()
    page.set_default_timeout(LONGEST)
    page.on("pageerror", lambda error: found.wrong(f"browser {number}, its console: {error}"))
    return page
