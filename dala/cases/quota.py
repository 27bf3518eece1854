"""How much one person may keep: so many cases, and so many bytes of images in cases and teaching decks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dala.errors import QuotaReached
from dala.words import counted

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from dala.cases.images import Images

MOST, GB = "DALA_CASES_MOST", "DALA_CASES_GB"  # the settings, which the sentences name


@dataclass(frozen=True)
class Quota:
    """The most that one person may keep; None: any number. An image counts once, however many cases hold it."""

    cases: int | None = 20_000
    gb: float | None = 20.0  # 10^9 bytes

    def check(
        self,
        session: Session,
        owner_id: str,
        images: Images,
        cases: int = 0,
        coming: Mapping[str, int] | None = None,
        outcome: str = "nothing was kept",
    ) -> None:
        """QuotaReached where what this person keeps, with what the transaction has added and with so many `cases` and
        images (bytes by sha256) still `coming`, is more than that. The log is locked until the transaction ends, so
        that two at the same time do not both fit."""
        from sqlalchemy import func, select  # settings name a quota long before a database is opened

        from dala.cases.tables import CaseRow, DeckItemRow, DeckRow, HeadRow, ImageRow

        if self.cases is None and self.gb is None:
            return
        session.execute(select(HeadRow.__table__).with_for_update())
        if self.cases is not None:
            asked = select(func.count()).select_from(CaseRow).where(CaseRow.owner_id == owner_id)
            if (session.scalar(asked) or 0) + cases > self.cases:
                most = counted(self.cases, "case")
                raise QuotaReached(
                    f"One person may keep at most {most} on this server ({MOST}), and this would be more; {outcome}."
                )
        if self.gb is not None:
            sizes = dict(coming or {})
            of_cases = select(ImageRow.sha256).join(CaseRow).where(CaseRow.owner_id == owner_id)
            of_decks = select(DeckItemRow.sha256).join(DeckRow).where(DeckRow.owner_id == owner_id)
            for asked_for in (of_cases, of_decks):
                for sha256 in session.scalars(asked_for.distinct()):
                    if sha256 is not None and sha256 not in sizes:
                        sizes[sha256] = images.size(sha256)
            if (total := sum(sizes.values())) > self.gb * 1e9:
                raise QuotaReached(
                    f"One person may keep at most {self.gb:,g} GB of images on this server, in cases and decks ({GB}), "
                    f"and this would be {total / 1e9:,.3g} GB; {outcome}."
                )


USUAL = Quota()
