"""Bytes of a file to a Patch by a process that can be stopped, with memory, time and files at once bounded.

One process (`dala.decoders.process`) holds the decoders ready and forks a child for each file. Files are first read
with the bounds of a field of view; what turns out to be larger is read again with larger ones, with less priority and
fewer at once, so that no file delays those of others for long.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dala import decoders
from dala.decoders.refusal import MAXIMUM_PIXELS
from dala.errors import EmptyFile, IntakeError, TooLarge, TooSmall, UnreadableImage, UnsupportedFormat
from dala.intake.patch import Patch
from dala.intake.pixel_size import FILE, PixelSize

PROCESS = Path(decoders.__file__).with_name("process.py")
REFUSALS: dict[str, type[IntakeError]] = {
    "empty": EmptyFile,
    "large": TooLarge,
    "small": TooSmall,
    "unsupported": UnsupportedFormat,
    "damaged": UnreadableImage,
}
CAN_FORK = hasattr(os, "fork") and hasattr(socket, "send_fds")
# One thread: each would claim address space.
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Lane:
    """Bounds of one file: of pixels, of its bytes, of address space, of seconds of processor; and how many at once.

    `patience`: seconds until it is given up whatever it does, for the processor may be busy with something else.
    """

    pixels: int
    bytes: int
    megabytes: int
    seconds: int
    patience: float
    slots: threading.Semaphore
    nice: bool


SMALL = Lane(6_000_000, 32 * 2**20, 768, 4, 40, threading.Semaphore(4), False)
# 48 megapixels of WebP with alpha, of JPEG 2000 and of 16-bit RGBA were decoded with 1280.
LARGE = Lane(MAXIMUM_PIXELS, 2**40, 1408, 30, 180, threading.Semaphore(2), True)


def decoded(data: bytes, name: str, who: str) -> Patch:
    """Raises IntakeError, one of its kinds, with a sentence on `who` the file is."""
    told: dict[str, Any] = {"large": True}
    pixels: NDArray[np.uint8] | None = None
    for lane in (SMALL, LARGE):
        if "large" in told and len(data) <= lane.bytes:
            with lane.slots:
                told, pixels = _ask(data, lane, who)
    if "refused" in told:
        raise REFUSALS[told["refused"]](f"{who} {told['why']}")
    if pixels is None:
        raise TooLarge(f"{who} needs more memory than one image may take.")
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., np.newaxis], 3, axis=2)
    size = told["pixel_size"]
    return Patch(
        pixels,
        sha256(data).hexdigest(),
        name,
        told["kind"],
        tuple(told["notes"]),
        None if size is None else PixelSize(size[0], size[1], FILE, size[2]),
        told["stated"],
        told["turned"],
    )


def _ask(data: bytes, lane: Lane, who: str) -> tuple[dict[str, Any], NDArray[np.uint8] | None]:
    """The answer of a process for this file, and the pixels that follow it."""
    asked = {
        "bytes": len(data),
        "megabytes": lane.megabytes,
        "seconds": lane.seconds,
        "at_once": lane.pixels,
        "nice": lane.nice,
    }
    head = json.dumps(asked).encode() + b"\n"
    start = time.monotonic()
    try:
        if not CAN_FORK:
            return _alone(head + data, lane)
        with _connection(who) as connection:
            connection.settimeout(lane.patience)
            connection.sendall(head)
            connection.sendall(data)
            with connection.makefile("rb") as coming:
                told = json.loads(coming.readline(2**20))
                return told, _pixels(told, coming)
    except IntakeError:
        raise
    except MemoryError as failure:
        raise TooLarge(f"{who} needs more memory than is available.") from failure
    except (TimeoutError, subprocess.TimeoutExpired):
        _process.drop()
        raise UnreadableImage(f"{who} takes too long to decode.") from None
    except (ValueError, OSError):  # its process has ended without an answer
        if time.monotonic() - start >= lane.seconds - 1:
            raise UnreadableImage(f"{who} takes too long to decode.") from None
        raise UnreadableImage(f"{who} is damaged: the decoder gave up.") from None


def _pixels(told: dict[str, Any], coming: Any) -> NDArray[np.uint8] | None:
    if "shape" not in told:
        return None
    pixels = np.empty(tuple(told["shape"]), np.uint8)
    view = pixels.data.cast("B")
    got = 0
    while got < len(view):
        count = coming.readinto(view[got:])
        if not count:
            raise OSError("the answer is incomplete")
        got += count
    return pixels


def _alone(request: bytes, lane: Lane) -> tuple[dict[str, Any], NDArray[np.uint8] | None]:
    """For systems that cannot fork: a process for this file alone."""
    run = subprocess.run(
        [sys.executable, "-I", str(PROCESS)],
        input=request,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=lane.patience,
        env=os.environ | ENVIRONMENT,
        check=False,
    )
    head, _, pixels = run.stdout.partition(b"\n")
    told = json.loads(head)
    if "shape" not in told:
        return told, None
    return told, np.frombuffer(bytearray(pixels), np.uint8).reshape(told["shape"])


class _Process:
    """The running process; a new one is started where there is none, it has ended, or this one is a fork's child."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.control: socket.socket | None = None
        self.owner = 0
        self.process: subprocess.Popen[bytes] | None = None

    def hand_over(self, connection: socket.socket) -> None:
        """Give it one end of a connection. Raises OSError where no process can be started."""
        with self.lock:
            for attempt in range(2):
                control = self.running()
                try:
                    socket.send_fds(control, [b"f"], [connection.fileno()])
                    return
                except OSError:
                    self.control = None
                    control.close()
                    if attempt:
                        raise

    def drop(self) -> None:
        """Let another one be started for the next file; the children of this one go on with theirs."""
        with self.lock:
            if self.control is not None and self.process is not None:
                self.control.close()
                self.process.kill()
            self.control = None

    def running(self) -> socket.socket:
        """The connection to it. To be called with the lock held."""
        if self.control is None or self.owner != os.getpid():
            self.control, self.owner = self._start(), os.getpid()
        return self.control

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-I", str(PROCESS), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=os.environ | ENVIRONMENT,
            )
        return ours


_process = _Process()


def _connection(who: str) -> socket.socket:
    try:
        ours, theirs = socket.socketpair()
        with theirs:
            _process.hand_over(theirs)
        return ours
    except OSError as failure:
        raise TooLarge(f"{who} needs more memory or processes than are available.") from failure


def warm() -> None:
    """Start the process that holds the decoders ready, so that the first image does not wait for it."""
    if CAN_FORK:
        with _process.lock:
            _process.running()
