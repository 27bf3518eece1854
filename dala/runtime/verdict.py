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
    `laboratory` is the one whose prediction sets were used, None for those that hold for an unknown laboratory;
    `calibrated`, whether the probabilities are calibrated on it."""

    answer: str | None
    reason: str | None = None
    laboratory: str | None = None
    calibrated: bool = True

    @property
    def not_sure(self) -> bool:
        return self.answer is None

    @property
    def has_probability(self) -> bool:
        """Whether a person may be shown a probability beside it. "Not sure" has none where it would not be calibrated:
        "not sure, 99 % benign" reads like an answer, and nothing says that it is right 99 times in 100."""
        return self.calibrated or not self.not_sure


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

    here, sound = left(prediction.probabilities), calibration is not None and calibration.holds_for(laboratory)
    if any(left(other) != here for other in prediction.rescaled):
        return Verdict(None, SCALE, laboratory, sound)
    if len(here) > 1:
        return Verdict(None, PROBABILITY, laboratory, sound)
    return Verdict(here[0], None, laboratory, sound)
