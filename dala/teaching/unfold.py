"""A Grad-CAM taken apart: feature maps, their weights, what each adds to the map, and the sum at one place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dala.explanation.gradcam import channel_weights, margins
from dala.opinion import Opinion
from dala.preprocess.views import View
from dala.runtime.predict import activations_of

STRONGEST = 8

Plane = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Channel:
    """A feature map: `activation` (h, w), not negative; `weight`, the mean gradient of the target towards it;
    `contribution` (h, w), their product, is what it adds to the map."""

    number: int
    weight: float
    activation: Plane
    contribution: Plane


@dataclass(frozen=True, eq=False)
class Unfolded:
    """How the map of one view came about.

    view, number, views: the view, which one of how many. strongest: the channels with the largest sum of
    |contribution| over all places, that sum descending. weights: (K,) of all channels. total: (h, w), the sum of all
    contributions: the view's raw signed map. few: (h, w), the sum of the strongest alone. share: of the sum of
    |contribution| over channels and places, what the strongest hold, 0..1. place: (row, column) of the cell where the
    total is largest.
    """

    target: str
    view: View
    number: int
    views: int
    strongest: tuple[Channel, ...]
    weights: Plane
    total: Plane
    few: Plane
    share: float
    place: tuple[int, int]

    @property
    def positive(self) -> Plane:
        """The total after the ReLU."""
        return np.maximum(self.total, np.float32(0))

    @property
    def likeness(self) -> float | None:
        """Pearson correlation of `few` and `total` over the places; None where either is the same everywhere."""
        few, total = self.few.ravel(), self.total.ravel()
        if not few.std() or not total.std():
            return None
        return float(np.corrcoef(few, total)[0, 1])


def unfold(opinion: Opinion, target: str, strongest: int = STRONGEST) -> Unfolded:
    """Take apart the map towards `target` in the view that holds most evidence for it.

    Its total is that view's part of `opinion.maps[target]` before anything is averaged over symmetries: Grad-CAM is a
    sum over channels, so nothing is left out and nothing is approximated.
    """
    prediction = opinion.prediction
    row = margins(len(prediction.classes))[prediction.classes.index(target)]
    # As in the opinion's map: each view's share is divided by their number where their logits are averaged.
    parts = len(prediction.views.places) if prediction.scale is None else 1
    maps = prediction.maps[prediction.classes.index(target)]
    number = int(np.maximum(maps, 0).sum((1, 2)).argmax())
    activations = activations_of(prediction.views.for_network[number], opinion.model)
    view = prediction.views.places[number]
    weight = channel_weights(opinion.model.net.head, activations[None], row[None])[0, 0] / parts
    if view.mirrored:
        activations = activations.flip(-1)
    contributions = weight[:, None, None] * activations
    sizes = contributions.abs().sum((1, 2))
    order = sizes.argsort(descending=True, stable=True)[:strongest].tolist()
    channels = tuple(
        Channel(k, float(weight[k]), activations[k].numpy().copy(), contributions[k].numpy().copy()) for k in order
    )
    total = contributions.sum(0).numpy()
    whole = float(sizes.sum())
    place = np.unravel_index(int(total.argmax()), total.shape)
    return Unfolded(
        target=target,
        view=view,
        number=number,
        views=len(prediction.views.places),
        strongest=channels,
        weights=weight.numpy().copy(),
        total=total,
        few=contributions[order].sum(0).numpy(),
        share=float(sizes[order].sum()) / whole if whole else 0.0,
        place=(int(place[0]), int(place[1])),
    )
