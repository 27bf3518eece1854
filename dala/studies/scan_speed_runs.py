"""What `dala scan-speed` measures of scans: beside their bare network and a loop as WSInfer's, memory, and kill -9."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from dala.runtime.predict import Model, load_model
from dala.slides.judge import BATCH, Judge
from dala.slides.plan import Plan
from dala.slides.reader import Slide, open_slide
from dala.slides.rows import ROWS
from dala.slides.scan import Scan
from dala.terminal import Progress, progress

GROUP, LEAD = 100, 24  # fields of a turn, and before it
REST = 2.0  # seconds after a scan's turn: what was under way is done by then
LOOP_BATCH = 32
SEED = 4711
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def resident(kind: str = "VmRSS") -> int:
    """Megabytes of this process in memory (Linux)."""
    found = re.search(rf"{kind}:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) // 1024


# A loop as others have it


class Patches(Dataset[torch.Tensor]):
    """The fields of a plan as WSInfer's loop reads them: each from level 0, then resized."""

    def __init__(self, path: Path, plan: Plan, size: tuple[int, int]) -> None:
        self.path, self.plan, self.size = path, plan, size
        self._slide: Any = None
        self._mean, self._deviation = (torch.tensor(one)[:, None, None] for one in IMAGENET)

    def __len__(self) -> int:
        return len(self.plan.spots)

    def __getitem__(self, number: int) -> torch.Tensor:
        import openslide

        if self._slide is None:
            self._slide = openslide.OpenSlide(self.path)
        left, top, right, bottom = self.plan.box(number)
        image = self._slide.read_region((left, top), 0, (right - left, bottom - top)).convert("RGB")
        image = image.resize(self.size, Image.Resampling.BILINEAR)
        x = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255
        return (x - self._mean) / self._deviation


def looped(path: Path, plan: Plan, net: torch.nn.Module, size: tuple[int, int]) -> Iterator[int]:
    """The number of patches of each batch, when it is done."""
    with torch.inference_mode():
        for x in DataLoader(Patches(path, plan, size), LOOP_BATCH, num_workers=1):
            net(x)
            yield len(x)


# A scan


@dataclass
class Taken:
    """What was done, and how long it took: seconds, and seconds of processor time of this process."""

    done: int = 0
    seconds: float = 0.0
    processor: float = 0.0

    @property
    def per_second(self) -> float:
        return self.done / self.seconds

    def add(self, work: Any) -> int:
        """Count and time `work`, which returns how much it did."""
        start, processor = time.perf_counter(), time.process_time()
        done = int(work())
        self.seconds += time.perf_counter() - start
        self.processor += time.process_time() - processor
        self.done += done
        return done


@dataclass(frozen=True)
class Compared:
    """Scan, bare engine and loop over the same fields, of `planned` ones; at the scan's rate the seconds of its first
    whole map and of all of it, with tissue and plan."""

    scan: Taken
    bare: Taken
    loop: Taken
    threads: int
    planned: int
    first_map: float
    whole: float

    @property
    def by_processor_time(self) -> float:
        """The scan's rate over the bare engine's, on a machine that has nothing else to do."""
        return self.bare.processor / self.bare.done / self.scan.processor * self.scan.done


def compare(slide: Slide, model: Model, fields: int, out: Path, report: Progress) -> Compared:
    """The three in turn over `fields` or all, so that a machine which is busy otherwise slows all of them.

    The bare engine gets inputs that lie ready, in the scan's batches and from as many threads as it has streams. The
    loop hands batches of 32 to the same network as torch runs it. What a scan has under way when its turn begins is as
    much as when it ends: `LEAD` fields before are not counted, and what it does after its turn is waited for.
    """
    start = time.perf_counter()
    scan = Scan(slide, model, out)
    planning = time.perf_counter() - start
    judge, planned = Judge(model), len(scan.plan.spots)
    fields = min(fields, planned // (GROUP + LEAD) * GROUP or planned)
    ready = [seen for spot in scan.plan.spots[:BATCH] if (seen := judge.see(slide, spot)) is not None]
    size = (ready[0].values.shape[2], ready[0].values.shape[1])
    torch_net = load_model(model.name, engine="torch").net
    judge.look(ready)
    coming, loops = scan.run(), looped(slide.path, scan.plan, torch_net, size)
    taken, bare, loop = Taken(), Taken(), Taken()

    def scanned() -> int:
        return sum(1 for _ in islice(coming, GROUP))

    def looked() -> int:
        with ThreadPoolExecutor(model.runs_on.streams) as pool:
            return sum(map(len, pool.map(judge.look, [ready] * (GROUP // BATCH))))

    while taken.done < fields:
        if planned >= GROUP + LEAD:
            for _ in islice(coming, LEAD):
                pass
        taken.add(scanned)
        time.sleep(REST)
        bare.add(looked)
        loop.add(lambda: next(loops, 0))
        report(min(taken.done, fields), fields)
    loops.close()  # type: ignore[attr-defined]
    coming.close()  # type: ignore[attr-defined]
    whole, first = (planning + count / taken.per_second for count in (planned, scan.plan.coarse))
    return Compared(taken, bare, loop, torch.get_num_threads(), planned, first, whole)


Memory = tuple[tuple[tuple[int, int], ...], int]


def watched(path: Path, name: str, most: int, out: Path, um: float | None = None) -> Memory:
    """The memory of a scan in this process above that of the model `name` when it has answered once: MB over the number
    of fields, and the most that it was; over `most` fields or all. To be called in a process of its own (Linux)."""
    model = load_model(name, many=True)
    report = progress("memory", "field")
    with open_slide(path, um) as slide:
        judge = Judge(model)
        judge.look([judge.seen(slide.read_field(0, 0))] * BATCH)
        before = resident()
        Path("/proc/self/clear_refs").write_text("5")  # the most that it is counts from here: not what loading took
        scan = Scan(slide, model, out)
        most = min(most, len(scan.plan.spots))
        coming, seen, memory = scan.run(), 0, list[tuple[int, int]]()
        while seen < most and (more := sum(1 for _ in islice(coming, min(GROUP, most - seen)))):
            seen += more
            memory.append((seen, resident() - before))
            report(seen, most)
        coming.close()  # type: ignore[attr-defined]
    return tuple(memory), resident("VmHWM") - before


def killed(path: Path, times: int) -> tuple[int, bool]:
    """How often `dala scan` was killed, each time after another random number of rows, and whether its rows are in the
    end those of one that was left alone."""
    with tempfile.TemporaryDirectory() as folder:
        out = {name: Path(folder) / name for name in ("alone", "killed")}

        def command(name: str) -> list[str]:
            return [sys.executable, "-m", "dala", "scan", str(path), "--out", str(out[name])]

        subprocess.run(command("alone"), check=True, capture_output=True)
        alone, rows = (out[name] / path.name / ROWS for name in out)
        whole, kills, draw = alone.stat().st_size, 0, random.Random(SEED)
        while True:
            enough = (rows.stat().st_size if rows.exists() else 0) + draw.uniform(0, whole / times)
            process = subprocess.Popen(command("killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while process.poll() is None:
                if kills < times and rows.exists() and rows.stat().st_size > enough:
                    time.sleep(draw.uniform(0, 0.05))
                    process.send_signal(signal.SIGKILL)
                time.sleep(0.002)
            if process.wait() == 0:
                return kills, alone.read_bytes() == rows.read_bytes()
            kills += 1
