"""The report: the page's own pixels and numbers, the same bytes again, polygons that are exact, nobody's name."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pypdf import PdfReader
from shapely import contains_xy, is_valid_reason
from shapely.geometry import shape

from dala.cli.main import main
from dala.errors import ReportError
from dala.explanation.effect import EffectCurve
from dala.explanation.render import encode_png
from dala.explanation.threshold import threshold
from dala.export import bundle as reports
from dala.export.geojson import geojson, polygons
from dala.export.pdf import pdf
from dala.export.report import LONGEST_COMMENT, OWN_READS, SCHEMA, Remarks, read_report, report
from dala.export.typeset import drawable
from dala.gate import Gate
from dala.gate.checks import Reason
from dala.opinion import NOTICE, Explanation, Opinion, explain, opinion_of, second_opinion
from dala.phantoms.tissue import draw
from dala.runtime import predict as runtime
from dala.runtime.predict import load_model
from tests.helpers.generated import examples

DAY = date(2026, 3, 14)
NAME = "Erika Mustermann 1961"


@pytest.fixture(scope="module")
def opinion() -> Opinion:
    found = second_opinion(encode_png(draw("nest_beside_ducts").pixels), load_model(), name=f"{NAME}.png")
    return replace(found, gate=Gate(None, 1.5, 0.42))


@pytest.fixture(scope="module")
def explanation(opinion: Opinion) -> Explanation:
    return explain(opinion, "malignant", "mean_std", 0.5)


def curve_of(target: str = "malignant", suggested: int | None = 1) -> EffectCurve:
    shares = np.array([0.05, 0.25, 0.5])
    shown, removed = np.array([0.3, 0.875, 0.9]), np.array([0.85, 0.4, 0.2])
    reason = None if suggested is not None else "The baseline alone already gives this verdict."
    return EffectCurve(
        target, "glass", np.array([0.03, 0.02, 0.01]), shares, shown, removed, 0.95, 0.1, suggested, reason
    )


def page_text(content: bytes) -> str:
    return " ".join(PdfReader(BytesIO(content)).pages[0].extract_text().split())


# Polygons


def ring_area(ring: list[list[float]]) -> float:
    """Shoelace area of a closed ring, positive if it runs clockwise as seen with y downwards."""
    x, y = np.array(ring).T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)


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
    # The part meets itself at the middle of the image: one simple outer ring and a hole, not a figure of eight.
    ((outer, hole),) = polygons(at(["##.", "#.#", "###"]), (1, 1))
    assert (ring_area(outer), ring_area(hole)) == (8, -1)
    # Two gaps that touch at a corner are two holes.
    ((outer, *holes),) = polygons(at(["####", "#.##", "##.#", "####"]), (1, 1))
    assert ring_area(outer) == 16 and [ring_area(hole) for hole in holes] == [-1, -1]


@examples(150)
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


@examples(150)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12), st.floats(0.1, 0.9))
def test_another_reader_takes_the_polygons(seed: int, height: int, width: int, share: float) -> None:
    """GEOS, a port of the library (JTS) by which QuPath reads geometries, and as strict."""
    mask = np.random.default_rng(seed).random((height, width)) < share
    read = shape({"type": "MultiPolygon", "coordinates": polygons(mask, (1.5, 2.25))})
    assert is_valid_reason(read) == "Valid Geometry"
    assert read.area == pytest.approx(mask.sum() * 1.5 * 2.25)
    y, x = np.mgrid[:height, :width]
    np.testing.assert_array_equal(contains_xy(read, (x + 0.5) * 2.25, (y + 0.5) * 1.5), mask)


def rings_of(geometry: dict[str, Any]) -> list[list[list[float]]]:
    parts = [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]
    assert geometry["type"] == "Polygon" or len(parts) > 1  # QuPath takes no MultiPolygon of one
    return [ring for rings in parts for ring in rings]


def test_geojson_has_the_regions_of_the_screen(opinion: Opinion, explanation: Explanation) -> None:
    found = json.loads(geojson(opinion, explanation))
    regions = explanation.regions.regions
    assert found["type"] == "FeatureCollection" and len(found["features"]) == len(regions) > 0
    assert found["notice"] == NOTICE and not found["outside_competence"]
    whole = opinion.patch.width * opinion.patch.height
    for number, (feature, region) in enumerate(zip(found["features"], regions, strict=True), start=1):
        rings = rings_of(feature["geometry"])
        assert sum(ring_area(ring) for ring in rings) / whole == pytest.approx(region.area)
        points = np.array([point for ring in rings for point in ring])
        left, top, right, bottom = region.box
        assert (points.min(0) >= (left, top)).all() and (points.max(0) <= (right, bottom)).all()
        said = feature["properties"]
        assert (said["objectType"], said["name"]) == ("annotation", f"{number}: towards malignant")
        assert said["classification"] == {"name": "DT Grad-CAM malignant", "color": [213, 94, 0]}
        assert said["measurements"]["Area (% of the image)"] == pytest.approx(100 * region.area)


def test_a_image_larger_than_the_screen_has_regions_in_its_own_pixels(opinion: Opinion) -> None:
    pixels = cv2.resize(opinion.patch.pixels, (1201, 997), interpolation=cv2.INTER_AREA)
    large = opinion_of(replace(opinion.patch, pixels=pixels), opinion.model)
    found = explain(large, "malignant", "percentile", 70.0)
    assert found.field.shape[1] == 768
    features = json.loads(geojson(large, found))["features"]
    area = sum(ring_area(ring) for feature in features for ring in rings_of(feature["geometry"]))
    scale = 1201 / 768 * 997 / found.field.shape[0]
    assert area == pytest.approx(np.count_nonzero(found.regions.mask) * scale, rel=1e-12)


def test_two_parts_that_touch_at_a_corner_are_one_annotation(opinion: Opinion, explanation: Explanation) -> None:
    height, width = explanation.field.shape
    field = np.full((height, width), -1, dtype=np.float32)
    field[:80, :80] = field[80:160, 80:160] = 1
    touching = replace(explanation, field=field, regions=threshold(field, "fixed", 0.5))
    (feature,) = json.loads(geojson(opinion, touching))["features"]
    assert feature["geometry"]["type"] == "MultiPolygon"
    assert sum(ring_area(ring) for ring in rings_of(feature["geometry"])) == pytest.approx(
        2 * 80 * 80 * opinion.patch.width * opinion.patch.height / (height * width)
    )


def test_annotations_of_a_strange_image_say_so(opinion: Opinion, explanation: Explanation) -> None:
    strange = replace(opinion, gate=Gate(Reason("unfamiliar", "This image is strange."), 9.0, 0.0))
    found = json.loads(geojson(strange, explanation))
    assert found["outside_competence"]
    assert all(
        one["properties"]["name"].endswith("towards malignant, outside the model's competence")
        for one in found["features"]
    )


# JSON


def test_json_reads_back_and_keeps_the_schema(opinion: Opinion, explanation: Explanation) -> None:
    written = report(opinion, explanation, Remarks("ein Kern 中", "malignant", False), DAY)
    assert read_report(written.json()) == written
    schema = json.loads(SCHEMA.read_text())
    Draft202012Validator.check_schema(schema)
    said = written.content["opinion"]
    # The map in it is the opinion's own: the same rule on it gives the same regions.
    values = np.array(said["map"]["values"], dtype=np.float32)
    np.testing.assert_array_equal(values, opinion.maps["malignant"].values)
    again = replace(opinion.maps["malignant"], values=values).upsampled(*explanation.field.shape)
    regions = threshold(again, said["rule"], said["parameter"])
    assert (regions.threshold, regions.kept_area) == (said["threshold"], said["kept_area"])
    assert written.content["person"] == {
        "comment": "ein Kern 中",
        "read_first": None,
        "own_read": "malignant",
        "agree": False,
    }
    assert written.content["model"]["measured"]["auc"] == opinion.model.card.fields["metrics"]["values"]["auc"]


def test_an_effect_curve_is_in_the_report_whole(opinion: Opinion, explanation: Explanation) -> None:
    curve = curve_of()
    written = report(opinion, explanation, Remarks(), DAY, curve)
    assert read_report(written.json()) == written
    said = written.content["effect"]
    for key in ("thresholds", "kept_area", "shown", "removed"):
        np.testing.assert_array_equal(said[key], getattr(curve, key))
    assert (said["baseline"], said["whole"], said["nothing"], said["suggested"]) == ("glass", 0.95, 0.1, 1)
    with pytest.raises(ValueError, match="of benign, the explanation of malignant"):
        report(opinion, explanation, Remarks(), DAY, curve_of("benign"))


def test_what_is_no_report_is_refused(opinion: Opinion, explanation: Explanation) -> None:
    written = report(opinion, explanation, Remarks(), DAY)
    with pytest.raises(ReportError, match="not JSON"):
        read_report("{")
    with pytest.raises(ReportError, match="opinion/rule does not fit the schema"):
        read_report(json.dumps({**written.content, "opinion": {**written.content["opinion"], "rule": "magic"}}))
    with pytest.raises(ReportError, match="the whole"):
        read_report(json.dumps({**written.content, "patient": "x"}))
    with pytest.raises(ReportError, match=f"at most {LONGEST_COMMENT} characters"):
        report(opinion, explanation, Remarks("x" * (LONGEST_COMMENT + 1)), DAY)


# PDF


def test_pdf_is_one_page_with_the_pixels_of_the_screen(opinion: Opinion, explanation: Explanation) -> None:
    content = pdf(opinion, explanation, Remarks("Kerne", "benign", True), DAY)
    reader = PdfReader(BytesIO(content))
    assert len(reader.pages) == 1
    found = [np.asarray(image.image.convert("RGB")) for image in reader.pages[0].images]
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
        f"{100 * regions.kept_area:.1f} % of the image",
        "Own read Benign The model I agree Comment Kerne",
        "Passed. 42 % of the true patches of new patients are at least as far",
        "Protocol: grouped cross-validation by accession number",
        f"AUC {opinion.model.card.fields['metrics']['values']['auc']['value']:.3f}",
        str(opinion.model.card.fields["sha256"]),
        opinion.patch.sha256,
        opinion.seen,
    ):
        assert said in text
    assert "utside the model" not in text and "replacement alone" not in text


@pytest.mark.slow
def test_pdf_tells_the_verdict_of_the_page(opinion: Opinion, explanation: Explanation) -> None:
    calibration = opinion.prediction.calibration
    assert calibration is not None
    words, day = Remarks(), DAY
    for p, said in (
        (0.995, "Benign Calibrated probability of benign over 99 %. With 90 and 95 % confidence: benign."),
        (0.79, "Benign Calibrated probability of benign 79 %. With 90 % confidence: benign. With 95 % confidence: "
               "benign or malignant."),
        (0.6, "Not sure The model leans to benign: calibrated probability of benign 60 %. With 90 and 95 % "
              "confidence: benign or malignant."),
    ):  # fmt: skip
        thresholds = {0.1: (0.65, 0.65), 0.05: (0.05, 0.05)}
        prediction = replace(
            opinion.prediction,
            probabilities=np.array([p, 1 - p]),
            calibration=replace(calibration, thresholds=thresholds),
        )
        assert said in page_text(pdf(replace(opinion, prediction=prediction), explanation, words, day))
    plain = replace(opinion.prediction, calibration=None, probabilities=np.array([0.25, 0.75]))
    text = page_text(pdf(replace(opinion, prediction=plain), explanation, words, day))
    assert "Malignant Probability, not calibrated, of malignant 75 %." in text


def test_pdf_draws_the_effect_curve(opinion: Opinion, explanation: Explanation) -> None:
    text = page_text(pdf(opinion, explanation, Remarks(), DAY, curve_of()))
    assert "Probability of malignant, replacement: white glass" in text and "replacement alone" in text
    assert "The smallest marked part that alone keeps the verdict is 25 % of the image" in text
    assert "without it the probability is 40 %" in text
    text = page_text(pdf(opinion, explanation, Remarks(), DAY, curve_of(suggested=None)))
    assert "No threshold is suggested. The baseline alone already gives this verdict." in text


@pytest.mark.slow
def test_threads_write_the_same_bytes(opinion: Opinion, explanation: Explanation) -> None:
    comments = ["κύτταρο", "клетка", "Zelle", "cellule"]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda comment: pdf(opinion, explanation, Remarks(comment), DAY), comments))
    assert found == [pdf(opinion, explanation, Remarks(comment), DAY) for comment in comments]


def test_what_the_font_lacks() -> None:
    assert drawable("Größe κύτταρο клетка č ≥") == "Größe κύτταρο клетка č ≥"
    assert drawable("Ko\u0308rner") == "K\u00f6rner"  # an accent of its own is joined
    assert drawable("a\u200db\u202ec\x07d\te\u2003f\ng") == "abcd e f\ng"  # what is not seen
    assert drawable("中 🙂 \u0628") == "? ? ?"


# Where everything stands on the page, from the page itself.


def placed(content: bytes) -> tuple[list[tuple[float, float, float, float]], list[tuple[float, float, float, str]]]:
    """Images as (left, bottom, right, top), upright lines of text as (x, y, size, text); in points."""
    images: list[tuple[float, float, float, float]] = []
    lines: list[tuple[float, float, float, str]] = []

    def drawn(operator: bytes, _: object, cm: list[float], __: list[float]) -> None:
        if operator == b"Do":
            images.append((cm[4], cm[5], cm[4] + cm[0], cm[5] + cm[3]))

    def said(text: str, cm: list[float], tm: list[float], _: object, size: float) -> None:
        if text.strip() and cm[1] == 0:
            lines.append((tm[4] + cm[4], tm[5] + cm[5], size, text.strip()))

    page = PdfReader(BytesIO(content)).pages[0]
    page.extract_text(visitor_operand_before=drawn, visitor_text=said)
    return images, lines


SHAPES = {"wide": (60, 450), "landscape": (184, 280), "square": (112, 112), "portrait": (279, 186), "tall": (450, 60)}
COMMENTS = {
    "none": "",
    "words": "wide words " * 90,
    "letters": "W" * LONGEST_COMMENT,
    "lines": "a\n" * (LONGEST_COMMENT // 2),
    "scripts": "中文字 " * 250,
}


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_is_cut_off_or_covered(opinion: Opinion, shape: str) -> None:
    height, width = SHAPES[shape]
    pixels = cv2.resize(opinion.patch.pixels, (width, height), interpolation=cv2.INTER_AREA)
    patch = replace(opinion.patch, pixels=pixels, name="n" * 240 + ".png")
    other = replace(opinion_of(patch, opinion.model), gate=opinion.gate)
    strange = replace(other, gate=Gate(Reason("unfamiliar", "This image is strange. " * 6), 9.0, 0.0))
    many = explain(other, "malignant", "percentile", 60.0)
    for name, comment in COMMENTS.items():
        for one, curve in ((other, None), (strange, curve_of())):
            words = Remarks(comment, "not sure", False, with_name=True)
            content = pdf(one, many, words, DAY, curve)
            assert len(PdfReader(BytesIO(content)).pages) == 1
            images, lines = placed(content)
            assert len(images) == 4, name
            for number, (left, bottom, right, top) in enumerate(images):
                assert 41 < left < right < 554 and 46 < bottom < top < 800
                assert min(right - left, top - bottom) > 15 and max(right - left, top - bottom) > 90
                for a, b, c, d in images[:number]:
                    assert right <= a + 0.01 or c <= left + 0.01 or top <= b + 0.01 or d <= bottom + 0.01
                # The letters of the images' own captions and numbers are below or beside them.
                assert not any(left < x < right and bottom < y < top for x, y, _, _ in lines)
            for x, y, size, text in lines:
                # Nothing is written over, and nothing into the margins.
                assert 41 < x < 554 and 24 < y < 810
                below = [0.75 * other + 0.2 * size > y - q > 0 for p, q, other, _ in lines if abs(x - p) < 1]
                assert not any(below), (name, text)
            where = {text: y for x, y, _, text in lines if x < 43}
            floor = where["Measured"]
            words_below = [y for x, y, _, _ in lines if x > 100 and y < where["Own read"] and y > floor]
            assert where["Own read"] > floor and all(y > floor + 8 for y in words_below)
            # The comment is there to its last letter.
            told = "".join(text for x, y, _, text in lines if floor < y < where["The model"] - 1 and x > 100)
            kept = comment.replace("\n", "").replace(" ", "").replace("中文字", "???")
            assert told.replace(" ", "").replace("/", "").startswith(kept), name


@pytest.mark.slow
def test_same_opinion_same_bytes(opinion: Opinion, explanation: Explanation) -> None:
    words = Remarks("once more", None, None)
    assert pdf(opinion, explanation, words, DAY) == pdf(opinion, explanation, words, DAY)
    other = pdf(opinion, explanation, words, date(2027, 1, 1))
    assert page_text(other) == page_text(pdf(opinion, explanation, words, DAY)).replace("2026-03-14", "2027-01-01")
    one, two = (report(opinion, explanation, words, day).content for day in (DAY, date(2027, 1, 1)))
    assert {**one, "date": ""} == {**two, "date": ""}


def test_no_name_unless_asked_for(opinion: Opinion, explanation: Explanation) -> None:
    for with_name in (False, True):
        found = dict(reports.files(opinion, explanation, Remarks(with_name=with_name), DAY))
        assert len(found) == 8
        said = [*found, *(page_text(c) for n, c in found.items() if n.endswith(".pdf"))]
        said += [content.decode() for name, content in found.items() if name.endswith("json")]
        raw = b"".join(found.values())
        assert any(NAME in text for text in said) == with_name
        if not with_name:
            assert b"Mustermann" not in raw


def test_outside_the_competence_there_is_no_verdict(opinion: Opinion, explanation: Explanation) -> None:
    strange = replace(opinion, gate=Gate(Reason("unfamiliar", "This image is strange."), 9.0, 0.0))
    text = page_text(pdf(strange, explanation, Remarks(), DAY))
    assert "gives no verdict" in text and "This image is strange." in text and "robability of" not in text
    assert text.count("Outside the model's competence") == 2  # the heading, and across the page
    assert "Not passed (unfamiliar). Less than 1 %" in text


def test_what_a_person_writes_is_text(opinion: Opinion, explanation: Explanation) -> None:
    text = page_text(pdf(opinion, explanation, Remarks("<b>fett</b> & größer < кл. κύτ 中文\nzweite Zeile"), DAY))
    assert "<b>fett</b> & größer < кл. κύτ ?? zweite Zeile ? stands for a character that this page's font" in text
    assert "stands for a character" not in page_text(pdf(opinion, explanation, Remarks("sure?"), DAY))


def test_panels_are_the_screens(explanation: Explanation) -> None:
    found = reports.png_panels(explanation)
    for name in ("patch", "gradcam", "dt", "bar"):
        pixels = cv2.cvtColor(cv2.imdecode(np.frombuffer(found[name], np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        np.testing.assert_array_equal(pixels, getattr(explanation.panels, name))
    sheet = cv2.imdecode(np.frombuffer(found["sheet"], np.uint8), cv2.IMREAD_COLOR)
    assert sheet.shape[1] == 3 * explanation.panels.patch.shape[1] + explanation.panels.bar.shape[1] + 24


# The command


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A drawn image; the gate knows drawings from tissue, and lets it pass without its statistics."""
    monkeypatch.setattr(runtime, "load_familiarity", lambda *_: None)
    path = tmp_path / f"{NAME}.png"
    path.write_bytes(encode_png(draw("nest_beside_ducts").pixels))
    return path


