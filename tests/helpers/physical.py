"""The shipped weights with a card that makes them see at a physical scale: any network of convolutions can."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from dala.intake.image import read_image
from dala.intake.patch import Patch
from dala.phantoms.tissue import draw
from dala.runtime.card import Card
from dala.runtime.predict import Model


def at_scale(model: Model, thresholds: dict[str, dict[str, float]] | None = None, **given: Any) -> Model:
    """The model at 0.5 um/px with fields of 245 x 161 um; `given` goes into the card's `input`, no gate's statistics.

    `thresholds` replace those of its calibration.
    """
    fields = model.card.fields
    asked = {**fields["input"], "um_per_pixel": 0.5, "field_um": [245, 161], **given}
    fields = {**fields, "input": asked}
    if thresholds is not None:
        fields["calibration"] = {**fields["calibration"], "thresholds": thresholds}
    return replace(model, card=Card(fields), familiarity=None)


def drawn(width: int, height: int, um: float | None = 0.5, name: str = "solid_sheets") -> Patch:
    """Drawn tissue of this size in pixels, tiled where it is larger than the drawing."""
    pixels = draw(name).pixels
    tiles = (-(-height // pixels.shape[0]), -(-width // pixels.shape[1]), 1)
    return read_image(np.ascontiguousarray(np.tile(pixels, tiles)[:height, :width]), pixel_size_um=um)
