"""Teaching decks as the typed records that pages and `dala.cases.decks` exchange."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from dala.cases.kept import DIAGNOSES, LONGEST_NAME, LONGEST_TITLE, Json, check_record
from dala.errors import CaseError

LONGEST_READER, LONGEST_WORDS, MOST_ITEMS, MOST_POINTS = 60, 2000, 50, 2000

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class NewItem:
    """An image to read: a PNG of what is shown, without any other data of its file, and what is revealed afterwards.

    name: what the teacher knows it by; students never see it, for it may tell the answer. opinion: the model's record.
    case_id, image: the kept case that it comes from.
    """

    png: bytes
    name: str
    diagnosis: str | None
    subtype: str = ""
    words: str = ""
    opinion: Json | None = None
    case_id: str | None = None
    image: int | None = None


@dataclass(frozen=True)
class MadeDeck:
    """A new deck: its id, which is its address, and the teacher's key, which is told once and kept nowhere."""

    id: str
    key: str


@dataclass(frozen=True)
class Truth:
    """What is revealed of a case; `name` only to the teacher."""

    diagnosis: str | None
    subtype: str
    words: str
    opinion: Json | None
    name: str = ""


@dataclass(frozen=True)
class Read:
    """What one reader, by number of joining, answered to one case: a call, and a mark in shares 0..1 of the image."""

    number: int
    reader: int
    call: str
    mark: Points


@dataclass(frozen=True)
class Item:
    """A case of a deck as somebody may see it: the truth and everybody's reads are None until they are revealed, and
    always there for the teacher; `own` is what this reader answered."""

    number: int
    revealed: bool
    truth: Truth | None
    reads: tuple[Read, ...] | None
    own: Read | None


@dataclass(frozen=True)
class Deck:
    """A deck as somebody may see it. `shared`: whether it is open for reading; `anonymous`: without log-in, too.
    `readers`: the names by number of joining, from 1; for a student only the own one. `me`: that number."""

    id: str
    title: str
    seed: int
    created: datetime
    owner: tuple[str, str]
    shared: bool
    anonymous: bool
    items: tuple[Item, ...]
    readers: dict[int, str]
    me: int | None = None


@dataclass(frozen=True)
class DeckSummary:
    """A deck in the list of its teacher."""

    id: str
    title: str
    created: datetime
    shared: bool
    items: int
    readers: int


def check_deck(title: str, items: Sequence[NewItem]) -> None:
    """Raise CaseError for what cannot be a deck."""
    if not 1 <= len(title.strip()) <= LONGEST_TITLE or "\0" in title:
        raise CaseError(f"A deck has a title of 1 to {LONGEST_TITLE} characters.")
    if not 1 <= len(items) <= MOST_ITEMS:
        raise CaseError(f"A deck has 1 to {MOST_ITEMS} cases, not {len(items)}.")
    for item in items:
        if item.diagnosis not in (None, *DIAGNOSES):
            raise CaseError(f"The answer to a case is one of {', '.join(DIAGNOSES)}, or not known.")
        if len(item.name) > LONGEST_NAME or len(item.subtype) > LONGEST_NAME or len(item.words) > LONGEST_WORDS:
            raise CaseError(f"The words on a case may hold at most {LONGEST_WORDS} characters, names {LONGEST_NAME}.")
        if "\0" in item.name + item.subtype + item.words:
            raise CaseError("The words on a case hold characters that cannot be kept.")
        if not item.png:
            raise CaseError("A case of a deck has an image.")
        check_record(item.opinion)
