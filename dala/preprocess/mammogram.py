"""A digitised film mammogram as the network sees it: the breast alone, chest wall at the left, on one grey scale.

A scanned film shows more than a breast: the name of the view in lead letters, a black rectangle where the patient's
name was, the bright edge of the film, and a background whose grey belongs to the scanner. All of that differs between
hospitals and, in DDSM, between the classes; none of it is medicine. So it is cut away, in the same deterministic steps
for training and for serving:

1. The image is squeezed to `SIDE` x `SIDE`, the size of the thumbnails, so that a thumbnail and its original
   come to nearly the same.
2. A margin and the white lines of the film's edge are cut off, and rows without any image in them (the rest of
   a file that broke off).
3. The chest wall is at the side whose outer third is brighter. The background's level is read from the other side,
   black rectangles not counted; the breast is what is brighter than the background by `SHARE` of the way to the chest
   wall.
4. A morphological opening parts letters, scratches and the film's edge from the breast; the largest part is kept,
   its holes are filled, and the thin strips of light above and below it along the chest wall are cut off.
5. The grey values between the `DARK`th and the `BRIGHT`th percentile within the breast are stretched to 0..255, all
   else becomes 0; the box around the breast is cut out, and mirrored if the chest wall is at the right.

An image without a background (a crop from within a breast) is taken whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 299
MARGIN = 6  # pixels of `SIDE` at every edge that are never looked at
FRAME = 48  # pixels of `SIDE` up to which the edge of the film may reach into the image
WHITE, WHITE_SHARE = 235, 0.6  # a line belongs to the film's edge if this share of it is at least so bright
NARROW = 0.25  # rows at top and bottom with less than this share of the widest row are cut off
BLACK, BLACK_SHARE = 2, 0.25  # grey value, and share of the outer fifth
SHARE, STEP = 0.15, 4.0  # of the way from background to chest wall; never less than so many grey values
OPENING, REGROWTH = 11, 5  # radii in pixels of `SIDE`
SMALLEST = 0.02  # share of the image; what is smaller is no breast
DARK, BRIGHT = 1.0, 99.5

Mask = NDArray[np.bool_]
Grey = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Breast:
    """The breast of one mammogram.

    pixels: (h, w) uint8, 0 outside the breast, chest wall at the left. box: (left, top, right, bottom) of those pixels
    in the unmirrored image, as shares 0..1 of its width and height. mirrored: whether they were turned left to right.
    """

    pixels: Grey
    box: tuple[float, float, float, float]
    mirrored: bool

    def resized(self, size: int) -> NDArray[np.uint8]:
        """(size, size, 3) uint8, squeezed bicubically, the grey value in all three channels."""
        grey = Image.fromarray(self.pixels).resize((size, size), Image.Resampling.BICUBIC)
        return np.repeat(np.asarray(grey)[..., None], 3, axis=2)


def squeezed(image: NDArray[np.uint8]) -> Grey:
    """(H, W) or (H, W, 3) uint8 to grey (SIDE, SIDE): ITU-R 601 luma, bicubic with antialiasing, aspect not kept."""
    grey = Image.fromarray(image).convert("L")
    if grey.size != (SIDE, SIDE):
        grey = grey.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.asarray(grey)


def find_breast(grey: Grey) -> tuple[Mask, bool]:
    """Where the breast is in a `squeezed` image, (SIDE, SIDE) bool, and whether the chest wall is at its left."""
    smooth = cv2.medianBlur(grey, 5)
    field = _field(grey)
    rows, columns = np.flatnonzero(field.any(1)), np.flatnonzero(field.any(0))
    inside = smooth[rows][:, columns]
    third, fifth = inside.shape[1] // 3, inside.shape[1] // 5
    chest_left = bool(inside[:, :third].mean() >= inside[:, -third:].mean())
    if not chest_left:
        inside = inside[:, ::-1]
    far = inside[:, -fifth:]
    # Rectangles over a name are black on a grey background; where more is black, black is the background.
    level = float(np.percentile(far[far > BLACK], 40)) if (far <= BLACK).mean() < BLACK_SHARE else 0.0
    chest = float(np.percentile(inside[:, :fifth], 90))
    seen = ((smooth > level + max(STEP, SHARE * (chest - level))) & field).astype(np.uint8)
    opened = cv2.morphologyEx(seen, cv2.MORPH_OPEN, _disc(OPENING), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    count, parts, statistics, _ = cv2.connectedComponentsWithStats(opened, connectivity=4)
    if count < 2 or statistics[1:, cv2.CC_STAT_AREA].max() < SMALLEST * grey.size:
        return field, chest_left
    largest = 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax())
    # The opening has rounded the outline: it grows back a little, but only where the image is bright enough.
    kept = cv2.dilate((parts == largest).astype(np.uint8), _disc(REGROWTH)) * seen
    outlines, _ = cv2.findContours(kept, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(kept)
    cv2.drawContours(filled, [max(outlines, key=cv2.contourArea)], -1, 1, cv2.FILLED)
    breast = filled.astype(bool)
    wide = np.flatnonzero((widths := breast.sum(1)) >= NARROW * widths.max())
    breast[: wide[0]] = breast[wide[-1] + 1 :] = False
    return breast, chest_left


def crop_breast(image: NDArray[np.uint8]) -> Breast:
    """The breast of a mammogram (H, W) or (H, W, 3) uint8 of any size."""
    grey = squeezed(image)
    mask, chest_left = find_breast(grey)
    # Not at the skin, where breast and background blend.
    inner = cv2.erode(mask.astype(np.uint8), _disc(REGROWTH)).astype(bool)
    dark, bright = np.percentile(grey[inner if inner.any() else mask], [DARK, BRIGHT])
    scaled = np.clip((grey - dark) / max(bright - dark, 1.0), 0, 1) * 255
    clean = np.where(mask, np.round(scaled), 0).astype(np.uint8)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    cropped = clean[top:bottom, left:right]
    return Breast(
        pixels=np.ascontiguousarray(cropped if chest_left else cropped[:, ::-1]),
        box=(float(left / SIDE), float(top / SIDE), float(right / SIDE), float(bottom / SIDE)),
        mirrored=not chest_left,
    )


def _field(grey: Grey) -> Mask:
    """The image without its margin, the film's edge, and rows that hold nothing."""
    top, left = (_white_lines(lines) for lines in (grey, grey.T))
    bottom, right = (SIDE - _white_lines(lines) for lines in (grey[::-1], grey.T[::-1]))
    field = np.zeros(grey.shape, dtype=bool)
    field[top:bottom, left:right] = True
    empty = np.ptp(grey[:, left:right].astype(np.int16), axis=1) <= 2
    without = field & ~cv2.dilate(empty.astype(np.uint8)[:, None], np.ones((5, 1), np.uint8)).astype(bool)
    return without if without.any() else field


def _white_lines(lines: Grey) -> int:
    """How many of the first lines are the film's edge, at least `MARGIN`."""
    white = np.flatnonzero((lines[:FRAME] >= WHITE).mean(axis=1) > WHITE_SHARE)
    return max(MARGIN, int(white[-1]) + 2) if white.size else MARGIN  # one line more: the edge is blurred


def _disc(radius: int) -> Grey:
    disc: Grey = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)).astype(np.uint8)
    return disc
