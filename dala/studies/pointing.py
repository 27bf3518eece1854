"""Do the maps point at tumour cells, at true scale? Against dots on every cell and masks of carcinoma, by stage.

    dala pointing --data ROOT

Beside the network's own maps, plain and averaged over symmetries and shifts, stand those of the linear classifiers of
each stage that its head begins as the mean of. Tiles with dots are explained by fits without their patients.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dala.errors import DataError
from dala.stats.bootstrap import Interval
from dala.studies.blocks import Block, Row, Text, interval_chart, numbers, point
from dala.studies.names import NETWORK
from dala.studies.record import IMAGES, Record, Result
from dala.studies.study import Study, Verb
from dala.terminal import Progress, progress
from dala.words import counted, figure

if TYPE_CHECKING:
    from dala.nets.staged import Head
    from dala.runtime.predict import Model
    from dala.training.laboratories.fit import Linear

Plane = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

DOTS, MASKS = "BRCA-M2C", "BACH"
AVERAGED, STAIN = "averaged", "stain"
TITLES = {
    NETWORK: "DALAResNet50, as on the first page",
    AVERAGED: "The same, averaged over symmetries and shifts",
    "layer2": "Second stage alone",
    "layer3": "Third stage alone",
    "layer4": "Last stage alone",
    STAIN: "Amount of stain, no network",
}
STAGES = {
    NETWORK: "all three, the network's",
    "layer2": "the second",
    "layer3": "the third",
    "layer4": "the last",
}
REACH_UM = 8.0  # what lies so near a dot is that cell
STAIN_UM = 8.0  # standard deviation over which the stain is averaged, half a cell of the last stage
COVER = (0.05, 0.80)  # of a mask, as in `dala localisation`
GRID = 16  # pixels between those whose ranks are compared
FOLDS = 5
CHANCE: Interval = {"value": 0.5, "low": None, "high": None}  # of a ranking
INTERVALS = "95 % intervals: bootstrap over patients; of BACH, one slide, over tiles"


@dataclass(frozen=True, kw_only=True)
class Measure(Record):
    """A map against what is marked: whether its maximum lies there, the share of its positive evidence that does, and
    how often a marked place is ranked above another (AUC)."""

    pointing: Interval
    evidence: Interval
    ranking: Interval


@dataclass(frozen=True, kw_only=True)
class Marked(Record):
    """Images of a laboratory, the share of their compared area that is marked, which is chance, and every map."""

    images: int = field(metadata=IMAGES)
    groups: int
    area: Interval
    maps: dict[str, Measure]


@dataclass(frozen=True, kw_only=True)
class Pointing(Result):
    """Both laboratories."""

    laboratories: dict[str, Marked]


# A map against what is marked


def scores(values: Plane, marked: Mask, compared: Mask) -> tuple[float, float]:
    """Whether the maximum of a map (H, W) in the `compared` pixels lies on `marked` ones, 0 to 1 where several share
    it, and the share of the positive evidence there that does: their area's where nothing is positive.

    Raises ValueError where all that is compared is marked, or nothing.
    """
    of, values = marked[compared], values[compared]
    if of.all() or not of.any():
        raise ValueError("Where everything is marked, or nothing, no map can be wrong.")
    positive = np.maximum(values, 0).astype(np.float64)
    evidence = positive[of].sum() / positive.sum() if positive.any() else of.mean()
    return float(of[values == values.max()].mean()), float(evidence)


def zones(dots: NDArray[np.integer], shape: tuple[int, int], reach: float, tumour: int) -> tuple[Mask, Mask]:
    """Pixels nearest to a dot of the class `tumour`, and those near any, of dots (N, 3) x, y and class: at most `reach`
    pixels away."""
    far = {
        True: np.full(shape, np.inf, np.float32),
        False: np.full(shape, np.inf, np.float32),
    }
    for wanted in far:
        own = dots[(dots[:, 2] == tumour) == wanted]
        if len(own):
            free = np.ones(shape, np.uint8)
            free[own[:, 1].clip(0, shape[0] - 1), own[:, 0].clip(0, shape[1] - 1)] = 0
            far[wanted] = np.asarray(cv2.distanceTransform(free, cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float32)
    return far[True] < far[False], np.minimum(far[True], far[False]) <= reach


# The maps


def maps_of(
    pixels: NDArray[np.uint8], um: float, model: Model, head: Head, parts: Mapping[str, Linear]
) -> dict[str, Plane]:
    """Every map towards malignant of an image of `um` per pixel, (H, W) as the image: the network's with this `head`,
    the same averaged over symmetries and shifts, those of the linear classifiers `parts`, and the amount of stain."""
    from dala.data.perturb import density
    from dala.explanation.gradcam import margins, signed_maps
    from dala.explanation.stability import augmented_maps
    from dala.inquiry import middle_of
    from dala.opinion import map_of_fields
    from dala.preprocess.physical import views_at_scale
    from dala.preprocess.scale import Scale
    from dala.preprocess.views import network_input
    from dala.training.laboratories.samples import PARTS

    views, towards = views_at_scale(pixels, Scale((um, um), "user"), model.card.input), margins(2)[1:]
    engine = model.runs_on
    raw: dict[str, list[Plane]] = {name: [] for name in (NETWORK, AVERAGED, *parts)}
    for view in views.for_network:
        x = network_input(view[None], None)
        seen = engine.tail(engine.trunk(x))
        raw[NETWORK].append(signed_maps(head, seen, towards)[0, 0].numpy())
        raw[AVERAGED].append(augmented_maps(x, engine.trunk, engine.tail, head, towards).mean[0])
        for name, part in parts.items():
            weights = (part.rows[1] - part.rows[0])[PARTS[name]]
            raw[name].append(np.tensordot(weights, seen[0, PARTS[name]].double().numpy(), 1))
    height, width = pixels.shape[:2]

    def of_image(name: str, one: Sequence[Plane]) -> Plane:
        cells, sides = one[0].shape, views.for_network.shape[1:3]
        first = middle_of(sides, cells) if name == AVERAGED else (0.0, 0.0)
        return map_of_fields(np.stack(one), views, "malignant", first, model.net.cell).upsampled(height, width)

    found: dict[str, Plane] = {name: of_image(name, one) for name, one in raw.items()}
    stain = np.asarray(density(pixels).sum(-1), np.float32)
    found[STAIN] = np.asarray(cv2.GaussianBlur(stain, (0, 0), STAIN_UM / um), np.float32)
    return {name: found[name] for name in TITLES}


# Measuring


@dataclass(frozen=True, eq=False)
class Found:
    """Of one image: its patient, the share of the compared area that is marked, and pointing, evidence and ranking."""

    group: str
    area: float
    scores: dict[str, tuple[float, float, float]]


def found_on(
    group: str, maps: Mapping[str, Plane], marked: Mask, compared: Mask, places: tuple[Any, Any], of: Mask
) -> Found:
    """Every map of an image; ranks are compared at `places` (rows, columns), of which those `of` (N,) are marked."""
    from dala.stats.roc import auc

    return Found(
        group,
        float(marked[compared].mean()),
        {name: (*scores(one, marked, compared), auc(of, one[places].astype(float))) for name, one in maps.items()},
    )


def with_dots(root: Path, model: Model, bar: Progress) -> Iterator[Found]:
    """Tiles that show tumour and other cells, by fits that left out their patients."""
    from dala.data import brca_m2c
    from dala.data.pixels import read_rgb
    from dala.runtime.card import read_card
    from dala.training.laboratories.fit import HeadRecipe, fit_head, rows_of
    from dala.training.laboratories.release import load_samples
    from dala.training.laboratories.validation import folds_of, make_network

    tiles = [record for record in brca_m2c.load(root / "brca_m2c").records if record.label == 1]
    samples = load_samples(read_card(model.name)[1])
    recipe, make = HeadRecipe(), make_network(model.net.state_dict())
    done = 0
    for fold, (training, test) in enumerate(folds_of(samples, FOLDS, seed=0)):
        own = [tile for tile in tiles if f"{brca_m2c.LABORATORY}/{tile.patient}" in set(samples.groups[test])]
        rows = rows_of(samples, training, recipe)
        head = make(fold).head
        parts = fit_head(head, rows, recipe)
        for tile in own:
            pixels, dots = np.asarray(read_rgb(tile.path)), brca_m2c.read_dots(tile.dots)
            reach = REACH_UM / brca_m2c.MICRONS_PER_PIXEL
            marked, compared = zones(dots, pixels.shape[:2], reach, brca_m2c.EPITHELIUM)
            places = dots[:, 1].clip(0, pixels.shape[0] - 1), dots[:, 0].clip(0, pixels.shape[1] - 1)
            of = dots[:, 2] == brca_m2c.EPITHELIUM
            done += 1
            bar(done, len(tiles))
            if not of.all():
                maps = maps_of(pixels, brca_m2c.MICRONS_PER_PIXEL, model, head, parts)
                yield found_on(tile.patient, maps, marked, compared, places, of)


def with_masks(root: Path, model: Model, bar: Progress) -> Iterator[Found]:
    """Tiles of a laboratory that no training saw, by the shipped weights and by their teacher."""
    from dala.data import bach_part_b
    from dala.data.pixels import read_rgb
    from dala.runtime.card import read_card
    from dala.training.laboratories.fit import HeadRecipe, fit_parts, rows_of
    from dala.training.laboratories.release import load_samples
    from dala.training.laboratories.validation import tested

    samples, recipe = load_samples(read_card(model.name)[1]), HeadRecipe()
    parts = fit_parts(rows_of(samples, tested(samples), recipe), recipe)
    tiles = [one for one in bach_part_b.load(root / "bach_part_b").records if COVER[0] <= one.marked <= COVER[1]]
    for done, tile in enumerate(tiles, start=1):
        pixels, marked = np.asarray(read_rgb(tile.path)), bach_part_b.read_mask(tile.mask) > 0
        maps = maps_of(pixels, bach_part_b.MICRONS_PER_PIXEL, model, model.net.head, parts)
        grid = np.ix_(*(np.arange(GRID // 2, side, GRID) for side in marked.shape))
        rows_, columns = (index.ravel() for index in np.broadcast_arrays(*grid))
        bar(done, len(tiles))
        yield found_on(tile.name, maps, marked, np.ones_like(marked), (rows_, columns), marked[rows_, columns])


def marked_of(found: Sequence[Found]) -> Marked:
    """The figures of a laboratory; DataError where no image of it can be used."""
    if not found:
        raise DataError("None of the tiles shows tumour beside something else.")
    groups = np.array([one.group for one in found])

    def mean(values: list[float]) -> Interval:
        from dala.stats.bootstrap import mean_over_groups

        whole = mean_over_groups(np.array(values), groups)
        value, low, high = (
            None if end is None else round(end, 4) for end in (whole["value"], whole["low"], whole["high"])
        )
        return {"value": value, "low": low, "high": high}

    return Marked(
        images=len(found),
        groups=len(set(groups.tolist())),
        area=mean([one.area for one in found]),
        maps={
            name: Measure(
                **dict(
                    zip(
                        ("pointing", "evidence", "ranking"),
                        (mean([one.scores[name][at] for one in found]) for at in range(3)),
                        strict=True,
                    )
                )
            )
            for name in found[0].scores
        },
    )


def measure(root: Path, model: Model, bars: Callable[[str], Progress]) -> Pointing:
    """Every map on both laboratories below `root`. DataError where one of them is missing."""
    dots = marked_of(list(with_dots(root, model, bars("dots"))))
    masks = marked_of(list(with_masks(root, model, bars("masks"))))
    return Pointing(
        protocol=f"raw signed maps towards malignant at true scale, stitched over fields. {DOTS}: tiles with tumour, "
        f"pixels at most {REACH_UM:g} um from a dot, tumour or epithelium against lymphocytes and stroma, by fits of "
        f"the head in {FOLDS} folds without the tile's patient, on the shipped backbone; {MASKS}: "
        f"the shipped weights, which saw none of it, masks that cover {COVER[0]:.0%} to {COVER[1]:.0%} of a tile, of "
        f"which only some structures are marked. {INTERVALS}",
        command=STUDY.command,
        weights_sha256=str(model.card.fields["sha256"]),
        laboratories={DOTS: dots, MASKS: masks},
    )


# The page


def table(record: Pointing) -> list[Row]:
    """A row a map: pointing, evidence and ranking in each laboratory, and chance."""

    def row(title: str, of: Callable[[Marked], Sequence[str]]) -> Row:
        cells = {"Map": title}
        for name, one in record.laboratories.items():
            for column, text in zip(("strongest point", "evidence", "ranking"), of(one), strict=True):
                cells[f"{name}: {column}"] = text
        return cells

    def shown(name: str) -> Callable[[Marked], Sequence[str]]:
        return lambda one: (
            figure(one.maps[name].pointing, percent=True),
            figure(one.maps[name].evidence, percent=True),
            figure(one.maps[name].ranking),
        )

    by_chance = row(
        "Chance: the marked share of the area", lambda one: [*[figure(one.area, percent=True)] * 2, figure(CHANCE)]
    )
    return [*(row(title, shown(name)) for name, title in TITLES.items()), by_chance]


def sentence_of(name: str, one: Marked) -> str:
    """What a laboratory says of the network's map, in a sentence."""
    own, averaged, stain = (one.maps[name] for name in (NETWORK, AVERAGED, STAIN))
    best = max(STAGES, key=lambda stage: one.maps[stage].ranking["value"] or 0)
    return (
        f"{name}, {counted(one.images, 'tile')}: the strongest point of the network's map lies on tumour in "
        f"{figure(own.pointing, percent=True)}, averaged over symmetries and shifts in "
        f"{figure(averaged.pointing, percent=True)}, by chance {figure(one.area, percent=True)}; it ranks tumour above "
        f"the rest in {figure(own.ranking, percent=True)} of pairs, the amount of stain in "
        f"{figure(stain.ranking, percent=True)}. Of the maps of stages, alone and together, that of {STAGES[best]} "
        f"ranks best, {figure(one.maps[best].ranking, percent=True)}."
    )


