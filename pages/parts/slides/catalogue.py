"""The slides of the server's folder, looked for in a thread of their own: no page waits for a slow disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from dala.slides.folder import Listed, found_in

FRESH = 10.0  # seconds for which a list is taken as it is
PATIENCE = 1.0  # seconds that a page waits for a newer one
BETWEEN = 0.5  # seconds after which what was found so far is shown


@dataclass(frozen=True, eq=False)
class Found:
    """Slides by name in the folder's order; `whole`: all of them; `there`: whether the folder exists."""

    slides: Mapping[str, Path]
    whole: bool
    there: bool = True


class Catalogue:
    """The slides below one folder; any number of threads may ask. `search` as `dala.slides.folder.found_in`."""

    def __init__(self, folder: Path, search: Callable[[Path], Iterator[Listed]] = found_in) -> None:
        self._folder, self._search = folder, search
        self._lock = threading.Lock()
        self._found = Found({}, whole=False)
        self._looked = -FRESH
        self._thread: threading.Thread | None = None

    def look(self, patience: float = PATIENCE) -> Found:
        """What is there, by a search that began at most `FRESH` seconds ago if it ends within `patience` seconds; else
        by the one before, or, the first time, what has been found so far."""
        with self._lock:
            if self._thread is None and time.monotonic() - self._looked >= FRESH:
                self._looked = time.monotonic()
                self._thread = threading.Thread(target=self._run, name="dala-slides", daemon=True)
                self._thread.start()
            thread = self._thread
        if thread is not None:
            thread.join(patience)
        return self._found

    def _run(self) -> None:
        try:
            slides: dict[str, Path] = {}
            shown = time.monotonic()
            there = self._folder.is_dir()
            for one in self._search(self._folder):
                slides[one.name] = one.path
                if not self._found.whole and time.monotonic() - shown > BETWEEN:
                    self._found, shown = Found(dict(slides), whole=False), time.monotonic()
            self._found = Found(slides, whole=True, there=there)
        finally:
            with self._lock:
                self._thread = None


@st.cache_resource(max_entries=4, show_spinner=False)
def catalogue(folder: str) -> Catalogue:
    """That of a folder; the one of all sessions."""
    return Catalogue(Path(folder))
