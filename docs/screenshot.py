"""Take docs/second_opinion.png, the first page with a drawn example, and docs/evidence.png, both at 1280 px.

python docs/screenshot.py
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
PORT = 8597
EXAMPLE = "Drawn example: nest beside ducts"


def main() -> None:
    """Serve the app, choose the example, wait for the panels, write the picture; then the same of the evidence."""
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(PORT)]
    served = subprocess.Popen(command, cwd=ROOT)
    try:
        for _ in range(120):
            try:
                urlopen(f"http://localhost:{PORT}/_stcore/health", timeout=1)
                break
            except OSError:
                time.sleep(0.5)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-background-networking"]
            )
            page = browser.new_page(viewport={"width": 1280, "height": 1120})
            page.goto(f"http://localhost:{PORT}")
            page.get_by_role("combobox", name="Examples").click(timeout=60_000)
            page.get_by_role("option", name=EXAMPLE).click()
            page.get_by_text("Numbers (JSON)").wait_for(timeout=60_000)
            take(page, "second_opinion.png")
            page.get_by_role("link", name="Evidence").click()
            page.get_by_role("heading", name="Evidence", exact=True).wait_for(timeout=60_000)
            take(page, "evidence.png")
            browser.close()
    finally:
        served.terminate()
        served.wait()


def take(page: Page, name: str) -> None:
    """Write what is on the screen once it has settled."""
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for(timeout=60_000)
    page.wait_for_load_state("networkidle")
    page.mouse.move(0, 0)
    time.sleep(1)
    page.screenshot(path=str(ROOT / "docs" / name))


if __name__ == "__main__":
    main()
