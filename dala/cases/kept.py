"""What is kept and found again: the typed records that pages, the HTTP API and the store exchange."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal, get_args

from dala.errors import CaseError

Json = dict[str, Any]
Answer = Literal["benign", "malignant", "not sure", "outside"]
Call = Literal["benign", "malignant", "not sure"]
Diagnosis = Literal["benign", "malignant"]
Order = Literal["created", "changed", "title", "answer", "probability", "laboratory", "reader", "agrees"]
ANSWERS: tuple[Answer, ...] = get_args(Answer)
CALLS: tuple[Call, ...] = get_args(Call)
DIAGNOSES: tuple[Diagnosis, ...] = get_args(Diagnosis)
ORDERS: tuple[Order, ...] = get_args(Order)

LONGEST_TITLE, LONGEST_COMMENT, LONGEST_NAME = 200, 4000, 300
MOST_IMAGES = 100
LARGEST_IMAGE, LARGEST_THUMBNAIL, LARGEST_RECORD = 64 * 2**20, 256 * 2**10, 8 * 2**20  # bytes


@dataclass(frozen=True)
class NewImage:
    """An image, or a field of a slide, with what the model said of it.

    name        the file's name as it may be shown; "" where it names a patient
    data        the file's bytes; None: they are not kept, only what was said
    settings    target, rule, parameter, opacity, colour_map, fixed, limit: how the maps were looked at
    opinion     a record of `dala.export.records`, which must tell `status` and `weights_sha256`
    thumbnail   a small JPEG, which the list of cases shows
    origin      where a field was cut out: {"slide": name, "box": [left, top, right, bottom]} in pixels of level 0
    """

    name: str
    data: bytes | None
    settings: Json
    opinion: Json
    thumbnail: bytes
    origin: Json | None = None


@dataclass(frozen=True)
class NewCase:
    """A case to keep. `read_before` and `read_after` hold at least {"call": one of CALLS}, and may hold "confidence";
    `read_before` was recorded before the answer was seen and is never changed afterwards. `diagnosis` is the final one,
    `subtype` its words; `patient` groups cases for intervals and may be any pseudonym."""

    images: Sequence[NewImage]
    title: str = ""
    comment: str = ""
    read_before: Json | None = None
    read_after: Json | None = None
    agrees: bool | None = None
    diagnosis: str | None = None
    subtype: str = ""
    patient: str | None = None
    shared: bool = False


CHANGEABLE = ("title", "comment", "read_after", "agrees", "diagnosis", "subtype", "patient", "shared")


@dataclass(frozen=True)
class KeptImage:
    """An image of a kept case; `number` counts from 1, `sha256` is that of its bytes and None where they were not kept,
    `version` is that of dala when it was kept."""

    number: int
    name: str
    sha256: str | None
    settings: Json
    opinion: Json
    thumbnail: bytes
    origin: Json | None
    version: str

    @property
    def answer(self) -> Answer:
        return answer_of(self.opinion)


@dataclass(frozen=True)
class KeptCase:
    """A case as it was kept; `owner` is who may change it beside administrators, `reader` is who read it: another one
    where it was imported. Both are (id, name). Times are in UTC."""

    id: str
    owner: tuple[str, str]
    reader: tuple[str, str]
    created: datetime
    changed: datetime
    title: str
    comment: str
    read_before: Json | None
    read_after: Json | None
    agrees: bool | None
    diagnosis: Diagnosis | None
    subtype: str
    patient: str | None
    shared: bool
    images: tuple[KeptImage, ...]
    may_change: bool

    @property
    def answer(self) -> Answer:
        return answer_of_all([image.answer for image in self.images])


@dataclass(frozen=True)
class Query:
    """Which cases, and in which order. None and "" ask for nothing.

    text: every word of it occurs in title, comment, subtype, patient, reader or names. reader: an id. differs: the
    reader's call (before the answer, else after it) is another one than the model's answer, counted only where both
    are benign or malignant. since, until: days of keeping in UTC, both included. ids: only these.
    """

    text: str = ""
    answer: str | None = None
    agrees: bool | None = None
    differs: bool | None = None
    diagnosis: str | None = None
    laboratory: str | None = None
    reader: str | None = None
    since: date | None = None
    until: date | None = None
    ids: Sequence[str] | None = None
    order: str = "created"
    descending: bool = True


@dataclass(frozen=True)
class Row:
    """A case in a list. `answer`, `probability` (of malignant) and `laboratory` are those of the whole case: see
    `answer_of_all`; `thumbnail` is of its first image."""

    id: str
    title: str
    created: datetime
    changed: datetime
    reader: tuple[str, str]
    own: bool
    shared: bool
    images: int
    answer: Answer
    probability: float | None
    laboratory: str | None
    call: Call | None
    agrees: bool | None
    diagnosis: Diagnosis | None
    thumbnail: bytes


@dataclass(frozen=True)
class Found:
    """How many cases there are, and those of this page."""

    total: int
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Choices:
    """What there is to filter by among the cases that a person may see; readers are (id, name)."""

    answers: tuple[str, ...]
    laboratories: tuple[str, ...]
    readers: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class AgreementRow:
    """What agreement is counted from: one case. `before` and `after` are the reader's calls."""

    id: str
    created: datetime
    reader: tuple[str, str]
    patient: str | None
    laboratory: str | None
    answer: Answer
    probability: float | None
    before: Call | None
    after: Call | None
    agrees: bool | None
    diagnosis: Diagnosis | None


