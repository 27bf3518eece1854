"""A filled database of each released schema, as SQL under tests/cases/released, which every later version must read.

    python tests/helpers/released.py

writes the one of the newest schema, before its release; that of a released one is never written again.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from dala.cases.database import HEAD  # noqa: E402
from tests.helpers.cases import ANNA, BEN, TEACHER, add_deck_and_token, case, image, sha256, sqlite_store  # noqa: E402

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
    """Write the SQL of a database of the newest schema."""
    path = FOLDER / f"{HEAD}.sql"
    with tempfile.TemporaryDirectory() as folder:
        store = sqlite_store(Path(folder))
        for identity, (person, new) in cases().items():
            store.insert(person, identity, new, "kept", reader=(person.id, person.name), created=WHEN)  # type: ignore
        with store.database.write(TEACHER) as session:
            add_deck_and_token(session, FIRST, sha256(b"bytes of one.png"))
        store.case(BEN, FIRST)
        store.database.close()
        with sqlite3.connect(Path(folder) / "cases.sqlite3") as connection:
            path.write_text("\n".join(connection.iterdump()) + "\n", encoding="utf-8")
    return path


if __name__ == "__main__":
    print(write())
