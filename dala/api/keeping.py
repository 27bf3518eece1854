"""Opinions that the API gave, as images to keep; and a kept case as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dala.cases.kept import KeptCase, NewImage, Row

if TYPE_CHECKING:
    from dala.api.answers import Asked
    from dala.api.body import SentImage
    from dala.opinion import Opinion


def new_image(opinion: Opinion, sent: SentImage, asked: Asked) -> NewImage:
    """The image with its opinion, and its name where that was given on purpose, for a file's own may identify a
    patient. Raises DalaError for a target or rule that there is not."""
    from dala.api.answers import explained
    from dala.export.kept import kept_record, thumbnail

    explanation = explained(opinion, asked)
    settings = {
        "target": explanation.target,
        "rule": explanation.regions.rule,
        "parameter": explanation.regions.parameter,
        "opacity": asked.opacity,
        "colour_map": asked.colour_map,
        "fixed": False,
        "limit": None,
    }
    return NewImage(
        opinion.patch.name if sent.named else "",
        sent.data,
        settings,
        kept_record(opinion, explanation),
        thumbnail(opinion.image),
    )


def case_record(case: KeptCase) -> dict[str, Any]:
    """A kept case, ready for JSON; the images' bytes are asked for one by one."""
    return {
        "id": case.id,
        "owner": _somebody(case.owner),
        "reader": _somebody(case.reader),
        "created": case.created.isoformat(),
        "changed": case.changed.isoformat(),
        "answer": case.answer,
        "title": case.title,
        "comment": case.comment,
        "read_before": case.read_before,
        "read_after": case.read_after,
        "agrees": case.agrees,
        "diagnosis": case.diagnosis,
        "subtype": case.subtype,
        "patient": case.patient,
        "shared": case.shared,
        "may_change": case.may_change,
        "images": [
            {
                "number": image.number,
                "name": image.name,
                "sha256": image.sha256,
                "settings": image.settings,
                "opinion": image.opinion,
                "origin": image.origin,
                "version": image.version,
            }
            for image in case.images
        ],
    }


def rows(found: Sequence[Row]) -> list[dict[str, Any]]:
    """Cases in a list, ready for JSON, without their thumbnails."""
    return [
        {
            **{key: value for key, value in asdict(row).items() if key != "thumbnail"},
            "created": row.created.isoformat(),
            "changed": row.changed.isoformat(),
            "reader": _somebody(row.reader),
        }
        for row in found
    ]


def _somebody(person: tuple[str, str]) -> dict[str, str]:
    return {"id": person[0], "name": person[1]}
