"""The report: the page's own pixels and numbers, the same bytes again, polygons that are exact, nobody's name."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from io import BytesIO

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pypdf import PdfReader

from dala import report as reports
from dala.explain.render import encode_png
from dala.explain.threshold import threshold
from dala.intake.gate import Reason
from dala.nets.familiarity import Gate
from dala.nets.runtime import load_model
from dala.opinion import Explanation, Opinion, explain, second_opinion
from dala.phantoms import draw
from dala.report import LONGEST_COMMENT, ReportError, Words, geojson, pdf, polygons, read_report, report, ring_area

DAY = date(2026, 3, 14)
NAME = "Erika Mustermann 1961"


@pytest.fixture(scope="module")
def opinion() -> Opinion:
    found = second_opinion(encode_png(draw("nest_beside_ducts").pixels), load_model(), f"{NAME}.png")
    return replace(found, gate=Gate(None, 1.5, 0.42))


@pytest.fixture(scope="module")
def explanation(opinion: Opinion) -> Explanation:
    return explain(opinion, "malignant", "mean_std", 0.5)


def page_text(content: bytes) -> str:
    return " ".join(PdfReader(BytesIO(content)).pages[0].extract_text().split())


# Polygons


def at(rows: list[str]) -> np.ndarray:
    return np.array([[one == "#" for one in row] for row in rows])


def test_one_pixel_is_a_square() -> None:
    assert polygons(at([".#"]), (2.0, 10.0)) == [[[[10, 0], [20, 0], [20, 2], [10, 2], [10, 0]]]]


def test_straight_edges_have_corners_only() -> None:
    assert polygons(at(["###", "###"]), (1, 1)) == [[[[0, 0], [3, 0], [3, 2], [0, 2], [0, 0]]]]


def test_a_hole_is_the_second_ring() -> None:
    ((outer, hole),) = polygons(at(["###", "#.#", "###"]), (1, 1))
    assert ring_area(outer) == 9 and ring_area(hole) == -1
    assert sorted(map(tuple, hole[:-1])) == [(1, 1), (1, 2), (2, 1), (2, 2)]


def test_pixels_that_touch_at_a_corner_are_two_polygons() -> None:
    assert [[ring_area(ring) for ring in rings] for rings in polygons(at(["#.", ".#"]), (1, 1))] == [[1], [1]]


def test_a_ring_that_closes_at_a_corner_keeps_its_hole() -> None:
    # The part meets itself at the middle of the picture: one simple outer ring and a hole, not a figure of eight.
    ((outer, hole),) = polygons(at(["##.", "#.#", "###"]), (1, 1))
    assert (ring_area(outer), ring_area(hole)) == (8, -1)
    # Two gaps that touch at a corner are two holes.
    ((outer, *holes),) = polygons(at(["####", "#.##", "##.#", "####"]), (1, 1))
    assert ring_area(outer) == 16 and [ring_area(hole) for hole in holes] == [-1, -1]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9), st.floats(0.1, 0.9))
def test_polygons_hold_the_pixels_and_nothing_else(seed: int, height: int, width: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    found = polygons(mask, (1, 1))
    area = 0.0
    for rings in found:
        for number, ring in enumerate(rings):
            assert ring[0] == ring[-1] and len({tuple(point) for point in ring}) == len(ring) - 1  # simple
            assert (ring_area(ring) > 0) == (number == 0)
            area += ring_area(ring)
    assert area == mask.sum()
    for y in range(height):
        for x in range(width):
            middle = (x + 0.5, y + 0.5)
            inside = sum(
                all((cv2.pointPolygonTest(np.float32(ring), middle, False) > 0) == (number == 0)
                    for number, ring in enumerate(rings))
                for rings in found
            )  # fmt: skip
            assert inside == int(mask[y, x])


def test_geojson_has_the_regions_of_the_screen(opinion: Opinion, explanation: Explanation) -> None:
    found = json.loads(geojson(opinion, explanation))
    regions = explanation.regions.regions
    assert found["type"] == "FeatureCollection" and len(found["features"]) == len(regions) > 0
    whole = opinion.patch.width * opinion.patch.height
    for feature, region in zip(found["features"], regions, strict=True):
        area = sum(ring_area(ring) for rings in feature["geometry"]["coordinates"] for ring in rings)
        assert area / whole == pytest.approx(region.area)
        points = np.array([point for rings in feature["geometry"]["coordinates"] for ring in rings for point in ring])
        left, top, right, bottom = region.box
        assert (points.min(0) >= (left, top)).all() and (points.max(0) <= (right, bottom)).all()
        assert feature["properties"]["objectType"] == "annotation"
        assert feature["properties"]["measurements"]["Area (% of the picture)"] == pytest.approx(100 * region.area)


# JSON


def test_json_reads_back_and_keeps_the_schema(opinion: Opinion, explanation: Explanation) -> None:
    written = report(opinion, explanation, Words("ein Kern 中", "malignant", False), DAY)
    assert read_report(written.json()) == written
    schema = json.loads(reports.SCHEMA.read_text())
    Draft202012Validator.check_schema(schema)
    said = written.content["opinion"]
    # The map in it is the opinion's own: the same rule on it gives the same regions.
    values = np.array(said["map"]["values"], dtype=np.float32)
    np.testing.assert_array_equal(values, opinion.maps["malignant"].values)
    again = replace(opinion.maps["malignant"], values=values).enlarged(*explanation.field.shape)
    regions = threshold(again, said["rule"], said["parameter"])
    assert (regions.threshold, regions.kept_area) == (said["threshold"], said["kept_area"])
    assert written.content["person"] == {"comment": "ein Kern 中", "own_read": "malignant", "agree": False}
    assert written.content["model"]["measured"]["auc"] == opinion.model.card.fields["metrics"]["values"]["auc"]


def test_what_is_no_report_is_refused(opinion: Opinion, explanation: Explanation) -> None:
    written = report(opinion, explanation, Words(), DAY)
    with pytest.raises(ReportError, match="not JSON"):
        read_report("{")
    with pytest.raises(ReportError, match="opinion/rule is not as the schema wants it"):
        read_report(json.dumps({**written.content, "opinion": {**written.content["opinion"], "rule": "magic"}}))
    with pytest.raises(ReportError, match="the whole"):
        read_report(json.dumps({**written.content, "patient": "x"}))
    with pytest.raises(ReportError, match=f"at most {LONGEST_COMMENT} characters"):
        report(opinion, explanation, Words("x" * (LONGEST_COMMENT + 1)), DAY)


# PDF


def test_pdf_is_one_page_with_the_pixels_of_the_screen(opinion: Opinion, explanation: Explanation) -> None:
    content = pdf(opinion, explanation, Words("Kerne", "benign", True), DAY)
    reader = PdfReader(BytesIO(content))
    assert len(reader.pages) == 1
    found = [np.asarray(picture.image.convert("RGB")) for picture in reader.pages[0].images]
    parts = explanation.panels
    for wanted in (parts.patch, parts.gradcam, parts.dt, parts.bar):
        assert any(one.shape == wanted.shape and (one == wanted).all() for one in found)
    text = page_text(content)
    regions = explanation.regions
    for said in (
        "2026-03-14",
        "For research and teaching only, not for diagnosis.",
        f"{regions.threshold:.3g} (raw map units)",
        "Mean + k standard deviations, k = 0.5",
        f"{100 * regions.kept_area:.1f} % of the picture",
        "Own read: benign. Agrees with the model. Kerne",
        "grouped cross-validation by accession number",
        str(opinion.model.card.fields["sha256"])[:16],
        opinion.patch.sha256[:16],
    ):
        assert said in text
    assert "utside the model" not in text


def test_same_opinion_same_bytes(opinion: Opinion, explanation: Explanation) -> None:
    words = Words("once more", None, None)
    assert pdf(opinion, explanation, words, DAY) == pdf(opinion, explanation, words, DAY)
    other = pdf(opinion, explanation, words, date(2027, 1, 1))
    assert page_text(other) == page_text(pdf(opinion, explanation, words, DAY)).replace("2026-03-14", "2027-01-01")
    one, two = (report(opinion, explanation, words, day).content for day in (DAY, date(2027, 1, 1)))
    assert {**one, "date": ""} == {**two, "date": ""}


def test_no_name_unless_asked_for(opinion: Opinion, explanation: Explanation) -> None:
    for with_name in (False, True):
        found = dict(reports.files(opinion, explanation, Words(with_name=with_name), DAY))
        assert len(found) == 8
        said = [*found, *(page_text(c) for n, c in found.items() if n.endswith(".pdf"))]
        said += [content.decode() for name, content in found.items() if name.endswith("json")]
        raw = b"".join(found.values())
        assert any(NAME in text for text in said) == with_name
        if not with_name:
            assert b"Mustermann" not in raw


def test_outside_the_competence_there_is_no_verdict(opinion: Opinion, explanation: Explanation) -> None:
    strange = replace(opinion, gate=Gate(Reason("unfamiliar", "This picture is strange."), 9.0, 0.0))
    text = page_text(pdf(strange, explanation, Words(), DAY))
    assert "no verdict" in text and "This picture is strange." in text and "probability of" not in text
    assert "outside the model's competence" in text
    assert "not passed (unfamiliar)" in text


def test_what_a_person_writes_is_text(opinion: Opinion, explanation: Explanation) -> None:
    text = page_text(pdf(opinion, explanation, Words("<b>fett</b> & größer < кл. κύτ 中文\nzweite Zeile"), DAY))
    assert "<b>fett</b> & größer < кл. κύτ ?? zweite Zeile" in text


def test_the_longest_comment_stays_on_the_page(opinion: Opinion) -> None:
    many = explain(opinion, "malignant", "percentile", 60.0)
    words = Words("W" * 40 + " " + "wide words " * 87, "not sure", False)
    content = pdf(opinion, many, words, DAY)
    assert len(PdfReader(BytesIO(content)).pages) == 1
    lines: set[float] = set()

    def note(text: str, cm: list[float], tm: list[float], *_: object) -> None:
        if text.strip():
            lines.add(round(tm[5] + cm[5]))

    PdfReader(BytesIO(content)).pages[0].extract_text(visitor_text=note)
    foot, lowest = sorted(lines)[:2]
    assert foot == 24 and lowest > foot + 8


def test_panels_are_the_screens(explanation: Explanation) -> None:
    found = reports.png_panels(explanation)
    for name in ("patch", "gradcam", "dt", "bar"):
        pixels = cv2.cvtColor(cv2.imdecode(np.frombuffer(found[name], np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        np.testing.assert_array_equal(pixels, getattr(explanation.panels, name))
    sheet = cv2.imdecode(np.frombuffer(found["sheet"], np.uint8), cv2.IMREAD_COLOR)
    assert sheet.shape[1] == 3 * explanation.panels.patch.shape[1] + explanation.panels.bar.shape[1] + 24
