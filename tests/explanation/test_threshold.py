from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.filters import threshold_otsu

from dala.errors import RuleError
from dala.explanation.threshold import RULES, FloatField, has_evidence, threshold
from tests.helpers.generated import examples


def field(*rows: list[float]) -> FloatField:
    return np.array(rows, dtype=np.float32)


TWO_BY_TWO = field([4, 2], [0, -2])  # Positive: 4 and 2, mean 3, population standard deviation 1.
FALLING = field([5, 3], [1, 1])  # Sum 10.
STEPS = field([-4, 1, 2, 3, 8])
TWO_MODES = field([1, 1, -9], [3, 3, -9])

BY_HAND = [
    # field, rule, parameter, threshold, kept pixels, share of the evidence
    (TWO_BY_TWO, "mean_std", 1.0, 4.0, 1, 4 / 6),
    (TWO_BY_TWO, "mean_std", 0.0, 3.0, 1, 4 / 6),
    (TWO_BY_TWO, "mean_std", -1.0, 2.0, 2, 1.0),
    (TWO_BY_TWO, "mean_std", 1.05, 4.05, 0, 0.0),
    (field([1, 0, 0, 11]), "mean_std", -1.0, 1.0, 2, 1.0),  # Mean 6, deviation 5.
    (field([1, 1, 1, 13]), "mean_std", -1.0, 0.0, 4, 1.0),  # Mean 4, deviation sqrt(27) > 4: raised to 0.
    (FALLING, "evidence", 50.0, 5.0, 1, 0.5),
    (FALLING, "evidence", 51.0, 3.0, 2, 0.8),
    (FALLING, "evidence", 80.0, 3.0, 2, 0.8),
    (FALLING, "evidence", 81.0, 1.0, 4, 1.0),  # The two ones cannot be told apart.
    (TWO_MODES, "otsu", 1.0, 2.0, 2, 0.75),  # Every cut between the modes is as good: their middle.
    (TWO_MODES, "otsu", 1.5, 3.0, 2, 0.75),
    (TWO_MODES, "otsu", 0.5, 1.0, 4, 1.0),
    (STEPS, "percentile", 50.0, 2.0, 3, 13 / 14),
    (STEPS, "percentile", 60.0, 2.4, 2, 11 / 14),
    (STEPS, "percentile", 75.0, 3.0, 2, 11 / 14),
    (STEPS, "percentile", 0.0, 0.0, 4, 1.0),  # -4, raised to 0.
    (STEPS, "fixed", 0.5, 4.0, 1, 8 / 14),
    (STEPS, "fixed", 0.0, 0.0, 4, 1.0),
    (STEPS, "fixed", 1.0, 8.0, 1, 8 / 14),
]


@pytest.mark.parametrize(("values", "rule", "parameter", "limit", "pixels", "share"), BY_HAND)
def test_rules_by_hand(
    values: FloatField, rule: str, parameter: float, limit: float, pixels: int, share: float
) -> None:
    result = threshold(values, rule, parameter, minimum_area=0)
    assert (result.rule, result.parameter) == (rule, parameter)
    assert result.threshold == pytest.approx(limit, rel=1e-6, abs=1e-12)
    assert result.kept_area == pixels / values.size
    assert result.kept_evidence == pytest.approx(share, rel=1e-12)
    assert np.array_equal(result.mask, (values >= np.float32(limit)) & (values > 0))
    assert (result.reason is None) == (pixels > 0)


def test_otsu_agrees_with_scikit_image() -> None:
    # Overlapping modes: no empty bins between them, hence one best cut. Scikit-image names the middle of its bin.
    random = np.random.default_rng(5)
    values = np.concatenate((random.normal(3, 0.8, 30_000), random.normal(6, 1.2, 15_000), -random.random(40_000)))
    values = values.astype(np.float32).reshape(850, 100)
    positive = values[values > 0]
    bin_width = float(positive.max() - positive.min()) / 256
    theirs = float(threshold_otsu(positive, 256))
    assert threshold(values, "otsu", 1.0).threshold == pytest.approx(theirs + bin_width / 2, abs=1.01 * bin_width)


@pytest.mark.parametrize("rule", RULES)
def test_equal_positive_values_are_all_kept(rule: str) -> None:
    result = threshold(np.full((6, 5), 0.3, dtype=np.float32), rule, RULES[rule].default)
    assert (result.kept_area, result.kept_evidence, len(result.regions)) == (1.0, 1.0, 1)


