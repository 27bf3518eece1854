"""What a user waits for, and where the time goes: cold start, a dropped file to its drawn verdict and maps, memory.

    python benchmarks/serve.py --images DIR [--batch 100] [--json FILE]

Chromium opens the page of a freshly started server and is given patches of DIR one after the other (true ones: of a
drawing the page gives no verdict); the clock runs from the drop to the frame in which the verdict, and the viewer with
this image's maps, are on the screen, the browser working on the same cores. The first one is not counted: it is not
warm. The stages are moments that the browser sees: the upload's first and last byte, the socket's message that asks for
a run and its first and last answers, and the two frames. Memory is the server's VmRSS afterwards (Linux).

`--batch`: so many files of DIR as a ZIP on the page Batch, from the click to the table with all answers, beside `dala
predict` on the same files without its start, which is a run with one file; in turn, twice, the better of each counts.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
IMAGES, TURNS = 12, 2
SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg")
LISTEN = """
window.seen = [];
const say = (what, size = 0) => window.seen.push([what, performance.now(), size]);
const Socket = window.WebSocket;
window.WebSocket = class extends Socket {
  constructor(...given) {
    super(...given);
    this.addEventListener('message', ({ data }) => say('answer', data.byteLength ?? data.size ?? 0));
  }
  send(data) { say('ask', data.byteLength ?? 0); super.send(data); }
};
document.addEventListener('change', (event) => event.target.type === 'file' && say('drop'), true);
new PerformanceObserver((list) => list.getEntries().forEach((one) => {
  if (!one.name.includes('upload_file')) return;
  window.seen.push(['upload begins', one.startTime, 0], ['upload ends', one.responseEnd, 0]);
})).observe({ type: 'resource' });
"""
# The heading of this run, beside the line that names the file; an element of the run before is marked as stale.
VERDICT = """name => {
  const line = document.querySelector('.st-key-image-line')?.innerText ?? '';
  const heading = document.querySelector('.st-key-verdict h2, [data-testid=stAlertContainer]');
  const stale = heading?.closest('[data-stale]')?.dataset.stale === 'true';
  return line.includes(name) && heading && !stale && performance.now() }"""
# The viewer names the image whose maps it has drawn, in the same frame.
MAPS = """before => {
  const viewer = [...document.querySelectorAll('[data-testid=stBidiComponentIsolated]')]
    .map(one => one.shadowRoot?.querySelector('.viewer')).find(Boolean);
  const drawn = viewer?.dataset.drawn;
  return drawn && drawn !== before && [drawn, performance.now()] }"""
STAGES = ("file taken", "uploaded", "run asked for", "first answer", "last answer", "verdict drawn", "maps drawn")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=0, metavar="N")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    options = parser.parse_args()
    every = sorted(path for path in options.images.rglob("*") if path.suffix.lower() in SUFFIXES)
    files, many = every[:IMAGES], every[:: max(1, len(every) // (options.batch or 1))][: options.batch]
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-background-networking"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.add_init_script(LISTEN)
        started = time.perf_counter()
        command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
        served = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            open_page(page, f"http://localhost:{port}", started + 60)
            cold = time.perf_counter() - started
            times, drawn = [], ""
            for file in files:
                one, drawn = timed(page, file, drawn)
                times.append(one)
            status = Path(f"/proc/{served.pid}/status").read_text()
            memory = int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024
            rates = batch_rates(browser, f"http://localhost:{port}", many) if many else None
        finally:
            served.terminate()
            served.wait()
            browser.close()
    warm = {stage: statistics.median(one[stage] for one in times[1:]) for stage in STAGES}
    print(f"Warm model, median of {len(times) - 1} files, milliseconds after the drop:\n")
    print("| moment | ms | of that, since the one before |")
    print("|---|---:|---:|")
    before = 0.0
    for stage, at in warm.items():
        print(f"| {stage} | {at:.0f} | {at - before:.0f} |")
        before = at
    print("\n| what | measured |")
    print("|---|---:|")
    print(f"| cold start to a served page, model loaded | {cold:.1f} s |")
    print(f"| drop to verdict on the screen | {warm['verdict drawn'] / 1000:.2f} s |")
    print(f"| drop to maps on the screen | {warm['maps drawn'] / 1000:.2f} s |")
    print(f"| resident memory of the server | {memory:.0f} MB |")
    if rates is not None:
        print(f"| batch of {len(many)} on its page, images a second | {rates[0]:.1f} |")
        print(f"| the same on the command line | {rates[1]:.1f} |")
        print(f"| ratio | {rates[0] / rates[1]:.2f} |")
    if options.json:
        figures = {"batch_per_second": rates, "cold_s": cold, "memory_mb": memory, "median_ms": warm, "each_ms": times}
        options.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")


def open_page(page: Page, url: str, deadline: float) -> None:
    """The page with its uploader. Raises whatever the browser says where there is none by the deadline."""
    while True:
        try:
            page.goto(url)
            break
        except Exception:
            if time.perf_counter() > deadline:
                raise
            time.sleep(0.1)
    page.get_by_test_id("stFileUploader").first.wait_for(timeout=60_000)
    rest(page)


def rest(page: Page) -> None:
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for(timeout=60_000)
    page.wait_for_timeout(700)


def timed(page: Page, file: Path, before: str) -> tuple[dict[str, float], str]:
    """Milliseconds from the drop to each stage, and what the viewer calls these maps; `before`: the last ones."""
    page.evaluate("window.seen = []")
    page.locator("input[type=file]").first.set_input_files(file)
    verdict = page.wait_for_function(VERDICT, arg=file.name, timeout=60_000).json_value()
    drawn, maps = page.wait_for_function(MAPS, arg=before, timeout=60_000).json_value()
    rest(page)
    seen: list[tuple[str, float, int]] = page.evaluate("window.seen")

    def moments(what: str, since: float = 0.0) -> list[float]:
        return [at for name, at, _ in seen if name == what and at >= since]

    drop = moments("drop")[0]
    uploaded = moments("upload ends", drop)[-1]
    asked = moments("ask", uploaded)[0]
    answers = moments("answer", asked)
    at = (moments("upload begins", drop)[0], uploaded, asked, answers[0], answers[-1], verdict, maps)
    return {stage: moment - drop for stage, moment in zip(STAGES, at, strict=True)}, drawn


def batch_rates(browser: Browser, url: str, files: list[Path]) -> tuple[float, float]:
    """Images a second on the page Batch, and on the command line without its start."""
    pages, lines = [], []
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "files.zip"
        with zipfile.ZipFile(archive, "w") as packed:
            for place, file in enumerate(files):  # by their own names, which may tell the pixel size
                packed.write(file, f"{place:04}/{file.name}")
        for _ in range(TURNS):
            pages.append(on_page(browser.new_context().new_page(), url, archive, len(files)))
            lines.append(on_command_line(files) - on_command_line(files[:1]))
    return len(files) / min(pages), len(files) / min(lines)


def on_page(page: Page, url: str, archive: Path, number: int) -> float:
    """Seconds from the click to all answers."""
    open_page(page, f"{url}/batch", time.perf_counter() + 60)
    page.locator("input[type=file]").first.set_input_files(archive)
    button = page.get_by_role("button", name=f"Analyse {number} images")
    button.wait_for(timeout=60_000)
    rest(page)
    start = time.perf_counter()
    button.click()
    page.get_by_role("button", name="All as CSV").wait_for(timeout=600_000)
    return time.perf_counter() - start


def on_command_line(files: list[Path]) -> float:
    """Seconds of a run of `dala predict`; its status is 1 where an image has no verdict."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "dala", "predict", *map(str, files)], cwd=ROOT, capture_output=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
