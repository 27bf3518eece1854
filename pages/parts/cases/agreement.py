"""The page of agreement: model and readers against the final diagnosis or each other, over time and by whom."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import streamlit as st

from dala.cases.agreement import Agreement, Key, Rater, agreement, disagreements, parts
from dala.cases.kept import ANSWERS, CALLS, AgreementRow, Query
from dala.cases.people import Person
from dala.cases.store import Store
from dala.stats.bootstrap import Interval
from dala.studies.blocks import Chart, Point
from dala.words import counted, figure
from pages.parts.buttons import uninterrupted
from pages.parts.cases import words
from pages.parts.cases.address import whole, word, write
from pages.parts.cases.listing import PAGE_ROWS, table
from pages.parts.documents import link_to_page
from pages.parts.evidence.blocks import draw
from pages.parts.evidence.blocks import table as figures
from pages.parts.shared import CASES_PAGE, plain

AGAINST: dict[Rater, tuple[str, str]] = {
    "diagnosis": ("Final diagnosis", "the final diagnosis"),
    "before": ("Own read before the answer", "the reader's own read before the answer"),
    "after": ("Own read after the answer", "the reader's own read after the answer"),
}
RATERS: dict[Rater, str] = {
    "model": "Model",
    "before": "Readers before the answer",
    "after": "Readers after the answer",
}
FIGURES: dict[str, Callable[[Agreement], Interval]] = {
    "kappa": lambda one: one.kappa,
    "sensitivity": lambda one: one.sensitivity,
    "specificity": lambda one: one.specificity,
}
LEAST_MONTHS = 2
NOTHING = "Nothing to compare yet: no kept case has both the model's answer and {}. Add it on the pages of your cases."


def show_agreement(store: Store, who: Person) -> None:
    """The choice of what is held against what; figures, over time, by reader and laboratory; the disagreements."""
    row = st.container(key="cases-top", horizontal=True, vertical_alignment="center", gap="medium")
    row.header("Agreement", anchor=False, width="content")
    with row:
        link_to_page(CASES_PAGE, "All cases")
    against = cast(Rater, choose("against", "Held against", AGAINST, lambda rater: AGAINST[rater][0]))
    named = AGAINST[against][1]
    rows = store.rows_for_agreement(who, Query())
    found = agreement(rows, "model", against)
    if not found.cases:
        st.info(NOTHING.format(named))
        return
    st.markdown(
        f"**{counted(found.cases, 'case')} of {counted(found.patients, 'patient')}**: both sides were decided in "
        f"**{found.decided:,}**, and these are counted. Not sure and outside the model's competence are no "
        "answers, right or wrong; the counts have them. Intervals are 95 %, over patients."
    )
    show_figures(rows, against, found)
    show_over_time(rows, against)
    show_by(rows, against, "reader", "By reader")
    show_by(rows, against, "laboratory", "By laboratory that the image was taken for")
    show_disagreements(store, who, disagreements(rows, "model", against), named)
    st.caption(
        "These are cases that people chose to keep, not a random sample: how often the model is wrong on patients that "
        "it has not seen is on the page Evidence."
    )


def choose(name: str, label: str, words_: Iterable[str], named: Callable[[Any], str]) -> str:
    """One of these words, which stands in the address; held against another one, the list begins anew."""
    key, known = f"agreement-{name}", list(words_)

    @uninterrupted()
    def turn() -> None:
        picked = st.session_state[key]
        write({} if picked in (None, known[0]) else {name: picked}, (name, *(["page"] if name == "against" else [])))

    st.session_state[key] = word(name, known)
    st.segmented_control(label, known, format_func=named, required=True, key=key, wrap=True, on_change=turn)
    return word(name, known)


def show_figures(rows: Sequence[AgreementRow], against: Rater, found: Agreement) -> None:
    """A row for the model and, against a diagnosis, for the readers; then the counts."""
    raters: list[Rater] = ["model", "before", "after"] if against == "diagnosis" else ["model"]
    told = [(RATERS[rater], agreement(rows, rater, against)) for rater in raters]
    figures([in_figures("Who", who, one) for who, one in told if one.cases], "Agreement, with intervals")
    with st.expander("Counts"):
        truths = [one for one in CALLS if any(truth == one for truth, _ in found.table)]
        figures(
            [
                {
                    "Held to be": words.short(truth),
                    **{words.short(said): f"{found.table.get((truth, said), 0):,}" for said in ANSWERS},
                }
                for truth in truths
            ],
            "Answers of the model by what is held against them",
        )
        st.caption("Columns: what the model answered.")


def in_figures(head: str, name: str, one: Agreement) -> dict[str, str]:
    """A row of a table."""
    return {
        head: name,
        "Decided": f"{one.decided:,} of {one.cases:,}",
        "Kappa": figure(one.kappa),
        "Sensitivity": figure(one.sensitivity, percent=True),
        "Specificity": figure(one.specificity, percent=True),
        "The same": figure(one.same, percent=True),
    }


def show_over_time(rows: Sequence[AgreementRow], against: Rater) -> None:
    """One of the model's figures by month of keeping, and all of them in numbers."""
    months = {str(month): agreement(some, "model", against) for month, some in parts(rows, "month").items()}
    months = {month: one for month, one in months.items() if one.decided}
    if len(months) < LEAST_MONTHS:
        return
    st.subheader("Over time", anchor=False)
    name = choose("figure", "Figure", FIGURES, str.capitalize)
    pick = FIGURES[name]
    points = [
        Point(month, value["value"], value["low"], value["high"])
        for month, one in months.items()
        if (value := pick(one))["value"] is not None
    ]
    told = ", ".join(f"{month}: {figure(pick(one))}" for month, one in months.items())
    draw(
        [
            Chart(
                "agreement-months",
                f"{name.capitalize()} by month. {told}",
                "month of keeping",
                name,
                series={name: points},
                height=300,
            )
        ]
    )
    with st.expander("All figures by month"):
        figures([in_figures("Month", month, one) for month, one in months.items()], "The model's figures by month")


