"""An opinion at a physical scale, from patch to map: fields, verdict, inquiry, with shipped weights made to see so."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from dala.errors import TooLarge
from dala.explanation.gradcam import margins, signed_maps
from dala.gate.checks import MAMMOGRAM
from dala.inquiry import augmented_maps, effect
from dala.intake.image import read_image
from dala.intake.patch import Patch
from dala.nets.dala_resnet50 import JoiningTail
from dala.opinion import Opinion, explain, of_field, opinion_of
from dala.preprocess.physical import views_at_scale
from dala.preprocess.scale import Scale
from dala.runtime.predict import Model, activations_of, load_model, predict, probabilities_of
from dala.runtime.verdict import Verdict
from tests.helpers.physical import at_scale, drawn

pytestmark = pytest.mark.slow

EITHER = {"0.10": {"benign": 0.5, "malignant": 0.5}}
NEVER = {"0.10": {"benign": 0.0, "malignant": 0.0}}


@pytest.fixture(scope="module")
def model() -> Model:
    return at_scale(load_model("breakhis"), EITHER, pooling={"rule": "top_k", "k": 1})


@pytest.fixture(scope="module")
def several() -> Model:
    """The served weights, whose head sees three stages at a distance of 16 px."""
    return load_model("breast", engine="torch")


@pytest.fixture(scope="module")
def single(model: Model) -> Opinion:
    return opinion_of(drawn(700, 460, 0.35, "nest_beside_ducts"), model)


@pytest.fixture(scope="module")
def small_fields(model: Model) -> Model:
    """Fields of 96 x 64 um, 192 x 128 px: what is the same at any size is quicker tried so."""
    return at_scale(model, pooling={"rule": "top_k", "k": 1}, field_um=[96, 64])


@pytest.fixture(scope="module")
def large(small_fields: Model) -> Opinion:
    """Six fields; the two at the bottom are glass."""
    pixels = drawn(330, 310, name="nest_beside_ducts").pixels.copy()
    pixels[182:] = 245
    return opinion_of(read_image(pixels, pixel_size_um=0.5), small_fields)


def test_a_field_is_seen_whole_at_its_own_size(single: Opinion) -> None:
    prediction = single.prediction
    assert prediction.scale == Scale((0.35, 0.35), "user")
    assert prediction.views.for_network.shape == (1, 322, 490, 3)
    assert prediction.maps.shape == (2, 1, 11, 16) and prediction.cell == 32
    assert len(prediction.fields) == 1 and prediction.rescaled == ()
    np.testing.assert_array_equal(prediction.fields[0].logits, prediction.logits)
    assert single.seen == (
        "The model saw the whole image, 700 x 460 px at 0.35 um per pixel (given by the user), resampled to 0.5 um per "
        "pixel: 490 x 322 px."
    )


@pytest.mark.parametrize(
    ("um", "sentence"),
    [
        (0.5, "The image is out of focus, or enlarged from too few pixels: its finest details are missing."),
        (
            1.75,
            "The magnification is too low: a pixel shows 1.75 um and the model sees 0.5 um, so the finest details are "
            "missing.",
        ),
        (None, "The image is out of focus, or enlarged from too few pixels: its finest details are missing."),
    ],
)
def test_fine_details_that_the_magnification_does_not_have_are_not_called_out_of_focus(
    model: Model, um: float | None, sentence: str
) -> None:
    pixels = np.asarray(cv2.GaussianBlur(drawn(200, 140, name="nest_beside_ducts").pixels, (0, 0), 4))
    reason = opinion_of(read_image(pixels, pixel_size_um=um), model).gate.reason
    assert reason is not None and (reason.name, reason.sentence) == ("out_of_focus", sentence)


def test_what_it_sees_is_what_the_network_alone_says(single: Opinion, model: Model) -> None:
    from dala.preprocess.views import normalised

    view = torch.from_numpy(single.prediction.views.for_network.copy()).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        logits = model.net(normalised(view)).double().numpy()
    np.testing.assert_allclose(single.prediction.logits, logits[0], atol=1e-4)


def test_a_map_is_the_networks_own(single: Opinion, model: Model) -> None:
    seen = activations_of(single.prediction.views.for_network[0], model)
    assert seen.shape == (2048, 11, 16)
    raw = signed_maps(model.net.head, seen[None], margins(2))[1, 0].numpy()
    np.testing.assert_allclose(single.maps["malignant"].values, raw, rtol=1e-5)
    field = single.maps["malignant"].upsampled(322, 490)
    # A cell lies in the middle of its receptive field: every 32 px from the first on.
    np.testing.assert_allclose(field[::32, ::32], raw, rtol=1e-4, atol=1e-5 * np.abs(raw).max())
    np.testing.assert_allclose(single.maps["benign"].values, -raw, rtol=1e-5, atol=1e-6 * np.abs(raw).max())


def test_a_cells_receptive_field_is_where_the_lattice_puts_it(several: Model) -> None:
    """The gradient of one cell with respect to the image is centred on the pixel that the lattice names."""
    x = torch.randn(1, 3, 322, 490, generator=torch.Generator().manual_seed(0), requires_grad=True)
    trunk = several.net.trunk(x)
    last = JoiningTail(OrderedDict(blocks=several.net.layer4.get_submodule("blocks")))(
        trunk
    )  # attention looks everywhere
    for part in ((0, 512), (512, 1536), (1536, 3584)):
        cell = last[0, slice(*part), 10, 16].sum()
        (gradient,) = torch.autograd.grad(cell, x, retain_graph=True)
        weight = gradient[0].abs().sum(0).numpy()
        rows, columns = np.indices(weight.shape)
        centre = (weight * rows).sum() / weight.sum(), (weight * columns).sum() / weight.sum()
        assert centre == (pytest.approx(10 * 16, abs=6), pytest.approx(16 * 16, abs=6)), part


def test_maps_of_several_stages_lie_at_half_the_distance(several: Model) -> None:
    """Two fields side by side: of cells that one field alone covers the map is that field's own, 16 px apart."""
    opinion = opinion_of(drawn(906, 322, name="nest_beside_ducts"), several)
    maps, whole = opinion.prediction.maps, opinion.maps["malignant"]
    assert opinion.prediction.cell == 16 and maps.shape[2:] == (21, 31)
    assert whole.values.shape == (21, 57)
    first, last = (place.seen for place in opinion.prediction.views.places)
    assert first is not None and last is not None
    alone = last[0] // 16  # columns that only the first field covers
    np.testing.assert_allclose(whole.values[:, :alone], maps[1, 0, :, :alone], rtol=1e-5)
    np.testing.assert_allclose(whole.values[:, 31:], maps[1, 1, :, 31 - alone : 57 - alone], rtol=1e-5)
    np.testing.assert_allclose(whole.upsampled(322, 906)[::16, ::16], whole.values, rtol=1e-4, atol=1e-7)


