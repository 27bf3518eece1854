"""The gate of several laboratories on made features: limits by hand, lookalikes by fits without the patient."""

from __future__ import annotations

import numpy as np
import pytest

from dala.studies import gate_laboratories_fit as fit
from dala.studies.gate_laboratories_fit import Fields, Tissue
from dala.training.laboratories.samples import PARTS, WIDTH, Samples

CHANNELS = 24


@pytest.fixture(autouse=True)
def weak_penalty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one in use is for a thousand channels."""
    monkeypatch.setattr(fit, "LOOKALIKE_C", 1.0)


def fields(seed: int, of_a_laboratory: int = 20) -> Fields:
    """Three laboratories at 0, 3 and 6 on the first channel, two images of each patient; random views beside them."""
    draw = np.random.default_rng(seed)
    names = np.repeat(["A", "B", "C"], of_a_laboratory)
    pooled = draw.normal(0, 0.3, (2 * len(names), CHANNELS))
    pooled[:, 0] += np.tile(np.repeat([0.0, 3, 6], of_a_laboratory), 2)
    number = np.arange(len(names))
    groups = np.array([f"{name}/{at // 2}" for at, name in enumerate(names)])
    return Fields(
        pooled.astype(np.float32),
        np.full(2 * len(names), ""),
        np.tile(number, 2),
        np.tile(names, 2),
        np.tile(groups, 2),
        np.repeat([False, True], len(names)),
    )


def tissue(seed: int = 1) -> Tissue:
    """Lymphocytes differ from other tissue and from all laboratories on the last channel."""
    draw = np.random.default_rng(seed)
    pooled = draw.normal(0, 0.3, (40, CHANNELS))
    like = np.arange(40) < 20
    pooled[like, -1] += 3
    return Tissue(pooled.astype(np.float32), like, np.where(like, "tissue/immunecels field", "tissue/stroma field"))


def test_the_least_limit_that_lets_enough_through() -> None:
    """Of laboratories of 1 and of 4 fields each weighs half: without the 9 half passes, without the 4 seven eighths."""
    assert fit.wide_limit([np.array([9.0]), np.array([1.0, 2, 3, 4])], 0.5) == 4
    assert fit.wide_limit([np.array([9.0]), np.array([1.0, 2, 3, 4])], 0.6) == 9
    assert fit.wide_limit([np.array([0.5]), np.array([1.0, 2, 3, 4])], 0.85) == 3


def test_lookalikes_are_found_and_no_image_of_a_laboratory_is_one() -> None:
    trained, seen = fields(0), tissue()
    lookalike = fit.fit_lookalike(trained, seen)
    assert np.argmax(np.abs(lookalike.weights)) == CHANNELS - 1
    assert lookalike.recognised(tissue(2).pooled).tolist() == tissue(2).lookalike.tolist()
    found = fit.held_out(trained, seen)
    assert not found.like.any() and not found.strange_like.any()
    assert fit.statistics(trained, found, seen).lookalike is not None


def test_a_patient_who_looks_so_is_found_by_the_fit_without_him() -> None:
    """All images of one patient are moved among the lymphocytes: a fit that has seen them would let them pass more
    easily than the one that is asked."""
    trained = fields(0)
    own = trained.groups == "B/13"
    trained.pooled[own, -1] += 3
    found = fit.held_out(trained, tissue())
    assert found.fields.groups[found.like].tolist() == ["B/13", "B/13"]


def test_the_tissue_of_the_training_features() -> None:
    groups = np.array(
        ["A/1", "tissue/immunecels tile", "tissue/apocrine_change field", "tissue/tumor field", "nothing/blur"]
    )
    features = np.arange(5 * WIDTH, dtype=np.float32).reshape(5, WIDTH)
    extra = np.array([False, True, True, True, True])
    empty = np.zeros((5, 6), np.float32)
    samples = Samples(features, empty, groups, np.array([1, 0, 0, 1, -1]), groups, groups, extra)
    seen = fit.tissue_of(samples)
    assert seen.lookalike.tolist() == [True, True, False]
    np.testing.assert_array_equal(seen.pooled, features[1:4, PARTS["layer3"]])
