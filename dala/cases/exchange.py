"""Cases that leave one server and come to another: a ZIP of their JSON, their images and what the log says of them."""

from __future__ import annotations

import base64
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from dala import __version__
from dala.cases.archives import MANIFEST, read_image, read_json, reading, write_image, writing
from dala.cases.audit import Entry, Head
from dala.cases.images import Images
from dala.cases.kept import CHANGEABLE, LONGEST_NAME, KeptCase, NewCase, NewImage, check_case
from dala.errors import CaseError, StoreError

KIND = "export"


@dataclass(frozen=True)
class Arrived:
    """A case out of an archive: its id there, what to keep, who read it, when, by which versions of dala, and how many
    bytes its images have, by their sha256."""

    id: str
    case: NewCase
    reader: tuple[str, str]
    created: datetime
    changed: datetime
    versions: tuple[str, ...]
    sizes: dict[str, int]


def write(
    to: Path | IO[bytes], cases: Sequence[KeptCase], images: Images, logged: Callable[[], tuple[Sequence[Entry], Head]]
) -> None:
    """Write an archive of these cases; of an image whose bytes were kept it holds the bytes, once. `logged` is asked
    once the images are in it: the log of these cases, and where it ends. StoreError, which names the case, where the
    bytes of an image are missing or damaged."""
    with writing(to) as archive:
        written = set[str]()
        for case in cases:
            archive.writestr(f"cases/{case.id}.json", json.dumps(record_of(case), indent=1, allow_nan=False))
            for image in case.images:
                if image.sha256 is None or image.sha256 in written:
                    continue
                try:
                    write_image(archive, images, image.sha256)
                except StoreError as error:
                    named = f'"{case.title}"' if case.title else f"of {case.created:%Y-%m-%d %H:%M} UTC"
                    raise StoreError(
                        f"Nothing was exported: the bytes of image {image.number} of the case {named} are missing or "
                        "damaged in this server's folder of images."
                    ) from error
                written.add(image.sha256)
        log, head = logged()
        archive.writestr("log.json", json.dumps([asdict(entry) for entry in log], indent=1))
        manifest = {
            "kind": KIND,
            "format": 1,
            "dala": __version__,
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "log_head": str(head),
            "cases": [case.id for case in cases],
            "notice": "For research and teaching only, not for diagnosis.",
        }
        archive.writestr(MANIFEST, json.dumps(manifest, indent=1))


def record_of(case: KeptCase) -> dict[str, Any]:
    """A case as JSON; a thumbnail is Base64, and bytes of images are not in it."""
    plain = {
        field.name: getattr(case, field.name) for field in fields(case) if field.name not in ("images", "may_change")
    }
    return {
        **plain,
        "created": case.created.isoformat(),
        "changed": case.changed.isoformat(),
        "answer": case.answer,
        "images": [
            {**asdict(image), "answer": image.answer, "thumbnail": base64.b64encode(image.thumbnail).decode("ascii")}
            for image in case.images
        ],
    }


def look_at(source: Path | IO[bytes]) -> list[str]:
    """The ids of the cases of an archive; CaseError for a file that is none."""
    with reading(source, KIND) as (_, manifest):
        return [str(identity) for identity in manifest["cases"]]


def read(source: Path | IO[bytes], look: Callable[[Arrived], None], take: Callable[[Arrived], None]) -> None:
    """Hand every case of an archive to `look`, one after another, and then, once all of them are as they should be, to
    `take`; CaseError for an archive that is none, damaged, or holds what cannot be kept."""
    with reading(source, KIND) as (archive, manifest):
        for act in (look, take):
            for identity in manifest["cases"]:
                act(_arrived(archive, str(identity)))


def _arrived(archive: zipfile.ZipFile, identity: str) -> Arrived:
    record = read_json(archive, f"cases/{identity}.json")
    images = [
        NewImage(
            one["name"],
            None if one["sha256"] is None else read_image(archive, one["sha256"]),
            one["settings"],
            one["opinion"],
            base64.b64decode(one["thumbnail"], validate=True),
            one["origin"],
        )
        for one in record["images"]
    ]
    case = NewCase(images, read_before=record["read_before"], **{name: record[name] for name in CHANGEABLE})
    check_case(case)
    reader, versions = tuple(record["reader"]), tuple(one["version"] for one in record["images"])
    if len(reader) != 2 or not all(isinstance(one, str) and len(one) <= LONGEST_NAME for one in (*reader, *versions)):
        raise CaseError("An archive names who read a case, and by which version of dala.")
    if any("\0" in one or not one.isprintable() for one in (*reader, *versions)):
        raise CaseError("A name in this archive holds characters that cannot be kept.")
    created, changed = (datetime.fromisoformat(record[key]) for key in ("created", "changed"))
    if created.tzinfo is None or changed.tzinfo is None:
        raise CaseError("A time in this archive has no zone.")
    sizes = {
        one["sha256"]: len(image.data)
        for one, image in zip(record["images"], images, strict=True)
        if image.data is not None
    }
    return Arrived(identity, case, (reader[0], reader[1]), created, changed, versions, sizes)
