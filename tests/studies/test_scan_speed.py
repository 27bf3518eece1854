"""The speed of scans: a slide laid out of another, rates and memory of a scan of it, and what is said of them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dala.slides.reader import open_slide
from dala.studies import scan_speed, scan_speed_runs
from dala.studies.scan_speed import Curve, Kills, Rates, ScanSpeed, Waits
from tests.helpers import slides
from tests.helpers.scans import quick_model, spread_slide

RECORD = ScanSpeed(
    protocol="p",
    command="c",
    weights_sha256="0",
    engine="torch",
    threads=2,
    width=30_000,
    height=22_500,
    slide_fields=4000,
    rates=Rates(
        fields=600,
        scan=9.0,
        bare=10.0,
        loop=3.6,
        of_bare=0.9,
        of_bare_by_processor_time=0.91,
        of_loop=2.5,
        first_map_seconds=28.2,
        whole_seconds=445.0,
    ),
    memory_mb=Curve(peak=440, climb_per_thousand=-0.2, each=((1, 100), (101, 400), (201, 440), (301, 438))),
    waits=Waits(
        tiles=300,
        tile_median=8.2,
        tile_percentile_95=30.4,
        fields=12,
        click_verdict=330.0,
        click_maps=500.0,
        drop_verdict=300.0,
        drop_maps=480.0,
    ),
    kills=Kills(times=10, identical=True),
    measured="2026-11-29",
)


def test_the_climb_is_that_of_the_second_half() -> None:
    # From 100 to 500 MB in the first half, then 2 MB for each hundred fields: 20 for a thousand.
    memory = ((0, 100), (100, 500), (200, 500), (300, 502), (400, 504))
    assert scan_speed.climb(memory) == pytest.approx(20.0)


def test_speed_in_a_sentence() -> None:
    assert scan_speed.summary(RECORD) == (
        "On 2 cores a slide is scanned at 9.0 fields a second, 0.90 of what the bare network does and 2.5 times a loop "
        "that reads patch by patch; memory climbs by -0.2 MB for a thousand fields (watched over 301 fields). A click "
        "has its verdict after 0.33 s, 1.10 of the time of a dropped image. After 10 kills the rows of a scan were the "
        "same to the byte."
    )
    assert ScanSpeed.from_json(RECORD.to_json()) == RECORD
    assert len(scan_speed.section(RECORD)) == 3


@pytest.mark.slow
def test_a_slide_is_laid_out_and_scanned_beside_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, made, model = tmp_path / "one.tiff", tmp_path / "made.tiff", quick_model()
    slides.generic(source, slides.pyramid(np.asarray(slides.drawn(1024, 768)), 2), um=0.5)
    scan_speed_runs.make(source, made, (1500, 1600))
    with open_slide(source) as first, open_slide(made) as second:
        assert (second.size, second.um) == ((1500, 1600), first.um)
        one, _ = first.read_box((0, 0, 1024, 768), (1024, 768))
        mirrored, _ = second.read_box((0, 0, 1024, 768), (1024, 768))
        below, _ = second.read_box((0, 768, 1024, 1536), (1024, 768))
        # JPEG once more: a grey level or two, where the other way round it would be tens.
        assert np.abs(mirrored.astype(int) - one[:, ::-1]).mean() < 4 > np.abs(below.astype(int) - one).mean()
    spread_slide(tmp_path / "spread.tiff")
    monkeypatch.setattr(scan_speed_runs, "GROUP", 8)
    path = tmp_path / "spread.tiff"
    monkeypatch.setattr(scan_speed_runs, "load_model", lambda *_, **__: model)
    memory, peak = scan_speed_runs.watched(path, "quick", 20, tmp_path / "alone")
    assert [fields for fields, _ in memory] == [8, 16, 20] and peak >= 0
    monkeypatch.setattr(scan_speed_runs, "load_model", lambda *_, **__: SimpleNamespace(net=torch.nn.Identity()))
    seen: list[tuple[int, int]] = []
    with open_slide(path) as slide:
        found = scan_speed_runs.compare(slide, model, 16, tmp_path / "scan", lambda *at: seen.append(at))
    assert (found.scan.done, found.bare.done, found.loop.done) == (16, 16, min(64, found.planned))
    assert seen == [(8, 16), (16, 16)] and 0 < found.first_map < found.whole
    assert found.scan.per_second == pytest.approx(16 / found.scan.seconds)