@dataclass(frozen=True)
class Imported:
    """The ids of cases that an archive brought, of those that were there already, and how many came under a new id."""

    new: tuple[str, ...]
    known: tuple[str, ...] = ()
    renamed: int = field(default=0)


# What a record says


def answer_of(opinion: Json) -> Answer:
    """The model's answer in one word; "outside" for an image that it is not competent for, whatever it said anyway."""
    if opinion.get("status") != "ok":
        return "outside"
    verdict = opinion.get("verdict")
    return verdict if verdict in DIAGNOSES else "not sure"


def answer_of_all(answers: Sequence[Answer]) -> Answer:
    """The answer of a case of several images: malignant if any image is, else not sure if any is, else benign if any
    is; outside only where all images are."""
    for one in ("malignant", "not sure", "benign"):
        if one in answers:
            return one
    return "outside"


def probability_of(opinion: Json) -> float | None:
    """The probability of malignant, 0 to 1; None where the record has none."""
    shares = opinion.get("probabilities")
    value = shares.get("malignant") if isinstance(shares, dict) else None
    return float(value) if isinstance(value, (int, float)) else None


def laboratory_of(opinion: Json) -> str | None:
    """The laboratory that the image was taken for."""
    gate = opinion.get("gate")
    value = gate.get("laboratory") if isinstance(gate, dict) else None
    return value if isinstance(value, str) and value else None


def call_of(read: Json | None) -> Call | None:
    """The call of an own read."""
    return None if read is None else read["call"]


# What may be kept


def check_case(case: NewCase) -> None:
    """Raise CaseError for what cannot be kept."""
    if not 1 <= len(case.images) <= MOST_IMAGES:
        raise CaseError(f"A case has 1 to {MOST_IMAGES} images, not {len(case.images)}.")
    check_read("read_before", case.read_before)
    check_fields({key: getattr(case, key) for key in CHANGEABLE})
    for image in case.images:
        check_image(image)


def check_image(image: NewImage) -> None:
    """Raise CaseError for an image that cannot be kept."""
    _check_text("The name of an image", image.name, LONGEST_NAME)
    if image.data is not None and not 0 < len(image.data) <= LARGEST_IMAGE:
        raise CaseError(f"An image to keep has at most {LARGEST_IMAGE // 2**20} MB and is not empty.")
    if len(image.thumbnail) > LARGEST_THUMBNAIL:
        raise CaseError(f"A thumbnail has at most {LARGEST_THUMBNAIL // 2**10} kB.")
    weights, status = image.opinion.get("weights_sha256"), image.opinion.get("status")
    if not isinstance(weights, str) or not isinstance(status, str):
        raise CaseError("An opinion to keep says which weights gave it, and whether they are competent for the image.")
    for record in (image.opinion, image.settings, image.origin):
        check_record(record)


def check_record(record: Json | None) -> None:
    """Raise CaseError for what is no JSON or too long."""
    try:
        text = json.dumps(record, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise CaseError("What is to be kept cannot be written as JSON.") from error
    if len(text) > LARGEST_RECORD:
        raise CaseError(f"An opinion to keep has at most {LARGEST_RECORD // 2**20} MB.")


def check_read(name: str, read: object) -> None:
    """Raise CaseError for an own read without a call that there is."""
    if read is not None and (not isinstance(read, dict) or read.get("call") not in CALLS):
        raise CaseError(f"An own read ({name}) is one of {', '.join(CALLS)}.")
    check_record(read)


def check_fields(fields: Json) -> None:
    """Raise CaseError for a field that cannot be changed, or for a value that it cannot have."""
    if unknown := sorted(fields.keys() - set(CHANGEABLE)):
        raise CaseError(f"{unknown[0]} of a case cannot be changed.")
    if "read_after" in fields:
        check_read("read_after", fields["read_after"])
    for name, longest in (("title", LONGEST_TITLE), ("comment", LONGEST_COMMENT), ("subtype", LONGEST_TITLE)):
        if name in fields:
            _check_text(f"The {name}", fields[name], longest)
    if fields.get("patient") is not None:
        _check_text("The patient", fields["patient"], LONGEST_TITLE)
    if fields.get("diagnosis") not in (None, *DIAGNOSES):
        raise CaseError(f"A final diagnosis is one of {', '.join(DIAGNOSES)}.")
    if "shared" in fields and not isinstance(fields["shared"], bool):
        raise CaseError("A case is shared or it is not.")
    if fields.get("agrees") not in (None, True, False):
        raise CaseError("A reader agrees, disagrees, or has not said.")


def _check_text(what: str, text: object, longest: int) -> None:
    if not isinstance(text, str):
        raise CaseError(f"{what} is text.")
    if len(text) > longest:
        raise CaseError(f"{what} may hold at most {longest} characters, not {len(text)}.")
    if "\0" in text or text != text.encode("utf-8", "ignore").decode("utf-8"):
        raise CaseError(f"{what} holds characters that cannot be kept.")
