"""The JSON schemas of what the API takes and answers; of an opinion as the published schema of reports has it."""

from __future__ import annotations

import copy
import json
from importlib.resources import files
from typing import Any

from dala.api.answers import PANELS, VERSION
from dala.api.body import LARGEST_JSON
from dala.cases.kept import ANSWERS, CALLS, DIAGNOSES, LONGEST_COMMENT, LONGEST_TITLE

Json = dict[str, Any]

# Read where it lies: the module beside it brings the network along, for which the server's start need not wait.
SCHEMA = files("dala.export") / "report.schema.json"


def schemas() -> Json:
    """Of an opinion as the published schema of the reports has it, so that both stay the same."""
    published = json.loads(SCHEMA.read_text(encoding="utf-8"))["properties"]
    opinion = published["opinion"]
    text, maybe, said = {"type": "string"}, {"type": ["string", "null"]}, {"type": ["boolean", "null"]}
    when, share = {"type": "string", "format": "date-time"}, {"type": ["number", "null"], "minimum": 0, "maximum": 1}
    read = {
        "type": ["object", "null"],
        "required": ["call"],
        "properties": {"call": {"enum": list(CALLS)}, "confidence": share},
    }
    diagnosis, call = {"enum": [*DIAGNOSES, None]}, {"enum": [*CALLS, None]}
    person = _object({"id": text, "name": text})
    a_case = {
        "id": text,
        "created": when,
        "changed": when,
        "reader": person,
        "answer": {"enum": list(ANSWERS)},
        "title": text,
        "agrees": said,
        "diagnosis": diagnosis,
        "shared": {"type": "boolean"},
    }
    return {
        "Problem": _object(
            {
                "type": text,
                "title": text,
                "status": {"type": "integer", "minimum": 400, "maximum": 599},
                "detail": {"type": "string", "description": "One sentence for whoever asked."},
            }
        ),
        "Opinion": {**opinion, "description": "An opinion with one setting of the dynamic threshold and the raw map."},
        "Outside": _outside(opinion),
        "Model": published["model"],
        "Answer": _object(
            {
                "schema": {"const": VERSION},
                "date": {"type": "string", "format": "date"},
                "opinion": {"anyOf": [_ref("Opinion"), _ref("Outside")]},
                "model": _ref("Model"),
                "maps": {
                    "description": "PNG in base64, where they were asked for and there is an answer.",
                    "anyOf": [
                        {"type": "null"},
                        _object(
                            {one: {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/png"}
                             for one in PANELS}
                        ),
                    ],
                },
                "case": {"type": ["string", "null"], "description": "Its id, where it was kept."},
            }
        ),
        "Case": _object(
            {
                **a_case,
                "owner": person,
                "comment": text,
                "read_before": read,
                "read_after": read,
                "subtype": text,
                "patient": maybe,
                "may_change": {"type": "boolean"},
                "images": {"type": "array", "minItems": 1, "items": _ref("KeptImage")},
            }
        ),
        "KeptImage": _object(
            {
                "number": {"type": "integer", "minimum": 1},
                "name": text,
                "sha256": {"type": ["string", "null"], "description": "Of the bytes; null where they were not kept."},
                "settings": {"type": "object", "description": "How the maps were looked at."},
                "opinion": {"type": "object", "description": "What was said when it was kept."},
                "origin": {"type": ["object", "null"], "description": "Where a field of a slide was cut out."},
                "version": {"type": "string", "description": "Of the program that said it."},
            }
        ),
        "Cases": _object(
            {
                "total": {"type": "integer", "minimum": 0},
                "offset": {"type": "integer", "minimum": 0},
                "cases": {
                    "type": "array",
                    "items": _object(
                        {
                            **a_case,
                            "own": {"type": "boolean"},
                            "images": {"type": "integer", "minimum": 1},
                            "probability": {**share, "description": "Of malignant."},
                            "laboratory": maybe,
                            "call": {**call, "description": "The reader's."},
                        }
                    ),
                },
            }
        ),
        "Changes": {
            "type": "object",
            "description": f"What is to be changed; at most {LARGEST_JSON // 1024} kB. An own read may be its call "
            "alone.",
            "minProperties": 1,
            "additionalProperties": False,
            "properties": {
                "title": {"type": "string", "maxLength": LONGEST_TITLE},
                "comment": {"type": "string", "maxLength": LONGEST_COMMENT},
                "read_after": {"anyOf": [read, {"enum": list(CALLS)}]},
                "agrees": said,
                "diagnosis": diagnosis,
                "subtype": {"type": "string", "maxLength": LONGEST_TITLE},
                "patient": maybe,
                "shared": {"type": "boolean"},
            },
        },
    }  # fmt: skip


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Json) -> Json:
    """An object with these properties, all of them and no others."""
    return {
        "type": "object",
        "required": list(properties),
        "additionalProperties": False,
        "properties": properties,
    }


def _outside(opinion: Json) -> Json:
    """Of an image outside the model's competence: why, and nothing that could be taken for a verdict."""
    own = copy.deepcopy(opinion["properties"])
    kept = {name: own[name] for name in ("file", "sha256", "gate", "pixel_size", "um_per_pixel", "calibrated",
                                         "weights", "site", "engine")}  # fmt: skip
    nothing = {name: {"type": "null"} for name in ("verdict", "verdict_reason", "prediction", "probabilities", "set",
                                                   "not_sure")}  # fmt: skip
    found = _object(
        {
            **kept,
            "status": {"const": "outside"},
            "reason": {"type": "string"},
            **nothing,
            "sets": {"type": "object", "maxProperties": 0},
            "fields": {"type": "array", "maxItems": 0},
        }
    )
    return {**found, "description": "Outside the model's competence: the reason, and no verdict."}
