"""What is in folders and archives, in what order, and which of it is refused unread."""

from __future__ import annotations

import gc
import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.uid import SecondaryCaptureImageStorage

from dala.errors import IntakeError
from dala.explanation.render import encode_png
from dala.intake import archive
from dala.intake.archive import Item, Upload, members
from dala.intake.image import read_image
from dala.phantoms.tissue import PHANTOMS, draw
from tests.helpers.archives import inside, zipped
from tests.helpers.dicoms import dicom

IMAGE = encode_png(draw(PHANTOMS[0]).pixels[:230, :350])
SMALL = encode_png(draw(PHANTOMS[1]).pixels[:64, :96])


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


@pytest.mark.slow
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
    none = "holds no images of an accepted kind."
    assert said == [f"'empty' {none}", "'no.zip' is not a ZIP archive, or is damaged.", f"'bare.zip' {none}"]


FILM = dicom(np.arange(40 * 48, dtype=np.uint16).reshape(40, 48), 12)


def left_out(source: Any) -> tuple[list[str], list[str]]:
    """Names of the items and the sentences on what is none."""
    told: list[str] = []
    return [item.name for item in members([source], told.append)], told


def medium() -> dict[str, bytes]:
    """As a hospital's disc has it: DICOM without a suffix or with any, its directory, and a viewer."""
    directory = dicom(np.zeros((40, 48), np.uint8)).replace(
        SecondaryCaptureImageStorage.encode(), b"1.2.840.10008.1.3.10".ljust(len(SecondaryCaptureImageStorage), b"\0")
    )
    return {
        "DICOMDIR": FILM,
        "DICOM/IM000001": FILM,
        "DICOM/IM000002.IMA": FILM,
        "DICOM/1.2.840.113": FILM[132:],
        "DICOM/field": SMALL,
        "DICOM/renamed": directory,
        "VIEWER/run.exe": b"MZ" + bytes(900),
        "VIEWER/help.txt": b"BM is how a bitmap begins",
        "slide.svs": b"II*\0",
        "LIESMICH": b"Hilfe",
    }


EXPECTED = ["DICOM/1.2.840.113", "DICOM/IM000001", "DICOM/IM000002.IMA", "DICOM/field", "DICOM/renamed", "slide.svs"]


def test_files_without_a_suffix_are_known_by_their_content(tmp_path: Path) -> None:
    names, told = left_out(Upload("cd.zip", io.BytesIO(zipped(medium()))))
    assert names == [f"cd.zip/{name}" for name in EXPECTED]
    assert told == [
        "'cd.zip' holds 4 files of no accepted kind, left out: 'DICOMDIR', 'run.exe', 'help.txt', 'LIESMICH'."
    ]
    for name, data in medium().items():
        (tmp_path / "cd" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cd" / name).write_bytes(data)
    names, told = left_out(tmp_path / "cd")
    assert sorted(names) == EXPECTED
    assert told[0].startswith("'cd' holds 4 files of no accepted kind, left out: ")


def test_a_directory_of_dicom_says_what_it_is_and_a_slide_what_to_do() -> None:
    with pytest.raises(IntakeError, match="directory of a DICOM medium"):
        read_image(medium()["DICOM/renamed"])
    with pytest.raises(IntakeError, match=r"'slide\.svs' is a file of a whole slide.*export the region as PNG or TIFF"):
        read_image(b"II*\0", "slide.svs")
    with pytest.raises(IntakeError, match=r"'x\.mrxs' is a file of a whole slide"):
        read_image(b"anything", "x.mrxs")


def test_nothing_is_left_out_without_being_counted() -> None:
    files = {f"{number}.txt": b"x" for number in range(25)}
    names, told = left_out(Upload("a.zip", io.BytesIO(zipped({**files, "one.png": SMALL, "two.pgm": b"P5"}))))
    assert len(names) == 2
    assert told[0].startswith("'a.zip' holds 25 files of no accepted kind, left out: '0.txt', '1.txt'")
    assert told[0].endswith(" and 15 more.")


def test_names_that_would_garble_a_line_or_hide_in_it(tmp_path: Path) -> None:
    hostile = "a\x1b[31m\u202egnp.exe\n.png"
    assert inside(zipped({hostile: SMALL}))[0].name == "a.zip/a[31mgnp.exe.png"
    path = tmp_path / os.fsdecode(b"scan-\xff\xfe.png")
    path.write_bytes(SMALL)
    (item,) = members([path])
    assert item.name == f"{tmp_path}/scan-.png"
    assert Path(str(item.load())).read_bytes() == SMALL
    assert [one.name for one in members([tmp_path])] == ["scan-.png"]


# What must not be read


@pytest.mark.parametrize(
    "name", ["../up.png", "a/../../up.png", "/etc/up.png", "..\\up.png", "C:\\up.png", "../passwd"]
)
def test_a_name_that_points_out_is_refused(name: str) -> None:
    items = inside(zipped({name: SMALL, "good.png": SMALL}))
    assert sorted(outcome(item) for item in items)[1] == "read"
    refused = next(item for item in items if "good" not in item.name)
    assert outcome(refused).endswith("has a name that points outside its archive.")


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
    monkeypatch.setattr(archive, "_read_entry", lambda *_: pytest.fail("a bomb was read"))
    zeros = bytes(10 * 2**20)
    (ratio,) = inside(zipped({"a.bmp": zeros}))
    assert (
        outcome(ratio)
        == "'a.bmp' is compressed more than 200 : 1, like a decompression bomb and unlike an image of tissue."
    )
    monkeypatch.setattr(archive, "MAXIMUM_BYTES", 2**20)
    (large,) = inside(zipped({"a.bmp": zeros}))
    assert outcome(large) == "'a.bmp' is larger than 1 MB, the largest file that is accepted."
    monkeypatch.setattr(archive, "MAXIMUM_TOTAL", 2**20)
    (total,) = inside(zipped({"a.bmp": zeros}))
    assert outcome(total).startswith("'a.zip' holds more than")
    monkeypatch.setattr(archive, "MAXIMUM_ENTRIES", 2)
    (many,) = inside(zipped({"a.png": b"", "b.png": b"", "c.txt": b""}))
    assert outcome(many) == "'a.zip' holds 3 files; at most 2 are accepted."
    monkeypatch.setattr(archive, "MAXIMUM_DIRECTORY", 40)
    (directory,) = inside(zipped({"a.png": b""}))
    assert outcome(directory) == "'a.zip' is not a ZIP archive, or is damaged."


def test_an_entry_that_lies_about_its_size_or_is_damaged_is_refused() -> None:
    data = bytearray(zipped({"a.png": SMALL}, zipfile.ZIP_STORED))
    data[60] ^= 255  # a byte of the content: the checksum is wrong
    assert [outcome(item) for item in inside(bytes(data))] == ["'a.png' is damaged inside its archive."]
    data = bytearray(zipped({"a.png": bytes(50_000)}))
    at = data.rindex(b"PK\1\2") + 24
    data[at : at + 4] = (9).to_bytes(4, "little")  # the directory states 9 bytes
    assert [outcome(item) for item in inside(bytes(data))] == ["'a.png' is damaged inside its archive."]
