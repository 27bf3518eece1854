"""The memory of a long scan: the slide that is made for it, which points are written down, and what is said of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dala.errors import DataError
from dala.slides.reader import open_slide
from dala.studies import scan_memory
from dala.studies.blocks import Chart, Text
from dala.studies.scan_memory import ScanMemory
from dala.studies.scan_speed_slide import make
from tests.helpers import slides

RECORD = ScanMemory(
    protocol="p",
    command="c",
    weights_sha256="0",
    engine="torch",
    width=81_920,
    height=61_440,
    slide_fields=22_000,
    fields=20_000,
    peak_mb=437,
    climb_per_thousand=0.04,
    each=((100, 270), (1000, 395), (20_000, 398)),
    measured="2026-11-29",
)


def test_memory_in_a_sentence() -> None:
    text, chart = scan_memory.section(RECORD)
    assert isinstance(text, Text) and isinstance(chart, Chart)
    assert text.markdown.replace("\u00a0", " ") == (
        "Over 20,000 fields of one slide a scan takes at most 437 MB above its model (aimed at: 450), and +0.0 MB for "
        "each thousand fields of the second half."
    )
    assert chart.lines[0].x == (100, 1000, 20_000)
    assert ScanMemory.from_json(RECORD.to_json()) == RECORD


def test_the_first_points_every_tenth_and_the_last_are_written_down() -> None:
    memory = tuple((100 * number, number) for number in range(1, 34))
    assert [fields // 100 for fields, _ in scan_memory.thinned(memory)] == [*range(1, 12), 21, 31, 33]


def test_the_slide_is_large_enough() -> None:
    # 17 fields for a mm2, sides as 4 to 3, whole tiles: 20,000 fields are 1,176 mm2 or 39.6 x 29.7 mm.
    width, height = scan_memory.size_for(20_000, 0.5)
    assert (width % 256, height % 256) == (0, 0)
    assert width * 0.5 / 1000 == pytest.approx(math.sqrt(20_000 / 17 * 4 / 3), abs=0.128)
    assert height * 0.5 / 1000 == pytest.approx(math.sqrt(20_000 / 17 * 3 / 4), abs=0.128)


def test_whole_tiles_are_laid_out_every_other_copy_mirrored(tmp_path: Path) -> None:
    source, made = tmp_path / "one.tiff", tmp_path / "made.tiff"
    slides.generic(source, slides.pyramid(np.asarray(slides.drawn(600, 520)), 2), um=0.5)
    make(source, made, (2560, 1500))
    with open_slide(source) as first, open_slide(made) as second:
        assert second.size == (2560, 1500) and second.um == first.um
        assert [(level.width, level.height) for level in second.levels] == [(2560, 1500), (1280, 750), (640, 375)]
        one = first.read_box((0, 0, 512, 512), (512, 512))[0].astype(int)
        for column in range(3):
            for row in range(2):
                left, top = 512 * column, 512 * row
                found = second.read_box((left, top, left + 512, top + 512), (512, 512))[0]
                wanted = one if (row + column) % 2 else one[:, ::-1]
                # JPEG once more: a grey level or two, where the other way round it would be tens.
                assert np.abs(found - wanted).mean() < 4 < np.abs(found - wanted[:, ::-1]).mean()
                # The next level shows the same, half as large.
                left, top = left // 2, top // 2
                small = second.read_box((2 * left, 2 * top, 2 * left + 512, 2 * top + 512), (256, 256))[0]
                assert np.abs(small - wanted.reshape(256, 2, 256, 2, 3).mean((1, 3))).mean() < 5
    slides.generic(source, [np.asarray(slides.drawn(300, 200))], um=0.5)
    with pytest.raises(DataError, match="at least 256 x 256"):
        make(source, made, (512, 512))


@pytest.mark.slow
def test_the_command_makes_the_slide_once_and_writes_what_it_saw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All but the scan itself, which `tests/studies/test_scan_speed.py` watches."""
    from dala.cli.main import main

    (tmp_path / "slides").mkdir()
    slides.aperio(tmp_path / "slides" / "CMU-1-Small-Region.svs", slides.pyramid(slides.drawn(1024, 768), 2))
    watched: list[tuple[Path, int]] = []

    class Here:
        """In place of the process beside."""

        def __init__(self, *_: object) -> None: ...
        def __enter__(self) -> Here:
            return self

        def __exit__(self, *_: object) -> None: ...
        def submit(self, work: object, path: Path, name: str, fields: int, out: Path) -> Here:
            watched.append((path, fields))
            assert name == "breast" and path.is_file() and out.is_dir()
            return self

        def result(self) -> Any:
            return ((100, 300), (200, 310), (300, 311), (400, 312)), 333

    monkeypatch.setattr("concurrent.futures.ProcessPoolExecutor", Here)
    out, kept = tmp_path / "out.json", tmp_path / "kept"
    for _ in range(2):
        told = ["scan-memory", "--data", str(tmp_path), "--fields", "200", "--folder", str(kept), "--out", str(out)]
        assert main(told) == 0
    assert "at most 333" in capsys.readouterr().out.replace("\u00a0", " ")
    record = scan_memory.STUDY.load(out)
    assert watched == [(path, 200) for path in kept.iterdir()] * 2
    assert record.climb_per_thousand == 10.0 and record.each[-1] == (400, 312) and record.fields == 400
    assert record.slide_fields >= 200 and (record.width, record.height) == scan_memory.size_for(200, 0.499)
