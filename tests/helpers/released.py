"""A filled database of each released schema, as SQL and as a backup, under tests/cases/released: later versions must
read both.

    python tests/helpers/released.py

writes those of the newest schema, before its release; those of a released one are never written again.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from dala.cases import audit  # noqa: E402
from dala.cases.backup import back_up  # noqa: E402
from dala.cases.database import HEAD  # noqa: E402
from dala.cases.people import SERVER  # noqa: E402
from dala.cases.store import Store  # noqa: E402
from tests.helpers.cases import ANNA, BEN, CHIEF, TEACHER, add_deck_and_token, case, image, sha256, sqlite_store  # noqa: E402

FOLDER = ROOT / "tests" / "cases" / "released"
FIRST, SECOND = "f" * 22, "s" * 22
WHEN = datetime(2026, 11, 29, 15, 30, 0, 250000, tzinfo=UTC)


def cases() -> dict[str, tuple[object, object]]:
    """What each of them holds: the cases by id, with who keeps them."""
    return {
        FIRST: (
            ANNA,
            case(
                image("one.png"),
                image("two.png", answer="benign", probability=0.125, laboratory="TCGA"),
                title="Two ducts \N{MICROSCOPE}",
                comment="First line\nsecond",
                read_before={"call": "benign", "confidence": 0.75},
                agrees=False,
                diagnosis="malignant",
                subtype="lobular",
                patient="P-17",
                shared=True,
            ),
        ),
        SECOND: (BEN, case(image("three.png", answer="not sure"))),
    }


def write() -> Path:
    """Write a database of the newest schema, as SQL and as a backup."""
    path = FOLDER / f"{HEAD}.sql"
    with tempfile.TemporaryDirectory() as folder:
        store = sqlite_store(Path(folder))
        for identity, (person, new) in cases().items():
            store.insert(person, identity, new, "kept", reader=(person.id, person.name), created=WHEN)  # type: ignore
        with store.database.write(TEACHER) as session:
            add_deck_and_token(session, FIRST, sha256(b"bytes of one.png"))
        store.case(BEN, FIRST)
        back_up(store, path.with_suffix(".zip"))
        store.database.close()
        with sqlite3.connect(Path(folder) / "cases.sqlite3") as connection:
            path.write_text("\n".join(connection.iterdump()) + "\n", encoding="utf-8")
    return path


def check_released(store: Store) -> None:
    """Assert that everything that is written above is in a store of this version."""
    for identity, (person, new) in cases().items():
        found = store.case(CHIEF, identity)
        assert found.owner == (person.id, person.name) and found.created == WHEN
        for name in (
            "title",
            "comment",
            "read_before",
            "read_after",
            "agrees",
            "diagnosis",
            "subtype",
            "patient",
            "shared",
        ):
            assert getattr(found, name) == getattr(new, name)
        assert [(one.name, one.opinion, one.settings, one.thumbnail) for one in found.images] == [
            (one.name, one.opinion, one.settings, one.thumbnail) for one in new.images
        ]
    assert [row.id for row in store.search(ANNA).rows] == [FIRST] and store.search(BEN).total == 2
    with store.database.read(SERVER) as session:
        log = list(audit.entries(session))
        assert [(one.who, one.what, one.case_id) for one in log[:3]] == [
            (ANNA.id, "kept", FIRST), (BEN.id, "kept", SECOND), (BEN.id, "seen", FIRST)
        ]  # fmt: skip
        assert audit.verify(log, audit.head_of(session)).problems == ()


if __name__ == "__main__":
    print(write())
