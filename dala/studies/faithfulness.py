"""Does the probability follow the map? Deletion, insertion and weights drawn anew on images of patients held out.

    dala faithfulness --data ROOT [--each 2] [--score-cam N]

ROOT is BreakHis 200X; the folds' networks are those that `crossvalidate` keeps. ScoreCAM takes two minutes more for
each of the N images that it is wanted of. Every map is of the network's own call (towards malignant where it says so,
else towards benign), on a grid of 10 x 10 cells. pytorch-grad-cam's maps are averaged over the cells that they were
enlarged from. The finer maps, which have 20 x 20, are measured on their own grid beside a random order of such cells,
and averaged to 10 x 10 beside the others.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dala.stats.bootstrap import Interval, mean_over_groups
from dala.studies.blocks import Block, Row, Table, Text, bullets, numbers
from dala.studies.maps import GRADCAM, METHODS, RANDOM, in_order, only
from dala.studies.options import add_runs
from dala.studies.record import IMAGES, Data, Record, Result
from dala.studies.study import Study, Verb
from dala.terminal import at_least
from dala.words import counted, figure

BASELINES = {"blurred": "the image blurred", "glass": "white glass"}
FINER = ("fine", "steady", "random_fine")  # maps of finer cells, beside a random order of such
REDRAWN = {"head": "the head", "layer4": "the last stage and the attention", "both": "both"}


@dataclass(frozen=True, kw_only=True)
class Method(Record):
    """A map: areas under deletion (small is better) and insertion (large is better), what they gain over a random order
    of cells of the same size, image by image, and over Grad-CAM where the cells are Grad-CAM's."""

    images: int = field(metadata=IMAGES)
    deletion: Interval
    insertion: Interval
    deletion_gain: Interval
    insertion_gain: Interval
    deletion_over_gradcam: Interval | None = None
    insertion_over_gradcam: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class Faithfulness(Result):
    """Every map by what replaces tissue, and how alike maps of a network with a part drawn anew are."""

    score_cam_on: tuple[str, ...]
    recipe: dict[str, Any]
    data: Data
    methods: dict[str, dict[str, Method]]
    randomised: dict[str, Interval]
    explained: dict[str, str]


# Measuring, by the modules beside this one


def averages(rows: Sequence[Kept]) -> dict[str, dict[str, Method]]:
    """Every map by baseline, of the images that have it: areas, and gains paired by image, means over the groups."""
    found: dict[str, dict[str, Method]] = {}
    for baseline in BASELINES:
        found[baseline] = {}
        for name in sorted({method for row in rows for method in row.areas[baseline]}):
            here = [row for row in rows if name in row.areas[baseline]]
            groups = np.array([row.group for row in here])

            def of(method: str, here: Sequence[Kept] = here, baseline: str = baseline) -> NDArray[np.float64]:
                """Minus the area under deletion, and the area under insertion: more is better."""
                return np.array([row.areas[baseline][method] for row in here]) * (-1, 1)

            own, chance = of(name), of("random_fine" if name in FINER else RANDOM)
            over = None if name in FINER else own - of(GRADCAM)  # on the same grid alone

            def mean(values: NDArray[np.float64], groups: NDArray[np.str_] = groups) -> Interval:
                return mean_over_groups(values, groups)

            found[baseline][name] = Method(
                images=len(here),
                deletion=mean(-own[:, 0]),
                insertion=mean(own[:, 1]),
                # Paired by image: how much sooner the call falls, and how much sooner it is back, than at random.
                deletion_gain=mean((own - chance)[:, 0]),
                insertion_gain=mean((own - chance)[:, 1]),
                deletion_over_gradcam=None if over is None else mean(over[:, 0]),
                insertion_over_gradcam=None if over is None else mean(over[:, 1]),
            )
    return found


@dataclass(frozen=True)
class Kept:
    """What was kept of an image: its name and group, areas under deletion and insertion by baseline and map, rank
    correlations with the maps of networks with a part drawn anew, and the engine of ScoreCAM's passes."""

    name: str
    group: str
    areas: dict[str, dict[str, tuple[float, float]]]
    randomised: dict[str, float]
    score_cam_on: str | None


# The command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="ROOT")
    parser.add_argument("--each", type=at_least(1), default=2, help="images of an accession group, at most")
    parser.add_argument("--steps", type=at_least(1), default=10)
    parser.add_argument("--score-cam", type=at_least(0), default=0, metavar="N", help="images that ScoreCAM is run on")
    parser.add_argument("--engine", default=None, metavar="NAME", help="what ScoreCAM's passes run on")
    add_runs(parser, "where crossvalidate kept the folds; what is done is kept there too")
    parser.add_argument("--evidence", type=Path, default=Path(STUDY.path), metavar="FILE")


