"""`dala slides` and `dala scan`, as they are typed."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from dala.cli import slides as cli
from dala.cli.main import main
from dala.slides import listing
from tests.helpers import slides

pytestmark = pytest.mark.usefixtures("weights_stay_loaded")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("slides")
    slides.aperio(root / "good.svs", slides.pyramid(slides.drawn(640, 640), 3))
    slides.generic(root / "untold.tiff", slides.pyramid(slides.drawn(640, 640), 3), None)
    return root


@pytest.mark.slow
def test_slides_says_what_they_are(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a field takes is measured in slides/test_listing.py; what was looked at before would take no time here."""
    monkeypatch.setattr(listing, "seconds_per_field", lambda model: 2.5 if model.card.classes else 0.0)
    monkeypatch.setattr(cli, "_seconds_per_field", cli._seconds_per_field.__wrapped__)  # another test may have asked
    assert main(["slides", str(folder), "--json"]) == 2
    shown = capsys.readouterr()
    good, untold = (json.loads(line) for line in shown.out.splitlines())
    assert good["name"] == "good.svs" and good["format"] == "Aperio SVS" and good["um"] == [0.499, 0.499]
    assert good["fields"] >= 2 and good["tissue_mm2"] == pytest.approx(0.0255, abs=0.002)
    assert good["seconds"] == 2.5 * good["fields"]
    assert untold["um"] is None and untold["reason"] == "no_pixel_size" and untold["seconds"] is None
    assert "--um states it" in shown.err and slides.MARKER not in shown.out + shown.err
    assert main(["slides", str(folder), "--um", "0.5"]) == 0
    shown = capsys.readouterr().out
    assert "0.5 um per pixel (given by the user)" in shown and "2 slides:" in shown


@pytest.mark.slow
def test_scan_writes_and_goes_on(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, line = tmp_path / "out", ["scan", str(folder / "good.svs"), "--out", str(tmp_path / "out")]
    assert main(line) == 0
    assert capsys.readouterr().out.startswith("good.svs: ")
    names = {path.name for path in (out / "good.svs").iterdir()}
    assert {"rows.jsonl", "fields.csv", "fields.geojson.gz", "regions.geojson", "map.png", "report.pdf", "report.json",
            "scan.json"} == names  # fmt: skip
    before = (out / "good.svs" / "fields.csv").read_bytes()
    assert main(line) == 0 and main([*line, "--report-only"]) == 0
    assert (out / "good.svs" / "fields.csv").read_bytes() == before
    (row,) = csv.DictReader((out / "slides.csv").read_text().splitlines())
    assert row["status"] == "written" and int(row["fields"]) == before.count(b"\n") - 1


@pytest.mark.slow
def test_a_missing_pixel_size_is_asked_for_and_told(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["scan", str(folder / "untold.tiff"), "--out", str(tmp_path / "out")]
    assert main(line) == 2
    assert "does not say how large its pixels are" in capsys.readouterr().out
    (tmp_path / "um.csv").write_text("file,um\nuntold.tiff,0.5\n")
    assert main([*line, "--um", str(tmp_path / "um.csv")]) == 0
    report = json.loads((tmp_path / "out" / "untold.tiff" / "report.json").read_text())
    assert report["slide"]["um"] == {"rows": 0.5, "columns": 0.5, "source": "user", "told": True}


@pytest.mark.parametrize(
    "wrong",
    [["--shard", "0/3"], ["--shard", "4/3"], ["--shard", "x"], ["--workers", "0"], ["--um", "7"], ["--um", "none.csv"]],
)
def test_wrong_calls(wrong: list[str], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main(["scan", str(folder / "good.svs"), "--out", str(tmp_path / "out"), *wrong])
    except SystemExit as error:
        status = int(str(error.code))
    assert status == 2 and not (tmp_path / "out").exists()
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.slow
def test_shards_have_tables_of_their_own(folder: Path, tmp_path: Path) -> None:
    line = ["scan", str(folder), "--out", str(tmp_path), "--um", "0.5", "--shard"]
    assert main([*line, "1/2"]) == 0 and main([*line, "2/2"]) == 0
    tables = [(tmp_path / f"slides-{number}-of-2.csv").read_text() for number in (1, 2)]
    assert [next(csv.DictReader(one.splitlines()))["slide"] for one in tables] == ["good.svs", "untold.tiff"]
