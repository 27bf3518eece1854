"""The dynamic threshold: a rule turns a signed map into a kept mask and its regions; one parameter tunes it.

The published abstract does not state its rule; these five are this project's own definitions. Against masks of breast
lesions (evidence/localisation_breakhis.json) no rule is better than another that keeps as much: overlap always asks to
keep everything positive, and purity rises as less is kept, up to about one standard deviation above the mean, which
therefore is the default.

Everything is computed on the very field that is shown: the raw map enlarged bilinearly to the size of the display. Kept
area and share of evidence are therefore exact for what the person sees.
Only positive evidence is ever kept: `kept = (field >= threshold) & (field > 0)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from dala.errors import RuleError

FloatField = NDArray[np.float32]

RELATIVE_NOISE = 2.0**-20
"""Eight float32 rounding steps: a value below this part of the largest absolute value is rounding, not evidence."""

_OTSU_BINS = 256

_Array = TypeVar("_Array", bound="NDArray[np.generic]")


@dataclass(frozen=True)
class Rule:
    """One way to set the threshold, with what a slider needs: range, step, default and unit of its parameter."""

    name: str
    label: str
    help: str
    parameter: str
    minimum: float
    maximum: float
    step: float
    default: float
    unit: str


@dataclass(frozen=True, eq=False)
class Region:
    """One connected part (8-connectivity) of the kept mask.

    area: fraction of the image, 0..1. evidence: share of the map's whole positive evidence, 0..1.
    box: (left, top, right, bottom) in patch pixels, right and bottom exclusive, rounded outwards.
    contours: closed lines of (N, 2) int32 x, y in field pixels; the outer line first, then one per hole. The points lie
    on kept pixels.
    """

    area: float
    evidence: float
    box: tuple[int, int, int, int]
    contours: tuple[NDArray[np.int32], ...]


@dataclass(frozen=True, eq=False)
class Regions:
    """What a rule keeps of a field.

    threshold: in the map's own units, never below 0; NaN where the map has no positive evidence to set it by.
    mask: (H, W) bool, read-only, without the regions that were too small. kept_area: fraction of the image, 0..1.
    kept_evidence: share of all positive evidence, 0..1. Both describe this mask.
    regions: largest first. dropped: how many were too small. reason: one sentence if nothing is kept, else None.
    """

    rule: str
    parameter: float
    threshold: float
    mask: NDArray[np.bool_]
    kept_area: float
    kept_evidence: float
    regions: tuple[Region, ...]
    dropped: int
    reason: str | None


def has_evidence(values: FloatField) -> bool:
    """True if a signed map holds positive evidence beyond float noise.

    The noise floor follows the map's own scale: the sum over channels rounds relative to the values it adds up to, so a
    maximum below 2^-20 of the largest absolute value (as beside a strongly negative map) counts as nothing, whatever
    the units are. A map of tiny but consistent values does have evidence.
    """
    largest = float(values.max())
    return largest > max(RELATIVE_NOISE * -float(values.min()), float(np.finfo(np.float32).tiny))


def _mean_std(field: FloatField, positive: FloatField, k: float) -> float:
    return float(positive.mean(dtype=np.float64) + k * positive.std(dtype=np.float64))


def _evidence(field: FloatField, positive: FloatField, percent: float) -> float:
    strongest_first = np.sort(positive)[::-1]
    held = np.cumsum(strongest_first, dtype=np.float64)
    return float(strongest_first[np.searchsorted(held, percent / 100 * held[-1])])


def _otsu(field: FloatField, positive: FloatField, factor: float) -> float:
    """Otsu 1979: the cut of a 256-bin histogram with the largest variance between the classes.

    Where several cuts are equally good (empty bins between two modes) their middle is taken, so that the cut does not
    hang on one mode.
    """
    low, high = float(positive.min()), float(positive.max())
    if low == high:
        return factor * low
    width = (high - low) / _OTSU_BINS
    bins = np.minimum(((positive - np.float64(low)) / width).astype(np.int64), _OTSU_BINS - 1)
    counts = np.bincount(bins, minlength=_OTSU_BINS).astype(np.float64)
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    moments = np.cumsum(counts * np.arange(_OTSU_BINS))
    between = below * above * (moments[:-1] / below - (moments[-1] - moments[:-1]) / above) ** 2
    best = np.flatnonzero(between >= between.max() * (1 - 1e-12))
    return factor * (low + width * (float(best[0] + best[-1]) / 2 + 1))


def _percentile(field: FloatField, positive: FloatField, percent: float) -> float:
    return float(np.percentile(field, percent))


def _fixed(field: FloatField, positive: FloatField, fraction: float) -> float:
    return fraction * float(positive.max())


_FORMULAS: Mapping[str, Callable[[FloatField, FloatField, float], float]] = MappingProxyType(
    {"mean_std": _mean_std, "evidence": _evidence, "otsu": _otsu, "percentile": _percentile, "fixed": _fixed}
)

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        rule.name: rule
        for rule in (
            Rule(
                "mean_std",
                "Mean + k standard deviations",
                "Keeps what stands out from this image's own positive evidence: its mean plus k standard deviations.",
                "k",
                -1.0,
                3.0,
                0.05,
                1.0,
                "standard deviations",
            ),
            Rule(
                "evidence",
                "Share of the evidence",
                "Keeps the smallest area that holds q percent of the positive evidence.",
                "q",
                5.0,
                95.0,
                1.0,
                50.0,
                "%",
            ),
            Rule(
                "otsu",
                "Otsu",
                "Splits the positive evidence where weak and strong differ most; the factor moves the split.",
                "factor",
                0.5,
                1.5,
                0.01,
                1.0,
                "times Otsu's threshold",
            ),
            Rule(
                "percentile",
                "Percentile of the image",
                "Keeps the strongest pixels of the image above the p-th percentile, as far as they are positive.",
                "p",
                0.0,
                99.9,
                0.1,
                80.0,
                "%",
            ),
            Rule(
                "fixed",
                "Fraction of the maximum",
                "Keeps what reaches a fixed fraction of the maximum, as plain Grad-CAM does; for comparison.",
                "fraction",
                0.0,
                1.0,
                0.01,
                0.5,
                "of the maximum",
            ),
        )
    }
)


def threshold(
    field: FloatField,
    rule: str,
    parameter: float | None = None,
    minimum_area: float = 0.002,
    scale: tuple[float, float] = (1.0, 1.0),
) -> Regions:
    """Apply a rule to a signed field (H, W) and describe what it keeps.

    The threshold is the rule's value, raised to 0 if negative and rounded to float32, the field's own precision.
    `evidence`: pixels equal to the weakest kept one are all kept, since no threshold can tell them apart.
    `percentile`: of all values of the field (linear interpolation); the other rules look at the positive values only.
    parameter: None takes the rule's default.
    minimum_area: regions below this fraction of the image are dropped and counted.
    scale: patch pixels per field pixel (y, x), for the boxes.
    Raises RuleError for an unknown rule or a parameter outside its range, ValueError for a field that is not finite
    and (H, W).
    """
    if rule not in RULES:
        raise RuleError(f"There is no rule named {rule!r}; choose one of {', '.join(RULES)}.")
    limits = RULES[rule]
    parameter = limits.default if parameter is None else float(parameter)
    if not (math.isfinite(parameter) and limits.minimum <= parameter <= limits.maximum):
        raise RuleError(
            f"{limits.label}: {limits.parameter} must lie between {limits.minimum:g} and {limits.maximum:g}, "
            f"not {parameter:g}."
        )
    if not 0 <= minimum_area <= 1:
        raise RuleError(f"The minimal area is a fraction of the image between 0 and 1, not {minimum_area:g}.")
    field = np.asarray(field, dtype=np.float32)
    if field.ndim != 2 or field.size == 0:
        raise ValueError(f"A map has two dimensions and at least one value; this one has the shape {field.shape}.")
    if not np.isfinite(field).all():
        raise ValueError("The map holds values that are not finite numbers, so no threshold can be set.")

    if not has_evidence(field):
        return Regions(
            rule,
            parameter,
            math.nan,
            _read_only(np.zeros(field.shape, dtype=np.bool_)),
            0.0,
            0.0,
            (),
            0,
            "The map holds no positive evidence for this target, so there is nothing to show.",
        )
    positive = field[field > 0]
    limit = float(np.float32(max(0.0, _FORMULAS[rule](field, positive, parameter))))
    kept = (field >= limit) & (field > 0)
    total = float(positive.sum(dtype=np.float64))
    mask, regions, dropped = _regions(field, kept, total, minimum_area, scale)
    reason = None
    if not regions:
        reason = (
            f"All parts above the threshold are smaller than {100 * minimum_area:g} % of the image."
            if dropped
            else "The threshold lies above the strongest evidence of this map."
        )
    return Regions(
        rule,
        parameter,
        limit,
        _read_only(mask),
        float(np.count_nonzero(mask)) / field.size,
        min(1.0, float(field[mask].sum(dtype=np.float64)) / total),
        regions,
        dropped,
        reason,
    )


def _regions(
    field: FloatField,
    kept: NDArray[np.bool_],
    total: float,
    minimum_area: float,
    scale: tuple[float, float],
) -> tuple[NDArray[np.bool_], tuple[Region, ...], int]:
    """Connected parts of the kept mask: (mask without the small ones, regions largest first, number dropped)."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(kept.view(np.uint8), connectivity=8, ltype=cv2.CV_32S)
    areas = stats[:, cv2.CC_STAT_AREA]
    large = areas >= minimum_area * field.size
    large[0] = False
    mask = np.asarray(large[labels])
    evidence = np.bincount(labels.ravel(), weights=field.ravel(), minlength=count) / total

    contours: dict[int, list[NDArray[np.int32]]] = {int(label): [] for label in np.flatnonzero(large)}
    lines, hierarchy = cv2.findContours(mask.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if lines:
        # Outer lines have no parent (-1) and come before the holes; the points of both lie on the region's own pixels.
        for index in np.argsort(hierarchy.reshape(-1, 4)[:, 3] >= 0, kind="stable"):
            line = _read_only(lines[index].reshape(-1, 2).astype(np.int32))
            contours[int(labels[line[0, 1], line[0, 0]])].append(line)

    order = sorted(contours, key=lambda label: (-areas[label], -evidence[label], label))
    regions = []
    for label in order:
        left, top, width, height = (int(value) for value in stats[label, :4])
        box = (
            math.floor(left * scale[1]),
            math.floor(top * scale[0]),
            math.ceil((left + width) * scale[1]),
            math.ceil((top + height) * scale[0]),
        )
        regions.append(
            Region(float(areas[label]) / field.size, min(1.0, float(evidence[label])), box, tuple(contours[label]))
        )
    return mask, tuple(regions), count - 1 - len(regions)


def _read_only(array: _Array) -> _Array:
    array.flags.writeable = False
    return array
