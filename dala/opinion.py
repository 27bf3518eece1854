"""The main job: the bytes of a picture become a second opinion. A reader who opens one file opens this one.

read_image -> predict -> judge -> signed map -> threshold -> panels. Everything up to the signed map needs the network
once; everything after it is arithmetic on one small map and may be repeated as often as a slider moves.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch

from dala.explain.gradcam import SignedMap, signed_maps, stitch
from dala.explain.render import Panels, encode_png, panels
from dala.explain.threshold import RULES, Regions, threshold
from dala.intake.image import IntakeError, Patch, read_image
from dala.intake.modality import recognise, stated_reason
from dala.nets.familiarity import Gate, judge
from dala.nets.runtime import Model, Prediction, predict
from dala.nets.weights import SERVED

DISPLAY_SIDE = 768
NOTICE = "For research and teaching only, not for diagnosis."


@dataclass(frozen=True, eq=False)
class Opinion:
    """What the model says of one patch, and why: `maps` holds a raw signed map towards each class.

    Where the `gate` is not passed the picture is outside the model's competence, and the rest means nothing.
    """

    patch: Patch
    picture: np.ndarray  # the patch at display size, made once
    gate: Gate
    prediction: Prediction
    maps: dict[str, SignedMap]
    model: Model
    steadied: bool = False  # whether the maps are those of `dala.inquiry.steady`

    @property
    def seen(self) -> str:
        """One sentence: what of the patch the network saw, and how it was resized."""
        return describe_view(self.patch, self.prediction, self.model)


@dataclass(frozen=True, eq=False)
class Explanation:
    """One setting of the dynamic threshold on one map: the field (H, W) shown, its regions and the rendered panels."""

    target: str
    field: np.ndarray
    regions: Regions
    panels: Panels


def second_opinion(source: bytes | str | Path, model: Model, name: str | None = None) -> Opinion:
    """Read a picture, run the network once, judge whether it may be judged, and map its evidence towards every class.

    Raises `dala.intake.image.IntakeError` (one sentence) for anything that is not a picture this tool can read.
    """
    return opinion_of(read_image(source, name), model)


def opinion_of(patch: Patch, model: Model) -> Opinion:
    """The same for a picture that has been read."""
    prediction = predict(patch, model)
    gate = judge(prediction.seen, prediction.pooled, model.card.modality, model.familiarity)
    stated = stated_reason(patch, model.card.modality)
    gate = gate if stated is None else replace(gate, reason=stated)
    return Opinion(patch, display_picture(patch), gate, prediction, evidence_maps(prediction), model)


def model_for(patch: Patch, load: Callable[[str], Model]) -> Model:
    """The model for what the picture is recognised as; `load` gives the one of a name, and loads it once."""
    return load(SERVED[recognise(patch).modality])


def evidence_maps(prediction: Prediction) -> dict[str, SignedMap]:
    """Signed Grad-CAM of each class's margin: its logit minus the mean of the other logits, averaged over the views.

    For two classes these are exact mirrors of each other. Only the head is differentiated.
    """
    targets = margins(len(prediction.classes))
    maps = signed_maps(prediction.head, prediction.activations, targets) / len(prediction.views)
    first = prediction.views[0]
    if first.mirrored:
        maps = maps.flip(-1)  # back to the way round that the picture is shown
    return {
        name: SignedMap(stitch(one, prediction.grid).numpy(), name, first.part)
        for name, one in zip(prediction.classes, maps, strict=True)
    }


def margins(classes: int) -> torch.Tensor:
    """The targets of the maps, (classes, classes): each class's logit minus the mean of the other logits."""
    return (torch.eye(classes) * classes - 1) / (classes - 1)


