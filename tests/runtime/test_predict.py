"""What the network is shown, and that serving it leaves no trace."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from dala.explanation.render import encode_png
from dala.intake.image import read_image
from dala.intake.patch import Patch
from dala.opinion import evidence_maps
from dala.phantoms.tissue import PHANTOMS
from dala.phantoms.tissue import draw as phantom
from dala.preprocess.mammogram import crop_breast
from dala.preprocess.views import cut, network_input, plan_grid, preprocess
from dala.runtime.card import Card
from dala.runtime.predict import Model, load_model, predict, served
from tests.helpers.films import film as draw


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("breakhis")


CALIBRATION = {
    "temperature": 4.0,
    "bias": {"benign": 0.5, "malignant": 0.0},
    "thresholds": {"0.10": {"benign": 0.5, "malignant": 0.5}, "0.05": {"benign": 0.0, "malignant": 0.0}},
}


def with_calibration(model: Model, calibration: dict[str, Any] | None) -> Model:
    fields = {key: value for key, value in model.card.fields.items() if key != "calibration"}
    return Model(model.net, Card(fields if calibration is None else {**fields, "calibration": calibration}))


def patch_of(pixels: np.ndarray) -> Patch:
    return read_image(cv2.imencode(".png", pixels[..., ::-1])[1].tobytes(), "drawn.png")


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("width", "height", "grid"),
    [
        (700, 460, (1, 1)),
        (224, 224, (1, 1)),
        (460, 1050, (1, 1)),  # 2.28 : 1, just below the limit
        (1400, 460, (1, 2)),  # 3.04 : 1 is two frames of 1.52 : 1
        (460, 2800, (4, 1)),
        (30000, 100, (1, 12)),  # bounded
    ],
)
def test_plan(width: int, height: int, grid: tuple[int, int]) -> None:
    assert plan_grid(width, height, (700, 460)) == grid


def test_tiles_cover_the_image_once_and_match_pillow() -> None:
    pixels = noise(101, 307)
    tiles, views = cut(pixels, (1, 3), 32)
    assert [view.box for view in views] == [(0, 0, 102, 101), (102, 0, 205, 101), (205, 0, 307, 101)]
    for tile, view in zip(tiles, views, strict=True):
        expected = Image.fromarray(pixels).crop(view.box).resize((32, 32), Image.Resampling.BICUBIC)
        assert np.abs(tile.astype(int) - np.asarray(expected).astype(int)).max() <= 40
        # Pillow's box argument looks over the edge of the tile, crop does not: equal but for the rim.
        assert np.array_equal(tile[4:-4, 4:-4], np.asarray(expected)[4:-4, 4:-4])


def test_network_input_by_hand() -> None:
    # An image of one colour stays of one colour; (128 / 255 - mean) / std per channel.
    x = network_input(np.full((1, 8, 8, 3), 128, np.uint8), 16)
    assert x.shape == (1, 3, 16, 16)
    expected = [(128 / 255 - m) / s for m, s in ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))]
    np.testing.assert_allclose(x[0].mean((1, 2)), expected, rtol=1e-5)
    assert float(x.std((2, 3)).max()) < 1e-5


@pytest.mark.slow
def test_prediction_is_the_mean_logit_of_the_tiles(model: Model) -> None:
    model = with_calibration(model, None)
    pixels = noise(200, 900)
    whole = predict(patch_of(pixels), model)
    assert whole.views.grid == (1, 3)
    parts = [
        predict(patch_of(np.ascontiguousarray(pixels[:, left : left + 300])), model).logits for left in (0, 300, 600)
    ]
    np.testing.assert_allclose(
        whole.logits, np.mean(parts, 0), atol=2e-2
    )  # rims of the tiles are resampled differently
    np.testing.assert_allclose(whole.probabilities, np.exp(whole.logits) / np.exp(whole.logits).sum(), rtol=1e-12)


@pytest.mark.slow
def test_calibration_changes_probabilities_and_sets_but_no_map(model: Model) -> None:
    patch = patch_of(noise(80, 90))
    plain, calibrated = (predict(patch, with_calibration(model, given)) for given in (None, CALIBRATION))
    np.testing.assert_array_equal(plain.logits, calibrated.logits)
    margin = (calibrated.logits[1] - calibrated.logits[0]) / 4 - 0.5
    assert calibrated.probabilities[1] == pytest.approx(1 / (1 + np.exp(-margin)), abs=1e-12)
    for name, seen in evidence_maps(plain).items():
        np.testing.assert_array_equal(seen.values, evidence_maps(calibrated)[name].values)
    assert plain.sets() == ()
    large, small = calibrated.sets()
    assert (large.alpha, large.classes) == (0.10, (calibrated.label,))
    assert (small.alpha, small.classes) == (0.05, ("benign", "malignant"))


@pytest.mark.slow
def test_eight_threads_answer_as_one(model: Model) -> None:
    fields = model.card.fields
    model = replace(model, card=Card({**fields, "input": {**fields["input"], "enlarged": 160}}))  # a quarter of it
    patches = [patch_of(noise(120, 140, seed)) for seed in range(4)] * 2
    alone = [predict(patch, model) for patch in patches[:4]] * 2
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda patch: predict(patch, model), patches))
        maps = list(pool.map(lambda prediction: evidence_maps(prediction)["malignant"].values, together))
    for one, other, seen in zip(alone, together, maps, strict=True):
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-6)
        np.testing.assert_allclose(evidence_maps(one)["malignant"].values, seen, atol=1e-6)


@pytest.mark.slow
def test_serving_leaves_no_trace(model: Model) -> None:
    before = {key: value.clone() for key, value in model.net.state_dict().items()}
    modes = [module.training for module in model.net.modules()]
    for _ in range(2):
        evidence_maps(predict(patch_of(noise(64, 64)), model))
    with pytest.raises(AttributeError):
        predict(None, model)  # type: ignore[arg-type]
    assert modes == [module.training for module in model.net.modules()]
    assert all(p.grad is None and not p.requires_grad for p in model.net.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in model.net.modules())
    assert all(torch.equal(before[key], value) for key, value in model.net.state_dict().items())


def test_of_a_mammogram_the_network_sees_the_breast_and_the_gate_the_film(model: Model) -> None:
    fields = {**model.card.fields, "input": {**model.card.fields["input"], "preprocess": "mammogram"}}
    card = Card(fields)
    film, _ = draw(right=True, size=598)
    pixels = np.repeat(film[..., None], 3, axis=2)[:, :400]  # 400 wide, 598 high; the breast's right third is cut off
    found = preprocess(pixels, card.input)
    views = found.places
    breast = crop_breast(pixels)
    assert np.array_equal(found.for_network[0], breast.resized(card.input.size))
    assert np.array_equal(found.for_gate, cut(pixels, (1, 1), card.input.size)[0])
    assert (len(views), found.grid, views[0].mirrored, views[0].part) == (1, (1, 1), True, breast.box)
    left, top, right, bottom = views[0].box
    assert (left / 400, top / 598, right / 400, bottom / 598) == pytest.approx(breast.box, abs=1 / 400)


@pytest.mark.slow
def test_the_map_of_a_mirrored_breast_lies_on_the_breast_as_shown(model: Model) -> None:
    fields = {**model.card.fields, "input": {**model.card.fields["input"], "preprocess": "mammogram"}}
    mammograms = Model(model.net, Card(fields))
    film, _ = draw()
    left, right = (
        predict(patch_of(np.repeat(side[..., None], 3, axis=2)), mammograms) for side in (film, film[:, ::-1])
    )
    # The network sees the same breast, so the two maps are mirror images on the two films.
    np.testing.assert_allclose(left.logits, right.logits, rtol=1e-5)
    one, other = (evidence_maps(prediction)["malignant"].upsampled(299, 299) for prediction in (left, right))
    np.testing.assert_allclose(one, other[:, ::-1], atol=1e-5 * np.abs(one).max())
    assert not one[:, 180:].any()  # where there is no breast there is no evidence
    assert one[100:200, 20:150].any()


@pytest.mark.slow
def test_what_is_served_holds_no_second_copy_of_what_another_engine_runs() -> None:
    patch = read_image(encode_png(phantom(PHANTOMS[2]).pixels))
    lean, torch_alone = served("breakhis", "openvino-f32"), served("breakhis", "torch")
    assert all(one.is_meta for part in (lean.net.trunk, lean.net.tail) for one in part.parameters())
    assert not any(one.is_meta for one in [*lean.net.head.parameters(), *torch_alone.net.parameters()])
    assert not any(one.requires_grad for one in lean.net.parameters())
    assert (
        predict(patch, lean).logits.tolist() == predict(patch, replace(torch_alone, engine=lean.engine)).logits.tolist()
    )
