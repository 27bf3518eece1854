"""What a network's stages make of every image: computed once, shared by all fits.

Head and attention see an image only through means over it, so nothing else need be kept: the attention scales channels
by gates that are computed from the mean, and the mean of what it scales is the mean times the gates. A fit on these
numbers is a fit of the network itself, at a thousandth of the cost.
"""

from __future__ import annotations

import hashlib
from collections import Counter
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
from dala.training.laboratories.sources import BENIGN, MALIGNANT, UM_PER_PIXEL, Item

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

STAGES = {"layer2": slice(0, 512), "layer3": slice(512, 1536), "layer4": slice(1536, 3584)}
WIDTH = 3584
NOTHING = -1  # label of glass and blur: even odds are the right answer
NOTHING_LABORATORY = "nothing"
UNLABELLED = -2  # label of tissue that is neither clearly benign nor clearly malignant: only the teacher speaks of it
TILES = 80  # of a class of tissue
TILE_SIDE = 75  # pixels: tiles of 150 px are about 0.25 um per pixel
GLASS, BLURRED = 24, 24
GLASS_SIDE = 256


@dataclass(frozen=True, eq=False)
class Samples:
    """N images as means over each stage's output.

    features: (N, 3584) float32, layer2, layer3 and layer4 before its attention, as `STAGES` has them. colours: (N, 6),
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
    """Means over the image of layer2, layer3 and layer4's blocks, (N, 3584), of normalised images (N, 3, H, W)."""
    device, means = device_of(), []
    with torch.no_grad(), reduced_precision(device):
        x = x.to(device, memory_format=torch.channels_last)
        for name, stage in net.trunk.named_children():
            x = stage(x)
            if name in STAGES:
                means.append(x.float().mean((2, 3)))
        means.append(net.layer4.get_submodule("blocks")(x).float().mean((2, 3)))
    return torch.cat(means, 1).cpu().numpy()


def plain_view(image: Image.Image) -> Tensor:
    """An RGB image as the network's input, (1, 3, H, W)."""
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    return normalised(pixels.to(torch.float32) / 255)


def collect(items: Sequence[Item], tissue_root: Path | None, net: DALAResNet50, identity: str, runs: Path) -> Samples:
    """The samples of these images, and with a `tissue_root` of tissue, glass and blur; kept under `runs`.

    identity: what tells the network `net` from others, such as its file's sha256. Raises DataError for an image that
    cannot be read.
    """
    told = "\n".join([identity, str(tissue_root is not None), *(f"{item.laboratory} {item.name}" for item in items)])
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
    """Tiles that are not held out, at `UM_PER_PIXEL`."""
    answers = {"benign": BENIGN, "malignant": MALIGNANT, None: UNLABELLED}
    counts: Counter[str] = Counter()
    for tile in tqdm(tiles.records, desc="tissue", unit="tile"):
        if tile.held_out or counts[tile.tissue] == TILES:
            continue
        counts[tile.tissue] += 1
        small = read_rgb(tile.path).resize((TILE_SIDE, TILE_SIDE), Image.Resampling.BICUBIC)
        label = answers[tissue.CLASSES[tile.tissue]]
        yield *_seen(small, net), tile.name, label, f"tissue/{tile.tissue}", tissue.LABORATORY, True


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
