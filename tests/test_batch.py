"""Batches: what is in folders and archives, which of it is refused, in what order, and how little of it is held."""

from __future__ import annotations

import csv
import gc
import hashlib
import io
import json
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
from dala.batch import Result, Run, judge_all, overlays
from dala.errors import IntakeError
from dala.explanation.render import encode_png
from dala.export.records import prediction_record
from dala.export.table import nameless, to_csv, to_json
from dala.intake.archive import Item, Upload, members
from dala.opinion import NOTICE, explain, model_for, second_opinion
from dala.phantoms.film import draw_film
from dala.phantoms.tissue import PHANTOMS, draw
from dala.runtime import predict as runtime
from dala.runtime.predict import Model
from tests.helpers.dicoms import film_dicom

IMAGE = encode_png(draw(PHANTOMS[0]).pixels)
SMALL = encode_png(draw(PHANTOMS[1]).pixels[:64, :96])


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    """These images are drawn, and the gate knows drawings from tissue: without its statistics they pass."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "load_familiarity", lambda *_: None)
        yield runtime.load_model()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judging without the network: the record holds the size that was read."""

    def judged(item: Item, outcome: Any, model: Model, anyway: bool) -> Result:
        if isinstance(outcome, dict):
            return Result(outcome, b"")
        return Result({"file": item.name, "status": "ok", "size": (outcome.width, outcome.height)}, b"")

    monkeypatch.setattr(batch, "_judge", judged)


def zipped(entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return out.getvalue()


def inside(data: bytes, name: str = "a.zip") -> list[Item]:
    return list(members([Upload(name, io.BytesIO(data))]))


def outcome(item: Item) -> str:
    """ "read", or the sentence of the refusal."""
    try:
        return "read" if item.load() else "empty"
    except IntakeError as error:
        return str(error)


# What there is


def test_files_folders_and_archives_in_order(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "notes.txt", "deep/c.tif", "._b.png", "inner.zip"):
        (tmp_path / "case" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "case" / name).write_bytes(SMALL)
    (tmp_path / "z.zip").write_bytes(zipped({"y.png": SMALL, "x/w.png": SMALL, "readme.md": b"", "__M/._y.png": b""}))
    given = [str(tmp_path / "notes.dat"), str(tmp_path / "case"), str(tmp_path / "z.zip")]
    names = [item.name for item in members(given)]
    assert names == [given[0], "a.JPG", "b.png", "deep/c.tif", f"{given[2]}/x/w.png", f"{given[2]}/y.png"]


def test_the_bytes_inside_an_archive_and_of_an_upload() -> None:
    data = zipped({"a/one.png": IMAGE})
    items = [*inside(data), *members([Upload("two.png", io.BytesIO(SMALL))])]
    assert [item.name for item in items] == ["a.zip/a/one.png", "two.png"]
    assert [item.load() for item in items] == [IMAGE, SMALL]
    assert items[0].load() == IMAGE, "an item can be loaded again"


def test_an_archive_file_is_closed_with_its_last_item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(zipped({"one.png": SMALL, "two.png": SMALL}))
    opened: list[Any] = []
    real = Path.open

    def noted(self: Path, *arguments: Any, **named: Any) -> Any:
        opened.append(real(self, *arguments, **named))
        return opened[-1]

    monkeypatch.setattr(Path, "open", noted)
    items = list(members([path]))
    last = items.pop()
    del items
    gc.collect()
    assert last.load() == SMALL
    del last
    gc.collect()
    assert len(opened) == 1
    assert opened[0].closed


def test_nothing_there_is_a_refusal(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "no.zip").write_bytes(b"PK\3\4 no archive")
    (tmp_path / "bare.zip").write_bytes(zipped({"notes.txt": b"x"}))
    said = [outcome(item) for item in members([tmp_path / "empty", tmp_path / "no.zip", tmp_path / "bare.zip"])]
    none = "holds no images of a kind that is accepted."
    assert said == [f"'empty' {none}", "'no.zip' is no ZIP archive, or a damaged one.", f"'bare.zip' {none}"]


# What must not be read


@pytest.mark.parametrize(
    "name", ["../up.png", "a/../../up.png", "/etc/up.png", "..\\up.png", "C:\\up.png", "../passwd"]
)
def test_a_name_that_points_out_is_refused(name: str) -> None:
    items = inside(zipped({name: SMALL, "good.png": SMALL}))
    assert sorted(outcome(item) for item in items)[1] == "read"
    refused = next(item for item in items if "good" not in item.name)
    assert outcome(refused).endswith("has a name that points out of its archive.")


def test_nested_archives_are_refused() -> None:
    items = inside(zipped({"a.png": SMALL, "inner.zip": zipped({"b.png": SMALL}), "c.tar.gz": b"x"}))
    assert [outcome(item) for item in items] == [
        "read",
        "'c.tar.gz' is an archive inside an archive, which is not opened.",
        "'inner.zip' is an archive inside an archive, which is not opened.",
    ]


def test_an_encrypted_entry_is_refused() -> None:
    data = bytearray(zipped({"a.png": SMALL}))
    data[6] |= 1  # general purpose flags in the local header ...
    data[data.rindex(b"PK\1\2") + 8] |= 1  # ... and in the directory
    assert [outcome(item) for item in inside(bytes(data))] == ["'a.png' is encrypted."]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_inflate_without_bound_are_refused(method: int) -> None:
    (item,) = inside(zipped({"a.png": SMALL}, method))
    assert "compressed by a method that is not accepted" in outcome(item)


def test_bombs_are_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "_read_entry", lambda *_: pytest.fail("a bomb was read"))
    zeros = bytes(10 * 2**20)
    (ratio,) = inside(zipped({"a.bmp": zeros}))
    assert outcome(ratio) == "'a.bmp' is compressed more than 200 : 1, as a bomb is and no image of tissue."
    monkeypatch.setattr(batch, "MAXIMUM_BYTES", 2**20)
    (large,) = inside(zipped({"a.bmp": zeros}))
    assert outcome(large) == "'a.bmp' is larger than 1 MB, the most that is accepted."
    monkeypatch.setattr(batch, "MAXIMUM_TOTAL", 2**20)
    (total,) = inside(zipped({"a.bmp": zeros}))
    assert outcome(total).startswith("'a.zip' holds more than")
    monkeypatch.setattr(batch, "MAXIMUM_ENTRIES", 2)
    (many,) = inside(zipped({"a.png": b"", "b.png": b"", "c.txt": b""}))
    assert outcome(many) == "'a.zip' holds 3 files; at most 2 are accepted."
    monkeypatch.setattr(batch, "MAXIMUM_DIRECTORY", 40)
    (directory,) = inside(zipped({"a.png": b""}))
    assert outcome(directory) == "'a.zip' is no ZIP archive, or a damaged one."


