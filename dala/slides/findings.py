"""What a scan has found: counts, connected malignant fields, and how many false alarms to expect. Never a verdict.

findings = findings_of(header, rows)  # of a scan that is done or under way: `dala.slides.rows.read_rows`
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dala.export.geojson import polygons
from dala.files import shipped
from dala.runtime.card import Card, read_card
from dala.slides.grid import Box, Grid
from dala.slides.rows import BENIGN, MALIGNANT, NOT_SURE, OUTSIDE, STATES, UNREADABLE, Header, Row
from dala.words import counted

MOSTLY_OUTSIDE = 0.9
JUDGED = (MALIGNANT, BENIGN, NOT_SURE)
# Tissue with nothing malignant in it, as `dala mosaics` names the fields that it lays out of tiles; and in words.
NORMAL = {
    "adipose tissue": "fat",
    "stroma": "stroma",
    "muscle tissue": "muscle",
    "haemorrhage": "blood",
    "immunecels": "lymphocytes",
    "apocrine change": "apocrine change",
}


@dataclass(frozen=True)
class Expected:
    """How many fields would be called malignant if all were benign, by the card: a figure and its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Region:
    """Malignant fields that touch each other, at an edge or a corner.

    number        from 1, the largest first
    fields        their (column, row)
    box           (left, top, right, bottom) in pixels of level 0
    mm2           the area of the fields, each without what it shares with its neighbour
    highest, mean of their probabilities
    outline       GeoJSON's MultiPolygon coordinates, in pixels of level 0
    """

    number: int
    fields: tuple[tuple[int, int], ...]
    box: Box
    mm2: float
    highest: float
    mean: float
    outline: list[list[list[list[float]]]]


@dataclass(frozen=True, eq=False)
class Findings:
    """The `header` and the `rows` of a scan, and what follows from them."""

    header: Header
    rows: Sequence[Row]
    grid: Grid
    regions: tuple[Region, ...]
    expected: Expected | None
    normal: str  # a sentence about tissue with nothing malignant in it, empty where nobody has measured it
    missed: str  # a sentence about outlined carcinoma, empty likewise

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many fields have each of `STATES`."""
        found = Counter(row.state for row in self.rows)
        return {state: found[state] for state in STATES}

    @property
    def groups(self) -> tuple[Region, ...]:
        """Regions of two fields and more."""
        return tuple(region for region in self.regions if len(region.fields) > 1)

    @property
    def singles(self) -> tuple[Region, ...]:
        """Malignant fields without another one beside them."""
        return tuple(region for region in self.regions if len(region.fields) == 1)

    @property
    def whole(self) -> bool:
        return len(self.rows) == self.header["fields"]

    @property
    def told(self) -> bool:
        """Whether a person has told the pixel size."""
        return bool(self.header["um"]["source"] == "user")

    @property
    def outside(self) -> str | None:
        """The reason of most fields outside, where these are more than `MOSTLY_OUTSIDE` of all; else None."""
        reasons = Counter(row.reason for row in self.rows if row.state == OUTSIDE)
        if not self.rows or sum(reasons.values()) <= MOSTLY_OUTSIDE * len(self.rows):
            return None
        return reasons.most_common(1)[0][0]

    @property
    def sentences(self) -> tuple[str, ...]:
        """What a reader is told, in this order."""
        counts, total = self.counts, len(self.rows)
        found = []
        if not self.whole:
            found.append(f"The scan is not complete: {total:,} of {counted(self.header['fields'], 'field')} so far.")
        if self.outside is not None:
            found.append(
                f"Most of this slide is outside the model's competence: {self.outside.replace('_', ' ')} "
                f"({counts[OUTSIDE]:,} of {counted(total, 'field')})."
            )
        found.append(
            f"Of {counted(total, 'field')}: malignant {counts[MALIGNANT]:,}, benign {counts[BENIGN]:,}, not sure "
            f"{counts[NOT_SURE]:,}, outside the model's competence {counts[OUTSIDE]:,}. "
            "This is no verdict on the slide."
        )
        if self.expected is not None:
            judged = sum(counts[state] for state in JUDGED)
            one = self.expected
            found.append(
                f"Of {counted(judged, 'field')} about {_about(one.value)} ({_about(one.low)} to {_about(one.high)}) "
                "would be called malignant if all were benign, by the figures of the weights."
            )
        found += [one for one in (self.normal, self.missed) if one]
        if counts[UNREADABLE]:
            found.append(
                f"{counts[UNREADABLE]:,} of {counted(total, 'field')} could not be read: the file is damaged there."
            )
        if self.told:
            um = self.header["um"]
            size = f"{um['columns']:g}" if um["rows"] == um["columns"] else f"{um['columns']:g} x {um['rows']:g}"
            found.append(
                f"The pixel size, {size} um, was given by the user: the file does not state it, or states another."
            )
        return tuple(found)


def findings_of(header: Header, rows: Sequence[Row], card: Card | None = None) -> Findings:
    """Of a scan, whole or not; `card` None: that of the weights which the header names.

    Raises WeightsError where there is no such card.
    """
    card = read_card(header["weights"])[0] if card is None else card
    grid = grid_of(header)
    positive = str(card.fields["positive"])
    regions = regions_of([row for row in rows if row.state == positive], grid, header["um"])
    expected = expected_of(rows, card) if header["site"] is None else None
    sha256 = header["weights_sha256"]
    return Findings(header, rows, grid, regions, expected, normal_tissue(sha256), missed_carcinoma(sha256))


def grid_of(header: Header) -> Grid:
    """The grid of a scan's fields, for the cells of a map."""
    width, height = header["size"]
    wide, high = header["grid"]["field"]
    return Grid((width, height), (wide, high))


