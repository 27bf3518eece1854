"""The process that decodes: bounded in memory, time and number, gone with its file, and quick."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dala.decoders.process import answer
from dala.decoders.refusal import Bounds
from dala.errors import IntakeError, TooLarge, UnreadableImage
from dala.intake import decoding
from dala.intake.image import read_image
from tests.helpers.dicoms import dataset_of, written

DRAWN = np.random.default_rng(0).integers(0, 256, (460, 700, 3), dtype=np.uint8)


def encode(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


PATCH = encode(Image.fromarray(DRAWN), "PNG")


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A process of this test's own."""
    process = decoding._Process()
    monkeypatch.setattr(decoding, "_process", process)
    yield process
    if process.control is not None:
        process.control.close()
    if process.process is not None:
        process.process.wait(10)


@pytest.mark.slow
def test_a_patch_costs_little_more_than_its_decoding(fresh: Any) -> None:
    """20 ms are allowed, or three times the decoding itself, whose core may be slow and whose pages dear: a fork, and
    every page that it touches, costs a machine inside a machine several times as much. Measured: 9 to 11 ms, and there
    19 to 21 beside 10 to 12 of decoding; a Python of its own would take hundreds. The quickest of many of either kind
    are compared, for only they had a core to themselves."""
    decoding.warm()
    read_image(PATCH)
    read, decoded = [], []
    for _ in range(30):
        start = time.perf_counter()
        read_image(PATCH)
        middle = time.perf_counter()
        answer(PATCH, Bounds())
        read.append(middle - start)
        decoded.append(time.perf_counter() - middle)
    assert min(read) - min(decoded) < max(0.020, 3 * min(decoded)), (min(read), min(decoded))


@pytest.mark.slow
@pytest.mark.parametrize("fork", [True, False])
def test_with_and_without_a_fork_the_answers_are_the_same(fork: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "CAN_FORK", fork and decoding.CAN_FORK)
    np.testing.assert_array_equal(read_image(PATCH).pixels, DRAWN)
    with pytest.raises(UnreadableImage, match="damaged, incomplete"):
        read_image(PATCH[:5000])


@pytest.mark.slow
def test_a_process_that_dies_hangs_or_says_nonsense_is_a_sentence(
    fresh: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    head = "import os, signal, socket, sys, time\n"
    connection = (
        "control = socket.socket(fileno=int(sys.argv[1]))\n"
        "one = socket.socket(fileno=socket.recv_fds(control, 1, 1)[1][0])\n"
    )
    script = tmp_path / "process.py"
    monkeypatch.setattr(decoding, "PROCESS", script)
    monkeypatch.setattr(decoding, "SMALL", replace(decoding.SMALL, patience=1.0))
    for last, said in (
        ("os.kill(os.getpid(), signal.SIGSEGV)", "gave up"),
        ("time.sleep(3)", "too long"),
        ("one.sendall(b'what?\\n')", "gave up"),
        ('one.sendall(b\'{"shape": [9, 9, 3], "kind": "PNG"}\\nshort\')', "gave up"),
    ):
        script.write_text(head + connection + last)
        with pytest.raises(UnreadableImage, match=said):
            read_image(PATCH)
    script.write_text(head)  # it is gone before the file comes
    with pytest.raises(IntakeError):
        read_image(PATCH)
    monkeypatch.undo()
    assert read_image(PATCH).width == 700, "the next file has a new process"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="processor time is bounded where the kernel knows how")
def test_the_kernel_ends_what_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A progressive image of 5 megapixels sent in 99 scans, with one second of processor time allowed."""
    data = encode(Image.fromarray(DRAWN).resize((2400, 2400)), "JPEG", progressive=True, quality=98)
    last = data.rindex(b"\xff\xda")
    slow = data[:last] + data[last:-2] * 90 + data[-2:]
    monkeypatch.setattr(decoding, "SMALL", replace(decoding.SMALL, seconds=1, bytes=2**30))
    with pytest.raises(UnreadableImage, match="too long"):
        read_image(slow)


WEBP_TOO = pytest.mark.exhaustive(
    instead="intake/test_decoding.py::test_an_image_at_the_limit_is_read_within_the_bounds"
)
BOMB_PROGRAM = """
import resource, sys
from dala.intake import decoding
from dala.intake.image import IntakeError, read_image
decoding.CAN_FORK = False  # so that the largest child is known
data = sys.stdin.buffer.read()
peak = lambda who: resource.getrusage(who).ru_maxrss // 1024
before = peak(resource.RUSAGE_SELF)
try:
    print(read_image(data).pixels.shape)
