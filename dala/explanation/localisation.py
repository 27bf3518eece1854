"""Does a map lie where a pathologist has drawn a lesion? Three scores of a signed map against a mask.

A map says what moved a model. That it also lies on the lesion is a hope to be measured, never a definition.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

Mask = NDArray[np.bool_]


def _check(field: NDArray[np.float32], mask: Mask) -> None:
    if field.shape != mask.shape:
        raise ValueError(f"A field of {field.shape} does not fit a mask of {mask.shape}.")
    if mask.all() or not mask.any():
        raise ValueError("A mask that is empty or full says nothing of where a map lies.")


def pointing_game(field: NDArray[np.float32], mask: Mask) -> float:
    """Whether the strongest pixel lies in the mask (Zhang et al., IJCV 2018, without tolerance): 1 or 0.

    Where several pixels share the maximum, the share of them that lies in the mask.
    """
    _check(field, mask)
    return float(mask[field == field.max()].mean())


def area_under_precision_recall(field: NDArray[np.float32], mask: Mask) -> float:
    """Average precision of the field's values as scores for the pixels of the mask, 0..1.

    A map without meaning has the mask's own share of the image, so that share belongs beside it.
    """
    _check(field, mask)
    return float(average_precision_score(mask.ravel(), field.ravel()))


def overlap(kept: Mask, mask: Mask) -> float:
    """Intersection over union of what a threshold keeps and the mask, 0..1; 0 if nothing is kept."""
    if kept.shape != mask.shape:
        raise ValueError(f"What is kept, {kept.shape}, does not fit a mask of {mask.shape}.")
    union = np.count_nonzero(kept | mask)
    return 0.0 if not union else np.count_nonzero(kept & mask) / union
