"""Does the served model need what its maps mark? Deletion and insertion by laboratory, at true scale.

    dala needed --data ROOT

Every image is explained by a fit of the head without its patient. Cells are taken away, or shown first, in the order of
a map towards the fit's own call; what counts is how much sooner its probability follows than for a random order.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dala.errors import DataError
from dala.stats.bootstrap import Interval
from dala.studies.blocks import Block, Row, Text, interval_chart, numbers, point
from dala.studies.maps import GRADCAM, METHODS, RANDOM, STAIN, in_order
from dala.studies.options import add_runs
from dala.studies.record import IMAGES, Record, Result
from dala.studies.study import Study, Verb
from dala.terminal import Progress, at_least, progress
from dala.words import counted, figure

if TYPE_CHECKING:
    from dala.explanation.effect import Predictor
    from dala.nets.staged import Head
    from dala.runtime.predict import Model

Pixels = NDArray[np.uint8]
Plane = NDArray[np.float32]
Areas = Mapping[str, Mapping[str, Sequence[float]]]

FOLDS = 5
INVERTED, AVERAGED = "gradcam_inverted", "steady_averaged"
INSTEAD = {"blurred": "the image blurred", "glass": "white glass"}


@dataclass(frozen=True, kw_only=True)
class Order(Record):
    """What an order of cells gains over a random one, image by image: how much sooner the call's probability falls as
    cells are taken away (`deletion`), and is back as they are shown (`insertion`), as areas between the curves."""

    deletion: Interval
    insertion: Interval


@dataclass(frozen=True, kw_only=True)
class Laboratory(Record):
    """The images of a laboratory and, by what stands in place of tissue, every order; `redrawn`: the rank correlation
    of the map with that of a head whose weights were never trained."""

    images: int = field(metadata=IMAGES)
    groups: int
    orders: dict[str, dict[str, Order]]
    redrawn: Interval


@dataclass(frozen=True, kw_only=True)
class Needed(Result):
    """Every laboratory."""

    laboratories: dict[str, Laboratory]


# Measuring


def to_cells(values: NDArray[np.floating[Any]], cells: tuple[int, ...]) -> Plane:
    """A map averaged over each of these (rows, columns) of cells."""
    return np.asarray(cv2.resize(values.astype(np.float32), cells[::-1], interpolation=cv2.INTER_AREA), np.float32)


def maps_of(pixels: Pixels, model: Model, head: Head, number: int) -> tuple[dict[str, Plane], int, float]:
    """Every map (rows, columns) of an image (H, W, 3) at the network's scale towards the call of this `head`, the call,
    and the rank correlation of its map with that of a head drawn at random; `number` is the seed."""
    import torch
    from scipy.stats import spearmanr  # seconds to import

    from dala.data.perturb import density
    from dala.explanation.faithfulness import random_map
    from dala.explanation.gradcam import margins, signed_maps
    from dala.explanation.stability import augmented_maps
    from dala.nets.dala_resnet50 import STAGES, DALAResNet50
    from dala.preprocess.views import network_input

    engine = model.runs_on
    x = network_input(pixels[None], None)
    seen = engine.tail(engine.trunk(x))
    with torch.no_grad():
        call = int(head(seen)[0].argmax())
    towards = margins(2)[call : call + 1]
    plain = signed_maps(head, seen, towards)[0, 0].numpy()
    averaged = augmented_maps(x, engine.trunk, engine.tail, head, towards).mean[0]
    stain = np.asarray(density(pixels).sum(-1), np.float32) * (1 if call == 1 else -1)
    torch.manual_seed(number)
    other = signed_maps(DALAResNet50(stages=STAGES).head.eval(), seen, towards)[0, 0].numpy()
    maps = {
        GRADCAM: plain,
        INVERTED: -plain,
        AVERAGED: to_cells(averaged, plain.shape),
        STAIN: to_cells(stain, plain.shape),
        RANDOM: random_map(plain.shape, number),
    }
    return maps, call, float(spearmanr(plain.ravel(), other.ravel()).statistic)


def judge_of(model: Model, head: Head) -> Predictor:
    """Calibrated probabilities (N, 2) of images (N, 1, H, W, 3) by the served stages and this `head`."""
    import torch

    from dala.preprocess.views import network_input

    calibration = model.card.calibration
    assert calibration is not None

    def judge(images: Pixels) -> NDArray[np.float64]:
        engine = model.runs_on
        with torch.no_grad():
            logits = head(engine.tail(engine.trunk(network_input(images[:, 0], None)))).double().numpy()
        return calibration.probabilities(logits)

    return judge


@dataclass(frozen=True)
class Kept:
    """What was kept of an image: its name, patient and laboratory, the areas under deletion and insertion by baseline
    and map, and the correlation."""

    name: str
    group: str
    laboratory: str
    areas: Areas
    redrawn: float


def rows_of_images(root: Path, model: Model, runs: Path, each: int, steps: int, bar: Progress) -> list[Kept]:
    """Up to `each` images of every patient. What is done is kept under `runs`, a line an image.

    Raises DataError where a laboratory is missing.
    """
    from dala.runtime.card import read_card
    from dala.studies.deletion import areas
    from dala.studies.held_out import sample
    from dala.training.laboratories.fit import HeadRecipe, fit_head, rows_of
    from dala.training.laboratories.release import load_samples
    from dala.training.laboratories.sources import items_of
    from dala.training.laboratories.validation import folds_of, make_network

    items = items_of(root)
    samples = load_samples(read_card(model.name)[1])
    if samples.groups[: len(items)].tolist() != [item.group for item in items]:
        raise DataError(f"The images below {root} are not those that the weights {model.name} were fitted on.")
    chosen = sample(np.array([item.group for item in items]), each)
    kept = runs / f"needed-{str(model.card.fields['sha256'])[:8]}-{each}-{steps}.jsonl"
    kept.parent.mkdir(parents=True, exist_ok=True)
    rows = {row.name: row for row in _read(kept)}
    recipe, make = HeadRecipe(), make_network(model.net.state_dict())
    done = 0
    for number, (training, test) in enumerate(folds_of(samples, FOLDS, seed=0)):
        own = [int(index) for index in np.intersect1d(chosen, test)]
        missing = [index for index in own if _name(items[index]) not in rows]
        done += len(own) - len(missing)
        if not missing:
            continue
        head = make(number).head
        fit_head(head, rows_of(samples, training, recipe), recipe)
        judge = judge_of(model, head)
        for index in missing:
            item = items[index]
            pixels = np.asarray(item.seen())
            maps, call, redrawn = maps_of(pixels, model, head, index)
            row = Kept(
                _name(item), item.group, item.laboratory, areas(pixels, maps, judge, call, steps, index), redrawn
            )
            with kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row.__dict__) + "\n")
            rows[row.name] = row
            done += 1
            bar(done, len(chosen))
    wanted = {_name(items[index]) for index in chosen}
    return [row for row in rows.values() if row.name in wanted]


def _name(item: Any) -> str:
    return f"{item.laboratory}/{item.name}"


def _read(kept: Path) -> list[Kept]:
    lines = kept.read_text(encoding="utf-8").splitlines() if kept.is_file() else []
    return [Kept(**json.loads(line)) for line in lines]


def laboratory_of(rows: Sequence[Kept]) -> Laboratory:
    """The figures of a laboratory: gains over a random order paired by image, means over the patients."""
    from dala.stats.bootstrap import mean_over_groups
    from dala.training.laboratories.validation import told

    groups = np.array([row.group for row in rows])

    def mean(values: Sequence[float]) -> Interval:
        return told({"mean": mean_over_groups(np.array(values), groups)})["mean"]

    def order(baseline: str, name: str) -> Order:
        pairs = [(row.areas[baseline][name], row.areas[baseline][RANDOM]) for row in rows]
        return Order(
            deletion=mean([chance[0] - own[0] for own, chance in pairs]),
            insertion=mean([own[1] - chance[1] for own, chance in pairs]),
        )

    return Laboratory(
        images=len(rows),
        groups=len(set(groups.tolist())),
        orders={
            baseline: {name: order(baseline, name) for name in rows[0].areas[baseline] if name != RANDOM}
            for baseline in rows[0].areas
        },
        redrawn=mean([row.redrawn for row in rows]),
    )


def measure(root: Path, model: Model, runs: Path, each: int, steps: int, bar: Progress) -> Needed:
    """Every laboratory below `root`; DataError where one is missing."""
    rows = rows_of_images(root, model, runs, each, steps, bar)
    names = list(dict.fromkeys(row.laboratory for row in rows))
    return Needed(
        protocol=f"images of the laboratories in training at 0.5 um per pixel, up to {counted(each, 'image')}, drawn "
        f"at random, of every patient; by fits of the head in {FOLDS} folds without the image's patient, on the served "
        f"stages; cells of a map are taken away, or shown, in {steps} steps in the map's order, towards the fit's own "
        "call, in calibrated probability; stain counts for malignant and against benign; gains over a random order of "
        "the same cells are paired by image; 95 % intervals: bootstrap over patients",
        command=f"{STUDY.command} --each {each} --steps {steps}",
        weights_sha256=str(model.card.fields["sha256"]),
        laboratories={name: laboratory_of([row for row in rows if row.laboratory == name]) for name in names},
    )


# The page


def table(record: Needed) -> list[Row]:
    """A row a laboratory, baseline and map."""
    return [
        {
            "Laboratory": laboratory,
            "In place of tissue": words,
            "Map": METHODS[name],
            "Taken away: over random": figure(one.deletion, signed=True),
            "Shown: over random": figure(one.insertion, signed=True),
        }
        for laboratory, found in record.laboratories.items()
        for baseline, words in INSTEAD.items()
        for name, one in in_order(found.orders[baseline]).items()
    ]


def _clearly(one: Interval) -> int:
    """1 where an interval lies above 0, -1 below, 0 around it or without ends."""
    low, high = one["low"], one["high"]
    if low is None or high is None:
        return 0
    return 1 if low > 0 else -1 if high < 0 else 0


def summary(record: Needed) -> str:
    """In how many of the comparisons the network's map does more than a random order, and more than stain."""
    every = [
        (one.orders[baseline][GRADCAM], one.orders[baseline][STAIN])
        for one in record.laboratories.values()
        for baseline in INSTEAD
    ]
    gains = [gain for own, _ in every for gain in (own.deletion, own.insertion)]
    more, less = sum(_clearly(one) == 1 for one in gains), sum(_clearly(one) == -1 for one in gains)
    stain = sum((own.deletion["value"] or 0) > (other.deletion["value"] or 0) for own, other in every) + sum(
        (own.insertion["value"] or 0) > (other.insertion["value"] or 0) for own, other in every
    )
    return (
        f"Of {len(gains)} comparisons (laboratory, what stands in place of tissue, taken away or shown), the strongest "
        f"cells of the map move the probability clearly more than a random order in {more}, clearly less in {less}; "
        f"more than the most stained cells in {stain}."
    )


