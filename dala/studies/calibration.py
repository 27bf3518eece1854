"""What is its probability worth? Calibration and prediction sets on patients left out, from the held-out predictions.

dala calibrate breakhis
dala calibrate mini_ddsm
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dala.runtime.calibration import DEFAULT_ALPHA
from dala.stats.bootstrap import Interval
from dala.studies.blocks import (
    Block,
    Caption,
    Chart,
    Folded,
    Point,
    Row,
    Table,
    Text,
    numbers,
    point,
    sentence,
)
from dala.studies.record import IMAGES, Data, Record, Result
from dala.studies.study import Study, Verb
from dala.words import figure

DECISIVE = f"{DEFAULT_ALPHA:.2f}"
BY_IMAGE = {"key": "by_picture"}


@dataclass(frozen=True, kw_only=True)
class Origin(Record):
    """The cross-validation whose predictions were calibrated."""

    protocol: str
    command: str
    data: Data
    imagenet: str
    recipe: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Losses(Record):
    """What probabilities are worth: log loss, Brier score, and calibration error in bins of equal width and mass."""

    log_loss: Interval
    brier: Interval
    ece_equal_width: Interval
    ece_equal_mass: Interval


@dataclass(frozen=True, kw_only=True)
class Weighted(Record):
    """The same with classes and groups balanced, and with every image weighing the same."""

    balanced: Losses
    by_image: Losses = field(metadata=BY_IMAGE)


@dataclass(frozen=True, kw_only=True)
class Candidate(Record):
    """A scaling fitted to all groups, the range of the fits without each group, and what it is worth on that group."""

    temperature: float
    bias: float
    temperature_left_out: tuple[float, float]
    bias_left_out: tuple[float, float]
    held_out: Weighted


@dataclass(frozen=True, kw_only=True)
class Bin(Record):
    """A bin of the reliability diagram: edges, images (mean of the repeats), groups, mean probability, what is true."""

    low: float
    high: float
    images: float = field(metadata=IMAGES)
    groups: int
    mean_probability: float
    malignant: Interval


@dataclass(frozen=True, kw_only=True)
class Bins(Record):
    """The reliability diagram in bins of equal width and of equal mass."""

    equal_width: tuple[Bin, ...]
    equal_mass: tuple[Bin, ...]


@dataclass(frozen=True, kw_only=True)
class Reliability(Record):
    """Before calibration and after."""

    before: Bins
    after: Bins


@dataclass(frozen=True, kw_only=True)
class Shares(Record):
    """A share of the images, with every image or every group weighing the same, and of the patients of each class."""

    by_image: Interval = field(metadata=BY_IMAGE)
    by_group: Interval
    benign: Interval
    malignant: Interval


@dataclass(frozen=True, kw_only=True)
class RightShares(Record):
    """The share that is right of the sets with one class, and of those that say benign, or malignant."""

    by_image: Interval = field(metadata=BY_IMAGE)
    by_group: Interval
    when_benign: Interval
    when_malignant: Interval


@dataclass(frozen=True, kw_only=True)
class Sets(Record):
    """Prediction sets at one promise: how often the true class is in, how often both are, who is right otherwise."""

    coverage: Shares
    not_sure: Shares
    right_when_sure: RightShares


@dataclass(frozen=True, kw_only=True)
class ServedSets(Sets):
    """With the thresholds (least probability of a class in the set) that all groups give."""

    thresholds: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class ClassSets(ServedSets):
    """With a promise to each class: how many groups of a class that needs, and whether there are so many."""

    groups_needed: int
    possible: dict[str, bool]


@dataclass(frozen=True, kw_only=True)
class StainChange(Record):
    """The same networks, calibration and thresholds on images with another stain."""

    what: str
    probabilities: Weighted
    sets: dict[str, Sets]


@dataclass(frozen=True, kw_only=True)
class Rates(Record):
    """Of one group: share of its sets that hold the true class, and that hold both."""

    coverage: float
    not_sure: float


@dataclass(frozen=True, kw_only=True)
class LeftOut(Record):
    """A group under the calibration without it: its class, its images, and its sets by promise."""

    malignant: bool
    images: int = field(metadata=IMAGES)
    sets: dict[str, Rates]


@dataclass(frozen=True, kw_only=True)
class Gain(Record):
    """Held-out log loss minus that of the simpler scaling; below zero is better."""

    mean: float
    standard_error: float


@dataclass(frozen=True, kw_only=True)
class Calibration(Result):
    """Scalings and prediction sets, what they are worth on groups left out, and the block for the model card."""

    weights: str
    weights_sha256: str
    source: Origin
    weighting: dict[str, str]
    candidates: dict[str, Candidate]
    chosen: str
    why: str
    log_loss_against_the_one_before: dict[str, Gain]
    reliability: Reliability
    guarantee: dict[str, str]
    sets: dict[str, ServedSets]
    sets_for_each_class: dict[str, ClassSets]
    under_stain_change: StainChange | None
    by_group: dict[str, LeftOut]
    calibration: dict[str, Any]

    @property
    def made_with(self) -> list[tuple[str, Any]]:
        """Also the recipe of the predictions."""
        return [*super().made_with, ("recipe", self.source.recipe)]

    @property
    def measured_on(self) -> Data:
        """The images of the predictions."""
        return self.source.data


def diagram_points(bins: Bins) -> list[Point]:
    """Bins of equal mass: share malignant at the mean probability."""
    return [point(row.mean_probability, row.malignant) for row in bins.equal_mass]


def diagram_table(bins: Bins) -> list[Row]:
    """The numbers of the diagram."""
    return [
        {
            "Probability": f"{row.low:.3f} to {row.high:.3f}",
            "Mean": f"{row.mean_probability:.3f}",
            "Malignant": figure(row.malignant, percent=True),
            "Images": f"{row.images:.0f}",
            "Groups": str(row.groups),
        }
        for row in bins.equal_mass
    ]


def summary(record: Calibration) -> str:
    """How often the answer is not sure, and how often the others are right, at the promise that decides the verdict."""
    sets = record.sets[DECISIVE]
    unsure, right = (figure(one.by_image, percent=True) for one in (sets.not_sure, sets.right_when_sure))
    return (
        f"At its promise of {promise(DECISIVE)} it says *not sure* of {unsure} of such patients' images, and is right "
        f"in {right} of the others."
    )


def scaling_kept(record: Calibration) -> str:
    """One sentence: whether calibration changed anything."""
    if record.chosen == "none":
        return (
            "Before and after are the same here: neither a temperature nor a bias lowered the loss on patients left "
            "out, so none is used."
        )
    fitted = record.candidates[record.chosen]
    return f"Kept: {record.chosen} (temperature {fitted.temperature:.3f}, bias {fitted.bias:.3f})."


def candidates_table(record: Calibration) -> list[Row]:
    """Calibration error, Brier score and log loss of every candidate scaling on groups left out."""
    return [
        {
            "Scaling": f"{name} (kept)" if name == record.chosen else name,
            "Calibration error (ECE)": figure(one.held_out.by_image.ece_equal_width),
            "Brier": figure(one.held_out.by_image.brier),
            "Log loss, classes balanced": figure(one.held_out.balanced.log_loss),
        }
        for name, one in record.candidates.items()
    ]


def sets_table(by_alpha: Mapping[str, Sets]) -> list[Row]:
    """Coverage and share of "not sure" by promise and kind of patient; share right of the sets of one class, by what
    they say."""
    rows = []
    for alpha, one in by_alpha.items():
        covered, unsure, right = one.coverage, one.not_sure, one.right_when_sure
        benign, malignant = (figure(part, percent=True) for part in (right.when_benign, right.when_malignant))
        for of, inside, both, sure in (
            ("All images", covered.by_image, unsure.by_image, figure(right.by_image, percent=True)),
            ("Benign patients", covered.benign, unsure.benign, f"said benign: {benign}"),
            ("Malignant patients", covered.malignant, unsure.malignant, f"said malignant: {malignant}"),
        ):
            rows.append(
                {
                    "Promise": promise(alpha) if of == "All images" else "",
                    "Of": of,
                    "True class in the set": figure(inside, percent=True),
                    "Not sure": figure(both, percent=True),
                    "Right when sure": sure,
                }
            )
    return rows


def promise(alpha: str) -> str:
    """How a level is called: "90 %" for alpha "0.10"."""
    return f"{100 * (1 - float(alpha)):.0f} %"


def _section(key: str) -> Callable[[Calibration], list[Block]]:
    def section(record: Calibration) -> list[Block]:
        told = {"as served": record.reliability.after}
        if record.chosen != "none":
            told = {"before calibration": record.reliability.before, "after calibration": record.reliability.after}
        blocks: list[Block] = [
            Chart(
                key,
                "Reliability diagram: share malignant over probability, with 95 % intervals",
                "Probability of malignant",
                "Share that is malignant",
                series={name: diagram_points(bins) for name, bins in told.items()},
                square=True,
            ),
            Text(
                "Points on the diagonal keep their word; above it more is malignant than was said, below it less. "
                + scaling_kept(record)
            ),
            *(numbers(f"The numbers of the diagram, {name}", diagram_table(bins)) for name, bins in told.items()),
            Table(candidates_table(record), "Calibration error of every scaling"),
            Text("The calibration error is the mean distance from the diagonal, on patients left out of the fit."),
            Text("#### Not sure"),
            Table(sets_table(record.sets), "Coverage and share of not sure"),
            Text(
                "A set with both classes is shown as *not sure*. A higher promise is paid for with more of them. "
                + record.guarantee["in_short"]
            ),
        ]
        if record.under_stain_change is not None:
            table = Table(
                sets_table(record.under_stain_change.sets), "Coverage and share of not sure under a stain change"
            )
            told_of = Caption(sentence(record.under_stain_change.what))
            blocks.append(Folded("The same under a strong change of stain", (table, told_of)))
        return blocks

    return section


# Measuring


def measure(predictions: Path, weights: Path, out: Path | None) -> Calibration:
    """Calibrate from `predictions`, write all figures to `out` if that is given and the calibration into the card.

    The weights themselves are not touched. Raises DataError if the predictions are missing, unreadable, or not of the
    card's recipe, images and groups; nothing is written then.
    """
    from dala.runtime.card import write_card
    from dala.studies.calibration_fit import calibrate_weights

    told, fields = calibrate_weights(predictions, weights)
    record = Calibration.from_json(json.loads(json.dumps(told)))
    if out is not None:
        STUDY.write(record, out)
    write_card(weights, fields)
    return record


# The command


def add_arguments(parser: argparse.ArgumentParser, weights: str) -> None:
    given = Path("evidence") / f"{'breakhis_200x' if weights == 'breakhis' else weights}_predictions.json"
    parser.add_argument("--predictions", type=Path, default=given, metavar="FILE")
    parser.add_argument(
        "--weights",
        type=Path,
        default=None,
        metavar="FILE.safetensors",
        help=f"whose card is written to (default: the shipped {weights})",
    )
    parser.add_argument("--out", type=Path, default=None, metavar="FILE", help="the JSON of all figures")
    parser.set_defaults(shipped=weights)


def run(options: argparse.Namespace) -> int:
    from dala.runtime.card import WEIGHTS_DIR

    stem = options.predictions.stem.removesuffix("_predictions")
    out = options.out or Path("evidence") / f"calibration_{stem}.json"
    weights = options.weights or WEIGHTS_DIR / f"{options.shipped}.safetensors"
    record = measure(options.predictions, weights, out)
    print(f"{_told(record)}\nwritten to {out} and {weights.stem}.json")
    return 0


def _told(record: Calibration) -> str:
    temperature = record.candidates[record.chosen].temperature
    lines = [record.protocol, f"scaling kept: {record.chosen} (temperature {temperature:.3f})"]
    for name, candidate in record.candidates.items():
        losses = candidate.held_out
        lines.append(
            f"  {name}: balanced log loss {figure(losses.balanced.log_loss)}, Brier {figure(losses.by_image.brier)}, "
            f"ECE {figure(losses.by_image.ece_equal_width)}"
        )
    for alpha, sets in record.sets.items():
        lines.append(
            f"  sets at alpha {alpha}: coverage {figure(sets.coverage.by_image)}, not sure "
            f"{figure(sets.not_sure.by_image)}, right when sure {figure(sets.right_when_sure.by_image)}"
        )
    return "\n".join(lines)


def _verb(dataset: str) -> Verb:
    told = "calibrate weights from the predictions that crossvalidate wrote (a minute at most); no weight changes"
    return Verb("calibrate", dataset, told, lambda parser: add_arguments(parser, dataset), run)


STUDY = Study(
    "calibration",
    "calibration_breakhis_200x.json",
    Calibration,
    "breakhis",
    "dala calibrate breakhis",
    part="Not sure, or refused",
    title="What its probability is worth",
    question="When it gives a probability, is it right that often? Does it say so when it does not know?",
    section=_section("calibration"),
    summary=summary,
    verb=_verb("breakhis"),
)
MINI_DDSM = replace(
    STUDY,
    key="mini_ddsm_calibration",
    file="calibration_mini_ddsm.json",
    weights="mini_ddsm",
    command="dala calibrate mini_ddsm",
    part="Mammograms",
    title="Mammograms: the probability",
    question="What are the probability and the answer 'not sure' worth there?",
    section=_section("mini-ddsm-calibration"),
    summary=None,
    verb=_verb("mini_ddsm"),
)