@pytest.mark.parametrize("rule", RULES)
def test_one_pixel(rule: str) -> None:
    result = threshold(field([2.5]), rule, RULES[rule].default)
    assert (result.kept_area, result.kept_evidence) == (1.0, 1.0)
    assert result.regions[0].box == (0, 0, 1, 1)
    assert [line.tolist() for line in result.regions[0].contours] == [[[0, 0]]]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("values", [field([-1, -2], [-3, -4]), field([0, 0]), field([-1, 1e-7])])
def test_without_positive_evidence_nothing_is_kept(rule: str, values: FloatField) -> None:
    result = threshold(values, rule, RULES[rule].minimum, minimum_area=0)
    assert math.isnan(result.threshold)
    assert not result.mask.any() and result.mask.shape == values.shape
    assert (result.kept_area, result.kept_evidence, result.regions, result.dropped) == (0, 0, (), 0)
    assert result.reason is not None and "no positive evidence" in result.reason


def test_units_do_not_matter() -> None:
    for factor in (1e-20, 1e20):
        tiny = threshold(STEPS * np.float32(factor), "mean_std", 0.0, minimum_area=0)
        assert tiny.threshold == pytest.approx(3.5 * factor, rel=1e-6)
        assert tiny.kept_area == 0.2


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_fields_that_are_not_numbers(bad: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        threshold(field([1, bad]), "fixed", 0.5)


@pytest.mark.parametrize(
    "values", [np.ones(4, np.float32), np.ones((0, 3), np.float32), np.ones((2, 2, 2), np.float32)]
)
def test_fields_of_the_wrong_shape(values: FloatField) -> None:
    with pytest.raises(ValueError, match="two dimensions"):
        threshold(values, "fixed", 0.5)


@pytest.mark.parametrize(
    ("rule", "parameter", "message"),
    [
        ("magic", 1.0, "no rule named 'magic'"),
        ("mean_std", 3.01, "between -1 and 3, not 3.01"),
        ("evidence", 4.9, "between 5 and 95"),
        ("otsu", 0.0, "between 0.5 and 1.5"),
        ("percentile", 100.0, "between 0 and 99.9"),
        ("fixed", -0.1, "between 0 and 1"),
        ("fixed", math.nan, "not nan"),
        ("mean_std", math.inf, "not inf"),
    ],
)
def test_bad_rules(rule: str, parameter: float, message: str) -> None:
    with pytest.raises(RuleError, match=message):
        threshold(STEPS, rule, parameter)


@pytest.mark.parametrize("area", [-0.1, 1.1, math.nan])
def test_bad_minimal_area(area: float) -> None:
    with pytest.raises(RuleError, match="minimal area"):
        threshold(STEPS, "fixed", 0.5, minimum_area=area)


def test_rules_describe_sliders() -> None:
    assert list(RULES) == ["mean_std", "evidence", "otsu", "percentile", "fixed"]
    for name, rule in RULES.items():
        assert rule.name == name
        steps = (rule.default - rule.minimum) / rule.step
        assert rule.minimum <= rule.default <= rule.maximum and steps == pytest.approx(round(steps))


def test_arguments_are_not_written() -> None:
    values = STEPS.copy()
    values.flags.writeable = False
    result = threshold(values, "fixed", 0.2)
    assert np.array_equal(values, STEPS)
    with pytest.raises(ValueError, match="read-only"):
        result.mask[0, 0] = True


def drawn() -> FloatField:
    """20 x 30: a block of 74 pixels of value 2 with a hole of 6, one of 21 pixels of value 5, one pixel of value 10."""
    values = np.full((20, 30), -1, dtype=np.float32)
    values[2:10, 3:13] = 2
    values[5:7, 6:9] = -1
    values[12:16, 20:25] = 5
    values[16, 25] = 5  # Touches the block by its corner only.
    values[0, 29] = 10
    return values


def test_regions_of_a_drawn_field() -> None:
    result = threshold(drawn(), "fixed", 0.0, minimum_area=0.002, scale=(2.0, 3.0))  # 1.2 pixels
    total = 74 * 2 + 21 * 5 + 10
    first, second = result.regions
    assert result.dropped == 1 and result.reason is None
    assert not result.mask[0, 29] and not result.mask[5, 6] and result.mask[16, 25]
    assert (result.kept_area, result.kept_evidence) == (95 / 600, pytest.approx(253 / total, rel=1e-12))
    assert (first.area, second.area) == (74 / 600, 21 / 600)
    assert (first.evidence, second.evidence) == (pytest.approx(148 / total), pytest.approx(105 / total))
    assert first.box == (9, 4, 39, 20)  # x 3..13 times 3, y 2..10 times 2
    assert second.box == (60, 24, 78, 34)
    assert [len(first.contours), len(second.contours)] == [2, 1]
    assert {tuple(point) for point in first.contours[0].tolist()} == {(3, 2), (12, 2), (12, 9), (3, 9)}
    hole = first.contours[1]
    assert (hole.min(0).tolist(), hole.max(0).tolist()) == ([5, 4], [9, 7])  # The ring around x 6..8, y 5..6.
    assert all(result.mask[y, x] for region in result.regions for line in region.contours for x, y in line)


def test_an_island_in_a_hole_is_a_region_of_its_own() -> None:
    values = drawn()
    values[4:8, 5:11] = -1
    values[5:7, 7:9] = 4  # 80 - 24 pixels around an island of 4.
    result = threshold(values, "fixed", 0.0, minimum_area=0)
    assert [region.area * 600 for region in result.regions] == pytest.approx([56, 21, 4, 1])
    assert [len(region.contours) for region in result.regions] == [2, 1, 1, 1]


def test_equal_areas_are_ordered_by_evidence() -> None:
    result = threshold(field([1, -1, 3, -1, 2]), "fixed", 0.0)
    assert [region.box[0] for region in result.regions] == [2, 4, 0]


def test_boxes_are_rounded_outwards() -> None:
    result = threshold(field([-1, 1, -1], [-1, -1, -1]), "fixed", 0.5, scale=(1.5, 2.5))
    assert result.regions[0].box == (2, 0, 5, 2)


def test_all_regions_too_small_says_so() -> None:
    result = threshold(drawn(), "fixed", 0.0, minimum_area=0.2)
    assert result.dropped == 3 and not result.mask.any() and result.kept_evidence == 0
    assert result.reason == "All parts above the threshold are smaller than 20 % of the image."


def test_threshold_above_the_maximum_says_so() -> None:
    result = threshold(TWO_BY_TWO, "mean_std", 3.0)
    assert result.threshold == 6.0
    assert result.reason == "The threshold lies above the strongest evidence of this map."


FIELDS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
    elements=st.floats(-8, 8, width=32) | st.integers(-3, 3).map(float),
)


