"""What a network's head sees of every image: computed once, shared by all fits.

The head pools over the image before anything else, so nothing but the means need be kept. A fit on these numbers is a
fit of the network's head itself, at a thousandth of the cost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor
from tqdm import tqdm

from dala.data import tissue
from dala.data.pixels import read_rgb
from dala.files import replacing
from dala.nets.dala_resnet50 import DALAResNet50
from dala.preprocess.views import normalised
from dala.training.colour_only import colour_statistics
from dala.training.features import device_of, reduced_precision
from dala.training.laboratories.sources import BENIGN, MALIGNANT, UM_PER_PIXEL, Item, at_scale

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

PARTS = {"layer2": slice(0, 512), "layer3": slice(512, 1536), "layer4": slice(1536, 3584)}
WIDTH = 3584
NOTHING = -1  # label of glass and blur: even odds are the right answer
NOTHING_LABORATORY = "nothing"
TILES = 80  # of a class of tissue, alone
TISSUE_FIELDS = 24  # of a class, of many tiles; and as many of one tile each
TILE_UM = 0.25  # per pixel of a tile, about
GLASS, BLURRED = 24, 24
GLASS_SIDE = 256
COLLECTED = 2  # another number where what is kept changes


@dataclass(frozen=True, eq=False)
class Samples:
    """N images as means over each stage's output.

    features: (N, 3584) float32, layer2, layer3 and the attended layer4, as `PARTS` has them. colours: (N, 6),
    mean and deviation of R, G and B. names, labels, groups, laboratories: (N,); `extra` (N,) bool: always trained on
    and never tested (tissue, glass, blur).
    """

    features: NDArray[np.float32]
    colours: NDArray[np.float32]
    names: NDArray[np.str_]
    labels: NDArray[np.int64]
    groups: NDArray[np.str_]
    laboratories: NDArray[np.str_]
    extra: NDArray[np.bool_]


def stage_means(net: DALAResNet50, x: Tensor) -> NDArray[np.float32]:
    """What the head of a network of all stages pools, (N, 3584), of normalised images (N, 3, H, W)."""
    device = device_of()
    with torch.no_grad(), reduced_precision(device):
        pooled = net.features(x.to(device, memory_format=torch.channels_last)).float().mean((2, 3))
    return pooled.cpu().numpy()


def plain_view(image: Image.Image) -> Tensor:
    """An RGB image as the network's input, (1, 3, H, W)."""
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    return normalised(pixels.to(torch.float32) / 255)


def collect(items: Sequence[Item], tissue_root: Path | None, net: DALAResNet50, identity: str, runs: Path) -> Samples:
    """The samples of these images, and with a `tissue_root` of tissue, glass and blur; kept under `runs`.

    identity: what tells the network `net` from others, such as its file's sha256. Raises DataError for an image that
    cannot be read.
    """
    made = repr((COLLECTED, TILES, TISSUE_FIELDS, TILE_UM, GLASS, BLURRED, GLASS_SIDE))
    told = "\n".join(
        [identity, made, str(tissue_root is not None), *(f"{item.laboratory} {item.name}" for item in items)]
    )
    path = runs / f"samples-{hashlib.sha256(told.encode()).hexdigest()[:12]}.npz"
    if not path.is_file():
        parts = list(_of_items(items, net))
        if tissue_root is not None:
            parts += [*_of_tissue(tissue.load(tissue_root), net), *_of_nothing(items, net)]
        columns = ("features", "colours", "names", "labels", "groups", "laboratories", "extra")
        with replacing(path) as partial:
            np.savez(partial, **dict(zip(columns, map(np.array, zip(*parts, strict=True)), strict=True)))  # type: ignore[arg-type]
    with np.load(path) as kept:
        return Samples(**{name: kept[name] for name in kept.files})


Part = tuple[NDArray[np.float32], NDArray[np.float32], str, int, str, str, bool]


def _seen(image: Image.Image, net: DALAResNet50) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    colours = colour_statistics(np.asarray(image)[None])[0].astype(np.float32)
    return stage_means(net, plain_view(image))[0], colours


def _of_items(items: Sequence[Item], net: DALAResNet50) -> Iterator[Part]:
    for item in tqdm(items, desc="what the network sees", unit="image"):
        yield *_seen(item.seen(), net), item.name, item.label, item.group, item.laboratory, False


def _of_tissue(tiles: tissue.TissueDataset, net: DALAResNet50) -> Iterator[Part]:
    """Tissue without a diagnosis, of tiles that are not held out: tiles alone, and fields of view laid out of them."""
    answers = {"benign": BENIGN, "malignant": MALIGNANT}
    chosen = {name: answers[answer] for name, answer in tissue.CLASSES.items() if answer is not None}
    for name, label in tqdm(chosen.items(), desc="tissue", unit="class"):
        own = [tile for tile in tiles.records if tile.tissue == name and not tile.held_out]
        for tile in own[:TILES]:
            seen = at_scale(read_rgb(tile.path), (TILE_UM, TILE_UM))
            yield *_seen(seen, net), tile.name, label, f"tissue/{name} tile", tissue.LABORATORY, True
        for number in range(2 * TISSUE_FIELDS if own else 0):
            draw = np.random.default_rng([number, 5])
            few = draw.choice(len(own), min(len(own), 24 if number < TISSUE_FIELDS else 1), replace=False)
            field = tissue.field_of([np.asarray(read_rgb(own[k].path)) for k in few], draw)
            seen = at_scale(Image.fromarray(field), (TILE_UM, TILE_UM))
            yield *_seen(seen, net), f"{name}-{number}", label, f"tissue/{name} field", tissue.LABORATORY, True


def _of_nothing(items: Sequence[Item], net: DALAResNet50) -> Iterator[Part]:
    """White glass, and images so far out of focus that nothing is left of them."""
    draw = np.random.default_rng(1)
    for number in range(GLASS):
        level, grain = draw.uniform(222, 252, 3), draw.uniform(0.5, 3)
        pixels = np.clip(draw.normal(level, grain, (GLASS_SIDE, GLASS_SIDE, 3)), 0, 255).astype(np.uint8)
        seen = _seen(Image.fromarray(pixels), net)
        yield *seen, f"glass-{number}", NOTHING, "nothing/glass", NOTHING_LABORATORY, True
    for number in draw.choice(len(items), min(BLURRED, len(items)), replace=False):
        image = items[number].seen().filter(ImageFilter.GaussianBlur(float(draw.uniform(3, 10)) / UM_PER_PIXEL))
        yield *_seen(image, net), f"blur-{number}", NOTHING, "nothing/blur", NOTHING_LABORATORY, True
