"""What the first stage's network makes of every image and of random views of it: computed once, shared by all fits.

Head and attention see an image only through means over it, so nothing else need be kept: the attention scales channels
by gates that are computed from the mean, and the mean of what it scales is the mean times the gates. A fit on these
numbers is a fit of the network itself, at a thousandth of the cost.
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
from dala.data.augment import Augmentation, stained
from dala.data.pixels import load_pixels
from dala.files import replacing
from dala.nets.dala_resnet50 import DALAResNet50
from dala.preprocess.views import normalised
from dala.training.features import device_of, reduced_precision
from dala.training.laboratories.sources import BENIGN, MALIGNANT, UM_PER_PIXEL, Item, mosaic

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

STAGES = {"layer2": slice(0, 512), "layer3": slice(512, 1536), "layer4": slice(1536, 3584)}
WIDTH = 3584
NOTHING = -1  # label of glass and blur: even odds are the right answer
NOTHING_LABORATORY = "nothing"
# Stain, lamp and camera of another laboratory; scale and frame are drawn beside it.
STAINS = Augmentation(stain=0.3, stain_mix=0.06, gain=0.06, gamma=0.15, grey=0.0, blur=0.2)
SCALES = (0.8, 1.25)
FRAME = 256  # side of a random view in pixels of the network: 128 um, as wide as the smallest fields
VIEWS_OF_A_LABORATORY = 500  # so many random views, about, so that a small laboratory is not seen in few stains
MOSAICS, MOSAIC_SIDE = 60, 5  # of a class of tissue; tiles in a row
GLASS, BLURRED = 24, 24


@dataclass(frozen=True, eq=False)
class Samples:
    """V views of N images as means over each stage's output.

    features: (V, 3584) float32, layer2, layer3 and layer4 before its attention, as `STAGES` has them. image: (V,),
    which image each view is of. plain: (V,) bool, whether it is the image as it is. names, labels, groups,
    laboratories: (N,) of the images; `extra` (N,) bool: always trained on and never tested (tissue, glass, blur).
    """

    features: NDArray[np.float32]
    image: Indices
    plain: NDArray[np.bool_]
    names: NDArray[np.str_]
    labels: NDArray[np.int64]
    groups: NDArray[np.str_]
    laboratories: NDArray[np.str_]
    extra: NDArray[np.bool_]

    def plain_of(self, images: Indices) -> NDArray[np.float32]:
        """(n, 3584): the plain view of each of these images, in their order."""
        place = np.full(len(self.labels), -1)
        place[self.image[self.plain]] = np.flatnonzero(self.plain)
        rows: NDArray[np.float32] = self.features[place[images]]
        return rows


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


def random_view(image: Image.Image, seed: int) -> Tensor:
    """A square of the image, a little nearer or farther, flipped and turned, in another stain: (1, 3, 256, 256)."""
    draw = np.random.default_rng(seed)
    scale = float(np.exp(draw.uniform(*np.log(SCALES))))
    scale = max(scale, FRAME / min(image.size))
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    left, top = (int(draw.integers(side - FRAME + 1)) for side in image.size)
    pixels = np.rot90(np.asarray(image.crop((left, top, left + FRAME, top + FRAME))), int(draw.integers(4)))
    pixels = pixels[:, ::-1] if draw.integers(2) else pixels
    x = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].to(torch.float32) / 255
    return normalised(stained(x, STAINS, seed))


def collect(items: Sequence[Item], tissue_root: Path | None, net: DALAResNet50, identity: str, runs: Path) -> Samples:
    """The samples of these images; of random views, tissue, glass and blur only if there is a `tissue_root`, for
    without it nothing is trained. Kept under `runs`.

    identity: what tells the network `net` from others, such as its file's sha256. Raises DataError for an image that
    cannot be read.
    """
    told = "\n".join([identity, str(tissue_root is not None), *(f"{item.laboratory} {item.name}" for item in items)])
    path = runs / f"samples-{hashlib.sha256(told.encode()).hexdigest()[:12]}.npz"
    if not path.is_file():
        parts = list(_of_items(items, net, tissue_root is not None))
        if tissue_root is not None:
            parts += [*_of_tissue(tissue.load(tissue_root), net), *_of_nothing(items, net)]
        rows = [part[0] for part in parts]
        counts = [len(part) for part in rows]
        with replacing(path) as partial:
            np.savez(
                partial,
                features=np.concatenate(rows),
                image=np.repeat(np.arange(len(parts)), counts),
                plain=np.concatenate([np.arange(count) == 0 for count in counts]),
                names=np.array([part[1] for part in parts]),
                labels=np.array([part[2] for part in parts]),
                groups=np.array([part[3] for part in parts]),
                laboratories=np.array([part[4] for part in parts]),
                extra=np.array([part[5] for part in parts]),
            )  # fmt: skip
    with np.load(path) as kept:
        return Samples(**{name: kept[name] for name in kept.files})


Part = tuple[NDArray[np.float32], str, int, str, str, bool]


def _of_items(items: Sequence[Item], net: DALAResNet50, random: bool) -> Iterator[Part]:
    counts = {name: sum(item.laboratory == name for item in items) for name in {item.laboratory for item in items}}
    for number, item in enumerate(tqdm(items, desc="what the network sees", unit="image")):
        image = item.seen()
        views = min(8, max(2, round(VIEWS_OF_A_LABORATORY / counts[item.laboratory]))) if random else 0
        rows = [stage_means(net, plain_view(image))]
        if views:
            rows.append(stage_means(net, torch.cat([random_view(image, 100 * number + view) for view in range(views)])))
        yield np.concatenate(rows), item.name, item.label, item.group, item.laboratory, False


def _of_tissue(tiles: tissue.TissueDataset, net: DALAResNet50) -> Iterator[Part]:
    """Mosaics of tiles that are not held out, of the classes that answer the question benign or malignant."""
    pixels = load_pixels(tiles.records, 150)
    held_out = np.array([tile.held_out for tile in tiles.records])
    draw = np.random.default_rng(0)
    for label, (name, answer) in enumerate(tissue.CLASSES.items()):
        if answer is None:
            continue
        own = list(pixels[(tiles.labels == label) & ~held_out])
        for number in tqdm(range(MOSAICS), desc=name, unit="mosaic"):
            image = mosaic(own, MOSAIC_SIDE, draw)
            x = plain_view(image) if number % 3 == 0 else random_view(image, 10**7 + 1000 * label + number)
            kind = MALIGNANT if answer == "malignant" else BENIGN
            yield stage_means(net, x), f"{name}-{number}", kind, f"tissue/{name}", tissue.LABORATORY, True


def _of_nothing(items: Sequence[Item], net: DALAResNet50) -> Iterator[Part]:
    """White glass, and images so far out of focus that nothing is left of them."""
    draw = np.random.default_rng(1)
    for number in range(GLASS):
        level, grain = draw.uniform(222, 252, 3), draw.uniform(0.5, 3)
        pixels = np.clip(draw.normal(level, grain, (FRAME, FRAME, 3)), 0, 255).astype(np.uint8)
        x = plain_view(Image.fromarray(pixels))
        yield stage_means(net, x), f"glass-{number}", NOTHING, "nothing/glass", NOTHING_LABORATORY, True
    for number in draw.choice(len(items), min(BLURRED, len(items)), replace=False):
        image = items[number].seen().filter(ImageFilter.GaussianBlur(float(draw.uniform(3, 10)) / UM_PER_PIXEL))
        yield stage_means(net, plain_view(image)), f"blur-{number}", NOTHING, "nothing/blur", NOTHING_LABORATORY, True