def test_an_entry_that_lies_about_its_size_or_is_damaged_is_refused() -> None:
    data = bytearray(zipped({"a.png": SMALL}, zipfile.ZIP_STORED))
    data[60] ^= 255  # a byte of the content: the checksum is wrong
    assert [outcome(item) for item in inside(bytes(data))] == ["'a.png' is damaged inside its archive."]
    data = bytearray(zipped({"a.png": bytes(50_000)}))
    at = data.rindex(b"PK\1\2") + 24
    data[at : at + 4] = (9).to_bytes(4, "little")  # the directory states 9 bytes
    assert [outcome(item) for item in inside(bytes(data))] == ["'a.png' is damaged inside its archive."]


def test_nothing_is_written_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None, model: Model) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert len(list(judge_all(inside(zipped({"a.png": SMALL, "../b.png": SMALL})), model))) == 2
    assert list(tmp_path.iterdir()) == []


# Judging


def test_records_are_those_of_the_main_job(tmp_path: Path, model: Model) -> None:
    good = tmp_path / "good.png"
    good.write_bytes(IMAGE)
    broken = IMAGE[:300]
    grey = encode_png(np.repeat(cv2.imdecode(np.frombuffer(IMAGE, np.uint8), 0)[..., None], 3, 2))
    archive = Upload("a.zip", io.BytesIO(zipped({"1.png": broken, "2.png": grey, "../3.png": IMAGE})))
    results = list(judge_all(members([str(good), archive]), model))
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
    assert records[2]["reason"].startswith("'1.png' is a PNG file that is damaged")
    assert records[3]["gate"]["reason"] == "grey"
    assert [bool(result.thumbnail) for result in results] == [True, False, False, True]
    small = cv2.imdecode(np.frombuffer(results[0].thumbnail, np.uint8), 1)
    assert small.shape == (63, 96, 3)
    assert len(results[0].thumbnail) < 8000
    assert small.mean((0, 1))[::-1] == pytest.approx(draw(PHANTOMS[0]).pixels.mean((0, 1)), abs=2)
    asked = next(judge_all(inside(zipped({"2.png": grey})), model, anyway=True)).record
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
    records = [result.record for result in judge_all(items, model)]
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

    for done, result in enumerate(judge_all((item(n) for n in range(40)), model), start=1):
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

    coming = judge_all((Item(str(n), lambda n=n: load(n)) for n in range(1000)), model)
    next(coming)
    assert readers()
    coming.close()
    assert not readers()
    assert len(loaded) <= batch.AHEAD + 1


def test_decoding_overlaps_judging(monkeypatch: pytest.MonkeyPatch, model: Model) -> None:
    """12 images that take 50 ms to read and 50 ms to judge: 1.2 s one after the other, 0.65 s overlapped."""

    def slow_judge(item: Item, outcome: Any, model: Model, anyway: bool) -> Result:
        time.sleep(0.05)
        return Result(outcome, b"")

    def slow_load() -> bytes:
        time.sleep(0.05)
        raise IntakeError("no")

    monkeypatch.setattr(batch, "_judge", slow_judge)
    start = time.perf_counter()
    assert len(list(judge_all([Item(str(n), slow_load) for n in range(12)], model))) == 12
    assert time.perf_counter() - start < 1.0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in this file system")
