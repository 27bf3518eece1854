"""A process that has imported and drawn what the app does at first, and forks a server of it on request, in no time."""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Forked:
    """A server that the nursery has made, with what is used of `subprocess.Popen`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.handle = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """None while it runs; how it ended is not known here."""
        return 0 if self._ended(0) else None

    def wait(self, timeout: float = 60) -> None:
        if not self._ended(timeout):
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _ended(self, timeout: float) -> bool:
        return bool(select.select([self.handle], [], [], timeout)[0])

    def _send(self, which: int) -> None:
        if not self._ended(0):
            signal.pidfd_send_signal(self.handle, which)


def forked(command: Sequence[str], folder: Path, environment: Mapping[str, str], output: Path, warm: bool) -> Forked:
    """`python -m streamlit COMMAND...` in that folder with that environment alone; what it prints goes to the file.

    warm: it makes what the first page shows before anybody asks, as everywhere else.
    """
    mother = _mother()
    assert mother.stdin is not None and mother.stdout is not None
    told = {
        "command": list(command),
        "folder": str(folder),
        "environment": dict(environment),
        "output": str(output),
        "warm": warm,
    }
    mother.stdin.write(json.dumps(told) + "\n")
    mother.stdin.flush()
    return Forked(int(mother.stdout.readline()))


@cache
def _mother() -> subprocess.Popen[str]:
    """One for the whole session; it ends when its standard input does."""
    # As the app is served elsewhere: with all cores, whatever this process may use.
    usual = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    mother = subprocess.Popen(
        [sys.executable, "-m", "tests.helpers.nursery"],
        cwd=ROOT, env=usual, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    atexit.register(mother.kill)
    return mother


def _serve() -> None:
    import cv2
    import streamlit.web.bootstrap
    import streamlit.web.cli
    import torch  # noqa: F401

    import dala.api.routes
    import dala.cases.opening
    import dala.opinion  # noqa: F401
    from dala.phantoms.tissue import PHANTOMS, draw
    from dala.runtime.engines import import_openvino

    import_openvino()
    cv2.setNumThreads(0)  # a fork has no threads, and must not believe that it has
    for name in PHANTOMS:
        draw(name)  # what the first page shows; `draw` remembers these
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a child
    while line := sys.stdin.readline():
        if child := os.fork():
            print(child, flush=True)
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        cv2.setNumThreads(-1)
        told = json.loads(line)
        os.chdir(told["folder"])
        os.environ.clear()
        os.environ.update(told["environment"])
        output = os.open(told["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        for number, handle in enumerate((os.open(os.devnull, os.O_RDONLY), output, output)):
            os.dup2(handle, number)
        sys.path[0] = told["folder"]
        if told["folder"] != str(ROOT):  # the app of another folder: nothing of this one's
            for name in [name for name in sys.modules if name.partition(".")[0] == "dala"]:
                del sys.modules[name]
        if not told["warm"]:
            import pages.parts.warm

            vars(pages.parts.warm)["_first_page"] = lambda: iter(())
        sys.argv = ["streamlit", *told["command"]]
        streamlit.web.cli.main(prog_name="streamlit")
        return


if __name__ == "__main__":
    _serve()
