"""A teacher at a deck: its address, what the class has answered so far, and what is revealed when."""

from __future__ import annotations

import streamlit as st

from dala.cases.deck_records import LONGEST_WORDS, Deck, Item
from dala.cases.decks import Decks
from dala.cases.kept import CALLS
from dala.errors import DalaError
from dala.teaching.class_results import class_score, distribution, model_score, to_csv
from dala.words import counted
from pages.parts.buttons import pressed, uninterrupted
from pages.parts.decks.places import ID, KEY, address_of, who
from pages.parts.decks.result import call_in_words, counts_in_words, show_marks, show_truth
from pages.parts.documents import link_to_page
from pages.parts.people import logs_in
from pages.parts.shared import plain

EVERY = 2.0  # seconds between two looks at the class
COLUMNS = [3, 2]


def show_leading(decks: Decks, id: str, key: str) -> None:
    """The whole page of a deck's teacher. Raises DalaError."""
    deck = decks.led(who(), id, key)
    st.header(plain(deck.title), anchor=False)
    show_addresses(decks, deck, key)
    show_class(decks, id, key)
    with st.expander("Delete this deck"):
        st.markdown("Its images and all answers go; this cannot be undone.")
        if pressed(st, "Delete the deck", f"delete-deck-{id}"):
            with uninterrupted():
                decks.delete(who(), id, key)
                st.query_params.clear()
            st.rerun()


def show_addresses(decks: Decks, deck: Deck, key: str) -> None:
    students, own = st.columns(2, gap="medium")
    with students:
        st.markdown("**Address for students**")
        st.code(address_of(**{ID: deck.id}), language=None, wrap_lines=True)
        show_switch(decks, deck, key, "shared", "Open for reading")
        if logs_in():
            show_switch(decks, deck, key, "anonymous", "Without log-in")
    if key:
        with own:
            st.markdown("**Your own address: keep it, and keep it to yourself**")
            st.code(address_of(**{ID: deck.id, KEY: key}), language=None, wrap_lines=True)
            st.caption("Whoever has it sees all answers and may reveal them. It is shown nowhere else.")


def show_switch(decks: Decks, deck: Deck, key: str, name: str, label: str) -> None:
    """One that stands as the deck is, whoever has turned it in whichever window."""
    widget = f"deck-{name}-{deck.id}"

    @uninterrupted()
    def turn() -> None:
        changes: dict[str, bool] = {name: bool(st.session_state[widget])}
        try:
            decks.change(who(), deck.id, key, **changes)  # type: ignore[arg-type]
        except DalaError as error:
            st.error(plain(str(error)))

    st.session_state[widget] = getattr(deck, name)
    st.toggle(label, key=widget, on_change=turn)


@st.fragment(run_every=EVERY)
def show_class(decks: Decks, id: str, key: str) -> None:
    """What the class has answered, again and again."""
    try:
        show_answers(decks, decks.led(who(), id, key), key)
    except DalaError as error:
        st.error(plain(str(error)))


def show_answers(decks: Decks, deck: Deck, key: str) -> None:
    readers = len(deck.readers)
    st.subheader(f"{counted(readers, 'reader')}, {counted(len(deck.items), 'case')}", anchor=False)
    rows = [row_of(item, readers) for item in deck.items]
    st.dataframe(rows, hide_index=True, key=f"deck-cases-{deck.id}")
    buttons = st.container(horizontal=True)
    hidden = [item.number for item in deck.items if not item.revealed]
    buttons.button("Reveal all cases", disabled=not hidden, on_click=reveal, args=(decks, deck.id, key, hidden))
    buttons.download_button(
        "All answers (CSV)", to_csv(deck), "deck.csv", "text/csv", on_click="ignore", width="content"
    )
    show_scores(deck)
    show_case(decks, deck, key)


@uninterrupted()
def reveal(decks: Decks, id: str, key: str, numbers: list[int]) -> None:
    try:
        decks.reveal(who(), id, key, numbers)
    except DalaError as error:
        st.toast(plain(str(error)))


@uninterrupted()
def write(decks: Decks, id: str, key: str, number: int, widget: str) -> None:
    """Keep the teacher's words as they were typed."""
    try:
        decks.change(who(), id, key, words={number: st.session_state[widget]})
    except DalaError as error:
        st.toast(plain(str(error)))


def row_of(item: Item, readers: int) -> dict[str, object]:
    found, truth = distribution(item, readers), item.truth
    assert truth is not None
    return {
        "Case": item.number,
        "Image": truth.name,
        "Answer": truth.diagnosis or "not known",
        **{call_in_words(call): found.counts[call] for call in CALLS},
        "To come": found.missing,
        "Revealed": "✓" if item.revealed else "",
    }


def show_scores(deck: Deck) -> None:
    """Not sure and outside are apart: they are neither right nor wrong."""
    rows = [{"Reader": "The class", **score_row(deck, None)}] if deck.readers else []
    rows += [{"Reader": plain(deck.readers[one]), **score_row(deck, one)} for one in sorted(deck.readers)]
    model = model_score(deck.items)
    if rows:
        with st.expander("Scores"):
            st.dataframe(rows, hide_index=True, key=f"deck-scores-{deck.id}")
            st.caption(
                "Of calls benign or malignant on cases with a known answer; not sure is counted apart. "
                f"The model: right in {model.right.count} of {model.right.of} that it answered, not sure "
                f"{model.not_sure}, outside its competence {model.outside}."
            )


def score_row(deck: Deck, reader: int | None) -> dict[str, object]:
    score = class_score(deck.items, reader)
    return {
        "Right": f"{score.right.count} of {score.right.of}",
        "Malignant found": f"{score.sensitivity.count} of {score.sensitivity.of}",
        "Benign left alone": f"{score.specificity.count} of {score.specificity.of}",
        "Not sure": score.not_sure,
    }


def show_case(decks: Decks, deck: Deck, key: str) -> None:
    """One case with all marks, its answer, the teacher's words, and the button that reveals it."""
    numbers = [item.number for item in deck.items]
    number = st.segmented_control("Case", numbers, default=1, required=True, key=f"deck-case-{deck.id}")
    item = deck.items[(number or 1) - 1]
    assert item.truth is not None
    image, words = st.columns(COLUMNS, gap="medium")
    show_marks(image, decks.image(who(), deck.id, item.number, key=key), item)
    with words:
        show_truth(item.truth)
        st.markdown(f"The class: {counts_in_words(distribution(item, len(deck.readers)))}.")
        if item.revealed:
            st.caption("Revealed: students see all of this.")
        else:
            st.button(
                "Reveal this case",
                type="primary",
                key=f"deck-reveal-{deck.id}-{item.number}",
                on_click=reveal,
                args=(decks, deck.id, key, [item.number]),
            )
        widget = f"deck-words-{deck.id}-{item.number}"
        st.text_area(
            "Your words, shown when it is revealed",
            item.truth.words,
            max_chars=LONGEST_WORDS,
            key=widget,
            on_change=write,
            args=(decks, deck.id, key, item.number, widget),
        )


def link_to_deck(id: str, label: str, key: str = "") -> None:
    """A link to a deck inside the app."""
    link_to_page("deck.py", label, {ID: id} | ({KEY: key} if key else {}))
