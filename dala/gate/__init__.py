"""May the model analyse this image? The checks of its pixels and its out-of-distribution score, in one answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dala.gate.checks import CHECKS, HISTOLOGY, MAMMOGRAM, Reason
from dala.gate.familiarity import Familiarity
from dala.gate.modality import stated_reason

UNFAMILIAR = {
    HISTOLOGY: "This image is unlike those the model learnt from: something other than H&E histology of the breast, "
    "another magnification, or an unusual preparation.",
    MAMMOGRAM: "This image is unlike the films that the model learnt from: something other than a mammogram, or a part "
    "of one.",
}
LOOKALIKE = Reason(
    "lookalike",
    "This image looks like crowded lymphocytes or like apocrine cells. The model takes both for carcinoma and cannot "
    "tell them from it.",
)


@dataclass(frozen=True)
class Gate:
    """Whether a model may analyse an image: `reason` why not, or None. `score` is the out-of-distribution score, the
    median over the views, and `p_value` the share of true patches of new patients that score at least as high; both
    are None without statistics of the training images. `laboratory` is the one that the image is taken for, None for an
    unknown one or where there are no statistics of laboratories; `laboratories` holds its distance to each."""

    reason: Reason | None
    score: float | None
    p_value: float | None
    laboratory: str | None = None
    laboratories: Mapping[str, float] = field(default_factory=dict)

    @property
    def inside(self) -> bool:
        """Whether the image is within the model's competence."""
        return self.reason is None


def assess(
    views: NDArray[np.uint8],
    pooled: NDArray[np.floating],
    modality: str,
    familiarity: Familiarity | None,
    stated: str | None = None,
) -> Gate:
    """Assess an image by its views, (N, side, side, 3) uint8, their pooled trunk features, (N, C), and its file's word.

    What a DICOM file has `stated` to be something else is outside, whatever it looks like. A view fails by a check of
    its pixels or, where there are statistics, by its score, or as tissue that the model takes for carcinoma and is
    none. An image of several views is outside if more than half of them fail; the reason is that of most of these.
    """
    reasons = [CHECKS[modality](view) for view in views]
    score = p_value = laboratory = None
    laboratories: dict[str, float] = {}
    if familiarity is not None:
        scores = familiarity.gaussian.distances(pooled)
        score = float(np.median(scores))
        p_value = familiarity.p_value(score)
        if (known := familiarity.laboratories) is not None:
            each = known.distances(pooled)
            laboratory = known.taken_for(each)
            laboratories = dict(zip(known.names, each.tolist(), strict=True))
        strange = Reason("unfamiliar", UNFAMILIAR[modality])
        reasons = [
            strange if reason is None and one > familiarity.limit else reason
            for reason, one in zip(reasons, scores, strict=True)
        ]
        if familiarity.lookalike is not None:
            like = familiarity.lookalike.recognised(pooled)
            reasons = [
                LOOKALIKE if reason is None and one else reason for reason, one in zip(reasons, like, strict=True)
            ]
    failed = [reason for reason in reasons if reason is not None]
    reason = stated_reason(stated, modality)
    if reason is None and 2 * len(failed) > len(reasons):
        names = [one.name for one in failed]
        reason = failed[names.index(max(names, key=names.count))]
    return Gate(reason, score, p_value, laboratory, laboratories)
