"""Class decks: a teacher chooses cases, writes what is revealed of them, and gets the address for the class."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from dala.cases.deck_records import LONGEST_WORDS, MOST_ITEMS, NewItem
from dala.cases.decks import Decks
from dala.cases.kept import DIAGNOSES, LONGEST_TITLE, Query
from dala.cases.people import LOCAL, Person, Role
from dala.cases.store import Store
from dala.data.breakhis import SUBTYPES, parse_name
from dala.errors import DalaError, DataError, IntakeError
from dala.explanation.render import encode_png
from dala.export.records import prediction_record
from dala.intake.image import IMAGE_SUFFIXES, read_image
from dala.opinion import model_for, opinion_of
from dala.teaching.cases import Case, answer_of, answered, diagnosis_of, drawn_deck, file_deck
from dala.words import counted
from pages.parts.buttons import pressed, uninterrupted
from pages.parts.decks.leading import link_to_deck
from pages.parts.decks.places import ID, KEY, address_of
from pages.parts.people import keeps_cases, person, store_or_stop
from pages.parts.second_opinion.examples import samples
from pages.parts.session import session
from pages.parts.shared import plain, shared_model

DRAWINGS, FILES, CASES, UPLOADS = "Drawn cases", "Images of the samples folder", "Kept cases", "Your own files"
LAST_SEED, LARGEST_MB, USUAL_COUNT, MOST_KEPT = 99_999, 64, 10, 200
NOT_KNOWN = "not known"
NOT_OPEN = (
    "The deck opens after log-in only, for it holds cases that others share with those who log in. Its own page has a "
    "switch for it."
)


@dataclass(frozen=True)
class Candidate:
    """A case that may go into a deck: its image is read only when the deck is made. own: not a case that somebody else
    shares with those who log in."""

    name: str
    answer: str | None
    subtype: str = ""
    words: str = ""
    data: bytes | None = None
    dealt: Case | None = None
    kept: tuple[str, int] | None = None
    own: bool = True


def show_decks() -> None:
    """The whole part."""
    if not keeps_cases():
        st.info("Decks for a class are kept in the database, which is switched off on this server (DALA_DATABASE=off).")
        return
    store, teacher = store_or_stop(), person()
    st.markdown(
        "A deck is a set of cases under an address: everybody in a class reads the same cases in the same order, with "
        "a name or number only. You see their answers as they come, their marks over one another, and reveal the "
        "diagnosis with your own words when you choose."
    )
    if teacher.role is Role.READER:
        st.info("Only a teacher or an administrator can make a deck. A deck that you were given the address of opens "
                "there.")  # fmt: skip
        return
    show_own(Decks(store), teacher)
    if made := session().made_deck:
        st.success("The deck is made.")
        warn(session().deck_left_out)
        st.code(address_of(**{ID: made.id}), language=None, wrap_lines=True)
        st.caption("The address for the class.")
        if teacher.id == LOCAL.id:
            st.code(address_of(**{ID: made.id, KEY: made.key}), language=None, wrap_lines=True)
            st.caption("Your own address: it shows all answers and reveals the cases. Keep it: it is shown only once.")
        link_to_deck(made.id, "Open the deck as its teacher", made.key if teacher.id == LOCAL.id else "")
        st.button("Make another deck", on_click=forget)
        return
    make(store, teacher)


def warn(left_out: Sequence[str]) -> None:
    """Say which cases are not in the deck, and why."""
    for sentence in left_out:
        st.warning(plain(sentence))


@uninterrupted()
def forget() -> None:
    session().made_deck = None


def show_own(decks: Decks, teacher: Person) -> None:
    own = decks.own(teacher)
    if own:
        st.markdown("**Your decks**")
    for deck in own:
        state = "open" if deck.shared else "closed"
        said = f"{deck.title}: {counted(deck.items, 'case')}, {counted(deck.readers, 'reader')}, {state}"
        link_to_deck(deck.id, plain(said))


def make(store: Store, teacher: Person) -> None:
    """Choose cases, look over what is revealed of them, make the deck."""
    known = answered(samples().values())
    sources = [DRAWINGS, *([FILES] if known else []), CASES, UPLOADS]
    source = st.segmented_control("Cases", sources, default=sources[len(sources) - 3], required=True, key="deck-source")
    first, second, third = st.columns([3, 1, 1], gap="small")
    title = first.text_input("Title", "A deck", max_chars=LONGEST_TITLE, key="deck-title")
    seed = second.number_input(
        "Seed", 1, LAST_SEED, fresh_seed(), key="deck-seed",
        help="The same seed deals the same cases in the same order.",
    )  # fmt: skip
    count = third.number_input("How many", 1, MOST_ITEMS, USUAL_COUNT, key="deck-count")
    candidates = dealt(source or DRAWINGS, known, int(count), int(seed), store, teacher)
    if not candidates:
        return
    candidates = looked_over(candidates, f"{source}-{seed}-{count}-{len(candidates)}")
    if pressed(st, "Make the deck", "make-deck", type="primary"):
        with uninterrupted():
            items, left_out = read(candidates, store, teacher)
            if not items:
                warn(left_out)
                return
            session().deck_left_out = left_out
            try:
                open_to_all = all(one.own for one in candidates)
                session().made_deck = Decks(store).make(teacher, title, int(seed), items, anonymous=open_to_all)
                if not open_to_all:
                    session().deck_left_out = [*left_out, NOT_OPEN]
            except DalaError as error:
                st.error(plain(str(error)))
                return
        st.rerun()


def fresh_seed() -> int:
    """The same as long as the session lasts, so that nothing changes under a teacher's hands."""
    if session().deck_seed is None:
        session().deck_seed = 1 + secrets.randbelow(LAST_SEED)
    return session().deck_seed or 1


