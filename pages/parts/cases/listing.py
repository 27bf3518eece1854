"""The list of cases: searched, filtered, sorted and paged by the database; a click opens a case, two ticks compare."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NoReturn, cast
from zlib import crc32

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dala.cases.kept import ANSWERS, Choices, Found, Query, Row
from dala.cases.people import Person
from dala.cases.store import Store
from pages.parts.batch.table import certain_of_nothing, data_url
from pages.parts.buttons import pressed, uninterrupted
from pages.parts.cases import words
from pages.parts.cases.address import CHOSEN, LONGEST_TEXT, NAMES, ORDERS, SAID, Asked, asked_by, write
from pages.parts.cases.files import offer_export, offer_import
from pages.parts.documents import link_to_page
from pages.parts.people import logs_in
from pages.parts.session import session
from pages.parts.shared import AGREEMENT_PAGE, CASES_PAGE, COMPARE_PAGE, turn_to

PAGE_ROWS, ROW_HEIGHT, MOST_HEIGHT = 25, 64, 620
MOST_EXPORTED = 200
ANY = "Any"
ORDER_NAMES = {
    "newest": "Newest first",
    "oldest": "Oldest first",
    "changed": "Changed last",
    "title": "Title",
    "malignant": "Most malignant first",
    "answer": "Answer",
    "laboratory": "Laboratory",
    "reader": "Reader",
    "agreement": "Agreement",
}
SAID_NAMES = {"agrees": "Agrees", "disagrees": "Disagrees", "differs": "Own read differs"}
MORE = ("agreement", "laboratory", "reader", "since", "until")
EMPTY = (
    "Nothing is kept yet. **Keep this case**, below the maps of a second opinion or of a field of a slide, keeps what "
    "is on the page: the answer as it was said, your own read and comment and, if you wish, the image."
)


def show_list(store: Store, who: Person) -> None:
    """Filters, a page of the table, and what can be done with the rows that are ticked."""
    show_top(store, who)
    asked = asked_now()
    choose(store.choices(who), asked)
    query, offset = asked.query(), (asked.page - 1) * PAGE_ROWS
    found = store.search(who, query, offset, PAGE_ROWS)
    if offset and not found.rows:  # the last ones of it were deleted, or the address is an old one
        offset = max(0, (found.total - 1) // PAGE_ROWS) * PAGE_ROWS
        found = store.search(who, query, offset, PAGE_ROWS)
    if not found.total:
        st.info("No case fits; take a filter away." if asked.filters else EMPTY)
        return
    above = st.container(key="cases-actions", horizontal=True, vertical_alignment="center", gap="small")
    with st.container(key="cases-table"):
        ticked = table(found, "cases")
    show_actions(above, store, who, query, found, ticked)
    show_pages(asked, offset, found)


def asked_now() -> Asked:
    """What the address asks for. Coming from elsewhere without being asked anything, one finds the list as one left
    it."""
    kept = session()
    if key_of("text") not in st.session_state and not set(NAMES) & set(st.query_params):
        write(kept.cases_listed.parameters(), NAMES)
    kept.cases_listed = asked_by(st.query_params)
    return kept.cases_listed


def key_of(name: str) -> str:
    """The widget's key of a filter."""
    return f"cases-{name}"


@uninterrupted()
def chosen() -> None:
    """Write what the widgets say into the address, which the next run reads; from its first page on."""
    said: dict[str, Any] = {name: st.session_state.get(key_of(name)) for name in CHOSEN}
    said = {name: None if value == ANY else value for name, value in said.items()}
    write(Asked(**{**said, "text": str(said["text"] or "").strip()}).parameters(), NAMES)


def show_top(store: Store, who: Person) -> None:
    """The heading, and the ways to what is made of the cases."""
    row = st.container(key="cases-top", horizontal=True, vertical_alignment="center", gap="medium")
    row.header("Cases", anchor=False, width="content")
    with row:
        link_to_page(COMPARE_PAGE, "Compare")
        link_to_page(AGREEMENT_PAGE, "Agreement")
    offer_import(row, store, who)


def choose(choices: Choices, asked: Asked) -> None:
    """The filters, as the address has them; what is chosen goes there."""
    for name in CHOSEN:
        value = getattr(asked, name)
        st.session_state[key_of(name)] = ANY if value is None and name not in ("since", "until") else value
    row = st.container(key="cases-filters", horizontal=True, vertical_alignment="bottom", gap="small")
    row.text_input(
        "Search",
        key=key_of("text"),
        on_change=chosen,
        placeholder="Title, comment, patient, reader, file",
        max_chars=LONGEST_TEXT,
        width=300,
    )
    row.selectbox(
        "Answer",
        [ANY, *ANSWERS],
        format_func=lambda name: name if name == ANY else words.short(name),
        key=key_of("answer"),
        on_change=chosen,
        width=160,
    )
    row.selectbox(
        "Order", list(ORDERS), format_func=ORDER_NAMES.__getitem__, key=key_of("order"), on_change=chosen, width=210
    )
    count = sum(getattr(asked, name) is not None for name in MORE)
    with row.popover(f"More filters ({count})" if count else "More filters"):
        more_filters(choices, asked)


