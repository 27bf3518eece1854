"""What is said of nothing, and of tissue with nothing malignant in it? Glass, noise, blur, drawn and true tissue.

dala nothing --data ROOT
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from dala.studies.blocks import Block, Row, Table, Text, bullets, numbers, plain_cell
from dala.studies.record import Record, Result
from dala.studies.replies import MALIGNANT, OUTSIDE, Counts, Reply, counts_row, reply_to
from dala.studies.study import Study, Verb
from dala.terminal import Progress, progress
from dala.words import counted

if TYPE_CHECKING:
    from dala.runtime.predict import Model

Pixels = NDArray[np.uint8]
PixelSize = tuple[float, float]  # um, (rows, columns)

DRAWN_OF_A_KIND = 30
NOTHING, NORMAL, TUMOUR = "nothing", "nothing malignant", "tumour, for comparison"
DRAWN = {  # what is expected of each drawing of `dala.phantoms.normal`
    **dict.fromkeys(("white glass", "dusty glass", "grey", "one colour", "noise", "clouds"), NOTHING),
    **dict.fromkeys(("stroma", "fat", "muscle"), NORMAL),
}
BLURRED, UNSHARP = (3.0, 10.0), (1.0, 2.5)  # um, standard deviations of a blur beyond recognition and of a lost focus
TILES_UM = 0.25  # per pixel of `tissue_tiles_150`, about
MOSAICS = 8  # fields of a class


@dataclass(frozen=True, kw_only=True)
class Kind(Record):
    """Images of one kind, whose scale is known and, the same images, whose scale is not: what they are told, and why
    some are outside. `expected`: that none is answered (nothing), that none is called malignant (nothing malignant),
    or neither. `ungated`: how many the network alone would call malignant at their scale, if the gate let all pass, and
    `above_even` how many have a probability of malignant above one half."""

    name: str
    about: str
    expected: str
    known: Counts
    unknown: Counts
    outside: dict[str, int]
    ungated: int
    above_even: int

    @property
    def against(self) -> int:
        """Answers, at a known or an unknown scale, that are not as expected."""
        if self.expected == NOTHING:
            return self.known.answered + self.unknown.answered
        return self.known.malignant + self.unknown.malignant if self.expected == NORMAL else 0


@dataclass(frozen=True, kw_only=True)
class Nothing(Result):
    """Every kind."""

    kinds: tuple[Kind, ...]


# The images


@dataclass(frozen=True)
class Made:
    """A kind's images with the pixel size of each."""

    name: str
    about: str
    expected: str
    images: Callable[[], Iterator[tuple[Pixels, PixelSize]]]


def drawn_kinds() -> list[Made]:
    """The drawings of `dala.phantoms.normal`."""
    from dala.phantoms.normal import NORMAL as NAMES
    from dala.phantoms.normal import draw_normal
    from dala.phantoms.sheet import UM_PER_PIXEL

    def images(name: str) -> Iterator[tuple[Pixels, PixelSize]]:
        for seed in range(DRAWN_OF_A_KIND):
            yield draw_normal(name, seed), (UM_PER_PIXEL, UM_PER_PIXEL)

    return [
        Made(f"drawn {name}" if DRAWN[name] == NORMAL else name, "drawn", DRAWN[name], lambda name=name: images(name))  # type: ignore[misc]
        for name in NAMES
    ]


def unsharp(pixels: Pixels, size: PixelSize, um: float) -> Pixels:
    """An image blurred by so many micrometres, whatever its pixel size."""
    rows, columns = size
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), um / columns, sigmaY=um / rows), np.uint8)


def unsharp_kinds(root: Path) -> list[Made]:
    """One image of each patient of BreakHis, out of focus."""
    from dala.data.pixels import read_rgb
    from dala.training.laboratories.sources import TRAINED, items_of

    items = {item.group: item for item in reversed(items_of(root, TRAINED[:1]))}

    def images(um: tuple[float, float]) -> Iterator[tuple[Pixels, PixelSize]]:
        draw = np.random.default_rng(3)
        for group in sorted(items):
            item = items[group]
            image = read_rgb(item.path)
            size = item.pixel_size(item.record, image.width, image.height)
            yield unsharp(np.asarray(image), size, float(draw.uniform(*um))), size

    about = "BreakHis 200X, one image of each patient, trained on when sharp, blurred by {:g} to {:g} um"
    return [
        Made("blur", about.format(*BLURRED), NOTHING, lambda: images(BLURRED)),
        Made("focus lost", about.format(*UNSHARP), "", lambda: images(UNSHARP)),
    ]


