"""The head starts as exactly the linear function that scikit-learn fits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from dala.nets.dala_resnet50 import DualActivatedHead
from dala.training import head as head_start
from dala.training.head import logistic_regression, ridge_regression, write_into_head


@pytest.mark.parametrize("classes", [2, 4])
def test_head_equals_scikit_learn(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    labels = np.arange(120) % classes
    x = draw.normal(labels[:, None] * 0.5, 1.0, (120, 64)).clip(0)
    weights = draw.uniform(0.5, 2, 120)
    scaler = StandardScaler().fit(x)
    expected = LogisticRegression(C=0.01, max_iter=2000).fit(scaler.transform(x), labels, weights)
    head = DualActivatedHead(64, classes).eval()
    monkeypatch.setattr(head_start, "SYMMETRY_BREAKING", 0.0)
    write_into_head(head, *logistic_regression(x, labels, weights, 0.01))
    with torch.no_grad():
        logits = head(torch.tensor(x, dtype=torch.float32)[:, :, None, None])
    np.testing.assert_allclose(torch.softmax(logits, 1), expected.predict_proba(scaler.transform(x)), atol=1e-5)


def test_ridge_regression_by_hand() -> None:
    # One feature, standardised to -1, 1, -1, 1, and targets 0, 4, 0, 4: centred -2, 2, -2, 2. The slope of a ridge is
    # sum(w z t) / (sum(w z z) + alpha) = 8 / (4 + 4) = 1; with weights of 2 it is 16 / (8 + 4) = 4 / 3.
    x = np.array([[3.0], [5.0], [3.0], [5.0]])
    logits = np.array([[0.0, 0.0], [4.0, -4.0], [0.0, 0.0], [4.0, -4.0]])
    for weight, slope in ((1.0, 1.0), (2.0, 4 / 3)):
        rows, biases = ridge_regression(x, logits, np.full(4, weight), 4.0)
        np.testing.assert_allclose(rows, [[slope], [-slope]])
        np.testing.assert_allclose(biases, [2 - 4 * slope, -2 + 4 * slope])


@pytest.mark.slow
def test_the_random_rest_is_small_but_there() -> None:
    torch.manual_seed(0)
    head = DualActivatedHead(8, 2).eval()
    rows = np.array([[-1.0] + [0.0] * 7, [1.0] + [0.0] * 7])
    write_into_head(head, rows, np.array([0.5, -0.5]))
    with torch.no_grad():
        logits = head(torch.ones(1, 8, 1, 1))  # -1 + 0.5 and 1 - 0.5
    torch.testing.assert_close(logits, torch.tensor([[-0.5, 0.5]]), atol=0.05, rtol=0)
    assert not torch.equal(head.fc1.weight[0], head.fc1.weight[1])
