"""What does a scan find on slides whose lesions and tissues are known? Mosaics of outlined tiles, and of normal tissue.

dala mosaics --data ROOT

`bach_part_b`, tiles of a slide with outlines of carcinoma in situ and invasive carcinoma; `camelyon_tiles`, lymph nodes
with outlines of metastases, a near miss; and the tiles of normal tissue that no training saw are laid out on glass,
written as a pyramid and scanned as any slide is.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from dala.errors import DataError
from dala.studies.blocks import Block, Row, Table, Text
from dala.studies.record import Record, Result
from dala.studies.replies import Counts, Reply, counts_row
from dala.studies.study import Study, Verb
from dala.terminal import Progress, progress
from dala.words import counted

if TYPE_CHECKING:
    from dala.runtime.predict import Model
    from dala.slides.rows import Row as Field

Pixels = NDArray[np.uint8]
Mask = NDArray[np.uint8]

GLASS, FRAME = 243, 256  # its grey level, and its width in pixels around a mosaic
UNMARKED, IN_SITU, INVASIVE = 0, 1, 2
WORDS = {INVASIVE: "invasive carcinoma", IN_SITU: "carcinoma in situ", UNMARKED: "nothing outlined"}
OUTLINED = (WORDS[INVASIVE], WORDS[IN_SITU])
METASTASIS, NODE = 1, 0
NODE_WORDS = {METASTASIS: "metastasis in a lymph node", NODE: "lymph node, no metastasis outlined"}
NODE_UM = 0.97  # of `camelyon_tiles`, by the size of nuclei: level 2 of a slide whose pixels are 0.243 um
LEAST = 0.10  # share of a field that must be outlined for it to count as that
TILES_UM, ACROSS, DOWN = 0.25, 30, 20  # of `tissue_tiles_150`, and how many of them make a block of one tissue


@dataclass(frozen=True, kw_only=True)
class Part(Record):
    """The fields of a mosaic that show one thing, and what the scan calls them; `mm2` is their area, `per_mm2` how many
    of them are called malignant on each mm2 of it."""

    mosaic: str
    shows: str
    mm2: float
    counts: Counts
    unreadable: int
    per_mm2: float


@dataclass(frozen=True, kw_only=True)
class Mosaics(Result):
    """Every part of every mosaic, all fields with outlined carcinoma, all with outlined metastasis, and all of normal
    tissue."""

    parts: tuple[Part, ...]
    outlined: Counts
    near_miss: Counts
    normal: Counts


@dataclass(frozen=True, eq=False)
class Mosaic:
    """A slide to be written: pixels (H, W, 3), a number for what every pixel shows (H, W), `words` for the numbers, and
    the pixel size in um. `whole`: a field shows a thing only if it shows nothing else."""

    name: str
    pixels: Pixels
    shown: Mask
    words: dict[int, str]
    um: float
    whole: bool = False


# The mosaics


def laid_out(tiles: Sequence[tuple[Pixels, Mask]], empty: int, across: int | None = None) -> tuple[Pixels, Mask]:
    """Tiles of one size side by side, `across` of them in a row (None: as a square), framed by glass, which shows
    `empty`."""
    high, wide = tiles[0][0].shape[:2]
    across = math.ceil(math.sqrt(len(tiles))) if across is None else across
    down = math.ceil(len(tiles) / across)
    pixels = np.full((down * high + 2 * FRAME, across * wide + 2 * FRAME, 3), GLASS, np.uint8)
    shown = np.full(pixels.shape[:2], empty, np.uint8)
    for number, (tile, mask) in enumerate(tiles):
        y, x = FRAME + number // across * high, FRAME + number % across * wide
        pixels[y : y + high, x : x + wide], shown[y : y + high, x : x + wide] = tile, mask
    return pixels, shown


def outlined(root: Path) -> Mosaic:
    """The tiles of BACH part B with their outlines."""
    from dala.data import bach_part_b
    from dala.data.pixels import read_rgb

    records = bach_part_b.load(root / "bach_part_b").records
    tiles = [(np.asarray(read_rgb(one.path)), bach_part_b.read_mask(one.mask)) for one in records]
    pixels, shown = laid_out(tiles, UNMARKED)
    return Mosaic("BACH part B", pixels, shown, WORDS, bach_part_b.MICRONS_PER_PIXEL)


def lymph_nodes(root: Path) -> Mosaic:
    """The tiles of lymph nodes with outlines of metastases, enlarged twice: as they are they are too coarse to scan."""
    from dala.data.pixels import read_rgb

    tiles = []
    for path in sorted((root / "camelyon_tiles").glob("*_mask.png")):
        tile = np.asarray(read_rgb(path.with_name(path.name.replace("_mask.png", ".jpg"))))
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if mask is None or mask.shape != tile.shape[:2]:
            raise DataError(f"The mask {path.name} cannot be read, or is not of its tile's size.")
        size = (2 * tile.shape[1], 2 * tile.shape[0])
        large = np.asarray(cv2.resize(tile, size, interpolation=cv2.INTER_CUBIC), np.uint8)
        marked = cv2.resize((mask > 0).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        tiles.append((large, np.asarray(marked, np.uint8) * METASTASIS))
    if not tiles:
        raise DataError(f"There are no tiles with masks in {root.name}/camelyon_tiles.")
    pixels, shown = laid_out(tiles, NODE)
    return Mosaic("lymph nodes of CAMELYON", pixels, shown, NODE_WORDS, NODE_UM / 2)


def normal(root: Path) -> Mosaic:
    """A block of each tissue without anything malignant, of tiles that no training saw."""
    from dala.data import tissue
    from dala.data.pixels import read_rgb

    kinds: dict[str, list[Pixels]] = {}
    for tile in tissue.load(root / "tissue_tiles_150").records:
        if tile.held_out and tissue.CLASSES[tile.tissue] == "benign":
            kinds.setdefault(tile.tissue, []).append(np.asarray(read_rgb(tile.path)))
    draw, blocks = np.random.default_rng(4711), []
    for number, name in enumerate(sorted(kinds), start=1):
        chosen = [kinds[name][one] for one in draw.integers(0, len(kinds[name]), ACROSS * DOWN)]
        turned = [np.rot90(one, int(draw.integers(0, 4))) for one in chosen]
        rows = [np.concatenate(turned[start : start + ACROSS], 1) for start in range(0, len(turned), ACROSS)]
        block = np.concatenate(rows)
        blocks.append((block, np.full(block.shape[:2], number, np.uint8)))
    if not blocks:
        raise DataError(f"There are no tiles of normal tissue in {root.name}/tissue_tiles_150 that training left out.")
    pixels, shown = laid_out(blocks, 0)
    words = {number: name.replace("_", " ") for number, name in enumerate(sorted(kinds), start=1)}
    return Mosaic("normal tissue of TCGA", pixels, shown, words, TILES_UM, whole=True)


def write_pyramid(path: Path, mosaic: Mosaic) -> None:
    """A tiled TIFF with its pixel size and levels that halve, uncompressed: what was laid out is what is read."""
    from tifffile import TiffWriter

    level, number = mosaic.pixels, 0
    with TiffWriter(path, bigtiff=True) as file:
        while True:
            per_cm = 1e4 / mosaic.um / 2**number
            file.write(level, tile=(256, 256), photometric="rgb", subfiletype=1 if number else 0, metadata=None,
                       resolution=(per_cm, per_cm), resolutionunit="CENTIMETER")  # fmt: skip
            if max(level.shape[:2]) <= 1024:
                return
            half = (level.shape[1] // 2, level.shape[0] // 2)
            level, number = np.asarray(cv2.resize(level, half, interpolation=cv2.INTER_AREA), np.uint8), number + 1


# What is measured


def measure(mosaics: Sequence[Callable[[], Mosaic]], model: Model, report: Callable[[str, str], Progress]) -> Mosaics:
    """Write and scan each, and count its fields by what they show."""
    from dala.slides.reader import open_slide
    from dala.slides.scan import Scan

    parts: list[Part] = []
    for make in mosaics:
        mosaic = make()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "mosaic.tiff"
            write_pyramid(path, mosaic)
            with open_slide(path) as slide:
                scan = Scan(slide, model, Path(folder) / "scan")
                update = report(mosaic.name, "field")
                for _ in scan.run():
                    update(len(scan.rows), len(scan.plan.spots))
                parts += counted_by(mosaic, scan.rows)
    return Mosaics(
        protocol="tiles laid out on glass, written as a pyramid at their scale and scanned as any slide: a field "
        f"counts as what at least {100 * LEAST:g} % of it shows, invasive before in situ, and as nothing outlined "
        "where nothing is; of BACH unmarked is not normal. Lymph nodes: tiles enlarged twice, of a pixel size "
        "estimated from nuclei, since slides as coarse as they are not scanned. Tiles of normal tissue are those that "
        "training leaves out, by a hash of their names; the collection names no patients, so that other tiles of the "
        "same ones are trained on",
        command=STUDY.command,
        weights_sha256=str(model.card.fields["sha256"]),
        parts=tuple(parts),
        outlined=together([part.counts for part in parts if part.shows in OUTLINED]),
        near_miss=together([part.counts for part in parts if part.shows == NODE_WORDS[METASTASIS]]),
        normal=together([part.counts for part in parts if part.shows not in (*WORDS.values(), *NODE_WORDS.values())]),
    )


def together(counts: Sequence[Counts]) -> Counts:
    """The sums of counts."""
    return Counts(
        images=sum(one.images for one in counts),
        benign=sum(one.benign for one in counts),
        malignant=sum(one.malignant for one in counts),
        not_sure=sum(one.not_sure for one in counts),
        outside=sum(one.outside for one in counts),
    )


def shows(mosaic: Mosaic, box: tuple[int, int, int, int]) -> int | None:
    """The number of what a field shows; None for one that counts as nothing of it."""
    left, top, right, bottom = box
    part = mosaic.shown[top:bottom, left:right]
    share = np.bincount(part.ravel(), minlength=256) / part.size
    if mosaic.whole:
        found = int(share.argmax())
        return found if found in mosaic.words and share[found] == 1 else None
    for number in mosaic.words:  # the first of them that shows enough
        if number != UNMARKED and share[number] >= LEAST:
            return number
    return UNMARKED if share[UNMARKED] == 1 else None


def counted_by(mosaic: Mosaic, rows: Sequence[Field]) -> Iterator[Part]:
    """The fields of a scan by what they show, in the order of the mosaic's words; what no field shows is left out."""
    found: dict[int, list[Field]] = {}
    for row in rows:
        if (number := shows(mosaic, row.box)) is not None:
            found.setdefault(number, []).append(row)
    for number, words in mosaic.words.items():
        if fields := found.get(number):
            replies = [Reply(row.state, row.reason or "", row.probability or 0.0, row.laboratory) for row in fields]
            area = sum((right - left) * (bottom - top) for left, top, right, bottom in (row.box for row in fields))
            counts, mm2 = Counts.of(replies), area * mosaic.um**2 / 1e6
            yield Part(
                mosaic=mosaic.name,
                shows=words,
                mm2=round(mm2, 4),
                counts=counts,
                unreadable=sum(row.state == "unreadable" for row in fields),
                per_mm2=round(counts.malignant / mm2, 1),
            )


