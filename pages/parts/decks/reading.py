"""A student at a deck: a name or number, then case by case a call and a mark, and what has been revealed."""

from __future__ import annotations

import io

import streamlit as st
from PIL import Image

from dala.cases.deck_records import Deck, Item
from dala.cases.decks import Decks
from dala.cases.kept import CALLS
from dala.errors import CaseError, DalaError, NotFound
from dala.teaching.class_results import class_score, distribution, model_score
from dala.words import NO_BREAK, counted
from pages.parts.buttons import offer, pressed, taken, uninterrupted
from pages.parts.decks.places import READER, who
from pages.parts.decks.result import call_in_words, counts_in_words, show_marks, show_truth
from pages.parts.session import session
from pages.parts.shared import plain
from pages.parts.teaching.marker import mark

EVERY = 3.0  # seconds between two looks at what has been revealed
COLUMNS = [3, 2]


def show_deck(decks: Decks, id: str) -> None:
    """The deck as its reader may see it; who has not begun gives a name first. Raises DalaError."""
    secret = st.query_params.get(READER) or session().deck_readers.get(id, "")
    try:
        deck = decks.read_by(who(), id, secret)
    except NotFound:
        ask_name(decks, id)
        return
    st.query_params[READER] = secret  # a reload, and the same address on another device, go on here
    session().deck_readers[id] = secret
    st.header(plain(deck.title), anchor=False)
    st.caption(f"You read as {plain(deck.readers[deck.me or 0])}. Only the teacher sees your answers before a case is "
               "revealed.")  # fmt: skip
    if all(item.own is not None or item.revealed for item in deck.items):
        show_revealed(decks, id, secret)
        return
    item = next(item for item in deck.items if item.own is None and not item.revealed)
    ask(decks, deck, item, secret)
    if any(item.revealed for item in deck.items):
        with st.expander("What has been revealed so far"):
            show_cases(decks, deck, secret)


def ask_name(decks: Decks, id: str) -> None:
    title = decks.title(who(), id)
    st.header(plain(title), anchor=False)
    st.markdown(
        "A deck of cases that a class reads together. For each case you say benign, malignant or not sure, and mark "
        "where you see it; the teacher reveals the answers afterwards."
    )
    with st.form("join", border=False):
        name = st.text_input("Your name or number", max_chars=60, autocomplete="off")
        offer(st, "Begin", f"begin-{id}", form=True, type="primary")
    if taken(f"begin-{id}"):
        with uninterrupted():
            try:
                secret = decks.join(who(), id, name)
            except CaseError as error:
                st.error(plain(str(error)))
                return
            st.query_params[READER] = secret
            session().deck_readers[id] = secret
        st.rerun()


def ask(decks: Decks, deck: Deck, item: Item, secret: str) -> None:
    """One case without anything that tells its answer."""
    done = sum(one.own is not None for one in deck.items)
    st.markdown(f"**Case {item.number} of {len(deck.items)}**, {done} answered")
    png = decks.image(who(), deck.id, item.number, secret=secret)
    image, form = st.columns(COLUMNS, gap="medium")
    with image:
        identity = f"{deck.id}-{item.number}-{deck.me}"
        where = mark("deck-mark", identity, png, Image.open(io.BytesIO(png)).size, f"Case {item.number}")
    with form:
        call = st.segmented_control(
            "Your call", CALLS, format_func=call_in_words, key=f"deck-call-{identity}", width="stretch"
        )
        st.caption(
            "Where do you see it? Click a place in the image, or draw around it; a case that you call benign needs no "
            "mark. Your first answer stays."
        )
        key, unsaid = f"commit-{deck.id}-{item.number}", call is None
        if pressed(st, "Commit", key, type="primary", disabled=unsaid, width="stretch") and call is not None:
            with uninterrupted():
                decks.answer(who(), deck.id, secret, item.number, call, where)
            st.rerun()


@st.fragment(run_every=EVERY)
def show_revealed(decks: Decks, id: str, secret: str) -> None:
    """All cases are answered: what the teacher has revealed of them, as it comes."""
    try:
        deck = decks.read_by(who(), id, secret)
        revealed = [item for item in deck.items if item.revealed]
        if revealed:
            show_score(deck, revealed)
            show_cases(decks, deck, secret)
            return
    except DalaError as error:
        st.error(plain(str(error)))
        return
    st.success(
        f"You have answered all {counted(len(deck.items), 'case')}. The answers appear here as soon as the teacher "
        "reveals them."
    )


def show_score(deck: Deck, revealed: list[Item]) -> None:
    mine, model = class_score(revealed, deck.me), model_score(revealed)
    answered = f"right in **{mine.right.count} of {mine.right.of}** that you called benign or malignant"
    said = [f"Of {counted(len(revealed), 'revealed case')} you were {answered}; not sure: {mine.not_sure}."]
    if model.right.of or model.not_sure or model.outside:
        said.append(
            f"The model was right in {model.right.count} of {model.right.of} that it answered; not sure: "
            f"{model.not_sure}, outside its competence: {model.outside}."
        )
    st.markdown("  \n".join(said))


def show_cases(decks: Decks, deck: Deck, secret: str) -> None:
    """The revealed case that is chosen, with what the class made of it."""
    revealed = {item.number: item for item in deck.items if item.revealed}
    number = st.segmented_control(
        "Case", list(revealed), default=max(revealed), required=True, key=f"deck-revealed-{deck.id}"
    )
    item = revealed[number if number in revealed else max(revealed)]
    image, words = st.columns(COLUMNS, gap="medium")
    show_marks(image, decks.image(who(), deck.id, item.number, secret=secret), item)
    with words:
        assert item.truth is not None
        show_truth(item.truth)
        own = (
            "you had not answered"
            if item.own is None
            else f"you said {call_in_words(item.own.call).replace(' ', NO_BREAK)}"
        )
        st.markdown(f"The class: {counts_in_words(distribution(item, 0))}; {own}.")
