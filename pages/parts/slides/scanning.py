"""Scans that a page starts: each in a process of its own, so that a slide that kills its reader costs that scan alone.

What a scan has found is in its folder, below that of `DALA_SCANS`; a page that comes back finds it there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from dala.errors import SlideError
from dala.intake.pixel_size import PixelSize
from dala.slides.folder import readable
from dala.slides.rows import Header, Row, read_rows

ROOT = Path(__file__).resolve().parents[3]
MOST = 2  # scans of this server at once; others wait for their turn by being refused


@dataclass(frozen=True)
class State:
    """How far a scan is: the rows that are there and their header, whether it runs, what it said when it failed."""

    found: tuple[Header, list[Row]] | None
    running: bool
    seconds_left: float | None
    failure: str | None


@dataclass
class _Process:
    process: subprocess.Popen[bytes]
    began: float
    before: int


def folder_of_scans() -> Path:
    """Where scans are kept: `DALA_SCANS`, or `runs/scans` in the working folder."""
    return Path(os.environ.get("DALA_SCANS") or "runs/scans")


class Scans:
    """The scans of this server; any number of threads may use it."""

    def __init__(self) -> None:
        self._processes: dict[Path, _Process] = {}
        self._lock = threading.Lock()

    def out_of(self, path: Path) -> Path:
        """The folder that the scan of a slide is written into, by a digest of its path."""
        return folder_of_scans().absolute() / hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]

    def folder(self, path: Path) -> Path:
        return self.out_of(path) / readable(path.name)

    def start(self, path: Path, um: PixelSize | None, *, anew: bool = False) -> None:
        """Scan, or go on, or `anew`, without what an earlier scan has found; nothing where it runs already. Raises
        SlideError: "busy" where too many are under way, "unwritable" where nothing can be kept."""
        with self._lock:
            running = [one for one in self._processes.values() if one.process.poll() is None]
            known = self._processes.get(path)
            if known is not None and known.process.poll() is None:
                return
            if len(running) >= MOST:
                raise SlideError("busy", f"{MOST} slides are being scanned already: wait until one of them is done.")
            out = self.out_of(path)
            told = ["--um", f"{um.columns:.6g}"] if um is not None and um.source == "user" else []
            command = [sys.executable, "-m", "dala", "scan", str(path), "--out", str(out), *told]
            try:
                if anew and self.folder(path).is_dir():
                    shutil.rmtree(self.folder(path))
                found = read_rows(self.folder(path))
                out.mkdir(parents=True, exist_ok=True)
                with (out / "log").open("wb") as log:
                    process = subprocess.Popen(
                        command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT, start_new_session=True
                    )
            except OSError as error:
                why = (error.strerror or type(error).__name__).lower()
                raise SlideError("unwritable", f"The server's folder of scans cannot be written to: {why}.") from error
            self._processes[path] = _Process(process, time.monotonic(), len(found[1]) if found else 0)

    def stop(self, path: Path) -> None:
        """End a scan; what it has found stays, and it can be gone on with."""
        with self._lock:
            known = self._processes.get(path)
        if known is not None and known.process.poll() is None:
            known.process.send_signal(signal.SIGINT)
            try:
                known.process.wait(5)
            except subprocess.TimeoutExpired:
                known.process.kill()

    def state(self, path: Path) -> State:
        """How far the scan of a slide is."""
        with self._lock:
            known = self._processes.get(path)
        status = None if known is None else known.process.poll()
        running = known is not None and status is None
        found = read_rows(self.folder(path))
        left = failure = None
        if known is not None and running and found is not None and len(found[1]) > known.before:
            each = (time.monotonic() - known.began) / (len(found[1]) - known.before)
            left = each * (found[0]["fields"] - len(found[1]))
        if known is not None and status not in (None, 0, -signal.SIGINT, 130):
            failure = self._said(path)
        return State(found, running, left, failure)

    def _said(self, path: Path) -> str:
        try:
            lines = (self.out_of(path) / "log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        except OSError:
            lines = []
        told = [line for line in lines if ": refused. " in line or ": killed. " in line]
        return told[-1].partition(". ")[2] if told else "The scan ended before it was done; it can be gone on with."
