"""What a user waits for: cold start to a served page, click to verdict with a warm model, resident memory.

    python benchmarks/serve.py --images DIR

Chromium opens the page of a freshly started server and uploads five patches of DIR (true ones: of a drawing the page
gives no verdict); the clock runs from the upload to the verdict and to the panels on the screen, the browser working on
the same cores. The first one includes loading the model. Memory is the server's VmRSS afterwards (Linux).
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
PORT = 8596
IMAGES = 5
# The caption beside the verdict is another for every image; the panels follow it.
VERDICT = """old => { const c = [...document.querySelectorAll('[data-testid=stCaptionContainer]')]
    .map(e => e.innerText).find(t => t.includes('Distance from the training'));
    return c && c !== old ? c : false }"""
# The viewer's numbers are those of the maps that it has drawn in the same frame.
PANELS = """old => { const v = document.querySelector('[data-testid=stBidiComponentIsolated]')
    ?.shadowRoot?.querySelector('.viewer dl')?.innerText;
    return v && v !== old && /[0-9]/.test(v) ? v : false }"""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    files = sorted(parser.parse_args().images.rglob("*.png"))[:IMAGES]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-background-networking"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        started = time.perf_counter()
        command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(PORT)]
        served = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while True:
                try:
                    page.goto(f"http://localhost:{PORT}")
                    break
                except Exception:
                    if time.perf_counter() - started > 60:
                        raise
                    time.sleep(0.1)
            page.get_by_test_id("stFileUploader").wait_for(timeout=60_000)
            cold = time.perf_counter() - started
            verdicts, panels, said, shown = [], [], None, None
            for file in files:
                clock = time.perf_counter()
                page.locator("input[type=file]").set_input_files(file)
                said = page.wait_for_function(VERDICT, arg=said, timeout=60_000).json_value()
                verdicts.append(time.perf_counter() - clock)
                shown = page.wait_for_function(PANELS, arg=shown, timeout=60_000).json_value()
                panels.append(time.perf_counter() - clock)
            status = Path(f"/proc/{served.pid}/status").read_text()
            memory = int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024
        finally:
            served.terminate()
            served.wait()
            browser.close()
    print("| what | measured |")
    print("|---|---:|")
    print(f"| cold start to a served page, model loaded | {cold:.1f} s |")
    runs = f"warm model (median of {len(files) - 1})"
    print(f"| upload to verdict on screen, {runs} | {statistics.median(verdicts[1:]):.2f} s |")
    print(f"| upload to maps on screen, {runs} | {statistics.median(panels[1:]):.2f} s |")
    print(f"| resident memory of the server | {memory:.0f} MB |")


if __name__ == "__main__":
    main()
