"""What a user waits for: cold start to a served page, click to verdict with a warm model, resident memory.

    PYTHONPATH=. python benchmarks/serve.py

Chromium opens the page of a freshly started server and uploads three drawn pictures; the clock runs from the upload to
the panels on the screen. The first one includes loading the model. Memory is the server's VmRSS afterwards (Linux).
"""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from dala.explain.render import encode_png
from dala.phantoms import PHANTOMS, draw

ROOT = Path(__file__).resolve().parents[1]
PORT = 8596


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        files = []
        for name in PHANTOMS[:5]:
            files.append(Path(folder) / f"{name}.png")
            files[-1].write_bytes(encode_png(draw(name, seed=11).pixels))
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
            waits = []
            for file in files:
                panel = page.get_by_test_id("stImage").filter(has_text="DT Grad-CAM").locator("img")
                source = panel.get_attribute("src") if waits else None
                clock = time.perf_counter()
                page.locator("input[type=file]").set_input_files(file)
                page.wait_for_function(
                    "old => { const i = [...document.querySelectorAll('[data-testid=stImage]')]"
                    ".filter(e => e.innerText.includes('DT Grad-CAM')).map(e => e.querySelector('img'))[0];"
                    " return i && i.src !== old && i.complete }",
                    arg=source,
                    timeout=60_000,
                )
                waits.append(time.perf_counter() - clock)
            status = Path(f"/proc/{served.pid}/status").read_text()
            memory = int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024
        finally:
            served.terminate()
            served.wait()
            browser.close()
    print("| what | measured |")
    print("|---|---:|")
    print(f"| cold start to a served page, model loaded | {cold:.1f} s |")
    warm = statistics.median(waits[1:])
    print(f"| upload to verdict and maps on screen, warm model (median of {len(waits) - 1}) | {warm:.2f} s |")
    print(f"| resident memory of the server | {memory:.0f} MB |")


if __name__ == "__main__":
    main()
