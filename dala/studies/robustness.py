"""What is left of the verdicts when an image is stained, lit, focused, saved or framed differently?

    dala robustness breakhis --data ROOT [--originals DIR]

Every image is analysed by the network of the fold that has not seen its patient, those that `crossvalidate` kept, and
beside it by the linear probe and by colour alone, fitted on the same unchanged training images.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dala.stats.bootstrap import Interval, mean_over_groups
from dala.stats.metrics import binary_intervals, binary_scores
from dala.studies.blocks import Block, Chart, Choice, Line, Row, Table, Text, numbers, plain_cell
from dala.studies.names import COLOUR, METRICS, NETWORK, PROBE
from dala.studies.names import MODELS as TITLES
from dala.studies.options import add_backbone, add_runs
from dala.studies.record import IMAGES, Data, Record, Result
from dala.studies.study import Study, Verb
from dala.terminal import Progress, at_least, progress
from dala.words import counted, figure

if TYPE_CHECKING:
    from dala.data.perturb import Perturbation
    from dala.nets.imagenet import Backbone
    from dala.training.tasks.breakhis import BreakHis

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]

MODELS = (NETWORK, PROBE, COLOUR)
HARMLESS = 0.01  # a loss of AUC below it is called hardly any


@dataclass(frozen=True, kw_only=True)
class Scores(Record):
    """Of one model: AUC, balanced accuracy, and the mean over the groups of the change of the true class's
    probability."""

    auc: Interval
    balanced_accuracy: Interval
    shift: Interval


@dataclass(frozen=True, kw_only=True)
class Level(Scores):
    """A strength of a perturbation: the network's scores, and the other models' beside them."""

    level: float
    linear_probe: Scores
    colour_only: Scores

    @property
    def others(self) -> dict[str, Scores]:
        """The other models' scores by name."""
        return {"linear_probe": self.linear_probe, "colour_only": self.colour_only}


@dataclass(frozen=True, kw_only=True)
class Perturbed(Record):
    """A kind of perturbation: the unit of its strength, what is done, and the scores from weak to strong."""

    unit: str
    about: str
    levels: tuple[Level, ...]


@dataclass(frozen=True, kw_only=True)
class Right(Record):
    """How many images a model calls right, and its AUC where there are images of both classes."""

    right: int
    auc: float | None


@dataclass(frozen=True, kw_only=True)
class Originals(Record):
    """The published images of one magnification under every model."""

    magnification: int
    images: int = field(metadata=IMAGES)
    groups: int
    benign: int
    dala_resnet50: Right
    linear_probe: Right
    colour_only: Right


@dataclass(frozen=True, kw_only=True)
class Robustness(Result):
    """Scores of every model on unchanged images and by perturbation, and on the published images."""

    data: Data
    imagenet: str
    recipe: dict[str, Any]
    models: tuple[str, ...]
    unchanged: dict[str, Scores]
    changes: dict[str, Perturbed]
    originals: tuple[Originals, ...]


# Measuring


def measure(
    task: BreakHis,
    backbone: Backbone,
    runs: Path,
    path: Path,
    each: int,
    originals: BreakHis | None = None,
    changes: Sequence[Perturbation] | None = None,
    bars: Callable[[str], Progress] = lambda name: lambda done, total: None,
) -> Robustness:
    """Analyse up to `each` images of every group under every perturbation and write the table to `path` as it grows.

    `originals`: published images at every magnification, for the look beyond the one that was trained on. Answers are
    kept beside the folds: a killed run goes on where it was.
    """
    from dala.data import perturb
    from dala.data.pixels import load_pixels
    from dala.files import replacing
    from dala.studies.held_out import FOLDS, analysed, readers, sample
    from dala.training.recipe import SIZE

    changes = perturb.PERTURBATIONS if changes is None else changes
    pixels = load_pixels(task.records, SIZE)
    chosen = sample(task.groups, each)
    labels, groups = task.labels[chosen], task.groups[chosen]
    by = readers(task, backbone, runs)
    # A change of the code that perturbs images makes other images.
    made = hashlib.sha256(Path(perturb.__file__).read_bytes()).hexdigest()[:8]
    folder = task.folder(runs) / f"robustness-{each}-{made}"

    def answers(name: str, make: Callable[[], Pixels], owners: NDArray[np.str_]) -> dict[str, Floats]:
        done = folder / f"{name.replace(' ', '_')}.npz"
        if not done.is_file():
            found = analysed(make(), owners, by)
            with replacing(done) as partial:
                np.savez(partial, **found)  # type: ignore[arg-type]
        with np.load(done) as kept:
            return {model: kept[model] for model in MODELS}

    plain = answers("unchanged", lambda: pixels[chosen], groups)
    record = Robustness(
        protocol=f"images analysed by the network of the fold ({FOLDS} folds by accession number, the first repeat "
        "of the cross-validation) that has not seen their patient, before calibration; up to "
        f"{counted(each, 'image')}, drawn at random, of every accession group, each changed alike at every strength; "
        "threshold 0.5; 95 % intervals: bootstrap over accession groups; the shift is the mean over the patients of "
        "the change of the true class's probability",
        command=f"{STUDY.command} --originals DIR --each {each}",
        data=replace(Data.from_json(task.described()), images=len(chosen)),
        imagenet=backbone.source,
        recipe=task.recipe.record,
        models=MODELS,
        unchanged={model: Scores(**scored(labels, plain[model], plain[model], groups)) for model in MODELS},
        changes={},
        originals=() if originals is None else _originals(originals, answers),
    )
    steps, total = 0, sum(len(change.levels) for change in changes)
    bar = bars("changed images")
    for change in changes:
        levels = []
        for level in change.levels:
            found = plain
            if level != change.neutral:

                def make(change: Perturbation = change, level: float = level) -> Pixels:
                    return np.stack([
                        change.apply(pixels[index], level, np.random.default_rng((0, int(index)))) for index in chosen
                    ])  # fmt: skip

                found = answers(f"{change.name} {level:g}", make, groups)
            network, *others = (scored(labels, found[model], plain[model], groups) for model in MODELS)
            linear, colour = (Scores(**one) for one in others)
            levels.append(Level(level=level, **network, linear_probe=linear, colour_only=colour))
            steps += 1
            bar(steps, total)
        row = Perturbed(unit=change.unit, about=change.about, levels=tuple(levels))
        record = replace(record, changes=record.changes | {change.name: row})
        STUDY.write(record, path)
    return record


