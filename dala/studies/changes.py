"""What is left of the served answers under another stain, focus, compression, or a wrong pixel size?

    dala changes --data ROOT

By laboratory, at true scale: every image is answered by a fit of the head without its patient, and so is every change
of it; beside the network stands colour alone, fitted to the same unchanged images.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dala.stats.bootstrap import Interval
from dala.studies.blocks import Block, Chart, Choice, Line, Row, Text, numbers, plain_cell
from dala.studies.names import COLOUR, METRICS, NETWORK
from dala.studies.options import add_runs
from dala.studies.record import IMAGES, Record, Result
from dala.studies.study import Study, Verb
from dala.terminal import Progress, at_least, progress
from dala.words import counted, figure

if TYPE_CHECKING:
    from dala.runtime.calibration import Calibration
    from dala.runtime.predict import Model
    from dala.training.laboratories.samples import Samples
    from dala.training.laboratories.sources import Item

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]

FOLDS = 5


@dataclass(frozen=True)
class Change:
    """A change of an image at true scale, its strengths in ascending order, and the one that changes nothing.

    `apply` takes the image at 0.5 um per pixel.
    """

    name: str
    unit: str
    about: str
    strengths: tuple[float, ...]
    neutral: float | None
    apply: Callable[[Pixels, float], Pixels]


def changes() -> tuple[Change, ...]:
    """Every change, in the order of the page."""
    from dala.data import perturb
    from dala.training.laboratories.sources import UM_PER_PIXEL

    def resized(pixels: Pixels, factor: float) -> Pixels:
        from PIL import Image

        size = (max(1, round(pixels.shape[1] * factor)), max(1, round(pixels.shape[0] * factor)))
        return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))

    return (
        Change("haematoxylin", "times", "its optical density times a factor, eosin kept", (0.5, 0.7, 1, 1.4, 2), 1,
               lambda p, s: perturb.restain(p, np.array([s, 1.0, 1.0]))),
        Change("eosin", "times", "its optical density times a factor, haematoxylin kept", (0.5, 0.7, 1, 1.4, 2), 1,
               lambda p, s: perturb.restain(p, np.array([1.0, s, 1.0]))),
        Change("hue", "degrees", "all colours turned in HSV", (-15, 0, 15), 0, perturb.hue),
        Change("saturation", "times", "distance from grey times a factor", (0.5, 1, 1.5), 1, perturb.saturation),
        Change("brightness", "times", "grey levels times a factor, clipped", (0.8, 1, 1.2), 1, perturb.scaled),
        Change("focus", "um", "Gaussian blur, sigma in micrometres", (0, 0.5, 1, 1.5), 0,
               lambda p, s: perturb.blur(p, s / UM_PER_PIXEL)),
        Change("JPEG", "quality", "saved at 0.5 um per pixel", (30, 50, 80), None,
               lambda p, s: perturb.jpeg(p, round(s))),
        Change("pixel size", "times the true one", "given wrongly, so that everything seems larger or smaller",
               (0.5, 0.7, 1, 1.4, 2), 1, resized),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Measured(Record):
    """Of a laboratory: AUC and balanced accuracy of the network, AUC of colour alone, the share of images that are
    answered, and of these the share that is wrong."""

    auc: Interval
    balanced_accuracy: Interval
    colour_auc: Interval
    answered: Interval
    wrong: Interval


@dataclass(frozen=True, kw_only=True)
class Level(Record):
    """A strength of a change, in every laboratory."""

    strength: float
    laboratories: dict[str, Measured]


@dataclass(frozen=True, kw_only=True)
class Changed(Record):
    """A kind of change: the unit of its strength, what is done, and what is left, from the lowest strength up."""

    unit: str
    about: str
    levels: tuple[Level, ...]


@dataclass(frozen=True, kw_only=True)
class Laboratory(Record):
    """A laboratory's images: how many of how many patients, and the scores of the unchanged ones."""

    images: int = field(metadata=IMAGES)
    groups: int
    malignant: int
    unchanged: Measured


@dataclass(frozen=True, kw_only=True)
class Changes(Result):
    """Every laboratory and every change."""

    laboratories: dict[str, Laboratory]
    changes: dict[str, Changed]


