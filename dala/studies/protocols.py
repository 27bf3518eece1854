"""What is a leak between patients worth? The same models under four ways of splitting the images.

    dala protocols breakhis --data ROOT [--folds-file DIR]

By image, by the official folds and by slide, images of one patient stand on both sides; by accession group they do
not.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dala.errors import DataError
from dala.stats.bootstrap import Interval
from dala.stats.metrics import binary_intervals, binary_scores
from dala.studies import predictions
from dala.studies.blocks import Block, Caption, Folded, Row, Table, Text, bullets, choices, plain_cell
from dala.studies.names import CROSSVALIDATE, METRICS, MODELS, NETWORK
from dala.studies.options import add_backbone, add_runs
from dala.studies.record import Data, Record, Result
from dala.studies.study import Study, Verb
from dala.terminal import table as scores_table
from dala.words import figure, share

if TYPE_CHECKING:
    from dala.data.splits import Fold as Sides
    from dala.nets.imagenet import Backbone
    from dala.training.recipe import Recipe
    from dala.training.task import Fold
    from dala.training.tasks.breakhis import BreakHis

FOLD_FILES = tuple(f"dsfold{number}.txt" for number in range(1, 6))
PROTOCOLS = {
    "by_image": "images dealt out one by one, blind to the patient: for comparison with literature that split so",
    "official_folds": "the data set's own five divisions into training and test",
    "by_slide": "whole slides (the folders of the tree), blind to slides that share an accession number",
    "by_group": "whole accession groups: the patients of the test are new",
}
SPLITS = {
    "by_image": "By image",
    "official_folds": "Official folds",
    "by_slide": "By slide",
    "by_group": "By accession group",
}
MEMORISING = "dala_resnet50_memorising"
LEAKY, HONEST = "by_image", "by_group"
COMPARED = ("dala_resnet50", "linear_probe", "colour_only")

Answers = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Leakage(Record):
    """Accession groups on both sides of each fold, and the share of test images whose group was trained on."""

    groups_on_both_sides: tuple[int, ...]
    share_of_test_images: float = field(metadata={"key": "share_of_test_pictures"})


@dataclass(frozen=True, kw_only=True)
class Split(Record):
    """One way of splitting: number of folds, what it leaks, and scores by model and metric."""

    folds: int
    leakage: Leakage
    scores: dict[str, dict[str, Interval]]


@dataclass(frozen=True, kw_only=True)
class NotMeasured(Record):
    """A way of splitting that could not be measured, and why."""

    not_measured: str


@dataclass(frozen=True, kw_only=True)
class Protocols(Result):
    """The splits that are done, what each is, and how the memorising network was trained."""

    recipe: dict[str, Any]
    memorising_recipe: dict[str, Any]
    imagenet: str
    data: Data
    explained: dict[str, str]
    columns: dict[str, Split | NotMeasured]


def official_folds(folder: Path, names: Sequence[str]) -> list[Sides]:
    """(training indices, test indices) of the official divisions, for the images of these names.

    `folder` holds dsfold1.txt to dsfold5.txt with lines `FILE|MAGNIFICATION|FOLD|train` or `...|test`, as mkfold.py of
    the data set reads them. Raises DataError for a missing file, a line of another form, or an image of the tree that
    a file does not name.
    """
    place = {name: index for index, name in enumerate(names)}
    divisions = []
    for name in FOLD_FILES:
        path = folder / name
        if not path.is_file():
            raise DataError(f"{name} is missing in {folder}; the official folds are {', '.join(FOLD_FILES)}.")
        sides: dict[int, str] = {}
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
            if not line.strip():
                continue
            parts = [part.strip() for part in line.split("|")]
            if len(parts) != 4 or parts[3] not in ("train", "test"):
                raise DataError(f"Line {number} of {name} is not FILE|MAGNIFICATION|FOLD|train or test.")
            if parts[0] in place:
                sides[place[parts[0]]] = parts[3]
        if len(sides) < len(place):
            lost = next(name_ for name_, index in place.items() if index not in sides)
            raise DataError(f"{name} does not say on which side {lost} stands.")
        side = np.array([sides[index] for index in range(len(place))])
        divisions.append((np.flatnonzero(side == "train"), np.flatnonzero(side == "test")))
    return divisions


# Measuring


def leakage(folds: Sequence[Sides], groups: NDArray[np.str_]) -> Leakage:
    """Accession groups on both sides of each fold, and the share of test images whose group was trained on."""
    split, known, tested = [], 0, 0
    for training, test in folds:
        shared = np.isin(groups[test], np.unique(groups[training]))
        split.append(len(np.unique(groups[test][shared])))
        known, tested = known + int(shared.sum()), tested + len(test)
    return Leakage(groups_on_both_sides=tuple(split), share_of_test_images=round(known / tested, 4))


def measure(
    task: BreakHis,
    backbone: Backbone,
    runs: Path,
    path: Path,
    held_out: Path,
    folds_folder: Path | None,
    count: int = 5,
) -> Protocols:
    """Score every model under every protocol and write the table into `path` as columns get done.

    `held_out`: the predictions of `crossvalidate`, which are the column by accession group; raises DataError if they
    are of another recipe or of other images. `count` folds are made where they are not given.
    """
    from dala.data.splits import grouped_folds, image_folds
    from dala.training.features import frozen_features
    from dala.training.task import Fold, colour_features, probe

    labels, groups = task.labels, task.groups
    slides = np.array([record.slide for record in task.records])
    kept = by_group_predictions(held_out, task)
    tiles, folder = task.tiles(), task.folder(runs)
    features = task.features(tiles, backbone, folder)
    frozen = probe(frozen_features(features, backbone), labels, groups)
    colour = probe(colour_features(tiles), labels, groups)

    def network(recipe: Recipe, name: str) -> Callable[[Fold], Answers]:
        """The task's network by a recipe; what it learns and says under a protocol is kept."""
        from dala.runtime.calibration import softmax
        from dala.training.cross_validation import dala_resnet50, fold_answers

        views, place = (
            replace(features, training=recipe.training_views),
            folder / f"protocols-{recipe.fingerprint}-{name}",
        )
        of = dataclasses.replace(task, recipe=recipe)
        make = dala_resnet50(of, recipe, backbone)
        return lambda fold: softmax(fold_answers(make, views, of, recipe, place, fold)["plain"])[:, 1]

    record = Protocols(
        protocol="one model a fold, scored on the fold's test images; threshold 0.5; 95 % intervals: bootstrap "
        "over accession groups in every column, so that they can be compared (too narrow where groups leak)",
        command=STUDY.command,
        recipe=task.recipe.record,
        memorising_recipe=task.recipe.memorising.record,
        imagenet=backbone.source,
        data=Data(images=len(labels), groups=len(set(groups)), slides=len(set(slides))),
        explained=PROTOCOLS,
        columns={},
    )
    divisions: dict[str, Callable[[], list[Sides]]] = {
        "by_image": lambda: image_folds(labels, count, seed=0),
        "by_slide": lambda: grouped_folds(labels, slides, count, seed=0),
        "by_group": lambda: grouped_folds(labels, groups, count, seed=0),
    }
    if folds_folder is not None:
        divisions["official_folds"] = lambda: official_folds(folds_folder, [one.name for one in task.records])
    for name in PROTOCOLS:
        column: Split | NotMeasured = NotMeasured(
            not_measured="needs the data set's dsfold1.txt to dsfold5.txt (--folds-file)"
        )
        if name in divisions:
            sides = divisions[name]()
            folds = [Fold(0, number, len(sides), *one) for number, one in enumerate(sides)]
            models: dict[str, Callable[[Fold], Answers]] = {
                "dala_resnet50": network(task.recipe, name),
                "linear_probe": lambda fold: _second(frozen(fold, fold.training, fold.test)),
                "colour_only": lambda fold: _second(colour(fold, fold.training, fold.test)),
            }
            if name == LEAKY:
                models[MEMORISING] = network(task.recipe.memorising, name)
            scores = (
                {model: binary_intervals(labels, p, groups) for model, p in kept.items()}
                if name == HONEST
                else {
                    model: score(labels, groups, sides, [answer(fold) for fold in folds])
                    for model, answer in models.items()
                }
            )
            column = Split(folds=len(sides), leakage=leakage(sides, groups), scores=scores)
        record = replace(record, columns=record.columns | {name: column})
        STUDY.write(record, path)
    return record