def scored(labels: NDArray[np.int64], answer: Floats, plain: Floats, groups: NDArray[np.str_]) -> dict[str, Interval]:
    """The fields of `Scores`."""
    scores = binary_intervals(labels, answer, groups)
    shift = np.where(labels == 1, 1, -1) * (answer - plain)
    return {
        "auc": scores["auc"],
        "balanced_accuracy": scores["balanced_accuracy"],
        "shift": mean_over_groups(shift, groups),
    }


def _originals(
    originals: BreakHis, answers: Callable[[str, Callable[[], Pixels], NDArray[np.str_]], dict[str, Floats]]
) -> tuple[Originals, ...]:
    """A row a magnification of the published images; so few that only counts are given with the AUC."""
    from dala.data.pixels import load_pixels
    from dala.training.recipe import SIZE

    pixels = load_pixels(originals.records, SIZE)
    found = answers(f"originals {len(pixels)}", lambda: pixels, originals.groups)
    magnification = np.array([record.magnification for record in originals.records])
    rows = []
    for at in sorted(set(magnification.tolist())):
        here = magnification == at
        labels = originals.labels[here]
        right = {
            model: Right(
                right=int(((found[model][here] >= 0.5) == labels).sum()),
                auc=binary_scores(labels, found[model][here])["auc"],
            )
            for model in MODELS
        }
        groups, benign = len(set(originals.groups[here])), int((labels == 0).sum())
        rows.append(Originals(magnification=at, images=int(here.sum()), groups=groups, benign=benign, **right))
    return tuple(rows)


# The command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="ROOT")
    parser.add_argument(
        "--originals", type=Path, default=None, metavar="DIR", help="a tree with 40X, 100X and 400X too"
    )
    parser.add_argument(
        "--each", type=at_least(1), default=6, metavar="N", help="images of an accession group, at most"
    )
    add_backbone(parser)
    add_runs(parser, "fold networks and answers")
    parser.add_argument("--evidence", type=Path, default=Path("evidence"), metavar="DIR")


def run(options: argparse.Namespace) -> int:
    from dala.training.backbone import load_backbone
    from dala.training.tasks import breakhis

    path = options.evidence / STUDY.file
    record = measure(
        breakhis.load(options.data),
        load_backbone(options.backbone),
        options.runs,
        path,
        options.each,
        breakhis.load(options.originals, None) if options.originals else None,
        bars=progress,
    )
    print(f"{record.protocol}\n{'':24s}" + "".join(f"{model:>15s}" for model in MODELS))
    print(_line("unchanged", [record.unchanged[model] for model in MODELS]))
    for name, change in record.changes.items():
        for level in change.levels:
            print(_line(f"{name} {level.level:g} {change.unit}", [level, *level.others.values()]))
    print(f"AUC; written to {path}")
    return 0


def _line(name: str, rows: Sequence[Scores]) -> str:
    values = [row.auc["value"] for row in rows]
    return f"{name:24s}" + "".join(f"{'-' if value is None else f'{value:.3f}':>15s}" for value in values)


# The page


