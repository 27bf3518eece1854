"""Batches: the records of the main job, in order, and how few images are held."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import time
import weakref
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dala import batch
from dala.batch import Result, Run, analyse
from dala.errors import IntakeError
from dala.explanation.render import encode_png
from dala.export.overlays import overlays
from dala.export.records import prediction_record
from dala.intake.archive import Item, Upload, members
from dala.opinion import model_for, second_opinion
from dala.phantoms.film import draw_film
from dala.phantoms.tissue import PHANTOMS, draw
from dala.runtime import predict as runtime
from dala.runtime.predict import Model
from tests.helpers.archives import inside, zipped
from tests.helpers.dicoms import film_dicom

IMAGE = encode_png(draw(PHANTOMS[0]).pixels[:230, :350])
SMALL = encode_png(draw(PHANTOMS[1]).pixels[:64, :96])


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    """These images are drawn, and the gate knows drawings from tissue: without its statistics they pass."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "load_familiarity", lambda *_: None)
        yield runtime.load_model("breakhis")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judging without the network: the record holds the size that was read."""

    def judged(item: Item, outcome: Any, model: Model, anyway: bool) -> Result:
        if isinstance(outcome, dict):
            return Result(outcome, b"")
        return Result({"file": item.name, "status": "ok", "size": (outcome.width, outcome.height)}, b"")

    monkeypatch.setattr(batch, "_analyse", judged)


def test_nothing_is_written_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None, model: Model) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert len(list(analyse(inside(zipped({"a.png": SMALL, "../b.png": SMALL})), model))) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_records_are_those_of_the_main_job(tmp_path: Path, model: Model) -> None:
    good = tmp_path / "good.png"
    good.write_bytes(IMAGE)
    broken = IMAGE[:300]
    grey = encode_png(np.repeat(cv2.imdecode(np.frombuffer(IMAGE, np.uint8), 0)[..., None], 3, 2))
    archive = Upload("a.zip", io.BytesIO(zipped({"1.png": broken, "2.png": grey, "../3.png": IMAGE})))
    results = list(analyse(members([str(good), archive]), model))
    records = [result.record for result in results]
    expected = {**prediction_record(second_opinion(IMAGE, model)), "file": str(good)}
    assert {**records[0], "ms": 0} == {**expected, "ms": 0}
    assert [list(record) for record in records] == [list(expected)] * 4
    assert [(record["file"], record["status"]) for record in records[1:]] == [
        ("a.zip/../3.png", "refused"),
        ("a.zip/1.png", "refused"),
        ("a.zip/2.png", "outside"),
    ]
    assert records[1]["sha256"] is None, "it was not even read"
    assert records[2]["sha256"] == hashlib.sha256(broken).hexdigest()
    assert records[2]["reason"].startswith("'1.png' is a damaged")
    assert records[3]["gate"]["reason"] == "grey"
    assert [bool(result.thumbnail) for result in results] == [True, False, False, True]
    small = cv2.imdecode(np.frombuffer(results[0].thumbnail, np.uint8), 1)
    assert small.shape == (63, 96, 3)
    assert len(results[0].thumbnail) < 8000
    assert small.mean((0, 1))[::-1] == pytest.approx(draw(PHANTOMS[0]).pixels[:230, :350].mean((0, 1)), abs=2)
    asked = next(analyse(inside(zipped({"2.png": grey})), model, anyway=True)).record
    assert (asked["status"], asked["prediction"] in model.card.classes) == ("outside", True)


def test_a_thumbnail_keeps_shape_and_colour() -> None:
    wide = np.full((40, 4000, 3), (200, 120, 40), np.uint8)
    small = cv2.imdecode(np.frombuffer(batch.thumbnail(wide), np.uint8), 1)
    assert small.shape == (1, 96, 3)
    assert small[0, 50][::-1].tolist() == pytest.approx([200, 120, 40], abs=3)
    assert cv2.imdecode(np.frombuffer(batch.thumbnail(wide[:, :50]), np.uint8), 1).shape == (40, 50, 3), "not enlarged"


@pytest.mark.parametrize("every", [2, 3])
def test_broken_among_good_keep_their_order(quick: None, model: Model, every: int) -> None:
    def slow(data: bytes, seconds: float) -> Any:
        def load() -> bytes:
            time.sleep(seconds)
            return data

        return load

    items = [Item(f"{n}.png", slow(SMALL if n % every else b"none", 0.01 * (n % 4))) for n in range(13)]
    records = [result.record for result in analyse(items, model)]
    assert [record["file"] for record in records] == [item.name for item in items]
    assert [record["status"] for record in records] == ["ok" if n % every else "refused" for n in range(13)]


def test_only_a_few_images_are_alive(monkeypatch: pytest.MonkeyPatch, quick: None, model: Model) -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    most = 0
    read = batch.read_image

    def counted(*arguments: Any) -> Any:
        patch = read(*arguments)
        alive.add(patch)
        return patch

    monkeypatch.setattr(batch, "read_image", counted)
    loaded: list[int] = []

    def item(number: int) -> Item:
        def load() -> bytes:
            loaded.append(number)
            return SMALL

        return Item(f"{number}.png", load)

    for done, result in enumerate(analyse((item(n) for n in range(40)), model), start=1):
        most = max(most, len(alive))
        assert len(loaded) <= done + batch.AHEAD
        assert result.record["size"] == (96, 64)
    assert 1 <= most <= batch.AHEAD + 1
    assert len(loaded) == 40


def readers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("dala-reader")]


def test_closing_stops_the_readers(quick: None, model: Model) -> None:
    loaded: list[int] = []

    def load(number: int) -> bytes:
        loaded.append(number)
        return SMALL

    coming = analyse((Item(str(n), lambda n=n: load(n)) for n in range(1000)), model)
    next(coming)
    assert readers()
    coming.close()
    assert not readers()
    assert len(loaded) <= batch.AHEAD + 1


@pytest.mark.slow
def test_decoding_overlaps_judging(monkeypatch: pytest.MonkeyPatch, model: Model) -> None:
    """12 images that take 50 ms to read and 50 ms to judge: 1.2 s one after the other, 0.65 s overlapped."""

    def slow_judge(item: Item, outcome: Any, model: Model, anyway: bool) -> Result:
        time.sleep(0.05)
        return Result(outcome, b"")

    def slow_load() -> bytes:
        time.sleep(0.05)
        raise IntakeError("no")

    monkeypatch.setattr(batch, "_analyse", slow_judge)
    start = time.perf_counter()
    assert len(list(analyse([Item(str(n), slow_load) for n in range(12)], model))) == 12
    assert time.perf_counter() - start < 1.0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in this file system")
def test_a_pipe_does_not_block(tmp_path: Path, model: Model) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (result,) = analyse(members([tmp_path]), model)
    assert result.record["reason"] == "'pipe.png' is not a regular file."


def test_a_run_in_slices(quick: None, model: Model) -> None:
    run = Run(inside(zipped({f"{n}.png": SMALL for n in range(6)})), model)
    assert (run.done, run.seconds_left) == (False, None)
    run.advance(0.0)
    assert len(run.results) == 1
    run.advance(60.0)
    assert run.done
    assert not run.cancelled
    assert [result.record["file"] for result in run.results] == [f"a.zip/{n}.png" for n in range(6)]
    assert run.seconds_left == 0
    assert not readers()
    run.advance(1.0)
    assert len(run.results) == 6


def test_a_cancelled_run_keeps_its_results(quick: None, model: Model) -> None:
    run = Run([Item(str(n), lambda: SMALL) for n in range(500)], model)
    run.advance(0.0)
    run.advance(0.0)
    kept = len(run.results)
    assert kept == 2
    run.cancel()
    assert run.done
    assert not readers()
    run.advance(1.0)
    assert len(run.results) == kept


def test_an_error_that_is_nobodys_fault_ends_the_run(monkeypatch: pytest.MonkeyPatch, model: Model) -> None:
    def fails(*_: Any) -> Result:
        raise MemoryError

    monkeypatch.setattr(batch, "_analyse", fails)
    run = Run([Item(str(n), lambda: SMALL) for n in range(5)], model)
    with pytest.raises(MemoryError):
        run.advance(1.0)
    run.advance(1.0)
    assert run.done
    assert not readers()


@pytest.mark.slow
@pytest.mark.usefixtures("weights_stay_loaded")
def test_each_image_is_judged_by_the_model_for_what_it_is(model: Model) -> None:
    """A film as PNG and as DICOM, with a suffix and as on a hospital's CD without one, and a patch, from a ZIP; what is
    refused is said in its place."""
    film = draw_film().pixels
    entries = {
        "a/film.dcm": film_dicom(film[..., 0]),
        "film.png": encode_png(film),
        "patch.png": IMAGE,
        "cut.dcm": film_dicom(film[..., 0])[:9000],
        "scan.DICOM": film_dicom(film[..., 0], Modality="CT"),
        "IM0001": film_dicom(film[..., 0]),
    }
    loaded: dict[str, Model] = {model.name: model}

    def load(name: str) -> Model:
        if name not in loaded:
            loaded[name] = runtime.load_model(name)
        return loaded[name]

    items = inside(zipped(entries))
    assert [item.name for item in items] == [f"a.zip/{name}" for name in sorted(entries)]
    results = list(analyse(items, model, choose=lambda patch: model_for(patch, load)))
    told = {result.record["file"].removeprefix("a.zip/"): result.record for result in results}
    assert {name: (record["status"], record["weights"]) for name, record in told.items()} == {
        "IM0001": ("ok", "mini_ddsm"),
        "a/film.dcm": ("ok", "mini_ddsm"),
        "cut.dcm": ("refused", "breakhis"),
        "film.png": ("ok", "mini_ddsm"),
        "patch.png": ("ok", "breast"),
        "scan.DICOM": ("outside", "mini_ddsm"),
    }
    alone = prediction_record(second_opinion(encode_png(film), load("mini_ddsm")))
    assert told["film.png"]["probabilities"] == alone["probabilities"]
    assert "computed tomography" in told["scan.DICOM"]["reason"]
    archive = overlays(
        [(item, result.record) for item, result in zip(items, results, strict=True)],
        model,
        choose=lambda patch: model_for(patch, load),
    )
    with zipfile.ZipFile(io.BytesIO(archive)) as made:
        assert sum(name.endswith("-dt.png") for name in made.namelist()) == 4
    # Nobody chooses: the one model judges everything, and refuses what it has not learnt.
    (refused,) = [result.record for result in analyse(inside(zipped({"film.png": encode_png(film)})), model)]
    assert (refused["status"], refused["weights"]) == ("outside", "breakhis")


def test_a_run_works_in_the_background_while_it_is_looked_at(model: Model) -> None:
    items = [Item(f"{number}.png", lambda: b"no image") for number in range(5)]
    run = Run(items, model)
    assert run.results == []
    run.wait(30)  # nobody works yet
    run.work()
    run.wait(30)
    assert run.done
    assert [result.record["file"] for result in run.results] == [item.name for item in items]
    run.work()  # there is nothing more to do
    assert len(run.results) == 5
