"""Slides below folders: quickly, each once, and nothing that is sent becomes a path."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dala.errors import SlideError
from dala.slides.folder import Listed, listed, shard, slides_in
from tests.helpers.dicoms import dicom
from tests.helpers.generated import examples


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_slides_are_found_by_suffix_and_sorted(tmp_path: Path) -> None:
    touch(tmp_path, "B.svs", "a.NDPI", "sub/c.tif", "sub/.hidden.svs", ".hidden/d.svs", "letter.txt", "e.mrxs",
          "e/Data0000.dat", "e/strange.tif", "map.png")  # fmt: skip
    assert [one.name for one in slides_in(tmp_path)] == ["a.NDPI", "B.svs", "e.mrxs", "sub/c.tif"]


def test_ten_thousand_are_listed_in_under_a_second(tmp_path: Path) -> None:
    for folder in range(10):
        (tmp_path / str(folder)).mkdir()
        for number in range(1000):
            (tmp_path / str(folder) / f"{number}.svs").touch()
    start = time.process_time()
    assert len(slides_in(tmp_path)) == 10_000
    assert time.process_time() - start < 1


def test_names_are_text_and_each_is_another(tmp_path: Path) -> None:
    names = [b"100% a b.svs", "乳腺.svs".encode(), b"a\nb.svs", b"a\tb.svs", b"\xe9.svs", b"\xe8.svs"]
    for name in names:
        (tmp_path / os.fsdecode(name)).touch()
    found = slides_in(tmp_path)
    assert sorted(one.name for one in found) == sorted(
        ["100% a b.svs", "乳腺.svs", "a\ufffdb.svs", "a\ufffdb.svs~2", "\ufffd.svs", "\ufffd.svs~2"]
    )
    assert sorted(os.fsencode(one.path.name) for one in found) == sorted(names)


def test_links_to_files_count_and_links_to_folders_do_not(tmp_path: Path) -> None:
    touch(tmp_path, "archive/far.svs", "slides/near.svs")
    (tmp_path / "slides" / "link.svs").symlink_to(tmp_path / "archive" / "far.svs")
    (tmp_path / "slides" / "folder").symlink_to(tmp_path / "archive")
    (tmp_path / "slides" / "gone.svs").symlink_to(tmp_path / "archive" / "none.svs")
    (tmp_path / "slides" / "round").symlink_to(tmp_path / "slides")
    (tmp_path / "slides" / "itself.svs").symlink_to("itself.svs")
    os.mkfifo(tmp_path / "slides" / "pipe.svs")
    assert [one.name for one in slides_in(tmp_path / "slides")] == ["link.svs", "near.svs"]


def test_equal_names_are_told_apart_and_equal_files_are_listed_once(tmp_path: Path) -> None:
    touch(tmp_path, "one/a.svs", "two/a.svs", "two/b.svs")
    found = listed([tmp_path / "one", tmp_path / "two", tmp_path / "two" / "a.svs", tmp_path / "one" / "a.svs"])
    assert [one.name for one in found] == ["a.svs", "a.svs~2", "b.svs"]


def test_a_folder_that_is_gone_has_none(tmp_path: Path) -> None:
    assert slides_in(tmp_path / "gone") == []


def test_missing_paths_and_empty_folders_are_sentences(tmp_path: Path) -> None:
    touch(tmp_path, "letters/letter.txt")
    for path, name in ((tmp_path / "letters", "empty_folder"), (tmp_path / "absent", "absent")):
        with pytest.raises(SlideError) as error:
            listed([path])
        assert error.value.name == name and str(error.value).endswith(".")
    assert [one.name for one in listed([tmp_path / "letters" / "letter.txt"])] == ["letter.txt"]


def test_of_a_dicom_series_one_is_listed(tmp_path: Path) -> None:
    """The largest level; not its label, nor the image that shows the whole glass."""
    for name, kind, width, series in (
        ("0001.dcm", "VOLUME", 2000, "1.2.3"),
        ("0002.dcm", "VOLUME", 8000, "1.2.3"),
        ("0003.dcm", "LABEL", 9000, "1.2.3"),
        ("0004.dcm", "OVERVIEW", 9000, "1.2.3"),
        ("0005.dcm", "VOLUME", 500, "1.2.4"),
    ):
        head = {
            "ImageType": ["ORIGINAL", "PRIMARY", kind],
            "TotalPixelMatrixColumns": width,
            "SeriesInstanceUID": series,
        }
        (tmp_path / name).write_bytes(dicom(np.zeros((8, 8), np.uint8), **head))
    touch(tmp_path, "letter.dcm")
    assert [one.name for one in slides_in(tmp_path)] == ["0002.dcm", "0005.dcm", "letter.dcm"]
    # A header is read once, and again when the file has changed.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pydicom, "dcmread", lambda *_, **__: pytest.fail("a header is read again"))
        assert len(slides_in(tmp_path)) == 3
    head = {"ImageType": ["ORIGINAL", "PRIMARY", "LABEL"], "TotalPixelMatrixColumns": 9, "SeriesInstanceUID": "1.2.4"}
    (tmp_path / "0005.dcm").write_bytes(dicom(np.zeros((8, 9), np.uint8), **head))
    assert [one.name for one in slides_in(tmp_path)] == ["0002.dcm", "letter.dcm"]


@given(count=st.integers(0, 40), of=st.integers(1, 12))
@examples(100)
def test_shards_are_a_partition(count: int, of: int) -> None:
    slides = [Listed(f"{number}.svs", Path(f"{number}.svs")) for number in range(count)]
    parts = [shard(slides, number, of) for number in range(1, of + 1)]
    assert sorted((one for part in parts for one in part), key=slides.index) == slides
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