# Measuring


def seen_by(model: Model, images: Sequence[Pixels], bar: Progress) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What the head pools of each image, (N, 3584), by the engine that serves, and the images' colours, (N, 6)."""
    from dala.preprocess.views import network_input
    from dala.training.colour_only import colour_statistics

    features, colours = [], []
    for done, pixels in enumerate(images, start=1):
        seen = model.runs_on.tail(model.runs_on.trunk(network_input(pixels[None], None)))
        features.append(seen.float().mean((2, 3)).numpy()[0])
        colours.append(colour_statistics(pixels[None])[0].astype(np.float32))
        bar(done, len(images))
    return np.array(features), np.array(colours)


def answered(
    margins: Floats, labels: NDArray[np.int64], groups: NDArray[np.str_], calibration: Calibration, laboratory: str
) -> tuple[Interval, Interval]:
    """Share of images (N,) with an answer by the sets of their laboratory, and of these the share that is wrong."""
    from dala.training.laboratories.promise import Answered

    sets = [
        calibration.set_of(one, laboratory=laboratory).classes
        for one in calibration.probabilities(np.stack([-margins / 2, margins / 2], axis=1))
    ]
    given = np.array([len(one) == 1 for one in sets])
    right = np.array([one[0] == calibration.classes[label] for one, label in zip(sets, labels, strict=True)])
    found = Answered.of(given[None], (given & ~right)[None], groups)
    return found.share, found.wrong


def measured(
    labels: NDArray[np.int64],
    groups: NDArray[np.str_],
    margins: dict[str, Floats],
    calibration: Calibration,
    laboratory: str,
) -> Measured:
    """The figures of a laboratory's images (N,) from margins towards malignant."""
    from dala.stats.conformal import sigmoid
    from dala.stats.metrics import binary_intervals
    from dala.training.laboratories.validation import told

    network = told(binary_intervals(labels, sigmoid(margins[NETWORK]), groups))
    colour = told(binary_intervals(labels, sigmoid(margins[COLOUR]), groups))
    share, wrong = answered(margins[NETWORK], labels, groups, calibration, laboratory)
    return Measured(
        auc=network["auc"],
        balanced_accuracy=network["balanced_accuracy"],
        colour_auc=colour["auc"],
        **told({"answered": share, "wrong": wrong}),
    )


