"""What a session keeps: a read that was recorded first stays the first, and nothing is shared between two sessions."""

from __future__ import annotations

from dala.export.report import FirstRead
from pages.parts.session import Session


def test_the_first_read_cannot_be_rewritten() -> None:
    kept = Session()
    kept.record_first_read("a", FirstRead("benign", 0.8))
    kept.record_first_read("a", FirstRead("malignant", 0.9))
    assert kept.first_read("a") == FirstRead("benign", 0.8)


def test_after_the_answer_there_is_no_first_read() -> None:
    kept = Session()
    kept.note_answer_seen("a")
    kept.record_first_read("a", FirstRead("benign", 0.8))
    assert kept.first_read("a") is None
    assert kept.answer_seen("a") and not kept.answer_seen("b")


def test_two_sessions_share_nothing() -> None:
    one, other = Session(), Session()
    one.record_first_read("a", FirstRead("benign", None))
    one.viewing.failure = "x"
    assert other == Session()
