"""Log-in by the institution's own OpenID Connect provider, where the app is configured for it; else nobody is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st
from streamlit.errors import StreamlitAuthError

from pages.parts.buttons import pressed

SHARED = ("redirect_uri", "cookie_secret")
OF_PROVIDER = ("client_id", "client_secret", "server_metadata_url")
CALLBACK = "/oauth2callback"
SHORTEST_SECRET = 32  # characters: the cookie that says who someone is, is signed with it


def require_login() -> None:
    """Go on for somebody who is logged in, or where no log-in is configured; otherwise ask, and end the page here.

    Where the configuration is wrong nobody is let in, and the page says what is wrong.
    """
    settings = auth_settings()
    if settings is None:
        return
    problem = problem_of(settings)
    if problem is not None:
        st.error(f"Log-in is configured but does not work: {problem} Nobody can log in until this is fixed.")
        st.stop()
    if not st.user.is_logged_in:
        st.markdown("Please log in to use this tool.")
        if pressed(st, "Log in", "log-in", type="primary"):
            try:
                st.login()
            except StreamlitAuthError:
                st.error("The institution's log-in cannot be reached; please tell whoever runs this tool.")
        st.stop()
    row = st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="right")
    who = next((str(st.user[key]) for key in ("name", "email", "sub") if st.user.get(key)), "")
    row.caption(f"Logged in as {who}", width="content")
    row.button("Log out", on_click=st.logout, type="tertiary")


def auth_settings() -> Mapping[str, Any] | None:
    """The section [auth] of .streamlit/secrets.toml, None where there is none."""
    if not st.secrets.load_if_toml_exists() or "auth" not in st.secrets:
        return None
    found: Mapping[str, Any] = st.secrets["auth"]
    return found


def problem_of(settings: Mapping[str, Any]) -> str | None:
    """What is wrong with the section, in one sentence that tells no secret; None where nothing is."""
    missing = [key for key in (*SHARED, *OF_PROVIDER) if not isinstance(settings.get(key, None), str)]
    if missing:
        return f"[auth] in .streamlit/secrets.toml does not name {', '.join(missing)}."
    if not settings["redirect_uri"].endswith(CALLBACK):
        return f"redirect_uri does not end with {CALLBACK}."
    if len(settings["cookie_secret"]) < SHORTEST_SECRET:
        return f"cookie_secret is shorter than {SHORTEST_SECRET} characters."
    return None
