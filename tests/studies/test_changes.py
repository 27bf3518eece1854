"""The served answers under changed images: figures worked out by hand, and a run on a few real images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dala.data.perturb import dyes
from dala.runtime.calibration import Calibration
from dala.runtime.predict import load_model
from dala.studies import changes
from dala.studies.blocks import Chart, Choice
from dala.studies.changes import Changed, Changes, Laboratory, Level, Measured, answered
from tests.helpers.records import cells, interval, partly, plain

CALIBRATION = Calibration(
    classes=("benign", "malignant"),
    temperature=1.0,
    bias=(0.0, 0.0),
    thresholds={0.1: (1.0, 0.9)},
    decides=0.1,
    laboratories={"here": {0.1: (0.7, 0.8)}},
)


def test_answers_and_wrong_ones_by_hand() -> None:
    """Margins 2, 1, -2 and 0 are 88, 73, 12 and 50 % malignant: the first is malignant, the third benign, the second
    reaches neither threshold, nor does the last."""
    margins, groups = np.array([2.0, 1, -2, 0]), np.array(["a", "b", "c", "d"])
    share, wrong = answered(margins, np.array([1, 1, 1, 0]), groups, CALIBRATION, "here")
    assert share["value"] == 0.5
    assert wrong["value"] == 0.5
    share, wrong = answered(margins, np.array([1, 1, 0, 0]), groups, CALIBRATION, "here")
    assert (share["value"], wrong["value"]) == (0.5, 0.0)
    assert wrong["high"] == pytest.approx(1 - 0.025 ** (1 / 2))  # of two patients none
    share, _ = answered(margins, np.array([1, 1, 1, 0]), groups, CALIBRATION, "elsewhere")
    assert share["value"] == 0.0


def test_the_neutral_strength_changes_nothing_and_others_what_they_say() -> None:
    pixels = np.random.default_rng(0).integers(60, 240, (40, 60, 3)).astype(np.uint8)
    by_name = {one.name: one for one in changes.changes()}
    for change in by_name.values():
        assert list(change.strengths) == sorted(change.strengths)
        assert change.neutral is None or change.neutral in change.strengths
    assert by_name["pixel size"].apply(pixels, 0.5).shape == (20, 30, 3)
    assert by_name["pixel size"].apply(pixels, 2).shape == (80, 120, 3)
    twice = dyes(by_name["haematoxylin"].apply(pixels, 1.4))[..., 0]
    assert np.median(twice / dyes(pixels)[..., 0]) == pytest.approx(1.4, rel=0.02)
    grey = np.full((9, 9, 3), 100, np.uint8)
    assert (by_name["brightness"].apply(grey, 1.2) == 120).all()
    # The impulse of a Gaussian of 1 um, two pixels: its peak is 1 / (2 pi 2^2) of the sum.
    impulse = np.zeros((41, 41, 3), np.uint8)
    impulse[20, 20] = 255
    assert by_name["focus"].apply(impulse, 1.0)[20, 20, 0] == pytest.approx(255 / (2 * np.pi * 4), abs=1)


def measured(auc: float, wrong: float) -> Measured:
    return Measured(
        auc=interval(auc),
        balanced_accuracy=interval(0.8),
        colour_auc=interval(0.6),
        answered=interval(0.5),
        wrong=interval(wrong),
    )


def test_the_section_begins_with_what_costs_most() -> None:
    def changed(name: str, aucs: tuple[float, float], wrong: float) -> tuple[str, Changed]:
        levels = tuple(
            Level(strength=strength, laboratories={"A": measured(auc, wrong), "B": measured(0.9, 0.01)})
            for strength, auc in zip((0.5, 2), aucs, strict=True)
        )
        return name, Changed(unit="times", about="something", levels=levels)

    whole = Laboratory(images=4, groups=3, malignant=2, unchanged=measured(0.95, 0.05))
    record = partly(
        Changes,
        laboratories={"A": whole, "B": whole},
        changes=dict([changed("hue", (0.94, 0.93), 0.3), changed("eosin", (0.9, 0.65), 0.1)]),
    )
    assert changes.lost(record, "eosin") == pytest.approx(0.3)
    assert plain(changes.summary(record)) == (
        "Of 2 kinds of change, **eosin** costs most: up to 0.30 of AUC. Most answers are wrong under **hue** at 0.5 "
        "times in A: 30.0 % of those given, with 50.0 % answered."
    )
    rows = cells(changes.table(record))
    assert len(rows) == 8
    assert rows[0] == ["hue", "0.5 times", "A", "0.940", "0.800", "0.600", "50.0 %", "30.0 %"]
    (choice,) = [block for block in changes.section(record) if isinstance(block, Choice)]
    assert list(choice.options) == ["eosin", "hue"]
    (chart,) = [block for block in choice.body("eosin") if isinstance(block, Chart)]
    assert [(line.name, line.y) for line in chart.lines] == [("A", (0.9, 0.65)), ("B", (0.9, 0.9))]


@pytest.mark.slow
def test_what_the_served_engine_sees_is_what_the_weights_were_fitted_on(shared_data: Path) -> None:
    """Against the training features that are shipped beside the weights, of the same images in the same order."""
    from dala.runtime.card import read_card
    from dala.training.laboratories.release import load_samples
    from dala.training.laboratories.sources import items_of

    model, shipped, items = load_model("breast"), load_samples(read_card("breast")[1]), items_of(shared_data)
    few = [0, 300, len(items) - 1]
    features, colours = changes.seen_by(model, [np.asarray(items[k].seen()) for k in few], lambda done, total: None)
    assert colours.shape == (3, 6)
    for own, seen in zip(few, features, strict=True):
        reference = shipped.features[own]
        assert np.corrcoef(seen, reference)[0, 1] > 0.999
