"""Cases to keep, and an empty store on any database."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from dala.cases.database import Database
from dala.cases.images import Images
from dala.cases.kept import NewCase, NewImage
from dala.cases.people import Person, Role
from dala.cases.store import Store
from dala.cases.tables import DeckItemRow, DeckReaderRow, DeckReadRow, DeckRow, PersonRow, TokenRow

ANNA = Person("idp|anna", "Anna Abel", Role.READER)
BEN = Person("idp|ben", "Ben Brandt", Role.READER)
TEACHER = Person("idp|tess", "Tess Teal", Role.TEACHER)
CHIEF = Person("idp|chief", "Chief", Role.ADMINISTRATOR)
WEIGHTS = "5" * 64


def opinion(answer: str = "malignant", probability: float = 0.9, laboratory: str | None = "UCSB") -> dict[str, Any]:
    """A record as `dala.export.records` writes it, as far as the store reads it, and some of what it does not read."""
    sure = answer in ("benign", "malignant")
    return {
        "file": "field.png",
        "status": "outside" if answer == "outside" else "ok",
        "reason": "The image is blank." if answer == "outside" else None,
        "gate": {"reason": None, "distance": 1.25, "rarer": 0.5, "laboratory": laboratory},
        "verdict": answer if sure else None,
        "prediction": answer if sure else "malignant",
        "probabilities": None if answer == "outside" else {"benign": 1 - probability, "malignant": probability},
        "weights": "breast",
        "weights_sha256": WEIGHTS,
        "site": {"name": "Uni-Klinik Köln \N{MICROSCOPE}", "sha256": "6" * 64},
        "map": {"values": [[0.1, -2.5e-7], [1 / 3, 0.0]]},
    }


def image(name: str = "field.png", data: bytes | None = None, **said: Any) -> NewImage:
    """An image whose bytes follow from its name, unless they are given."""
    data = f"bytes of {name}".encode() if data is None else data
    settings = {"target": "malignant", "rule": "mean_std", "parameter": 1.0, "opacity": 0.5, "fixed": False}
    return NewImage(name, data, settings, opinion(**said), b"\xff\xd8" + name.encode())


def case(*images: NewImage, **fields: Any) -> NewCase:
    """A case of one image, unless others are given."""
    return replace(NewCase(images or (image(),)), **fields)


def sqlite_store(folder: Path, **options: Any) -> Store:
    """An empty store, or the one that is in this folder already."""
    lay_tables(folder)
    return open_at(f"sqlite:///{folder / 'cases.sqlite3'}", folder / "images", **options)


def open_at(url: str, images: Path, **options: Any) -> Store:
    """The store of this database, with its tables."""
    database = Database(url)
    database.prepare()
    return Store(database, Images(images), **options)


def lay_tables(folder: Path) -> None:
    """A database of the newest schema in this folder, unless one is there: the copy of one that was migrated."""
    file = folder / "cases.sqlite3"
    if not file.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, copy = tempfile.mkstemp(dir=folder)
        with open(handle, "wb") as whole:
            whole.write(_migrated())
        with suppress(FileExistsError):  # a server may have been first
            os.link(copy, file)
        os.unlink(copy)


@cache
def _migrated() -> bytes:
    """The file of an empty database, which the migrations take a tenth of a second to make; tests of theirs do so."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/cases.sqlite3")
        database.prepare()
        database.truncate_log()
        database.close()
        return (Path(folder) / "cases.sqlite3").read_bytes()


def add_deck_and_token(session: Session, case_id: str, image_sha256: str) -> None:
    """A row in each of the tables of decks, tokens and people: a deck of one image of a kept case, which somebody has
    read."""
    now = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
    deck = "d" * 22
    for row in (
        DeckRow(id=deck, owner_id=TEACHER.id, owner_name="", title="T", seed=7, shared=True, anonymous=False,
                key="b" * 64, created=now),
        DeckItemRow(deck_id=deck, number=1, sha256=image_sha256, case_id=case_id, image=1, name="a", diagnosis="benign",
                    subtype="", words="", opinion=opinion(), revealed=False),
        DeckReaderRow(deck_id=deck, number=1, name="Seven", folded="seven", secret="c" * 64, joined=now),
        DeckReadRow(deck_id=deck, number=1, reader=1, answer="benign", marks=[[0.1, 0.5]], at=now),
        PersonRow(id=ANNA.id, subject="anna", email="anna@example.org", role="reader"),
        TokenRow(id="t", person_id=ANNA.id, person_name="A", role="reader", sha256="e" * 64, label="QuPath",
                 created=now),
    ):  # fmt: skip
        session.add(row)
        session.flush()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
