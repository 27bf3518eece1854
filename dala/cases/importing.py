"""Cases of another server's export, or of an earlier one of this server, kept as one's own: all are looked at first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import IO

from sqlalchemy import select

from dala.cases import exchange
from dala.cases.exchange import Arrived
from dala.cases.kept import Imported
from dala.cases.people import SERVER, Person
from dala.cases.store import IDENTITY, IMPORTED, Store, new_id
from dala.cases.tables import CaseRow
from dala.errors import StoreError
from dala.words import counted


def import_cases(store: Store, person: Person, archive: Path | IO[bytes]) -> Imported:
    """As `Store.import_`."""
    coming = _Coming(store, person)
    try:
        exchange.read(archive, coming.look, coming.take)
    except StoreError as error:
        new = len(coming.new)
        if not new:
            raise
        before = f"{counted(new, 'case')} of this archive {'was' if new == 1 else 'were'} imported before"
        raise StoreError(f"{error} {before}; import it again to go on.") from error
    return Imported(tuple(coming.new), tuple(coming.known), coming.renamed)


class _Coming:
    """What an archive brings: first counted, then kept, a case after another."""

    def __init__(self, store: Store, person: Person) -> None:
        self.store, self.person = store, person
        self.cases, self.sizes, self.fits = 0, dict[str, int](), False
        self.new, self.known, self.renamed = list[str](), list[str](), 0

    def look(self, arrived: Arrived) -> None:
        """Count it."""
        if not self._there(arrived.id, self.person):
            self.cases += 1
            self.sizes |= arrived.sizes if self.store.keeps_images else {}

    def take(self, arrived: Arrived) -> None:
        """Keep it, unless it is there; before the first one, CaseError for all that are more than one may keep."""
        store, person = self.store, self.person
        if not self.fits:
            with store.database.write(person) as session:
                store.quota.check(session, person.id, store.images, self.cases, self.sizes, "nothing was imported")
            self.fits = True
        if self._there(arrived.id, person):
            self.known.append(arrived.id)
            return
        # Somebody else's: the same words as if there were none.
        taken = IDENTITY.fullmatch(arrived.id) is None or self._there(arrived.id, SERVER)
        identity = new_id() if taken else arrived.id
        self.renamed += taken
        store.insert(
            person,
            identity,
            replace(arrived.case, shared=False),
            IMPORTED,
            reader=arrived.reader,
            created=arrived.created,
            changed=arrived.changed,
            versions=arrived.versions,
        )
        self.new.append(identity)

    def _there(self, identity: str, person: Person) -> bool:
        """Whether somebody can see a case of this id."""
        with self.store.database.read(person) as session:
            return session.scalar(select(CaseRow.id).where(CaseRow.id == identity)) is not None