def measure(root: Path, model: Model, runs: Path, path: Path, each: int, bars: Callable[[str], Progress]) -> Changes:
    """Up to `each` images of every patient under every change; the table is written to `path` as it grows.

    What was seen of an image is kept under `runs`. DataError where a laboratory is missing.
    """
    from dala.files import replacing
    from dala.studies.held_out import sample
    from dala.training.laboratories.fit import HeadRecipe
    from dala.training.laboratories.sources import items_of
    from dala.training.laboratories.validation import answers, folds_of, make_network

    assert model.card.calibration is not None
    items = items_of(root)
    sha256 = str(model.card.fields["sha256"])
    chosen = sample(np.array([item.group for item in items]), each)
    originals: list[Pixels] = [np.asarray(items[index].seen()) for index in chosen]
    training = _training(items, model, runs, sha256, bars("all images"))
    recipe, make = HeadRecipe(), make_network(model.net.state_dict())
    labels, groups, where = training.labels[chosen], training.groups[chosen], training.laboratories[chosen]
    folds = folds_of(training, FOLDS, seed=0)

    def margins_of(name: str, make_images: Callable[[], list[Pixels]] | None) -> dict[str, Floats]:
        """Margins of the chosen images, changed or (None) as they are, every one without its patient."""
        if make_images is None:
            features, colours = training.features[chosen], training.colours[chosen]
        else:
            kept = runs / f"changes-{sha256[:8]}-{each}-{hashlib.sha256(name.encode()).hexdigest()[:10]}.npz"
            if not kept.is_file():
                features, colours = seen_by(model, make_images(), bars(name))
                with replacing(kept) as partial:
                    np.savez(partial, features=features, colours=colours)
            with np.load(kept) as held:
                features, colours = held["features"], held["colours"]
        asked = replace(
            training, features=features, colours=colours, labels=labels, groups=groups, laboratories=where,
            names=training.names[chosen], extra=training.extra[chosen],
        )  # fmt: skip
        found = {NETWORK: np.full(len(chosen), np.nan), COLOUR: np.full(len(chosen), np.nan)}
        for number, (train, test) in enumerate(folds):
            own = np.flatnonzero(np.isin(chosen, test))
            by_model = answers(training, train, asked, own, make, recipe, number)
            for model_name, values in found.items():
                values[own] = by_model[model_name]
        return found

    def by_laboratory(margins: dict[str, Floats]) -> dict[str, Measured]:
        assert model.card.calibration is not None
        rows = {}
        for name in dict.fromkeys(where.tolist()):
            own = where == name
            of = {one: values[own] for one, values in margins.items()}
            rows[name] = measured(labels[own], groups[own], of, model.card.calibration, name)
        return rows

    plain = by_laboratory(margins_of("unchanged", None))
    record = Changes(
        protocol="images of the laboratories in training at 0.5 um per pixel, up to "
        f"{counted(each, 'image')}, drawn at random, of every patient, answered by fits of the head in "
        f"{FOLDS} folds without the image's patient; an answer is given by the prediction sets of the image's "
        "laboratory as they are shipped, which were chosen on held-out predictions of the unchanged images; the gate, "
        "which would refuse some, is not asked; 95 % intervals: bootstrap over patients",
        command=f"{STUDY.command} --each {each}",
        weights_sha256=sha256,
        laboratories={
            name: Laboratory(
                images=int((where == name).sum()),
                groups=len(set(groups[where == name].tolist())),
                malignant=int(labels[where == name].sum()),
                unchanged=one,
            )
            for name, one in plain.items()
        },
        changes={},
    )
    for change in changes():
        levels = []
        for strength in change.strengths:
            rows = plain
            if strength != change.neutral:

                def make_images(change: Change = change, strength: float = strength) -> list[Pixels]:
                    return [change.apply(pixels, strength) for pixels in originals]

                rows = by_laboratory(margins_of(f"{change.name} {strength:g}", make_images))
            levels.append(Level(strength=strength, laboratories=rows))
        row = Changed(unit=change.unit, about=change.about, levels=tuple(levels))
        record = replace(record, changes=record.changes | {change.name: row})
        STUDY.write(record, path)
    return record


def _training(items: Sequence[Item], model: Model, runs: Path, sha256: str, bar: Progress) -> Samples:
    """Every image as it is, seen by the served engine, and the extra samples that the weights were fitted with."""
    from dala.files import replacing
    from dala.runtime.card import read_card
    from dala.training.laboratories.release import load_samples
    from dala.training.laboratories.samples import Samples

    kept = runs / f"changes-{sha256[:8]}-unchanged.npz"
    if not kept.is_file():
        features, colours = seen_by(model, [np.asarray(item.seen()) for item in items], bar)
        with replacing(kept) as partial:
            np.savez(partial, features=features, colours=colours)
    with np.load(kept) as held:
        features, colours = held["features"], held["colours"]
    shipped = load_samples(read_card(model.name)[1])
    extra = shipped.extra
    return Samples(
        features=np.concatenate([features, shipped.features[extra]]),
        colours=np.concatenate([colours, np.zeros((int(extra.sum()), colours.shape[1]), np.float32)]),
        names=np.array([*(item.name for item in items), *[""] * int(extra.sum())]),
        labels=np.concatenate([[item.label for item in items], shipped.labels[extra]]),
        groups=np.array([*(item.group for item in items), *shipped.groups[extra].tolist()]),
        laboratories=np.array([*(item.laboratory for item in items), *shipped.laboratories[extra].tolist()]),
        extra=np.array([*[False] * len(items), *[True] * int(extra.sum())]),
    )


# The page


def lines(record: Changes, name: str) -> list[Line]:
    """AUC of the network over the strength of one change, a line a laboratory."""
    levels = record.changes[name].levels
    return [
        replace(
            Line.through(
                laboratory,
                [
                    (one.strength, auc["value"])
                    for one in levels
                    if (auc := one.laboratories[laboratory].auc)["value"] is not None
                ],
            ),
            marked=True,
        )
        for laboratory in record.laboratories
    ]