def redrawn_sentence(record: Needed) -> str:
    """How alike the maps of a head that was never trained are, by laboratory."""
    told = ", ".join(f"{name} {figure(one.redrawn, signed=True)}" for name, one in record.laboratories.items())
    return (
        "A map that explains this network must change with its weights. Rank correlation with the map of a head that "
        f"was never trained: {told}."
    )


def section(record: Needed) -> list[Block]:
    """The gains of the network's map by laboratory, and every map in a table."""
    points = [
        point(f"{name}, {words}, {what}", gain)
        for name, one in record.laboratories.items()
        for baseline, words in INSTEAD.items()
        for what, gain in (
            ("taken away", one.orders[baseline][GRADCAM].deletion),
            ("shown", one.orders[baseline][GRADCAM].insertion),
        )
    ]
    return [
        Text(summary(record)),
        interval_chart(points, "Area gained over a random order of cells", "needed"),
        Text(redrawn_sentence(record)),
        numbers("Every map by laboratory", table(record)),
    ]


# The command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, required=True, metavar="ROOT", help="holds breakhis_200x_224, ucsb, brca_m2c"
    )
    parser.add_argument("--each", type=at_least(1), default=1, metavar="N", help="images of a patient, at most")
    parser.add_argument("--steps", type=at_least(1), default=6, metavar="N", help="steps in which cells are taken away")
    add_runs(parser, "what is done, image by image")
    parser.add_argument("--out", type=Path, default=Path(STUDY.path), metavar="FILE")


def run(options: argparse.Namespace) -> int:
    from dala.runtime.predict import load_model

    model = load_model(STUDY.weights or "")
    record = measure(options.data, model, options.runs, options.each, options.steps, progress("images"))
    STUDY.write(record, options.out)
    for row in table(record):
        print("  ".join(str(cell) for cell in row.values()))
    print(f"{summary(record)}\n{redrawn_sentence(record)}\nwritten to {options.out}")
    return 0


STUDY = Study(
    "needed",
    "needed.json",
    Needed,
    "breast",
    "dala needed --data ROOT",
    part="Heat maps",
    title="Does the served model need what its maps mark?",
    question="By laboratory: when the strongest cells are taken away, or shown alone, does the probability follow?",
    section=section,
    summary=summary,
    verb=Verb(
        "needed",
        None,
        "deletion and insertion by the maps of the served weights, by laboratory (half an hour; what is done is kept)",
        add_arguments,
        run,
    ),
)
