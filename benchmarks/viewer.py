"""What a hand on the threshold slider gets: milliseconds of one frame of the viewer, and what is sent to the browser.

    python -m benchmarks.viewer [--out FILE.json]

Chromium without a GPU opens the page of a freshly started server, on the same cores, with a drawn patch of 768 x 505
pixels. The slider of each rule is taken over its whole range and back, a step a frame. `work` is the time of the page's
own thread from the slider's event to the end of drawing; `frame` is the time between two frames (16.7 is 60 a second).
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import cv2
import numpy as np
from playwright.sync_api import sync_playwright

from dala.explanation.render import encode_png
from dala.explanation.threshold import RULES
from dala.intake.image import read_image
from dala.opinion import opinion_of
from dala.phantoms.tissue import PHANTOMS, draw
from dala.runtime.predict import load_model
from pages.parts.second_opinion import viewer as _viewer

ROOT = Path(__file__).resolve().parents[1]
PORT = 8595
WIDTH, HEIGHT, FRAMES = 768, 505, 240
SWEEP = """async count => {
    const host = document.querySelector("[data-testid=stBidiComponentIsolated]");
    const slider = host.shadowRoot.querySelector(".parameter");
    const [low, high] = [Number(slider.min), Number(slider.max)];
    const work = [], frames = [];
    let last = await new Promise(requestAnimationFrame);
    for (let i = 0; i < count; i++) {
        slider.value = low + (high - low) * (0.5 - 0.5 * Math.cos((2 * Math.PI * i) / count));
        // One callback before the viewer's own and one after it, in the same frame.
        await new Promise(done => {
            let begun;
            requestAnimationFrame(() => (begun = performance.now()));
            slider.dispatchEvent(new Event("input", { bubbles: true }));
            requestAnimationFrame(now => {
                work.push(performance.now() - begun);
                frames.push(now - last);
                last = now;
                done();
            });
        });
    }
    return { work, frames };
}"""


def spread(times: list[float]) -> dict[str, float]:
    """Median, 95th percentile and maximum in milliseconds."""
    ranked = sorted(times)
    places = {"median": 0.5, "p95": 0.95, "maximum": 1.0}
    return {name: round(ranked[round(place * (len(ranked) - 1))], 1) for name, place in places.items()}


def main() -> None:
    """Print the figures as JSON, and write them where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=None, metavar="FILE.json")
    out = parser.parse_args().out
    drawn = cv2.resize(draw(PHANTOMS[2]).pixels, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    image = encode_png(np.asarray(drawn, np.uint8))
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(PORT)]
    served = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "patch.png")
            path.write_bytes(image)
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"),
                args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
            )
            page = browser.new_page(viewport={"width": 1280, "height": 1000})
            for _ in range(600):
                try:
                    urlopen(f"http://localhost:{PORT}/_stcore/health", timeout=1)
                    break
                except (URLError, OSError):
                    time.sleep(0.1)
            page.goto(f"http://localhost:{PORT}")
            page.get_by_test_id("stFileUploader").wait_for(timeout=60_000)
            page.locator("input[type=file]").set_input_files(path)
            page.get_by_text("Show me anyway").click(timeout=60_000)
            page.get_by_text("Numbers (JSON)").wait_for(timeout=60_000)
            figures = {}
            for rule in RULES:
                page.get_by_label("Threshold rule").select_option(rule)
                page.wait_for_timeout(1500)
                measured = page.evaluate(SWEEP, FRAMES)
                figures[rule] = {"work": spread(measured["work"]), "frame": spread(measured["frames"])}
            browser.close()
    finally:
        served.terminate()
        served.wait()
    opinion = opinion_of(read_image(image, "patch.png"), load_model("breakhis"))
    _, body = _viewer.heavy.__wrapped__("patch", opinion)  # type: ignore[attr-defined]
    record = {
        "protocol": f"slider taken over its range and back in {FRAMES} frames, {WIDTH} x {HEIGHT} px, three panes at "
        "1280 px, Chromium without GPU on the server's cores; milliseconds: work of the page's thread, frame to frame",
        "command": "python -m benchmarks.viewer",
        "milliseconds": figures,
        "sent_bytes": {"field": WIDTH * HEIGHT * 4, "all": len(body)},
    }
    text = json.dumps(record, indent=2)
    print(text)
    if out is not None:
        out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