def test_a_pipe_does_not_block(tmp_path: Path, model: Model) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (result,) = judge_all(members([tmp_path]), model)
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

    monkeypatch.setattr(batch, "_judge", fails)
    run = Run([Item(str(n), lambda: SMALL) for n in range(5)], model)
    with pytest.raises(MemoryError):
        run.advance(1.0)
    run.advance(1.0)
    assert run.done
    assert not readers()


# What is taken away


def record(**fields: Any) -> dict[str, Any]:
    return {
        "file": "a.png", "sha256": "ab", "status": "ok", "reason": None,
        "gate": {"reason": None, "distance": 1.25, "rarer": 0.5}, "prediction": "benign",
        "probabilities": {"benign": 0.75, "malignant": 0.25}, "calibrated": True, "set": ["benign"],
        "not_sure": False, "sets": {}, "weights": "breakhis", "ms": 12.5, **fields,
    }  # fmt: skip


def test_csv_reads_back() -> None:
    odd = 'a, "b"\nc; ä.png'
    refused = record(
        file="x.png", status="refused", reason="'x.png' is empty.", gate=None, prediction=None, probabilities=None,
        not_sure=None, ms=None, sha256=None,
    )  # fmt: skip
    text = to_csv(iter([record(file=odd, not_sure=True), refused]), ("benign", "malignant"))
    assert text.count("\r\n") == 3
    first, second = csv.DictReader(io.StringIO(text, newline=""))
    assert first == {
        "file": odd, "sha256": "ab", "status": "ok", "reason": "", "prediction": "benign", "not_sure": "true",
        "probability_benign": "0.75", "probability_malignant": "0.25", "gate_distance": "1.25",
        "weights": "breakhis", "ms": "12.5", "notice": NOTICE,
    }  # fmt: skip
    assert second["reason"] == "'x.png' is empty."
    assert {second[key] for key in ("sha256", "prediction", "not_sure", "probability_benign", "ms")} == {""}


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_begins_like_a_formula(start: str) -> None:
    name = f'{start}HYPERLINK("http://x")'
    (row,) = csv.DictReader(io.StringIO(to_csv([record(file=name)], ()), newline=""))
    assert row["file"] == f"'{name}"


def test_json_holds_the_records_and_the_notice() -> None:
    assert json.loads(to_json([record()])) == {"notice": NOTICE, "results": [record()]}


def test_without_names_nothing_tells_a_file_but_its_fingerprint() -> None:
    named = [
        record(file="Ada's case.zip/Ada Example.png"),
        record(file="x/Ada.png", status="refused", reason="'Ada.png' holds 'F' pixels, which Ada has not."),
    ]
    told = nameless(named)
    assert [one["file"] for one in told] == ["image 1", "image 2"]
    assert told[1]["reason"] == "The file holds 'F' pixels, which Ada has not."
    assert [one["sha256"] for one in told] == [one["sha256"] for one in named]
    assert named[0]["file"] == "Ada's case.zip/Ada Example.png", "the table keeps its names"


def test_overlays_are_those_of_the_page(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [
        Item("dir/=odd näme.png", lambda: IMAGE),
        Item("no.png", lambda: b"none"),
        Item("two.png", lambda: IMAGE),
        Item("three.png", lambda: IMAGE),
    ]
    records = [result.record for result in judge_all(items, model)]
    records[2]["sha256"] = "that of a file which has changed since"
    steps: list[tuple[int, int]] = []
    monkeypatch.setattr(batch, "MAXIMUM_OVERLAYS", 2)
    data = overlays(list(zip(items, records, strict=True)), model, lambda *step: steps.append(step))
    target = records[0]["prediction"]
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        name = f"0001-_odd_n_me-{target}-dt.png"
        assert archive.namelist() == [name, "index.csv"]
        assert archive.read(name) == encode_png(explain(second_opinion(IMAGE, model), target).panels.dt)
        (row,) = csv.DictReader(io.StringIO(archive.read("index.csv").decode(), newline=""))
    assert (row["overlay"], row["file"], row["notice"]) == (name, "dir/=odd näme.png", NOTICE)
    assert steps == [(1, 2), (2, 2)]


# Several kinds of image


def test_each_image_is_judged_by_the_model_for_what_it_is(model: Model) -> None:
    """A film as PNG and as DICOM, and a patch, from a ZIP; what is refused is said in its place."""
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
    assert [item.name for item in items] == [f"a.zip/{name}" for name in sorted(set(entries) - {"IM0001"})]
    results = list(judge_all(items, model, choose=lambda patch: model_for(patch, load)))
    told = {result.record["file"].removeprefix("a.zip/"): result.record for result in results}
    assert {name: (record["status"], record["weights"]) for name, record in told.items()} == {
        "a/film.dcm": ("ok", "mini_ddsm"),
        "cut.dcm": ("refused", "breakhis"),
        "film.png": ("ok", "mini_ddsm"),
        "patch.png": ("ok", "breakhis"),
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
        assert sum(name.endswith("-dt.png") for name in made.namelist()) == 3
    # Nobody chooses: the one model judges everything, and refuses what it has not learnt.
    (refused,) = [result.record for result in judge_all(inside(zipped({"film.png": encode_png(film)})), model)]
    assert (refused["status"], refused["weights"]) == ("outside", "breakhis")
