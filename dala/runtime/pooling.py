"""One answer for an image of several fields: a rule that cancer in one of them survives, chosen in the card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MEAN, TOP_K, NOISY_OR = "mean", "top_k", "noisy_or"
RULES = (MEAN, TOP_K, NOISY_OR)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Pooling:
    """How the logits of fields become those of the image.

    mean      their mean
    top_k     the mean of the `k` fields that lean most to the positive class
    noisy_or  of two classes: the positive one unless every field is negative, as if they were independent; the odds are
              exp(sum of softplus(margin)) - 1 (Diez 1993)

    The more fields, the higher the most suspicious one lies by chance: `shift` times the natural logarithm of their
    number is taken off the positive class's margin.
    """

    rule: str = MEAN
    k: int = 1
    shift: float = 0.0

    @classmethod
    def of_card(cls, fields: Mapping[str, Any]) -> Pooling:
        """By a card's `input.pooling`, the mean without one; ValueError for a rule that does not fit the classes."""
        given = fields["input"].get("pooling", {})
        if given.get("rule") == NOISY_OR and len(fields["classes"]) != 2:
            raise ValueError(f"{NOISY_OR} pools two classes, not {len(fields['classes'])}")
        return cls(**given)

    def pooled(self, logits: Floats, positive: int) -> Floats:
        """Logits (classes,) of fields (N, classes); of a single field its own, whatever the rule."""
        if len(logits) == 1:
            return logits[0]
        lean = margins(logits, positive)
        if self.rule == NOISY_OR:
            spread = np.logaddexp(0, lean).sum()  # -log of the probability that no field is positive
            margin = spread + np.log(-np.expm1(-spread))
            answer = np.full(2, -margin / 2)
            answer[positive] = margin / 2
        else:
            kept = np.argsort(-lean, kind="stable")[: self.k] if self.rule == TOP_K else slice(None)
            answer = logits[kept].mean(0)
        answer[positive] -= self.shift * np.log(len(logits))
        return np.asarray(answer, np.float64)


def margins(logits: Floats, positive: int) -> Floats:
    """How far each row of logits (N, classes) leans to the positive class: its logit minus the mean of the others."""
    others = np.delete(logits, positive, axis=-1)
    return np.asarray(logits[..., positive] - others.mean(-1), np.float64)
