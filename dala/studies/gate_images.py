"""The images that the gate is measured on: true patches as users spoil them, and all that is no H&E breast patch.

Nothing is downloaded: photographs ship with scikit-image, scikit-learn and matplotlib, data sets are read where they
lie, the rest is drawn or made from true patches. Every choice comes from a fixed seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dala.data import breakhis
from dala.data.perturb import HED, blur, dyes, from_density, jpeg, noise, restain, scaled
from dala.data.pixels import read_rgb
from dala.errors import DataError
from dala.phantoms.tissue import PHANTOMS, draw

Pixels = NDArray[np.uint8]
Expected = Literal["accept", "refuse", "report"]

EVERY = 12  # images made from true patches take one in so many of each accession group
MAMMOGRAMS, TILES_OF_A_CLASS = 160, 30
CROPS, GREY_CROPS = 11, 6
COLOUR_PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field", "retina")
GREY_PHOTOGRAPHS = ("camera", "coins", "moon", "brick", "grass", "gravel", "clock", "cell")
INKS = ((25, 45, 160), (15, 110, 60), (25, 25, 30), (185, 25, 45))
WORDS = ("report", "of", "a", "gland", "cells", "in", "rows", "margin", "free", "tumour", "none", "size", "12", "mm")


@dataclass(frozen=True, eq=False)
class Item:
    """One image; `source` is the unit of an interval (file, patient, photograph); `group` its accession if known."""

    pixels: Pixels
    source: str
    group: str | None = None


@dataclass(frozen=True)
class Kind:
    """Images of one kind, what the gate should do with them, and how they were made."""

    name: str
    family: str
    expected: Expected
    about: str
    items: Callable[[], Iterator[Item]]


def all_kinds(dataset: breakhis.Dataset, pixels: Pixels, others: Path | None) -> list[Kind]:
    """Every kind that can be made here; a data set that `others` does not hold is left out.

    pixels: (N, 224, 224, 3), the images of the data set. others: the folder that holds mini_ddsm and so on. Raises
    DataError where scikit-image is missing.
    """
    try:
        from skimage import data as ship
    except ImportError as error:
        raise DataError(
            "Measuring the gate needs scikit-image's photographs: pip install -r requirements-dev.txt."
        ) from error
    patches = [
        Item(pixels[index], str(group), str(group))
        for group in sorted(set(dataset.groups))
        for index in np.flatnonzero(dataset.groups == group)[::EVERY]
    ]
    kinds = [*_robust(patches), *_foreign(ship), *_other_stain(patches, ship), *_spoilt(patches)]
    kinds.append(Kind("drawn examples", "drawn", "report", "the page's drawn examples, 5 seeds each", _phantoms))
    if others is not None:
        kinds += _data_sets(others)
    return kinds


Change = Callable[[Pixels, np.random.Generator], Pixels]


def from_patches(patches: Sequence[Item], change: Change, seed: int = 0) -> Callable[[], Iterator[Item]]:
    """A function that makes one changed image of each patch."""

    def items() -> Iterator[Item]:
        for number, item in enumerate(patches):
            yield Item(change(item.pixels, np.random.default_rng((seed, number))), item.source, item.group)

    return items


# What a user's own H&E patch goes through: these should pass.


def _robust(patches: list[Item]) -> list[Kind]:
    def kind(name: str, about: str, change: Change) -> Kind:
        return Kind(name, "true patches, changed", "accept", about, from_patches(patches, change))

    return [
        kind("JPEG 50", "saved as JPEG of quality 50 at 224 px", lambda p, r: jpeg(p, 50)),
        kind("slight blur", "Gaussian blur, sigma 0.5 to 0.8 px of the 224 px view",
             lambda p, r: blur(p, r.uniform(0.5, 0.8))),
        kind("moderate stain change", "haematoxylin and eosin each times 0.8 to 1.25",
             lambda p, r: restain(p, np.append(np.exp(r.uniform(-0.22, 0.22, 2)), 1))),
        kind("lamp", "brightness 0.92 to 1.06, white balance 3 %",
             lambda p, r: scaled(p, r.uniform(0.92, 1.06) * r.uniform(0.97, 1.03, 3))),
        kind("turned", "a quarter turn and mirrored", lambda p, r: np.ascontiguousarray(np.rot90(p)[:, ::-1])),
        kind("square crop", "the middle 460 x 460 px of the 700 x 460 px image, nuclei round", _square),
        kind("JPEG 40 at 700 px", "enlarged to 700 x 460 px and saved as JPEG of quality 40",
             lambda p, r: jpeg(np.asarray(cv2.resize(p, (700, 460), interpolation=cv2.INTER_CUBIC), np.uint8), 40)),
        kind("4000 px wide", "enlarged to 4000 x 2629 px", _enlarged),
    ]  # fmt: skip


def _square(pixels: Pixels, random: np.random.Generator) -> Pixels:
    whole = np.asarray(cv2.resize(pixels, (700, 460), interpolation=cv2.INTER_CUBIC), np.uint8)
    return np.ascontiguousarray(whole[:, 120:580])


def _enlarged(pixels: Pixels, random: np.random.Generator) -> Pixels:
    return np.asarray(cv2.resize(pixels, (4000, 2629), interpolation=cv2.INTER_CUBIC), np.uint8)


# No histology at all


def _foreign(ship: Any) -> list[Kind]:
    return [
        Kind("colour photographs", "no histology", "refuse",
             "11 photographs of scikit-image, scikit-learn and matplotlib, whole and in crops",
             lambda: _crops(_colour_photographs(ship), CROPS)),
        Kind("grey photographs", "no histology", "refuse", "8 grey images of scikit-image, whole and in crops",
             lambda: _crops(_grey_photographs(ship), GREY_CROPS)),
        Kind("faces", "no histology", "refuse", "60 grey faces of scikit-image, 25 px", lambda: _faces(ship)),
        Kind("photographs in H&E colours", "no histology", "refuse",
             "all the photographs above as densities of haematoxylin and eosin: only texture gives them away",
             lambda: _tinted(ship)),
        Kind("text", "no histology", "refuse", "two scanned pages of scikit-image and 60 set ones, some coloured",
             lambda: _text(ship)),
        Kind("drawings", "no histology", "refuse", "charts, discs and gradients", _drawings),
        Kind("blank glass", "no histology", "refuse", "off-white, unevenly lit, some dust and sensor noise", _glass),
        Kind("noise", "no histology", "refuse", "white and smooth noise, grey and coloured", _noise),
    ]  # fmt: skip


def _colour_photographs(ship: Any) -> Iterator[tuple[str, Pixels]]:
    for name in COLOUR_PHOTOGRAPHS:
        yield name, getattr(ship, name)()
    yield "motorcycle", ship.stereo_motorcycle()[0]
    from sklearn.datasets import load_sample_images

    samples = load_sample_images()
    for name, pixels in zip(samples.filenames, samples.images, strict=True):
        yield Path(name).stem, pixels
    import matplotlib

    for name in ("grace_hopper.jpg", "Minduka_Present_Blue_Pack.png"):
        yield Path(name).stem, np.asarray(read_rgb(Path(matplotlib.get_data_path()) / "sample_data" / name))


def _grey_photographs(ship: Any) -> Iterator[tuple[str, Pixels]]:
    for name in GREY_PHOTOGRAPHS:
        yield name, _as_rgb(getattr(ship, name)())


def _crops(images: Iterator[tuple[str, Pixels]], number: int) -> Iterator[Item]:
    for position, (name, pixels) in enumerate(images):
        random = np.random.default_rng((1, position))
        yield Item(pixels, name)
        for _ in range(number):
            yield Item(_crop(pixels, random, 0.3, 0.9), name)


def _crop(pixels: Pixels, random: np.random.Generator, low: float, high: float) -> Pixels:
    height, width = (max(64, round(side * random.uniform(low, high))) for side in pixels.shape[:2])
    height, width = min(height, pixels.shape[0]), min(width, pixels.shape[1])
    top, left = random.integers(0, pixels.shape[0] - height + 1), random.integers(0, pixels.shape[1] - width + 1)
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


def _faces(ship: Any) -> Iterator[Item]:
    for number, face in enumerate(ship.lfw_subset()[:60]):
        yield Item(_as_rgb((255 * face).astype(np.uint8)), f"face {number}")


def _tinted(ship: Any) -> Iterator[Item]:
    for number, item in enumerate([*_crops(_colour_photographs(ship), 4), *_crops(_grey_photographs(ship), 4)]):
        random = np.random.default_rng((2, number))
        grey = item.pixels.mean(2) / 255
        amounts = random.uniform(0.3, 1.2, 2)
        density = np.stack([amounts[0] * (1 - grey), amounts[1] * np.abs(1 - grey) ** 0.5, 0 * grey], 2) @ HED
        yield Item(np.clip(245 * np.exp(-density), 0, 255).astype(np.uint8), item.source)


def _text(ship: Any) -> Iterator[Item]:
    for name in ("page", "text"):
        yield from _crops(iter([(name, _as_rgb(getattr(ship, name)()))]), 9)
    for number in range(60):
        random = np.random.default_rng((3, number))
        paper, ink = ((255, 255, 255), (0, 0, 0)) if number % 3 else _two_colours(random)
        page = Image.new("RGB", (int(random.integers(300, 900)), int(random.integers(300, 900))), paper)
        pen, size = ImageDraw.Draw(page), float(random.uniform(10, 48))
        font = ImageFont.load_default(size)
        for y in range(int(random.integers(0, 20)), page.height, int(1.4 * size)):
            pen.text((int(random.integers(0, 30)), y), " ".join(random.choice(WORDS, 30)), fill=ink, font=font)
        yield Item(np.asarray(page), f"set text {number}")


def _two_colours(random: np.random.Generator) -> tuple[tuple[int, ...], tuple[int, ...]]:
    paper, ink = random.integers(0, 256, (2, 3))
    return tuple(int(value) for value in paper), tuple(int(value) for value in ink)


def _drawings() -> Iterator[Item]:
    for number in range(60):
        random = np.random.default_rng((4, number))
        page = np.full((400, 600, 3), 255, np.uint8)
        if number % 3 == 0:  # bars
            for x in range(20, 560, 60):
                colour = random.integers(0, 256, 3).tolist()
                cv2.rectangle(page, (x, int(random.integers(20, 380))), (x + 40, 390), colour, -1)
        elif number % 3 == 1:  # discs in any colour
            page[:] = random.integers(0, 256, 3)
            for _ in range(int(random.integers(10, 200))):
                centre = (int(random.integers(0, 600)), int(random.integers(0, 400)))
                radius, colour = int(random.integers(4, 40)), random.integers(0, 256, 3).tolist()
                cv2.circle(page, centre, radius, colour, -1, cv2.LINE_AA)
        else:  # a gradient
            ends = random.integers(0, 256, (2, 3))
            share = np.linspace(0, 1, 600)[None, :, None]
            page[:] = ends[0] * (1 - share) + ends[1] * share
        yield Item(page, f"drawing {number}")


def _glass() -> Iterator[Item]:
    y, x = np.mgrid[-1:1:300j, -1:1:400j]
    for number in range(60):
        random = np.random.default_rng((5, number))
        white = random.uniform(225, 255) + random.uniform(-6, 6, 3)
        lamp = 1 - random.uniform(0, 0.1) * ((x - random.uniform(-1, 1)) ** 2 + (y - random.uniform(-1, 1)) ** 2)
        page = white * lamp[..., None] + random.normal(0, random.uniform(0, 4), (300, 400, 3))
        for _ in range(int(random.integers(0, 6))):  # dust
            centre = (int(random.integers(0, 400)), int(random.integers(0, 300)))
            cv2.circle(page, centre, int(random.integers(1, 6)), (120.0, 115.0, 110.0), -1)
        yield Item(np.clip(page, 0, 255).astype(np.uint8), f"glass {number}")


def _noise() -> Iterator[Item]:
    for number in range(60):
        random = np.random.default_rng((6, number))
        channels = 3 if number % 2 else 1
        field = random.normal(0, 1, (300, 300, channels))
        sigma = (0, 1, 3, 8)[number // 2 % 4]
        if sigma:
            field = np.asarray(cv2.GaussianBlur(field, (0, 0), sigma), np.float64).reshape(300, 300, channels)
        field = random.uniform(90, 200) + random.uniform(20, 70) * field / field.std()
        yield Item(np.ascontiguousarray(np.broadcast_to(np.clip(field, 0, 255), (300, 300, 3)), np.uint8), f"n{number}")


# Histology, but not haematoxylin and eosin


def _other_stain(patches: list[Item], ship: Any) -> list[Kind]:
    def kind(name: str, about: str, change: Change) -> Kind:
        return Kind(name, "not H&E", "refuse", about, from_patches(patches, change, 7))

    return [
        Kind("IHC", "not H&E", "refuse", "the brown-stained (DAB) slide of scikit-image, whole and in 40 crops",
             lambda: _crops(iter([("ihc", ship.immunohistochemistry())]), 40)),
        kind("restained brown", "true patches with the eosin made diaminobenzidine brown", _brown),
        kind("channels swapped", "true patches with R, G and B in any other order", _swapped),
        kind("colours inverted", "true patches as negatives", lambda p, r: 255 - p),
        kind("grey", "true patches without colour", lambda p, r: _as_rgb(p.mean(2).astype(np.uint8))),
        kind("pen and ink", "true patches with 15 to 50 % under blue, green, black or red ink", _inked),
    ]  # fmt: skip


def _brown(pixels: Pixels, random: np.random.Generator) -> Pixels:
    brown = HED[[0, 2, 2]]  # diaminobenzidine has the colour of the residual
    amounts = dyes(pixels) * np.array([0.6, random.uniform(0.8, 1.6), 0.0])
    return from_density(np.maximum(amounts, 0) @ brown)


def _swapped(pixels: Pixels, random: np.random.Generator) -> Pixels:
    orders = ((0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
    return np.ascontiguousarray(pixels[..., orders[int(random.integers(5))]])


def _inked(pixels: Pixels, random: np.random.Generator) -> Pixels:
    height, width = pixels.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    wanted = random.uniform(0.15, 0.5)
    while mask.mean() < wanted:
        ends = [(int(random.integers(-40, width + 40)), int(random.integers(-40, height + 40))) for _ in range(2)]
        cv2.line(mask, ends[0], ends[1], 1, int(random.integers(12, 40)), cv2.LINE_AA)
    ink = np.array(INKS[int(random.integers(4))]) / 255
    cover = cv2.GaussianBlur(mask.astype(np.float64), (0, 0), 1.5)[..., None]
    strength = random.uniform(0.8, 1.0)  # felt-tip ink lets a little of the tissue through
    under = pixels / 255
    return np.clip(255 * under * (1 - cover * strength * (1 - ink)), 0, 255).astype(np.uint8)


# True patches that nobody should judge


def _spoilt(patches: list[Item]) -> list[Kind]:
    def kind(name: str, about: str, change: Change, expected: Expected = "refuse") -> Kind:
        return Kind(name, "true patches, spoilt", expected, about, from_patches(patches, change, 8))

    def blurred(sigma: float) -> Kind:
        about = f"Gaussian blur, sigma {sigma:g} px of the 224 px view"
        return kind(f"blur {sigma:g}", about, lambda p, r: blur(p, sigma), "refuse" if sigma >= 2 else "report")

    def noisy(level: int) -> Kind:
        about = f"Gaussian noise of standard deviation {level}"
        return kind(f"sensor noise {level}", about, lambda p, r: noise(p, r, level),
                    "refuse" if level >= 40 else "report")  # fmt: skip

    return [
        *map(blurred, (1, 1.5, 2, 4)),
        *map(noisy, (20, 50)),
        kind("too dark", "true patches times 0.15 to 0.35", lambda p, r: scaled(p, r.uniform(0.15, 0.35))),
        kind("overexposed", "true patches times 1.6 to 2.2", lambda p, r: scaled(p, r.uniform(1.6, 2.2))),
        kind("washed out", "a tenth to a fifth of the contrast, near white",
             lambda p, r: (255 - (255 - p.astype(float)) * r.uniform(0.1, 0.2)).astype(np.uint8)),
        kind("little tissue", "2 to 4 % of the image is tissue, the rest glass", _crumb),
        kind("JPEG 10", "saved as JPEG of quality 10 at 224 px", lambda p, r: jpeg(p, 10), "report"),
        kind("strong stain change", "haematoxylin and eosin each times 0.4 to 0.6 or 1.7 to 2.5",
             lambda p, r: restain(p, np.append(np.exp(r.choice([-1, 1], 2) * r.uniform(0.5, 0.9, 2)), 1)), "report"),
    ]  # fmt: skip


def _crumb(pixels: Pixels, random: np.random.Generator) -> Pixels:
    height, width = pixels.shape[:2]
    page = np.clip(244 + random.normal(0, 1.5, pixels.shape), 0, 255).astype(np.uint8)
    side = round(height * float(np.sqrt(random.uniform(0.02, 0.04))))
    top, left = random.integers(0, height - side), random.integers(0, width - side)
    page[top : top + side, left : left + side] = pixels[top : top + side, left : left + side]
    return page


# Other tissue, other magnification, other modality


def _phantoms() -> Iterator[Item]:
    for name in PHANTOMS:
        for seed in range(5):
            yield Item(draw(name, seed=seed).pixels, name)


def _data_sets(others: Path) -> list[Kind]:
    kinds: list[Kind] = []
    mammograms = sorted((others / "mini_ddsm").rglob("*.jpg"))
    if mammograms:
        chosen = [mammograms[i] for i in np.random.default_rng(9).permutation(len(mammograms))[:MAMMOGRAMS]]
        kinds.append(
            Kind("mammograms", "no histology", "refuse", f"{len(chosen)} of Mini-DDSM's films",
                 lambda: (Item(np.asarray(read_rgb(path)), path.parent.name) for path in chosen))
        )  # fmt: skip
    tiles = others / "tissue_tiles_150"
    for folder in sorted(path for path in tiles.glob("*") if path.is_dir()):
        files = sorted(folder.glob("*.jpg"))
        step = max(1, len(files) // TILES_OF_A_CLASS)
        kinds.append(
            _of_files(f"tile: {folder.name.replace('_', ' ')}", "TCGA-BRCA tiles", files[::step][:TILES_OF_A_CLASS],
                      "150 px tiles of breast cancer slides, finer magnification, other laboratories")
        )  # fmt: skip
    lymph = sorted((others / "camelyon_tiles").glob("*.jpg"))
    if lymph:
        kinds.append(_of_files("lymph node", "near misses", lymph, "CAMELYON tiles, 512 px"))
    bach = sorted((others / "bach_part_b").rglob("*.jpg"))
    if bach:
        kinds.append(_of_files("BACH part B", "near misses", bach, "one slide, 1000 px at 0.42 um"))
        kinds.append(
            Kind("BACH part B, field of BreakHis", "near misses", "report", "the middle 583 x 383 px of the same tiles",
                 lambda: (Item(np.asarray(read_rgb(path))[308:691, 208:791], path.stem) for path in bach))
        )  # fmt: skip
    try:
        originals = breakhis.load(others / "breakhis_originals").records
    except DataError:
        originals = ()
    for magnification in breakhis.MAGNIFICATIONS:
        records = [record for record in originals if record.magnification == magnification]
        if records:
            kinds.append(
                Kind(f"BreakHis {magnification}X originals", "BreakHis originals",
                     "accept" if magnification == 200 else "report", "700 x 460 px, as published",
                     lambda records=records: (  # type: ignore[misc]
                         Item(np.asarray(read_rgb(record.path)), record.accession, record.accession)
                         for record in records
                     ))
            )  # fmt: skip
    return kinds


def _of_files(name: str, family: str, files: list[Path], about: str) -> Kind:
    return Kind(name, family, "report", about, lambda: (Item(np.asarray(read_rgb(p)), p.stem) for p in files))


def _as_rgb(grey: NDArray[Any]) -> Pixels:
    return np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)