def show_by(rows: Sequence[AgreementRow], against: Rater, key: Key, heading: str) -> None:
    """The model's figures by reader or laboratory, where there are several."""
    names = {row.reader[0]: row.reader[1] for row in rows}
    told = [(name, agreement(some, "model", against)) for name, some in parts(rows, key).items()]
    told = [(name, one) for name, one in told if one.decided]
    if len(told) < 2:
        return
    st.subheader(heading, anchor=False)
    figures(
        [
            in_figures(
                "Reader" if key == "reader" else "Laboratory",
                plain(names[str(name)] if key == "reader" else name or "not known"),
                one,
            )
            for name, one in told
        ],
        heading,
    )


def show_disagreements(store: Store, who: Person, rows: Sequence[AgreementRow], named: str) -> None:
    """The cases in which they differ, a page of them; a click on a title opens the case."""
    st.subheader("Where they disagree", anchor=False)
    if not rows:
        st.markdown(f"In no case did the model's answer and {named} differ.")
        return
    last = (len(rows) - 1) // PAGE_ROWS + 1
    page = whole(st.query_params.get("page", ""), last)
    if last > 1:

        @uninterrupted()
        def turn() -> None:
            write({"page": str(st.session_state["agreement-page"])}, ("page",))

        st.session_state["agreement-page"] = page
        st.number_input("Page", 1, last, key="agreement-page", width=140, on_change=turn)
    some = [row.id for row in rows[(page - 1) * PAGE_ROWS : page * PAGE_ROWS]]
    st.markdown(
        f"**{counted(len(rows), 'case')}** in which the model's answer and {named} differ; click a title to open one."
    )
    table(store.search(who, Query(ids=some), 0, PAGE_ROWS), "agreement")
