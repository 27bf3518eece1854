"""What a network or a baseline is shown of a film: the breast alone, the whole, all but the breast, a few numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from tqdm import tqdm

from dala.data.mini_ddsm import Record
from dala.data.pixels import in_order, read_rgb
from dala.nets.imagenet import Backbone
from dala.preprocess.mammogram import crop_breast, find_breast, squeezed
from dala.preprocess.views import network_input
from dala.training.features import (
    CHUNK,
    Floats,
    device_of,
    features_folder,
    imagenet_resnet50,
    reduced_precision,
    write_array,
)

PROBE_SIDE = 224  # of the probes of whole and masked films
HALO = 5  # pixels by which the breast is masked out more widely than it was found
BLANK = 128

Pixels = NDArray[np.uint8]


def breast(film: Pixels, side: int) -> Pixels:
    """What the network sees: (side, side, 3) uint8 of a film (H, W, 3) uint8."""
    return crop_breast(film).resized(side)


def whole_film(film: Pixels, side: int) -> Pixels:
    """The film as it is, squeezed: (side, side, 3) uint8."""
    return np.asarray(Image.fromarray(film).resize((side, side), Image.Resampling.BICUBIC))


def masked_out(film: Pixels, side: int) -> Pixels:
    """The film without its breast, which is one grey: labels, frame and background, and the outline of the breast."""
    grey = squeezed(film)
    return whole_film(np.repeat(np.where(_hidden(grey), BLANK, grey).astype(np.uint8)[..., None], 3, axis=2), side)


Look = Callable[[Pixels, int], Pixels]
LOOKS: Mapping[str, Look] = MappingProxyType({"breast": breast, "whole film": whole_film, "masked out": masked_out})


def grey_levels(film: Pixels) -> Floats:
    """Three numbers: mean, standard deviation and median of the whole film's grey levels."""
    grey = squeezed(film)
    return np.array([grey.mean(), grey.std(), np.median(grey)], dtype=np.float64)


def background_levels(film: Pixels) -> Floats:
    """Nine numbers: percentiles of the grey levels outside the breast, zeros if nothing is outside."""
    grey = squeezed(film)
    outside = grey[~_hidden(grey)]
    if not outside.size:
        return np.zeros(9)
    return np.asarray(np.percentile(outside, [1, 5, 10, 25, 50, 75, 90, 95, 99]), dtype=np.float64)


def _hidden(grey: Pixels) -> NDArray[np.bool_]:
    """The breast and a halo around it."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * HALO + 1, 2 * HALO + 1))
    return cv2.dilate(find_breast(grey)[0].astype(np.uint8), kernel).astype(bool)


@dataclass(frozen=True, eq=False)
class Films:
    """Images of a data set under one look, read when asked for: `films[i:j]` is (j - i, side, side, 3) uint8."""

    records: Sequence[Record]
    look: Look
    side: int

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, chosen: slice) -> Pixels:
        return np.stack(list(in_order(self._of, self.records[chosen])))

    def _of(self, record: Record) -> Pixels:
        return self.look(np.asarray(read_rgb(record.path)), self.side)


def measured(records: Sequence[Record], measure: Callable[[Pixels], Floats]) -> Floats:
    """One row of numbers a film."""
    return np.stack(list(in_order(lambda record: measure(np.asarray(read_rgb(record.path))), records)))


def pooled_features(records: Sequence[Record], look: str, backbone: Backbone, folder: Path) -> Floats:
    """Pooled features (N, 2048) of ImageNet's own ResNet50 at `PROBE_SIDE`, from `folder` if they are there already."""
    done = features_folder(folder, backbone) / f"pooled-{look.replace(' ', '-')}-{PROBE_SIDE}.npy"
    if not done.is_file():
        net, device = imagenet_resnet50(backbone), device_of()
        parts = (net.trunk, net.layer4.get_submodule("blocks"), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        pooled = nn.Sequential(*parts).eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        films, rows = Films(records, LOOKS[look], PROBE_SIDE), []
        with torch.no_grad(), reduced_precision(device):
            for start in tqdm(range(0, len(films), CHUNK), desc=f"features of the {look}", unit="batch"):
                x = network_input(films[start : start + CHUNK], PROBE_SIDE).to(device)
                rows.append(pooled(x).double().cpu().numpy())
        write_array(done, np.concatenate(rows))
    answer: Floats = np.load(done)
    return answer
