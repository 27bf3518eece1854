"""What else may be asked about an opinion: does the model need what is marked, and would it mark it again?

Both run the network many more times than the opinion did, and are asked for only when a person wants to know.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from dala.errors import DataError
from dala.explanation import stability
from dala.explanation.effect import Baseline, EffectCurve, effect_curve
from dala.explanation.gradcam import SignedMap, margins, stitch
from dala.opinion import Opinion, map_of_fields
from dala.preprocess.physical import FINE
from dala.preprocess.views import Views, network_input
from dala.runtime.predict import probabilities_of

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class AugmentedMap:
    """The map towards one target under test-time augmentation: eight symmetries, four half-stride shifts.

    `mean` is the finer map; `spread` (h, w) float32 its standard deviation over the symmetries, in the
    same raw units; `unstable` (h, w) bool marks cells whose sign is not shared by seven of the eight.
    """

    mean: SignedMap
    spread: NDArray[np.float32]
    unstable: NDArray[np.bool_]

    @property
    def agreement(self) -> float:
        """Share of the cells with positive evidence that are not unstable, 0..1; 0 if there are none."""
        positive = self.mean.values > 0
        return float((positive & ~self.unstable).sum() / positive.sum()) if positive.any() else 0.0


def with_augmented_maps(opinion: Opinion, maps: dict[str, AugmentedMap]) -> Opinion:
    """The same opinion with its maps replaced by those that `augmented_maps` made of it."""
    return replace(opinion, maps={name: one.mean for name, one in maps.items()}, augmented=True)


def effect(opinion: Opinion, target: str, baseline: Baseline, progress: Progress | None = None) -> EffectCurve:
    """The probability of `target` with only the marked part shown, and with only it removed, over thresholds.

    The verdict that a part has to keep is that of the page: the classes of the default prediction set, or the most
    probable class where the weights are not calibrated. Raises DataError for a map without positive evidence.
    """
    model, patch, prediction = opinion.model, opinion.patch, opinion.prediction
    height, width = opinion.image.shape[:2]
    views = prediction.views
    high, wide = views.for_network.shape[1:3]
    counted = np.ones(len(views.places), bool)
    counted[[field.number for field in prediction.fields if field.blank]] = False

    def to_views(mask: NDArray[np.float32]) -> NDArray[np.float32]:
        cut = []
        for view in views.places:
            left, right = (round(x * width / patch.width) for x in view.box[::2])
            top, bottom = (round(y * height / patch.height) for y in view.box[1::2])
            part = mask[top : max(bottom, top + 1), left : max(right, left + 1)]
            seen = cv2.resize(part, (wide, high), interpolation=cv2.INTER_AREA)
            cut.append(seen[:, ::-1] if view.mirrored else seen)
        return np.stack(cut).astype(np.float32)

    def verdict(probabilities: NDArray[np.float64]) -> object:
        if prediction.calibration is None:
            return int(probabilities.argmax())
        return prediction.calibration.set_of(probabilities, laboratory=opinion.gate.laboratory).classes

    return effect_curve(
        views.for_network,
        opinion.maps[target].upsampled(height, width),
        to_views,
        lambda images: probabilities_of(images, model, counted),
        prediction.probabilities,
        verdict,
        target,
        prediction.classes.index(target),
        baseline,
        progress,
    )


def augmented_maps(opinion: Opinion, progress: Progress | None = None) -> dict[str, AugmentedMap]:
    """The map towards every class under test-time augmentation, at twice the resolution of the opinion's own each way.

    Raises DataError for a model whose images have an up and a down: a film turned upside down is no film.
    """
    model, prediction = opinion.model, opinion.prediction
    if model.card.input.preprocess == "mammogram":
        raise DataError("A mammogram has a top and a bottom, so its map cannot be averaged over rotated images.")
    views, targets = prediction.views.for_network, margins(len(prediction.classes))
    found = []
    for number, view in enumerate(views):

        def moved(done: int, total: int, number: int = number) -> None:
            if progress is not None:
                progress(number * total + done, len(views) * total)

        x = network_input(view[None], model.card.input.side)
        engine = model.runs_on
        found.append(stability.augmented_maps(x, engine.trunk, engine.tail, model.net.head, targets, moved))
    answer = {}
    if prediction.views.extent is not None:
        return {
            name: _augmented_at_scale(found, prediction.views, n, name) for n, name in enumerate(prediction.classes)
        }
    for index, name in enumerate(prediction.classes):
        mean, spread, unstable = (
            stitch(np.stack([layer[index] for layer in layers]), prediction.views.grid)
            for layers in (
                [one.mean for one in found],
                [one.spread for one in found],
                [one.unstable for one in found],
            )
        )
        # An opinion's map is the mean of its views' logits taken apart: each view's share is divided by their number.
        share = len(views)
        answer[name] = AugmentedMap(
            SignedMap((mean / share).astype(np.float32), name), (spread / share).astype(np.float32), unstable
        )
    return answer


def middle_of(sides: tuple[int, ...], cells: tuple[int, ...]) -> tuple[float, float]:
    """Where the first of so many cells, `FINE` pixels apart, lies in a field if they lie in its middle: (row, column)
    in network pixels."""
    row, column = ((side - 1 - FINE * (count - 1)) / 2 for side, count in zip(sides, cells, strict=True))
    return row, column


def _augmented_at_scale(found: list[stability.AugmentedMaps], views: Views, index: int, target: str) -> AugmentedMap:
    """Maps of fields at half the pitch of a cell; the mean of the symmetries lies in the middle of a field."""
    high, wide = views.for_network.shape[1:3]
    rows, columns = found[0].mean.shape[1:]
    first = middle_of((high, wide), (rows, columns))

    def of_image(layers: list[NDArray[np.floating]]) -> SignedMap:
        return map_of_fields(np.stack(layers), views, target, first, FINE)

    mean, spread, unstable = (
        of_image([one.mean[index] for one in found]),
        of_image([one.spread[index] for one in found]).values,
        of_image([one.unstable[index].astype(np.float32) for one in found]).values > 0.5,
    )
    return AugmentedMap(mean, spread, unstable)
