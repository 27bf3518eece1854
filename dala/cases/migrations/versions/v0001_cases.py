"""Schema 0001, the first: cases and their images, the log, tokens, teaching decks."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None
branch_labels: None = None
depends_on: None = None

ID, SHA256 = sa.String(22), sa.String(64)
TIME = sa.DateTime(timezone=True)
FIRST = "0" * 64

# The log is appended to and never changed, whoever asks.
SQLITE_GUARDS = (
    "CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END",
    "CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END",
)
POSTGRESQL_GUARDS = (
    "CREATE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'the log is append-only'; END $$",
    "CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
    "FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only()",
)


def text(name: str, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def time(name: str, nullable: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, TIME, nullable=nullable)


def upgrade() -> None:
    op.create_table("blobs", sa.Column("sha256", SHA256, nullable=False), sa.PrimaryKeyConstraint("sha256"))
    op.create_table(
        "cases",
        sa.Column("id", ID, nullable=False),
        text("owner_id"),
        text("owner_name"),
        text("reader_id"),
        text("reader_name"),
        time("created"),
        time("changed"),
        text("title"),
        text("comment"),
        text("read_before", nullable=True),
        text("read_after", nullable=True),
        sa.Column("agrees", sa.Boolean(), nullable=True),
        text("diagnosis", nullable=True),
        text("subtype"),
        text("patient", nullable=True),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.Column("images", sa.Integer(), nullable=False),
        text("answer"),
        sa.Column("probability", sa.Double(), nullable=True),
        text("laboratory", nullable=True),
        text("call", nullable=True),
        text("words"),
        sa.PrimaryKeyConstraint("id", name="pk_cases"),
    )
    for column in ("owner_id", "reader_id", "created", "answer"):
        op.create_index(f"ix_cases_{column}", "cases", [column])
    op.create_table(
        "case_images",
        sa.Column("case_id", ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        text("name"),
        sa.Column("sha256", SHA256, nullable=True),
        text("settings"),
        text("opinion"),
        text("origin", nullable=True),
        sa.Column("thumbnail", sa.LargeBinary(), nullable=False),
        text("weights_sha256"),
        text("version"),
        sa.PrimaryKeyConstraint("case_id", "number", name="pk_case_images"),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], ondelete="CASCADE", name="fk_case_images_case_id"),
        sa.ForeignKeyConstraint(["sha256"], ["blobs.sha256"], name="fk_case_images_sha256"),
    )
    op.create_index("ix_case_images_sha256", "case_images", ["sha256"])
    _log()
    _tokens()
    _decks()


def _log() -> None:
    op.create_table(
        "audit",
        sa.Column("number", sa.Integer(), nullable=False, autoincrement=False),
        text("at"),
        text("who"),
        text("what"),
        text("case_id", nullable=True),
        text("details"),
        sa.Column("previous", SHA256, nullable=False),
        sa.Column("sha256", SHA256, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_audit"),
    )
    op.create_index("ix_audit_case_id_who_what", "audit", ["case_id", "who", "what"])
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("sha256", SHA256, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_head"),
        sa.CheckConstraint("id = 1", name="ck_audit_head_one"),
    )
    op.bulk_insert(head, [{"id": 1, "number": 0, "sha256": FIRST}])
    for guard in SQLITE_GUARDS if op.get_bind().dialect.name == "sqlite" else POSTGRESQL_GUARDS:
        op.execute(guard)


def _tokens() -> None:
    op.create_table(
        "tokens",
        sa.Column("id", ID, nullable=False),
        text("person_id"),
        text("person_name"),
        text("role"),
        sa.Column("sha256", SHA256, nullable=False),
        text("label"),
        time("created"),
        time("expires", nullable=True),
        time("used", nullable=True),
        time("revoked", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
        sa.UniqueConstraint("sha256", name="uq_tokens_sha256"),
    )
    op.create_index("ix_tokens_person_id", "tokens", ["person_id"])


def _decks() -> None:
    op.create_table(
        "decks",
        sa.Column("id", ID, nullable=False),
        text("owner_id"),
        text("owner_name"),
        text("title"),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.Column("anonymous", sa.Boolean(), nullable=False),
        sa.Column("key", SHA256, nullable=False),
        time("created"),
        sa.PrimaryKeyConstraint("id", name="pk_decks"),
    )
    op.create_index("ix_decks_owner_id", "decks", ["owner_id"])
    op.create_table(
        "deck_items",
        sa.Column("deck_id", ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("sha256", SHA256, nullable=True),
        sa.Column("case_id", ID, nullable=True),
        sa.Column("image", sa.Integer(), nullable=True),
        text("name"),
        text("diagnosis", nullable=True),
        text("subtype"),
        text("words"),
        text("opinion", nullable=True),
        sa.Column("revealed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("deck_id", "number", name="pk_deck_items"),
        sa.ForeignKeyConstraint(["deck_id"], ["decks.id"], ondelete="CASCADE", name="fk_deck_items_deck_id"),
        sa.ForeignKeyConstraint(["sha256"], ["blobs.sha256"], name="fk_deck_items_sha256"),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], ondelete="SET NULL", name="fk_deck_items_case_id"),
    )
    op.create_index("ix_deck_items_sha256", "deck_items", ["sha256"])
    op.create_index("ix_deck_items_case_id", "deck_items", ["case_id"])
    op.create_table(
        "deck_readers",
        sa.Column("deck_id", ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        text("name"),
        text("folded"),
        sa.Column("secret", SHA256, nullable=False),
        time("joined"),
        sa.PrimaryKeyConstraint("deck_id", "number", name="pk_deck_readers"),
        sa.UniqueConstraint("deck_id", "folded", name="uq_deck_readers_deck_id_folded"),
        sa.UniqueConstraint("deck_id", "secret", name="uq_deck_readers_deck_id_secret"),
        sa.ForeignKeyConstraint(["deck_id"], ["decks.id"], ondelete="CASCADE", name="fk_deck_readers_deck_id"),
    )
    op.create_table(
        "deck_reads",
        sa.Column("deck_id", ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("reader", sa.Integer(), nullable=False),
        text("answer"),
        text("marks"),
        time("at"),
        sa.PrimaryKeyConstraint("deck_id", "number", "reader", name="pk_deck_reads"),
        sa.ForeignKeyConstraint(
            ["deck_id", "number"],
            ["deck_items.deck_id", "deck_items.number"],
            ondelete="CASCADE",
            name="fk_deck_reads_deck_id_number",
        ),
        sa.ForeignKeyConstraint(
            ["deck_id", "reader"],
            ["deck_readers.deck_id", "deck_readers.number"],
            ondelete="CASCADE",
            name="fk_deck_reads_deck_id_reader",
        ),
    )