def dealt(source: str, known: Sequence[Path], count: int, seed: int, store: Store, teacher: Person) -> list[Candidate]:
    """So many cases of a source, in the order of the seed."""
    if source == DRAWINGS:
        return [
            Candidate(f"Drawing {case.number}", case.answer, "", "Drawn by code; it is not tissue.", dealt=case)
            for case in drawn_deck(count, seed)
        ]
    if source == FILES:
        return [
            Candidate(case.name, case.answer, (case.path and diagnosis_of(case.path)) or "", dealt=case)
            for case in file_deck(known, count, seed)
        ]
    if source == CASES:
        return of_cases(store, teacher, count, seed)
    files = st.file_uploader(
        "The images, up to 50",
        [suffix.removeprefix(".") for suffix in IMAGE_SUFFIXES],
        accept_multiple_files=True,
        max_upload_size=LARGEST_MB,
        key="deck-files",
    )
    found = [
        Candidate(file.name, answer_of(Path(file.name)), subtype_of(file.name), data=file.getvalue()) for file in files
    ]
    return shuffled(found, seed)[:MOST_ITEMS]


def of_cases(store: Store, teacher: Person, count: int, seed: int) -> list[Candidate]:
    """The first image of kept cases, those with a final diagnosis first."""
    rows = store.search(teacher, Query(), 0, MOST_KEPT).rows
    if not rows:
        st.info("There are no kept cases yet.")
        return []
    titles = {row.id: f"{row.title or row.id} ({row.diagnosis or 'no final diagnosis'})" for row in rows}
    usual = [row.id for row in shuffled(rows, seed) if row.diagnosis is not None][:count]
    chosen = st.multiselect(
        "Which", list(titles), usual, titles.__getitem__, max_selections=MOST_ITEMS, key=f"deck-cases-{seed}-{count}"
    )
    by_id = {row.id: row for row in rows}
    return [
        Candidate(by_id[id].title or id, by_id[id].diagnosis, kept=(id, 1), own=by_id[id].own)
        for id in shuffled(sorted(chosen), seed)
    ]


def shuffled(things: Sequence[Any], seed: int) -> list[Any]:
    """In an order that the seed decides."""
    return [things[place] for place in np.random.default_rng(seed).permutation(len(things))]


def subtype_of(name: str) -> str:
    try:
        return SUBTYPES[parse_name(name).subtype].name
    except DataError:
        return ""


def looked_over(candidates: list[Candidate], key: str) -> list[Candidate]:
    """A table in which the teacher writes answer, diagnosis and words."""
    st.caption("What is revealed of each case; click a cell to change it.")
    answer = st.column_config.SelectboxColumn("Answer", options=[*DIAGNOSES, NOT_KNOWN], required=True)
    words = st.column_config.TextColumn("Your words", max_chars=LONGEST_WORDS, width="large")
    told = st.data_editor(
        [
            {"Image": one.name, "Answer": one.answer or NOT_KNOWN, "Diagnosis": one.subtype, "Your words": one.words}
            for one in candidates
        ],
        hide_index=True,
        disabled=["Image"],
        column_config={"Answer": answer, "Your words": words},
        key=f"deck-table-{key}",
    )
    return [
        replace(
            one,
            answer=row["Answer"] if row["Answer"] in DIAGNOSES else None,
            subtype=row["Diagnosis"] or "",
            words=row["Your words"] or "",
        )
        for one, row in zip(candidates, told, strict=True)
    ]


def read(candidates: list[Candidate], store: Store, teacher: Person) -> tuple[list[NewItem], list[str]]:
    """The images as they are shown, with the model's opinion; and a sentence on each that cannot be read."""
    items, left_out, bar = [], list[str](), st.progress(0.0, "The model looks at the cases …")
    for done, one in enumerate(candidates, start=1):
        try:
            items.append(item_of(one, store, teacher))
        except (DalaError, OSError) as error:
            said = str(error) if isinstance(error, DalaError) else "The file cannot be read."
            left_out.append(f"{one.name} is left out. {said}")
        bar.progress(done / len(candidates), f"The model looks at the cases: {done} of {len(candidates)}")
    bar.empty()
    return items, left_out


def item_of(one: Candidate, store: Store, teacher: Person) -> NewItem:
    """Raises DalaError or OSError where the image cannot be read."""
    data, name = one.data, one.name
    if one.dealt is not None:
        data, name = one.dealt.data(), one.dealt.name
    case_id = number = None
    if one.kept is not None:
        case_id, number = one.kept
        data = store.image(teacher, case_id, number)
        name = store.case(teacher, case_id).images[number - 1].name
    if data is None:
        raise IntakeError("The bytes of its image were not kept.")
    patch = read_image(data, name)
    opinion = opinion_of(patch, model_for(patch, shared_model))
    png, record = encode_png(opinion.image), prediction_record(opinion)
    return NewItem(png, one.name, one.answer, one.subtype, one.words, record, case_id, number)
