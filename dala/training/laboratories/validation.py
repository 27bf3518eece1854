"""How it does on patients, and on laboratories, that it has not seen: the figures by which the recipe was chosen.

Two protocols side by side. Grouped cross-validation leaves patients out and knows their laboratory; leaving a whole
laboratory out asks what a stranger will meet. Both are of the same recipe and told by laboratory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dala.data.splits import grouped_folds
from dala.nets.dala_resnet50 import STAGES, DALAResNet50
from dala.stats.bootstrap import Interval
from dala.stats.conformal import sigmoid
from dala.stats.metrics import binary_intervals
from dala.training.head import logistic_regression
from dala.training.laboratories.fit import (
    TOLERANCE,
    HeadRecipe,
    balanced_weights,
    fit_head,
    head_margins,
    rows_of,
)
from dala.training.laboratories.samples import Floats, Indices, Samples

NETWORK, COLOUR = "dala_resnet50", "colour_only"
EXPLAINED = {
    NETWORK: "what is served: the head begun as the weighted mean of linear classifiers of layer2, layer3 and layer4",
    "layer2": "one of them alone",
    "layer3": "one of them alone",
    "layer4": "one of them alone: the linear probe of the network's last features",
    COLOUR: "logistic regression on mean and standard deviation of R, G and B",
}
COLOUR_C = 1.0

Margins = dict[str, Floats]
Make = Callable[[int], DALAResNet50]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Margins towards malignant by model, (R, N) of all samples, NaN where not tested."""

    margins: Margins

    def of(self, model: str, images: Indices) -> Floats:
        """(R, n) of these images."""
        return self.margins[model][:, images]


def tested(samples: Samples) -> Indices:
    """The images that can be tested: all that are not extra."""
    return np.flatnonzero(~samples.extra)


def folds_of(samples: Samples, folds: int, seed: int) -> list[tuple[Indices, Indices]]:
    """(training, test) images: every laboratory's patients are divided by themselves, and fold by fold put together."""
    number = np.full(len(samples.labels), -1)
    for laboratory in laboratories_of(samples):
        own = np.flatnonzero((samples.laboratories == laboratory) & ~samples.extra)
        for k, (_, test) in enumerate(grouped_folds(samples.labels[own], samples.groups[own], folds, seed)):
            number[own[test]] = k
    return [(np.flatnonzero((number >= 0) & (number != k)), np.flatnonzero(number == k)) for k in range(folds)]


def laboratories_of(samples: Samples) -> list[str]:
    """The laboratories that are tested, in the order in which they come."""
    return list(dict.fromkeys(str(name) for name in samples.laboratories[~samples.extra]))


def answers(samples: Samples, training: Indices, asked: Samples, images: Indices, make: Make, recipe: HeadRecipe,
            seed: int) -> Margins:  # fmt: skip
    """Margins (n,) by model of these images of `asked`, from fits on `training` images of `samples`."""
    head = make(seed).head
    parts = fit_head(head, rows_of(samples, training, recipe), recipe)
    x = asked.features[images]
    return {
        NETWORK: head_margins(head, x),
        **{name: one.margins(x) for name, one in parts.items()},
        COLOUR: _colour(samples, training, asked.colours[images]),
    }


def _colour(samples: Samples, training: Indices, colours: NDArray[np.float32]) -> Floats:
    weights = balanced_weights(samples.labels[training], samples.groups[training], samples.laboratories[training], {})
    x = samples.colours[training].astype(np.float64)
    rows, biases = logistic_regression(x, samples.labels[training], weights, COLOUR_C, TOLERANCE)
    logits = colours @ rows.T + biases
    answer: Floats = logits[:, 1] - logits[:, 0]
    return answer


def cross_validated(
    samples: Samples, make: Make, recipe: HeadRecipe, folds: int, repeats: int, say: Callable[[str], None] = print
) -> HeldOut:
    """Every patient left out once a repeat, of laboratories that are known."""
    margins: Margins = {}
    for repeat in range(repeats):
        for k, (training, test) in enumerate(folds_of(samples, folds, repeat)):
            found = answers(samples, training, samples, test, make, recipe, 100 * repeat + k)
            _keep(margins, found, repeat, repeats, len(samples.labels), test)
            say(f"repeat {repeat + 1} of {repeats}, fold {k + 1} of {folds}")
    return HeldOut(margins)


def laboratory_left_out(
    samples: Samples, make: Make, recipe: HeadRecipe, say: Callable[[str], None] = print
) -> HeldOut:
    """Every laboratory left out once, with all its patients."""
    margins: Margins = {}
    for laboratory in laboratories_of(samples):
        own = ~samples.extra & (samples.laboratories == laboratory)
        training, test = np.flatnonzero(~samples.extra & ~own), np.flatnonzero(own)
        found = answers(samples, training, samples, test, make, recipe, 0)
        _keep(margins, found, 0, 1, len(samples.labels), test)
        say(f"without {laboratory}")
    return HeldOut(margins)


def _keep(margins: Margins, found: Margins, repeat: int, repeats: int, count: int, test: Indices) -> None:
    for name, values in found.items():
        margins.setdefault(name, np.full((repeats, count), np.nan))[repeat, test] = values


def scores_of(samples: Samples, held_out: HeldOut, models: Iterable[str]) -> dict[str, dict[str, Any]]:
    """By laboratory the metrics of each model at the margin 0, with intervals over patients, for JSON."""
    table: dict[str, dict[str, Any]] = {}
    for laboratory in laboratories_of(samples):
        own = np.flatnonzero(~samples.extra & (samples.laboratories == laboratory))
        labels, groups = samples.labels[own], samples.groups[own]
        table[laboratory] = {
            "images": len(own),
            "groups": len(set(groups)),
            "benign": int((labels == 0).sum()),
            "malignant": int((labels == 1).sum()),
            "scores": {
                model: told(binary_intervals(labels, sigmoid(held_out.of(model, own)), groups)) for model in models
            },
        }
    return table


def told(scores: Mapping[str, Interval]) -> dict[str, Interval]:
    """Scores in four digits, for JSON."""

    def short(value: float | None) -> float | None:
        return None if value is None else round(value, 4)

    return {
        name: {"value": short(one["value"]), "low": short(one["low"]), "high": short(one["high"])}
        for name, one in scores.items()
    }


def make_network(state: Mapping[str, torch.Tensor]) -> Make:
    """What makes a network of this backbone state, its head drawn by its seed."""

    def make(seed: int) -> DALAResNet50:
        torch.manual_seed(seed)
        net = DALAResNet50(stages=STAGES)
        net.load_state_dict({**net.state_dict(), **{k: v for k, v in state.items() if not k.startswith("head.")}})
        return net

    return make


def models_of(recipe: HeadRecipe) -> Sequence[str]:
    """The models that `answers` tells of."""
    return (NETWORK, *recipe.stages, COLOUR)
