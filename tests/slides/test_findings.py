"""What follows from the rows of a scan: worked out by hand on maps that are written down here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from shapely.geometry import shape
from shapely.ops import unary_union

from dala.runtime.card import Card, read_card
from dala.slides.findings import Findings, expected_of, false_alarms, findings_of, missed_carcinoma, normal_tissue
from dala.slides.grid import Grid
from dala.slides.rows import Header, Row

STATE = {"M": "malignant", "b": "benign", "?": "not sure", "o": "outside", "x": "unreadable"}
P = {"M": 0.9, "b": 0.1, "?": 0.5}


def header(columns: int, rows: int, fields: int, **more: Any) -> Header:
    """Of a slide at 0.5 um, a little less than so many fields wide and high."""
    return {
        "schema": 1,
        "slide": "0" * 64,
        "format": "Aperio SVS",
        "size": [columns * 490 - 90, rows * 322 - 22],
        "um": {"rows": 0.5, "columns": 0.5, "source": "file"},
        "grid": {"columns": columns, "rows": rows, "field": [490.0, 322.0]},
        "fields": fields,
        "coarse": 1,
        "plan": "1" * 64,
        "batch": 4,
        "weights": "breast",
        "weights_sha256": str(read_card("breast")[0].fields["sha256"]),
        "site": None,
        "engine": "torch",
        **more,
    }


def findings(*lines: str, fields: int | None = None, **more: Any) -> Findings:
    """Of a map with a letter for every field, a dot for one that has no tissue."""
    rows = [
        Row(x, y, (0, 0, 1, 1), 1.0, STATE[letter], P.get(letter), "stain" if letter == "o" else None)
        for y, line in enumerate(lines)
        for x, letter in enumerate(line)
        if letter != "."
    ]
    told = header(len(lines[0]), len(lines), len(rows) if fields is None else fields, **more)
    return findings_of(told, rows)


def test_regions_are_fields_that_touch() -> None:
    found = findings(
        "MM.b.",
        "?.M..",
        "oooxM",
        "M....",
    )
    assert found.counts == {"malignant": 5, "benign": 1, "not sure": 1, "outside": 3, "unreadable": 1}
    first, *singles = found.regions
    assert first.fields == ((0, 0), (1, 0), (2, 1)) and first.number == 1
    assert first.box == (0, 0, 3 * 490, 2 * 322)
    assert first.mm2 == pytest.approx(3 * 490 * 322 * 0.25 / 1e6)
    assert (first.highest, first.mean) == (0.9, 0.9)
    assert found.groups == (first,) and found.singles == tuple(singles)
    # The last column and row are narrower: what is shared with the neighbour is not counted twice.
    corner, left = singles
    assert left.fields == ((4, 2),) and corner.fields == ((0, 3),)
    assert left.box == (4 * 490, 2 * 322, 5 * 490 - 90, 3 * 322)
    assert corner.mm2 == pytest.approx(490 * 300 * 0.25 / 1e6)


def test_outlines_are_simple_and_have_the_fields_area() -> None:
    """By shapely: the union of the fields, with the hole in the middle, and parts that touch at a corner apart."""
    found = findings("MMM..", "M.M..", "MMM..", "...M.")
    (region,) = found.regions
    drawn = shape({"type": "MultiPolygon", "coordinates": region.outline})
    grid = Grid((5 * 490 - 90, 4 * 322 - 22), (490, 322))
    cells = unary_union([shape(rectangle(*grid.cell(*at))) for at in region.fields])
    assert drawn.is_valid and len(drawn.geoms) == 2 and drawn.equals(cells)
    assert drawn.area * 0.25 / 1e6 == pytest.approx(region.mm2)


def rectangle(left: int, top: int, right: int, bottom: int) -> dict[str, Any]:
    return {
        "type": "Polygon",
        "coordinates": [[[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]],
    }


def card(**laboratories: Any) -> Card:
    """24 images, 15 of them benign; 9 are answered and 1 of these wrongly, a benign one called malignant."""
    unknown = {
        "images": 24,
        "benign": 15,
        "answered": {"share": {"value": 9 / 24}, "wrong": {"value": 1 / 9, "low": 0.0, "high": 1 / 3}},
        "scores": {"specificity": {"value": 7 / 15, "low": 0.2, "high": 0.8}},
    }
    return Card({"unknown_laboratory": unknown, "laboratories": laboratories})


def test_false_alarms_worked_out_by_hand() -> None:
    assert false_alarms(card(), None) == pytest.approx((1 / 15, 0, 3 / 15))
    # A forced answer is wrong on 1 of 20 benign images: the answers that are given cannot be wrong on more of them.
    answered = {"share": {"value": 1.0}, "wrong": {"value": 0.2, "low": 0.1, "high": 0.4}}
    specificity = {"value": 0.95, "low": 0.9, "high": 1.0}
    known = {"images": 40, "benign": 20, "answered": answered, "scores": {"specificity": specificity}}
    assert false_alarms(card(known=known), "known") == pytest.approx((0.05, 0, 0.1))
    assert false_alarms(card(), "nowhere") is None


def test_expected_false_alarms_are_summed_over_the_fields_that_are_judged() -> None:
    rows = [Row(0, 0, (0, 0, 1, 1), 1.0, state, 0.5) for state in ("malignant", "benign", "not sure", "outside")]
    expected = expected_of(rows * 5, card())
    assert expected is not None
    assert (expected.value, expected.low, expected.high) == pytest.approx((1, 0, 3))
    assert expected_of(rows[3:], card()) is None


def test_sentences() -> None:
    told = " ".join(findings("MMb?", "oxoo", um={"rows": 0.25, "columns": 0.25, "source": "user"}).sentences)
    assert "Of 8 fields: malignant 2, benign 1, not sure 1, outside the model's competence 3." in told
    assert "no verdict on the slide" in told and "1 of 8 fields could not be read" in told
    assert "0.25 um, was given by the user" in told and "if all were benign" in told
    assert "not complete: 4 of 9 fields" in findings("MMb?", fields=9).sentences[0]
    mostly = findings("o" * 19 + "b")
    assert (
        mostly.outside == "stain" and "outside the model's competence: stain (19 of 20 fields)" in mostly.sentences[0]
    )
    assert findings("o" * 9 + "b").outside is None


def test_a_site_s_false_alarms_are_not_on_the_card() -> None:
    assert findings("Mb", site={"name": "Ours", "sha256": "2"}).expected is None


def test_normal_tissue_is_that_of_these_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sha = str(read_card("breast")[0].fields["sha256"])
    assert "fat" in normal_tissue(sha) and "lymphocytes" in normal_tissue(sha)
    assert normal_tissue("0" * 64) == ""
    parts = [
        {"shows": shows, "counts": {"malignant": malignant, "pictures": fields}}
        for shows, malignant, fields in (("stroma", 0, 12), ("immunecels", 8, 10), ("invasive carcinoma", 9, 9))
    ]
    monkeypatch.setattr("dala.slides.findings.shipped", lambda _: tmp_path)
    (tmp_path / "mosaics.json").write_text(json.dumps({"weights_sha256": sha, "parts": parts}))
    assert normal_tissue(sha).endswith("lymphocytes 8 of 10, stroma 0 of 12.")
    for broken in ("{", "[]", json.dumps({"weights_sha256": sha, "parts": [{"shows": "stroma"}]})):
        (tmp_path / "mosaics.json").write_text(broken)
        assert normal_tissue(sha) == ""


def test_what_is_missed_is_said_beside_what_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = json.loads((Path(__file__).resolve().parents[2] / "evidence" / "mosaics.json").read_text())
    counts = shipped["outlined"]
    said = missed_carcinoma(shipped["weights_sha256"])
    assert f"Of {counts['pictures']} fields of outlined carcinoma" in said
    assert f"malignant {counts['malignant']}, benign {counts['benign']};" in said
    assert said in findings("Mb?").sentences
    assert missed_carcinoma("0" * 64) == ""
    (tmp_path / "mosaics.json").write_text(json.dumps(shipped | {"outlined": {"pictures": 0}}))
    monkeypatch.setattr("dala.slides.findings.shipped", lambda _: tmp_path)
    assert missed_carcinoma(shipped["weights_sha256"]) == ""
