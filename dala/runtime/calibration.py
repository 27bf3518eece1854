"""Calibrated probabilities and prediction sets, as a model card describes them: arithmetic on logits, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

DEFAULT_ALPHA = 0.10  # the set that decides whether the answer is "not sure"
NOT_CALIBRATED = "Probabilities are not calibrated."  # a limit in the card of weights without a calibration


@dataclass(frozen=True)
class PredictionSet:
    """The classes that are left at error level `alpha`, in the card's order; never empty.

    More than one class is the answer "not sure".
    """

    alpha: float
    classes: tuple[str, ...]

    @property
    def not_sure(self) -> bool:
        return len(self.classes) > 1


@dataclass(frozen=True)
class Calibration:
    """What turns logits into calibrated probabilities and sets.

    Probabilities are softmax(logits / temperature + bias). At error level alpha a class is in the set if its calibrated
    probability reaches `thresholds[alpha]` of that class: 0 means that it is in every set. `bias` and thresholds are in
    the order of `classes`.
    """

    classes: tuple[str, ...]
    temperature: float
    bias: tuple[float, ...]
    thresholds: Mapping[float, tuple[float, ...]]

    @classmethod
    def of_card(cls, fields: Mapping[str, Any]) -> Calibration | None:
        """The calibration of a card's fields, None if it has none; ValueError if it is not about the card's classes."""
        if "calibration" not in fields:
            return None
        given, classes = fields["calibration"], tuple(fields["classes"])
        for part in (given["bias"], *given["thresholds"].values()):
            if set(part) != set(classes):
                raise ValueError(f"calibration names the classes {', '.join(sorted(part))}")
        if f"{DEFAULT_ALPHA:.2f}" not in given["thresholds"]:
            raise ValueError(f"calibration has no thresholds for the default alpha, {DEFAULT_ALPHA:.2f}")
        return cls(
            classes,
            float(given["temperature"]),
            tuple(float(given["bias"][name]) for name in classes),
            {
                float(alpha): tuple(float(of_class[name]) for name in classes)
                for alpha, of_class in given["thresholds"].items()
            },
        )

    def probabilities(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrated probabilities (..., classes) of logits (..., classes)."""
        return softmax(logits / self.temperature + np.array(self.bias))

    def set_of(self, probabilities: NDArray[np.float64], alpha: float = DEFAULT_ALPHA) -> PredictionSet:
        """The set of one image's calibrated probabilities (classes,).

        An image in which no class reaches its threshold is unlike those of every class: that is "not sure" too, all
        classes, which can only raise the coverage. Raises KeyError for an alpha that the card has no thresholds for.
        """
        thresholds = self.thresholds[alpha]
        left = tuple(name for name, p, least in zip(self.classes, probabilities, thresholds, strict=True) if p >= least)
        return PredictionSet(alpha, left or self.classes)


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Softmax over the last axis, float64."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    answer: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return answer
