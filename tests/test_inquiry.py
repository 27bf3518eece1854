"""Questions to an opinion, with the shipped weights on drawn images: they must agree with the opinion itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from dala.explanation.render import encode_png
from dala.inquiry import augmented_maps, effect
from dala.opinion import Opinion, second_opinion
from dala.phantoms.tissue import draw
from dala.runtime.card import Card
from dala.runtime.predict import Model, load_model, probabilities_of


@pytest.fixture(scope="module")
def model() -> Model:
    """What it sees is enlarged to half as much a side as what the weights were trained for: a quarter of the time."""
    model = load_model("breakhis")
    fields = model.card.fields
    return replace(model, card=Card({**fields, "input": {**fields["input"], "enlarged": 160}}))


@pytest.fixture(scope="module")
def opinion(model: Model) -> Opinion:
    return second_opinion(encode_png(draw("nest_beside_ducts").pixels), model, name="drawn.png")


@pytest.fixture(scope="module")
def long_opinion(model: Model) -> Opinion:
    """Two views side by side."""
    return second_opinion(encode_png(draw("nest_beside_ducts").pixels[90:370]), model, name="long.png")


@pytest.mark.slow
def test_probabilities_of_views_are_those_of_the_opinion(opinion: Opinion, long_opinion: Opinion) -> None:
    for one in (opinion, long_opinion):
        views = one.prediction.views.for_network
        found = probabilities_of(np.stack([views, views[..., ::-1]]), one.model)
        np.testing.assert_allclose(found[0], one.prediction.probabilities, atol=1e-5)
        assert found.shape == (2, 2) and abs(found[1] - found[0]).max() > 1e-4
    assert len(long_opinion.prediction.views.places) == 2


@pytest.mark.slow
def test_effect_begins_and_ends_with_the_whole_image(opinion: Opinion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dala.explanation.effect.SHARES", (0.05, 0.3, 1.0))
    target = opinion.prediction.label
    found = effect(opinion, target, "blurred")
    index = opinion.prediction.classes.index(target)
    assert found.whole == opinion.prediction.probabilities[index]
    assert (np.diff(found.thresholds) < 0).all() and (np.diff(found.kept_area) > 0).all()
    height, width = opinion.image.shape[:2]
    assert found.kept_area[-1] == pytest.approx((opinion.maps[target].upsampled(height, width) > 0).mean(), abs=1e-6)
    assert ((found.shown >= 0) & (found.shown <= 1)).all()
    assert (found.suggested is None) == (found.reason is not None)


def test_effect_cuts_the_mask_as_the_image_is_cut(long_opinion: Opinion, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[np.ndarray] = []

    def judge(images: np.ndarray, model: Model, counted: np.ndarray) -> np.ndarray:
        asked.extend(images)
        return np.full((len(images), 2), 0.5)

    monkeypatch.setattr("dala.inquiry.probabilities_of", judge)
    target = "malignant"
    found = effect(long_opinion, target, "glass")
    height, width = long_opinion.image.shape[:2]
    kept = long_opinion.maps[target].upsampled(height, width) >= found.thresholds[-1]
    shown = asked[1 + 2 * (len(found.thresholds) - 1)]
    assert shown.shape[0] == 2
    for view, part in zip(shown, np.split(kept, [width // 2], axis=1), strict=True):
        assert (view == 243).all(-1).mean() == pytest.approx(1 - part.mean(), abs=0.03)


@pytest.mark.slow
def test_steady_maps_are_finer_and_leave_nothing_behind(long_opinion: Opinion) -> None:
    net = long_opinion.model.net
    before = {name: value.clone() for name, value in net.state_dict().items()}
    seen: list[tuple[int, int]] = []
    found = augmented_maps(long_opinion, lambda done, total: seen.append((done, total)))
    assert seen == [(n, 16) for n in range(1, 17)]
    rough, one = long_opinion.maps["malignant"].values, found["malignant"]
    assert rough.shape == (5, 10)
    assert one.mean.values.shape == one.spread.shape == one.unstable.shape == (10, 20)
    coarse = one.mean.values.reshape(5, 2, 10, 2).mean((1, 3))
    assert np.corrcoef(coarse.ravel(), rough.ravel())[0, 1] > 0.5
    # The views' cells add up to the margin, but for the head's bend: both maps speak of the same amount.
    assert one.mean.values.sum() / 4 == pytest.approx(rough.sum(), rel=0.5)
    np.testing.assert_allclose(found["benign"].mean.values, -one.mean.values, atol=1e-5 * abs(one.mean.values).max())
    np.testing.assert_array_equal(found["benign"].unstable, one.unstable)
    assert 0 < one.agreement <= 1
    assert not net.training and all(parameter.grad is None for parameter in net.parameters())
    assert not any(module._forward_hooks for module in net.modules())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_film_has_an_up_and_a_down(long_opinion: Opinion) -> None:
    fields = {
        **long_opinion.model.card.fields,
        "input": {**long_opinion.model.card.fields["input"], "preprocess": "mammogram"},
    }
    model = replace(long_opinion.model, card=replace(long_opinion.model.card, fields=fields))
    assert model.card.input.preprocess == "mammogram"
    with pytest.raises(ValueError, match="mammogram"):
        augmented_maps(replace(long_opinion, model=model))