def more_filters(choices: Choices, asked: Asked) -> None:
    """Agreement, laboratory, reader and days of keeping. What the address names and nobody has is there to be taken
    away."""
    names = dict(choices.readers)
    laboratories = dict.fromkeys([*choices.laboratories, *filter(None, [asked.laboratory])])
    readers = dict.fromkeys([*names, *filter(None, [asked.reader])])
    st.selectbox(
        "Agreement",
        [ANY, *SAID],
        format_func=lambda one: SAID_NAMES.get(one, one),
        key=key_of("agreement"),
        on_change=chosen,
    )
    st.selectbox("Laboratory", [ANY, *laboratories], key=key_of("laboratory"), on_change=chosen)
    st.selectbox(
        "Reader",
        [ANY, *readers],
        format_func=lambda one: names.get(one, one),
        key=key_of("reader"),
        on_change=chosen,
    )
    first, last = st.columns(2)
    first.date_input("Kept from", None, key=key_of("since"), on_change=chosen)
    last.date_input("until", None, key=key_of("until"), on_change=chosen)


def table(found: Found, key: str) -> list[Row]:
    """A page of cases; the rows that are ticked. A click on a title opens the case. `key` tells it from other tables;
    of other rows none is ticked."""
    kept = session()
    rows = crc32("".join(row.id for row in found.rows).encode())
    event = st.dataframe(
        [table_row(row) for row in found.rows],
        column_config={
            "Preview": st.column_config.ImageColumn(width=96),
            "Answer": st.column_config.TextColumn(width=130, help="What the model said when the case was kept."),
            "Title": st.column_config.TextColumn(width=260, help="A click opens the case."),
            "P(malignant), %": st.column_config.NumberColumn(format="%.1f", width=110),
            "Own read": st.column_config.TextColumn(
                width=120, help="Before the answer if there is one, else after it."
            ),
            "Reader": st.column_config.TextColumn(width=100),
        },
        hide_index=True,
        row_height=ROW_HEIGHT,
        height=min(MOST_HEIGHT, ROW_HEIGHT * len(found.rows) + 40),
        key=f"{key}-{rows}-{kept.cases_opened}",
        placeholder="-",
        on_select="rerun",
        selection_mode=["multi-row", "single-cell"],
    )
    selection = cast(Any, event).selection
    if selection.cells:
        place, column = selection.cells[0]
        if column in ("Title", "Preview") and place < len(found.rows):
            open_case(found.rows[place].id)
    return [found.rows[place] for place in selection.rows if place < len(found.rows)]


def open_case(identity: str) -> NoReturn:
    """Turn to a case."""
    session().cases_opened += 1  # a table that is drawn anew has no cell chosen, which would open it once more
    turn_to(CASES_PAGE, {"id": identity})


def share_of(row: Row) -> float | None:
    """The probability of malignant as far as it says something: not outside the model's competence, and of "not sure"
    not in a laboratory that it does not know."""
    says = row.answer != "outside" and (row.answer != "not sure" or row.laboratory is not None)
    return row.probability if says else None


def table_row(row: Row) -> dict[str, Any]:
    people = {"Reader": row.reader[1], "Shared": "shared" if row.shared else "private"} if logs_in() else {}
    several = f" ({row.images} images)" if row.images > 1 else ""
    return {
        "Preview": data_url(row.thumbnail),
        "Answer": words.short(row.answer),
        "Title": words.title_of(row.title, row.created) + several,
        "P(malignant), %": None if (share := share_of(row)) is None else certain_of_nothing(100 * share),
        "Own read": "" if row.call is None else words.short(row.call),
        "Agreement": words.AGREEMENT[row.agrees],
        "Final diagnosis": "" if row.diagnosis is None else words.short(row.diagnosis),
        "Laboratory": row.laboratory or "",
        "Kept on": words.day(row.created),
        **people,
    }


def show_pages(asked: Asked, offset: int, found: Found) -> None:
    """Which part of the list this is, and the way to the others."""
    row = st.container(key="cases-pages", horizontal=True, vertical_alignment="center", gap="small")
    last = min(offset + PAGE_ROWS, found.total)
    row.markdown(f"{offset + 1:,} to {last:,} of **{found.total:,}**", width="content")
    if found.total <= PAGE_ROWS:
        return
    here, end = offset // PAGE_ROWS + 1, (found.total - 1) // PAGE_ROWS + 1
    for label, page in (("First", 1), ("Previous", here - 1), ("Next", here + 1), ("Last", end)):
        there = 1 <= page <= end and page != here
        row.button(label, disabled=not there, on_click=turn_pages, args=(asked, page), key=f"cases-{label}")


@uninterrupted()
def turn_pages(asked: Asked, page: int) -> None:
    write(replace(asked, page=page).parameters(), NAMES)


def show_actions(row: DeltaGenerator, store: Store, who: Person, query: Query, found: Found, ticked: list[Row]) -> None:
    """What can be done with the rows that are ticked, or with everything that was found."""
    if not ticked:
        row.markdown("Click a title to open the case; tick two rows to compare them.", width="stretch")
        label = f"Export all {found.total:,} (ZIP)"
        if found.total > MOST_EXPORTED:  # the ZIP is made in the server's memory
            row.button(
                label, disabled=True, help=f"At most {MOST_EXPORTED} here; `dala cases export` writes all of them."
            )
            return
        with row:
            offer_export(store, who, query, "cases", label)
        return
    row.markdown(f"**{len(ticked)} ticked**", width="content")
    if pressed(row, "Open", "cases-open", disabled=len(ticked) != 1) and len(ticked) == 1:
        open_case(ticked[0].id)
    two = len(ticked) == 2
    if pressed(row, "Compare", "cases-compare", disabled=not two, help="Of two rows that are ticked.") and two:
        turn_to(COMPARE_PAGE, {"a": ticked[0].id, "b": ticked[1].id})
    with row:
        offer_export(store, who, [one.id for one in ticked], "cases", f"Export {len(ticked)} (ZIP)")
