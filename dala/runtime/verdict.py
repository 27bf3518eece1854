"""The answer that is given: a class, or "not sure" and why."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dala.runtime.predict import Prediction

PROBABILITY, SCALE = "probability", "scale"


@dataclass(frozen=True)
class Verdict:
    """`answer` is a class of the model, or None for "not sure"; then the `reason` is "probability", for an image on
    which the prediction set leaves more than one class, or "scale", for one whose unknown scale decides the answer.
    `laboratory` is the one whose prediction sets were used, None for those that hold for an unknown laboratory."""

    answer: str | None
    reason: str | None = None
    laboratory: str | None = None

    @property
    def not_sure(self) -> bool:
        return self.answer is None


def verdict_of(prediction: Prediction, laboratory: str | None = None) -> Verdict:
    """The verdict on a prediction for an image that is taken for one of this `laboratory`.

    Without a calibration it is the most probable class. Where the scale is unknown an answer must be the same at all
    the scales that were tried.
    """
    calibration = prediction.calibration

    def left(probabilities: NDArray[np.float64]) -> tuple[str, ...]:
        if calibration is None:
            return (prediction.classes[int(probabilities.argmax())],)
        return calibration.set_of(probabilities, laboratory=laboratory).classes

    here = left(prediction.probabilities)
    if any(left(other) != here for other in prediction.rescaled):
        return Verdict(None, SCALE, laboratory)
    return Verdict(here[0], None, laboratory) if len(here) == 1 else Verdict(None, PROBABILITY, laboratory)
