"""People at the app: browser profiles in one Chromium that upload, move the threshold and download, all at once.

Playwright is a package of development: importing this module without it raises DataError.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np

from dala.errors import DataError

try:
    from playwright.async_api import Browser, Error, async_playwright
except ImportError as error:
    raise DataError("The load test needs playwright: pip install -r requirements-dev.txt brings it.") from error

ROOT = Path(__file__).resolve().parents[2]
PORT = 8597
# What the page says of an image and of its map, once both are there and the page rests. The distance alone is not
# enough: two images in a row can have the same to two digits.
SAID = """old => { const captions = [...document.querySelectorAll('[data-testid=stCaptionContainer]')]
    .map(e => e.innerText);
    const parts = ['Distance from the training', 'Table and downloads'].map(s => captions.find(t => t.includes(s)));
    const rests = document.querySelector('[data-testid=stApp][data-test-script-state=notRunning]');
    return rests && parts.every(Boolean) && parts.join() !== old ? parts.join() : false }"""
QUIET = 1000  # ms that a page rests before somebody presses a button
WARM_UP = 60.0  # seconds after which memory has to be flat
LONGEST = 120_000
LOOK = 5.0  # seconds for which other work on the machine is watched


@dataclass(frozen=True)
class Answer:
    """What a user got of an image: when the upload began, how long the verdict took (s), and what was downloaded."""

    file: Path
    at: float
    seconds: float
    opinion: dict[str, Any]


@dataclass(frozen=True)
class Visit:
    """Every answer, what went wrong, and the server's memory (MB) over time (s)."""

    answers: tuple[Answer, ...]
    errors: tuple[str, ...]
    memory: tuple[tuple[float, float], ...]


def resident(pid: int) -> float:
    """Memory of a process in MB (VmRSS, Linux)."""
    return int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0]) / 1024


def climb(memory: Sequence[tuple[float, float]], since: float, until: float) -> float:
    """How fast memory (MB over s) climbs in MB a minute, by least squares: what stays flat comes and goes."""
    part = np.array([pair for pair in memory if since <= pair[0] <= until])
    return round(float(np.polyfit(part[:, 0], part[:, 1], 1)[0]) * 60, 1)


def busy_with_other_work() -> float:
    """How many cores are busy while this process sleeps (Linux)."""

    def busy() -> int:
        ticks = [int(number) for number in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return sum(ticks) - ticks[3] - ticks[4]  # all but idle and waiting for a disk

    before = busy()
    time.sleep(LOOK)
    return (busy() - before) / os.sysconf("SC_CLK_TCK") / LOOK


async def user(browser: Browser, files: Sequence[Path], until: float, found: list[Answer], errors: list[str]) -> None:
    """Upload after upload until the time is over; answers and complaints are noted, never raised."""
    context = await browser.new_context(viewport={"width": 1280, "height": 900})
    page = await context.new_page()
    page.on("pageerror", lambda error: errors.append(f"page: {error}"))
    page.set_default_timeout(LONGEST)
    try:
        await page.goto(f"http://localhost:{PORT}")
        await page.get_by_test_id("stFileUploader").wait_for()
        said = None
        for file in files:
            if time.monotonic() > until:
                break
            clock = time.monotonic()
            await page.locator("input[type=file]").set_input_files(file)
            said = await (await page.wait_for_function(SAID, arg=said)).json_value()
            waited = time.monotonic() - clock
            slider = page.get_by_role("slider").first
            await slider.focus()
            for _ in range(4):
                await slider.press("ArrowRight")
            # A download belongs to the setting that the caption names: as a person does, wait for the last one.
            rested = None
            while rested != said:
                rested = said = await (await page.wait_for_function(SAID, arg=rested or said)).json_value()
                await page.wait_for_timeout(QUIET)
                said = await (await page.wait_for_function(SAID, arg=None)).json_value()
                # The server may not have begun yet with what the viewer shows already.
                if f"kept area: {await page.locator('.viewer .value-area').inner_text()}" not in said:
                    rested = None
            async with page.expect_download() as download:
                await page.get_by_role("button", name="Numbers (JSON)", exact=True).click()
            content = Path(await (await download.value).path()).read_text()
            found.append(Answer(file, clock, waited, json.loads(content)["opinion"]))
    except Error as error:
        errors.append(str(error).splitlines()[0])
    finally:
        await context.close()


async def visited(images: Sequence[Path], users: int, seconds: float, pid: int) -> Visit:
    """All users at once in one Chromium, and the server's memory meanwhile."""
    found: list[Answer] = []
    errors: list[str] = []
    memory: list[tuple[float, float]] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-background-networking"]
        )
        started = time.monotonic()

        async def watch() -> None:
            while True:
                memory.append((round(time.monotonic() - started, 1), round(resident(pid))))
                await asyncio.sleep(1)

        watching = asyncio.create_task(watch())
        parts = [images[n::users] for n in range(users)]
        await asyncio.gather(*(user(browser, part, started + seconds, found, errors) for part in parts))
        watching.cancel()
        await browser.close()
    answers = tuple(replace(one, at=one.at - started) for one in found)
    return Visit(answers, tuple(errors), tuple(memory))


def served_to(images: Sequence[Path], users: int, seconds: float) -> Visit:
    """Start the app, let the users in, and stop it; its complaints are among the errors."""
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(PORT)]
    served = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        while True:
            try:
                urlopen(f"http://localhost:{PORT}/_stcore/health", timeout=1).read()
                break
            except (URLError, OSError):
                if served.poll() is not None:
                    raise DataError(f"The app of {ROOT} does not start; the load test needs a checkout.") from None
                time.sleep(0.2)
        visit = asyncio.run(visited(images, users, seconds, served.pid))
    finally:
        served.terminate()
        lines = served.communicate()[1].splitlines()
    complaints = tuple(line for line in lines if "Error" in line or "Traceback" in line)
    return replace(visit, errors=visit.errors + complaints)