def run(options: argparse.Namespace) -> int:
    from dala.studies.deletion import kept_rows
    from dala.studies.held_out import FOLDS
    from dala.training.tasks import breakhis

    task = breakhis.load(options.data)
    rows = kept_rows(task, options.runs, options.each, options.steps, options.score_cam, options.engine)
    groups = np.array([row.group for row in rows])
    slow = [row for row in rows if row.score_cam_on is not None]
    record = Faithfulness(
        protocol=f"deletion and insertion in {options.steps} steps of the cells in the map's order, towards the "
        f"network's own call, by the network of the fold ({FOLDS} folds by accession number) that has not seen the "
        f"patient, before calibration; up to {counted(options.each, 'image')}, drawn at random, of every accession "
        "group; gains are paired by image with a random order of cells of the same size; mean over the groups; "
        "95 % intervals: bootstrap over accession groups",
        command=f"{STUDY.command} --each {options.each}"
        + (f" --score-cam {len(slow)}" if slow else "")
        + (f" --engine {options.engine}" if slow and options.engine else ""),
        score_cam_on=tuple(sorted({str(row.score_cam_on) for row in slow})),
        recipe=task.recipe.record,
        data=replace(Data.from_json(task.described()), images=len(rows)),
        methods=averages(rows),
        randomised={
            part: mean_over_groups(np.array([row.randomised[part] for row in rows]), groups) for part in REDRAWN
        },
        explained={
            "deletion": "area under the call's probability as cells are taken away, strongest first: small is better",
            "insertion": "area as cells are put onto the baseline, strongest first: large is better",
            "randomised": "rank correlation of the map with that of the same network with a part's weights drawn anew: "
            "a map that explains this network should be far from 1",
        },
    )
    STUDY.write(record, options.evidence)
    for baseline, methods in record.methods.items():
        for name, row in methods.items():
            print(f"{baseline:8s} {name:28s} deletion {figure(row.deletion)}  insertion {figure(row.insertion)}")
    for part, correlation in record.randomised.items():
        print(f"{part} drawn anew: {figure(correlation)}")
    print(f"written to {options.evidence}")
    return 0


# The page


def table(record: Faithfulness, baseline: str) -> list[Row]:
    """A row a map of the usual cells: its gains over a random order, and over Grad-CAM, image by image."""
    rows = []
    for method, one in in_order(record.methods[baseline]).items():
        deletion, insertion = one.deletion_over_gradcam, one.insertion_over_gradcam
        if method == RANDOM or deletion is None or insertion is None:
            continue
        rows.append(
            {
                "Map": METHODS[method] + only(one.images, record.data.images),
                "Taken away: over random": figure(one.deletion_gain, signed=True),
                "Taken away: over Grad-CAM": "" if method == GRADCAM else figure(deletion, signed=True),
                "Shown: over random": figure(one.insertion_gain, signed=True),
                "Shown: over Grad-CAM": "" if method == GRADCAM else figure(insertion, signed=True),
            }
        )
    return rows


def areas_table(record: Faithfulness, baseline: str) -> list[Row]:
    """A row a map: the areas themselves; finer maps have gains over a random order of cells as small as theirs."""
    return [
        {
            "Map": METHODS[method] + only(one.images, record.data.images),
            "Deletion (less is better)": figure(one.deletion),
            "sooner than at random": figure(one.deletion_gain, signed=True),
            "Insertion (more is better)": figure(one.insertion),
            "more than at random": figure(one.insertion_gain, signed=True),
        }
        for method, one in in_order(record.methods[baseline]).items()
    ]


def verdict(record: Faithfulness) -> str:
    """Whether taking the map's strongest cells away, or putting them first, does more than a random order."""
    lines = []
    for baseline, words in BASELINES.items():
        one = record.methods[baseline][GRADCAM]
        for gain, what in ((one.deletion_gain, "taken away first"), (one.insertion_gain, "shown first")):
            low, high = gain["low"], gain["high"]
            if low is not None and low > 0:
                says = "moves the probability more than a random order"
            elif high is not None and high < 0:
                says = "moves it less than a random order"
            else:
                says = "does not clearly do more than a random order"
            told = figure(gain, signed=True)
            lines.append(f"With {words} in place of tissue, the strongest cells {what}: {says} ({told}).")
    return bullets(lines)


def randomised_table(record: Faithfulness) -> list[Row]:
    """Rank correlation of a map with that of the same network with a part drawn anew."""
    return [
        {"Drawn anew": words, "Rank correlation of the maps": figure(record.randomised[part], signed=True)}
        for part, words in REDRAWN.items()
    ]


def section(record: Faithfulness) -> list[Block]:
    """The verdict, a table for each way of replacing tissue, and the check with weights drawn anew."""
    blocks: list[Block] = [Text(verdict(record))]
    for baseline, words in BASELINES.items():
        blocks += [
            Text(
                f"Tissue replaced by {words}; how much more the probability follows the map than a random order of the "
                "same cells, and than Grad-CAM's own:"
            ),
            Table(table(record, baseline), f"Replaced by {words}"),
            numbers(f"The areas themselves, and finer maps ({words})", areas_table(record, baseline)),
        ]
    return [
        *blocks,
        Text("A map that explains this network must change when the network's weights are drawn anew:"),
        Table(randomised_table(record), "Weights drawn anew"),
    ]


STUDY = Study(
    "faithfulness",
    "faithfulness_breakhis_200x.json",
    Faithfulness,
    "breakhis",
    "dala faithfulness --data ROOT",
    part="Heat maps",
    title="Does the model need what the maps mark?",
    question="When the strongest cells are taken away, does the probability follow, more than for cells chosen at "
    "random?",
    section=section,
    verb=Verb(
        "faithfulness",
        None,
        "deletion, insertion and weights drawn anew on images of held-out patients (15 minutes on two cores after "
        "crossvalidate; what is done is kept)",
        add_arguments,
        run,
    ),
)
