"""The OpenAPI 3.1 document of the API, to which the tests hold every answer; its schemas are in `schemas`."""

from __future__ import annotations

from typing import Any

from dala import __version__
from dala.api.cases import LOOKED_AT, MOST_AT_ONCE
from dala.api.problems import MEDIA
from dala.api.schemas import schemas
from dala.cases.kept import ANSWERS, CALLS, DIAGNOSES, LONGEST_COMMENT, LONGEST_TITLE, ORDERS
from dala.explanation.render import COLOUR_MAPS
from dala.explanation.threshold import RULES

Json = dict[str, Any]


NOTICE = "For research and teaching only, not for diagnosis."
LATER = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
PROBLEMS = {
    "400": "Something in the request cannot be meant; the sentence says what.",
    "401": "A token is needed, or the one that was sent is not valid.",
    "403": "The API is switched off, or this person may not do this.",
    "404": "There is no such case, or it is somebody else's.",
    "408": "The image did not arrive in time.",
    "413": "The image has more bytes or pixels than are accepted.",
    "415": "The content is no image of an accepted format.",
    "422": "The image cannot be taken: it is damaged, too small or empty.",
    "429": "As many requests as may be are being worked on; ask again after Retry-After seconds.",
    "500": "A fault of the server.",
    "503": "Weights, the database or a setting of the server stand in the way.",
    "507": "One person may keep no more than that on this server.",
}
ALWAYS = ("401", "403", "500", "503")
OF_IMAGES = ("400", "408", "413", "415", "422", "429")


