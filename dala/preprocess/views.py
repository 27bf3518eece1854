"""Patch to network input: how an image is cut into views and scaled, with the place of each view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from dala.nets.imagenet import IMAGENET_MEAN, IMAGENET_STD
from dala.preprocess.fields import adjacent_boxes, field_grid
from dala.preprocess.mammogram import crop_breast

# Longest side over shortest up to which the whole image is squeezed to the square input; see `plan_grid`.
WHOLE_UP_TO = 2.3
MAX_TILES = 12


@dataclass(frozen=True)
class Input:
    """What a network was trained to see: the part of its card that this room needs.

    size        side in pixels of the square that every view is resized to, as the training images were
    upsampled   side to which that square is enlarged before it enters the network
    frame       (width, height) in pixels of a training image, whose shape and size tiles follow
    preprocess  "none", "mammogram" (`dala.preprocess.mammogram`) or "fields" (cut into tiles, `dala.preprocess.fields`)
    um_per_pixel, field_um  of a network that sees at a physical scale (`dala.preprocess.physical`): the distance of its
                pixels, and (width, height) of a field of view; then only the gate's views have `size`
    """

    size: int
    upsampled: int
    frame: tuple[int, int]
    preprocess: str
    um_per_pixel: float | None = None
    field_um: tuple[float, float] = (245.0, 161.0)

    @property
    def side(self) -> int | None:
        """The side of what enters the network; None where that follows from the physical size of the image."""
        return self.upsampled if self.um_per_pixel is None else None


@dataclass(frozen=True)
class View:
    """A rectangle of the patch as the network saw it: `box` (left, top, right, bottom) in patch pixels.

    Views without a `part` lie side by side and cover the patch. A view with one is all that the network saw: `part` is
    its box as shares 0..1 of the patch's width and height, and `mirrored` says that it was turned left to right. At a
    physical scale views may overlap, and `seen` is the box in pixels of the network, of which a patch has `extent`.
    """

    box: tuple[int, int, int, int]
    part: tuple[float, float, float, float] | None = None
    mirrored: bool = False
    seen: tuple[int, int, int, int] | None = None


@dataclass(frozen=True, eq=False)
class Views:
    """The views of one image, row by row in the `grid` (rows, columns) in which they tile it.

    `for_gate` is (views, size, size, 3) uint8, at a physical scale smaller where the network sees less than that; so is
    `for_network`, but (views, h, w, 3) at a physical scale, with the whole image's `extent` (rows, columns) in such
    pixels. `places` says where each lies.
    """

    for_gate: np.ndarray
    for_network: np.ndarray
    places: tuple[View, ...]
    grid: tuple[int, int]
    extent: tuple[int, int] | None = None


def plan_grid(width: int, height: int, frame: tuple[int, int]) -> tuple[int, int]:
    """(rows, columns) of equal tiles that show the network images shaped like those it was trained on.

    The whole image, squeezed, as long as its sides differ by no more than a factor `WHOLE_UP_TO`: half as much again
    as the training frame's 1.52. A longer one is cut along its long side into tiles of about that `frame`'s shape.
    benchmarks/view_policy.py: at 3 : 1, whole and in two tiles, new patients are told apart equally well but for noise
    (AUC .958 and .951, balanced accuracy .902 and .919; 189 images of 37 accession groups, plain .953 and .919), so
    the limit is set by what tiles give besides: nuclei of the size learnt, and a map that is finer along the image.
    """
    long, short = max(width, height), min(width, height)
    if long <= WHOLE_UP_TO * short:
        return 1, 1
    shape = max(frame) / min(frame)
    tiles = min(MAX_TILES, max(2, round(long / short / shape)))
    return (1, tiles) if width >= height else (tiles, 1)


def cut(pixels: np.ndarray, grid: tuple[int, int], size: int) -> tuple[np.ndarray, tuple[View, ...]]:
    """Tiles of an (H, W, 3) uint8 image as (views, size, size, 3) uint8, row by row, with their boxes.

    Bicubic with antialiasing: the filter that made the training images.
    """
    image, boxes = Image.fromarray(pixels), adjacent_boxes(pixels.shape[1], pixels.shape[0], grid)
    tiles = [np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box)) for box in boxes]
    return np.stack(tiles), tuple(View(box) for box in boxes)


def preprocess(pixels: np.ndarray, asked: Input) -> Views:
    """The views of an (H, W, 3) uint8 image as a network with this input was trained to see them."""
    height, width = pixels.shape[:2]
    if asked.preprocess == "mammogram":
        film, _ = cut(pixels, (1, 1), asked.size)
        breast = crop_breast(pixels)
        left, right = (round(share * width) for share in breast.box[::2])
        top, bottom = (round(share * height) for share in breast.box[1::2])
        view = View((left, top, right, bottom), breast.box, breast.mirrored)
        return Views(film, breast.resized(asked.size)[None], (view,), (1, 1))
    plan = field_grid if asked.preprocess == "fields" else plan_grid
    grid = plan(width, height, asked.frame)
    tiles, places = cut(pixels, grid, asked.size)
    return Views(tiles, tiles, places, grid)


def network_input(views: np.ndarray | Tensor, side: int | None) -> Tensor:
    """(N, size, size, 3) uint8 to (N, 3, side, side) float32: bicubic upsampling, ImageNet mean and deviation.

    `side` None leaves (N, h, w, 3) at its size.

    Layer maps are finer on the upsampled image (10 x 10 instead of 7 x 7 at 320) and frozen ImageNet features tell
    more of it: nuclei are small in a field of view squeezed to 224 pixels.
    """
    x = torch.tensor(views) if isinstance(views, np.ndarray) else views
    x = x.permute(0, 3, 1, 2).to(torch.float32) / 255
    if side is not None and x.shape[-1] != side:
        x = F.interpolate(x, size=(side, side), mode="bicubic", align_corners=False).clamp(0, 1)
    return normalised(x)


def normalised(x: Tensor) -> Tensor:
    """(N, 3, H, W) in 0..1 with ImageNet's mean taken off and divided by its deviation, channels last."""
    mean = torch.tensor(IMAGENET_MEAN, device=x.device).view(1, 3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=x.device).view(1, 3, 1, 1)
    return ((x - mean) / std).contiguous(memory_format=torch.channels_last)
