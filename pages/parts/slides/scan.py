"""The scan of a slide on its page: a map that grows, how long it takes, stop and go on; what was found; the files."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import streamlit as st

from dala.errors import SlideError, WeightsError
from dala.slides.drawing import COLOURS
from dala.slides.files import SCAN
from dala.slides.findings import Findings, findings_of
from dala.slides.reader import Slide
from dala.slides.rows import NOT_SURE, STATES
from pages.parts.buttons import pressed, uninterrupted
from pages.parts.session import READ_FIRST, session
from pages.parts.shared import plain
from pages.parts.slides.scanning import Scans, State

SHOWN_REGIONS = 30
FLIES = "Choose a region: the slide flies there, and its most suspicious field is asked about below."
HIGHEST = "P(malignant), %"
EVERY = 2.0  # seconds between two looks at a scan under way
SIGNS = {"malignant": "▲", "benign": "●", "not sure": "◆", "outside": "◇", "unreadable": "✕"}


@st.cache_resource
def scans() -> Scans:
    """The scans of this server."""
    return Scans()


def colours() -> dict[str, str]:
    """The colour of every state, as a browser takes it."""
    return {state: "#{:02x}{:02x}{:02x}".format(*COLOURS[state]) for state in STATES}


def hidden() -> bool:
    """Whether the map waits until the reader has looked by themselves."""
    return bool(st.session_state.get(READ_FIRST)) and not session().scan_shown


def cells_of(state: State) -> list[tuple[int, int, str]]:
    """Every field that was looked at, for the viewer."""
    return [] if state.found is None or hidden() else [(row.column, row.row, row.state) for row in state.found[1]]


def of_file(slide: Slide, state: State) -> tuple[State, bool]:
    """The state, without rows that are of another file, which lay here under this name; and whether there are such."""
    if state.found is None or state.running:
        return state, False
    try:
        others = state.found[0].get("slide") != slide.fingerprint
    except OSError:  # it is out of reach, which the viewer says
        others = False
    return (replace(state, found=None) if others else state), others


def scannable(slide: Slide) -> bool:
    """Whether fields can be read: not without a pixel size, nor where pixels are too coarse."""
    try:
        return slide.field_level >= 0
    except SlideError:
        return False


def show_controls(slide: Slide, path: Path, state: State, replaced: bool = False) -> None:
    """Start, stop or go on, and how far it is; `replaced`: an earlier scan is of another file of this name."""
    rows, fields = (0, 0) if state.found is None else (len(state.found[1]), int(state.found[0]["fields"]))
    row = st.container(horizontal=True, vertical_alignment="center")
    if state.running:
        if pressed(row, "Stop the scan", f"scan-stop-{path}"):
            scans().stop(path)
            st.rerun()
        left = "" if state.seconds_left is None else f", about {_time(state.seconds_left)} left"
        words = f"{rows:,} of {fields:,} fields{left}" if fields else "The tissue is looked for …"
        if fields and rows == fields:
            words = f"{rows:,} of {fields:,} fields, the files are being written …"
        row.progress(rows / fields if fields else 0.0, text=words)
        return
    whole = bool(fields) and rows == fields
    label = "Scan it again" if whole else "Go on with the scan" if rows else "Scan the slide"
    if not whole and pressed(row, label, f"scan-start-{path}", type="primary", disabled=not scannable(slide)):
        try:
            scans().start(path, slide.um, anew=replaced)
            st.rerun()
        except SlideError as error:
            st.error(plain(str(error)))
    if rows and not whole:
        row.markdown(f"{rows:,} of {fields:,} fields so far.", width="content")
    elif replaced:
        row.caption("What an earlier scan has found is of a file that this one has replaced; a new scan removes it.")
    elif not rows:
        row.caption("Every field with tissue is read, coarse to fine; a scan can be stopped and continued at any time.")
    if state.failure:
        st.error(plain(state.failure))


def show_findings(path: Path, state: State, field_is_open: bool) -> None:
    """Counts, regions to fly to, how many false alarms to expect, and the files."""
    if state.found is None or not state.found[1]:
        return
    if hidden():
        if pressed(st, "I have looked by myself: show the map and what was found", f"scan-looked-{path}"):
            with uninterrupted():
                session().scan_shown = True
            st.rerun()
        return
    try:
        findings = findings_of(*state.found)
    except WeightsError as error:
        st.error(plain(str(error)))
        return
    flies = session().flight is not None
    with st.expander("What the scan has found", expanded=flies or not field_is_open):
        _show(path, findings)
    if not state.running:
        _offer_files(path)


def _show(path: Path, findings: Findings) -> None:
    for sentence in findings.sentences:
        st.markdown(plain(sentence))
    legend = st.container(horizontal=True, gap="medium")
    for name, colour in colours().items():
        if count := findings.counts[name]:
            fill = f"repeating-linear-gradient(135deg, {colour} 0 2px, #fff 2px 5px)" if name == NOT_SURE else colour
            swatch = f'<span style="display: inline-block; width: 14px; height: 14px; background: {fill}"></span>'
            legend.html(f"{swatch} {SIGNS[name]} {name}: {count:,}", width="content")
    _show_regions(path, findings)


def _show_regions(path: Path, findings: Findings) -> None:
    """The largest regions; a row that is chosen is flown to, and its most suspicious field asked about."""
    if not findings.regions:
        st.caption("No field was called malignant.")
        return
    shown = findings.regions[:SHOWN_REGIONS]
    chosen = st.dataframe(
        [
            {
                "Region": region.number,
                "Fields": len(region.fields),
                "Area (mm2)": round(region.mm2, 3),
                HIGHEST: round(100 * region.highest),
            }
            for region in shown
        ],
        column_config={HIGHEST: st.column_config.NumberColumn(help="The highest of the region's fields.")},
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key="regions",
        height="content" if len(shown) <= 8 else 320,
    )
    rows = chosen["selection"]["rows"]
    region = shown[rows[0]] if rows and rows[0] < len(shown) else None
    flight = None if region is None else (f"{findings.header['plan']}-{region.number}", region.box)
    if flight != session().flight:
        session().flight = flight
        if region is not None:
            likely = {(row.column, row.row): row.probability or 0.0 for row in findings.rows}
            session().field_picked[str(path)] = max(region.fields, key=lambda at: likely[at])
        st.rerun()
    st.caption(
        f"The {len(shown)} largest of {len(findings.regions)} regions. {FLIES}"
        if len(findings.regions) > len(shown)
        else FLIES
    )


def _offer_files(path: Path) -> None:
    folder = scans().folder(path)
    if not (folder / SCAN).is_file():
        return
    # Made when it is asked for: a large slide's tables are megabytes.
    st.download_button(
        "Download the files (report, CSV, GeoJSON for QuPath, map)",
        lambda: zipped(folder),
        f"{Path(folder.name).stem} scan.zip",
        "application/zip",
        on_click="ignore",
    )


def zipped(folder: Path) -> bytes:
    """The files of a scan that is whole, without its rows."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for one in sorted(folder.iterdir()):
            if one.is_file() and one.suffix in (".csv", ".gz", ".geojson", ".png", ".pdf", ".json"):
                archive.write(one, one.name)
    return file.getvalue()


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