def _second(probabilities: Answers | None) -> Answers:
    if probabilities is None:
        raise ValueError("A linear probe answers every fold.")
    return probabilities[:, 1]


def score(
    labels: NDArray[np.int64], groups: NDArray[np.str_], folds: Sequence[Sides], answers: Sequence[Answers]
) -> dict[str, Interval]:
    """Pooled scores with intervals if every image is tested once; else the mean of the folds' scores, no interval."""
    tested = np.concatenate([test for _, test in folds])
    if len(tested) == len(labels) == len(set(tested.tolist())):
        pooled = np.zeros(len(labels))
        for (_, test), answer in zip(folds, answers, strict=True):
            pooled[test] = answer
        return binary_intervals(labels, pooled, groups)
    rows = [binary_scores(labels[test], answer) for (_, test), answer in zip(folds, answers, strict=True)]

    def mean(metric: str) -> float | None:
        values = [value for row in rows if (value := row[metric]) is not None]
        return float(np.mean(values)) if len(values) == len(rows) else None

    return {metric: Interval(value=mean(metric), low=None, high=None) for metric in rows[0]}


def by_group_predictions(path: Path, task: BreakHis) -> dict[str, Answers]:
    """Held-out predictions (repeats, N) of the three models, from the file that `crossvalidate` wrote."""
    if not path.is_file():
        raise DataError(f"{path.name} is missing; `{CROSSVALIDATE}` writes it.")
    record = predictions.STUDY.load(path)
    if record.recipe != task.recipe.record:
        raise DataError(f"{path.name} is of another recipe; run `{CROSSVALIDATE}` again.")
    if list(record.files) != [one.name for one in task.records]:
        raise DataError(f"{path.name} is about other images than this tree holds.")
    return {name: np.array(record.probabilities[name]) for name in COMPARED}


