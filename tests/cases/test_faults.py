"""Killed, full, gone and back, several at once: every case is whole or absent, the log holds, errors are sentences."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from sqlalchemy import select, text

from dala.cases import audit
from dala.cases.kept import Query
from dala.cases.people import SERVER
from dala.cases.store import Store
from dala.cases.tables import CaseRow, ImageRow
from dala.errors import CaseError, NotFound, StoreError
from tests.helpers.cases import ANNA, BEN, case, image, open_at, sha256, sqlite_store
from tests.helpers.forks import FORKS, keep_many, sent
from tests.helpers.postgres import Cluster, cluster, newest

pytestmark = pytest.mark.slow
Open = Callable[[], Store]


def writer(url: str, images: Path, name: str, count: int) -> tuple[BaseProcess, Connection]:
    """A process of its own that keeps so many cases of two images, and where it sends the id of each that was kept."""
    told, end = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=keep_many, args=(url, images, name, count, end))
    process.start()
    end.close()
    return process, told


def whole(store: Store) -> list[str]:
    """The ids of all cases, each of which has both images; no bytes are there beside these, and the log is whole."""
    ids = store.ids(ANNA)
    held = set()
    for identity in ids:
        found = store.case(ANNA, identity)
        assert [one.name for one in found.images] == ["same", found.title]
        assert store.image(ANNA, identity, 1) == b"s" * 100_000
        assert store.image(ANNA, identity, 2) == found.title.encode() * 20_000
        held |= {one.sha256 for one in found.images}
    store.collect()
    assert set(store.images.names()) == held
    with store.database.read(SERVER) as session:
        log = list(audit.entries(session))
        assert audit.verify(log, audit.head_of(session)).problems == ()
    assert {entry.case_id for entry in log if entry.what == "kept"} == set(ids)
    return ids


MOMENTS = pytest.mark.exhaustive(
    instead="cases/test_faults.py::test_a_server_that_is_killed_leaves_whole_cases_and_a_whole_log"
)


@pytest.mark.parametrize("after", [7, pytest.param(1, marks=MOMENTS), pytest.param(23, marks=MOMENTS)])
def test_a_server_that_is_killed_leaves_whole_cases_and_a_whole_log(
    url: str, opened: Open, tmp_path: Path, after: int
) -> None:
    """kill -9 in the middle of fifty writes, three times on one store."""
    store, told = opened(), set[str]()
    for number in range(3):
        process, found = writer(url, tmp_path / "cases" / "images", f"{number}", 50)
        lines = [found.recv() for _ in range(after + 1)]
        time.sleep(0.003 * number)
        process.kill()
        process.join()
        assert lines[0] == "ready" and process.exitcode == -signal.SIGKILL
        told |= {*lines[1:], *sent(found)}
    ids = whole(store)
    assert told <= set(ids) and len(told) < 150, "what was said to be kept is there"


MORE_CASES = pytest.mark.exhaustive(instead="cases/test_faults.py::test_two_servers_on_one_database_write_one_log")


@pytest.mark.parametrize("each", [10, pytest.param(25, marks=MORE_CASES)])
def test_two_servers_on_one_database_write_one_log(url: str, opened: Open, tmp_path: Path, each: int) -> None:
    store = opened()
    running = [writer(url, tmp_path / "cases" / "images", f"{number}", each) for number in range(2)]
    told = [sent(found)[1:] for _, found in running]
    for process, _ in running:
        process.join()
    assert [process.exitcode for process, _ in running] == [0, 0]
    ids = whole(store)
    assert sorted(ids) == sorted(identity for one in told for identity in one) and len(ids) == 2 * each


MORE_ROUNDS = pytest.mark.exhaustive(
    instead="cases/test_faults.py::test_the_same_image_is_kept_and_deleted_by_eight_at_once"
)


@pytest.mark.parametrize("rounds", [5, pytest.param(12, marks=MORE_ROUNDS)])
def test_the_same_image_is_kept_and_deleted_by_eight_at_once(opened: Open, rounds: int) -> None:
    """Whoever has kept it has it, whoever deletes another case with it meanwhile."""
    store, failures = opened(), list[Exception]()

    def work() -> None:
        try:
            for _ in range(rounds):
                identity = store.keep(ANNA, case(image("same")))
                assert store.image(ANNA, identity, 1) == b"bytes of same"
                store.delete(ANNA, identity)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.collect()
    assert failures == [] and list(store.images.names()) == [] and store.search(ANNA).total == 0


def test_two_deletes_of_one_case_are_one(opened: Open) -> None:
    store = opened()
    for _ in range(5):
        identity = store.keep(ANNA, case())
        outcomes: list[str] = []

        def work(identity: str = identity, outcomes: list[str] = outcomes) -> None:
            try:
                store.delete(ANNA, identity)
                outcomes.append("deleted")
            except NotFound:
                outcomes.append("absent")

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["absent", "absent", "absent", "deleted"]
    with store.database.read(SERVER) as session:
        assert [entry.what for entry in audit.entries(session)] == ["kept", "deleted"] * 5


# A full disk


def sha256_of(store: Store, identity: str) -> str:
    with store.database.read(SERVER) as session:
        return str(session.scalar(select(ImageRow.sha256).where(ImageRow.case_id == identity)))


def test_a_full_folder_of_images_is_a_sentence_and_nothing_is_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = store.keep(ANNA, case(image("before")))

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="no space left on device; nothing was kept"):
        store.keep(ANNA, case(image("new")))
    monkeypatch.undo()
    assert store.ids(ANNA) == [identity] and list(store.images.names()) == [sha256(b"bytes of before")]
    assert not [path for path in store.images.folder.rglob("*.partial")]
    store.keep(ANNA, case(image("new")))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = os.getuid() == 0 and shutil.which("mount") is not None
    if not mounted or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", place]).returncode:
        pytest.skip("A small disk can be mounted by root only.")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def test_a_full_disk_is_a_sentence_and_what_was_kept_stays(small_disk: Path) -> None:
    store = sqlite_store(small_disk)
    ids = [store.keep(ANNA, case(image("first"), title="first"))]
    with pytest.raises(StoreError) as refused:
        for number in range(200):
            ids.append(store.keep(ANNA, case(image(f"{number}", os.urandom(40_000)), comment="x" * 4000)))
    assert "nothing was" in str(refused.value) and len(ids) > 5
    assert sorted(store.ids(ANNA)) == sorted(ids)
    with store.database.read(SERVER) as session:
        assert audit.verify(audit.entries(session), audit.head_of(session)).problems == ()
    for _ in range(30):  # a page in need of the disk, such as the log of who saw what, fails in a sentence, too
        with suppress(StoreError, NotFound):
            store.case(BEN, ids[0])
    for row in store.search(ANNA, limit=20).rows:  # room again
        store.images.path(sha256_of(store, row.id)).unlink()
    for row in store.search(ANNA, limit=3).rows:
        store.delete(ANNA, row.id)
    assert store.case(ANNA, store.keep(ANNA, case(image("last")))).title == ""
    store.database.close()


# A database that goes and comes back


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[Cluster]:
    """One that may be stopped: whoever stops it starts it again."""
    with cluster(newest()) as running:
        yield running


def test_a_database_that_is_gone_is_a_sentence_until_it_is_back(own_cluster: Cluster, tmp_path: Path) -> None:
    store = open_at(own_cluster.database(), tmp_path)
    identity = store.keep(ANNA, case(image("before")))
    own_cluster.stop()
    for act in (
        lambda: store.keep(ANNA, case(image("meanwhile"))),
        lambda: store.case(ANNA, identity),
        lambda: store.search(ANNA),
        lambda: store.change(ANNA, identity, title="new"),
        lambda: store.delete(ANNA, identity),
    ):
        with pytest.raises(StoreError, match="does not answer"):
            act()
    own_cluster.start()
    assert store.case(ANNA, identity).title == "" and store.image(ANNA, identity, 1) == b"bytes of before"
    store.keep(ANNA, case(image("after")))
    store.collect()
    assert set(store.images.names()) == {sha256(b"bytes of before"), sha256(b"bytes of after")}
    store.database.close()


def test_a_database_that_stops_while_eight_keep_has_what_it_said(own_cluster: Cluster, tmp_path: Path) -> None:
    store = open_at(own_cluster.database(), tmp_path)
    kept, refused = list[str](), list[StoreError]()
    started, over = threading.Barrier(9), threading.Event()

    def work(worker: int) -> None:
        started.wait()
        number = 0
        while not over.is_set():
            number += 1
            name = f"{worker} {number}"
            try:
                images = [image("same", b"s" * 100_000), image(name, name.encode() * 20_000)]
                kept.append(store.keep(ANNA, case(*images, title=name)))
            except StoreError as error:
                refused.append(error)
                time.sleep(0.02)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    started.wait()
    while len(kept) < 8:
        time.sleep(0.01)
    own_cluster.stop()
    time.sleep(0.2)
    own_cluster.start()
    back = len(kept)
    while len(kept) < back + 8:
        time.sleep(0.05)
    over.set()
    for thread in threads:
        thread.join()
    assert refused and set(kept) <= set(whole(store))
    store.database.close()


def test_a_sqlite_file_that_is_damaged_is_a_sentence(tmp_path: Path) -> None:
    store = sqlite_store(tmp_path)
    for number in range(20):
        store.keep(ANNA, case(title=f"{number}", comment="x" * 3000))
    store.database.close()
    path = tmp_path / "cases.sqlite3"
    content = bytearray(path.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(StoreError):
        sqlite_store(tmp_path).search(ANNA)
    path.write_bytes(b"a letter" * 1000)
    with pytest.raises(StoreError, match="damaged"):
        sqlite_store(tmp_path)


def test_a_reader_never_waits_for_a_writer(opened: Open) -> None:
    store = opened()
    identity = store.keep(ANNA, case(title="old"))
    store.case(ANNA, identity)
    with store.database.write(ANNA) as session:
        session.get_one(CaseRow, identity).title = "new"
        session.flush()
        began = time.perf_counter()
        assert store.case(ANNA, identity).title == "old" and store.search(ANNA, Query("old")).total == 1
        assert time.perf_counter() - began < 2
    assert store.case(ANNA, identity).title == "new"


def test_a_store_that_others_hold_locked_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dala.cases.database.BUSY_SECONDS", 0.2)
    one, other = sqlite_store(tmp_path), sqlite_store(tmp_path)
    with one.database.write(ANNA) as session:
        session.execute(text("SELECT 1"))
        with pytest.raises(StoreError, match="busy"):
            other.keep(ANNA, case())
    other.keep(ANNA, case())
    assert len(list(other.images.names())) == 1


def test_an_error_within_a_change_undoes_all_of_it(opened: Open) -> None:
    store = opened()
    identity = store.keep(ANNA, case(title="old"))
    with pytest.raises(CaseError):
        store.change(ANNA, identity, title="new", diagnosis="other")
    assert store.case(ANNA, identity).title == "old"
