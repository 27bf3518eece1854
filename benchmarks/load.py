"""Eight people at once: uploads, slider and downloads against the served app, each checking that the answer is theirs.

    PYTHONPATH=. python benchmarks/load.py --images DIR [--users 8] [--seconds 360]

DIR holds true patches (any PNG; those that the gate refuses are left out). Every user is a browser profile of its own
in one Chromium, which works on the same cores as the server: uploads an image of its own, waits for the verdict,
moves the threshold by keyboard, downloads the numbers, and starts again. Afterwards every download is compared with
what the model says of that file by itself: sha256 and probabilities. Writes evidence/load.json: times, memory of the
server second by second and how fast it climbs after the first minute, errors, and how busy the machine was with other
work just before. Some eight minutes on two cores.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
from playwright.async_api import Browser, Error, async_playwright

from dala.export.records import prediction_record
from dala.opinion import second_opinion
from dala.runtime.predict import load_model
from dala.training.evaluate import write_json

ROOT = Path(__file__).resolve().parents[1]
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
EACH = 60  # images of a user: more than can be looked at in six minutes
LOOK = 5.0  # seconds for which other work on the machine is watched


def resident(pid: int) -> float:
    """Memory of a process in MB (VmRSS, Linux)."""
    return int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0]) / 1024


def climb(memory: list[list[float]], since: float, until: float) -> float:
    """How fast memory (MB over s) climbs in MB a minute, by least squares: what stays flat comes and goes."""
    part = np.array([pair for pair in memory if since <= pair[0] <= until])
    return round(float(np.polyfit(*part.T, 1)[0]) * 60, 1)


def busy_with_other_work() -> float:
    """How many cores are busy while this process sleeps (Linux)."""

    def busy() -> int:
        ticks = [int(number) for number in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return sum(ticks) - ticks[3] - ticks[4]  # all but idle and waiting for a disk

    before = busy()
    time.sleep(LOOK)
    return (busy() - before) / os.sysconf("SC_CLK_TCK") / LOOK


async def user(browser: Browser, files: list[Path], until: float, found: list[dict], errors: list[str]) -> None:
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
            found.append({"file": file, "seconds": waited, "at": clock, "record": json.loads(content)["opinion"]})
    except Error as error:
        errors.append(str(error).splitlines()[0])
    finally:
        await context.close()


async def run(images: list[Path], users: int, seconds: float, pid: int) -> tuple[list[dict], list[str], list]:
    found: list[dict] = []
    errors: list[str] = []
    memory: list[list[float]] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-background-networking"]
        )
        started = time.monotonic()

        async def watch() -> None:
            while True:
                memory.append([round(time.monotonic() - started, 1), round(resident(pid))])
                await asyncio.sleep(1)

        watching = asyncio.create_task(watch())
        parts = [images[n::users] for n in range(users)]
        await asyncio.gather(*(user(browser, part, started + seconds, found, errors) for part in parts))
        watching.cancel()
        await browser.close()
    for one in found:
        one["at"] -= started
    return found, errors, memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--users", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=360)
    parser.add_argument("--evidence", type=Path, default=Path("evidence") / "load.json")
    options = parser.parse_args()
    images = sorted(options.images.rglob("*.png"))
    random.Random(0).shuffle(images)
    model = load_model()
    # Those that the gate refuses get no verdict to wait for.
    taken = (one for one in images if second_opinion(one, model).gate.inside)
    images = list(islice(taken, options.users * EACH))
    others = busy_with_other_work()
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(PORT)]
    surroundings = os.environ | {"MALLOC_ARENA_MAX": "2"}  # as `make run`
    served = subprocess.Popen(
        command, cwd=ROOT, env=surroundings, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        while True:
            try:
                urlopen(f"http://localhost:{PORT}/_stcore/health", timeout=1).read()
                break
            except (URLError, OSError):
                time.sleep(0.2)
        found, errors, memory = asyncio.run(run(images, options.users, options.seconds, served.pid))
    finally:
        served.terminate()
        complaints = [line for line in served.communicate()[1].splitlines() if "Error" in line or "Traceback" in line]

    mixed_up = 0
    for one in found:
        content, record = one["file"].read_bytes(), one["record"]
        alone = prediction_record(second_opinion(content, model))
        same = record["sha256"] == hashlib.sha256(content).hexdigest() == alone["sha256"]
        mixed_up += not (same and record["probabilities"] == alone["probabilities"])
    seconds = np.array([one["seconds"] for one in found])
    late = [value for at, value in memory if WARM_UP <= at <= options.seconds]
    record = {
        "protocol": f"{options.users} browser profiles in one Chromium on the server's own "
        f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} cores, {others:.1f} of them busy with other work just "
        f"before, each uploading images of its own for {options.seconds:g} seconds, moving the threshold and "
        "downloading the numbers; every download compared with the model's answer to that file alone (sha256 and "
        "probabilities)",
        "command": "PYTHONPATH=. python benchmarks/load.py --images DIR",
        "weights_sha256": model.card.fields["sha256"],
        "engine": model.runs_on.name,
        "users": options.users,
        "verdicts": len(found),
        "mixed_up": mixed_up,
        "errors": errors + complaints,
        "seconds": {
            "median": float(np.median(seconds)),
            "percentile_95": float(np.percentile(seconds, 95)),
            "each": [[round(one["at"], 1), round(one["seconds"], 2)] for one in found],
        },
        "memory_mb": {
            "after_warm_up": late[0],
            "largest_later": max(late),
            "climb_per_minute": climb(memory, WARM_UP, options.seconds),
            # What is still being filled for the first time after a minute looks like a leak; by now it is full.
            "climb_second_half": climb(memory, options.seconds / 2, options.seconds),
            "each": memory,
        },
    }
    write_json(options.evidence, record)
    print({key: value for key, value in record.items() if key not in ("seconds", "memory_mb")})
    print({key: record["seconds"][key] for key in ("median", "percentile_95")})
    print({key: value for key, value in record["memory_mb"].items() if key != "each"})


if __name__ == "__main__":
    main()
