"""What the frozen trunk makes of every view of every image: computed once, kept on disk, shared by all that is trained.

The trunk (of a ResNet50: stem to layer3) is frozen, so its output is kept in bfloat16 and serves all folds and repeats
of a cross-validation and every network on the same trunk. Beside it stands what the teacher sees: with a few benign
patients, the more a feature knows about ImageNet's objects, the more of it a classifier can bend to the slides at hand.
Texture half-way up the network, averaged over an image seen larger, carries over to new patients better than the last
layer does; but it is no place to explain a verdict from. So a linear classifier on it teaches (`dala.training.head`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from dala.data.augment import random_views
from dala.data.pixels import Images
from dala.files import replacing
from dala.nets.dala_resnet50 import LAST, DALAResNet50
from dala.nets.imagenet import Backbone
from dala.preprocess.views import network_input, normalised
from dala.runtime.engines import bfloat16_units
from dala.training.recipe import STAIN_SHIFT, Recipe

CHUNK = 16

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class TrunkFeatures:
    """Trunk outputs of T tiles, one memory-mapped array of bfloat16 bits per view: maps (T, h, w, channels), of a
    ResNet50 (T, side / 16, side / 16, 1024), or tokens (T, tokens, channels).

    training: names of the views that training draws from. image: (T,), which image each tile is of. teacher: what the
    teacher sees of each tile, (T, features), None without one.
    """

    views: dict[str, NDArray[np.int16]]
    training: tuple[str, ...]
    image: Indices
    teacher: NDArray[np.float32] | None = None

    def tiles_of(self, images: Indices) -> Indices:
        """Indices of all tiles of the given images, ascending."""
        return np.flatnonzero(np.isin(self.image, images))

    def batch(self, names: Sequence[str], tiles: Indices, device: torch.device) -> Tensor:
        """Maps (len(tiles), channels, h, w), or tokens, in the device's `precision_of`; `names[i]` is the view of
        `tiles[i]`."""
        rows = np.stack([self.views[name][i] for name, i in zip(names, tiles, strict=True)])
        x = torch.from_numpy(rows).view(torch.bfloat16)
        return (x.permute(0, 3, 1, 2) if x.ndim == 4 else x).to(device, precision_of(device))


def features_folder(folder: Path, backbone: Backbone) -> Path:
    """Where a run keeps what networks with the weights of `backbone` make of its images."""
    return folder / f"features-{Path(backbone.source).stem}"


def trunk_features(
    images: Images,
    backbone: Backbone,
    recipe: Recipe,
    folder: Path,
    beside: Sequence[str] = ("stain_shift",),
    of: Indices | None = None,
) -> TrunkFeatures:
    """Compute, or find in `folder`, ResNet50's trunk's output for every training view and those `beside` them, and what
    the teacher sees if the recipe has one.

    images: T tiles; of: (T,), which image each is of, by default its own. Takes 0.8 MB of disk a tile and view at 320
    pixels.
    """
    net, folder = imagenet_resnet50(backbone), features_folder(folder, backbone)
    found = views_through(net.trunk, images, recipe, (*recipe.training_views, *beside), folder, of)
    if not recipe.teacher:
        return found
    path = folder / f"teacher-{recipe.teacher}.npy"
    if rank() == 0 and not path.is_file():
        write_array(path, stage_means(net.trunk, recipe.teacher_stages, images, recipe.teacher))
    barrier()
    return replace(found, teacher=np.load(path))


def views_through(
    trunk: nn.Module,
    images: Images,
    recipe: Recipe,
    names: Sequence[str],
    folder: Path,
    of: Indices | None = None,
) -> TrunkFeatures:
    """Compute, or find in `folder`, the trunk's output for the named views, the recipe's training views first."""
    trunk = trunk.eval().to(device_of(), memory_format=torch.channels_last)  # type: ignore[call-overload]
    views = {name: folder / f"trunk-{name}.npy" for name in names}
    for number, (name, path) in enumerate(views.items()):
        if not path.is_file() and rank() == 0:
            _write_view(trunk, images, name, recipe, path, 10_000 * number)
    barrier()
    kept = {name: np.load(path, mmap_mode="r") for name, path in views.items()}
    return TrunkFeatures(kept, recipe.training_views, np.arange(len(images)) if of is None else of)


def _write_view(trunk: nn.Module, images: Images, name: str, recipe: Recipe, path: Path, seed: int) -> None:
    device, store = device_of(), None
    with replacing(path) as partial, torch.no_grad(), reduced_precision(device):
        for start in tqdm(range(0, len(images), CHUNK), desc=f"features of the {name} view", unit="batch"):
            x = torch.from_numpy(images[start : start + CHUNK])
            maps = trunk(_view(x, name, recipe, seed + start).to(device)).to(torch.bfloat16)
            maps = (maps.permute(0, 2, 3, 1) if maps.ndim == 4 else maps).contiguous().cpu()
            if store is None:
                shape = (len(images), *maps.shape[1:])
                store = np.lib.format.open_memmap(partial, mode="w+", dtype=np.int16, shape=shape)
            store[start : start + CHUNK] = maps.view(torch.int16).numpy()
        del store  # flushes


def _view(images: Tensor, name: str, recipe: Recipe, seed: int) -> Tensor:
    if name == "plain":
        return network_input(images, recipe.enlarged)
    if name == "mirrored":
        return network_input(images.flip(2), recipe.enlarged)
    kinds = {"stain_shift": STAIN_SHIFT, "geometric": recipe.geometric, "stained": recipe.stained}
    return normalised(random_views(images, recipe.enlarged, kinds[name.rstrip("0123456789")], seed))


def stage_means(trunk: nn.Module, stages: Sequence[str], images: Images, side: int) -> NDArray[np.float32]:
    """The outputs of these stages of the trunk, averaged over the image, side by side, at `side` pixels.

    Of a ResNet50's layer2 that is (T, 512) float32, of layer3 (T, 1024).
    """
    device = device_of()
    trunk = trunk.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    rows = []
    with torch.no_grad():
        for start in tqdm(range(0, len(images), CHUNK), desc="what the teacher sees", unit="batch"):
            x = network_input(images[start : start + CHUNK], side).to(device)
            means = []
            with reduced_precision(device):
                for name, stage in trunk.named_children():
                    x = stage(x)
                    if name in stages:
                        means.append(x.float().mean((2, 3)).cpu())
                    if len(means) == len(stages):
                        break
            rows.append(torch.cat(means, 1))
    return torch.cat(rows).numpy()


def frozen_features(features: TrunkFeatures, backbone: Backbone) -> Floats:
    """Pooled ImageNet features (T, 2048) of the plain view by `last_block`."""
    return apply_to_view(last_block(backbone), features, "plain", np.arange(len(features.image)))


def last_block(backbone: Backbone) -> nn.Module:
    """From the trunk's output to pooled features (N, 2048): the last ImageNet block as it comes, without attention."""
    blocks = imagenet_resnet50(backbone).layer4.get_submodule("blocks")
    return nn.Sequential(blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


def imagenet_resnet50(
    backbone: Backbone, classes: int = 2, dropout: float = 0.5, seed: int | None = None, stages: tuple[str, ...] = LAST
) -> DALAResNet50:
    """A DALAResNet50 whose trunk and blocks are those of ImageNet, attention and head random, by `seed` if given."""
    if seed is not None:
        torch.manual_seed(seed)
    net = DALAResNet50(classes=classes, dropout=dropout, stages=stages)
    net.load_imagenet(backbone)
    return net


def apply_to_view(module: nn.Module, features: TrunkFeatures, view: str, tiles: Indices) -> Floats:
    """What a module (the tail and what follows) makes of one view of the tiles: (len(tiles), outputs) float64."""
    device, parts = device_of(), []
    module.to(device)
    with torch.no_grad(), reduced_precision(device):
        for start in range(0, len(tiles), 32):
            chosen = tiles[start : start + 32]
            parts.append(module(features.batch([view] * len(chosen), chosen, device)).double().cpu())
    return torch.cat(parts).numpy()


def write_array(path: Path, values: NDArray[Any]) -> None:
    """Write a .npy file, whole or not at all."""
    with replacing(path) as partial:
        np.save(partial, values)


def device_of() -> torch.device:
    """The GPU of this process (torchrun sets LOCAL_RANK) or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def precision_of(device: torch.device) -> torch.dtype:
    """bfloat16 on GPUs and on CPUs that compute in it; float32 elsewhere (the results differ slightly)."""
    return torch.bfloat16 if device.type == "cuda" or bfloat16_units() else torch.float32


def reduced_precision(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Autocast to the device's `precision_of`; nothing changes where that is float32."""
    if (precision := precision_of(device)) == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, precision)


def rank() -> int:
    """The number of this process under torchrun, 0 without."""
    return dist.get_rank() if dist.is_initialized() else 0


def barrier() -> None:
    """Wait for the other processes of torchrun."""
    if dist.is_initialized():
        dist.barrier()
