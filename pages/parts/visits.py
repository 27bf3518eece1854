"""A visit outlasts a reload: what a tab had open is found again by its address, in the same browser, for a while.

It is kept in the server's memory only, never on a disk. The address carries a token drawn at random, which
`viewer/visit` writes there without an entry of its own in the browser's history; it opens nothing in a browser that
does not send the cookie of the one that it was given to, nor for anybody who is logged in as somebody else.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import streamlit as st
from streamlit.errors import StreamlitAPIException
from streamlit.runtime import Runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

from pages.parts.component import component
from pages.parts.cookie import COOKIE, drawn_token, of_user
from pages.parts.session import KEY, READ_FIRST, Session, Viewing, session

MINUTES = int(os.environ.get("DALA_VISIT_MINUTES", "30"))  # after a visit was last seen; 0: a reload begins anew
AT_MOST = 64  # visits, the ones seen last
TOKEN = "visit"
CLOSING_SECONDS, PAUSE_SECONDS = 1.0, 0.02  # how long the session of a page that is reloaded takes to end, at most
# Switches; a button's value must never be set, and is a bool like theirs.
KEEPING = ("keep-image-", "keep-name-", "keep-shared-")
TOGGLES = ("anyway-", "all-fields-", "steady", "with-name", "batch-with-names", "now-", READ_FIRST, *KEEPING)
PLAIN_VALUES = (str, int, float, list, tuple)
NOT_KEPT = ("upload", "batch-upload", "batch-sizes", "batch-table", "field-", "whole-", "choose-", "change-")


@dataclass
class Visit:
    """What a tab has open: its session's object, the values of its widgets, and whose it is."""

    kept: Session
    browser: str
    user: Mapping[str, str]
    streamlit: str
    widgets: dict[str, object] = field(default_factory=dict)
    seen: float = field(default_factory=time.monotonic)


def is_active(streamlit: str) -> bool:
    """Whether a browser is connected to this session of Streamlit's."""
    return Runtime.exists() and Runtime.instance().is_active_session(streamlit)


class Visits:
    """The visits of all browsers, by token; any number of threads may use it."""

    def __init__(self, alive: Callable[[str], bool] = is_active, minutes: float = MINUTES) -> None:
        self._visits: dict[str, Visit] = {}
        self._lock = threading.Lock()
        self._alive = alive
        self._seconds = 60 * minutes

    def keep(self, token: str, visit: Visit) -> None:
        """The visit of a token, seen now; those that nobody has seen for long are forgotten."""
        visit.seen = time.monotonic()
        with self._lock:
            self._visits.pop(token, None)
            self._visits[token] = visit  # the newest is the last
            old = [key for key, one in self._visits.items() if self._gone(one)]
            for key in [*old, *list(self._visits)[:-AT_MOST]]:
                self._visits.pop(key, None)

    def claim(self, token: str, browser: str, user: Mapping[str, str]) -> Visit | None:
        """The visit that a reloaded page goes on with; None for a token that is unknown, old or another browser's.

        Where the tab that it belongs to is still open, as after "duplicate tab", the image alone is taken over: two
        tabs never share what they change.
        """
        with self._lock:
            visit = self._visits.get(token)
        if visit is None or visit.browser != browser or visit.user != user or self._gone(visit):
            return None
        deadline = time.monotonic() + CLOSING_SECONDS
        while (open_still := self._alive(visit.streamlit)) and time.monotonic() < deadline:
            time.sleep(PAUSE_SECONDS)
        if open_still:
            kept = visit.kept
            return replace(visit, kept=Session(handed=kept.handed, pixel_sizes=dict(kept.pixel_sizes)), widgets={})
        with self._lock:
            self._visits.pop(token, None)
        visit.kept.viewing.start = None  # the viewer starts from the settings that were left, not from its first ones
        return visit

    def _gone(self, visit: Visit) -> bool:
        return time.monotonic() - visit.seen > self._seconds and not self._alive(visit.streamlit)


@st.cache_resource
def visits() -> Visits:
    """Those of this server."""
    return Visits()


def keep_visit(page: str) -> None:
    """Go on with the visit that the address names, where it was just loaded; and keep the present one.

    `page`: the one that is shown, for the address of each is to name the visit.
    """
    # There in every run: what stands behind it keeps its place, or its widgets would be drawn anew, and a file that is
    # on its way to an uploader be lost.
    place = st.container(key="visit")
    browser, context = st.context.cookies.get(COOKIE), get_script_run_ctx()
    if not browser or context is None or MINUTES <= 0:
        return
    user = of_user(st.context.cookies)
    if KEY not in st.session_state and (told := st.query_params.get(TOKEN)):
        found = visits().claim(told, browser, user)
        if found is not None:
            st.session_state[KEY] = found.kept
            for key, value in found.widgets.items():
                st.session_state[key] = value
    kept = session()
    if not worth_keeping(kept):
        return
    kept.token = kept.token or drawn_token()
    visits().keep(kept.token, Visit(kept, browser, user, context.session_id, values_of_widgets()))
    with place:
        try:
            component("visit")(key="visit-token", data=[kept.token, page])
        except (AttributeError, OSError, StreamlitAPIException):
            return  # the files of the viewer are not there; the page says so where it needs them


def worth_keeping(kept: Session) -> bool:
    """Whether somebody would miss it."""
    fresh = Session()
    return (
        any(
            getattr(kept, name) != getattr(fresh, name)
            for name in (
                "handed",
                "example",
                "dropped",
                "run",
                "round",
                "lesson_image",
                "slide",
                "site",
                "usual_size",
                "deck_readers",
            )
        )
        or kept.viewing != Viewing()
    )


def values_of_widgets() -> dict[str, object]:
    """What is chosen on the page; not what a button, a table or an uploader holds."""
    found: dict[str, object] = {}
    for key, value in st.session_state.items():
        key = str(key)
        if key.startswith((KEY, *NOT_KEPT)):
            continue
        wanted = key.startswith(TOGGLES) if isinstance(value, bool) else isinstance(value, PLAIN_VALUES)
        if wanted:
            found[key] = value
    return found
