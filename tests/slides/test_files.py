"""The files of a scan: read by other programs, the same for the same rows, and without a name in them."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from PIL import Image
from pypdf import PdfReader
from shapely.geometry import box, shape

from dala.slides import files
from dala.slides.drawing import COLOURS, OPACITY, draw_map
from dala.slides.findings import Findings, findings_of
from dala.slides.reader import Overview, open_slide
from dala.slides.rows import ROWS, read_rows
from dala.slides.scan import Scan
from dala.slides.tissue import find_tissue
from tests.helpers import slides
from tests.helpers.scans import quick_model
from tests.slides.test_findings import findings

DAY = date(2026, 1, 31)
SCHEMAS = Path(files.__file__).parent, Path(slides.__file__).parent


def grey(width: int, height: int) -> Overview:
    return Overview(np.full((height, width, 3), 200, np.uint8), np.ones((height, width), bool), (16.0, 16.0))


@pytest.fixture(scope="module")
def found() -> Findings:
    return findings("MM.b.", "?.M..", "oooxM", "M....")


@pytest.fixture(scope="module")
def folder(found: Findings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("scan")
    files.write_all(out, found, grey(147, 79), 1.25, DAY)
    return out


def test_geojson_fits_qupath_and_shapely(folder: Path, found: Findings) -> None:
    schema = Draft202012Validator(json.loads((SCHEMAS[1] / "qupath.schema.json").read_text()))
    tiles = json.loads(gzip.decompress((folder / files.TILES).read_bytes()))
    regions = json.loads((folder / files.REGIONS).read_text())
    for content in (tiles, regions):
        schema.validate(content)
        assert all(shape(one["geometry"]).is_valid for one in content["features"])
    assert len(tiles["features"]) == len(found.rows)
    first = tiles["features"][0]
    assert shape(first["geometry"]).equals(box(0, 0, 490, 322))
    assert first["properties"]["objectType"] == "tile"
    assert first["properties"]["measurements"]["Probability of malignant"] == 0.9
    named = {one["properties"]["classification"]["name"] for one in tiles["features"]}
    assert named == {f"DALA {state}" for state in COLOURS}
    assert not any("Probability of malignant" in one["properties"]["measurements"] for one in tiles["features"]
                   if one["properties"]["classification"]["name"] == "DALA outside")  # fmt: skip
    assert [one["properties"]["measurements"]["Fields"] for one in regions["features"]] == [3, 1, 1]


def test_the_table_is_read_by_another_program(folder: Path, found: Findings) -> None:
    rows = list(csv.DictReader(io.StringIO((folder / files.FIELDS).read_bytes().decode(), newline="")))
    assert [row["state"] for row in rows] == [row.state for row in found.rows]
    assert rows[0]["probability_malignant"] == "0.9" and rows[-3]["probability_malignant"] == ""


def test_the_map_has_the_state_s_colour_in_the_middle_of_a_field(found: Findings) -> None:
    drawn = draw_map(found, grey(147, 79))
    width = drawn.shape[1]
    assert width == 600
    scale = width / found.header["size"][0]

    def at(column: int, row: int) -> list[int]:
        return drawn[round((row + 0.5) * 322 * scale), round((column + 0.5) * 490 * scale)].tolist()

    def mixed(state: str) -> list[int]:
        return [round((1 - OPACITY) * 200 + OPACITY * value) for value in COLOURS[state]]

    for place, state in (((0, 0), "malignant"), ((3, 0), "benign"), ((0, 2), "outside"), ((3, 2), "unreadable")):
        assert np.abs(np.subtract(at(*place), mixed(state))).max() <= 1
    assert at(2, 0) == [200, 200, 200] and at(4, 0) == [200, 200, 200]
    # Not sure: hatched, a third in colour.
    part = drawn[round(330 * scale) : round(640 * scale), round(10 * scale) : round(480 * scale)].reshape(-1, 3)
    coloured = (np.abs(part - np.array(mixed("not sure"))) <= 1).all(1).mean()
    assert coloured == pytest.approx(1 / 3, abs=0.03) and (part == 200).all(1).mean() == pytest.approx(2 / 3, abs=0.03)


def test_the_report_fits_its_schema_and_the_pdf_says_the_same(folder: Path, found: Findings) -> None:
    content = json.loads((folder / files.REPORT).read_text())
    Draft202012Validator(json.loads((SCHEMAS[0] / "report.schema.json").read_text())).validate(content)
    assert content["verdict"] is None and content["counts"] == found.counts
    pdf = PdfReader(folder / files.PDF)
    words = " ".join(pdf.pages[0].extract_text().split())
    assert len(pdf.pages) == 1
    for sentence in (*found.sentences, content["notice"], "2 malignant fields stand alone.", "2026-01-31"):
        assert sentence in words


def test_scan_json_comes_last_and_vouches_for_the_others(folder: Path) -> None:
    scan = json.loads((folder / files.SCAN).read_text())
    assert scan["complete"] is True
    names = {path.name for path in folder.iterdir()} - {files.SCAN}
    assert names | {ROWS} == scan["files"].keys()
    for name in names:
        assert scan["files"][name] == hashlib.sha256((folder / name).read_bytes()).hexdigest()
        assert (folder / name).stat().st_mtime_ns <= (folder / files.SCAN).stat().st_mtime_ns


def test_the_same_rows_give_the_same_bytes(folder: Path, found: Findings, tmp_path: Path) -> None:
    for path in files.write_all(tmp_path, found, grey(147, 79), 1.25, DAY):
        assert path.read_bytes() == (folder / path.name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("name", slides.VENDORS)
def test_nothing_that_lies_beside_the_slide_is_in_any_file(name: str, tmp_path: Path) -> None:
    """Every place for a name holds the marker, and label and macro have a colour that no slide has."""
    make, _, _ = slides.VENDORS[name]
    path = tmp_path / f"FILE-OF-JANE-{name}"  # no word that a report may have of its own
    make(path, slides.pyramid(slides.drawn(1024, 1024), 3))
    held = b"".join(one.read_bytes() for one in tmp_path.rglob("*") if one.is_file())
    assert slides.MARKER.encode() in held or name == "leica.scn" or name == "trestle.tif"
    with open_slide(path) as slide:
        for _ in Scan(slide, quick_model(), tmp_path / "out").run():
            pass
        rows = read_rows(tmp_path / "out")
        assert rows is not None
        written = files.write_all(tmp_path / "out", findings_of(*rows), slide.overview, find_tissue(slide).mm2, DAY)
    green = np.array(slides.labelled()[0, 0], int)
    for path in [*written, tmp_path / "out" / ROWS]:
        data = path.read_bytes()
        data += gzip.decompress(data) if path.suffix == ".gz" else b""
        if path.suffix == ".pdf":
            pdf = PdfReader(path)
            data += repr((pdf.metadata, pdf.pages[0].extract_text())).encode()
        assert slides.MARKER.encode() not in data and b"FILE-OF-JANE" not in data
        if path.suffix == ".png":
            pixels = np.asarray(Image.open(path).convert("RGB"), int)
            assert np.abs(pixels - green).max(2).min() > 60
