"""What another stain, lamp, lens or file does to an image: several perturbations at once, each with a slider."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dala.data.perturb import blur, hue, jpeg, magnified, restain, rotated, scaled
from dala.intake.patch import Patch
from dala.intake.pixel_size import FILE, PixelSize

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Slider:
    """A perturbation of a view, (H, W, 3) uint8: its range, and the `neutral` value that changes nothing.

    The view's own frame, width and height in pixels, is what a turn has to keep the shape of.
    """

    name: str
    label: str
    minimum: float
    maximum: float
    step: float
    neutral: float
    help: str
    apply: Callable[[Pixels, float, tuple[int, int]], Pixels]


SLIDERS = (
    Slider("haematoxylin", "Haematoxylin (times)", 0.3, 2.5, 0.1, 1.0, "Optical density of the blue dye, eosin kept.",
           lambda view, value, _: restain(view, np.array([value, 1.0, 1.0]))),
    Slider("eosin", "Eosin (times)", 0.3, 2.5, 0.1, 1.0, "Optical density of the pink dye, haematoxylin kept.",
           lambda view, value, _: restain(view, np.array([1.0, value, 1.0]))),
    Slider("hue", "Hue (degrees)", -45.0, 45.0, 5.0, 0.0, "All colours turned around the grey axis.",
           lambda view, value, _: hue(view, value)),
    Slider("brightness", "Brightness (times)", 0.5, 1.5, 0.05, 1.0, "Grey levels times a factor, clipped.",
           lambda view, value, _: scaled(view, value)),
    Slider("rotation", "Rotation (degrees)", -180.0, 180.0, 5.0, 0.0, "About the centre, mirrored beyond the borders.",
           rotated),
    Slider("crop", "Crop (share of the area)", 0.2, 1.0, 0.05, 1.0, "The middle of the image, enlarged.",
           lambda view, value, _: magnified(view, float(1 / np.sqrt(value)))),
    Slider("blur", "Blur (sigma, px)", 0.0, 3.0, 0.25, 0.0, "Gaussian, in pixels of what the network sees.",
           lambda view, value, _: blur(view, value)),
    Slider("jpeg", "JPEG quality", 10.0, 100.0, 5.0, 100.0, "Saved and read again at the size that the network sees; "
           "100: not at all.", lambda view, value, _: jpeg(view, round(value))),
)  # fmt: skip
"""In the order in which they are applied: the stain first, then the lamp, the frame, the lens and the file."""

NEUTRAL = {slider.name: slider.neutral for slider in SLIDERS}


def perturbed(view: Pixels, settings: dict[str, float], frame: tuple[int, int]) -> Pixels:
    """The view (H, W, 3) uint8 after every perturbation that is not neutral; what `settings` does not name is neutral.

    frame: width and height in pixels of the part of the image that was squeezed into the view.
    """
    for slider in SLIDERS:
        value = settings.get(slider.name, slider.neutral)
        if value != slider.neutral:
            view = slider.apply(view, value, frame)
    return view


def as_patch(view: Pixels, um_per_pixel: float | None = None) -> Patch:
    """A view as an image of its own: the network sees exactly these pixels, at its physical scale where it has one."""
    pixels = np.ascontiguousarray(view)
    pixels.flags.writeable = False
    size = None if um_per_pixel is None else PixelSize(um_per_pixel, um_per_pixel, FILE, "view")
    return Patch(pixels, hashlib.sha256(pixels.tobytes()).hexdigest(), "", "PNG", (), size)


def levels(slider: Slider, count: int = 11) -> list[float]:
    """About `count` values over the range of a slider, on its steps, with the neutral one among them."""
    steps = round((slider.maximum - slider.minimum) / slider.step)
    places = {round(place) for place in np.linspace(0, steps, count)}
    places.add(round((slider.neutral - slider.minimum) / slider.step))
    return [round(slider.minimum + place * slider.step, 6) for place in sorted(places)]
