"""What the environment says of the store, and that it is opened once, when it is asked for."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dala.cases import opening
from dala.cases.opening import Settings, settings, store_from_environment
from dala.errors import StoreError
from tests.helpers.cases import ANNA, case
from tests.helpers.forks import FORKS, count_cases, sent

ROOT = Path(__file__).resolve().parents[2]


def test_the_usual_place_is_the_users_folder_of_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    own = tmp_path / ".local" / "share" / "dala" / "cases"
    assert settings({}) == Settings(f"sqlite+pysqlite:///{own}/cases.sqlite3", own / "images", True, None)
    assert settings({"XDG_DATA_HOME": "/x"}).folder == Path("/x/dala/cases/images")  # type: ignore[union-attr]
    assert settings({"DALA_CASES_FOLDER": "~/c"}).folder == tmp_path / "c" / "images"  # type: ignore[union-attr]


def test_what_can_be_said() -> None:
    assert settings({"DALA_DATABASE": "OFF"}) is None and store_from_environment({"DALA_DATABASE": "off"}) is None
    said = {
        "DALA_DATABASE": "postgresql+psycopg://a:b@c/d",
        "DALA_CASES_FOLDER": "/f",
        "DALA_CASES_DAYS": "365",
        "DALA_CASES_IMAGES": "off",
    }
    assert settings(said) == Settings("postgresql+psycopg://a:b@c/d", Path("/f/images"), False, 365)


@pytest.mark.parametrize("days", ["0", "-3", "1.5", "soon", "²", "1" * 9])
def test_days_that_are_none_are_refused(days: str) -> None:
    with pytest.raises(StoreError, match="DALA_CASES_DAYS"):
        settings({"DALA_CASES_DAYS": days})


@pytest.mark.parametrize(
    "url", ["mysql://u:secret@h/d", "postgres", "sqlite://", "sqlite:///:memory:", "://secret", "x y"]
)
def test_a_database_of_another_kind_is_refused_without_its_password(url: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError) as refused:
        store_from_environment({"DALA_DATABASE": url, "DALA_CASES_FOLDER": str(tmp_path)})
    assert "secret" not in str(refused.value)


def test_one_store_serves_all_threads_and_is_private(tmp_path: Path) -> None:
    said = {"DALA_CASES_FOLDER": str(tmp_path / "cases")}
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(store_from_environment(said))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len({id(one) for one in found}) == 1
    store = store_from_environment(said)
    assert store is not None
    store.keep(ANNA, case())
    for path in (tmp_path / "cases").rglob("*"):
        if path.name != ".lock":
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_what_is_too_old_goes_when_the_store_is_opened(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    said = {"DALA_CASES_FOLDER": str(tmp_path)}
    store = store_from_environment(said)
    assert store is not None
    old = datetime(2020, 1, 1, tzinfo=UTC)
    store.insert(ANNA, "o" * 22, case(), "kept", reader=("", ""), created=old)
    new = store.keep(ANNA, case())
    again = store_from_environment({**said, "DALA_CASES_DAYS": "100"})
    assert again is not None and again.ids(ANNA) == [new]


def test_a_folder_that_cannot_be_written_is_a_sentence_and_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        store_from_environment({"DALA_CASES_FOLDER": str(tmp_path / "file")})
    (tmp_path / "file").unlink()
    assert store_from_environment({"DALA_CASES_FOLDER": str(tmp_path / "file")}) is not None


def test_no_home_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(opening.Path, "home", homeless)
    with pytest.raises(StoreError, match="DALA_CASES_FOLDER"):
        settings({})


@pytest.mark.slow
def test_eight_servers_that_start_at_once_make_one_schema(tmp_path: Path) -> None:
    """Processes, for threads of one share a lock."""
    environment = {"DALA_DATABASE": "", "DALA_CASES_FOLDER": str(tmp_path / "new")}
    running = []
    for _ in range(8):
        told, end = FORKS.Pipe(duplex=False)
        running.append((FORKS.Process(target=count_cases, args=(environment, end)), told))
        running[-1][0].start()
        end.close()
    assert [sent(told) for _, told in running] == [[0]] * 8
    for process, _ in running:
        process.join()
    assert [process.exitcode for process, _ in running] == [0] * 8


def test_the_database_is_not_loaded_before_it_is_asked_for() -> None:
    program = "import sys, dala, dala.cases.opening, dala.cases.kept, dala.cases.people; dala.cases.opening.settings();"
    program += "print([name for name in ('sqlalchemy', 'alembic', 'psycopg', 'torch', 'numpy') if name in sys.modules])"
    said = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == "[]\n"
