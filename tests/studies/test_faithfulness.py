"""What is said of deletion and insertion: each verdict follows from its intervals, worked out by hand."""

from __future__ import annotations

from dataclasses import replace

from dala.studies import faithfulness
from dala.studies.faithfulness import BASELINES, Faithfulness, Method
from dala.studies.maps import SCORE_CAM
from dala.studies.record import Data
from tests.helpers.records import around, partly, plain


def record_of(deletion: float, insertion: float) -> Faithfulness:
    row = Method(
        images=9, deletion=around(0.3), insertion=around(0.6), deletion_gain=around(deletion),
        insertion_gain=around(insertion), deletion_over_gradcam=around(-0.05), insertion_over_gradcam=around(0.04),
    )  # fmt: skip
    methods = {"gradcam": row, "random": row, SCORE_CAM: replace(row, images=4)}
    return partly(Faithfulness, methods={name: dict(methods) for name in BASELINES}, data=Data(images=9, groups=2))


def test_faithfulness_is_told_by_its_intervals() -> None:
    lines = faithfulness.verdict(record_of(0.1, -0.1)).splitlines()
    assert len(lines) == 2 * len(BASELINES)
    assert "taken away first: moves the probability more than a random order" in lines[0]
    assert "shown first: moves it less than a random order" in lines[1]
    unclear = faithfulness.verdict(record_of(0.01, 0.0))
    assert unclear.count("does not clearly do more than a random order") == len(lines)


def test_gains_stand_beside_random_and_beside_gradcam() -> None:
    record = record_of(0.1, -0.1)
    rows = [{key: plain(cell) for key, cell in row.items()} for row in faithfulness.table(record, "glass")]
    assert [row["Map"] for row in rows] == [
        "Grad-CAM, as on the first page",
        "pytorch-grad-cam: ScoreCAM, 4 of 9 images",
    ]
    assert [row["Taken away: over Grad-CAM"] for row in rows] == ["", "-0.050 (-0.070 to -0.030)"]
    assert [row["Shown: over random"] for row in rows] == ["-0.100 (-0.120 to -0.080)"] * 2
    assert rows[1]["Shown: over Grad-CAM"] == "+0.040 (+0.020 to +0.060)"
    # Maps of other cells are no match for Grad-CAM's; they stand with their areas.
    finer = replace(record.methods["glass"]["gradcam"], deletion_over_gradcam=None, insertion_over_gradcam=None)
    record.methods["glass"]["fine"] = finer
    assert faithfulness.table(record, "glass")[0]["Map"] == "Grad-CAM, as on the first page"
    assert len(faithfulness.table(record, "glass")) == 2
    areas = faithfulness.areas_table(record, "glass")
    assert [row["Map"] for row in areas][:2] == ["Grad-CAM, as on the first page", "Grad-CAM, half-cell shifts"]
    assert plain(areas[1]["Deletion (less is better)"]) == "0.300 (0.280 to 0.320)"
