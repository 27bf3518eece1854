"""Decodes files in processes of their own: `python -I process.py SOCKET`, as `dala.intake.decoding` starts it.

What a damaged or ill-meant file does to a decoder, a parser or to memory ends with the process that reads it, whose
memory and time are bounded, and not with the one that serves everybody. This one imports the decoders once; for every
file it forks a child, which answers and ends, so that nothing of one file is there when the next one is read.

For each file a socket is handed over. It brings a line of JSON (`bytes`, `megabytes`, `seconds`, `at_once`) and the
file, and takes a line of JSON and, unless that says `refused` or `large`, the pixels. Without SOCKET one file is read
from standard input and answered on standard output, for systems that cannot fork.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
from pathlib import Path
from typing import IO, Any

if __name__ == "__main__":  # -I: nothing of the surroundings decides what is imported
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from dala.decoders.image import decode
from dala.decoders.refusal import Bounds, Large, Refused

IDLE = 0.05  # seconds without a file, after which the slower decoders are imported
NICE = 10
SLOW = (
    *("pydicom.encaps", "pydicom.pixels.decoders.base", "tifffile"),
    *(f"imagecodecs._{codec}" for codec in ("jpeg8", "jpegls", "jpeg2k", "png", "webp", "imcd", "shared")),
)


def answer(data: bytes, bounds: Bounds) -> tuple[dict[str, Any], memoryview | bytes]:
    """The line of JSON and the pixels. Raises nothing for whatever bytes."""
    try:
        kind, decoded = decode(data, bounds)
    except Refused as refusal:
        return {"refused": refusal.kind, "why": refusal.why}, b""
    except Large:
        return {"large": True}, b""
    except MemoryError:
        if bounds.at_once < bounds.most:
            return {"large": True}, b""
        return {"refused": "large", "why": "needs more memory than one image may take."}, b""
    told = {
        "kind": kind,
        "shape": decoded.pixels.shape,
        "notes": decoded.notes,
        "pixel_size": decoded.pixel_size,
        "stated": decoded.stated,
        "turned": decoded.turned,
    }
    return told, np.ascontiguousarray(decoded.pixels).data.cast("B")


def bound(megabytes: int, seconds: int) -> None:
    """Address space and processor time of this process from now on; past the time the kernel ends it."""
    with contextlib.suppress(ImportError):  # not on Windows, where the one who waits ends it in time
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (megabytes * 2**20, megabytes * 2**20))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def serve(control: socket.socket) -> None:
    """Fork a child for every socket that comes, until the other side is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: meant for the one who is served
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children
    warm = False
    while True:
        if not warm and not select.select([control], [], [], IDLE)[0]:
            _warm()
            warm = True
        message, sockets, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            return
        if os.fork() == 0:
            control.close()
            with contextlib.suppress(BaseException):
                _converse(socket.socket(fileno=sockets[0]))
            os._exit(0)
        for one in sockets:
            os.close(one)


def _warm() -> None:
    """What takes a while to import and is not needed for the first images."""
    for module in SLOW:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # so that a child's collector does not copy what all of them share


def _converse(connection: socket.socket) -> None:
    with connection, connection.makefile("rb") as coming:
        told, pixels = _heard(coming)
        connection.sendall(json.dumps(told).encode() + b"\n")
        connection.sendall(pixels)


def _heard(coming: IO[bytes]) -> tuple[dict[str, Any], memoryview | bytes]:
    asked = json.loads(coming.readline(1000))
    if asked["nice"] and hasattr(os, "nice"):
        os.nice(NICE)
    bound(asked["megabytes"], asked["seconds"])
    data = coming.read(asked["bytes"])
    if len(data) < asked["bytes"]:
        raise EOFError
    return answer(data, Bounds(at_once=asked["at_once"]))


def main(arguments: list[str]) -> None:
    if arguments:
        serve(socket.socket(fileno=int(arguments[0])))
        return
    told, pixels = _heard(sys.stdin.buffer)
    sys.stdout.buffer.write(json.dumps(told).encode() + b"\n")
    sys.stdout.buffer.write(pixels)


if __name__ == "__main__":
    main(sys.argv[1:])
