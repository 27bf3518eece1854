"""Does the model need what is marked? The probability with only that part shown, and with only that part removed.

A part of an image is removed by putting a baseline in its place: the same image blurred until no nucleus is left,
or white glass. Both are images that no microscope takes, so both are offered: what holds under one and not under the
other is about the baseline and not about the tissue.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from dala.errors import DataError

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]
Predictor = Callable[[Pixels], Floats]
"""Images as the network sees them, (N, V, h, w, 3) uint8 in V views, to class probabilities (N, C)."""

Baseline = Literal["blurred", "glass"]
BASELINES: tuple[Baseline, ...] = get_args(Baseline)
BLUR = (
    16  # the blur's sigma is the side, or the root of the area, divided by this: about two nuclei in a BreakHis field
)
GLASS = 243  # grey level of white glass through a microscope's camera
# Share of the positive area kept at each threshold of a curve: closer together where little is kept.
SHARES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0)
BATCH = 4  # images a call of the predictor: progress moves, and memory stays flat


@dataclass(frozen=True, eq=False)
class EffectCurve:
    """Probability of the target class over the thresholds, the highest threshold (the smallest area) first.

    `thresholds` (K,) in raw map units and `kept_area` (K,) as shares of the image, ascending in area; `shown` (K,)
    with everything else replaced by the baseline, `removed` (K,) with that part replaced. `whole` is the image as it
    is and `nothing` the baseline alone. `suggested` is the index of the smallest part that alone gives the verdict of
    the whole image, as does every larger one; None if there is none, with the `reason` as one sentence.
    """

    target: str
    baseline: Baseline
    thresholds: Floats
    kept_area: Floats
    shown: Floats
    removed: Floats
    whole: float
    nothing: float
    suggested: int | None
    reason: str | None


def effect_curve(
    views: Pixels,
    field: NDArray[np.float32],
    to_views: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    predict: Predictor,
    whole: Floats,
    verdict: Callable[[Floats], object],
    target: str,
    class_index: int,
    baseline: Baseline,
    progress: Callable[[int, int], None] | None = None,
) -> EffectCurve:
    """Predict the image at every threshold of `SHARES`: 2 K + 1 images.

    views: (V, h, w, 3) uint8, what the network sees. field: (H, W), the signed map on the image as it is shown, and
    `to_views` cuts a mask (H, W) 0..1 into what each view sees of it, (V, h, w). whole: what has been said of
    the image as it is, probabilities (C,). verdict: what is said of such probabilities, anything that compares.
    Raises DataError for an unknown baseline or a field without a positive value.
    """
    positive = np.sort(field[field > 0])[::-1]
    if not len(positive):
        raise DataError("The map holds no positive evidence for this target, so there is no part to show or to remove.")
    places = np.ceil(np.array(SHARES) * len(positive)).astype(int).clip(1) - 1
    thresholds = np.unique(positive[places])[::-1]  # equal values of the map cannot be told apart by a threshold
    kept = [field >= threshold for threshold in thresholds]
    masks = np.stack([to_views(mask.astype(np.float32)) for mask in kept])
    instead = baseline_of(views, baseline)

    def images() -> Iterator[Pixels]:
        yield instead
        for mask in masks:
            yield blended(views, instead, mask)
            yield blended(views, instead, 1 - mask)

    answers = predictions(images(), 1 + 2 * len(thresholds), predict, progress)
    nothing, shown, removed = answers[0], answers[1::2], answers[2::2]
    same = [verdict(row) == verdict(whole) for row in shown]
    suggested, reason = None, None
    if verdict(nothing) == verdict(whole):
        reason = "The baseline alone already gives this verdict, so no part of the image is needed for it."
    elif not same[-1]:
        reason = "Even all of the marked evidence, shown alone, does not give this verdict."
    else:
        suggested = len(same) - next((n for n, one in enumerate(reversed(same)) if not one), len(same))
    return EffectCurve(
        target,
        baseline,
        thresholds.astype(np.float64),
        np.array([mask.mean() for mask in kept]),
        shown[:, class_index],
        removed[:, class_index],
        float(whole[class_index]),
        float(nothing[class_index]),
        suggested,
        reason,
    )


def predictions(
    images: Iterator[Pixels], total: int, predict: Predictor, progress: Callable[[int, int], None] | None = None
) -> Floats:
    """The predictor's answers (total, C) on images that are made one after the other, a few at a time."""
    rows: list[Floats] = []
    waiting: list[Pixels] = []
    for number, image in enumerate(images, start=1):
        waiting.append(image)
        if len(waiting) == BATCH or number == total:
            rows.append(predict(np.stack(waiting)))
            waiting.clear()
            if progress is not None:
                progress(number, total)
    return np.concatenate(rows)


def baseline_of(views: Pixels, baseline: Baseline) -> Pixels:
    """What stands where tissue is removed, for views (V, h, w, 3) uint8. Raises DataError for another baseline."""
    if baseline == "glass":
        return np.full_like(views, GLASS)
    if baseline == "blurred":
        sigma = math.sqrt(views.shape[1] * views.shape[2]) / BLUR
        blurred = [cv2.GaussianBlur(view, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE) for view in views]
        return np.stack(blurred).astype(np.uint8)
    raise DataError(f"There is no baseline named {baseline!r}; choose one of {', '.join(BASELINES)}.")


def blended(views: Pixels, instead: Pixels, mask: NDArray[np.float32]) -> Pixels:
    """Views (V, h, w, 3) where the mask (V, h, w) is 1, what is `instead` of them where it is 0; uint8."""
    share = mask[..., None]
    return np.asarray(np.rint(views * share + instead * (1 - share)), dtype=np.uint8)