def lost(record: Changes, name: str) -> float:
    """The largest loss of AUC under one change in any laboratory."""
    return max(
        (unchanged - auc)
        for level in record.changes[name].levels
        for laboratory, one in level.laboratories.items()
        if (auc := one.auc["value"]) is not None
        and (unchanged := record.laboratories[laboratory].unchanged.auc["value"]) is not None
    )


def worst_answers(record: Changes) -> tuple[str, str, Level, str]:
    """The change, strength and laboratory in which most of the answers given are wrong: change, unit, level, name."""
    every = [
        (one.wrong["value"] or 0.0, name, change.unit, level, laboratory)
        for name, change in record.changes.items()
        for level in change.levels
        for laboratory, one in level.laboratories.items()
    ]
    _, name, unit, level, laboratory = max(every, key=lambda row: row[0])
    return name, unit, level, laboratory


def summary(record: Changes) -> str:
    """The change that costs most ranking, and the one under which most answers are wrong."""
    first = max(record.changes, key=lambda name: lost(record, name))
    name, unit, level, laboratory = worst_answers(record)
    one = level.laboratories[laboratory]
    return (
        f"Of {len(record.changes)} kinds of change, **{first}** costs most: up to {lost(record, first):.2f} of AUC. "
        f"Most answers are wrong under **{name}** at {level.strength:g} {unit} in {laboratory}: "
        f"{figure(one.wrong, percent=True)} of those given, with {figure(one.answered, percent=True)} answered."
    )


def table(record: Changes) -> list[Row]:
    """A row a change, strength and laboratory."""
    return [
        {
            "Change": plain_cell(name),
            "Strength": f"{level.strength:g} {change.unit}",
            "Laboratory": laboratory,
            METRICS["auc"]: figure(one.auc),
            METRICS["balanced_accuracy"]: figure(one.balanced_accuracy),
            "AUC, colour alone": figure(one.colour_auc),
            "Answered": figure(one.answered, percent=True),
            "Of these wrong": figure(one.wrong, percent=True),
        }
        for name, change in record.changes.items()
        for level in change.levels
        for laboratory, one in level.laboratories.items()
    ]


def section(record: Changes) -> list[Block]:
    """One change at a time, the one that costs most first, and all of them in a table."""
    order = sorted(record.changes, key=lambda name: -lost(record, name))

    def one(name: str) -> list[Block]:
        change = record.changes[name]
        alt = f"AUC over the strength of the change {name}, a line a laboratory"
        return [
            Text(f"{name[0].upper()}{name[1:]}: {change.about}."),
            Chart("changes", alt, f"{name} ({change.unit})", "AUC", lines=lines(record, name)),
        ]

    return [
        Text(summary(record)),
        Choice("Change", order, "change-at-scale", one, help="The one that costs most comes first."),
        Text("A level line does not care; where it falls, the model leans on what was changed."),
        numbers("Every change, strength and laboratory", table(record)),
    ]


# The command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, required=True, metavar="ROOT", help="holds breakhis_200x_224, ucsb, brca_m2c"
    )
    parser.add_argument("--each", type=at_least(1), default=4, metavar="N", help="images of a patient, at most")
    add_runs(parser, "what the network saw")
    parser.add_argument("--out", type=Path, default=Path(STUDY.path), metavar="FILE")


def run(options: argparse.Namespace) -> int:
    from dala.runtime.predict import load_model

    record = measure(options.data, load_model(STUDY.weights or ""), options.runs, options.out, options.each, progress)
    for row in table(record):
        print("  ".join(str(cell) for cell in row.values()))
    print(f"{summary(record)}\nwritten to {options.out}")
    return 0


STUDY = Study(
    "changes",
    "changes.json",
    Changes,
    "breast",
    "dala changes --data ROOT",
    part="Changed images",
    title="When images change, by laboratory",
    question="What is left of the served answers under another stain, focus, compression, or a wrong pixel size?",
    section=section,
    summary=summary,
    verb=Verb(
        "changes",
        None,
        "answers of the served weights under other stain, light, focus, compression and scale, by laboratory (15 "
        "minutes; what is done is kept)",
        add_arguments,
        run,
    ),
)
