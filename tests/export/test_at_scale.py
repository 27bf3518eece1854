"""Scale, verdict, laboratory and fields in what is kept of an opinion, and areas in um2."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from dala.cli.serve import _in_words
from dala.export.geojson import geojson
from dala.export.pdf import pdf
from dala.export.records import prediction_record, square_um
from dala.export.report import Remarks, read_report, report
from dala.export.worth import basis, has_probability, probability_in_words, worth
from dala.files import shipped
from dala.intake.image import read_image
from dala.opinion import Explanation, Opinion, explain, opinion_of
from dala.runtime.calibration import Calibration
from dala.runtime.card import read_card
from dala.runtime.predict import load_model
from dala.words import figure, share
from tests.helpers.physical import at_scale, drawn
from tests.helpers.reports import page_text

pytestmark = pytest.mark.slow
EITHER = {"0.10": {"benign": 0.5, "malignant": 0.5}}


@pytest.fixture(scope="module")
def large() -> Opinion:
    """Four small fields of an image whose rows are closer together than its columns."""
    patch = read_image(drawn(264, 330).pixels, "x.png", (0.5, 0.25))
    found = opinion_of(patch, at_scale(load_model("breakhis"), EITHER, field_um=[40, 52]))
    return replace(found, gate=replace(found.gate, reason=None, laboratory="UCSB"))


@pytest.fixture(scope="module")
def explained(large: Opinion) -> Explanation:
    return explain(large, "malignant", "percentile", 50)


def test_the_record(large: Opinion) -> None:
    record = prediction_record(large)
    assert record["pixel_size"] == {"rows": 0.5, "columns": 0.25, "source": "user", "told": ""}
    assert record["um_per_pixel"] == 0.5
    assert (record["verdict"], record["verdict_reason"]) == (large.verdict.answer, None)
    assert record["gate"]["laboratory"] == "UCSB"  # type: ignore[index]
    fields = record["fields"]
    assert isinstance(fields, list) and len(fields) == len(large.prediction.fields) > 1
    assert fields[0]["box"] == list(large.prediction.fields[0].box)
    malignant = [field["probabilities"]["malignant"] for field in fields]
    assert malignant == sorted(malignant, reverse=True)


def test_not_sure_for_its_scale(large: Opinion, explained: Explanation) -> None:
    sure, other = np.array([0.1, 0.9]), np.array([0.9, 0.1])
    unknown = replace(large, prediction=replace(large.prediction, probabilities=sure, rescaled=(other, sure)))
    record = prediction_record(unknown)
    assert (record["verdict"], record["verdict_reason"], record["not_sure"]) == (None, "scale", True)
    assert record["prediction"] == "malignant"
    assert json.loads(geojson(unknown, explained))["verdict_reason"] == "scale"
    assert pdf(unknown, explained, Remarks(), date(2026, 1, 1)).startswith(b"%PDF")


def test_the_report_keeps_its_schema_and_reads_back(large: Opinion, explained: Explanation) -> None:
    written = report(large, explained, Remarks(), date(2026, 1, 1))
    assert read_report(written.json()) == written
    said = written.content["opinion"]
    assert said["map"]["lattice"] == {
        "first": list(large.maps["malignant"].lattice.first),  # type: ignore[union-attr]
        "pitch": list(large.maps["malignant"].lattice.pitch),  # type: ignore[union-attr]
    }
    # 330 rows of 0.5 um, 264 columns of 0.25 um: 165 x 66 um.
    assert square_um(large) == pytest.approx(165 * 66)
    for region, one in zip(said["regions"], explained.regions.regions, strict=True):
        assert region["area_um2"] == pytest.approx(one.area * 10_890, abs=0.01)


def test_geojson_has_areas_in_um2_where_the_scale_is_known(large: Opinion, explained: Explanation) -> None:
    told = json.loads(geojson(large, explained))
    assert told["pixel_size"]["columns"] == 0.25 and told["laboratory"] == "UCSB"
    assert told["features"]
    for feature, one in zip(told["features"], explained.regions.regions, strict=True):
        assert feature["properties"]["measurements"]["Area (um^2)"] == pytest.approx(one.area * 10_890)
    unknown = replace(large, patch=replace(large.patch, pixel_size=None))
    for feature in json.loads(geojson(unknown, explained))["features"]:
        assert "Area (um^2)" not in feature["properties"]["measurements"]


def test_what_an_unknown_laboratory_makes_of_the_probability() -> None:
    """A threshold of 0 for malignant keeps it in every set, so benign is never answered alone."""
    card, _ = read_card("breast")
    told = worth(card, None)
    assert told.startswith("From a laboratory that the model does not know, where it never answers benign. Of ")
    # Every laboratory that was left out, not the one that looks best.
    measured = json.loads(Path(shipped("evidence") / "laboratories.json").read_text())["laboratories"]
    for name, one in measured.items():
        answered, wrong = (one["answered_left_out"][part] for part in ("share", "wrong"))
        assert f"{name} {share(answered['value'])}, of that wrong {figure(wrong, percent=True)}" in told
        assert f"{name}, {one['images']} images of {one['groups']} patients" in basis(card, None)
    assert "never answers" not in worth(card, "UCSB")


@pytest.mark.parametrize(
    ("laboratory", "left", "words"),
    [
        ("UCSB", ["benign"], "Benign Calibrated probability 97 %."),
        (
            None,
            ["benign", "malignant"],
            "Not sure The model leans towards benign; no probability holds for its laboratory",
        ),
    ],
)
def test_not_sure_in_an_unknown_laboratory_has_no_probability(
    large: Opinion, explained: Explanation, laboratory: str | None, left: list[str], words: str
) -> None:
    """What is exported as the prediction set is the one that the verdict was made from."""
    sets = {0.1: (0.5, 0.5)}
    calibration = Calibration(("benign", "malignant"), 1.0, (0.0, 0.0), {0.1: (0.9, 0.0)}, {"UCSB": sets})
    prediction = replace(large.prediction, probabilities=np.array([0.97, 0.03]), calibration=calibration)
    found = replace(large, gate=replace(large.gate, laboratory=laboratory), prediction=prediction)
    record = prediction_record(found)
    assert (record["set"], record["sets"]) == (left, {"0.10": left})
    assert (record["verdict"] is None) == record["not_sure"] == (len(left) == 2) == (not record["calibrated"])
    assert record["probabilities"] == {"benign": 0.97, "malignant": 0.03}  # for programs
    assert has_probability(record) is found.verdict.has_probability is (laboratory is not None)
    text = page_text(pdf(found, explained, Remarks(), date(2026, 1, 1)))
    assert words in text and ("97 %" in text) is (laboratory is not None)
    told = _in_words({**record, "site": None})
    assert told.startswith(
        "benign (benign 0.970" if laboratory else "not sure, leaning to benign (no probability holds"
    )


def test_an_answer_in_an_unknown_laboratory_says_where_its_probability_was_calibrated() -> None:
    assert probability_in_words("97 %", True, True) == "Calibrated probability 97 %."
    assert probability_in_words("97 %", False, True) == "Model probability 97 %, calibrated on other laboratories only."
    assert probability_in_words("97 %", False, False) == "Model probability 97 %, not calibrated."
