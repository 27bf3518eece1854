"""The table of a batch: CSV and JSON that read back, no formulas, no names unless wanted."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from dala.batch import analyse
from dala.export.table import nameless, to_csv, to_json
from dala.intake.archive import Upload, members
from dala.opinion import NOTICE
from dala.runtime.predict import load_model
from tests.helpers.archives import zipped


def record(**fields: Any) -> dict[str, Any]:
    return {
        "file": "a.png", "sha256": "ab", "status": "ok", "reason": None,
        "gate": {"reason": None, "distance": 1.25, "rarer": 0.5, "laboratory": "BreakHis"},
        "pixel_size": {"rows": 0.25, "columns": 0.5, "source": "user", "told": ""}, "um_per_pixel": 0.5,
        "verdict": "benign", "verdict_reason": None, "fields": [], "prediction": "benign",
        "probabilities": {"benign": 0.75, "malignant": 0.25}, "calibrated": True, "set": ["benign"],
        "not_sure": False, "sets": {}, "weights": "breakhis", "site": None, "ms": 12.5,
        **fields,
    }  # fmt: skip


def test_csv_reads_back() -> None:
    odd = 'a, "b"\nc; ä.png'
    refused = record(
        file="x.png", status="refused", reason="'x.png' is empty.", gate=None, prediction=None, probabilities=None,
        not_sure=None, ms=None, sha256=None, pixel_size=None, verdict=None,
    )  # fmt: skip
    site = {"name": "Lab A", "sha256": "0" * 64}
    unsure = record(file=odd, not_sure=True, verdict=None, verdict_reason="scale", site=site)
    text = to_csv(iter([unsure, refused]), ("benign", "malignant"))
    assert text.count("\r\n") == 3
    first, second = csv.DictReader(io.StringIO(text, newline=""))
    assert first == {
        "file": odd, "sha256": "ab", "status": "ok", "reason": "", "verdict": "", "verdict_reason": "scale",
        "prediction": "benign", "not_sure": "true", "calibrated": "true",
        "pixel_rows_um": "0.25", "pixel_columns_um": "0.5",
        "pixel_size_source": "user", "laboratory": "BreakHis",
        "probability_benign": "0.75", "probability_malignant": "0.25", "gate_distance": "1.25",
        "weights": "breakhis", "site": "Lab A", "ms": "12.5", "notice": NOTICE,
    }  # fmt: skip
    assert second["reason"] == "'x.png' is empty."
    empty = (
        "sha256",
        "verdict",
        "prediction",
        "not_sure",
        "probability_benign",
        "ms",
        "pixel_rows_um",
        "laboratory",
        "site",
    )
    assert {second[key] for key in (*empty, "site")} == {""}


@pytest.mark.parametrize(
    "start",
    [*"=+-@\t\r\n", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\ufe62", "\ufe66", " =", "\u3000\uff1d"],
    ids=ascii,
)
def test_no_cell_begins_like_a_formula(start: str) -> None:
    name = f'{start}HYPERLINK("http://x")'
    (row,) = csv.DictReader(io.StringIO(to_csv([record(file=name)], ()), newline=""))
    assert row["file"] == f"'{name}"


def test_json_holds_the_records_and_the_notice() -> None:
    assert json.loads(to_json([record()])) == {"notice": NOTICE, "results": [record()]}


def test_without_names_nothing_tells_a_file_but_its_fingerprint() -> None:
    named = [
        record(file="Ada's case.zip/Ada Example.png"),
        record(file="x/Ada.png", status="refused", reason="'Ada.png' holds 'F' pixels, which Ada has not."),
    ]
    told = nameless(named)
    assert [one["file"] for one in told] == ["image 1", "image 2"]
    assert told[1]["reason"] == "The file holds 'F' pixels, which Ada has not."
    assert [one["sha256"] for one in told] == [one["sha256"] for one in named]
    assert named[0]["file"] == "Ada's case.zip/Ada Example.png", "the table keeps its names"


def test_long_names_of_what_was_refused_in_an_archive_are_in_no_reason() -> None:
    """Nested, outward, damaged, huge, a slide: whatever their sentence is, and however long their name."""
    long = "PATIENT_0042_1961-04-02_" + "x" * 100
    names = (f"{long}.zip", f"../{long}.png", f"{long}.svs", f"{long}'s.png", long)
    archive = zipped(dict.fromkeys(names, b"II*\0"))
    bad = bytearray(zipped({f"{long}.bmp": bytes(9000)}))
    bad[200] ^= 255
    model = load_model("breakhis")
    for data in (archive, bytes(bad)):
        results = list(analyse(members([Upload(f"{long}.zip", io.BytesIO(data))]), model))
        assert all(result.record["status"] == "refused" for result in results)
        told = json.dumps(nameless(result.record for result in results))
        assert "PATIENT" not in told and "1961" not in told and "xxx" not in told
        assert told.count('"reason": "The file ') == len(results)