def regions_of(rows: Sequence[Row], grid: Grid, um: Mapping[str, Any]) -> tuple[Region, ...]:
    """The fields of `rows`, put together where they touch; the largest first, then the most probable."""
    mask = np.zeros((grid.rows, grid.columns), np.uint8)
    at = {(row.column, row.row): row for row in rows}
    for column, row in at:
        mask[row, column] = 1
    count, labels = cv2.connectedComponents(mask, connectivity=8)
    members: dict[int, list[Row]] = {label: [] for label in range(1, count)}
    for (column, row), one in sorted(at.items()):
        members[int(labels[row, column])].append(one)
    found = [_region(labels == label, fields, grid, um) for label, fields in members.items()]
    found.sort(key=lambda region: (-len(region.fields), -region.highest, region.fields))
    return tuple(
        Region(number, one.fields, one.box, one.mm2, one.highest, one.mean, one.outline)
        for number, one in enumerate(found, start=1)
    )


def _region(mask: NDArray[np.bool_], rows: list[Row], grid: Grid, um: Mapping[str, Any]) -> Region:
    cells = [grid.cell(row.column, row.row) for row in rows]
    lefts, tops, rights, bottoms = zip(*cells, strict=True)
    mm2 = sum((right - left) * (bottom - top) for left, top, right, bottom in cells) * um["rows"] * um["columns"] / 1e6
    probabilities = [row.probability for row in rows if row.probability is not None]
    outline = [[[_corner(point, grid) for point in ring] for ring in rings] for rings in polygons(mask, (1.0, 1.0))]
    return Region(
        0,
        tuple((row.column, row.row) for row in rows),
        (min(lefts), min(tops), max(rights), max(bottoms)),
        mm2,
        max(probabilities),
        round(float(np.mean(probabilities)), 5),
        outline,
    )


def _corner(point: list[float], grid: Grid) -> list[float]:
    """A corner between fields, (column, row), in pixels of level 0."""
    return [
        min(round(number * side), length) for number, side, length in zip(point, grid.field, grid.size, strict=True)
    ]


