"""Does a scan cost no more than its network? Fields a second, the first whole map, memory, and kill -9.

    python benchmarks/slides.py slide.tiff --make CMU-1-Small-Region.svs    # 20,000 x 15,000 px
    python benchmarks/slides.py slide.tiff [--fields 600]
    python benchmarks/slides.py CMU-1-Small-Region.svs --kills 10

Scan, bare engine and a loop as WSInfer's take turns over groups of fields, so that a machine which is busy otherwise
slows all of them; the ratio by processor time is that of a machine which is not. The bare engine gets inputs that lie
ready, in the scan's batches. The loop reads every patch from level 0, resizes it and hands it on by a DataLoader in
batches of 32, to the same network as torch runs it. Memory is this process's (Linux): VmHWM at its end and VmRSS after
every group, less VmRSS when the model was loaded and had answered once. `--kills`: `dala scan` is killed so often, each
time after another random number of rows, and gone on with; the rows must be those of a scan that nobody killed.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from dala.runtime.predict import Model, load_model
from dala.slides.judge import BATCH, Judge
from dala.slides.plan import Plan
from dala.slides.reader import Slide, open_slide
from dala.slides.rows import ROWS
from dala.slides.scan import Scan

GROUP = 100
MADE, SIDE = (20_000, 15_000), 256
LOOP_BATCH = 32


def resident(kind: str = "VmRSS") -> int:
    """Megabytes of this process in memory."""
    found = re.search(rf"{kind}:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) // 1024


def make(source: Path, out: Path) -> None:
    """A pyramid of `MADE` pixels laid out of the slide, every other copy mirrored; tiled JPEG with its pixel size."""
    from tifffile import TiffWriter

    with open_slide(source) as slide:
        one, _ = slide.read_box((0, 0, *slide.size), slide.size)
        um = slide.known_um()
    across, down = -(-MADE[0] // one.shape[1]), -(-MADE[1] // one.shape[0])
    rows = [np.concatenate([one if (x + y) % 2 else one[:, ::-1] for x in range(across)], 1) for y in range(down)]
    level: NDArray[np.uint8] = np.ascontiguousarray(np.concatenate(rows)[: MADE[1], : MADE[0]])
    with TiffWriter(out, bigtiff=True) as file:
        number = 0
        while True:
            resolution = (1e4 / um.columns / 2**number, 1e4 / um.rows / 2**number)
            file.write(level, tile=(SIDE, SIDE), photometric="rgb", compression="jpeg",
                       compressionargs={"level": 80}, subfiletype=1 if number else 0,
                       resolution=resolution, resolutionunit="CENTIMETER", metadata=None)  # fmt: skip
            if max(level.shape[:2]) <= 1024:
                return
            half = (level.shape[1] // 2, level.shape[0] // 2)
            level, number = np.asarray(cv2.resize(level, half, interpolation=cv2.INTER_AREA), np.uint8), number + 1


class Patches(Dataset[torch.Tensor]):
    """The fields of a plan as such loops read them."""

    def __init__(self, path: Path, plan: Plan) -> None:
        self.path, self.plan = path, plan
        self._slide: Any = None

    def __len__(self) -> int:
        return len(self.plan.spots)

    def __getitem__(self, number: int) -> torch.Tensor:
        import openslide

        if self._slide is None:
            self._slide = openslide.OpenSlide(self.path)
        left, top, right, bottom = self.plan.box(number)
        image = self._slide.read_region((left, top), 0, (right - left, bottom - top)).convert("RGB")
        image = image.resize((490, 322), Image.Resampling.BILINEAR)
        x = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255
        return (x - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[
            :, None, None
        ]


def loop(path: Path, plan: Plan, net: torch.nn.Module) -> Iterator[int]:
    """The number of patches of each batch, when it is done."""
    with torch.inference_mode():
        for x in DataLoader(Patches(path, plan), LOOP_BATCH, num_workers=1):
            net(x)
            yield len(x)


def compare(slide: Slide, model: Model, count: int, out: Path) -> dict[str, Any]:
    """The three in turn over `count` fields."""
    scan, judge = Scan(slide, model, out), Judge(model)
    count = min(count, len(scan.plan.spots))
    ready = [seen for spot in scan.plan.spots[:BATCH] if (seen := judge.see(slide, spot)) is not None]
    torch_model = load_model(model.name, engine="torch")
    judge.look(ready)
    before = resident()
    coming, looped = scan.run(), loop(slide.path, scan.plan, torch_model.net)
    seconds = {"scan": 0.0, "bare": 0.0, "loop": 0.0}
    done = {"scan": 0, "bare": 0, "loop": 0}
    processor = {"scan": 0.0, "bare": 0.0}
    memory: list[int] = []
    coarse = None
    next(coming)
    done["scan"] = 0
    while done["scan"] < count:
        start, cpu = time.perf_counter(), time.process_time()
        taken = sum(1 for _ in islice(coming, GROUP))
        seconds["scan"] += time.perf_counter() - start
        processor["scan"] += time.process_time() - cpu
        done["scan"] += taken
        memory.append(resident() - before)
        if coarse is None and done["scan"] >= scan.plan.coarse:
            coarse = seconds["scan"] * scan.plan.coarse / done["scan"]
        if not taken:
            break
        start, cpu = time.perf_counter(), time.process_time()
        for _ in range(GROUP // BATCH):
            judge.look(ready)
        seconds["bare"] += time.perf_counter() - start
        processor["bare"] += time.process_time() - cpu
        done["bare"] += GROUP // BATCH * len(ready)
        start = time.perf_counter()
        done["loop"] += next(looped, 0)
        seconds["loop"] += time.perf_counter() - start
    coming.close()  # type: ignore[attr-defined]
    rates = {name: done[name] / seconds[name] for name in seconds}
    whole = len(scan.plan.spots) / rates["scan"]
    return {
        "engine": model.runs_on.name,
        "threads": torch.get_num_threads(),
        "fields_of_the_slide": len(scan.plan.spots),
        "fields": done["scan"],
        "per_second": {name: round(rate, 2) for name, rate in rates.items()},
        "scan_over_bare": round(rates["scan"] / rates["bare"], 3),
        "scan_over_bare_by_processor_time": round(
            processor["bare"] / done["bare"] / processor["scan"] * done["scan"], 3
        ),
        "scan_over_loop": round(rates["scan"] / rates["loop"], 2),
        "first_map_over_whole": None if coarse is None else f"1/{whole / coarse:.1f}",
        "memory_mb_above_the_model": memory,
    }


def killed(path: Path, times: int) -> dict[str, Any]:
    """`dala scan`, killed so often, against one that was left alone."""
    with tempfile.TemporaryDirectory() as folder:
        out = {name: Path(folder) / name for name in ("alone", "killed")}

        def command(name: str) -> list[str]:
            return [sys.executable, "-m", "dala", "scan", str(path), "--out", str(out[name])]

        subprocess.run(command("alone"), check=True, capture_output=True)
        rows, whole = out["killed"] / path.name / ROWS, (out["alone"] / path.name / ROWS).stat().st_size
        kills, seed = 0, random.Random(4711)
        while True:
            enough = (rows.stat().st_size if rows.exists() else 0) + seed.uniform(0, whole / times)
            process = subprocess.Popen(command("killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while process.poll() is None:
                if kills < times and rows.exists() and rows.stat().st_size > enough:
                    time.sleep(seed.uniform(0, 0.05))
                    process.send_signal(signal.SIGKILL)
                time.sleep(0.002)
            if process.wait() == 0:
                break
            kills += 1
        same = (out["alone"] / path.name / ROWS).read_bytes() == (out["killed"] / path.name / ROWS).read_bytes()
        return {"kills": kills, "identical": same}


def main() -> None:
    """Print the figures as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--make", type=Path, default=None, metavar="FROM", help="make the slide out of this one")
    parser.add_argument("--fields", type=int, default=600)
    parser.add_argument("--kills", type=int, default=0)
    options = parser.parse_args()
    if options.make is not None:
        make(options.make, options.slide)
        return
    if options.kills:
        print(json.dumps(killed(options.slide, options.kills)))
        return
    with open_slide(options.slide) as slide, tempfile.TemporaryDirectory() as out:
        start = time.perf_counter()
        _ = slide.overview
        seconds = time.perf_counter() - start
        found = compare(slide, load_model("breast"), options.fields, Path(out))
        found |= {"overview_seconds": round(seconds, 2), "peak_mb": resident("VmHWM")}
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