def test_fields_come_most_suspicious_first_and_glass_last(large: Opinion) -> None:
    prediction = large.prediction
    assert prediction.views.grid == (3, 2)
    lean = [field.logits[1] - field.logits[0] for field in prediction.fields]
    tissue = [field for field in prediction.fields if not field.blank]
    assert [field.blank for field in prediction.fields] == [False] * 4 + [True] * 2
    assert lean[:4] == sorted(lean[:4], reverse=True)
    assert {field.number for field in prediction.fields if field.blank} == {4, 5}
    # The rule of this card: the most suspicious field of tissue, whatever the glass says.
    np.testing.assert_array_equal(prediction.logits, tissue[0].logits)
    for field in prediction.fields:
        assert field.box == prediction.views.places[field.number].box
        assert field.probabilities.sum() == pytest.approx(1)
    assert "6 fields (3 x 2) of 192 x 128 px" in large.seen


def test_each_field_is_as_if_it_were_alone(large: Opinion, small_fields: Model) -> None:
    for field in large.prediction.fields[:2]:
        left, top, right, bottom = field.box
        pixels = np.ascontiguousarray(large.patch.pixels[top:bottom, left:right])
        alone = opinion_of(read_image(pixels, pixel_size_um=0.5), small_fields)
        part = of_field(large, field)
        np.testing.assert_allclose(alone.prediction.logits, field.logits, atol=1e-4)
        np.testing.assert_allclose(part.prediction.probabilities, alone.prediction.probabilities, atol=1e-5)
        np.testing.assert_array_equal(part.patch.pixels, pixels)
        seen = alone.maps["malignant"].values
        np.testing.assert_allclose(part.maps["malignant"].values, seen, atol=1e-4 * np.abs(seen).max())
        assert part.gate.reason == alone.gate.reason
        assert part.verdict == alone.verdict
        assert explain(part).field.shape == (128, 192)


