"""Altered files of every kind through the intake, for as long as one likes: `make fuzz MINUTES=10`.

Each file is a drawn one (`tests/helpers/seeds.py`) whose bytes were changed, cut, doubled, mixed with another's or
overwritten by numbers that programs get wrong. The intake must answer each with an image or with its own error of one
sentence, within `SLOWEST` seconds and without growing. A file that it does not is written to the folder for failures,
from which it can be read again: `python tests/fuzz.py --again FOLDER`.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dala.errors import IntakeError
from dala.intake import decoding
from dala.intake.archive import Upload, members
from dala.intake.image import read_image
from tests.helpers.seeds import SEEDS

SLOWEST = 5.0  # seconds for one file
GROWTH = 300  # MB that this process may grow by, its first hundred files aside
HOLDER = 200  # MB of the process that holds the decoders
NUMBERS = [b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x80\0\0\0", b"\0\0\0\x80", b"\1\0\0\0"]
HEAD = 300  # bytes in which most of the structure is


def alter(data: bytes, others: list[bytes], rng: np.random.Generator) -> bytes:
    """The file after one to six changes."""
    for _ in range(rng.integers(1, 7)):
        if not data:
            break
        reach = min(len(data), HEAD) if rng.random() < 0.5 else len(data)
        at, length = int(rng.integers(reach)), int(rng.integers(1, 64))
        match int(rng.integers(8)):
            case 0 | 1:
                data = data[:at] + bytes([int(rng.integers(256))]) + data[at + 1 :]
            case 2:
                data = data[:at] + bytes([data[at] ^ 1 << int(rng.integers(8))]) + data[at + 1 :]
            case 3:
                number = NUMBERS[int(rng.integers(len(NUMBERS)))][: int(rng.choice([1, 2, 4]))]
                data = data[:at] + number + data[at + len(number) :]
            case 4:
                data = data[:at] + data[at + length :]
            case 5:
                data = data[: at + length] + data[at:]
            case 6:
                other = others[int(rng.integers(len(others)))]
                begin = int(rng.integers(len(other)))
                data = data[:at] + other[begin : begin + length] + data[at + length :]
            case _:
                data = data[:at] if rng.random() < 0.3 else data[:at] + rng.bytes(length) + data[at:]
    return data


@dataclass
class Found:
    """What has happened so far."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0
    died: int = 0


def read(kind: str, data: bytes) -> str:
    """ "read" or the kind of the refusal. Raises whatever the intake raises that it must not."""
    if kind == "zip":
        told = [_one(item.load) for item in members([Upload("fuzz.zip", io.BytesIO(data))])]
        return "read" if "read" in told else "refused"
    return _one(lambda: data)


def _one(load: Callable[[], bytes | Path]) -> str:
    try:
        patch = read_image(load())
    except IntakeError as error:
        sentence = str(error)
        assert sentence.endswith(".") and "\n" not in sentence and len(sentence) < 400, sentence
        return "died" if "gave up" in sentence else type(error).__name__
    assert patch.pixels.ndim == 3 and patch.pixels.dtype == np.uint8 and patch.pixels.shape[2] == 3
    return "read"


def attempt(kind: str, data: bytes, found: Found, folder: Path) -> None:
    """One file; what must not be is counted and kept."""
    for again in (False, True):
        start = time.perf_counter()
        try:
            outcome = read(kind, data)
        except Exception:
            _keep(kind, data, found, folder, traceback.format_exc(limit=-3))
            return
        seconds = time.perf_counter() - start
        if seconds <= SLOWEST:
            break
        if again:  # the first time something else may have had the machine
            _keep(kind, data, found, folder, f"took {seconds:.1f} s")
    found.slowest = max(found.slowest, seconds)
    found.outcomes[outcome] += 1


def _keep(kind: str, data: bytes, found: Found, folder: Path, why: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{kind.replace(' ', '-')}-{sha256(data).hexdigest()[:12]}"
    path.write_bytes(data)
    found.failures.append(f"{path}: {why}")
    print(found.failures[-1], file=sys.stderr, flush=True)


def memory(process: int | str = "self", field: str = "VmRSS") -> int:
    """MB that a process holds; 0 where the system does not say."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith(f"{field}:")), 0)


def run(minutes: float, seed: int, folder: Path, threads: int = 2) -> Found:
    """Altered files for so long, from this seed."""
    seeds = {kind: make() for kind, make in SEEDS.items()}
    kinds, others = list(seeds), list(seeds.values())
    found, rng = Found(), np.random.default_rng(seed)
    end, told, settled, count = time.monotonic() + 60 * minutes, time.monotonic(), 0, 0
    with ThreadPoolExecutor(threads) as pool:
        while time.monotonic() < end:
            chosen = [kinds[int(rng.integers(len(kinds)))] for _ in range(20)]
            files = [(kind, alter(seeds[kind], others, rng)) for kind in chosen]
            list(pool.map(lambda one: attempt(*one, found, folder), files))
            count += len(files)
            settled = settled or (memory() if count >= 100 else 0)
            if time.monotonic() - told > 30:
                told = time.monotonic()
                print(summary(found, settled), flush=True)
    holder = decoding._process.process
    held = memory(holder.pid) if holder is not None else 0
    if (settled and memory() - settled > GROWTH) or held > HOLDER:
        found.failures.append(f"memory: {settled} MB became {memory()} MB, the decoders hold {held} MB")
    print(summary(found, settled), flush=True)
    return found


def summary(found: Found, settled: int) -> str:
    outcomes = ", ".join(f"{count:,} {outcome}" for outcome, count in found.outcomes.most_common())
    return (
        f"{found.outcomes.total():,} files: {outcomes}; {len(found.failures)} failures; slowest {found.slowest:.2f} s; "
        f"{memory()} MB, {settled} MB after the first hundred"
    )


def main() -> int:
    asked = argparse.ArgumentParser(description="altered files of every kind through the intake")
    asked.add_argument("--minutes", type=float, default=5)
    asked.add_argument("--seed", type=int, default=None, help="default: another one each time, which is printed")
    asked.add_argument("--failures", type=Path, default=Path("runs/fuzz"), help="where files that failed are kept")
    asked.add_argument("--again", type=Path, default=None, metavar="FOLDER", help="only the files in this folder")
    options = asked.parse_args()
    if options.again is not None:
        found = Found()
        for path in sorted(options.again.iterdir()):
            attempt(path.name.rpartition("-")[0], path.read_bytes(), found, options.failures)
        print(summary(found, 0))
    else:
        seed = int(time.time()) if options.seed is None else options.seed
        print(f"{len(SEEDS)} drawn files, {options.minutes:g} minutes, seed {seed}")
        found = run(options.minutes, seed, options.failures)
    return int(bool(found.failures))


if __name__ == "__main__":
    sys.exit(main())
