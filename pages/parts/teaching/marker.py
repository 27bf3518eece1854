"""An image on which its reader points at a place or draws around it, in the browser."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dala.teaching.reading import Mark, mark_from
from pages.parts.component import component, component_key


@dataclass(frozen=True)
class Shown:
    """A mark that is only shown: its outlines in shares 0..1 of the image, a CSS colour, and the dashes of the line
    in pixels."""

    outlines: tuple[Mark, ...]
    colour: str
    dash: tuple[int, ...] = ()


def mark(
    key: str,
    identity: str,
    png: bytes,
    size: tuple[int, int],
    title: str,
    shown: Sequence[Shown] = (),
    legend: str | None = None,
) -> Mark:
    """Show the image (width, height) and return what has been marked on it, in shares 0..1.

    identity: what tells this image from others; a new one starts without a mark. title: what a screen reader is told.
    legend: given, nothing can be marked any more, and this sentence stands below the image.
    """
    width, height = size
    state = component("marker")(
        key=component_key(key),
        data={
            "id": identity,
            "image": "data:image/png;base64," + base64.b64encode(png).decode(),
            "width": width,
            "height": height,
            "title": title,
            "marks": [asdict(one) for one in shown],
            "locked": legend is not None,
            "legend": legend or "",
        },
        on_mark_change=lambda: None,
    )
    told = state.get("mark")
    if not isinstance(told, dict) or told.get("id") != identity:
        return ()
    return mark_from(told.get("points"))


def outlines_of(mask: NDArray[np.bool_]) -> tuple[Mark, ...]:
    """The borders of an area (H, W) bool, in shares 0..1 of its width and height."""
    height, width = mask.shape
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    return tuple(
        tuple(((float(x) + 0.5) / width, (float(y) + 0.5) / height) for x, y in contour[:, 0]) for contour in found
    )