def display_picture(patch: Patch) -> np.ndarray:
    """The patch as the page and the exports show it: uint8 RGB, longest side at most `DISPLAY_SIDE` pixels."""
    shrink = DISPLAY_SIDE / max(patch.width, patch.height)
    if shrink >= 1:
        return patch.pixels
    size = (max(1, round(patch.width * shrink)), max(1, round(patch.height * shrink)))
    return np.asarray(cv2.resize(patch.pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def explain(
    opinion: Opinion,
    target: str,
    rule: str = "mean_std",
    parameter: float | None = None,
    *,
    colour_map: str = "viridis",
    opacity: float = 0.5,
    limit: float | None = None,
) -> Explanation:
    """Threshold and draw the map towards `target` at display size; never runs the network.

    `parameter` None takes the rule's default; `limit` is the raw value of the last colour (None: the map's maximum).
    Raises `dala.explain.threshold.BadRule` for an unknown rule or a parameter outside its range.
    """
    picture = opinion.picture
    height, width = picture.shape[:2]
    field = opinion.maps[target].enlarged(height, width)
    scale = (opinion.patch.height / height, opinion.patch.width / width)
    value = RULES[rule].default if parameter is None and rule in RULES else parameter
    regions = threshold(field, rule, float("nan") if value is None else value, scale=scale)
    drawn = panels(picture, field, regions, limit, colour_map, opacity, f"towards {target}")
    return Explanation(target, field, regions, drawn)


def describe_view(patch: Patch, prediction: Prediction, model: Model) -> str:
    """What the network saw of this patch, in one sentence for its user."""
    side = model.card.size
    rows, columns = prediction.grid
    if model.card.preprocess == "mammogram":
        left, top, right, bottom = prediction.views[0].box
        turned = ", mirrored" if prediction.views[0].mirrored else ""
        return (
            f"The model saw the breast alone, {right - left} x {bottom - top} of {patch.width} x {patch.height} px, "
            f"without background, labels and exposure{turned}, squeezed to {side} x {side}."
        )
    if (patch.width, patch.height) == (side, side):
        return f"The model saw the whole picture, {side} x {side} px."
    if (rows, columns) == (1, 1):
        return f"The model saw the whole picture, {patch.width} x {patch.height} px, squeezed to {side} x {side}."
    why = "too large for the model's field of view" if model.card.preprocess == "fields" else "too elongated"
    return (
        f"The picture is {why} to be squeezed whole: the model saw {rows * columns} tiles "
        f"({rows} x {columns}), each squeezed to {side} x {side}, and averaged their logits."
    )


def prediction_record(opinion: Opinion, anyway: bool = False) -> dict[str, object]:
    """The opinion without pictures, ready for JSON; exports and the command line share it.

    `status` is "ok", or "outside" with the gate's sentence as `reason`: then there is no verdict, unless `anyway`.
    `prediction` is the most probable class even where the answer is "not sure"; `set` is the one at the default error
    level, `sets` has all levels by alpha.
    """
    prediction, gate = opinion.prediction, opinion.gate
    record = {
        "file": opinion.patch.name,
        "sha256": opinion.patch.sha256,
        "status": "ok" if gate.reason is None else "outside",
        "reason": None if gate.reason is None else gate.reason.sentence,
        "gate": gate_record(gate),
    }
    if gate.reason is not None and not anyway:
        return record | no_verdict(opinion.model) | ran_on(prediction)
    decisive = prediction.default_set
    return {
        **record,
        "prediction": prediction.label,
        "probabilities": {
            name: round(float(p), 6) for name, p in zip(prediction.classes, prediction.probabilities, strict=True)
        },
        "calibrated": prediction.calibration is not None,
        "set": None if decisive is None else list(decisive.classes),
        "not_sure": None if decisive is None else decisive.not_sure,
        "sets": {f"{one.alpha:.2f}": list(one.classes) for one in prediction.sets},
        "weights": opinion.model.name,
        **ran_on(prediction),
    }


def ran_on(prediction: Prediction) -> dict[str, object]:
    """What computed a prediction, and how long that took in milliseconds."""
    return {"engine": prediction.engine, "ms": round(prediction.milliseconds, 1)}


def gate_record(gate: Gate) -> dict[str, object]:
    """The gate's answer, ready for JSON: the name of its reason, the distance from the training pictures, and the share
    of true patches of new patients at least so far away; both are None where the weights have no statistics for it."""
    return {
        "reason": None if gate.reason is None else gate.reason.name,
        "distance": None if gate.distance is None else round(gate.distance, 4),
        "rarer": None if gate.rarer is None else round(gate.rarer, 4),
    }


def refusal_record(
    source: bytes | str | Path | None, error: IntakeError, model: Model, name: str | None = None
) -> dict[str, object]:
    """The same record for a file that was refused: why, and no prediction. `source` None: not even its bytes are known.

    `name` replaces the file's own.
    """
    identity = None
    if isinstance(source, bytes):
        identity = hashlib.sha256(source).hexdigest()
    elif source is not None:
        path = Path(source)
        name = path.name if name is None else name
        # A pipe would block, and a device never end.
        if path.is_file():
            with suppress(OSError), path.open("rb") as file:
                identity = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "file": name or "",
        "sha256": identity,
        "status": "refused",
        "reason": str(error),
        "gate": None,
        **no_verdict(model),
    }


def no_verdict(model: Model) -> dict[str, object]:
    """The part of a record that a verdict would fill."""
    return {
        "prediction": None,
        "probabilities": None,
        "calibrated": model.card.calibration is not None,
        "set": None,
        "not_sure": None,
        "sets": {},
        "weights": model.name,
        "engine": None,
        "ms": None,
    }


def export_explanation(
    opinion: Opinion, target: str, rule: str, parameter: float | None, folder: Path
) -> dict[str, object]:
    """Write map.npy, overlay.png, dt_overlay.png and, last, explanation.json; returns what the JSON holds.

    `map.npy` is the raw signed map (h, w) float32 at layer resolution; the pictures are the page's own, byte for byte.
    The JSON is written last: where it lies, the export is complete. Raises OSError if the folder cannot be written.
    """
    explanation = explain(opinion, target, rule, parameter)
    record = explanation_record(opinion, explanation)
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / "explanation.json"
    manifest.unlink(missing_ok=True)
    np.save(folder / "map.npy", opinion.maps[target].values)
    (folder / "overlay.png").write_bytes(encode_png(explanation.panels.gradcam))
    (folder / "dt_overlay.png").write_bytes(encode_png(explanation.panels.dt))
    partial = folder / "explanation.json.partial"
    partial.write_text(json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    partial.replace(manifest)
    return record


def explanation_record(opinion: Opinion, explanation: Explanation) -> dict[str, object]:
    """The explanation in numbers, ready for JSON: rule, threshold, kept area, regions, what the model saw, notice.

    Whoever asks for it wants to see it, so the verdict is in it whatever the gate says, beside the gate's answer.
    """
    regions = explanation.regions
    raw = opinion.maps[explanation.target]
    return {
        **prediction_record(opinion, anyway=True),
        "target": explanation.target,
        "method": "signed Grad-CAM of the margin at the attended layer4 output"
        + (", mean over eight symmetries and four half-stride shifts" if opinion.steadied else "")
        + "; dynamic threshold on the bilinearly enlarged map",
        "map": {
            "height": raw.values.shape[0],
            "width": raw.values.shape[1],
            "minimum": float(raw.values.min()),
            "maximum": float(raw.values.max()),
            "positive_evidence": raw.has_evidence,
            "box": None if raw.box is None else list(raw.box),
        },
        "rule": regions.rule,
        "parameter": regions.parameter,
        "threshold": None if np.isnan(regions.threshold) else regions.threshold,
        "kept_area": regions.kept_area,
        "kept_evidence": regions.kept_evidence,
        "regions": [
            {"number": number, "area": region.area, "evidence": region.evidence, "box": list(region.box)}
            for number, region in enumerate(regions.regions, start=1)
        ],
        "regions_dropped": regions.dropped,
        "no_evidence": regions.reason,
        "colour_limit": explanation.panels.limit,
        "displayed": {"height": explanation.field.shape[0], "width": explanation.field.shape[1]},
        "picture": {"height": opinion.patch.height, "width": opinion.patch.width, "notes": list(opinion.patch.notes)},
        "seen": opinion.seen,
        "weights_sha256": opinion.model.card.fields["sha256"],
        "magnification": opinion.model.card.magnification,
        "notice": NOTICE,
    }