@pytest.mark.slow
def test_the_command_writes_what_the_page_does(image: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    call = ["report", str(image), "--out", str(out), "--date", "2026-03-14", "--target", "malignant", "--k", "0.5"]
    assert main([*call, "--comment", "Kerne", "--own-read", "not sure", "--no-agree"]) == 0
    found = second_opinion(image, runtime.load_model())
    explained = explain(found, "malignant", "mean_std", 0.5)
    wanted = dict(reports.files(found, explained, Remarks("Kerne", "not sure", False), DAY))
    assert {path.name: path.read_bytes() for path in out.iterdir()} == wanted
    assert all(name.startswith(f"{found.patch.sha256[:12]}-malignant") for name in wanted)
    assert list(wanted)[-1].endswith(".json")  # the mark of a complete report
    assert main([*call, "--with-name"]) == 0
    assert read_report((out / f"{NAME}-malignant.json").read_text()).content["opinion"]["file"] == image.name


def test_the_command_measures_the_effect_when_asked(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dala import inquiry

    monkeypatch.setattr(inquiry, "effect", lambda _, target, *__: curve_of(target))
    assert main(["report", str(image), "--out", str(tmp_path / "out"), "--effect", "glass"]) == 0
    (path,) = (tmp_path / "out").glob("*.json")
    assert read_report(path.read_text()).content["effect"]["baseline"] == "glass"


def test_the_command_refuses_in_one_sentence(image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    grey = tmp_path / "grey.png"
    cv2.imwrite(str(grey), cv2.imread(str(image), cv2.IMREAD_GRAYSCALE))
    assert main(["report", str(grey), "--out", str(out)]) == 1
    assert "outside the model's competence. The image is grey" in capsys.readouterr().err
    assert main(["report", str(image), "--out", str(out), "--comment", "x" * 1001]) == 1
    assert capsys.readouterr().err == "dala: The comment may hold at most 1000 characters, not 1001.\n"
    assert not list(out.glob("*"))
    assert main(["report", str(grey), "--out", str(out), "--anyway"]) == 0
    (path,) = out.glob("*.pdf")
    assert "Outside the model's competence" in page_text(path.read_bytes())
    for call in (["--own-read", "perhaps"], ["--date", "yesterday"]):
        with pytest.raises(SystemExit):
            main(["report", str(image), "--out", str(out), *call])


def test_the_command_offers_every_own_read(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["report", "--help"])
    assert "{" + ",".join(OWN_READS) + "}" in capsys.readouterr().out
