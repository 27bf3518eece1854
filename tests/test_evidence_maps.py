"""Sentences and tables about maps: each verdict follows from its intervals, worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from dala import evidence_maps


def interval(value: float, half: float = 0.02) -> dict[str, float]:
    return {"value": value, "low": value - half, "high": value + half}


def plainly(text: str) -> str:
    """With the signs and spaces of a keyboard."""
    return text.replace("\N{MINUS SIGN}", "-").replace("\N{NO-BREAK SPACE}", " ")


def localisation(steady: float, random: float, stain: float) -> dict[str, Any]:
    methods = {
        name: {"pictures": 7, "precision_recall": interval(value), "pointing_game": interval(value), "rules": {}}
        for name, value in (("gradcam", 0.4), ("steady", steady), ("random", random), ("stain", stain))
    }
    one = {"pictures": 7, "called_malignant": 0.5, "methods": methods}
    return {"sets": dict.fromkeys(evidence_maps.SETS, one)}


@pytest.mark.parametrize(
    ("steady", "random", "stain", "says"),
    [
        (0.5, 0.3, 0.6, "better than a random map, and not better than where the stain is dense"),
        (0.5, 0.3, 0.2, "better than a random map, and better than stain"),
        (0.3, 0.5, 0.2, "worse than a random map, and better than stain"),
        (0.35, 0.33, 0.9, "not clearly different from a random map, and not better than where the stain is dense"),
    ],
)
def test_localisation_is_told_by_its_intervals(steady: float, random: float, stain: float, says: str) -> None:
    told = evidence_maps.localisation_sentence(localisation(steady, random, stain))
    assert told.count(f"The steadier map is {says}.") == len(evidence_maps.SETS)
    assert "7 images" in told


def test_what_was_run_on_a_part_says_so() -> None:
    record = localisation(0.5, 0.3, 0.6)
    assert evidence_maps.slow_sentence(record) == ""
    for one in record["sets"].values():
        one["methods"][evidence_maps.SLOW] = {
            "pictures": 3,
            "precision_recall": interval(0.6),
            "pointing_game": interval(1.0),
            "gradcam_on_the_same": interval(0.45),
            "more_than_gradcam": interval(0.15),
            "rules": {},
        }
    told = plainly(evidence_maps.slow_sentence(record))
    assert "on 3 images its average precision is 0.600 (0.580 to 0.620), Grad-CAM's on the same 0.450" in told
    assert told.count("image by image +0.150 (+0.130 to +0.170)") == len(evidence_maps.SETS)
    (row,) = [one for one in evidence_maps.localisation_table(record) if one["Map"].endswith("ScoreCAM")]
    assert all(cell.endswith(", 3 of 7 images") for key, cell in row.items() if key != "Map")
    # A chart that compares has those alone which were run on the same images.
    shown = [str(point.place) for point in evidence_maps.localisation_points(record, evidence_maps.BREAST)]
    assert len(shown) == 4 and not any("ScoreCAM" in name for name in shown)


def faithful(deletion: float, insertion: float) -> dict[str, Any]:
    row = {
        "deletion": interval(0.3),
        "insertion": interval(0.6),
        "deletion_gain": interval(deletion),
        "insertion_gain": interval(insertion),
    }
    row |= {"pictures": 9, "deletion_over_gradcam": interval(-0.05), "insertion_over_gradcam": interval(0.04)}
    methods = {"gradcam": row, "random": row, evidence_maps.SLOW: row | {"pictures": 4}}
    return {"methods": dict.fromkeys(evidence_maps.BASELINES, methods), "data": {"pictures": 9}}


def test_faithfulness_is_told_by_its_intervals() -> None:
    lines = evidence_maps.faithfulness_sentence(faithful(0.1, -0.1)).splitlines()
    assert len(lines) == 2 * len(evidence_maps.BASELINES)
    assert "taken away first: moves the probability more than a random order" in lines[0]
    assert "shown first: moves it less than a random order" in lines[1]
    unclear = evidence_maps.faithfulness_sentence(faithful(0.01, 0.0))
    assert unclear.count("does not clearly do more than a random order") == len(lines)


def test_gains_stand_beside_random_and_beside_gradcam() -> None:
    record = faithful(0.1, -0.1)
    rows = [
        {key: plainly(str(cell)) for key, cell in row.items()}
        for row in evidence_maps.faithfulness_table(record, "glass")
    ]
    assert [row["Map"] for row in rows] == [
        "Grad-CAM, as on the first page",
        "pytorch-grad-cam: ScoreCAM, 4 of 9 images",
    ]
    assert [row["Taken away: over Grad-CAM"] for row in rows] == ["", "-0.050 (-0.070 to -0.030)"]
    assert [row["Shown: over random"] for row in rows] == ["-0.100 (-0.120 to -0.080)"] * 2
    assert rows[1]["Shown: over Grad-CAM"] == "+0.040 (+0.020 to +0.060)"
    # Maps of other cells are no match for Grad-CAM's; they stand with their areas.
    finer = {key: value for key, value in record["methods"]["glass"]["gradcam"].items() if "over" not in key}
    record["methods"]["glass"]["fine"] = finer
    assert evidence_maps.faithfulness_table(record, "glass")[0]["Map"] == "Grad-CAM, as on the first page"
    assert len(evidence_maps.faithfulness_table(record, "glass")) == 2
    areas = evidence_maps.areas_table(record, "glass")
    assert [row["Map"] for row in areas][:2] == ["Grad-CAM, as on the first page", "Grad-CAM, half-cell shifts"]
    assert plainly(areas[1]["Deletion (less is better)"]) == "0.300 (0.280 to 0.320)"


def test_purity_runs_from_little_to_much() -> None:
    curve = [{"kept": 0.4, "precision": 0.5, "iou": 0.3}, {"kept": 0.1, "precision": 0.7, "iou": 0.1}]
    methods = {"gradcam": {"rules": {"otsu": {"curve": curve}}}}
    (line,) = evidence_maps.purity_lines({"sets": {"bach_part_b": {"methods": methods}}}, "bach_part_b")
    assert (line.name, line.x, line.y) == ("Otsu", (0.1, 0.4), (0.7, 0.5))