def expected_of(rows: Sequence[Row], card: Card) -> Expected | None:
    """How many of the fields that are judged would be called malignant if all were benign.

    A field counts with the rate of the laboratory that it is taken for, see `false_alarms`; None where one has none.
    """
    laboratories = Counter(row.laboratory for row in rows if row.state in JUDGED)
    rates = {laboratory: false_alarms(card, laboratory) for laboratory in laboratories}
    if not rates or None in rates.values():
        return None
    sums = [
        sum(count * rate[part] for laboratory, count in laboratories.items() if (rate := rates[laboratory]) is not None)
        for part in range(3)
    ]
    return Expected(*sums)


def false_alarms(card: Card, laboratory: str | None) -> tuple[float, float, float] | None:
    """The share of benign images of new patients that is called malignant, as (value, low, high), by the card.

    Answers that are wrong are share x wrong x images, and none but benign images called malignant count among them
    where benign is never answered, as in an unknown laboratory; where it is, this is the most that it can be, as is one
    minus the specificity of an answer that is forced, and the lesser of the two is taken.
    """
    fields = card.fields
    found = fields.get("unknown_laboratory") if laboratory is None else fields.get("laboratories", {}).get(laboratory)
    if not found or not found.get("benign") or "answered" not in found:
        return None
    per_benign = found["answered"]["share"]["value"] * found["images"] / found["benign"]
    wrong = found["answered"]["wrong"]
    rates = [min(1.0, per_benign * wrong[part]) for part in ("value", "low", "high")]
    specificity = found["scores"].get("specificity")
    if specificity:
        forced = [1 - specificity[part] for part in ("value", "high", "low")]
        rates = [min(pair) for pair in zip(rates, forced, strict=True)]
    return rates[0], rates[1], rates[2]


def _mosaics(weights_sha256: str) -> dict[str, Any]:
    """What was measured of these weights on fields of known content; KeyError where that was of others."""
    record: dict[str, Any] = json.loads((shipped("evidence") / "mosaics.json").read_text(encoding="utf-8"))
    if record["weights_sha256"] != weights_sha256:
        raise KeyError(weights_sha256)
    return record


def normal_tissue(weights_sha256: str) -> str:
    """One sentence: what a scan with these weights calls normal tissue, what is called malignant most often first;
    empty if nobody measured it."""
    try:
        record, found = _mosaics(weights_sha256), []
        for part in record["parts"]:
            if word := NORMAL.get(part["shows"]):
                malignant, fields = int(part["counts"]["malignant"]), int(part["counts"]["pictures"])
                found.append((-malignant / fields, -fields, f"{word} {malignant} of {fields}"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError):
        return ""
    if not found:
        return ""
    told = ", ".join(words for *_, words in sorted(found))
    return (
        "Of fields laid out of tiles of normal tissue (TCGA; no training saw them, and nobody names the patients) a "
        f"scan calls malignant: {told}."
    )


def missed_carcinoma(weights_sha256: str) -> str:
    """One sentence: how much of outlined carcinoma a scan with these weights calls malignant; empty if nobody measured
    it."""
    try:
        counts = _mosaics(weights_sha256)["outlined"]
        fields, malignant, benign = (int(counts[name]) for name in ("pictures", "malignant", "benign"))
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    if not fields:
        return ""
    return (
        f"Of {counted(fields, 'field')} of outlined carcinoma of a laboratory that the model does not know (BACH) a "
        f"scan calls malignant {malignant}, benign {benign}; the others are not sure or outside its competence. A "
        "slide without a malignant field is not free of carcinoma."
    )


def _about(count: float) -> str:
    """Two figures of it: more would promise too much."""
    if count < 10:
        return f"{count:.0f}"
    unit = 10 ** (len(str(int(count))) - 2)
    return f"{round(count / unit) * unit:,}"