except IntakeError as error:
    print(error)
print(peak(resource.RUSAGE_SELF) - before)
print(peak(resource.RUSAGE_CHILDREN))
"""


def measured(data: bytes) -> tuple[str, int, int]:
    """What is said, and the peaks of this side and of the child in MB."""
    root = Path(decoding.__file__).resolve().parents[2]
    ran = subprocess.run([sys.executable, "-c", BOMB_PROGRAM], input=data, stdout=subprocess.PIPE, cwd=root, check=True)
    said, own, childs = ran.stdout.decode().splitlines()
    return said, int(own), int(childs)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux only")
def test_a_bomb_ends_with_its_process() -> None:
    """Two gigabytes of zeros in two megabytes: memory is bounded where they are inflated, and nothing of it is here."""
    dataset = dataset_of(DRAWN[..., 0])
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    data = written(dataset)
    start = 132 + 12 + struct.unpack("<I", data[140:144])[0]
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = squeeze.compress(b"\0" * 2**26) + squeeze.flush(zlib.Z_FULL_FLUSH)  # which may follow itself
    bomb = data[:start] + 32 * block + squeeze.flush()
    assert len(bomb) < 4 * 2**20
    said, own, childs = measured(bomb)
    assert "memory" in said
    assert own < 100
    assert childs < decoding.LARGE.megabytes


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux only")
@pytest.mark.parametrize("format", ["PNG", pytest.param("WEBP", marks=WEBP_TOO)])
def test_an_image_at_the_limit_is_read_within_the_bounds(format: str) -> None:
    """48 megapixels with alpha in a file of a few kB: here the pixels, which are 144 MB, twice for a moment."""
    options = {"lossless": True, "method": 0, "quality": 0} if format == "WEBP" else {"compress_level": 1}
    data = encode(Image.new("RGBA", (8000, 6000), (9, 9, 9, 99)), format, **options)
    assert len(data) < 2**20
    said, own, _ = measured(data)
    assert said == "(6000, 8000, 3)"
    assert own < 450


def test_what_is_larger_is_read_again_with_larger_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    ask = decoding._ask

    def noted(data: bytes, lane: decoding.Lane, who: str) -> Any:
        asked.append(lane.pixels)
        return ask(data, lane, who)

    monkeypatch.setattr(decoding, "_ask", noted)
    large = encode(Image.new("L", (3000, 2100)), "PNG")
    assert read_image(large).width == 3000
    assert asked == [decoding.SMALL.pixels, decoding.LARGE.pixels]
    asked.clear()
    assert read_image(PATCH).width == 700
    assert asked == [decoding.SMALL.pixels]
    asked.clear()
    monkeypatch.setattr(decoding, "SMALL", replace(decoding.SMALL, bytes=1000))
    assert read_image(PATCH).width == 700
    assert asked == [decoding.LARGE.pixels]


def test_no_more_files_at_once_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    running, most, lock = 0, 0, threading.Lock()

    def counted(data: bytes, lane: decoding.Lane, who: str) -> Any:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1
        return {"refused": "damaged", "why": "is nothing."}, None

    monkeypatch.setattr(decoding, "_ask", counted)
    with ThreadPoolExecutor(12) as pool:
        waiting = [pool.submit(read_image, PATCH) for _ in range(24)]
    assert all(isinstance(one.exception(), UnreadableImage) for one in waiting)
    assert most == 4


def test_no_process_to_be_had_is_a_sentence(fresh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any, **__: Any) -> Any:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(subprocess, "Popen", none)
    with pytest.raises(TooLarge, match="more memory or processes"):
        read_image(PATCH)


@pytest.mark.slow
@pytest.mark.skipif(not decoding.CAN_FORK, reason="this system cannot fork")
def test_it_ends_with_the_one_that_it_serves() -> None:
    program = """
from dala.intake import decoding
from dala.intake.image import read_image
import sys
read_image(sys.stdin.buffer.read())
print(decoding._process.process.pid)
"""
    root = Path(decoding.__file__).resolve().parents[2]
    ran = subprocess.run([sys.executable, "-c", program], input=PATCH, stdout=subprocess.PIPE, cwd=root, check=True)
    process = int(ran.stdout)
    for _ in range(100):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("it is still there")
