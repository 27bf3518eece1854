"""Buttons whose press outlives the run that it began."""

from __future__ import annotations

import ast

import pytest
from streamlit.runtime.scriptrunner import RerunException
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


def broken_off() -> None:
    import streamlit as st

    from pages.parts.buttons import pressed, uninterrupted
    from tests.helpers.runs import another_run_is_wanted

    st.session_state["runs"] += 1
    st.checkbox("Something else", on_change=another_run_is_wanted)
    if pressed(st, "Keep", "keep"):
        with uninterrupted():
            another_run_is_wanted()
            st.session_state["begun"] += 1
            with uninterrupted():
                st.session_state["done"] += 1
            st.session_state["done"] += 1
        st.session_state["done"] = "the other run comes first"


def test_another_run_breaks_off_neither_the_callback_nor_what_the_press_does() -> None:
    at = AppTest.from_function(broken_off)
    at.session_state["runs"] = at.session_state["begun"] = at.session_state["done"] = 0
    at.run()
    at.checkbox[0].check()  # its callback is called before the button's
    at.button[0].click().run()
    assert at.session_state["begun"] == 1 and at.session_state["done"] == 2 and not at.exception
    assert at.session_state["runs"] == 3, "the first, the one that kept, and the one that was wanted meanwhile"


def nothing_uninterrupted() -> None:
    import streamlit as st

    from tests.helpers.runs import another_run_is_wanted

    another_run_is_wanted()
    try:
        st.session_state["done"] = True
    except BaseException as error:
        st.session_state["ended by"] = type(error)


def test_streamlit_still_breaks_off_what_is_not() -> None:
    """Otherwise these tests would show nothing, and `uninterrupted` could go."""
    at = AppTest.from_function(nothing_uninterrupted)
    at.session_state["ended by"] = None
    at.run()
    assert at.session_state["ended by"] is RerunException


HARMLESS = ('"ignore"', '"rerun"', "lambda: None", "st.logout")


@pytest.mark.slow
def test_every_callback_is_uninterrupted() -> None:
    trees = {path: ast.parse(path.read_text()) for path in sorted((ROOT / "pages").rglob("*.py"))}
    functions = [node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    whole = {one.name for one in functions if "uninterrupted()" in map(ast.unparse, one.decorator_list)}
    found, others = [], []
    for path, tree in trees.items():
        handed = {one.arg for node in ast.walk(tree) if isinstance(node, ast.arguments) for one in node.args}
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            for said in (word for word in call.keywords if (word.arg or "").startswith("on_")):
                callback = ast.unparse(said.value).replace("'", '"')
                if callback in HARMLESS or callback.endswith('else "ignore"'):
                    continue
                found.append(callback)
                if not (callback in whole or callback in handed or callback.startswith("uninterrupted()(")):
                    others.append(f"{path.name}:{call.lineno}: {callback}")
    assert others == [] and len(found) > 25


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