def summary(record: Pointing) -> str:
    """A sentence a laboratory."""
    return " ".join(sentence_of(name, one) for name, one in record.laboratories.items())


def section(record: Pointing) -> list[Block]:
    """How often a map points at tumour, beside chance, and every measure of every map."""
    points = [
        point(f"{name}, {title}", one)
        for name, marked in record.laboratories.items()
        for title, one in (
            *((TITLES[key], marked.maps[key].pointing) for key in TITLES),
            ("chance", marked.area),
        )
    ]
    return [
        interval_chart(points, "Strongest point on tumour", "pointing", percent=True),
        *(Text(sentence_of(name, one)) for name, one in record.laboratories.items()),
        Text(
            "Evidence is the share of what speaks for malignant that lies on tumour; ranking is how often a place on "
            "tumour has more of it than one beside."
        ),
        numbers("Every map by laboratory", table(record)),
    ]


# The command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="ROOT", help="holds brca_m2c and bach_part_b")
    parser.add_argument("--out", type=Path, default=Path(STUDY.path), metavar="FILE")


def run(options: argparse.Namespace) -> int:
    from dala.runtime.predict import load_model

    record = measure(options.data, load_model(STUDY.weights or ""), progress)
    STUDY.write(record, options.out)
    for name, one in record.laboratories.items():
        print(f"{name}, {one.images} tiles of {one.groups}; marked {figure(one.area, percent=True)}")
        for key, measured in one.maps.items():
            print(
                f"  {key:14s} pointing {figure(measured.pointing, percent=True):24s} evidence "
                f"{figure(measured.evidence, percent=True):24s} ranking {figure(measured.ranking)}"
            )
    print(f"written to {options.out}")
    return 0


STUDY = Study(
    "pointing",
    "pointing.json",
    Pointing,
    "breast",
    "dala pointing --data ROOT",
    part="Heat maps",
    title="Do the maps point at tumour cells?",
    question="At true scale, against dots on every cell and masks of carcinoma: which stage points best?",
    section=section,
    summary=summary,
    verb=Verb(
        "pointing",
        None,
        "maps of network and stages against dots on every cell and masks of carcinoma (ten minutes)",
        add_arguments,
        run,
    ),
)
