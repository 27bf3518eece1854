"""Batch: many patches or a ZIP at once; answers as they come, a table to sort and filter, and exports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import cast

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.runtime.uploaded_file_manager import UploadedFile

from dala.batch import Run, sizes_of_table
from dala.errors import DataError, IntakeError
from dala.export.overlays import MAXIMUM_OVERLAYS, overlays
from dala.export.records import Record
from dala.export.table import nameless, to_csv, to_json
from dala.intake.archive import Item, Upload, members
from dala.intake.image import ACCEPTED
from dala.intake.patch import Patch
from dala.intake.pixel_size import USER, PixelSize
from dala.opinion import model_for
from dala.runtime.predict import Model
from dala.words import counted
from pages.parts.batch.table import (
    ALL,
    OUTSIDE_SHORT,
    REFUSED,
    answer,
    data_url,
    orders,
    show_truth,
    show_worth_of,
    table,
    warn_of_known,
)
from pages.parts.buttons import pressed, uninterrupted
from pages.parts.second_opinion.scale import MAGNIFICATIONS, OBJECTIVES_UM, OWN, UNKNOWN, size_of
from pages.parts.session import BATCH_FILTER, ChosenSize, Handed, session
from pages.parts.shared import (
    NOT_SURE,
    OUTSIDE,
    SCALE_UNKNOWN,
    SECOND_OPINION_PAGE,
    called,
    model_or_stop,
    plain,
    turn_to,
)
from pages.parts.sites import choose_site, loader, model_in_use

LARGEST_TABLE_MB = 4
LARGEST_MB = 256  # a ZIP of several hundred camera fields
PAUSE_SECONDS, FIRST_SECONDS = 2.0, 0.5  # between two looks at the work; before the first, by which a few are done
SHOWN_MEANWHILE, SHOWN_AT_MOST = 12, 2000
PREVIEW_WIDTH = 96


@uninterrupted()
def start(items: list[Item], left_outside: list[str], model: Model) -> None:
    kept = session()
    if kept.run is not None:
        kept.run.cancel()
    kept.dropped = kept.overlays = None
    kept.run_site = kept.site
    choice, table = kept.usual_size, kept.size_table
    kept.run = Run(
        items,
        model,
        partial(by_modality, kept.run_site),
        None if table is None else sizes_of_table(table),
        None if choice is None else lambda patch: size_of(choice, patch),
    )
    kept.left_out, kept.batch_filter, kept.batch_order, kept.batch_place = left_outside, None, None, None
    st.session_state.pop(BATCH_FILTER, None)


def by_modality(site: str | None, patch: Patch) -> Model:
    return model_for(patch, loader(site))


def items_of(files: list[UploadedFile], left_out: Callable[[str], None]) -> list[Item]:
    return list(members((Upload(file.name, file) for file in files), left_out))


def show_left_out(sentences: list[str]) -> None:
    for sentence in sentences:
        st.warning(plain(sentence))


def choose(model: Model, working: bool) -> None:
    """The uploader and the button that starts."""
    files = st.file_uploader(
        "Drop many H&E breast patches or mammograms here, or one ZIP of them, then start.",
        # No list of types: a DICOM file often has no suffix, or a number for one. Its content tells what a file is.
        accept_multiple_files=True,
        max_upload_size=LARGEST_MB,
        key="batch-upload",
    )
    st.caption(f"{ACCEPTED}, in a ZIP too; up to {LARGEST_MB} MB a file. Each is analysed by its kind's model.")
    dropped = None if files else session().dropped
    taken = dropped.files if dropped else files
    outside: list[str] = []
    items = items_of(taken, outside.append)
    images = counted(len(items), "image")
    # There in every case, so that the table below, which may be on its way, is not drawn at another place.
    above = st.container(key="batch-told")
    with above:
        show_left_out(outside)
    if dropped:
        row = above.container(horizontal=True, vertical_alignment="center")
        row.info(f"{images} from the first page, to be analysed in place of the ones below.")
        row.button("Remove", on_click=remove_dropped, type="tertiary")
    if model.card.input.um_per_pixel is not None:
        choose_sizes()
    what = f"Analyse {images}" if items else "Analyse the images"
    st.button(what, type="primary", disabled=working or not items, on_click=start, args=(items, outside, model))


def choose_sizes() -> None:
    """How large the pixels are of images whose file and name do not tell it, and a table of the sizes of others."""
    kept = session()
    usual, table = st.columns([2, 3], gap="medium")
    choices = [UNKNOWN, *OBJECTIVES_UM, *MAGNIFICATIONS]
    chosen = usual.selectbox(
        "Pixel size of images that tell none",
        choices,
        choices.index(kept.usual_size or UNKNOWN),
        format_func=lambda name: {UNKNOWN: "Unknown", **OBJECTIVES_UM, **MAGNIFICATIONS}[name],
        key="batch-usual-size",
        help="An image of unknown scale is answered only if the answer is the same over a range of scales.",
    )
    kept.usual_size = None if chosen == UNKNOWN else chosen
    with table.popover("A table of pixel sizes", width="content"):
        file = st.file_uploader(
            "CSV with the columns file and um, micrometres per pixel; it goes before what a file tells",
            max_upload_size=LARGEST_TABLE_MB,
            key="batch-sizes",
        )
    kept.size_table = None
    if file is not None:
        text = file.getvalue().decode("utf-8", errors="replace")
        try:
            sizes_of_table(text)
            kept.size_table = text
            table.caption(f"Sizes from {plain(file.name)}.")
        except DataError as error:
            table.error(plain(str(error)))


@uninterrupted()
def remove_dropped() -> None:
    session().dropped = None


@uninterrupted()
def remove_overlays() -> None:
    session().overlays = None


def in_time(seconds: float) -> str:
    """A duration for someone who waits, rounded up."""
    if seconds < 60:
        return f"{int(seconds) + 1} s"
    return f"{int(seconds // 60) + 1} min"


def show_run(run: Run, model: Model, working: bool) -> None:
    """Progress while there is work, then the table. A fragment: nothing here starts the run over.

    `working` is how the page drew it; when the work has ended, the page is drawn again, without the browser's asking.
    """
    if not working:
        if run.cancelled:
            st.warning(f"Cancelled: {len(run.results)} of {counted(len(run.items), 'image')} analysed.")
        if run.results:
            warn_of_known(run, model)
            show_worth_of(run, model)
            show_answers(run, model, model.card.fields["positive"])
        return
    run.work()  # in the background: what is drawn here waits for the network only where that is nearly through
    if run.seconds_left is None:
        run.wait(FIRST_SECONDS)
    if (left := run.seconds_left) is not None and left < PAUSE_SECONDS:
        run.wait(2 * PAUSE_SECONDS)
    if run.done:
        st.rerun()
    show_progress(st.progress(0.0), run)
    st.button("Cancel", on_click=uninterrupted()(run.cancel))
    if run.results:
        warn_of_known(run, model)
        table(run.results[-SHOWN_MEANWHILE:][::-1], model, None, choosable=False)
        if len(run.results) > SHOWN_MEANWHILE:
            st.caption(f"The newest {SHOWN_MEANWHILE} of {len(run.results)}; all of them when the batch is done.")


def show_progress(bar: DeltaGenerator, run: Run) -> None:
    left = run.seconds_left
    done, total = len(run.results), len(run.items)
    about = "" if left is None else f"; about {in_time(left)} left"
    bar.progress(done / total, text=f"{done} of {counted(total, 'image')}{about}")


def show_answers(run: Run, model: Model, positive: str) -> None:
    """Filter, order and table, as they were left: they survive other pages."""
    kept = session()
    answers = [answer(result.record, positive) for result in run.results]
    numbers = Counter(answers) | Counter({ALL: len(answers)})
    kinds = [
        ALL,
        *(called(name, positive) for name in model.card.classes),
        NOT_SURE,
        SCALE_UNKNOWN,
        OUTSIDE_SHORT,
        REFUSED,
    ]
    there = [kind for kind in kinds if numbers[kind]]
    filters, order = st.columns([5, 2], gap="medium", vertical_alignment="bottom")
    kind = filters.pills(
        "Show",
        there,
        default=kept.batch_filter if kept.batch_filter in there else ALL,
        required=True,
        format_func=lambda kind: f"{kind} {numbers[kind]}",
        key=BATCH_FILTER,
    )
    ways = orders(positive)
    way = order.selectbox("Order", list(ways), list(ways).index(kept.batch_order or "As dropped"), key="batch-order")
    kept.batch_filter, kept.batch_order = str(kind), str(way)
    chosen = [place for place, one in enumerate(answers) if kind in (ALL, one)]
    if (key := ways[way]) is not None:
        chosen.sort(key=lambda place: key(run.results[place]))
    shown = chosen[:SHOWN_AT_MOST]
    # A key of its own for each filter and order: a row that was chosen in one is another image in the next.
    rows = table([run.results[place] for place in shown], model, f"batch-table-{kind}-{way}", choosable=True)
    if len(shown) < len(chosen):
        st.caption(f"The first {SHOWN_AT_MOST} of {len(chosen)}; CSV and JSON hold all of them.")
    if rows and rows[0] < len(shown):
        kept.batch_place = shown[rows[0]]
    if kept.batch_place is not None and kept.batch_place in shown:
        show_chosen(run, kept.batch_place, positive)
    else:
        st.caption("Tick a row to open the image with its heat maps.")
    show_truth(run, positive)
    show_downloads(run, model)


def show_chosen(run: Run, place: int, positive: str) -> None:
    """The chosen image with the way to its heat maps in the first page."""
    result, item = run.results[place], run.items[place]
    row = st.container(horizontal=True, vertical_alignment="center", border=True)
    if preview := data_url(result.thumbnail):
        row.image(preview, width=PREVIEW_WIDTH, alt=item.name)
    reason = result.record["reason"]
    said = f"{OUTSIDE}. {plain(reason)}" if result.record["status"] == "outside" else plain(reason or "")
    row.markdown(f"**{plain(item.name)}**  \n{said or answer(result.record, positive)}", width="stretch")
    openable = result.record["status"] != "refused"
    if openable and pressed(row, "Open in Second opinion", f"batch-open-{result.record['sha256']}", type="primary"):
        try:
            data = item.load()
        except IntakeError as error:
            st.error(plain(str(error)))
            return
        assert isinstance(data, bytes)  # of an upload, never a file of the server's
        with uninterrupted():
            session().handed = Handed(item.name, data, "From the batch")
            hand_size_over(result.record)
        turn_to(SECOND_OPINION_PAGE)


def hand_size_over(record: Record) -> None:
    """What was chosen in the batch for this image holds on the first page too."""
    size = record["pixel_size"]
    if record["um_per_pixel"] is not None and size is not None and size["source"] == USER:
        chosen = PixelSize(size["rows"], size["columns"], USER, size["told"])
        session().pixel_sizes[record["sha256"]] = ChosenSize(OWN, chosen)


def show_downloads(run: Run, model: Model) -> None:
    records: list[Record] = [result.record for result in run.results]
    row = st.container(horizontal=True, vertical_alignment="center")
    with_names = row.toggle(
        "Include file names",
        key="batch-with-names",
        on_change=remove_overlays,
        help="When off, downloads number the images and identify them by their fingerprints only: a file name may "
        "identify a patient.",
    )
    told = records if with_names else nameless(records)
    # The files are made when they are asked for, not at every redrawing.
    row.download_button(
        "All as CSV", lambda: to_csv(told, run.classes), "batch.csv", "text/csv", on_click="ignore", width="content"
    )
    row.download_button(
        "All as JSON", lambda: to_json(told), "batch.json", "application/json", on_click="ignore", width="content"
    )
    answered = [record for record in records if record["prediction"] is not None]
    if not answered:
        return
    if made := session().overlays:
        row.download_button(
            "Overlays (ZIP)",
            made,
            "overlays.zip",
            "application/zip",
            on_click="ignore",
            width="content",
            type="primary",
        )
    elif pressed(
        row,
        "Make overlays",
        "batch-overlays",
        help="A ZIP with the DT Grad-CAM of each image that has a verdict, towards its prediction. The network looks "
        f"at each of them again; at most the first {MAXIMUM_OVERLAYS} are made.",
    ):
        bar = st.progress(0.0, text="Overlays …")
        session().overlays = overlays(
            list(zip(run.items, records, strict=False)),
            model,
            lambda done, total: cast(None, bar.progress(done / total, text=f"Overlays: {done} of {total}")),
            partial(by_modality, session().run_site),
            with_names=with_names,
        )
        st.rerun()
    if len(answered) > MAXIMUM_OVERLAYS:
        st.caption(f"Overlays are made of the first {MAXIMUM_OVERLAYS} images with a verdict.")


model_or_stop()
st.header("Batch", anchor=False)
choose_site()
model = model_in_use()

dropped = session().dropped
if dropped:
    dropped.fresh = False  # files that wait here keep nobody from the first page
if dropped and session().run is None:
    outside: list[str] = []
    start(items_of(dropped.files, outside.append), outside, model)
run = session().run
working = run is not None and not run.done
choose(model, working)
if run is not None:
    if not (dropped or st.session_state.get("batch-upload")):  # else it stands above
        show_left_out(session().left_out)
    # The browser asks how far it is as long as there is work.
    st.fragment(show_run, run_every=PAUSE_SECONDS if working else None)(run, model, working)
