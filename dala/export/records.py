"""An opinion in numbers, ready for JSON: what the command line, the batch and every report share."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dala.errors import IntakeError
from dala.gate import Gate
from dala.opinion import NOTICE, Explanation, Opinion
from dala.preprocess.scale import Scale
from dala.runtime.predict import Model, Prediction

Record = dict[str, Any]


def prediction_record(opinion: Opinion, anyway: bool = False) -> dict[str, object]:
    """The opinion without images, ready for JSON; exports and the command line share it.

    `status` is "ok", or "outside" with the gate's sentence as `reason`: then there is no verdict, unless `anyway`.
    `verdict` is the answer, None for "not sure", and then `verdict_reason` is "probability" or "scale". `prediction` is
    the most probable class even then; `set` is the one at the default error level, `sets` has all levels by alpha.
    `fields` are those of an image of several, most suspicious first.
    """
    prediction, gate = opinion.prediction, opinion.gate
    record = {
        "file": opinion.patch.name,
        "sha256": opinion.patch.sha256,
        "status": "ok" if gate.reason is None else "outside",
        "reason": None if gate.reason is None else gate.reason.sentence,
        "gate": _gate_record(gate),
        **_scale_record(opinion),
    }
    if gate.reason is not None and not anyway:
        return record | _no_verdict(opinion.model) | _ran_on(prediction)
    calibration, verdict = prediction.calibration, opinion.verdict
    sets = {f"{one.alpha:.2f}": list(one.classes) for one in prediction.sets(verdict.laboratory)}
    return {
        **record,
        "verdict": verdict.answer,
        "verdict_reason": verdict.reason,
        "prediction": prediction.label,
        "probabilities": _shares(prediction, prediction.probabilities),
        "calibrated": verdict.calibrated,
        "set": None if calibration is None else sets[f"{calibration.decides:.2f}"],
        "not_sure": None if calibration is None and not verdict.not_sure else verdict.not_sure,
        "sets": sets,
        "fields": [
            {"box": list(one.box), "probabilities": _shares(prediction, one.probabilities), "blank": one.blank}
            for one in (prediction.fields if prediction.scale is not None and len(prediction.fields) > 1 else ())
        ],
        **_answered_by(opinion.model),
        **_ran_on(prediction),
    }


def _answered_by(model: Model) -> dict[str, object]:
    """The weights, and the site that is in use with them: its name and the sha256 of its file, None without one."""
    return {"weights": model.name, "site": None if model.site is None else asdict(model.site)}


def _shares(prediction: Prediction, probabilities: NDArray[np.float64]) -> dict[str, float]:
    return {name: round(float(p), 6) for name, p in zip(prediction.classes, probabilities, strict=True)}


def _scale_record(opinion: Opinion) -> dict[str, object]:
    """`pixel_size` in um, which the image was judged at or, by weights without a physical scale, is known to have; and
    the `um_per_pixel` that the network sees at, None for such weights."""
    scale, size = opinion.prediction.scale, opinion.patch.pixel_size
    if scale is None and size is not None:
        scale = Scale((size.rows, size.columns), size.source, size.told)
    told = None
    if scale is not None:
        rows, columns = (round(side, 6) for side in scale.um_per_pixel)
        told = {"rows": rows, "columns": columns, "source": scale.source, "told": scale.told}
    return {"pixel_size": told, "um_per_pixel": opinion.model.card.input.um_per_pixel}


def square_um(opinion: Opinion) -> float | None:
    """The area that the image shows on the specimen in um2; None where its scale is not known."""
    size = opinion.patch.pixel_size
    if size is None or not size.microscopic:
        return None
    return opinion.patch.height * size.rows * opinion.patch.width * size.columns


def _ran_on(prediction: Prediction) -> dict[str, object]:
    """What computed a prediction, and how long that took in milliseconds."""
    return {"engine": prediction.engine, "ms": round(prediction.milliseconds, 1)}


def _gate_record(gate: Gate) -> dict[str, object]:
    """The gate's answer, ready for JSON: the name of its reason, the distance from the training images, and the share
    of true patches of new patients at least as far away; both are None where the weights have no statistics for it; and
    the laboratory that the image is taken for."""
    return {
        "reason": None if gate.reason is None else gate.reason.name,
        "distance": None if gate.score is None else round(gate.score, 4),
        "rarer": None if gate.p_value is None else round(gate.p_value, 4),
        "laboratory": gate.laboratory,
    }


def refusal_record(source: bytes | Path | None, error: IntakeError, model: Model, name: str) -> dict[str, object]:
    """The same record for a file that was refused: why, and no prediction. `source` None: its bytes are not known."""
    identity = None
    if isinstance(source, bytes):
        identity = hashlib.sha256(source).hexdigest()
    elif source is not None and source.is_file():  # a pipe would block, and a device never end
        with suppress(OSError), source.open("rb") as file:
            identity = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "file": name,
        "sha256": identity,
        "status": "refused",
        "reason": str(error),
        "gate": None,
        "pixel_size": None,
        "um_per_pixel": model.card.input.um_per_pixel,
        **_no_verdict(model),
    }


def _no_verdict(model: Model) -> dict[str, object]:
    """The part of a record that a verdict would fill."""
    return {
        "verdict": None,
        "verdict_reason": None,
        "prediction": None,
        "probabilities": None,
        "calibrated": model.card.calibration is not None,
        "set": None,
        "not_sure": None,
        "sets": {},
        "fields": [],
        **_answered_by(model),
        "engine": None,
        "ms": None,
    }


def explanation_record(opinion: Opinion, explanation: Explanation) -> dict[str, object]:
    """The explanation in numbers, ready for JSON: rule, threshold, kept area, regions, what the model saw, notice.

    Whoever asks for it wants to see it, so the verdict is in it whatever the gate says, beside the gate's answer.
    """
    regions = explanation.regions
    raw, whole = opinion.maps[explanation.target], square_um(opinion)
    return {
        **prediction_record(opinion, anyway=True),
        "target": explanation.target,
        "method": "signed Grad-CAM of the margin at the attended layer4 output"
        + (", mean over eight symmetries and four half-stride shifts" if opinion.augmented else "")
        + "; dynamic threshold on the bilinearly enlarged map",
        "map": {
            "height": raw.values.shape[0],
            "width": raw.values.shape[1],
            "minimum": float(raw.values.min()),
            "maximum": float(raw.values.max()),
            "positive_evidence": raw.has_evidence,
            "box": None if raw.box is None else list(raw.box),
            "lattice": None if raw.lattice is None else {key: list(at) for key, at in asdict(raw.lattice).items()},
        },
        "rule": regions.rule,
        "parameter": regions.parameter,
        "threshold": None if np.isnan(regions.threshold) else regions.threshold,
        "kept_area": regions.kept_area,
        "kept_evidence": regions.kept_evidence,
        "regions": [
            {
                "number": number,
                "area": region.area,
                "area_um2": None if whole is None else round(region.area * whole, 2),
                "evidence": region.evidence,
                "box": list(region.box),
            }
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
