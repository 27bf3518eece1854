"""How fast is every engine? Prediction with maps beside pytorch-grad-cam and torch-cam, batches, and a fresh start.

    PYTHONPATH=. python benchmarks/engines.py [--runs 41] [--threads 2] [--out evidence/engines_speed.json]

All take turns in one process in a seeded random order (see benchmarks/explain.py, which the other programs' calls are
taken from), so that a slower moment of the machine meets all of them. "int8" is measured only and not served, its
ranges are those of drawn images, which its speed does not depend on. A start is a fresh Python process, from its
first line to the first whole opinion (verdict, gate and maps) of a drawn patch, with converted graphs in the cache.
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
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from explain import REST, SIDE, milliseconds, pytorch_grad_cam, torch_cam
from torch import Tensor

from dala.errors import EngineError
from dala.explanation.gradcam import margins, signed_maps
from dala.explanation.render import encode_png
from dala.nets.dala_resnet50 import DALAResNet50
from dala.phantoms.tissue import PHANTOMS, draw
from dala.preprocess.views import network_input
from dala.runtime.engines import ENGINES, TORCH, Engine, choose_engine, import_openvino
from dala.runtime.predict import load_model
from dala.studies.engines import INT8, quantised
from dala.training.evaluate import write_json

BATCH = 16
PGC, TORCH_CAM = "pytorch-grad-cam", "torch-cam"
START = """
import time; start = time.perf_counter()
from dala.opinion import second_opinion
from dala.nets.runtime import load_model
imported = time.perf_counter()
model = load_model(engine={engine!r})
loaded = time.perf_counter()
second_opinion({image!r}, model)
print(imported - start, loaded - start, time.perf_counter() - start)
"""


def with_maps(net: DALAResNet50, engine: Engine, x: Tensor) -> np.ndarray:
    """Logits and the signed maps of both classes, as `dala.opinion` makes them; (classes, h, w)."""
    with torch.no_grad():
        activations = engine.tail(engine.trunk(x))
        net.head(activations)
    return signed_maps(net.head, activations, margins(2))[:, 0].numpy()


def batch(net: DALAResNet50, engine: Engine, x: Tensor) -> np.ndarray:
    with torch.no_grad():
        return net.head(engine.tail(engine.trunk(x))).numpy()


def engines_of(net: DALAResNet50, key: str) -> dict[str, Engine]:
    """Every engine of this machine, and int8 where NNCF is installed."""
    found: dict[str, Engine] = {}
    for name in ENGINES:
        try:
            found[name] = choose_engine(net, key, name)
        except EngineError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    images = [network_input(draw(name).pixels[None, :224, :224], SIDE) for name in PHANTOMS]
    try:
        found[INT8] = quantised(net, images)
    except EngineError as error:
        print(f"{INT8} is left out: {error}", file=sys.stderr)
    return found


def starts(engine: str, image: Path, runs: int) -> dict[str, float]:
    """Median seconds of a fresh process until everything is imported, the model is loaded and the first answer given.

    One more start comes first: it fills the caches of files, also that of converted graphs.
    """
    program = START.format(engine=engine, image=str(image))
    rows = []
    for turn in range(runs + 1):
        found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        if turn:
            rows.append([float(one) for one in found.stdout.split()])
    middle = [statistics.median(column) for column in zip(*rows, strict=True)]
    return dict(zip(("imported", "loaded", "first_answer"), middle, strict=True))


def processor() -> str:
    """The name that the processor gives itself."""
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=41)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("evidence/engines_speed.json"), metavar="FILE")
    options = parser.parse_args()
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
        name: lambda engine=engine: with_maps(net, engine, one)  # type: ignore[misc]
        for name, engine in engines.items()
    }
    programs[PGC] = lambda: pytorch_grad_cam(trainable, one)
    programs[TORCH_CAM] = lambda: torch_cam(trainable, one)
    maps = milliseconds(programs, options.runs)
    batches = milliseconds(
        {name: lambda engine=engine: batch(net, engine, many) for name, engine in engines.items()},  # type: ignore[misc]
        max(3, options.runs // 3),
    )
    image = options.out.with_suffix(".png")
    image.write_bytes(encode_png(draw("solid_sheets").pixels))
    try:
        started = {name: starts(name, image, 3) for name in engines if name in (TORCH, "openvino-bf16")}
    finally:
        image.unlink()

    rate = {name: 1000 * BATCH / value for name, value in batches.items()}
    record: dict[str, Any] = {
        "protocol": f"{options.threads} threads, median of {options.runs} runs in turn, after {REST:g} s of rest "
        f"each, input {SIDE} x {SIDE}; maps: "
        f"logits and the maps of both classes of one image; batches: {BATCH} images in one pass to logits, without "
        "maps; start: fresh process to the first whole opinion, graphs in the cache, files read before",
        "command": "PYTHONPATH=. python benchmarks/engines.py",
        "weights_sha256": key,
        "machine": {"processor": processor(), "threads": options.threads},
        "versions": {"torch": torch.__version__, "openvino": import_openvino().__version__},
        "maps": {
            name: {
                "milliseconds": value,
                f"of {PGC}": value / maps[PGC],
                f"of {TORCH_CAM}": value / maps[TORCH_CAM],
            }
            for name, value in maps.items()
        },
        "batches": {
            name: {"pictures_per_second": value, "of torch": value / rate[TORCH]} for name, value in rate.items()
        },
        "start_seconds": started,
        "measured": time.strftime("%Y-%m-%d"),
    }
    write_json(options.out, record)
    print(f"{record['protocol']}\n")
    print(f"| prediction and both maps | ms (median) | of {PGC} | of {TORCH_CAM} |\n|---|---:|---:|---:|")
    for name, row in record["maps"].items():
        print(f"| {name} | {row['milliseconds']:.0f} | {row[f'of {PGC}']:.3f} | {row[f'of {TORCH_CAM}']:.2f} |")
    print(f"\n| batches of {BATCH} | images a second | of torch |\n|---|---:|---:|")
    for name, row in record["batches"].items():
        print(f"| {name} | {row['pictures_per_second']:.1f} | {row['of torch']:.2f} |")
    print("\n| fresh start, seconds | imported | loaded | first answer |\n|---|---:|---:|---:|")
    for name, row in started.items():
        print(f"| {name} | {row['imported']:.1f} | {row['loaded']:.1f} | {row['first_answer']:.1f} |")
    print(f"\nwritten to {options.out}")


if __name__ == "__main__":
    main()
