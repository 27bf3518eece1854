"""How long does an answer take? Every engine beside pytorch-grad-cam and torch-cam, batches, and a fresh start.

    dala speed [--runs 41] [--threads 2]

All take turns in one process in a seeded random order, so that a slower moment of the machine meets all of them. Eight
bits are measured only and not served. A start is a fresh Python process, from its first line to the first whole opinion
(verdict, gate and maps) of a drawn patch, with converted graphs in the cache.
"""

from __future__ import annotations

import argparse
import copy
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dala.errors import EngineError
from dala.studies.blocks import Block, Row, Table, Text
from dala.studies.record import Record, Result
from dala.studies.study import Study, Verb
from dala.terminal import at_least, complain
from dala.words import NO_BREAK

if TYPE_CHECKING:
    from torch import Tensor

    from dala.nets.dala_resnet50 import DALAResNet50
    from dala.runtime.engines import Engine

PGC, TORCH_CAM = "pytorch-grad-cam", "torch-cam"
PROGRAMS = {
    "openvino-bf16": "This tool, OpenVINO, 16 bits",
    "openvino-f32": "This tool, OpenVINO, 32 bits",
    "torch": "This tool, torch",
    "torch-bf16": "This tool, torch, 16 bits",
    "openvino-int8": "OpenVINO, 8 bits (not offered: it changes verdicts)",
    PGC: PGC,
    TORCH_CAM: TORCH_CAM,
}


@dataclass(frozen=True, kw_only=True)
class Machine(Record):
    """What it was measured on."""

    processor: str
    threads: int


@dataclass(frozen=True, kw_only=True)
class WithMaps(Record):
    """One image to logits and the maps of both classes: median milliseconds, as such and beside the other programs."""

    milliseconds: float
    of_pgc: float = field(metadata={"key": f"of {PGC}"})
    of_torch_cam: float = field(metadata={"key": f"of {TORCH_CAM}"})


@dataclass(frozen=True, kw_only=True)
class Throughput(Record):
    """Images a second in batches, without maps, and beside torch."""

    images_per_second: float = field(metadata={"key": "pictures_per_second"})
    of_torch: float = field(metadata={"key": "of torch"})


@dataclass(frozen=True, kw_only=True)
class Start(Record):
    """Seconds of a fresh process until everything is imported, the model is loaded, the first opinion given."""

    imported: float
    loaded: float
    first_answer: float


@dataclass(frozen=True, kw_only=True)
class Speed(Result):
    """Every program, every engine in batches, and starts of the two default engines."""

    weights_sha256: str
    machine: Machine
    versions: dict[str, str]
    maps: dict[str, WithMaps]
    batches: dict[str, Throughput]
    start_seconds: dict[str, Start]
    measured: str


# Measuring

BATCH = 16
SIDE = 320  # what the shipped weights are shown
START = """
import time; start = time.perf_counter()
from dala.opinion import second_opinion
from dala.runtime.predict import load_model
imported = time.perf_counter()
model = load_model(engine={engine!r})
loaded = time.perf_counter()
second_opinion({image!r}, model)
print(imported - start, loaded - start, time.perf_counter() - start)
"""


def with_maps(net: DALAResNet50, engine: Engine, x: Tensor) -> NDArray[np.float32]:
    """Logits and the signed maps of both classes, as `dala.opinion` makes them; (classes, h, w)."""
    import torch

    from dala.explanation.gradcam import margins, signed_maps

    with torch.no_grad():
        activations = engine.tail(engine.trunk(x))
        net.head(activations)
    return signed_maps(net.head, activations, margins(2))[:, 0].numpy()


def batch(net: DALAResNet50, engine: Engine, x: Tensor) -> NDArray[np.float32]:
    """Logits alone."""
    import torch

    with torch.no_grad():
        return net.head(engine.tail(engine.trunk(x))).numpy()


def engines_of(net: DALAResNet50, key: str) -> dict[str, Engine]:
    """Every engine of this machine, and int8 where NNCF is installed."""
    from dala.phantoms.tissue import PHANTOMS, draw
    from dala.preprocess.views import network_input
    from dala.runtime.engines import ENGINES, choose_engine
    from dala.studies.unserved import INT8, quantised

    found: dict[str, Engine] = {}
    for name in ENGINES:
        try:
            found[name] = choose_engine(net, key, name)
        except EngineError as error:
            complain(f"{name} is left out: {error}")
    # Speed does not depend on the ranges: drawn images will do.
    images = [network_input(draw(name).pixels[None, :224, :224], SIDE) for name in PHANTOMS]
    try:
        found[INT8] = quantised(net, images)
    except EngineError as error:
        complain(f"{INT8} is left out: {error}")
    return found


def starts(engine: str, image: Path, runs: int) -> Start:
    """Medians of fresh processes. One more start comes first: it fills the caches, also that of converted graphs."""
    program = START.format(engine=engine, image=str(image))
    rows = []
    for turn in range(runs + 1):
        found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        if turn:
            rows.append([float(one) for one in found.stdout.split()])
    imported, loaded, answered = (statistics.median(column) for column in zip(*rows, strict=True))
    return Start(imported=imported, loaded=loaded, first_answer=answered)


def processor() -> str:
    """The name that the processor gives itself."""
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.processor()


# The command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=at_least(1), default=41)
    parser.add_argument("--threads", type=at_least(1), default=2)
    parser.add_argument("--out", type=Path, default=Path(STUDY.path), metavar="FILE")


