"""Is a batch in the browser as fast as on the command line? Images a second of both, on the same files.

    python benchmarks/batch_page.py --images DIR [--number 100]

Chromium, on the same cores, gives a ZIP of the files to the page Batch and the clock runs from the click to the table
with all answers. `dala predict` gets the files by name; its start is taken off, as the time of a run with one file. The
two take turns, twice; the better run of each counts.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg")
TURNS = 2


def in_browser(page: Page, url: str, archive: Path, number: int) -> float:
    """Seconds from the click to all answers."""
    page.goto(f"{url}/batch")
    page.get_by_test_id("stFileUploader").first.wait_for(timeout=60_000)
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for(timeout=60_000)
    page.locator("input[type=file]").first.set_input_files(archive)
    button = page.get_by_role("button", name=f"Analyse {number} images")
    button.wait_for(timeout=60_000)
    page.wait_for_timeout(1000)
    start = time.perf_counter()
    button.click()
    page.get_by_role("button", name="All as CSV").wait_for(timeout=600_000)
    return time.perf_counter() - start


def on_command_line(files: list[Path]) -> float:
    """Seconds of a run of `dala predict`."""
    start = time.perf_counter()
    # Its status is 1 where an image has no verdict.
    subprocess.run([sys.executable, "-m", "dala", "predict", *map(str, files)], cwd=ROOT, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Print both rates and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--number", type=int, default=100)
    options = parser.parse_args()
    found = sorted(path for path in options.images.rglob("*") if path.suffix.lower() in SUFFIXES)
    step = max(1, len(found) // options.number)
    files = found[::step][: options.number]
    with socket.socket() as free:
        free.bind(("localhost", 0))
        url = f"http://localhost:{free.getsockname()[1]}"
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        archive = Path(folder) / "files.zip"
        with zipfile.ZipFile(archive, "w") as packed:
            for place, file in enumerate(files):  # by their own names, which may tell the pixel size
                packed.write(file, f"{place:04}/{file.name}")
        command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", url.rsplit(":", 1)[1]]
        served = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        try:
            page = browser.new_page()
            deadline = time.perf_counter() + 60
            while True:
                try:
                    page.goto(url)
                    break
                except Exception:
                    if time.perf_counter() > deadline:
                        raise
                    time.sleep(0.2)
            page.get_by_test_id("stFileUploader").wait_for(timeout=60_000)
            pages, lines = [], []
            for _ in range(TURNS):
                pages.append(in_browser(browser.new_context().new_page(), url, archive, len(files)))
                lines.append(on_command_line(files) - on_command_line(files[:1]))
        finally:
            served.terminate()
            served.wait()
            browser.close()
    page_rate, line_rate = len(files) / min(pages), len(files) / min(lines)
    print("| 100 files | images a second |" if len(files) == 100 else f"| {len(files)} files | images a second |")
    print("|---|---:|")
    print(f"| page Batch | {page_rate:.1f} |")
    print(f"| command line, without its start | {line_rate:.1f} |")
    print(f"| ratio | {page_rate / line_rate:.2f} |")


if __name__ == "__main__":
    main()