def document(start: str, largest_mb: int) -> Json:
    """The document of an API under the path `start`, "" for the server's root."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "DALA second opinion",
            "version": __version__,
            "summary": "A second opinion on an image of H&E-stained breast tissue or on a mammogram.",
            "description": f"{NOTICE} Nothing is kept unless that is asked for. The images of one request have at most "
            f"{largest_mb} MB together.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": start or "/"}],
        "security": [{"token": []}, {}],
        "paths": {
            "/api/v1/opinion": {"post": _opinion()},
            "/api/v1/cases": {"get": _search(), "post": _keep()},
            "/api/v1/cases/{id}": {
                "parameters": [_in_path("id")],
                "get": _case(),
                "patch": _change(),
                "delete": _delete(),
            },
            "/api/v1/cases/{id}/images": {"parameters": [_in_path("id")], "post": _add()},
            "/api/v1/cases/{id}/images/{number}": {
                "parameters": [_in_path("id"), _in_path("number", {"type": "integer", "minimum": 1})],
                "get": _image(),
            },
            "/api/v1/openapi.json": {"get": _open("This document.", "application/json", {"type": "object"})},
            "/api/v1/docs": {"get": _open("This document as a page.", "text/html", {"type": "string"})},
        },
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Made by `dala token create` or on one's own page of tokens. Without one only "
                    "programs on the server's own machine may ask, and only where an administrator set DALA_API=open.",
                }
            },
            "schemas": schemas(),
        },
    }


# Parameters


def _parameters() -> dict[str, Json]:
    """What may be asked about an image: schema and description by name."""
    yes = {"type": "boolean", "default": False}
    return {
        "name": {"type": "string", "description": "The file's name; one of BreakHis tells a pixel size. A case keeps "
                 "it only where it is given here, for a name may identify a patient."},
        "pixel_size_um": {"type": "string", "pattern": r"^[^,]+(,[^,]+)?$", "examples": ["0.5", "0.25,0.26"],
                          "description": "Micrometres between pixels, 0.05 to 5: one number, or those of rows and "
                          "columns. Without it, what the file tells; where nobody tells it, the image is analysed at "
                          "three scales and answered only if all agree."},
        "target": {"type": "string", "description": "The class that the map is towards; usually the prediction."},
        "rule": {"enum": list(RULES), "default": "mean_std", "description": "The rule of the dynamic threshold."},
        "parameter": {"type": "number", "description": "Its parameter; without one, the rule's default."},
        "colour_map": {"enum": list(COLOUR_MAPS), "description": "The colours of the maps."},
        "opacity": {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "default": 0.5,
                    "description": "Of the colours on the tissue."},
        "site": {"type": "string", "description": "A site file of the server, by the name of its site."},
        "maps": {**yes, "description": "Send the images, too: patch, Grad-CAM, DT Grad-CAM and colour bar, PNG in "
                 "base64."},
        "anyway": {**yes, "description": "Answer outside the model's competence, too; the record's status says so."},
    }  # fmt: skip


def _looked_at() -> dict[str, Json]:
    """Those of an image that is kept."""
    return {name: schema for name, schema in _parameters().items() if name in LOOKED_AT | {"name"}}


def _remarks() -> dict[str, Json]:
    """What may be said of a case beside its image."""
    return {
        "title": {"type": "string", "maxLength": LONGEST_TITLE},
        "comment": {"type": "string", "maxLength": LONGEST_COMMENT},
        "read_before": {"enum": list(CALLS), "description": "One's own read before the opinion was seen."},
        "read_after": {"enum": list(CALLS), "description": "And after."},
        "agrees": {"type": "boolean", "description": "Whether one agrees with the model's answer."},
        "diagnosis": {"enum": list(DIAGNOSES), "description": "The final diagnosis."},
        "subtype": {"type": "string", "maxLength": LONGEST_TITLE, "description": "The final diagnosis in words."},
        "patient": {"type": "string", "description": "A pseudonym: cases with the same one are of one patient."},
        "shared": {"type": "boolean", "default": False, "description": "Whether others may see the case."},
    }


def _in_query(parameters: dict[str, Json]) -> list[Json]:
    return [
        {
            "name": name,
            "in": "query",
            "description": schema.get("description", ""),
            "schema": {key: value for key, value in schema.items() if key != "description"},
        }
        for name, schema in parameters.items()
    ]


def _in_path(name: str, schema: Json | None = None) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": schema or {"type": "string"}}


def _image_body(fields: dict[str, Json], most: int = 1) -> Json:
    """An image as the body itself, or up to `most` in a form with the parameters as its fields."""
    file: Json = {"type": "string", "contentMediaType": "application/octet-stream"}
    raw, several = {"schema": file}, ""
    if most > 1:
        file = {"type": "array", "minItems": 1, "maxItems": most, "items": file}
        fields = fields | {"name": {"type": "array", "items": fields["name"], "maxItems": most}}
        several = (
            f" A form may hold up to {most} images of one case: each is a part `image`, `name` is given once for each, "
            "in their order, or not at all, and the other fields hold for all of them."
        )
    form = {"type": "object", "required": ["image"], "properties": {"image": file, **fields}}
    return {
        "required": True,
        "description": "The image's file: as the body itself with its parameters in the address, whatever its media "
        f"type, or in a form as `image` with the parameters as further fields.{several}",
        "content": {"multipart/form-data": {"schema": form}, "application/octet-stream": raw, "image/*": raw},
    }


# Answers


def _answer(description: str, schema: str | Json, media: str = "application/json", headers: Json | None = None) -> Json:
    shown = {"$ref": f"#/components/schemas/{schema}"} if isinstance(schema, str) else schema
    found: Json = {"description": description, "content": {media: {"schema": shown}}}
    return found if headers is None else {**found, "headers": headers}


def _problems(*statuses: str) -> Json:
    return {
        status: _answer(PROBLEMS[status], "Problem", MEDIA, LATER if status == "429" else None)
        for status in sorted(statuses)
    }


def _opinion() -> Json:
    keep = {
        "keep": {
            "type": "boolean",
            "default": False,
            "description": "Keep image and opinion as a case; `case` of the answer is its id.",
        }
    }
    parameters = _parameters() | keep
    return {
        "operationId": "opinion",
        "summary": "An opinion on an image",
        "parameters": _in_query(parameters),
        "requestBody": _image_body(parameters),
        "responses": {"200": _answer("The opinion.", "Answer"), **_problems(*ALWAYS, *OF_IMAGES, "507")},
    }


def _keep() -> Json:
    parameters = _looked_at() | _remarks()
    return {
        "operationId": "keep",
        "summary": "Opinions on one or more images, kept as a case with what is said of it",
        "parameters": _in_query(parameters),
        "requestBody": _image_body(parameters, MOST_AT_ONCE),
        "responses": {
            "201": _answer("The case.", "Case", headers={"Location": {"schema": {"type": "string"}}}),
            **_problems(*ALWAYS, *OF_IMAGES, "507"),
        },
    }


def _add() -> Json:
    parameters = _looked_at()
    return {
        "operationId": "add",
        "summary": "An opinion on another image, kept in a case; its owner or an administrator may",
        "parameters": _in_query(parameters),
        "requestBody": _image_body(parameters),
        "responses": {
            "201": _answer(
                "The case with the image as its last one.",
                "Case",
                headers={"Location": {"description": "Of the image.", "schema": {"type": "string"}}},
            ),
            **_problems(*ALWAYS, *OF_IMAGES, "404", "507"),
        },
    }


def _search() -> Json:
    day = {"type": "string", "format": "date"}
    parameters: dict[str, Json] = {
        "text": {"type": "string", "description": "Words that all occur in what is said of the case."},
        "answer": {"enum": list(ANSWERS), "description": "The model's."},
        "agrees": {"type": "boolean", "description": "Whether the reader agrees with it."},
        "differs": {"type": "boolean", "description": "Whether the reader's call is another one."},
        "diagnosis": {"enum": list(DIAGNOSES), "description": "The final diagnosis."},
        "laboratory": {"type": "string"},
        "reader": {"type": "string", "description": "The id of who kept it."},
        "since": {**day, "description": "Kept on this day or later."},
        "until": {**day, "description": "Kept on this day or earlier."},
        "order": {"enum": list(ORDERS), "default": "created", "description": "What they are sorted by."},
        "descending": {"type": "boolean", "default": True},
        "offset": {"type": "integer", "minimum": 0, "default": 0},
        "limit": {"type": "integer", "minimum": 1, "maximum": 200, "default": 50},
    }
    return {
        "operationId": "search",
        "summary": "The cases that one may see, latest first",
        "parameters": _in_query(parameters),
        "responses": {"200": _answer("A part of them, and how many there are.", "Cases"), **_problems(*ALWAYS, "400")},
    }


def _case() -> Json:
    return {
        "operationId": "case",
        "summary": "A case; that it was seen is logged",
        "responses": {"200": _answer("The case.", "Case"), **_problems(*ALWAYS, "404")},
    }


def _change() -> Json:
    return {
        "operationId": "change",
        "summary": "Change what is said of a case; its owner or an administrator may",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Changes"}}},
        },
        "responses": {
            "200": _answer("The case as it is now.", "Case"),
            **_problems(*ALWAYS, "400", "404", "413"),
        },
    }


def _delete() -> Json:
    return {
        "operationId": "delete",
        "summary": "Delete a case with its images; that it was there stays in the log",
        "responses": {"204": {"description": "It is gone."}, **_problems(*ALWAYS, "404")},
    }


def _image() -> Json:
    return {
        "operationId": "image",
        "summary": "The file of an image of a case, as it came",
        "responses": {
            "200": _answer(
                "The bytes.",
                {"type": "string", "contentMediaType": "application/octet-stream"},
                "application/octet-stream",
            ),
            **_problems(*ALWAYS, "404"),
        },
    }


def _open(summary: str, media: str, schema: Json) -> Json:
    return {
        "summary": summary,
        "security": [{}],
        "responses": {"200": _answer(summary, schema, media)},
    }