def test_the_map_of_a_large_image_is_that_of_its_fields(large: Opinion) -> None:
    """Where a cell belongs to one field only, the whole map is that field's."""
    whole = large.maps["malignant"].values
    assert whole.shape == (10, 11)
    np.testing.assert_allclose(whole[:2, :5], large.prediction.maps[1, 0, :2, :5], rtol=1e-5)
    assert explain(large, "malignant").field.shape == (310, 330)


def test_the_pooled_answer_is_that_of_the_rule(large: Opinion, small_fields: Model) -> None:
    for rule in ("mean", "noisy_or"):
        other = at_scale(small_fields, pooling={"rule": rule, "shift": 0.5}, field_um=[96, 64])
        found = predict(large.patch, other)
        logits = np.stack([field.logits for field in found.fields if not field.blank])
        # The fields are summed in another order there.
        np.testing.assert_allclose(found.logits, other.card.pooling.pooled(logits, 1), rtol=1e-12)


def test_only_glass_is_outside_and_a_blank_part_is_not(large: Opinion, small_fields: Model) -> None:
    pixels = large.patch.pixels.copy()
    pixels[64:] = 245
    mostly = opinion_of(read_image(pixels, pixel_size_um=0.5), small_fields)
    assert [field.blank for field in mostly.prediction.fields] == [False] * 2 + [True] * 4
    assert mostly.gate.inside  # by its two fields of tissue; the four of glass were not asked
    glass = opinion_of(read_image(np.full((310, 330, 3), 245, np.uint8), pixel_size_um=0.5), small_fields)
    assert glass.gate.reason is not None and glass.gate.reason.name == "blank"
    assert not any(field.blank for field in glass.prediction.fields)


def test_an_unknown_scale_is_tried_at_three(model: Model) -> None:
    patch = drawn(360, 240, None)
    found = predict(patch, model)
    assert found.scale == Scale((0.35, 0.35), "assumed")
    assert len(found.rescaled) == 2
    for probabilities, um in zip(found.rescaled, (0.245, 0.49), strict=True):
        known = predict(read_image(patch.pixels, pixel_size_um=um), model)
        np.testing.assert_allclose(probabilities, known.probabilities, atol=1e-6)
        assert known.rescaled == ()


def verdict_at(opinion: Opinion, main: float, *others: float) -> Verdict:
    """The verdict where malignant has these probabilities, at the assumed scale and the others."""

    def both(p: float) -> np.ndarray:
        return np.array([1 - p, p])

    prediction = replace(opinion.prediction, probabilities=both(main), rescaled=tuple(both(p) for p in others))
    return replace(opinion, prediction=prediction).verdict


def test_verdicts_by_hand(single: Opinion, model: Model) -> None:
    # Sets of this card: a class from 0.5 on.
    assert verdict_at(single, 0.9) == Verdict("malignant")
    assert verdict_at(single, 0.1) == Verdict("benign")
    assert verdict_at(single, 0.5) == Verdict(None, "probability")
    assert verdict_at(single, 0.9, 0.6, 0.99) == Verdict("malignant")
    assert verdict_at(single, 0.9, 0.4, 0.99) == Verdict(None, "scale")
    assert verdict_at(single, 0.9, 0.9, 0.5) == Verdict(None, "scale")
    assert verdict_at(single, 0.5, 0.5, 0.5) == Verdict(None, "probability")
    named = replace(single, gate=replace(single.gate, laboratory="UCSB"))
    assert verdict_at(named, 0.9).laboratory == "UCSB"
    bare = replace(single, prediction=replace(single.prediction, calibration=None))
    assert verdict_at(bare, 0.51) == Verdict("malignant", calibrated=False)
    assert verdict_at(bare, 0.51, 0.49) == Verdict(None, "scale", calibrated=False)
    assert verdict_at(single, 0.5).not_sure and not verdict_at(single, 0.9).not_sure


