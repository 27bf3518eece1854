"""What a session keeps: a read that was recorded first stays the first, and nothing is shared between two sessions."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest

from dala.export.report import FirstRead
from pages.parts.session import MOST_WORDS, Session


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


def two_pages() -> None:
    import streamlit as st

    from pages.parts.session import lasting

    if st.toggle("here", value=True):
        st.text_area("Comment", key=lasting("comment"))
        st.segmented_control("Read", ["benign", "malignant"], key=lasting("read"))
        st.selectbox("Diagnosis", ["unknown", "benign"], key=lasting("diagnosis"))


def test_what_was_written_is_there_again_when_its_page_is() -> None:
    page = AppTest.from_function(two_pages).run()
    page.text_area[0].set_value("Looks regular.").run()
    page.button_group[0].set_value("benign").run()
    page.selectbox[0].set_value("benign").run()
    for _ in range(2):
        page.toggle[0].set_value(False).run()
        assert not page.text_area
        page.toggle[0].set_value(True).run()
        assert not page.exception
        assert page.text_area[0].value == "Looks regular." and page.selectbox[0].value == "benign"
        assert page.session_state["read"] == "benign"
    page.text_area[0].set_value("").run()
    page.toggle[0].set_value(False).run()
    page.toggle[0].set_value(True).run()
    assert page.text_area[0].value == ""


def many_words() -> None:
    import streamlit as st

    from pages.parts.session import MOST_WORDS, lasting

    for number in range(MOST_WORDS + 50):
        st.session_state[str(number)] = number
        lasting(str(number))


def test_the_last_words_are_kept() -> None:
    page = AppTest.from_function(many_words).run()
    assert list(page.session_state["session"].words) == [str(number) for number in range(50, MOST_WORDS + 50)]
