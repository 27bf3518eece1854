"""Weights of training rows by hand; the head learns what can be learnt, from made features."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dala.data.tissue import LABORATORY as TISSUE
from dala.nets.dala_resnet50 import STAGES, DALAResNet50
from dala.training.laboratories.fit import HeadRecipe, balanced_weights, fit_head, head_margins, mean_of, rows_of
from dala.training.laboratories.samples import NOTHING, PARTS, WIDTH, Samples
from dala.training.laboratories.validation import cross_validated, folds_of, laboratory_left_out, scores_of


def made(images: int = 30, seed: int = 0) -> Samples:
    """Two laboratories of patients with three images each, malignant where a few features are high, and extras."""
    draw = np.random.default_rng(seed)
    labels = [*np.tile(np.repeat([0, 1], 3), images // 3), *[0] * 8, *[1] * 8, *[NOTHING] * 4]
    count = len(labels)
    own = 2 * images
    features = draw.normal(0, 1, (count, WIDTH)).astype(np.float32)
    for part in PARTS.values():
        features[:, part.start : part.start + 60] += 2.0 * (np.array(labels) == 1)[:, None]
    laboratories = ["A"] * images + ["B"] * images + [TISSUE] * 16 + ["nothing"] * 4
    return Samples(
        features=np.abs(features),
        colours=draw.normal(0, 1, (count, 6)).astype(np.float32),
        names=np.array([str(k) for k in range(count)]),
        labels=np.array(labels),
        groups=np.array([f"{laboratories[k]}{k // 3}" for k in range(own)] + ["tile"] * 16 + ["glass"] * 4),
        laboratories=np.array(laboratories),
        extra=np.arange(count) >= own,
    )


def test_laboratories_classes_and_patients_weigh_the_same() -> None:
    labels = np.array([0, 0, 0, 1, 0, 1])
    groups = np.array(["p", "p", "q", "r", "s", "t"])
    laboratories = np.array(["A", "A", "A", "A", "B", "B"])
    weights = balanced_weights(labels, groups, laboratories, {"B": 0.5})
    # In A: p and q share the benign half, p's two images share its quarter. B weighs half as much.
    np.testing.assert_allclose(weights / weights.sum(), np.array([1 / 4, 1 / 4, 1 / 2, 1, 1 / 2, 1 / 2]) / 3)
    assert weights.mean() == pytest.approx(1)


def test_what_shows_nothing_stands_there_as_either_class() -> None:
    samples, recipe = made(), HeadRecipe(nothing=0.2)
    rows = rows_of(samples, np.arange(60), recipe)
    assert len(rows.labels) == 60 + 16 + 2 * 4
    np.testing.assert_array_equal(rows.labels[-8:], [0] * 4 + [1] * 4)
    assert rows.weights[-8:].sum() == pytest.approx(0.2 * rows.weights[:-8].sum())


@pytest.mark.slow
def test_the_head_is_the_mean_of_its_stages_by_their_shares() -> None:
    samples, recipe = made(), HeadRecipe(shares=(0.5, 0.3, 0.2))
    rows = rows_of(samples, np.arange(60), recipe)
    torch.manual_seed(0)
    net = DALAResNet50(stages=STAGES)
    before = {name: value.clone() for name, value in net.trunk.state_dict().items()}
    parts = fit_head(net.head, rows, recipe)
    whole = mean_of(parts, recipe).margins(samples.features)
    by_hand = sum(
        share * part.margins(samples.features) for share, part in zip(recipe.shares, parts.values(), strict=True)
    )
    np.testing.assert_allclose(whole, by_hand, atol=1e-6)
    margins = head_margins(net.head, samples.features)
    assert np.abs(margins - whole).max() < 0.05 * whole.std()  # a hundredth of the random start stays
    assert ((margins[:60] > 0) == (samples.labels[:60] == 1)).mean() > 0.95
    for name, value in net.trunk.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    # On means the head is the network itself: on constant maps of all stages.
    maps = torch.from_numpy(samples.features[:4])[:, :, None, None].expand(-1, -1, 3, 2)
    with torch.no_grad():
        logits = net.head(maps).double().numpy()
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], margins[:4], atol=1e-4)
    assert not net.head.training and not any(parameter.requires_grad for parameter in net.head.parameters())


def test_patients_and_laboratories_stay_apart() -> None:
    samples = made()
    for training, test in folds_of(samples, 5, 0):
        assert not set(samples.groups[training]) & set(samples.groups[test])
        assert set(samples.laboratories[test]) == {"A", "B"}
        assert not samples.extra[training].any()
    tested = np.concatenate([test for _, test in folds_of(samples, 5, 0)])
    np.testing.assert_array_equal(np.sort(tested), np.arange(60))


@pytest.mark.slow
def test_a_difference_that_both_laboratories_have_is_found_in_the_one_left_out() -> None:
    samples, seen = made(), []

    def make(seed: int) -> DALAResNet50:
        torch.manual_seed(seed)
        return DALAResNet50(stages=STAGES)

    left_out = laboratory_left_out(samples, make, HeadRecipe(), seen.append)
    assert seen == ["without A", "without B"]
    grouped = cross_validated(samples, make, HeadRecipe(), 3, 1, seen.append)
    for held_out in (left_out, grouped):
        table = scores_of(samples, held_out, ["dala_resnet50", "colour_only"])
        for laboratory in "AB":
            assert (table[laboratory]["images"], table[laboratory]["groups"]) == (30, 10)
            assert table[laboratory]["scores"]["dala_resnet50"]["auc"]["value"] > 0.9
            assert 0.2 < table[laboratory]["scores"]["colour_only"]["auc"]["value"] < 0.8  # colours are drawn at random
