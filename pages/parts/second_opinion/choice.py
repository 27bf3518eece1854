"""Which image the first page is about: a dropped file, an example, or one that another page hands over."""

from __future__ import annotations

import os
from typing import Literal, NamedTuple

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFile

from dala.intake.image import ACCEPTED
from dala.phantoms.film import FILMS
from dala.phantoms.tissue import PHANTOMS
from pages.parts.second_opinion.examples import (
    DRAWN,
    FILE,
    NONE,
    drawn_title,
    example_bytes,
    phantom,
    samples,
    thumbnail_png,
    title,
)
from pages.parts.second_opinion.own_read import offer_first_read
from pages.parts.session import EXAMPLE, Dropped, Handed, session
from pages.parts.shared import BATCH_PAGE, plain, turn_to

LARGEST_MB = 64  # a camera field of 2048 x 1536 pixels, uncompressed at 16 bit, takes 19
THUMBNAIL_WIDTH = 146
EXAMPLES = (*PHANTOMS, *FILMS)


def uploader_key() -> str:
    return f"upload-{session().uploads}"


# Whichever was chosen last is shown: a file that is dropped puts the example back, an example removes the file.
def take_files(key: str) -> None:
    """Keep what was dropped and empty the uploader: the next file takes the place of this one, it does not join it.

    `key` is the uploader's that took them. Of one that is no more, and whose files the server has let go, the browser
    may tell once again, if the reader does something else before the page has been drawn: that takes nothing away.
    """
    files = st.session_state.get(key)
    if not files:
        return
    session().uploads += 1
    release(files)
    st.session_state[EXAMPLE] = NONE
    remove()
    if len(files) > 1 or any(file.name.lower().endswith(".zip") for file in files):
        session().dropped = Dropped(files)
    elif files:
        session().handed = Handed(files[0].name, files[0].getvalue())


def release(files: list[UploadedFile]) -> None:
    """Let the server forget its copies. It would keep those of an uploader that is no more until the session ends."""
    context = get_script_run_ctx()
    if context is not None and isinstance(context.uploaded_file_mgr, MemoryUploadedFileManager):
        for file in files:
            context.uploaded_file_mgr.remove_file(context.session_id, file.file_id)


def remove() -> None:
    session().handed = None


def choose_example(key: str) -> None:
    st.session_state[EXAMPLE] = key
    remove()


class Chosen(NamedTuple):
    """An image's bytes and name, what must be said of it if it is drawn, and the line of the page that is about it."""

    data: bytes
    name: str
    drawn: str | None
    row: DeltaGenerator


def choose_image() -> Chosen | None:
    """What was chosen, or nothing yet. May raise OSError.

    Several files at once, or a ZIP, open the page Batch with them instead.
    """
    dropped = session().dropped
    if dropped is not None and dropped.fresh:
        dropped.fresh = False  # once: files that wait there do not keep anybody from this page
        turn_to(BATCH_PAGE)
    files = samples()
    # Once an image is there, the controls shrink to a line: verdict and maps are to be seen without scrolling.
    small = session().handed is not None or st.session_state.get(EXAMPLE, NONE) != NONE
    if small:
        upload_column, example_column, read_column = st.columns([5, 3, 3], gap="medium", vertical_alignment="center")
    else:
        upload_column, example_column = st.columns([3, 2], gap="medium")
        read_column = example_column
    labels: Literal["collapsed", "visible"] = "collapsed" if small else "visible"
    upload_column.file_uploader(
        "Drop an H&E breast patch or a mammogram here to get a second opinion, or choose an example.",
        # No list of types: a DICOM file often has no suffix, or a number for one. Its content tells what a file is.
        help=f"{ACCEPTED} are accepted, whatever the file is called. Several files at once, or a ZIP of them, are "
        "analysed on the Batch page.",
        accept_multiple_files=True,
        max_upload_size=LARGEST_MB,
        key=uploader_key(),
        on_change=take_files,
        args=(uploader_key(),),
        label_visibility=labels,
    )
    example = example_column.selectbox(
        "Examples",
        [NONE, *(DRAWN + name for name in EXAMPLES), *(FILE + name for name in files)],
        format_func=title,
        key=EXAMPLE,
        on_change=remove,
        help="Drawn examples are made by code: schematic H&E and a schematic film, neither tissue nor a radiograph. "
        "Your own images are listed too if the environment variable DALA_SAMPLES names their folder.",
        label_visibility=labels,
    )
    offer_first_read(read_column)
    if os.environ.get("DALA_SAMPLES") and not files:
        example_column.caption("The folder that DALA_SAMPLES names holds no images.")
    row = st.container(horizontal=True, vertical_alignment="center", gap="small")
    if handed := session().handed:
        row.markdown(f"{handed.origin}: **{plain(handed.name)}**", width="content")
        row.button("Remove", on_click=remove, type="tertiary")
        return Chosen(handed.data, handed.name, None, row)
    if example == NONE:
        return None
    drawn = phantom(example.removeprefix(DRAWN)).description if example.startswith(DRAWN) else None
    return Chosen(*example_bytes(example, files), drawn, row)


def show_gallery() -> None:
    """The drawn examples of the empty page, each a thumbnail with its button."""
    st.caption(
        "Drawn examples: schematic H&E and a schematic mammogram made by code. They are not tissue and have no "
        "diagnosis. Like images of any laboratory that the model does not know, none of them is answered benign."
    )
    row = st.container(horizontal=True)
    for name in EXAMPLES:
        key = DRAWN + name
        place = row.container(width=THUMBNAIL_WIDTH, gap="xsmall")
        place.image(thumbnail_png(name), width="stretch", output_format="PNG")
        place.button(
            drawn_title(key).capitalize(), key=f"choose-{name}", on_click=choose_example, args=(key,), width="stretch"
        )