def test_the_old_path_has_no_scale(single: Opinion) -> None:
    found = predict(single.patch, load_model("breakhis"))
    assert (found.scale, found.rescaled, found.views.extent) == (None, (), None)
    assert found.views.for_network.shape == (1, 224, 224, 3)


def test_too_large_an_image_is_one_sentence(model: Model) -> None:
    with pytest.raises(TooLarge, match=r"fields of view; at most 48"):
        predict(read_image(np.zeros((3000, 4000, 3), np.uint8), pixel_size_um=0.5), model)


def test_effect_on_fields(large: Opinion, small_fields: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dala.explanation.effect.SHARES", (0.1, 1.0))
    target = large.prediction.label
    seen: list[tuple[int, int]] = []
    found = effect(large, target, "glass", lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1]
    index = large.prediction.classes.index(target)
    assert found.whole == large.prediction.probabilities[index]
    # The whole image, asked the way the curve asks, gives the opinion's own answer.
    counted = np.array([True] * 4 + [False] * 2)
    again = probabilities_of(large.prediction.views.for_network[None], small_fields, counted)
    np.testing.assert_allclose(again[0], large.prediction.probabilities, atol=1e-5)


def test_a_steadier_map_is_finer_and_in_the_middle(model: Model) -> None:
    one = opinion_of(drawn(350, 230, 0.35, "nest_beside_ducts"), model)
    found = augmented_maps(one)["malignant"]
    assert one.maps["malignant"].values.shape == (6, 8)
    assert found.mean.values.shape == found.spread.shape == found.unstable.shape == (11, 16)
    rough = one.maps["malignant"].upsampled(161, 245)
    fine = found.mean.upsampled(161, 245)
    assert np.corrcoef(rough.ravel(), fine.ravel())[0, 1] > 0.5
    assert found.mean.lattice is not None
    # In the middle: as far from the left edge as from the right.
    first, pitch = found.mean.lattice.first, found.mean.lattice.pitch
    for start, step, cells in zip(first, pitch, found.mean.values.shape, strict=True):
        assert start == pytest.approx(1 - start - step * (cells - 1))


def test_a_mirrored_image_has_the_mirrored_steadier_map(single: Opinion, model: Model) -> None:
    pixels = single.patch.pixels[:140, :200]
    one, other = (
        augmented_maps(opinion_of(read_image(np.ascontiguousarray(each), pixel_size_um=0.35), model))["malignant"].mean
        for each in (pixels, pixels[:, ::-1])
    )
    np.testing.assert_allclose(one.values, other.values[:, ::-1], atol=0.02 * np.abs(one.values).max())


def test_steadier_maps_of_fields_are_those_of_each(small_fields: Model) -> None:
    pixels = np.ascontiguousarray(drawn(330, 310, name="nest_beside_ducts").pixels[:128])
    both = opinion_of(read_image(pixels, pixel_size_um=0.5), small_fields)
    assert len(both.prediction.fields) == 2
    whole = augmented_maps(both)["malignant"]
    alone = augmented_maps(of_field(both, next(one for one in both.prediction.fields if one.number == 0)))
    part = alone["malignant"].mean.values
    assert whole.mean.values.shape[0] == part.shape[0] < part.shape[1] < whole.mean.values.shape[1]
    np.testing.assert_allclose(whole.mean.values[:, :8], part[:, :8], atol=1e-4 * np.abs(part).max())


def test_a_mammogram_keeps_its_way(model: Model) -> None:
    assert load_model("mini_ddsm").card.modality == MAMMOGRAM
    patch = Patch(np.full((64, 64, 3), 90, np.uint8), "", "", "array", ())
    views = views_at_scale(patch.pixels, Scale((0.5, 0.5), "user"), model.card.input)
    assert views.for_network.shape == (1, 64, 64, 3)