# What is shown


def table(record: Mosaics) -> list[Row]:
    """A row a part."""
    return [
        {
            "Mosaic": part.mosaic,
            "Fields that show": part.shows,
            **counts_row(part.counts),
            "Malignant, of these fields": part.counts.share(part.counts.malignant),
            "Malignant a square millimetre": f"{part.per_mm2:.1f}",
        }
        for part in record.parts
    ]


def summary(record: Mosaics) -> str:
    """How many fields with outlined carcinoma are called malignant, and of normal tissue."""
    told = [
        f"of {counted(one.images, 'field')} {kind} {one.malignant} are called malignant"
        for kind, one in (
            ("with outlined carcinoma", record.outlined),
            ("with outlined metastasis in a lymph node", record.near_miss),
            ("of normal tissue", record.normal),
        )
    ]
    return f"On slides laid out of tiles, {'; '.join(told)}."


def section(record: Mosaics) -> list[Block]:
    """The counts, and what they do not say."""
    return [
        Table(table(record), "What a scan calls fields whose content is known"),
        Text(summary(record)),
        Text(
            "Mosaics have seams that no slide has. Where nothing is outlined in BACH there may be carcinoma all the "
            "same: only one structure of a region is marked. In lymph nodes metastases are marked, and malignant "
            "fields beside them are false; a lymph node is no breast tissue."
        ),
    ]


