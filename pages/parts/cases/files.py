"""Cases as a ZIP: taken away, and brought back here or to another server."""

from __future__ import annotations

import io
from collections.abc import Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dala.cases.kept import Query
from dala.cases.opening import settings
from dala.cases.people import Person
from dala.cases.store import Store
from dala.errors import CaseError, StoreError
from dala.words import counted
from pages.parts.buttons import pressed
from pages.parts.shared import plain


def offer_export(
    store: Store, who: Person, what: Sequence[str] | Query, name: str, label: str = "Export (ZIP)"
) -> None:
    """A button that makes the ZIP of these cases, or of all that a query finds; then one that saves it, until the page
    changes. What goes wrong is a sentence in their place."""
    row = st.container(horizontal=True, vertical_alignment="center", gap="small", width="content")
    if not pressed(
        row,
        label,
        f"export-{name}",
        help="JSON, images and the log of these cases; the export is written into the log.",
    ):
        return
    out = io.BytesIO()
    try:
        with st.spinner("Writing the ZIP …"):
            store.export(who, store.ids(who, what) if isinstance(what, Query) else list(what), out)
    except (CaseError, StoreError) as error:
        row.error(plain(str(error)))
        return
    row.download_button(
        f"Save {name}.zip", out.getvalue(), f"{name}.zip", "application/zip", on_click="ignore", type="primary"
    )


def offer_import(row: DeltaGenerator, store: Store, who: Person) -> None:
    """Bring cases of such a ZIP back."""
    said = settings()
    with row.popover("Import", type="tertiary"):
        most = 0 if said is None else said.import_mb
        file = st.file_uploader("A ZIP that this tool has exported", max_upload_size=most, key="cases-import")
        if file is None or not pressed(st, "Import", f"import-{file.file_id}", type="primary"):
            return
        if file.size > most * 2**20:
            st.error(f"This archive has more than the {most} MB that a page of this server imports.")
            return
        try:
            found = store.import_(who, file)
        except (CaseError, StoreError) as error:
            st.error(plain(str(error)))
            return
        there = f"; {counted(len(found.known), 'case')} had been there already" if found.known else ""
        st.success(f"{counted(len(found.new), 'case')} imported{there}.")
