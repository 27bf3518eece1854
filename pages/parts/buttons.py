"""Buttons whose press is not lost with the run of the page that it began, and what another run cannot break off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import RerunException, get_script_run_ctx

PRESSED = "pressed-"
LOOKS = "on_scriptrunner_yield"  # Streamlit's question whether another run is asked for


@contextmanager
def uninterrupted() -> Iterator[None]:
    """What is done in it is done to its end: `@uninterrupted()` at every callback of a widget, and a `with` around what
    a press does.

    At each look at the session's state, and with each element, Streamlit asks whether another run of the page is
    wanted, for a second file has arrived or a viewer reports something. It would end a callback there, half done, and
    never call it again. In here it does not ask; the other run begins afterwards. `st.rerun()` and `st.switch_page()`
    ask, too, so they belong behind it.
    """
    context = get_script_run_ctx()
    requests = None if context is None else context.script_requests
    if requests is None or LOOKS in vars(requests):
        yield
        return
    vars(requests)[LOOKS] = lambda: None  # of this run's alone: each has its own
    try:
        yield
    finally:
        del vars(requests)[LOOKS]


def offer(place: Any, label: str, key: str, *, form: bool = False, **looks: Any) -> None:
    """A button, or that of a form, of which `taken` says whether it was pressed. A press of Streamlit's own is lost
    when another run of the page takes the place of the one that it began, as when a viewer reports something just
    then; this one waits for the next run."""

    @uninterrupted()
    def note() -> None:
        st.session_state[PRESSED + key] = True

    (place.form_submit_button if form else place.button)(label, key=key, on_click=note, **looks)


def taken(key: str) -> bool:
    """Whether the button was pressed, said once."""
    return bool(st.session_state.pop(PRESSED + key, False))


def pressed(place: Any, label: str, key: str, *, form: bool = False, **looks: Any) -> bool:
    """Both at once, where nothing is drawn between the button and what it does."""
    offer(place, label, key, form=form, **looks)
    return taken(key)


@contextmanager
def until_the_end() -> Iterator[None]:
    """Around a run of a page: once one has come to its end, a press that nothing has taken is forgotten. It was the
    second click on a button that the first one had taken away, and would be found when the button is back."""
    try:
        yield
    except RerunException:  # another run takes the place of this one, and the presses
        raise
    except BaseException:  # st.stop() too
        _forget()
        raise
    _forget()


def _forget() -> None:
    for key in [key for key in st.session_state if str(key).startswith(PRESSED)]:
        del st.session_state[key]
