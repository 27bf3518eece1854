"""Buttons whose press outlives the run that it began."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest


def script() -> None:
    import streamlit as st

    from pages.parts.shared import pressed

    if st.session_state.pop("ends early", False):
        st.stop()  # as when another run takes the place of this one
    with st.form("form"):
        words = st.text_input("Words")
        saved = pressed(st, "Save", "save", form=True)
    deleted = pressed(st, "Delete", "delete")
    st.session_state["done"] += [*([words] if saved else []), *(["deleted"] if deleted else [])]


def test_a_press_is_not_lost_with_its_run_and_counts_once() -> None:
    at = AppTest.from_function(script)
    at.session_state["done"] = []
    at.run()
    at.session_state["ends early"] = True
    at.text_input[0].set_value("typed")
    at.button[0].click().run()
    assert at.session_state["done"] == []
    at.run()
    at.run()
    assert at.session_state["done"] == ["typed"]
    at.button[1].click().run()
    at.run()
    assert at.session_state["done"] == ["typed", "deleted"] and not at.exception
