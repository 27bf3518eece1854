"""Take the images of the documents from the running app, with drawn examples only; 1280 px wide, as WebP.

    python docs/screenshot.py
    python docs/screenshot.py --all FOLDER

With a folder: every page in its states (empty, answered, refused) at 1280 and 480 px, light and dark, to be looked at.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dala.explanation.render import encode_png
from dala.phantoms.tissue import PHANTOMS, draw

ROOT = Path(__file__).resolve().parents[1]
PORT = 8597
EXAMPLE = "Drawn example: nest beside ducts"


STATES = {
    "second-opinion-empty": ("", None),
    "second-opinion-answered": ("", "Single files"),
    "second-opinion-not-sure": ("", "Solid sheets"),
    "second-opinion-refused": ("", "Mucin pools"),
    "second-opinion-read-first": ("?read-first=true", "Single files"),
    "batch-empty": ("batch", None),
    "teaching-read-first": ("teaching", None),
    "teaching-how-it-works": ("teaching?part=How+it+works", None),
    "teaching-where-it-fails": ("teaching?part=Where+it+fails", None),
    "evidence": ("evidence", None),
    "evidence-laboratories": ("evidence?evidence-part=Laboratories", None),
    "guide": ("guide", None),
    "lesson": ("guide?read=Lesson", None),
}


def main() -> None:
    """Serve the app and walk through its pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", type=Path, metavar="FOLDER")
    folder_of_all = parser.parse_args().all
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(PORT)]
    served = subprocess.Popen(command, cwd=ROOT)
    try:
        for _ in range(120):
            try:
                urlopen(f"http://localhost:{PORT}/_stcore/health", timeout=1)
                break
            except OSError:
                time.sleep(0.5)
        with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium-headless-shell") or shutil.which("chromium"),
                args=["--no-sandbox", "--disable-background-networking"],
            )
            if folder_of_all is not None:
                every_state(browser, folder_of_all)
                return
            page = browser.new_page(viewport={"width": 1280, "height": 1120})
            page.set_default_timeout(60_000)
            page.goto(f"http://localhost:{PORT}")
            second_opinion(page)
            batch(page, Path(folder))
            teaching(page)
            turn_to(page, "Evidence")
            take(page, "evidence.webp")
            browser.close()
    finally:
        served.terminate()
        served.wait()


def every_state(browser: Browser, folder: Path) -> None:
    """A PNG of every state, width and theme, and of a batch with its answers; each of what the window shows."""
    folder.mkdir(parents=True, exist_ok=True)
    for theme in ("light", "dark"):
        for width in (1280, 480):
            for name, (path, example) in STATES.items():
                page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
                page.set_default_timeout(120_000)
                page.goto(f"http://localhost:{PORT}/{path}")
                settle(page)
                if example is not None:
                    page.get_by_role("button", name=example, exact=True).click()
                    page.locator(".viewer .panes").wait_for()
                if name == "second-opinion-answered":
                    page.get_by_text("DT Grad-CAM: above the threshold").wait_for()
                settle(page)
                time.sleep(1.5)
                page.screenshot(path=folder / f"{name}-{width}-{theme}.png")
                page.close()


def second_opinion(page: Page) -> None:
    page.get_by_role("combobox", name="Examples").click()
    page.get_by_role("option", name=EXAMPLE).click()
    page.get_by_text("Numbers (JSON)").wait_for()
    take(page, "second_opinion.webp")


def batch(page: Page, folder: Path) -> None:
    files = []
    for name in PHANTOMS:
        files.append(folder / f"{name}.png")
        files[-1].write_bytes(encode_png(draw(name).pixels))
    turn_to(page, "Batch")
    page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(files)
    page.get_by_role("button", name=f"Analyse {len(files)} images").click()
    page.get_by_role("button", name="All as CSV").wait_for()
    take(page, "batch.webp")


def teaching(page: Page) -> None:
    turn_to(page, "Teaching")
    page.get_by_role("radio", name="5", exact=True).click()
    page.get_by_role("button", name="Start reading").click()
    page.locator(".marker canvas").wait_for()
    take(page, "teaching.webp")
    page.get_by_role("radio", name="How it works").click()
    page.get_by_role("heading", name="5. The dynamic threshold").wait_for()
    take(page, "how_it_works.webp")


def turn_to(page: Page, name: str) -> None:
    page.get_by_role("link", name=name, exact=True).first.click()
    page.get_by_role("link", name=name, exact=True).first.wait_for()
    settle(page)


def settle(page: Page) -> None:
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    page.wait_for_load_state("networkidle")


def take(page: Page, name: str) -> None:
    """Write what is on the screen once it has settled."""
    settle(page)
    page.mouse.move(0, 0)
    time.sleep(1.5)
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    image.save(ROOT / "docs" / name, quality=88, method=6)


if __name__ == "__main__":
    main()
