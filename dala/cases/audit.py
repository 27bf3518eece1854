"""The log: who did what with which case, append-only, each entry with the hash of the one before.

An entry that was changed, removed or moved no longer fits its hash or its neighbour. One that was cut off at the end is
missed by the head, which says where the log ends; who can write to the database could cut both, so the head is printed
by `dala audit verify`, is in every export and backup, and can be noted elsewhere: `--head` asks whether
it is still there.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.orm import Session

from dala.cases.people import Person
from dala.cases.tables import AuditRow, HeadRow
from dala.errors import CaseError

FIRST = "0" * 64  # what stands in the place of the hash before the first entry
SEEN_AGAIN = timedelta(minutes=10)  # a page that is drawn anew within these shows the same visit
PIECE = 1000
HEAD = re.compile(r"(\d+):([0-9a-f]{64})")


@dataclass(frozen=True)
class Entry:
    """An entry of the log, counted from 1; `at` is ISO 8601 in UTC, `details` is JSON without any text of a case."""

    number: int
    at: str
    who: str
    what: str
    case_id: str | None
    details: str
    previous: str
    sha256: str

    @property
    def expected(self) -> str:
        """The sha256 that belongs to everything else in the entry."""
        return digest(asdict(self))


@dataclass(frozen=True)
class Head:
    """Where the log ends: the number and hash of its last entry, in words "NUMBER:SHA256"."""

    number: int
    sha256: str

    def __str__(self) -> str:
        return f"{self.number}:{self.sha256}"


@dataclass(frozen=True)
class Verified:
    """What a check of the log found: how many entries there are, where the log ends, and a sentence for each fault."""

    entries: int
    head: Head
    problems: tuple[str, ...]


def digest(entry: dict[str, Any]) -> str:
    """sha256 of the JSON (sorted keys, ASCII) of an entry without its own hash."""
    content = {key: value for key, value in entry.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode("ascii")).hexdigest()


def append(session: Session, person: Person, what: str, case_ids: Sequence[str | None], **details: Any) -> None:
    """Append an entry for each case, as the last thing in a transaction: the log is locked until that ends."""
    head = session.execute(select(HeadRow.__table__).with_for_update()).one()
    number, previous = head.number, head.sha256
    at = datetime.now(UTC).isoformat(timespec="microseconds")
    rows = []
    for case_id in case_ids:
        number += 1
        entry: dict[str, Any] = {
            "number": number,
            "at": at,
            "who": person.id,
            "what": what,
            "case_id": case_id,
            "details": json.dumps(details, sort_keys=True),
            "previous": previous,
        }
        previous = digest(entry)
        rows.append({**entry, "sha256": previous})
    if rows:
        session.execute(insert(AuditRow.__table__), rows)  # type: ignore[arg-type]
        session.execute(update(HeadRow.__table__).values(number=number, sha256=previous))  # type: ignore[arg-type]


def seen_lately(session: Session, person: Person, case_id: str) -> bool:
    """Whether the log says that this person has just seen the case."""
    since = (datetime.now(UTC) - SEEN_AGAIN).isoformat(timespec="microseconds")
    one = AuditRow.case_id == case_id, AuditRow.who == person.id, AuditRow.what == "seen", AuditRow.at > since
    return session.execute(select(AuditRow.number).where(*one).limit(1)).first() is not None


def entries(session: Session, case_ids: Sequence[str] | None = None) -> Iterator[Entry]:
    """The entries that the session's person may see, in order; of these cases only, if any are named."""
    asked = select(AuditRow).order_by(AuditRow.number)
    if case_ids is not None:
        asked = asked.where(AuditRow.case_id.in_(case_ids))
    for row in session.scalars(asked.execution_options(yield_per=PIECE)):
        yield Entry(**{name: getattr(row, name) for name in Entry.__dataclass_fields__})


def head_of(connection: Session | Connection) -> Head:
    """Where the log ends, as it says itself."""
    found = connection.execute(select(HeadRow.__table__)).one()
    return Head(found.number, found.sha256)


def read_head(text: str) -> Head:
    """A head that was noted; CaseError for anything else."""
    found = HEAD.fullmatch(text.strip())
    if found is None:
        raise CaseError("The end of a log is noted as NUMBER:SHA256, as `dala audit verify` prints it.")
    return Head(int(found[1]), found[2])


def verify(log: Iterable[Entry], head: Head, noted: Head | None = None, most: int = 20) -> Verified:
    """Check every entry against its hash and the one before, the last against the head, and a head that was `noted`
    elsewhere against its entry. At most so many faults are named."""
    problems: list[str] = []
    count, last = 0, Head(0, FIRST)
    is_noted = noted is None or noted == last
    for entry in log:
        count += 1
        if entry.number != last.number + 1:
            problems.append(f"Between entry {last.number} and entry {entry.number} the log has a gap or another order.")
        if entry.previous != last.sha256:
            problems.append(f"Entry {entry.number} does not follow the one before: one was changed, removed or moved.")
        if entry.sha256 != entry.expected:
            problems.append(f"Entry {entry.number} was changed: its hash is of something else.")
        last = Head(entry.number, entry.sha256)
        is_noted = is_noted or last == noted
    if last != head:
        problems.append(f"The log ends at entry {last.number}, and should end at entry {head.number}: it was cut off.")
    if not is_noted and noted is not None:
        problems.append(f"The log does not hold entry {noted.number} as it was noted: it was cut off or written anew.")
    return Verified(count, last, tuple(problems[:most]))