def run(options: argparse.Namespace) -> int:
    import torch

    from dala.explanation.render import encode_png
    from dala.phantoms.tissue import draw
    from dala.runtime.engines import TORCH, import_openvino
    from dala.runtime.predict import load_model
    from dala.studies.other_programs import REST, milliseconds, pytorch_grad_cam, torch_cam

    torch.set_num_threads(options.threads)
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # of the fresh processes
    model = load_model(engine=TORCH)
    net, key = model.net, str(model.card.fields["sha256"])
    engines = engines_of(net, key)
    trainable = copy.deepcopy(net).requires_grad_(True)  # as the other programs document their use
    random = torch.Generator().manual_seed(0)
    one, many = (torch.randn(n, 3, SIDE, SIDE, generator=random) for n in (1, BATCH))
    one, many = (x.contiguous(memory_format=torch.channels_last) for x in (one, many))

    programs: dict[str, Callable[[], object]] = {
        name: partial(with_maps, net, engine, one) for name, engine in engines.items()
    }
    programs |= {PGC: lambda: pytorch_grad_cam(trainable, one), TORCH_CAM: lambda: torch_cam(trainable, one)}
    maps = milliseconds(programs, options.runs)
    batches = milliseconds(
        {name: partial(batch, net, engine, many) for name, engine in engines.items()}, max(3, options.runs // 3)
    )
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder, "drawn.png")
        image.write_bytes(encode_png(draw("solid_sheets").pixels))
        started = {name: starts(name, image, 3) for name in engines if name in (TORCH, "openvino-bf16")}

    rate = {name: 1000 * BATCH / value for name, value in batches.items()}
    record = Speed(
        protocol=f"{options.threads} threads, median of {options.runs} runs in turn, after {REST:g} s of rest "
        f"each, input {SIDE} x {SIDE}; maps: "
        f"logits and the maps of both classes of one image; batches: {BATCH} images in one pass to logits, without "
        "maps; start: fresh process to the first whole opinion, graphs in the cache, files read before",
        command=STUDY.command,
        weights_sha256=key,
        machine=Machine(processor=processor(), threads=options.threads),
        versions={"torch": torch.__version__, "openvino": import_openvino().__version__},
        maps={
            name: WithMaps(milliseconds=value, of_pgc=value / maps[PGC], of_torch_cam=value / maps[TORCH_CAM])
            for name, value in maps.items()
        },
        batches={
            name: Throughput(images_per_second=value, of_torch=value / rate[TORCH]) for name, value in rate.items()
        },
        start_seconds=started,
        measured=time.strftime("%Y-%m-%d"),
    )
    STUDY.write(record, options.out)
    print(f"{record.protocol}\n")
    print(f"| prediction and both maps | ms (median) | of {PGC} | of {TORCH_CAM} |\n|---|---:|---:|---:|")
    for name, row in record.maps.items():
        print(f"| {name} | {row.milliseconds:.0f} | {row.of_pgc:.3f} | {row.of_torch_cam:.2f} |")
    print(f"\n| batches of {BATCH} | images a second | of torch |\n|---|---:|---:|")
    for name, found in record.batches.items():
        print(f"| {name} | {found.images_per_second:.1f} | {found.of_torch:.2f} |")
    print("\n| fresh start, seconds | imported | loaded | first answer |\n|---|---:|---:|---:|")
    for name, start in record.start_seconds.items():
        print(f"| {name} | {start.imported:.1f} | {start.loaded:.1f} | {start.first_answer:.1f} |")
    print(f"\nwritten to {options.out}")
    return 0


# The page


def table(record: Speed) -> list[Row]:
    """A row a program: time for one image with its maps, and images a second in batches, the fastest first."""
    rows = []
    for name, told in sorted(record.maps.items(), key=lambda item: item[1].milliseconds):
        batch = record.batches.get(name)
        rows.append(
            {
                "Program": PROGRAMS[name],
                "Answer and both maps": f"{told.milliseconds:.0f}{NO_BREAK}ms",
                f"of {PGC}'s time": f"{told.of_pgc:.2f}",
                f"of {TORCH_CAM}'s time": f"{told.of_torch_cam:.2f}",
                "Images a second, no maps": "" if batch is None else f"{batch.images_per_second:.1f}",
            }
        )
    return rows


def sentence(record: Speed) -> str:
    """How fast the default is, beside the other programs, and how long a fresh start takes."""
    default = next(name for name in PROGRAMS if name in record.start_seconds)
    told, start = record.maps[default], record.start_seconds[default]
    return (
        f"One image takes {told.milliseconds:.0f} ms, {told.of_pgc:.2f} of the time of {PGC} and "
        f"{told.of_torch_cam:.2f} of that of {TORCH_CAM} on the same two cores. From a fresh process to the first "
        f"whole opinion: {start.first_answer:.1f} s, of which {start.imported:.1f} s go to importing libraries."
    )


def section(record: Speed) -> list[Block]:
    """The default in a sentence, every program in a table."""
    return [Text(sentence(record)), Table(table(record), "Time and throughput of every program")]


STUDY = Study(
    "speed",
    "engines_speed.json",
    Speed,
    "breakhis",
    "dala speed",
    part="Speed and load",
    title="Speed",
    question="How long does an answer take, beside the programs that are in use?",
    section=section,
    verb=Verb(
        "speed",
        None,
        "milliseconds of every engine beside pytorch-grad-cam and torch-cam, batches, and a fresh start (10 minutes)",
        add_arguments,
        run,
    ),
)
