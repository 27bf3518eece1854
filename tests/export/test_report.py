"""The report's JSON: it keeps its schema, reads back, and holds the map and the effect curve whole."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from dala.errors import ReportError
from dala.explanation.threshold import threshold
from dala.export.report import LONGEST_COMMENT, SCHEMA, Remarks, read_report, report
from dala.opinion import Explanation, Opinion
from tests.helpers.reports import DAY, curve_of


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
