"""One's own keys for the HTTP API: made, shown once, listed and revoked."""

from __future__ import annotations

import streamlit as st

from dala.cases.people import Person
from dala.cases.store import Store
from dala.cases.tokens import LONGEST_LABEL, MOST_DAYS, USUAL_DAYS, Token, Tokens
from dala.errors import DalaError
from pages.parts.buttons import offer, pressed, taken
from pages.parts.shared import plain


def show_tokens(store: Store, person: Person) -> None:
    """The whole of it, folded away: few people need one."""
    with st.expander("Tokens for programs (HTTP API)"):
        st.markdown(
            "With a token a program, such as a laboratory system or a script of QuPath, asks for opinions and keeps "
            "cases in your name. Whoever has it can do what you can: treat it as a password."
        )
        tokens = Tokens(store.database)
        try:
            make(tokens, person)
            listed(tokens, person)
        except DalaError as error:
            st.error(plain(str(error)))


def make(tokens: Tokens, person: Person) -> None:
    with st.form("token", border=False):
        row = st.container(horizontal=True, vertical_alignment="bottom")
        label = row.text_input("What it is for", max_chars=LONGEST_LABEL)
        days = row.number_input("Days", 1, MOST_DAYS, USUAL_DAYS, width=140)
        offer(row, "Make a token", "make-token", form=True)
    if taken("make-token"):
        made = tokens.create(person, label, int(days))
        st.code(made.secret, language=None, wrap_lines=True)
        st.caption("Copy it now: it is shown only once, and only its sha256 is kept.")


def listed(tokens: Tokens, person: Person) -> None:
    own = [token for token in tokens.listed(person) if token.owner[0] == person.id and token.revoked is None]
    for token in own:
        row = st.container(horizontal=True, vertical_alignment="center")
        row.markdown(in_words(token), width="stretch")
        if pressed(row, "Revoke", f"revoke-{token.id}", type="tertiary"):
            tokens.revoke(person, token.id)
            st.rerun()


def in_words(token: Token) -> str:
    until = "no last day" if token.expires is None else f"until {token.expires:%Y-%m-%d}"
    used = "never used" if token.used is None else f"last used {token.used:%Y-%m-%d}"
    state = until if token.holds else "ended"
    return f"**{plain(token.label or 'A token')}**, made {token.created:%Y-%m-%d}, {state}, {used}"
