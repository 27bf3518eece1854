"""Calibrated probabilities and prediction sets, as a model card describes them: arithmetic on logits, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

DEFAULT_ALPHA = 0.10  # of the set that decides whether the answer is "not sure", where a card names no other
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
    probability reaches `thresholds[alpha]` of that class: 0 means that it is in every set. `laboratories` holds the
    thresholds for images of laboratories that the model knows, and `thresholds` are then those for all others; it is
    None for weights of one source, which tell no laboratories apart. `decides` is the alpha of the set that gives the
    verdict. `bias` and thresholds are in the order of `classes`.
    """

    classes: tuple[str, ...]
    temperature: float
    bias: tuple[float, ...]
    thresholds: Mapping[float, tuple[float, ...]]
    laboratories: Mapping[str, Mapping[float, tuple[float, ...]]] | None = None
    decides: float = DEFAULT_ALPHA

    @classmethod
    def of_card(cls, fields: Mapping[str, Any]) -> Calibration | None:
        """The calibration of a card's fields, None if it has none; ValueError if it is not about the card's classes."""
        if "calibration" not in fields:
            return None
        given, classes = fields["calibration"], tuple(fields["classes"])
        decides = float(given.get("decides", DEFAULT_ALPHA))

        def ordered(part: Mapping[str, Any]) -> tuple[float, ...]:
            if set(part) != set(classes):
                raise ValueError(f"calibration names the classes {', '.join(sorted(part))}")
            return tuple(float(part[name]) for name in classes)

        known = given.get("laboratories")

        def by_alpha(part: Mapping[str, Any]) -> dict[float, tuple[float, ...]]:
            if f"{decides:.2f}" not in part:
                raise ValueError(f"calibration has no thresholds for the alpha that decides, {decides:.2f}")
            return {float(alpha): ordered(of_class) for alpha, of_class in part.items()}

        return cls(
            classes,
            float(given["temperature"]),
            ordered(given["bias"]),
            by_alpha(given["thresholds"]),
            None if known is None else {name: by_alpha(part) for name, part in known.items()},
            decides,
        )

    def probabilities(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrated probabilities (..., classes) of logits (..., classes)."""
        return softmax(logits / self.temperature + np.array(self.bias))

    def holds_for(self, laboratory: str | None) -> bool:
        """Whether the probabilities are calibrated on this laboratory; weights of one source tell none apart."""
        return self.laboratories is None or laboratory in self.laboratories

    def limits_for(self, laboratory: str | None) -> Mapping[float, tuple[float, ...]]:
        """The thresholds by alpha of this laboratory if it is known, else those for laboratories that are not."""
        return self.thresholds if laboratory is None else (self.laboratories or {}).get(laboratory, self.thresholds)

    def set_of(
        self, probabilities: NDArray[np.float64], alpha: float | None = None, laboratory: str | None = None
    ) -> PredictionSet:
        """The set of one image's calibrated probabilities (classes,) at `alpha` (None: the one that decides), by the
        thresholds of this laboratory if it is known, else by those for laboratories that are not.

        An image in which no class reaches its threshold is unlike those of every class: that is "not sure" too, all
        classes, which can only raise the coverage. Raises KeyError for an alpha that the card has no thresholds for.
        """
        alpha = self.decides if alpha is None else alpha
        limits = self.limits_for(laboratory)[alpha]
        left = tuple(name for name, p, t in zip(self.classes, probabilities, limits, strict=True) if p >= t)
        return PredictionSet(alpha, left or self.classes)

    def answered_from(self, label: str, laboratory: str | None = None) -> float | None:
        """The probability from which `label` is the answer, by the set that decides: it is in the set and the other of
        two classes is not, to a rounding. None where no probability makes it the answer, or for more than two classes.
        """
        limits = dict(zip(self.classes, self.limits_for(laboratory)[self.decides], strict=True))
        own = limits.pop(label)
        if len(limits) != 1:
            return None
        (other,) = limits.values()
        return max(own, 1 - other) if other > 0 and own <= 1 else None


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Softmax over the last axis, float64."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    answer: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return answer