def lines(record: Robustness) -> list[Line]:
    """AUC of the network over the strength of each perturbation, the one that costs most first."""
    found = [_auc_line(name, {one.level: one for one in change.levels}) for name, change in record.changes.items()]
    return sorted(found, key=lambda line: min(line.y))


def beside(record: Robustness, name: str) -> list[Line]:
    """AUC of the other models over the strength of one perturbation, without bands."""
    levels = record.changes[name].levels
    found = [_auc_line(TITLES[model], {one.level: one.others[model] for one in levels}) for model in MODELS[1:]]
    return [replace(line, low=None, high=None) for line in found]


def _auc_line(name: str, by_level: dict[float, Scores]) -> Line:
    defined = [
        (level, auc["value"], auc["low"], auc["high"])
        for level, auc in ((level, scores.auc) for level, scores in by_level.items())
        if auc["value"] is not None and auc["low"] is not None and auc["high"] is not None
    ]
    return replace(Line.through(name, defined), marked=True)


def summary(record: Robustness) -> str:
    """The perturbation that costs most, and those that hardly cost anything, in a sentence."""
    whole = record.unchanged[NETWORK].auc
    worst = {name: min(change.levels, key=_auc) for name, change in record.changes.items()}
    name = min(worst, key=lambda one: _auc(worst[one]))
    level, unit = worst[name], record.changes[name].unit
    harmless = [one for one, found in worst.items() if _auc(found) >= _value(whole) - HARMLESS]
    said = (
        f"Of {len(worst)} kinds of change of the image, **{name}** costs most: at {level.level:g} {unit} the AUC is "
        f"**{figure(level.auc)}** instead of {figure(whole)}."
    )
    return f"{said} Hardly any at the strengths tried: {', '.join(harmless)}." if harmless else said


def _auc(scores: Scores) -> float:
    return _value(scores.auc)


def _value(interval: Interval) -> float:
    """The value of an interval; where it is undefined it is no loss."""
    return np.inf if interval["value"] is None else interval["value"]


def table(record: Robustness) -> list[Row]:
    """Every perturbation and strength with its scores and the shift of the probability."""
    return [
        {
            "Change": plain_cell(name),
            "Strength": f"{level.level:g} {change.unit}",
            METRICS["auc"]: figure(level.auc),
            METRICS["balanced_accuracy"]: figure(level.balanced_accuracy),
            "Shift of the probability": figure(level.shift, signed=True),
            **{f"AUC, {TITLES[model].lower()}": figure(scores.auc) for model, scores in level.others.items()},
        }
        for name, change in record.changes.items()
        for level in change.levels
    ]


def originals_table(record: Robustness) -> list[Row]:
    """The published images at every magnification: how many each model calls right, and its AUC where defined."""

    def cell(found: Right, images: int) -> str:
        auc = "" if found.auc is None else f", AUC {found.auc:.3f}"
        return f"{found.right} of {images}{auc}"

    return [
        {
            "Magnification": f"{row.magnification}X",
            "Images, patients": f"{row.images} of {row.groups}, {row.benign} benign",
            **{
                f"{TITLES[model]}, right": cell(found, row.images)
                for model, found in zip(MODELS, (row.dala_resnet50, row.linear_probe, row.colour_only), strict=True)
            },
        }
        for row in record.originals
    ]


def section(record: Robustness) -> list[Block]:
    """One perturbation at a time, all of them in a table, and the published images."""
    by_name = {line.name: line for line in lines(record)}

    def one(name: str) -> list[Block]:
        change = record.changes[name]
        network = replace(by_name[name], name=TITLES[NETWORK])
        alt = f"AUC over the strength of the change {name}, with a 95 % band"
        shown = [network, *beside(record, name)]
        return [
            Text(f"{name[0].upper()}{name[1:]}: {change.about}."),
            Chart("robustness", alt, f"{name} ({change.unit})", "AUC", lines=shown),
        ]

    blocks: list[Block] = [
        Choice("Change", list(by_name), "change", one, help="The one that costs most comes first."),
        Text(f"{summary(record)} A level line does not care; where it falls, the model leans on what was changed."),
        numbers("Every change and strength", table(record)),
    ]
    if record.originals:
        blocks += [
            Text("A small look at the published images, at its own magnification and at others:"),
            Table(originals_table(record), "Published images at every magnification"),
        ]
    return blocks


STUDY = Study(
    "robustness",
    "robustness_breakhis_200x.json",
    Robustness,
    "breakhis",
    "dala robustness breakhis --data ROOT",
    part="Changed images",
    title="When images change",
    question="What is left under another stain, focus, compression, brightness or scale?",
    section=section,
    summary=summary,
    verb=Verb(
        "robustness",
        "breakhis",
        "analyse images of held-out patients under other stain, light, focus, compression and framing (15 minutes on "
        "two cores after crossvalidate; what is done is kept)",
        add_arguments,
        run,
    ),
)
