"""What `dala scan-speed` measures in a browser: how long tiles take, and a field's click beside an image's drop.

Playwright is a package of development: importing this module without it raises DataError.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from dala.errors import DataError
from dala.studies.scan_speed_tiles import Tile, replayed

try:
    from playwright.sync_api import Error, FloatRect, Page, sync_playwright
except ImportError as error:
    raise DataError("The walk over a slide needs playwright: pip install -r requirements-dev.txt brings it.") from error

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 120_000
ZOOMS, DRAGS = 6, 12
SETTLED = 700  # ms
# A tile that came from the browser's own cache took no time and is not counted.
TILES = """() => performance.getEntriesByType('resource')
    .filter(one => one.name.includes('/tiles/') && one.transferSize)
    .map(one => [one.name, one.startTime, one.duration, one.serverTiming[0]?.duration ?? 0])"""
ADDRESS = """() => performance.getEntriesByType('resource').filter(one => one.name.includes('/tiles/')).at(-1)
    .name.replace(/[0-9]+[/][0-9]+_[0-9]+[.]jpg$/, '')"""
# From the event in which the last gesture was taken up to the frame in which no tile in sight is missing.
SHARP = """() => {
  window.sharp = -1;
  const began = performance.now();
  const canvas = [...document.querySelectorAll('[data-testid=stBidiComponentIsolated]')]
    .map(one => one.shadowRoot?.querySelector('canvas')).find(Boolean);
  const look = () => {
    if (canvas.dataset.missing === '0') window.sharp = performance.now() - began;
    else requestAnimationFrame(look);
  };
  requestAnimationFrame(() => requestAnimationFrame(look));
}"""
# Notes when the next verdict is on the screen: a heading that is not of the run before; and when the viewer has drawn
# maps of another image. The clock runs from the event in which the person acts.
WATCH = """event => {
  window.began = window.verdict = window.maps = 0;
  const viewer = () => [...document.querySelectorAll('[data-testid=stBidiComponentIsolated]')]
    .map(one => one.shadowRoot?.querySelector('.viewer')).find(Boolean);
  const before = viewer()?.dataset.drawn;
  let stale = !document.querySelector('.st-key-verdict h2');
  const begin = () => { window.began = performance.now(); requestAnimationFrame(look); };
  const look = () => {
    const heading = document.querySelector('.st-key-verdict h2');
    const old = !heading || heading.closest('[data-stale]')?.dataset.stale === 'true';
    stale ||= old;
    if (stale && !old && !window.verdict) window.verdict = performance.now();
    const drawn = viewer()?.dataset.drawn;
    if (drawn && drawn !== before && !window.maps) window.maps = performance.now();
    if (!window.verdict || !window.maps) requestAnimationFrame(look);
  };
  document.addEventListener(event, begin, {capture: true, once: true});
}"""
DONE = "window.verdict && window.maps && [window.verdict - window.began, window.maps - window.began]"


@dataclass(frozen=True)
class Walk:
    """Every tile as the viewer asked for it, and the same ones as a plain client did; milliseconds of each move until
    all in sight is sharp, and of each field from the click, and from the drop of the same field as a file, to the
    verdict and to the maps on the screen."""

    tiles: tuple[Tile, ...]
    replayed: tuple[Tile, ...]
    sharp: tuple[float, ...]
    clicked: tuple[tuple[float, float], ...]
    dropped: tuple[tuple[float, float], ...]


@contextmanager
def served(slides: Path) -> Iterator[str]:
    """The app over a folder of slides, at this address."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)],
        cwd=ROOT,
        env=os.environ | {"MALLOC_ARENA_MAX": "2", "DALA_SLIDES": str(slides)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://localhost:{port}"
    try:
        while True:
            try:
                urlopen(f"{address}/_stcore/health", timeout=1).read()
                break
            except (URLError, OSError):
                if process.poll() is not None:
                    raise DataError(f"The app of {ROOT} does not start; this needs a checkout.") from None
                time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait()


def walked(
    large: Path, small: Path, size: tuple[int, int], places: Sequence[tuple[float, float]], files: Sequence[Path]
) -> Walk:
    """A viewer goes from the whole `large` slide down to its pixels and about; a plain client asks for the same tiles
    of the same slide, opened anew, while the viewer rests; fields at `places` of the `small` one, which is of this
    size, are clicked, both in pixels of level 0; then the same fields are dropped as `files` on the first page. The
    first field of each is not counted: it is not warm. Both slides lie in one folder."""
    again = large.with_name(f"again-{large.name}")  # another slide to the server, which has read nothing of it yet
    again.symlink_to(large.resolve())
    with served(small.parent) as address, sync_playwright() as playwright:
        program = shutil.which("chromium-headless-shell") or shutil.which("chromium")
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-background-networking"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(LONGEST)
        page.goto(f"{address}/slides")
        page.evaluate("performance.setResourceTimingBufferSize(100000)")
        opened(page, large)
        sharp = walk(page)
        tiles = asked(page)
        opened(page, again)
        seen = {one.place for one in asked(page)[len(tiles) :]}
        below = page.evaluate(ADDRESS)
        wanted = [one for one in tiles if one.place not in seen]
        same = replayed(below, wanted)
        opened(page, small)
        clicked = [click(page, place, size) for place in places]
        page.goto(address)
        page.get_by_test_id("stFileUploader").first.wait_for()
        rest(page)
        dropped = [drop(page, file) for file in files]
        browser.close()
    return Walk(tuple(wanted), tuple(same), tuple(sharp), tuple(clicked[1:]), tuple(dropped[1:]))


def asked(page: Page) -> list[Tile]:
    """The tiles that the viewer of this page has asked for, in its order."""
    return sorted(
        (Tile(name.rpartition("/tiles/")[2].partition("/")[2], *times) for name, *times in page.evaluate(TILES)),
        key=lambda one: one.start,
    )


def opened(page: Page, slide: Path) -> None:
    page.get_by_role("combobox").click()
    page.get_by_role("option", name=slide.name, exact=True).click()
    page.locator("canvas").first.wait_for()
    rest(page)
    page.wait_for_timeout(SETTLED)  # the viewer of the slide before is taken down


def canvas_box(page: Page) -> FloatRect:
    """Where the canvas is, once it is in sight; a viewer that is put up anew is looked for again."""
    for _ in range(20):
        try:
            canvas = page.locator("canvas").first
            canvas.scroll_into_view_if_needed(timeout=2000)
            if (box := canvas.bounding_box(timeout=2000)) is not None:
                return box
        except Error:
            pass
        page.wait_for_timeout(200)
    raise DataError("The viewer of the slide cannot be found on the page.")


def rest(page: Page) -> None:
    """Until the script does not run and nothing is fetched."""
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    page.wait_for_load_state("networkidle")


def walk(page: Page) -> list[float]:
    """In by the wheel, and about by dragging; milliseconds until all in sight is sharp after each move. The next one
    follows when it is, and what the viewer reads ahead has come."""
    box = canvas_box(page)
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    found = []
    for _ in range(ZOOMS):
        page.mouse.wheel(0, -400)
        found.append(seen_sharp(page))
    for turn in range(DRAGS):
        page.mouse.move(x, y)
        page.mouse.down()
        across, down = (1 if turn % 4 < 2 else -1) * box["width"], (turn % 2) * box["height"]
        page.mouse.move(x - 0.4 * across, y - 0.4 * down, steps=6)
        page.mouse.up()
        found.append(seen_sharp(page))
    return found


def seen_sharp(page: Page) -> float:
    """Milliseconds from now until the viewer has drawn every tile in sight."""
    page.evaluate(SHARP)
    wait = float(page.wait_for_function("window.sharp >= 0 && [window.sharp]").json_value()[0])
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(400)
    return wait


def click(page: Page, place: tuple[float, float], size: tuple[int, int]) -> tuple[float, float]:
    """A click on the canvas, which shows the whole slide of this size."""
    box = canvas_box(page)
    width, height = size
    zoom = min(box["width"] / width, box["height"] / height)
    page.evaluate(WATCH, "pointerup")
    page.locator("canvas").first.click(
        position={
            "x": box["width"] / 2 + (place[0] - width / 2) * zoom,
            "y": box["height"] / 2 + (place[1] - height / 2) * zoom,
        }
    )
    return answered(page)


def drop(page: Page, file: Path) -> tuple[float, float]:
    """An image on the first page."""
    page.evaluate(WATCH, "change")
    page.locator("input[type=file]").first.set_input_files(file)
    return answered(page)


def answered(page: Page) -> tuple[float, float]:
    verdict, maps = page.wait_for_function(DONE).json_value()
    rest(page)
    page.wait_for_timeout(SETTLED)
    return float(verdict), float(maps)
