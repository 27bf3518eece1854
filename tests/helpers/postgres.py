"""A throw-away cluster of PostgreSQL on a socket in a temporary folder, as user postgres where this one is root."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from dala.cases.database import Database

USER = "postgres"
# Nothing here has to survive a power cut.
SETTINGS = {"fsync": "off", "listen_addresses": "", "max_connections": "60", "full_page_writes": "off"}
ROOMY = 8 * 2**30  # bytes; a session's databases take a tenth


def programs() -> Path | None:
    """The folder of initdb and pg_ctl: Debian's newest, or that on the PATH; None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    named = shutil.which("initdb")
    return None if named is None else Path(named).resolve().parent


@dataclass(frozen=True)
class Cluster:
    """A cluster that runs; `database` makes an empty database, `with_tables` one of the newest schema."""

    folder: Path
    bin: Path

    def database(self, like: str = "template1") -> str:
        """The address of a new database, the copy of another one."""
        name = f"dala_{secrets.token_hex(6)}"
        engine = create_engine(self._url(USER), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {like}"))
        engine.dispose()
        return self._url(name)

    def with_tables(self) -> str:
        """The address of a copy of one that was migrated."""
        return self.database(self._migrated)

    @cached_property
    def _migrated(self) -> str:
        database = Database(self.database())
        database.prepare()
        database.close()
        return str(database.url.database)

    def _url(self, name: str) -> str:
        return f"postgresql+psycopg://{USER}@/{name}?host={self.folder}"

    def start(self) -> None:
        options = " ".join(f"-c {key}='{value}'" for key, value in SETTINGS.items())
        self._pg_ctl("start", "-o", f"-k {self.folder} {options}", "-l", str(self.folder / "log"))

    def stop(self) -> None:
        self._pg_ctl("stop", "-m", "immediate")

    def _pg_ctl(self, *words: str) -> None:
        as_postgres(self.bin / "pg_ctl", "-D", self.folder / "data", "-w", *words)


def newest() -> Path:
    """The folder of its programs; the test is skipped where there are none, but fails where CI is set."""
    found = programs()
    if found is None:
        message = "PostgreSQL is not installed (Debian: apt-get install postgresql)."
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(message)
    return found


def as_postgres(*words: str | Path) -> None:
    """Run a program of PostgreSQL, which refuses to be root."""
    user = {"user": USER, "group": USER, "extra_groups": []} if os.getuid() == 0 else {}
    subprocess.run(words, check=True, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **user)  # type: ignore[call-overload]


def _place() -> str:
    """In memory where that is roomy: a hundred databases have 40,000 files, which a disk takes ten seconds to delete.

    Both names are short, for the path of a socket has 107 characters at most.
    """
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free >= ROOMY else "/tmp"


@contextmanager
def cluster(bin_: Path) -> Iterator[Cluster]:
    """A new cluster, stopped and removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="dala-pg-", dir=_place()))
    if os.getuid() == 0:
        entry = pwd.getpwnam(USER)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
    found = Cluster(folder, bin_)
    try:
        as_postgres(bin_ / "initdb", "-D", folder / "data", "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync")
        found.start()
        try:
            yield found
        finally:
            found.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