# The command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="ROOT")
    parser.add_argument("--magnification", type=int, choices=[40, 100, 200, 400], default=200)
    parser.add_argument("--folds-file", type=Path, default=None, metavar="DIR", help="holds dsfold1.txt to dsfold5.txt")
    add_backbone(parser)
    add_runs(parser, "features and predictions")
    parser.add_argument("--evidence", type=Path, default=Path("evidence"), metavar="DIR")


def run(options: argparse.Namespace) -> int:
    from dala.training.backbone import load_backbone
    from dala.training.tasks import breakhis

    task = breakhis.load(options.data, options.magnification)
    path = options.evidence / f"protocols_{task.name}.json"
    held_out = options.evidence / f"{task.name}_predictions.json"
    record = measure(task, load_backbone(options.backbone), options.runs, path, held_out, options.folds_file)
    for name, column in record.columns.items():
        if isinstance(column, Split):
            print(f"\n{name}: {column.leakage.to_json()}\n{scores_table(column.scores)}")
        else:
            print(f"\n{name}: {column.not_measured}")
    print(f"\nwritten to {path}")
    return 0


# The page


def table(record: Protocols) -> list[Row]:
    """A row for each way of splitting and model; what was not measured has a row that says why."""
    rows = []
    for name, title in SPLITS.items():
        match record.columns.get(name):
            case NotMeasured() as column:
                why = f"not measured: {plain_cell(column.not_measured)}"
                rows.append(
                    {"Split": title, "Model": why, "Patient known": ""} | {METRICS[metric]: "" for metric in TOLD}
                )
            case Split() as column:
                known = share(column.leakage.share_of_test_images)
                for model, scores in column.scores.items():
                    name = "DALAResNet50, memorising" if model == MEMORISING else MODELS[model]
                    told = {METRICS[metric]: figure(scores[metric]) for metric in TOLD}
                    rows.append({"Split": title, "Model": name, "Patient known": known} | told)
    return rows


TOLD = ("accuracy", "balanced_accuracy", "auc")


def leak_sentence(record: Protocols) -> str:
    """What the leaky split would have claimed, beside what is left of it for new patients."""
    leaky, honest = record.columns.get(LEAKY), record.columns.get(HONEST)
    if not isinstance(leaky, Split) or not isinstance(honest, Split):
        return "The comparison is not complete yet."

    def accuracy(column: Split, model: str) -> str:
        return figure(column.scores[model]["accuracy"], percent=True)

    claim = f"Split by image, {MODELS[NETWORK]} would have claimed an accuracy of {accuracy(leaky, NETWORK)}"
    if MEMORISING in leaky.scores:
        claim += f", and {accuracy(leaky, MEMORISING)} if trained to memorise"
    return f"{claim}; on new patients it reaches {accuracy(honest, NETWORK)}."


def section(record: Protocols) -> list[Block]:
    """The table of all splits, what each is, and the recipe that memorises."""
    return [
        Table(table(record), "Scores by way of splitting"),
        Text(
            "*Patient known* is the share of test images whose patient was also trained on: where it is not zero, the "
            "score is partly memory. " + leak_sentence(record)
        ),
        Caption(bullets(f"**{title}**: {record.explained[name]}" for name, title in SPLITS.items())),
        Folded(
            "How the memorising network was trained",
            (Table(choices(record.memorising_recipe), "Recipe of the memorising network"),),
        ),
    ]


STUDY = Study(
    "protocols",
    "protocols_breakhis_200x.json",
    Protocols,
    "breakhis",
    "dala protocols breakhis --data ROOT",
    part="Patients and leaks",
    title="What a leak is worth",
    question="What would have been claimed had patients stood on both sides of the split?",
    section=section,
    verb=Verb(
        "protocols",
        "breakhis",
        "score by image, by official folds, by slide and by accession group side by side (25 minutes on two cores "
        "after crossvalidate; resumes fold by fold)",
        add_arguments,
        run,
    ),
)
