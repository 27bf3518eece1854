"""Buttons whose press outlives the run that it began."""

from __future__ import annotations

import ast

from streamlit.testing.v1 import AppTest

from tests.helpers.documents import ROOT


def script() -> None:
    import streamlit as st

    from pages.parts.buttons import pressed

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


def vanishing() -> None:
    import streamlit as st

    from pages.parts.buttons import pressed, until_the_end

    with until_the_end():
        st.session_state["runs"] += 1
        if not st.session_state["going"] and pressed(st, "Start", "start"):
            st.session_state["going"] = True
            st.session_state["pressed-start"] = True  # as by a second click meanwhile
            st.rerun()
        if st.checkbox("End"):
            st.session_state["going"] = False
            st.stop()


def test_the_second_click_of_two_does_not_wait_for_the_button_to_come_back() -> None:
    at = AppTest.from_function(vanishing)
    at.session_state["runs"], at.session_state["going"] = 0, False
    at.run()
    at.button[0].click().run()
    assert at.session_state["going"] and at.session_state["runs"] == 3 and "pressed-start" not in at.session_state
    at.checkbox[0].check().run()
    at.checkbox[0].uncheck().run()
    assert not at.session_state["going"] and at.button[0].label == "Start" and not at.exception


def test_no_page_asks_a_button_of_streamlit_s_own_whether_it_was_pressed() -> None:
    asked = []
    for path in sorted((ROOT / "pages").rglob("*.py")):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        only_drawn = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        for node in nodes:
            is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            if is_call and node.func.attr in ("button", "form_submit_button") and id(node) not in only_drawn:
                asked.append(f"{path.name}:{node.lineno}")
    assert asked == []