# The command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    held = "holds bach_part_b, camelyon_tiles and tissue_tiles_150"
    parser.add_argument("--data", type=Path, required=True, metavar="ROOT", help=held)
    parser.add_argument("--out", type=Path, default=Path(STUDY.path), metavar="FILE")


def run(options: argparse.Namespace) -> int:
    from dala.runtime.predict import load_model

    mosaics = [outlined(options.data), lymph_nodes(options.data), normal(options.data)]
    record = measure([lambda one=one: one for one in mosaics], load_model(STUDY.weights or "", many=True), progress)  # type: ignore[misc]
    STUDY.write(record, options.out)
    for row in table(record):
        print("; ".join(f"{key} {value}" for key, value in row.items()))
    print(f"{summary(record)}\nwritten to {options.out}")
    return 0


STUDY = Study(
    "mosaics",
    "mosaics.json",
    Mosaics,
    "breast",
    "dala mosaics --data ROOT",
    part="Not sure, or refused",
    title="Slides whose content is known",
    question="What does a scan call fields with outlined carcinoma, and fields of normal tissue?",
    section=section,
    summary=summary,
    verb=Verb(
        "mosaics",
        None,
        "what a scan finds on slides laid out of outlined tiles and of normal tissue (3 minutes)",
        add_arguments,
        run,
    ),
)