def tissue_kinds(root: Path) -> list[Made]:
    """The tiles of every class of tissue that no training saw, alone and laid out as fields."""
    from dala.data import tissue
    from dala.data.pixels import read_rgb

    tiles = [tile for tile in tissue.load(root / "tissue_tiles_150").records if tile.held_out]
    expected = {"benign": NORMAL, "malignant": TUMOUR, None: ""}

    def single(name: str) -> Iterator[tuple[Pixels, PixelSize]]:
        for tile in tiles:
            if tile.tissue == name:
                yield np.asarray(read_rgb(tile.path)), (TILES_UM, TILES_UM)

    def fields(name: str) -> Iterator[tuple[Pixels, PixelSize]]:
        own = [pixels for pixels, _ in single(name)]
        for seed in range(MOSAICS if own else 0):
            yield tissue.field_of(own, np.random.default_rng([seed, 17])), (TILES_UM, TILES_UM)

    about = {"tile": (single, "true tissue, alone"), "field": (fields, "a field laid out of turned tiles")}
    return [
        Made(f"{kind}: {name.replace('_', ' ')}", words, expected[answer], lambda make=make, name=name: make(name))  # type: ignore[misc]
        for kind, (make, words) in about.items()
        for name, answer in tissue.CLASSES.items()
    ]


# Measuring


def kind_of(made: Made, known: Sequence[Reply], unknown: Sequence[Reply]) -> Kind:
    """The record of a kind by the replies to its images."""
    return Kind(
        name=made.name,
        about=made.about,
        expected=made.expected,
        known=Counts.of(known),
        unknown=Counts.of(unknown),
        outside=dict(Counter(reply.reason for reply in known if reply.said == OUTSIDE).most_common()),
        ungated=sum(reply.ungated == MALIGNANT for reply in known),
        above_even=sum(reply.malignant > 0.5 for reply in known),
    )


def measure(kinds: Iterable[Made], model: Model, bars: Callable[[str], Progress]) -> Nothing:
    """What the model says of every image of these kinds, at its scale and as one whose scale nobody knows."""
    found = []
    for made in kinds:
        bar, images = bars(made.name), list(made.images())
        known, unknown = [], []
        for done, (pixels, size) in enumerate(images, start=1):
            known.append(reply_to(pixels, model, size))
            unknown.append(reply_to(pixels, model))
            bar(done, len(images))
        found.append(kind_of(made, known, unknown))
    return Nothing(
        protocol="images by the path that serves users, at their scale and again without one; drawn ones by seeds 0 "
        f"to {DRAWN_OF_A_KIND - 1}; tiles of tissue are those that training leaves out, by a hash of their names, at "
        f"about {TILES_UM:g} um per pixel: the collection names no patients, so that other tiles of the same ones are "
        f"trained on; fields are 4 x 6 such tiles of a class, laid out at random. Of nothing no "
        "image may be answered, of tissue with nothing malignant none may be called malignant",
        command=STUDY.command,
        weights_sha256=str(model.card.fields["sha256"]),
        kinds=tuple(found),
    )


# The page

# Folders of the collection that are no words.
WORDS = {"immunecels": "immune cells", "mvd": "small vessels", "pgcc": "giant cancer cells", "tumor": "tumour"}


def titled(kind: Kind) -> str:
    """The name of a kind, in words."""
    head, _, name = kind.name.rpartition(": ")
    return plain_cell(f"{head}: {WORDS.get(name, name)}" if head else name)


def table(record: Nothing, of: Callable[[Kind], Counts]) -> list[Row]:
    """A row a kind."""
    return [{"Kind": titled(kind), **counts_row(of(kind))} for kind in record.kinds]


def ungated(record: Nothing) -> list[Row]:
    """A row a kind: what the network alone makes of it."""
    return [
        {
            "Kind": titled(kind),
            "Images": str(kind.known.images),
            "Would be called malignant": str(kind.ungated),
            "Above even odds": str(kind.above_even),
        }
        for kind in record.kinds
    ]


