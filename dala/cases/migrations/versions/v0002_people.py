"""Schema 0002: what the log-in of somebody who has tokens last said, from which the role of the tokens follows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: None = None
depends_on: None = None

tokens = sa.table("tokens", sa.column("person_id", sa.Text()))


def upgrade() -> None:
    people = op.create_table(
        "people",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_people"),
    )
    # Of tokens that there are: an id of a log-in is "issuer|subject", and what it claims is known at the next one.
    ids = op.get_bind().scalars(sa.select(tokens.c.person_id).distinct().order_by(tokens.c.person_id)).all()
    known = [
        {"id": one, "subject": one.partition("|")[2], "email": "", "role": "reader"} for one in ids if "|" in one
    ]  # fmt: skip
    if known:
        op.bulk_insert(people, known)
