"""The convex start of the head: it first computes a linear classifier, exactly, and is fine-tuned from there.

Fine-tuning from a random head distorts pretrained features (Kumar et al., ICLR 2022: linear probe, then fine-tune).
With eight benign patients that costs more than it gives, so the head's layers begin as a group-balanced linear
function of the pooled features, a logistic regression or a teacher's student, written in their own activations.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from torch import nn

from dala.nets.dala_resnet50 import DualActivatedHead
from dala.nets.staged import Head, LinearHead, StagedNetwork
from dala.runtime.calibration import softmax
from dala.training.features import Floats, Indices, TrunkFeatures, apply_to_view
from dala.training.recipe import Recipe

SYMMETRY_BREAKING = 0.01  # share of the random start that stays, so that equal units do not learn the same


def start_head(
    net: StagedNetwork,
    features: TrunkFeatures,
    labels: NDArray[np.int64],
    tiles: Indices,
    weights: Floats,
    recipe: Recipe,
) -> Floats:
    """Make the head the teacher's student, or a logistic regression of its own features where there is no teacher.

    Returns the probabilities (len(tiles), classes) of the teacher, or of that regression.
    """
    pooled = nn.Sequential(net.tail, net.head.pool, net.head.flatten)
    chances = recipe.start_views
    x = np.concatenate([apply_to_view(pooled, features, name, tiles) for name in chances])
    of_views = np.concatenate([weights * chance for chance in chances.values()])
    if not recipe.teacher:
        y = np.tile(labels[tiles], len(chances))
        rows, biases = logistic_regression(x, y, of_views, recipe.logistic_c)
        write_into_head(net.head, rows, biases)
        answers: Floats = softmax((x @ rows.T + biases).reshape(len(chances), len(tiles), -1))
        return np.average(answers, axis=0, weights=list(chances.values()))
    if features.teacher is None:
        raise ValueError("The recipe has a teacher, but these features come without what it sees.")
    seen = features.teacher[tiles].astype(np.float64)
    rows, biases = logistic_regression(seen, labels[tiles], weights, recipe.logistic_c)
    taught = seen @ rows.T + biases
    write_into_head(net.head, *ridge_regression(x, np.tile(taught, (len(chances), 1)), of_views, recipe.ridge_alpha))
    return softmax(taught)


def logistic_regression(
    x: Floats, labels: NDArray[np.int64], weights: Floats, c: float, tolerance: float = 1e-4
) -> tuple[Floats, Floats]:
    """Weights (classes, features) and biases (classes,) of the centred logits, in units of the raw features.

    x: (N, features), standardised inside; weights: (N,) of the images; c and tolerance: scikit-learn's, small is strong
    and exact.
    """
    mean, deviation = x.mean(0), x.std(0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    model = LogisticRegression(C=c, max_iter=2000, tol=tolerance).fit((x - mean) / deviation, labels, weights)
    rows, biases = model.coef_, model.intercept_
    if len(rows) == 1:  # two classes share one margin
        rows, biases = np.concatenate([-rows, rows]) / 2, np.concatenate([-biases, biases]) / 2
    rows = rows / deviation
    return rows, biases - rows @ mean


def ridge_regression(x: Floats, logits: Floats, weights: Floats, alpha: float) -> tuple[Floats, Floats]:
    """Weights (classes, features) and biases (classes,) that reproduce `logits` (N, classes) from raw features.

    x: (N, features), standardised inside; weights: (N,) of the images; alpha: scikit-learn's, large is strong.
    """
    mean, deviation = x.mean(0), x.std(0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    model = Ridge(alpha=alpha).fit((x - mean) / deviation, logits, sample_weight=weights)
    rows = model.coef_ / deviation
    return rows, model.intercept_ - rows @ mean


def write_into_head(head: Head, rows: Floats, biases: Floats) -> None:
    """Make the head compute `rows @ pooled + biases`, a linear one exactly, the other up to `SYMMETRY_BREAKING`.

    A linear function m survives both activations as a pair: leaky(m) - leaky(-m) = (1 + leak) m, then
    relu(m) - relu(-m) = m. Every pair is repeated over the units that there are and averaged by the next layer, so that
    dropout disturbs it little.
    """
    if isinstance(head, LinearHead):
        with torch.no_grad():
            head.classifier.weight.copy_(torch.from_numpy(rows))
            head.classifier.bias.copy_(torch.from_numpy(biases))
        return
    if not isinstance(head, DualActivatedHead):
        raise TypeError(f"A {type(head).__name__} cannot be started from a logistic regression.")
    classes, device, leak = len(rows), head.fc1.weight.device, head.leaky.negative_slope
    first = head.fc1.out_features // (2 * classes)
    second = head.fc2.out_features // (2 * classes)
    w = torch.tensor(rows, dtype=torch.float32, device=device)
    b = torch.tensor(biases, dtype=torch.float32, device=device)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.mul_(SYMMETRY_BREAKING)
        for c in range(classes):
            plus = slice(2 * c * first, (2 * c + 1) * first)
            minus = slice((2 * c + 1) * first, (2 * c + 2) * first)
            head.fc1.weight[plus] += w[c]
            head.fc1.bias[plus] += b[c]
            head.fc1.weight[minus] -= w[c]
            head.fc1.bias[minus] -= b[c]
            share = 1 / (first * (1 + leak))
            up = slice(2 * c * second, (2 * c + 1) * second)
            down = slice((2 * c + 1) * second, (2 * c + 2) * second)
            head.fc2.weight[up, plus] += share
            head.fc2.weight[up, minus] -= share
            head.fc2.weight[down, plus] -= share
            head.fc2.weight[down, minus] += share
            head.classifier.weight[c, up] += 1 / second
            head.classifier.weight[c, down] -= 1 / second