def reasons(record: Nothing) -> list[Row]:
    """A row a kind: how it was made, and why its images are outside."""
    return [
        {
            "Kind": titled(kind),
            "Made of": plain_cell(kind.about),
            "Expected": {NOTHING: "no answer", NORMAL: "never malignant"}.get(kind.expected, "either"),
            "Outside": plain_cell(", ".join(f"{name} {count}" for name, count in kind.outside.items())) or "none",
        }
        for kind in record.kinds
    ]


def told(record: Nothing, expected: str) -> tuple[int, int, int]:
    """Of the kinds of which this is expected: images, answers malignant, and answers benign, at a known scale."""
    kinds = [kind.known for kind in record.kinds if kind.expected == expected]
    return sum(one.images for one in kinds), sum(one.malignant for one in kinds), sum(one.benign for one in kinds)


def failures(record: Nothing) -> list[str]:
    """A line for every kind that is not answered as expected."""
    return [
        f"{titled(kind)}: at its scale {kind.known.malignant} malignant and {kind.known.benign} benign of "
        f"{kind.known.images}, without one {kind.unknown.malignant} and {kind.unknown.benign}"
        for kind in record.kinds
        if kind.against
    ]


def summary(record: Nothing) -> str:
    """What is said of nothing, and of tissue with nothing malignant in it."""
    (nothing, *answers), (normal, malignant, benign) = told(record, NOTHING), told(record, NORMAL)
    return (
        f"Of {counted(nothing, 'image')} of nothing {sum(answers)} are answered; of {counted(normal, 'image')} of "
        f"tissue with nothing malignant in it {malignant} are called malignant and {benign} benign."
    )


def section(record: Nothing) -> list[Block]:
    """What every kind is told, and which are not told what they should be."""
    failed = failures(record)
    return [
        Table(table(record, lambda kind: kind.known), "What is said of nothing, and of normal tissue"),
        Text(summary(record)),
        Text(f"Not as expected:\n\n{bullets(failed)}" if failed else "Every kind is answered as it should be."),
        numbers("The same images, their scale unknown", table(record, lambda kind: kind.unknown)),
        Text(
            "Single tiles are smaller than anything that the model learnt from, so the gate refuses nearly all, and "
            "this says little of the network; without the gate it stands alone. Fields laid out of tiles "
            "have a field's size, but seams that no slide has."
        ),
        numbers("What the network alone would say", ungated(record)),
        numbers("What the kinds are, and why images are outside", reasons(record)),
    ]


# The command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, required=True, metavar="ROOT", help="holds breakhis_200x_224 and tissue_tiles_150"
    )
    parser.add_argument("--out", type=Path, default=Path(STUDY.path), metavar="FILE")


def run(options: argparse.Namespace) -> int:
    from dala.runtime.predict import load_model

    kinds = [*unsharp_kinds(options.data), *tissue_kinds(options.data)]
    record = measure([*drawn_kinds(), *kinds], load_model(STUDY.weights or ""), progress)
    STUDY.write(record, options.out)
    for kind in record.kinds:
        shown = ", ".join(
            f"{title}: {one.malignant} malignant, {one.benign} benign, {one.not_sure} not sure, {one.outside} outside"
            for title, one in (("at its scale", kind.known), ("without", kind.unknown))
        )
        print(
            f"{kind.name:24s} {kind.known.images:3d} images; {shown}; network alone {kind.ungated} "
            f"malignant, {kind.above_even} above even odds{' AGAINST' if kind.against else ''}"
        )
    print(f"{summary(record)}\nwritten to {options.out}")
    return 0


STUDY = Study(
    "nothing",
    "nothing.json",
    Nothing,
    "breast",
    "dala nothing --data ROOT",
    part="Not sure, or refused",
    title="What nothing looks like",
    question="What is said of glass, noise and blur, and of tissue with nothing malignant in it?",
    section=section,
    summary=summary,
    verb=Verb(
        "nothing",
        None,
        "what is said of glass, noise, blur, drawn and true normal tissue (12 minutes)",
        add_arguments,
        run,
    ),
)
