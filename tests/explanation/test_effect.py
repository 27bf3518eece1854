"""The effect curve against a judge whose answers are worked out by hand: the mean grey level of what it is shown."""

from __future__ import annotations

import numpy as np
import pytest

from dala.explanation.effect import GLASS, SHARES, baseline_of, blended, effect_curve

SIDE = 40


def grey(images: np.ndarray) -> np.ndarray:
    """Darkness is malignant: p = 1 - mean / 255."""
    p = 1 - images.astype(np.float64).mean(axis=(1, 2, 3, 4)) / 255
    return np.stack([1 - p, p], axis=1)


def sides(left: int, right: int) -> np.ndarray:
    view = np.full((SIDE, SIDE, 3), right, np.uint8)
    view[:, : SIDE // 2] = left
    return view[None]


def columns(values: list[float]) -> np.ndarray:
    """A field whose columns hold these values, each in an equal part of the width."""
    return np.repeat(np.repeat(np.array(values, np.float32), SIDE // len(values))[None], SIDE, axis=0)


def curve(views: np.ndarray, field: np.ndarray, verdict=lambda p: p[1] >= 0.5, baseline="glass", progress=None):
    whole = grey(views[None])[0]
    return effect_curve(views, field, lambda mask: mask[None], grey, whole, verdict, "malignant", 1, baseline, progress)


def test_shown_and_removed_by_hand() -> None:
    # Black left, white right; the field marks the left half, its outer quarter more strongly.
    found = curve(sides(0, 255), columns([2, 1, -1, -1]))
    # Two values of the field, so two thresholds whatever the number of shares.
    assert found.thresholds.tolist() == [2.0, 1.0]
    assert found.kept_area.tolist() == [0.25, 0.5]
    white = GLASS / 255
    # Shown: the kept part is black, the rest glass. Removed: the kept part is glass, the rest as it was.
    assert found.shown == pytest.approx([1 - 0.75 * white, 1 - 0.5 * white])
    assert found.removed == pytest.approx([1 - (0.25 * white + 0.5), 1 - (0.5 * white + 0.5)])
    assert found.whole == pytest.approx(0.5)
    assert found.nothing == pytest.approx(1 - white)
    assert (found.target, found.baseline) == ("malignant", "glass")


def test_the_smallest_sufficient_part_is_suggested() -> None:
    dark = sides(0, 0)
    field = columns([4, 3, 2, 1])  # kept: 1/4, 2/4, 3/4, 4/4, all of it black
    # 1 - (1 - area) * 243 / 255 >= 0.6 from area 0.58 on.
    found = curve(dark, field, verdict=lambda p: p[1] >= 0.6)
    assert found.kept_area.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert found.suggested == 2 and found.reason is None


def test_a_part_that_works_by_chance_is_not_suggested() -> None:
    # The darkest quarter alone gives the verdict, more of the image does not, all of it does again.
    answers = iter([0.1, 0.9, 0.5, 0.2, 0.5, 0.9, 0.5, 0.9, 0.5])

    def judge(images: np.ndarray) -> np.ndarray:
        p = np.array([next(answers) for _ in images])
        return np.stack([1 - p, p], axis=1)

    whole, over = np.array([0.1, 0.9]), lambda p: p[1] > 0.5
    found = effect_curve(sides(0, 0), columns([4, 3, 2, 1]), lambda m: m[None], judge, whole, over, "x", 1, "glass")
    assert found.whole == 0.9 and found.nothing == 0.1
    assert found.shown.tolist() == [0.9, 0.2, 0.9, 0.9]
    assert found.suggested == 2


def test_no_suggestion_where_the_baseline_says_the_same() -> None:
    found = curve(sides(0, 0), columns([1, 1, -1, -1]), verdict=lambda p: p[1] >= 0.01)
    assert found.suggested is None and found.reason is not None and "baseline alone" in found.reason


def test_no_suggestion_where_all_evidence_is_not_enough() -> None:
    found = curve(sides(255, 0), columns([1, 1, -1, -1]))
    assert found.whole == pytest.approx(0.5) and found.shown[-1] < 0.5
    assert found.suggested is None and found.reason is not None and "Even all" in found.reason


def test_shares_of_the_positive_area() -> None:
    field = np.arange(SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE) - 600  # 999 positive values, all different
    found = curve(sides(0, 255), field)
    assert found.kept_area * SIDE * SIDE == pytest.approx(np.ceil(np.array(SHARES) * 999))


def test_progress_counts_every_image() -> None:
    seen: list[tuple[int, int]] = []
    curve(sides(0, 255), columns([2, 1, -1, -1]), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(4, 5), (5, 5)]


def test_views_are_not_written_to() -> None:
    views = sides(0, 255)
    before = views.copy()
    curve(views, columns([2, 1, -1, -1]), baseline="blurred")
    np.testing.assert_array_equal(views, before)


def test_baselines() -> None:
    views = sides(0, 255)
    assert (baseline_of(views, "glass") == GLASS).all()
    blurred = baseline_of(views, "blurred")
    assert blurred.shape == views.shape
    assert blurred[0, 0, 0, 0] == 0 and blurred[0, 0, -1, 0] == 255 and 100 < blurred[0, 0, SIDE // 2, 0] < 155
    np.testing.assert_array_equal(baseline_of(np.full_like(views, 77), "blurred"), np.full_like(views, 77))
    with pytest.raises(ValueError, match="choose one of blurred, glass"):
        baseline_of(views, "noise")  # type: ignore[arg-type]


def test_mixed_rounds_and_keeps_the_type() -> None:
    half = blended(sides(10, 10), sides(21, 21), np.full((1, SIDE, SIDE), 0.5, np.float32))
    assert half.dtype == np.uint8 and (half == 16).all()  # 15.5, to the even number


def test_a_map_without_evidence_is_refused() -> None:
    with pytest.raises(ValueError, match="no positive evidence"):
        curve(sides(0, 255), columns([-1, -1, -1, 0]))
