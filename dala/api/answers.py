"""From bytes to the JSON of an opinion, and back from words to parameters: what runs in a thread of its own."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from dala.api.problems import Problem
from dala.explanation.render import COLOUR_MAPS, DEFAULT_COLOUR_MAP, encode_png
from dala.explanation.threshold import RULES

if TYPE_CHECKING:
    from dala.intake.pixel_size import GivenSize
    from dala.opinion import Explanation, Opinion
    from dala.runtime.predict import Model

# The model of a name with the site of that file, None for no site; it is loaded when it is first asked for.
Models = Callable[[str, str | None], "Model"]
VERSION = 1
PANELS = ("patch", "gradcam", "dt", "bar")
WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True)
class Asked:
    """What is asked about an image; None: as the page has it."""

    pixel_size_um: GivenSize | None = None
    target: str | None = None
    rule: str = "mean_std"
    parameter: float | None = None
    colour_map: str = DEFAULT_COLOUR_MAP
    opacity: float = 0.5
    site: str | None = None
    maps: bool = False
    anyway: bool = False
    keep: bool = False


PARAMETERS = frozenset(Asked.__dataclass_fields__)


def asked_of(told: Mapping[str, str]) -> Asked:
    """The parameters as they were written. Raises Problem for one that cannot be meant."""
    size = told.get("pixel_size_um")
    asked = Asked(
        pixel_size_um=None if size is None else _size(size),
        target=told.get("target"),
        rule=told.get("rule", Asked.rule),
        parameter=_number(told, "parameter", None),
        colour_map=told.get("colour_map", Asked.colour_map),
        opacity=_number(told, "opacity", Asked.opacity) or 0.0,
        site=told.get("site"),
        maps=flag(told, "maps"),
        anyway=flag(told, "anyway"),
        keep=flag(told, "keep"),
    )
    if asked.rule not in RULES:
        raise _wrong(f"rule is one of {', '.join(RULES)}.")
    if asked.colour_map not in COLOUR_MAPS:
        raise _wrong(f"colour_map is one of {', '.join(COLOUR_MAPS)}.")
    if not 0 < asked.opacity <= 1:
        raise _wrong("opacity is a number above 0, at most 1.")
    return asked


def flag(told: Mapping[str, str], key: str) -> bool:
    """A parameter that is true or false, and false where it is missing."""
    found = WORDS.get(told.get(key, "false").strip().lower())
    if found is None:
        raise _wrong(f"{key} is true or false.")
    return found


def _number(told: Mapping[str, str], key: str, default: float | None) -> float | None:
    if key not in told:
        return default
    try:
        return float(told[key])
    except ValueError:
        raise _wrong(f"{key} is a number.") from None


def _size(told: str) -> GivenSize:
    try:
        sides = [float(side) for side in told.split(",")]
    except ValueError:
        sides = []
    match sides:
        case [side]:
            return side
        case [rows, columns]:
            return rows, columns
    raise _wrong("pixel_size_um is one number of micrometres, or two with a comma: of the rows, of the columns.")


def _wrong(sentence: str) -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, f"The parameter {sentence}")


def opinion_on(image: bytes, name: str, asked: Asked, models: Models) -> Opinion:
    """The opinion of an image by the weights for what it is. Raises DalaError."""
    from dala.intake.image import read_image
    from dala.opinion import model_for, opinion_of

    patch = read_image(image, name, asked.pixel_size_um)
    return opinion_of(patch, model_for(patch, lambda weights: models(weights, asked.site)))


def explained(opinion: Opinion, asked: Asked) -> Explanation:
    """One setting of the dynamic threshold. Raises DalaError."""
    from dala.opinion import explain

    return explain(
        opinion, asked.target, asked.rule, asked.parameter, colour_map=asked.colour_map, opacity=asked.opacity
    )


def may_answer(opinion: Opinion, asked: Asked) -> bool:
    """Whether there is an answer to give: outside the model's competence only for who asks for it anyway."""
    return opinion.gate.inside or asked.anyway


def answer(opinion: Opinion, asked: Asked, case: str | None = None) -> dict[str, Any]:
    """The JSON of an opinion: `opinion` and `model` as in dala/export/report.schema.json; the images as PNG in base64
    where they are asked for. Outside the model's competence there is no verdict and no map, unless `asked.anyway`.
    """
    from dala.export.records import prediction_record
    from dala.export.report import Remarks, report

    explanation, today = explained(opinion, asked), datetime.now(UTC).date()
    content = report(opinion, explanation, Remarks(with_name=bool(opinion.patch.name)), today).content
    maps = None
    if not may_answer(opinion, asked):
        record: dict[str, Any] = prediction_record(opinion)
        record.pop("ms")
        content["opinion"] = record | {"file": opinion.patch.name or None}
    elif asked.maps:
        maps = {name: base64.b64encode(encode_png(getattr(explanation.panels, name))).decode() for name in PANELS}
    return {
        "schema": VERSION,
        "date": content["date"],
        "opinion": content["opinion"],
        "model": content["model"],
        "maps": maps,
        "case": case,
    }
