"""May the model judge this image? The checks of its pixels and its out-of-distribution score, in one answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dala.gate.checks import CHECKS, Reason
from dala.gate.familiarity import Familiarity


@dataclass(frozen=True)
class Gate:
    """Whether a model may judge an image: `reason` why not, or None. `distance` is the median over the views, and
    `rarer` the share of true patches of new patients at least so far away; None without statistics of familiarity."""

    reason: Reason | None
    distance: float | None
    rarer: float | None

    @property
    def inside(self) -> bool:
        """Whether the image is within the model's competence."""
        return self.reason is None


def judge(
    views: NDArray[np.uint8], pooled: NDArray[np.floating], modality: str, familiarity: Familiarity | None
) -> Gate:
    """Judge an image by its views, (N, side, side, 3) uint8, and their pooled trunk features, (N, C).

    A view fails by a check of its pixels or, where there are statistics, by its distance. An image of several views is
    outside if more than half of them fail; the reason is that of most of these.
    """
    reasons = [CHECKS[modality](view) for view in views]
    distance = rarer = None
    if familiarity is not None:
        distances = familiarity.gaussian.distances(pooled)
        distance = float(np.median(distances))
        rarer = familiarity.rarer(distance)
        strange = Reason(
            "unfamiliar",
            f"This image is unlike those that the model learnt from: something other than {modality.split(',')[0]}, "
            "another magnification, or an unusual preparation.",
        )
        reasons = [
            strange if reason is None and far > familiarity.limit else reason
            for reason, far in zip(reasons, distances, strict=True)
        ]
    failed = [reason for reason in reasons if reason is not None]
    if 2 * len(failed) <= len(reasons):
        return Gate(None, distance, rarer)
    names = [reason.name for reason in failed]
    return Gate(failed[names.index(max(names, key=names.count))], distance, rarer)
