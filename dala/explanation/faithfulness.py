"""Deletion and insertion: does the probability follow the map when tissue is removed in the map's own order?

Petsiuk, Das and Saenko, RISE, BMVC 2018. Deletion removes the strongest cells first: the faster the probability
falls, the smaller the area under its curve. Insertion puts the strongest cells first onto a baseline: the faster it
rises, the larger the area. Neither number means anything alone, because a baseline moves the probability too, so both
are given beside those of a random order and of the inverted map.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dala.explanation.effect import Baseline, Pixels, Predictor, baseline_of, blended, predictions

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ordered:
    """Probability of the target over the share of cells removed (`deletion`) or put back (`insertion`), (K + 1,).

    `shares` (K + 1,) runs from 0 to 1. The areas under the curves lie in 0..1.
    """

    shares: Floats
    deletion: Floats
    insertion: Floats

    @property
    def deletion_area(self) -> float:
        return float(np.trapezoid(self.deletion, self.shares))

    @property
    def insertion_area(self) -> float:
        return float(np.trapezoid(self.insertion, self.shares))


def strongest_first(values: NDArray[np.float32], seed: int) -> NDArray[np.intp]:
    """Flat indices of a raw signed map (h, w), descending; equal values in an order drawn by the seed."""
    flat = values.ravel()
    lots = np.random.default_rng(seed).permutation(flat.size)
    return np.asarray(lots[np.argsort(-flat[lots], kind="stable")], dtype=np.intp)


def random_map(shape: tuple[int, int], seed: int) -> NDArray[np.float32]:
    """A map without any meaning: what an order has to beat."""
    return np.random.default_rng(seed).permutation(shape[0] * shape[1]).reshape(shape).astype(np.float32)


def ordered_curves(
    view: Pixels,
    values: NDArray[np.float32],
    predict: Predictor,
    class_index: int,
    baseline: Baseline = "blurred",
    steps: int = 10,
    seed: int = 0,
) -> Ordered:
    """Deletion and insertion in the order of a map, in `steps` equal steps: 2 x steps images.

    view: (h, w, 3) uint8, one view. values: the raw signed map (h, w) of that view; a cell of it is the square of the
    image that it covers. The two ends are the image and its baseline, which both curves share.
    """
    (height, width), cells = view.shape[:2], values.size
    order = strongest_first(values, seed)
    views = view[None]
    instead = baseline_of(views, baseline)
    counts = np.rint(np.linspace(0, cells, steps + 1)).astype(int)

    def mask(count: int) -> NDArray[np.float32]:
        taken = np.zeros(cells, dtype=np.float32)
        taken[order[:count]] = 1
        return np.asarray(
            cv2.resize(taken.reshape(values.shape), (width, height), interpolation=cv2.INTER_NEAREST), dtype=np.float32
        )[None]

    middle = counts[1:-1]
    images = (
        [views, instead]
        + [blended(instead, views, mask(count)) for count in middle]
        + [blended(views, instead, mask(count)) for count in middle]
    )
    p = predictions(iter(images), len(images), predict)[:, class_index]
    whole, nothing, deletion, insertion = p[:1], p[1:2], p[2 : 2 + len(middle)], p[2 + len(middle) :]
    return Ordered(
        counts / cells,
        np.concatenate([whole, deletion, nothing]),
        np.concatenate([nothing, insertion, whole]),
    )
