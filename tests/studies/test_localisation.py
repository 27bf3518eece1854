"""Sentences and tables about maps: each verdict follows from its intervals, worked out by hand."""

from __future__ import annotations

import pytest

from dala.studies import localisation
from dala.studies.localisation import BREAST, SETS, Localisation, Masked, Method, Rule, Setting
from dala.studies.maps import SCORE_CAM
from tests.helpers.records import around, partly, plain


def record_of(steady: float, random: float, stain: float, **more: Method) -> Localisation:
    methods = {
        name: Method(images=7, precision_recall=around(value), pointing_game=around(value), rules={})
        for name, value in (("gradcam", 0.4), ("steady", steady), ("random", random), ("stain", stain))
    }
    one = partly(Masked, images=7, called_malignant=0.5, methods=methods | more)
    return partly(Localisation, sets=dict.fromkeys(SETS, one))


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
    told = localisation.told_by_set(record_of(steady, random, stain))
    assert len(told) == len(SETS)
    for sentence in told:
        assert f"The steadier map is {says}." in sentence
        assert "7 images" in sentence


def test_what_was_run_on_a_part_says_so() -> None:
    assert localisation.slow_sentence(record_of(0.5, 0.3, 0.6)) == ""
    slow = Method(
        images=3, precision_recall=around(0.6), pointing_game=around(1.0), rules={}, gradcam_on_the_same=around(0.45),
        more_than_gradcam=around(0.15),
    )  # fmt: skip
    record = record_of(0.5, 0.3, 0.6, **{SCORE_CAM: slow})
    told = plain(localisation.slow_sentence(record))
    assert "on 3 images its average precision is 0.600 (0.580 to 0.620), Grad-CAM's on the same 0.450" in told
    assert told.count("image by image +0.150 (+0.130 to +0.170)") == len(SETS)
    (row,) = [one for one in localisation.table(record) if one["Map"].endswith("ScoreCAM")]
    assert all(cell.endswith(", 3 of 7 images") for key, cell in row.items() if key != "Map")
    # A chart that compares has those alone which were run on the same images.
    shown = [str(point.place) for point in localisation.points(record, BREAST)]
    assert len(shown) == 4 and not any("ScoreCAM" in name for name in shown)


def test_purity_runs_from_little_to_much() -> None:
    curve = (
        Setting(parameter=1, kept=0.4, precision=0.5, iou=0.3),
        Setting(parameter=2, kept=0.1, precision=0.7, iou=0.1),
    )
    method = partly(Method, rules={"otsu": partly(Rule, curve=curve)})
    record = partly(Localisation, sets={BREAST: partly(Masked, methods={"gradcam": method})})
    (line,) = localisation.purity_lines(record, BREAST)
    assert (line.name, line.x, line.y) == ("Otsu", (0.1, 0.4), (0.7, 0.5))
