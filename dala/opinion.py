"""The main job: the bytes of an image become a second opinion. A reader who opens one file opens this one.

second_opinion: read_image -> preprocess, network, calibration (predict) -> assess -> signed maps. explain: threshold ->
panels, arithmetic on one small map that may be repeated as often as a slider moves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256

import cv2
import numpy as np
from numpy.typing import NDArray

from dala.errors import DataError
from dala.explanation.gradcam import Lattice, SignedMap, blended, stitch
from dala.explanation.render import DEFAULT_COLOUR_MAP, Panels, panels
from dala.explanation.threshold import Regions, threshold
from dala.gate import Gate, assess
from dala.gate.modality import recognise
from dala.intake.image import Source, read_image
from dala.intake.patch import Patch
from dala.intake.pixel_size import GivenSize
from dala.preprocess.physical import CELL
from dala.preprocess.scale import Scale
from dala.preprocess.views import Input, Views
from dala.runtime.card import SERVED
from dala.runtime.predict import Field, Model, Prediction, predict, served_model
from dala.runtime.verdict import Verdict, verdict_of

DISPLAY_SIDE = 768
COARSE = 1.4  # times the pixel that the model sees: from there on it is the magnification that leaves no fine details
NOTICE = "For research and teaching only, not for diagnosis."


@dataclass(frozen=True, eq=False)
class Opinion:
    """What the model says of one patch, and why: `maps` holds a raw signed map towards each class.

    Where the `gate` is not passed the image is outside the model's competence, and the rest means nothing.
    """

    patch: Patch
    image: np.ndarray  # the patch at display size, made once
    gate: Gate
    prediction: Prediction
    maps: dict[str, SignedMap]
    model: Model
    augmented: bool = False  # whether the maps are those of `dala.inquiry.augmented_maps`

    @property
    def verdict(self) -> Verdict:
        """The answer, or "not sure" and why; it counts where the `gate` is passed."""
        return verdict_of(self.prediction, self.gate.laboratory)

    @property
    def seen(self) -> str:
        """One sentence: what of the patch the network saw, and how it was resized."""
        patch, asked, views = self.patch, self.model.card.input, self.prediction.views
        side, (rows, columns) = asked.size, views.grid
        if (scale := self.prediction.scale) is not None:
            return _seen_at_scale(patch, scale, asked, views)
        if asked.preprocess == "mammogram":
            left, top, right, bottom = views.places[0].box
            turned = ", mirrored" if views.places[0].mirrored else ""
            return (
                f"The model saw the breast alone, {right - left} x {bottom - top} of {patch.width} x {patch.height} px,"
                f" without background, labels and exposure{turned}, squeezed to {side} x {side}."
            )
        if (patch.width, patch.height) == (side, side):
            return f"The model saw the whole image, {side} x {side} px."
        if (rows, columns) == (1, 1):
            return f"The model saw the whole image, {patch.width} x {patch.height} px, squeezed to {side} x {side}."
        why = "too large for the model's field of view" if asked.preprocess == "fields" else "too elongated"
        return (
            f"The image is {why} to be squeezed whole: the model saw {rows * columns} tiles "
            f"({rows} x {columns}), each squeezed to {side} x {side}, and averaged their logits."
        )


def _seen_at_scale(patch: Patch, scale: Scale, asked: Input, views: Views) -> str:
    count, (high, wide), (rows, columns) = len(views.places), views.for_network.shape[1:3], views.grid
    at = f"{scale.in_words} ({scale.whence})" if scale.known else f"an assumed {scale.in_words}"
    parts = f"{wide} x {high} px" if count == 1 else f"{count} fields ({rows} x {columns}) of {wide} x {high} px"
    return (
        f"The model saw the whole image, {patch.width} x {patch.height} px at {at}, resampled to "
        f"{asked.um_per_pixel:g} um per pixel: {parts}."
    )


@dataclass(frozen=True, eq=False)
class Explanation:
    """One setting of the dynamic threshold on one map: the field (H, W) shown, its regions and the rendered panels."""

    target: str
    field: np.ndarray
    regions: Regions
    panels: Panels


def second_opinion(
    source: Source, model: Model | None = None, *, pixel_size_um: GivenSize | None = None, name: str | None = None
) -> Opinion:
    """Read an image, run the network once, assess whether it is competent, and map the evidence towards every class.

    `source`: bytes, a path, an array (height, width, 3) uint8 RGB or a PIL image. `model` None: the served weights for
    what the image is, an H&E patch or a mammogram. `pixel_size_um` and `name` as in `dala.intake.image.read_image`.
    Raises `dala.errors.IntakeError` (one sentence) for anything that is not an image this tool can read.
    """
    patch = read_image(source, name, pixel_size_um)
    return opinion_of(patch, model_for(patch) if model is None else model)


def opinion_of(patch: Patch, model: Model) -> Opinion:
    """The same for an image that has been read."""
    return _opinion(patch, predict(patch, model), model)


def of_field(opinion: Opinion, field: Field) -> Opinion:
    """The opinion of one field of an image, as of an image that is no larger; the network is not run again."""
    whole, place = opinion.prediction, opinion.prediction.views.places[field.number]
    left, top, right, bottom = field.box
    pixels = np.ascontiguousarray(opinion.patch.pixels[top:bottom, left:right])
    pixels.flags.writeable = False
    part = slice(field.number, field.number + 1)
    views, alone = whole.views, (0, 0, right - left, bottom - top)
    height, width = views.for_network.shape[1:3]
    place = replace(place, box=alone, seen=(0, 0, width, height))
    prediction = replace(
        whole,
        logits=field.logits,
        probabilities=field.probabilities,
        views=Views(views.for_gate[part], views.for_network[part], (place,), (1, 1), (height, width)),
        maps=whole.maps[:, part],
        pooled=whole.pooled[part],
        fields=(replace(field, number=0, box=alone, blank=False),),
        rescaled=(),
    )
    name = f"{opinion.patch.name} ({left}, {top}, {right}, {bottom})".strip()
    patch = replace(opinion.patch, pixels=pixels, name=name, sha256=sha256(pixels.tobytes()).hexdigest())
    return _opinion(patch, prediction, opinion.model)


def gate_of(prediction: Prediction, model: Model, stated: str | None = None) -> Gate:
    """Whether the model may judge what it has seen; `stated` as in `Patch`."""
    views, pooled = prediction.views.for_gate, prediction.pooled
    counted = sorted(field.number for field in prediction.fields if not field.blank)
    gate = assess(views[counted], pooled[counted], model.card.modality, model.familiarity, stated)
    reason, scale, sees = gate.reason, prediction.scale, model.card.input.um_per_pixel
    low = bool(scale and scale.known and sees and min(scale.um_per_pixel) > COARSE * sees)
    if not (low and scale and reason and reason.name == "out_of_focus"):
        return gate
    sentence = (
        f"The magnification is too low: a pixel shows {scale.in_words.removesuffix(' per pixel')} and the model sees "
        f"{sees:g} um, so the finest details are missing."
    )
    return replace(gate, reason=replace(reason, sentence=sentence))


def _opinion(patch: Patch, prediction: Prediction, model: Model) -> Opinion:
    gate = gate_of(prediction, model, patch.stated)
    return Opinion(patch, display_image(patch), gate, prediction, evidence_maps(prediction), model)


def model_for(patch: Patch, load: Callable[[str], Model] = served_model) -> Model:
    """The model for what the image is recognised as; `load` gives the one of a name, and loads it once."""
    return load(SERVED[recognise(patch).modality])


def evidence_maps(prediction: Prediction) -> dict[str, SignedMap]:
    """Signed Grad-CAM of each class's margin: its logit minus the mean of the other logits, averaged over the views.

    For two classes these are exact mirrors of each other. At a physical scale each field
    has the map of its own margin, and where fields overlap they are blended.
    """
    views, maps = prediction.views, prediction.maps
    if views.extent is not None:
        named = zip(prediction.classes, maps, strict=True)
        return {name: map_of_fields(one, views, name, pitch=prediction.cell) for name, one in named}
    maps = maps / np.float32(len(views.places))
    first = views.places[0]
    if first.mirrored:
        maps = maps[..., ::-1].copy()  # back to the way round that the image is shown
    return {
        name: SignedMap(stitch(one, views.grid), name, first.part)
        for name, one in zip(prediction.classes, maps, strict=True)
    }


def map_of_fields(
    maps: NDArray[np.floating], views: Views, target: str, first: tuple[float, float] = (0.0, 0.0), pitch: int = CELL
) -> SignedMap:
    """Maps (views, h, w) of fields at a physical scale, a cell every `pitch` network pixels, as one of the image.

    `first`: where in a field its first cell lies, (row, column) in network pixels.
    """
    assert views.extent is not None
    starts = [view.seen[1::-1] for view in views.places if view.seen is not None]
    return SignedMap(blended(maps, starts, pitch, views.extent), target, lattice=Lattice.of(pitch, views.extent, first))


def display_image(patch: Patch) -> np.ndarray:
    """The patch as the page and the exports show it: uint8 RGB, longest side at most `DISPLAY_SIDE` pixels."""
    shrink = DISPLAY_SIDE / max(patch.width, patch.height)
    if shrink >= 1:
        return patch.pixels
    size = (max(1, round(patch.width * shrink)), max(1, round(patch.height * shrink)))
    return np.asarray(cv2.resize(patch.pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def explain(
    opinion: Opinion,
    target: str | None = None,
    rule: str = "mean_std",
    parameter: float | None = None,
    *,
    colour_map: str = DEFAULT_COLOUR_MAP,
    opacity: float = 0.5,
    limit: float | None = None,
) -> Explanation:
    """Threshold and draw the map towards `target` (None: the prediction) at display size; never runs the network.

    `parameter` None takes the rule's default; `limit` is the raw value of the last colour (None: the maximum of the
    maps towards all classes, so that one scale holds for each).
    Raises `RuleError` for an unknown rule or a parameter outside its range, `DataError` for an unknown class.
    """
    target = opinion.prediction.label if target is None else target
    if target not in opinion.maps:
        raise DataError(f"There is no class named {target!r}; choose one of {', '.join(opinion.maps)}.")
    image = opinion.image
    height, width = image.shape[:2]
    field = opinion.maps[target].upsampled(height, width)
    scale = (opinion.patch.height / height, opinion.patch.width / width)
    regions = threshold(field, rule, parameter, scale=scale)
    strongest = max(float(one.upsampled(height, width).max()) for one in opinion.maps.values())
    drawn = panels(image, field, regions, limit, colour_map, opacity, f"towards {target}", strongest)
    return Explanation(target, field, regions, drawn)
