"""The list of cases: searched, filtered, sorted and paged by the database; a click opens a case, two ticks compare."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any, NoReturn, cast

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dala.cases.kept import ANSWERS, Choices, Found, Query, Row
from dala.cases.people import Person
from dala.cases.store import Store
from pages.parts.batch.table import certain_of_nothing, data_url
from pages.parts.cases import words
from pages.parts.cases.files import offer_export, offer_import
from pages.parts.documents import link_to_page
from pages.parts.people import logs_in
from pages.parts.session import session
from pages.parts.shared import AGREEMENT_PAGE, CASES_PAGE, COMPARE_PAGE, turn_to

PAGE_ROWS, ROW_HEIGHT, MOST_HEIGHT = 25, 64, 620
MOST_EXPORTED = 200
ANY = "Any"
UNFILTERED = Query()
ORDERS = {
    "Newest first": ("created", True),
    "Oldest first": ("created", False),
    "Changed last": ("changed", True),
    "Title": ("title", False),
    "Most malignant first": ("probability", True),
    "Answer": ("answer", False),
    "Laboratory": ("laboratory", False),
    "Reader": ("reader", False),
    "Agreement": ("agrees", False),
}
SAID = {"Agrees": {"agrees": True}, "Disagrees": {"agrees": False}, "Own read differs": {"differs": True}}
EMPTY = (
    "Nothing is kept yet. **Keep this case**, below the maps of a second opinion or of a field of a slide, keeps what "
    "is on the page: the answer as it was said, your own read and comment and, if you wish, the image."
)


def show_list(store: Store, who: Person) -> None:
    """Filters, a page of the table, and what can be done with the rows that are ticked."""
    show_top(store, who)
    query = choose(store.choices(who))
    place = session().cases_place
    offset = place[1] if place is not None and place[0] == query else 0
    found = store.search(who, query, offset, PAGE_ROWS)
    if offset and not found.rows:  # the last ones of it were deleted
        offset = 0
        found = store.search(who, query, offset, PAGE_ROWS)
    session().cases_place = query, offset
    if not found.total:
        st.info(
            EMPTY
            if replace(query, order=UNFILTERED.order, descending=UNFILTERED.descending) == UNFILTERED
            else "No case fits; take a filter away."
        )
        return
    above = st.container(key="cases-actions", horizontal=True, vertical_alignment="center", gap="small")
    with st.container(key="cases-table"):
        ticked = table(found, f"cases-{offset}")
    show_actions(above, store, who, query, found, ticked)
    show_pages(query, offset, found)


def show_top(store: Store, who: Person) -> None:
    """The heading, and the ways to what is made of the cases."""
    row = st.container(key="cases-top", horizontal=True, vertical_alignment="center", gap="medium")
    row.header("Cases", anchor=False, width="content")
    with row:
        link_to_page(COMPARE_PAGE, "Compare")
        link_to_page(AGREEMENT_PAGE, "Agreement")
    offer_import(row, store, who)


def choose(choices: Choices) -> Query:
    """What is asked for; it stays while one is on other pages."""
    row = st.container(key="cases-filters", horizontal=True, vertical_alignment="bottom", gap="small")
    text = row.text_input(
        "Search",
        key="cases-text",
        persist_state="session",
        placeholder="Title, comment, patient, reader, file",
        max_chars=200,
        width=300,
    )
    answer = row.selectbox(
        "Answer",
        [ANY, *ANSWERS],
        format_func=lambda name: name if name == ANY else words.short(name),
        key="cases-answer",
        persist_state="session",
        width=160,
    )
    order = row.selectbox("Order", list(ORDERS), key="cases-order", persist_state="session", width=210)
    column, descending = ORDERS[order]
    said, laboratory, reader, since, until = more_filters(row, choices)
    query = Query(
        (text or "").strip(),
        None if answer == ANY else answer,
        laboratory=laboratory,
        reader=reader,
        since=since,
        until=until,
        order=column,
        descending=descending,
    )
    return query if said is None else replace(query, **cast(Any, SAID[said]))


def more_filters(
    row: DeltaGenerator, choices: Choices
) -> tuple[str | None, str | None, str | None, date | None, date | None]:
    """Agreement, laboratory, reader and days of keeping, folded away; how many are set stands on the button."""
    keys = [f"cases-{name}" for name in ("agreement", "laboratory", "reader", "since", "until")]
    count = sum(st.session_state.get(key) not in (None, ANY) for key in keys)
    names = dict(choices.readers)
    with row.popover(f"More filters ({count})" if count else "More filters"):
        said = st.selectbox("Agreement", [ANY, *SAID], key=keys[0], persist_state="session")
        laboratory = st.selectbox("Laboratory", [ANY, *choices.laboratories], key=keys[1], persist_state="session")
        reader = st.selectbox(
            "Reader",
            [ANY, *names],
            format_func=lambda one: names.get(one, one),
            key=keys[2],
            persist_state="session",
        )
        first, last = st.columns(2)
        since = first.date_input("Kept from", None, key=keys[3], persist_state="session")
        until = last.date_input("until", None, key=keys[4], persist_state="session")
    chosen = [None if one == ANY else str(one) for one in (said, laboratory, reader)]
    days = [one if isinstance(one, date) else None for one in (since, until)]
    return chosen[0], chosen[1], chosen[2], days[0], days[1]


def table(found: Found, key: str) -> list[Row]:
    """A page of cases; the rows that are ticked. A click on a title opens the case. `key` tells it from other pages."""
    kept = session()
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
        key=f"{key}-{kept.cases_opened}",
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


def table_row(row: Row) -> dict[str, Any]:
    people = {"Reader": row.reader[1], "Shared": "shared" if row.shared else "private"} if logs_in() else {}
    several = f" ({row.images} images)" if row.images > 1 else ""
    return {
        "Preview": data_url(row.thumbnail),
        "Answer": words.short(row.answer),
        "Title": words.title_of(row.title, row.created) + several,
        "P(malignant), %": None if row.probability is None else certain_of_nothing(100 * row.probability),
        "Own read": "" if row.call is None else words.short(row.call),
        "Agreement": words.AGREEMENT[row.agrees],
        "Final diagnosis": "" if row.diagnosis is None else words.short(row.diagnosis),
        "Laboratory": row.laboratory or "",
        "Kept on": words.day(row.created),
        **people,
    }


def show_pages(query: Query, offset: int, found: Found) -> None:
    """Which part of the list this is, and the way to the others."""
    row = st.container(key="cases-pages", horizontal=True, vertical_alignment="center", gap="small")
    last = min(offset + PAGE_ROWS, found.total)
    row.markdown(f"{offset + 1:,} to {last:,} of **{found.total:,}**", width="content")
    if found.total <= PAGE_ROWS:
        return
    end = (found.total - 1) // PAGE_ROWS * PAGE_ROWS
    for label, target in (
        ("First", 0),
        ("Previous", offset - PAGE_ROWS),
        ("Next", offset + PAGE_ROWS),
        ("Last", end),
    ):
        there = 0 <= target <= end and target != offset
        row.button(label, disabled=not there, on_click=turn_pages, args=(query, target), key=f"cases-{label}")


def turn_pages(query: Query, offset: int) -> None:
    session().cases_place = query, offset


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
    if row.button("Open", disabled=len(ticked) != 1):
        open_case(ticked[0].id)
    if row.button("Compare", disabled=len(ticked) != 2, help="Of two rows that are ticked."):
        turn_to(COMPARE_PAGE, {"a": ticked[0].id, "b": ticked[1].id})
    with row:
        offer_export(store, who, [one.id for one in ticked], "cases", f"Export {len(ticked)} (ZIP)")
