"""Where the cases of this server are kept, by its environment; the database is opened when it is first asked for."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dala.cases.quota import GB, MOST, USUAL, Quota
from dala.errors import StoreError

if TYPE_CHECKING:
    from dala.cases.store import Store

DATABASE, FOLDER, DAYS, IMAGES = "DALA_DATABASE", "DALA_CASES_FOLDER", "DALA_CASES_DAYS", "DALA_CASES_IMAGES"
IMPORT_MB = "DALA_CASES_IMPORT_MB"
OFF = "off"
FILE, IMAGES_FOLDER = "cases.sqlite3", "images"
SWEEP_SECONDS, NEVER = 3600.0, float("-inf")

_lock = threading.Lock()
_open: dict[Settings, tuple[Store, float]] = {}


@dataclass(frozen=True)
class Settings:
    """Where and what is kept: the database's address, the folder of the images (and of SQLite's file), whether bytes of
    images are kept, for how many days cases live (None: for ever), how much one person may keep, and how large an
    archive may be that a page imports."""

    url: str
    folder: Path
    keeps_images: bool
    days: int | None
    quota: Quota = USUAL
    import_mb: int = 256


def settings(environment: Mapping[str, str] | None = None) -> Settings | None:
    """What the environment says; None where cases are switched off. StoreError for what makes no sense."""
    environment = os.environ if environment is None else environment
    named = environment.get(DATABASE, "").strip()
    if named.casefold() == OFF:
        return None
    folder = Path(environment.get(FOLDER) or _users_data(environment) / "cases").expanduser().absolute()
    return Settings(
        named or f"sqlite+pysqlite:///{folder / FILE}",
        folder / IMAGES_FOLDER,
        environment.get(IMAGES, "").strip().casefold() != OFF,
        _number(environment, DAYS, "days"),
        Quota(_number(environment, MOST, "cases", 10**9) or USUAL.cases, _number(environment, GB, "GB") or USUAL.gb),
        _number(environment, IMPORT_MB, "MB") or Settings.import_mb,
    )


def _users_data(environment: Mapping[str, str]) -> Path:
    """The folder for data of programs: XDG Base Directory Specification."""
    named = environment.get("XDG_DATA_HOME")
    try:
        return (Path(named) if named else Path.home() / ".local" / "share") / "dala"
    except RuntimeError as error:
        raise StoreError(f"There is no home folder to keep cases in; name one by {FOLDER}.") from error


def _number(environment: Mapping[str, str], name: str, of: str, most: int = 100_000) -> int | None:
    """A whole number of 1 to `most`, None where none is told; StoreError for anything else."""
    text = environment.get(name, "").strip()
    if not text:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 12 or not 1 <= int(text) <= most:
        raise StoreError(f"{name} is a whole number of {of} of at least 1, not {text[:20]!r}.")
    return int(text)


def store_from_environment(environment: Mapping[str, str] | None = None) -> Store | None:
    """The store that DALA_DATABASE, DALA_CASES_FOLDER, DALA_CASES_DAYS and DALA_CASES_IMAGES describe; None: off.

    One object for all threads of the process, opened once; what is older than it may be is removed every hour that
    somebody asks. Raises StoreError where it cannot be opened; a later call tries again.
    """
    wanted = settings(environment)
    if wanted is None:
        return None
    if wanted not in _open:
        opened = open_store(wanted)  # without the lock: a database that does not answer takes seconds to say so
        with _lock:
            if _open.setdefault(wanted, (opened, NEVER))[0] is not opened:
                opened.database.close()  # another thread was first
    with _lock:
        store, swept = _open[wanted]
        due = time.monotonic() - swept > SWEEP_SECONDS
        _open[wanted] = store, time.monotonic() if due else swept
    if due:
        from dala.cases.decks import Decks

        store.expire()
        Decks(store).expire()
    return store


def open_store(wanted: Settings) -> Store:
    """Open the store, making or updating its tables."""
    from dala.cases.database import Database
    from dala.cases.images import Images
    from dala.cases.store import Store

    database = Database(wanted.url)
    database.prepare()
    return Store(
        database, Images(wanted.folder), keeps_images=wanted.keeps_images, days=wanted.days, quota=wanted.quota
    )