@pytest.mark.slow
@examples(300)
@given(FIELDS, st.sampled_from(sorted(RULES)), st.floats(0, 1), st.floats(0, 1), st.sampled_from([0.0, 0.03]))
def test_the_parameter_moves_one_way(values: FloatField, name: str, one: float, two: float, area: float) -> None:
    rule = RULES[name]
    low, high = (rule.minimum + share * (rule.maximum - rule.minimum) for share in sorted((one, two)))
    less, more = (threshold(values, name, min(parameter, rule.maximum), area) for parameter in (low, high))
    if name == "evidence":
        less, more = more, less
    assert not (more.mask & ~less.mask).any()
    assert more.kept_area <= less.kept_area
    assert not (less.mask & (values <= 0)).any()


@pytest.mark.slow
@examples(300)
@given(FIELDS, st.floats(5, 95))
def test_evidence_keeps_enough_and_no_more(values: FloatField, percent: float) -> None:
    assume(has_evidence(values))
    result = threshold(values, "evidence", percent, minimum_area=0)
    positive = values[values > 0].astype(np.float64)
    share = percent / 100
    assert result.kept_evidence >= share - 1e-12
    weakest = values[result.mask].min()
    assert positive[positive > weakest].sum() / positive.sum() < share + 1e-12


@pytest.mark.slow
@examples(200)
@given(FIELDS, st.sampled_from(sorted(RULES)))
def test_regions_add_up_to_the_mask(values: FloatField, name: str) -> None:
    result = threshold(values, name, RULES[name].default, minimum_area=0.03)
    assert sum(region.area for region in result.regions) == pytest.approx(result.kept_area)
    assert sum(region.evidence for region in result.regions) == pytest.approx(result.kept_evidence)
    assert [region.area for region in result.regions] == sorted(
        (region.area for region in result.regions), reverse=True
    )
    assert result.kept_area == result.mask.mean()
    assert (result.reason is None) == bool(result.regions)
