"""What a report says: the opinion's record, its map, what the person added; as JSON with a published schema."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal, get_args

from jsonschema import Draft202012Validator

from dala.errors import ReportError
from dala.explanation.effect import EffectCurve
from dala.export.records import explanation_record
from dala.export.worth import basis, beside_the_verdict, scores_of
from dala.files import json_text
from dala.opinion import Explanation, Opinion

SCHEMA = Path(__file__).with_name("report.schema.json")
VERSION = 1
LONGEST_COMMENT = 1000
OwnRead = Literal["benign", "malignant", "not sure"]
OWN_READS: tuple[OwnRead, ...] = get_args(OwnRead)
MEASURED = ("auc", "balanced_accuracy")


@dataclass(frozen=True)
class FirstRead:
    """A call that was recorded before the model's answer was seen; confidence 0.5 (a guess) to 1 (certain), None where
    the call is "not sure"."""

    call: OwnRead
    confidence: float | None


@dataclass(frozen=True)
class Remarks:
    """What the reader adds: a comment, their own call, whether they agree with the model's (None: not said), whether
    the file's name may be written, and what they had recorded first, if anything."""

    comment: str = ""
    own_read: OwnRead | None = None
    agree: bool | None = None
    with_name: bool = False
    first: FirstRead | None = None


@dataclass(frozen=True)
class Report:
    """A report's content, ready for JSON and equal to what is read back from it."""

    content: dict[str, Any]

    def json(self) -> str:
        return json_text(self.content)


def report(
    opinion: Opinion, explanation: Explanation, remarks: Remarks, day: date, effect: EffectCurve | None = None
) -> Report:
    """The content of a report.

    effect: the effect curve of the explanation's own target, where one was measured. Raises ReportError for a comment
    of more than `LONGEST_COMMENT` characters, ValueError for the curve of another target.
    """
    if len(remarks.comment) > LONGEST_COMMENT:
        raise ReportError(f"The comment may hold at most {LONGEST_COMMENT} characters, not {len(remarks.comment)}.")
    if effect is not None and effect.target != explanation.target:
        raise ValueError(f"The effect curve is of {effect.target}, the explanation of {explanation.target}.")
    card = opinion.model.card
    record: dict[str, Any] = explanation_record(opinion, explanation)
    record.pop("ms")  # another run of the same opinion takes another time
    if not remarks.with_name:
        record["file"] = None
    record["map"] = {**record["map"], "values": opinion.maps[explanation.target].values.tolist()}
    laboratory = opinion.gate.laboratory
    scores = scores_of(card, laboratory)
    return Report(
        {
            "schema": VERSION,
            "date": day.isoformat(),
            "opinion": record,
            "effect": None if effect is None else effect_record(effect),
            "model": {
                "title": card.fields["title"],
                "trained_on": card.fields["training_data"]["name"],
                "protocol": basis(card, laboratory),
                "measured": {key: scores[key] for key in MEASURED if key in scores},
                "worth": beside_the_verdict(opinion),
            },
            "person": {
                "comment": remarks.comment,
                "read_first": None if remarks.first is None else asdict(remarks.first),
                "own_read": remarks.own_read,
                "agree": remarks.agree,
            },
        }
    )


def effect_record(effect: EffectCurve) -> dict[str, Any]:
    """An effect curve in numbers, ready for JSON; of `dala.explanation.effect.EffectCurve` nothing is left out."""
    return {
        "baseline": effect.baseline,
        "thresholds": effect.thresholds.tolist(),
        "kept_area": effect.kept_area.tolist(),
        "shown": effect.shown.tolist(),
        "removed": effect.removed.tolist(),
        "whole": effect.whole,
        "nothing": effect.nothing,
        "suggested": effect.suggested,
        "reason": effect.reason,
    }


def read_report(text: str) -> Report:
    """A report from its JSON; raises ReportError for anything that the published schema does not allow."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ReportError("This is not a report: it is not JSON.") from error
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    problem = next(iter(Draft202012Validator(schema).iter_errors(content)), None)
    if problem is not None:
        place = "/".join(str(part) for part in problem.absolute_path) or "the whole"
        raise ReportError(f"This is not a report of version {VERSION}: {place} does not fit the schema.")
    return Report(content)
