"""Many slides: bad ones are rows, dead workers are replaced, and what kills three is left out and named."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from dala.errors import DalaError
from dala.slides.many import COLUMNS, Outcome, Task, in_processes, killed, on_cluster, scan_slide, table
from dala.slides.rows import LOCK, ROWS
from tests.helpers import slides
from tests.helpers.forks import FORKS
from tests.helpers.scans import Deadly

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def found_by_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("slides")
    slides.aperio(root / "good.svs", slides.pyramid(slides.drawn(640, 640), 3))
    slides.generic(root / "untold.tiff", slides.pyramid(slides.drawn(640, 640), 3), None)
    slides.generic(root / "glass.tiff", slides.pyramid(np.full((300, 300, 3), 243, np.uint8), 2))
    (root / "broken.svs").write_bytes((root / "good.svs").read_bytes()[:1000])
    return root


def tasks(folder: Path, out: Path, *names: str) -> list[Task]:
    return [Task(name, folder / name, out / name, threads=1) for name in names]


def deadly(out: Path) -> Task:
    """It ends every process that opens it, before a network is loaded there, which takes seconds."""
    return Task("deadly.svs", Deadly(), out / "deadly", report_only=True)  # type: ignore[arg-type]


def test_every_slide_is_an_outcome(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In two processes; one slide is deadly, and so often a process dies of it."""
    monkeypatch.setattr("dala.slides.many.multiprocessing.get_context", lambda kind: FORKS)  # they start at once
    names = ("good.svs", "untold.tiff", "glass.tiff", "broken.svs")
    all_of_them = [deadly(tmp_path), *tasks(folder, tmp_path, *names)]
    found = {one.name: one for one in in_processes(all_of_them, 2)}
    assert {name: one.reason or one.status for name, one in found.items()} == {
        "good.svs": "scanned",
        "untold.tiff": "no_pixel_size",
        "glass.tiff": "no_tissue",
        "broken.svs": found["broken.svs"].reason,
        "deadly.svs": "killed",
    }
    assert found["broken.svs"].reason in ("damaged", "not_a_slide")
    assert "3 times" in found["deadly.svs"].sentence
    assert json.loads((tmp_path / "good.svs" / "scan.json").read_text())["complete"] is True
    rows = list(csv.DictReader(io.StringIO(table(list(found.values())), newline="")))
    assert [row["slide"] for row in rows] == sorted(found) and tuple(rows[0]) == COLUMNS
    good = next(row for row in rows if row["slide"] == "good.svs")
    assert int(good["fields"]) == sum(
        int(good[key]) for key in ("malignant", "benign", "not_sure", "outside", "unreadable")
    )
    assert slides.MARKER not in table(list(found.values()))


def test_a_killed_worker_s_slide_is_gone_on_with(folder: Path, tmp_path: Path) -> None:
    (task,) = tasks(folder, tmp_path, "good.svs")
    killed_at = []

    def kill_once() -> None:
        lock, deadline = tmp_path / "good.svs" / LOCK, time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                process = int(lock.read_text().split()[1])
            except (OSError, IndexError, ValueError):
                time.sleep(0.001)
                continue
            os.kill(process, signal.SIGKILL)
            killed_at.append(process)
            return

    killer = threading.Thread(target=kill_once)
    killer.start()
    (outcome,) = in_processes([task], 1)
    killer.join()
    assert killed_at and outcome.status == "scanned"
    before = (task.folder / ROWS).read_bytes()
    assert len(before.splitlines()) == outcome.facts["fields"] + 1


def test_a_finished_slide_is_not_written_again_and_reports_are_if_asked(folder: Path, tmp_path: Path) -> None:
    (task,) = tasks(folder, tmp_path, "good.svs")
    first = scan_slide(task)
    stamps = {path.name: path.stat().st_mtime_ns for path in task.folder.iterdir()}
    again = scan_slide(task)
    assert again == first
    assert {path.name: path.stat().st_mtime_ns for path in task.folder.iterdir()} == stamps
    (task.folder / "map.png").unlink()
    assert scan_slide(task) == first and (task.folder / "map.png").exists()
    written = scan_slide(Task(task.name, task.path, task.folder, report_only=True))
    assert written.status == "written" and written.facts == {**first.facts}
    assert (task.folder / "map.png").stat().st_mtime_ns > stamps["map.png"]
    nothing = scan_slide(Task(task.name, task.path, tmp_path / "none", report_only=True))
    assert nothing.reason == "no_rows"


def test_the_table_cannot_hold_a_formula() -> None:
    told = table([Outcome("=cmd.svs", "refused", "damaged", "It is damaged.")])
    assert "'=cmd.svs,refused,damaged,It is damaged." in told


def test_a_cluster_loses_workers_and_no_slides(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed")
    for module in ("process", "nanny"):
        monkeypatch.setattr(f"distributed.{module}.get_mp_context", lambda: FORKS)  # workers start at once
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, scheduler_port=0
    ) as cluster:
        all_of_them = [*tasks(folder, tmp_path, "good.svs", "broken.svs"), deadly(tmp_path)]
        found = {one.name: one for one in on_cluster(all_of_them, cluster.scheduler_address)}
    assert found["good.svs"].status == "scanned" and found["broken.svs"].status == "refused"
    assert found["deadly.svs"] == killed(all_of_them[-1])
    assert (tmp_path / "good.svs" / "scan.json").exists()


def test_no_scheduler_is_a_sentence(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    with pytest.raises(DalaError, match="scheduler"):
        next(on_cluster(tasks(folder, tmp_path, "good.svs"), "tcp://127.0.0.1:9", patience=1))
