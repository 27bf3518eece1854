"""An image at the physical scale at which a network sees: isotropic, whole or in fields of view of equal size."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from dala.errors import TooLarge
from dala.preprocess.fields import overlapping
from dala.preprocess.scale import Scale
from dala.preprocess.views import Input, View, Views

MOST_FIELDS = 48  # of one image; each costs a pass of the network and its activations are kept for the maps
FINE = 16  # network pixels between two cells of layer3
CELL = 32  # network pixels between two cells of the last layer: fields begin at cells, so that their maps fit together


def views_at_scale(pixels: np.ndarray, scale: Scale, asked: Input) -> Views:
    """The views of an (H, W, 3) uint8 image of this scale, resampled bicubically (antialiased) to `asked.um_per_pixel`.

    What is larger than about one and a half fields in a direction is seen in fields that overlap, lying as the image
    does, broad or upright. Raises TooLarge for more than `MOST_FIELDS`: cancer may be in one that were left out.
    """
    um = asked.um_per_pixel
    assert um is not None
    height, width = pixels.shape[:2]
    high, wide = (max(1, round(n * d / um)) for n, d in zip((height, width), scale.um_per_pixel, strict=True))
    long, short = (round(side / um) for side in asked.field_um)
    columns, rows = (
        overlapping(side, field, CELL)
        for side, field in zip((wide, high), (long, short) if wide >= high else (short, long), strict=True)
    )
    count = len(rows) * len(columns)
    if count > MOST_FIELDS:
        raise TooLarge(
            f"At {'' if scale.known else 'an assumed '}{scale.in_words} the image shows {um * wide / 1000:.1f} x "
            f"{um * high / 1000:.1f} mm, {count} fields of view; at most {MOST_FIELDS} are analysed as one image: "
            f"{'' if scale.known else 'say how large a pixel is, '}open it as a slide, or cut out the part in question."
        )
    image = Image.fromarray(pixels)
    seen = np.asarray(image.resize((wide, high), Image.Resampling.BICUBIC))
    places, network, gate = [], [], []
    for top, bottom in rows:
        for left, right in columns:
            box = (left * width / wide, top * height / high, right * width / wide, bottom * height / high)
            outward = (math.floor(box[0]), math.floor(box[1]), math.ceil(box[2] - 1e-6), math.ceil(box[3] - 1e-6))
            places.append(View(outward, seen=(left, top, right, bottom)))
            network.append(seen[top:bottom, left:right])
            # Never larger than the network sees it: enlarged, a sharp image would look out of focus.
            side = min(asked.size, max(right - left, bottom - top))
            small = image.resize((side, side), Image.Resampling.BICUBIC, box=outward)
            gate.append(np.asarray(small))
    return Views(np.stack(gate), np.stack(network), tuple(places), (len(rows), len(columns)), (high, wide))
