"""Scans: what a click says, written down as it comes, the same to the byte however often they were interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dala.errors import SlideError
from dala.opinion import opinion_of
from dala.runtime.predict import Model, load_model
from dala.slides import rows as rows_module
from dala.slides.judge import BATCH, Judge
from dala.slides.reader import open_slide
from dala.slides.rows import LOCK, ROWS, STALE, Row, locked, read_rows
from dala.slides.scan import Scan
from tests.helpers import slides
from tests.helpers.forks import FORKS, scan_once
from tests.helpers.scans import Quick, quick_model, spread_slide, with_sha

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slides") / "spread.tiff"
    spread_slide(path)
    return path


@pytest.fixture(scope="module")
def model() -> Model:
    return quick_model()


@pytest.fixture(scope="module")
def whole(made: Path, model: Model, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The rows of a scan that nobody interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    with open_slide(made) as slide:
        scan = Scan(slide, model, folder)
        assert list(scan.run()) == scan.rows and scan.done
    return (folder / ROWS).read_bytes()


A_TRUE_ONE = pytest.mark.exhaustive(instead="slides/test_scan.py::test_a_scan_says_what_a_click_says")


@pytest.mark.slow
@pytest.mark.parametrize("true", [False, pytest.param(True, marks=A_TRUE_ONE)], ids=["drawn", "true"])
def test_a_scan_says_what_a_click_says(
    made: Path, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, true: bool
) -> None:
    """By the served weights, on a drawn and on a true slide: the answer, the probability, the gate, the laboratory."""
    batch = BATCH if true else 2
    monkeypatch.setattr("dala.slides.scan.BATCH", batch)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # more of them have more under way
    model = load_model("breast")
    path = request.getfixturevalue("shared_data") / "slides" / "CMU-1-Small-Region.svs" if true else made
    with open_slide(path) as slide:
        scan = Scan(slide, model, tmp_path / path.stem)
        for number, row in enumerate(scan.run(), start=1):
            opinion = opinion_of(slide.read_field(row.column, row.row), model)
            gate, verdict = opinion.gate, opinion.verdict
            assert row.state == ("outside" if gate.reason else verdict.answer or "not sure")
            assert row.laboratory == gate.laboratory and row.reason == (gate.reason and gate.reason.name)
            assert row.distance == pytest.approx(gate.score, abs=6e-4)
            if row.probability is not None:
                assert row.probability == pytest.approx(opinion.prediction.probabilities[1], abs=1e-4)
            if number == batch + 1:
                break


@pytest.mark.slow
def test_rows_are_those_of_the_plan(made: Path, whole: bytes) -> None:
    header, *rows = [json.loads(line) for line in whole.splitlines()]
    with open_slide(made) as slide:
        scan = Scan(slide, quick_model(), Path("unused"))
    assert header == scan.header and header["fields"] == len(rows) > 30
    assert [(row["column"], row["row"]) for row in rows] == [(one.column, one.row) for one in scan.plan.spots]
    assert all(tuple(row["box"]) == scan.plan.box(number) for number, row in enumerate(rows))
    assert slides.MARKER not in whole.decode() and "spread" not in whole.decode()


def test_the_table_of_values_is_the_network_s_input(made: Path, model: Model) -> None:
    from dala.preprocess.views import network_input

    with open_slide(made) as slide:
        seen = Judge(model).see(slide, Scan(slide, model, Path("unused")).plan.spots[0])
    assert seen is not None
    assert np.array_equal(seen.values, network_input(seen.views.for_network, None)[0].numpy())


@pytest.mark.slow
def test_stopped_and_gone_on_with_it_is_the_same_to_the_byte(
    made: Path, model: Model, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # more of them have more under way
    runs = 0
    while True:
        with open_slide(made) as slide:
            scan = Scan(slide, model, tmp_path)
            runs += 1
            for number, _ in enumerate(scan.run(), start=1):
                assert scan.seconds_left is not None
                if number == 1:  # more batches are under way
                    scan.stop()
            assert scan.anew is None
            if scan.done:
                break
    assert runs >= 3 and (tmp_path / ROWS).read_bytes() == whole
    assert not (tmp_path / LOCK).exists()


@pytest.mark.slow
@pytest.mark.parametrize(("streams", "threads"), [(1, 1), (2, 2), (8, 4), (1, 16)])
def test_many_at_once_are_the_same_to_the_byte(
    streams: int, threads: int, made: Path, model: Model, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network is never asked more at once than it has streams, and no batch comes before its turn."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    counting = Counting(Quick(streams=streams))
    with open_slide(made) as slide:
        for _ in Scan(slide, replace(model, engine=counting), tmp_path).run():
            pass
    assert (tmp_path / ROWS).read_bytes() == whole and 1 <= counting.most <= streams


class Counting:
    """An engine that counts how many ask it at once."""

    name = Quick.name

    def __init__(self, engine: Quick) -> None:
        self.engine, self.streams = engine, engine.streams
        self.now, self.most, self.lock = 0, 0, threading.Lock()

    def trunk(self, x: torch.Tensor) -> torch.Tensor:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        return self.engine.trunk(x)

    def tail(self, trunk: torch.Tensor) -> torch.Tensor:
        answer = self.engine.tail(trunk)
        with self.lock:
            self.now -= 1
        return answer


@pytest.mark.slow
@pytest.mark.parametrize("torn", [1, 37, 200, 1000, 3000])
def test_a_torn_file_is_gone_on_with(torn: int, made: Path, model: Model, whole: bytes, tmp_path: Path) -> None:
    (tmp_path / ROWS).write_bytes(whole[:-torn])
    found = read_rows(tmp_path)
    assert found is not None and len(found[1]) == whole[:-torn].count(b"\n") - 1
    with open_slide(made) as slide:
        for _ in Scan(slide, model, tmp_path).run():
            pass
    assert (tmp_path / ROWS).read_bytes() == whole


@pytest.mark.slow
def test_killed_at_any_moment_it_is_the_same_to_the_byte(made: Path, whole: bytes, tmp_path: Path) -> None:
    random, kills = np.random.default_rng(4711), 0
    size = len(whole)
    for _ in range(30):
        before = (tmp_path / ROWS).stat().st_size if (tmp_path / ROWS).exists() else 0
        process = FORKS.Process(target=scan_once, args=(made, tmp_path))
        process.start()
        enough = before + int(random.integers(1, size // 4))
        while process.is_alive():
            if kills < 3 and (tmp_path / ROWS).exists() and (tmp_path / ROWS).stat().st_size > enough:
                process.kill()
            time.sleep(0.002)
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        kills += 1
    assert kills >= 2 and (tmp_path / ROWS).read_bytes() == whole


@pytest.mark.slow
@pytest.mark.parametrize("what", ["weights", "scale"])
def test_other_weights_or_scale_start_anew_and_say_so(what: str, made: Path, model: Model, tmp_path: Path) -> None:
    with open_slide(made) as slide:
        first = Scan(slide, model, tmp_path)
        next(first.run())
    other = with_sha(model, "0" * 64) if what == "weights" else model
    with open_slide(made, 0.6 if what == "scale" else None) as slide:
        scan = Scan(slide, other, tmp_path)
        next(scan.run())
    assert scan.anew == {"weights": "other weights", "scale": "another pixel size"}[what]
    assert len(scan.rows) == BATCH


@pytest.mark.slow
def test_another_slide_is_not_written_over(made: Path, model: Model, whole: bytes, tmp_path: Path) -> None:
    slides.generic(tmp_path / "other.tiff", slides.pyramid(slides.drawn(1024, 1024, seed=1), 3))
    (tmp_path / ROWS).write_bytes(whole)
    with open_slide(tmp_path / "other.tiff") as slide, pytest.raises(SlideError) as error:
        next(Scan(slide, model, tmp_path).run())
    assert error.value.name == "other_slide" and (tmp_path / ROWS).read_bytes() == whole


@pytest.mark.slow
@pytest.mark.parametrize("how", ["appended to", "truncated", "replaced", "its folder renamed", "removed"])
def test_a_slide_that_changes_or_goes_under_a_scan_ends_it_and_is_gone_on_with_when_it_is_back(
    how: str, made: Path, model: Model, whole: bytes, tmp_path: Path
) -> None:
    folder, aside = tmp_path / "slides", tmp_path / "aside"
    folder.mkdir()
    path, data = folder / "made.tiff", made.read_bytes()
    path.write_bytes(data)
    with open_slide(path) as slide:
        scan = Scan(slide, model, tmp_path / "out")
        run = scan.run()
        next(run)
        if how == "appended to":
            with path.open("ab") as file:
                file.write(b"more")
        elif how == "truncated":
            os.truncate(path, len(data) // 3)
        elif how == "replaced":
            slides.generic(aside, slides.pyramid(slides.drawn(1024, 1024, seed=3), 3))
            aside.replace(path)
        elif how == "its folder renamed":
            folder.rename(aside)
        else:
            path.unlink()
        with pytest.raises(SlideError) as error:
            list(run)
    away = how in ("its folder renamed", "removed")
    assert error.value.name == ("absent" if away else "changed")
    assert ("is out of reach" if away else "was changed since it was opened") in str(error.value)
    rows = (tmp_path / "out" / ROWS).read_bytes()
    assert rows == whole[: len(rows)] and rows.count(b"\n") > BATCH, "what was read before is kept, and nothing since"
    assert b"unreadable" not in rows and not (tmp_path / "out" / LOCK).exists()
    if not away and how != "truncated":  # it can be opened, and is another slide
        with open_slide(path) as slide, pytest.raises(SlideError) as error:
            next(Scan(slide, model, tmp_path / "out").run())
        assert error.value.name == "other_slide" and (tmp_path / "out" / ROWS).read_bytes() == rows
    if how == "its folder renamed":
        aside.rename(folder)
    else:
        path.write_bytes(data)
    with open_slide(path) as slide:
        for _ in Scan(slide, model, tmp_path / "out").run():
            pass
    assert (tmp_path / "out" / ROWS).read_bytes() == whole


@pytest.mark.slow
def test_a_damaged_field_is_a_row(made: Path, model: Model, whole: bytes, tmp_path: Path) -> None:
    data, path = bytearray(made.read_bytes()), tmp_path / "hole.tiff"
    at = [at for at in range(len(data) - 3) if data[at : at + 3] == b"\xff\xd8\xff"][7 * 16 + 8]
    data[at : at + 2] = b"\0\0"
    path.write_bytes(data)
    with open_slide(path) as slide:
        rows = list(Scan(slide, model, tmp_path / "out").run())
    lost = [row for row in rows if row.state == "unreadable"]
    assert 1 <= len(lost) <= 9 and len(rows) == len(whole.splitlines()) - 1
    box = (8 * 256, 7 * 256, 9 * 256, 8 * 256)
    assert all(
        one.box[0] < box[2] and one.box[2] > box[0] and one.box[1] < box[3] and one.box[3] > box[1] for one in lost
    )
    assert all(one.probability is None for one in lost)


@pytest.mark.slow
def test_a_full_disk_is_a_sentence_and_keeps_the_rows(
    made: Path, model: Model, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    limit = len(whole) // 2
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    monkeypatch.setattr(rows_module, "errno", type("E", (), {"ENOSPC": 27, "EDQUOT": 122}))  # EFBIG stands for it here
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with open_slide(made) as slide, pytest.raises(SlideError) as error:
            list(Scan(slide, model, tmp_path).run())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert error.value.name == "disk_full"
    with open_slide(made) as slide:
        scan = Scan(slide, model, tmp_path)
        assert 0 < len(list(scan.run())) < len(scan.rows)
    assert (tmp_path / ROWS).read_bytes() == whole


# Locks


def test_two_do_not_scan_into_one_folder(made: Path, model: Model, tmp_path: Path) -> None:
    with open_slide(made) as slide, locked(tmp_path), pytest.raises(SlideError) as error:
        next(Scan(slide, model, tmp_path).run())
    assert error.value.name == "busy"
    with locked(tmp_path):
        pass
    assert not (tmp_path / LOCK).exists()


def test_the_lock_of_the_dead_is_broken(tmp_path: Path) -> None:
    """Of this host at once, even if its number lives again; of another after five minutes without a sign of life."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    here = os.uname().nodename
    for dead in (f"{here} {child.pid} 1234", f"{here} {os.getpid()} 1"):
        (tmp_path / LOCK).write_text(dead)
        with locked(tmp_path):
            pass
    for age, free in ((STALE - 30, False), (STALE + 30, True)):
        (tmp_path / LOCK).write_text("elsewhere 1 1")
        os.utime(tmp_path / LOCK, (time.time() - age,) * 2)
        try:
            with locked(tmp_path):
                assert free
        except SlideError as error:
            assert not free and error.name == "busy"


def test_weights_without_a_physical_scale_cannot_scan(made: Path, tmp_path: Path) -> None:
    with open_slide(made) as slide, pytest.raises(SlideError) as error:
        Scan(slide, load_model("breakhis"), tmp_path)
    assert error.value.name == "weights"


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    row = Row(1, 2, (490, 644, 980, 966), 0.5, "outside", None, "stain", 1.25, "BreakHis")
    header = {"schema": 1, "slide": "a", "fields": 1, "batch": 4}
    (tmp_path / ROWS).write_bytes(rows_module.line(header) + rows_module.line(row) + b'{"column":3')
    assert read_rows(tmp_path) == (header, [row])
    assert read_rows(tmp_path / "absent") is None
    (tmp_path / ROWS).write_bytes(b"This is a letter.\n")
    assert read_rows(tmp_path) is None
