"""Which image the first page is about: a dropped file, an example, or one that another page hands over."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import RerunException, get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFile

from dala.intake.image import ACCEPTED, MAXIMUM_PIXELS
from dala.phantoms.film import FILMS
from dala.phantoms.tissue import PHANTOMS
from dala.runtime.predict import Model
from pages.parts.buttons import uninterrupted
from pages.parts.limits import LARGEST_MB
from pages.parts.second_opinion.examples import (
    DRAWN,
    FILE,
    NONE,
    example_bytes,
    phantom,
    samples,
    title,
)
from pages.parts.second_opinion.first import introduce, show_links, show_result
from pages.parts.second_opinion.own_read import offer_first_read
from pages.parts.session import EXAMPLE, Dropped, Handed, session
from pages.parts.shared import BATCH_PAGE, plain, turn_to

MEGAPIXELS = MAXIMUM_PIXELS // 1_000_000
EXAMPLES = (*PHANTOMS, *FILMS)


UPLOAD = "upload"


# Whichever was chosen last is shown: a file that is dropped puts the example back, an example removes the file.
@uninterrupted()
def take_files() -> None:
    """Keep what was dropped now: it takes the place of what was there, it does not join it.

    The uploader stays the same, so that a file that is dropped while the page runs for the one before is not lost with
    it. It lists all that it was ever given; the ones that were taken are known, and most are let go by then.
    """
    kept = session()
    held = st.session_state.get(UPLOAD) or ()
    # What has been let go already is no UploadedFile any more.
    files = [file for file in held if isinstance(file, UploadedFile) and file.file_id not in kept.taken]
    if not files:
        return
    kept.taken.update(file.file_id for file in files)
    release(files)
    put_example(None)
    remove()
    large = [file for file in files if file.size > LARGEST_MB * 2**20 and not is_archive(file)]
    if large:
        session().told = too_large(large)
        files = [file for file in files if file not in large]
    if len(files) > 1 or any(is_archive(file) for file in files):
        session().dropped = Dropped(files)
    elif files:
        session().handed = Handed(files[0].name, files[0].getvalue())


def is_archive(file: UploadedFile) -> bool:
    return str(file.name).lower().endswith(".zip")


def too_large(files: list[UploadedFile]) -> str:
    """Why files were left out, in a sentence."""
    names = ", ".join(f"{file.name} ({file.size / 2**20:.0f} MB)" for file in files)
    return (
        f"{names}: larger than {LARGEST_MB} MB, the most for one image. Export the region in question at 20x, or "
        "analyse a whole slide with the command dala."
    )


def release(files: list[UploadedFile]) -> None:
    """Let the server forget its copies. It would keep those of an uploader that is no more until the session ends."""
    context = get_script_run_ctx()
    if context is not None and isinstance(context.uploaded_file_mgr, MemoryUploadedFileManager):
        for file in files:
            context.uploaded_file_mgr.remove_file(context.session_id, file.file_id)


@uninterrupted()
def remove() -> None:
    session().handed = session().told = None


@uninterrupted()
def choose_example(key: str) -> None:
    put_example(key)
    remove()


def put_example(key: str | None) -> None:
    """Set which example is shown, by something else than the box. The box becomes another one: the browser goes on
    sending the value of the old one until it has drawn the page, which would be taken for a choice and put a file that
    was dropped meanwhile away."""
    kept = session()
    kept.example = key
    kept.example_turn += 1


def example_key(turn: int) -> str:
    return f"{EXAMPLE}-{turn}" if turn else EXAMPLE


@uninterrupted()
def example_chosen(turn: int) -> None:
    """Take what was chosen in the box; nothing from a box that is no more: a file has come in its stead."""
    kept = session()
    if turn != kept.example_turn:
        return
    chosen = str(st.session_state[example_key(turn)])
    kept.example = None if chosen == NONE else chosen
    remove()


class Chosen(NamedTuple):
    """An image's bytes and name, what must be said of it if it is drawn, and the line of the page that is about it."""

    data: bytes
    name: str
    drawn: str | None
    row: DeltaGenerator


def choose_image(model: Model) -> Chosen | None:
    """What was chosen, or nothing yet: then the page says what it is. May raise OSError.

    Several files at once, or a ZIP, open the page Batch with them instead.
    """
    dropped = session().dropped
    if dropped is not None and dropped.fresh:
        turn_to(BATCH_PAGE)
    files, kept = samples(), session()
    options = [NONE, *(FILE + name for name in files), *(DRAWN + name for name in EXAMPLES)]
    if kept.example is not None and (kept.handed is not None or kept.example not in options):
        put_example(None)  # an image from another page has come, or its file is gone
    # Once an image is there, the controls shrink to a line: verdict and maps are to be seen without scrolling.
    small = kept.handed is not None or kept.example is not None
    # One tree in both: look.css lays it out, one way where it is horizontal and another where it is not. A widget that
    # is drawn at another place is drawn anew, and the file that is just on its way to an uploader would be lost.
    front = st.container(key="choice", horizontal=small, vertical_alignment="center" if small else "top")
    names = ("first-words", "drop", "first-read", "first-links", "first-result", "examples-title", "examples")
    words, upload, read, links, result, heading, examples = (front.container(key=name) for name in names)
    if not small:
        with result:
            show_result(model)
        with words:
            introduce()
        with links:
            show_links()
        heading.markdown("**Or try a drawing**" if not files else "**Or choose an example or a drawing**")
    offer_upload(upload, small)
    examples.selectbox(
        "Examples",
        options,
        options.index(kept.example or NONE),
        format_func=title,
        key=example_key(kept.example_turn),
        on_change=example_chosen,
        args=(kept.example_turn,),
        help="Drawn examples are made by code: schematic H&E and a schematic film, neither tissue nor a radiograph. "
        "Your own images are listed too if the environment variable DALA_SAMPLES names their folder.",
        label_visibility="collapsed",
    )
    offer_first_read(read)
    if os.environ.get("DALA_SAMPLES") and not files:
        examples.caption("The folder that DALA_SAMPLES names holds no images.")
    if told := kept.told:
        st.error(plain(told))
    row = st.container(key="image-line", horizontal=True, vertical_alignment="center", gap="small")
    if handed := kept.handed:
        row.markdown(f"{handed.origin}: **{plain(handed.name)}**", width="content")
        row.button("Remove", on_click=remove, type="tertiary")
        return Chosen(handed.data, handed.name, None, row)
    if (example := kept.example) is None:
        return None
    drawn = phantom(example.removeprefix(DRAWN)).description if example.startswith(DRAWN) else None
    return Chosen(*example_bytes(example, files), drawn, row)


@contextmanager
def answer_before_hidden() -> Iterator[None]:
    """While the page runs for another image, what was said of the one before is hidden: it would stand below the name
    of this one. A run that another one breaks off has said nothing yet, and hides for that one as well.

    It is shown again at the end, for a part of the page may run alone, and what is in use there stays in sight.
    """
    now, place = (session().example, session().handed), st.container(key="image-before").empty()
    if now != session().spoken_of:
        # With more than a style in it, or Streamlit would put it where it cannot be taken away again.
        place.html("<style>.stMain [data-stale=true] { visibility: hidden }</style><br>")
    try:
        yield
    except RerunException:
        raise
    except BaseException:  # st.stop() too: all is said that there is to say
        _spoken_of(now, place)
        raise
    _spoken_of(now, place)


def _spoken_of(image: object, place: DeltaGenerator) -> None:
    session().spoken_of = image
    place.empty()


def offer_upload(place: DeltaGenerator, small: bool) -> None:
    """Where files are dropped, with what is taken, in words."""
    place.file_uploader(
        "Drop an H&E breast patch or a mammogram here",
        # No list of types: a DICOM file often has no suffix, or a number for one. Its content tells what a file is.
        # No limit of its own: whoever drops more than LARGEST_MB is told so in a sentence, by take_files.
        accept_multiple_files=True,
        key=UPLOAD,
        on_change=take_files,
        label_visibility="collapsed" if small else "visible",
    )
    if not small:
        place.caption(
            f"{ACCEPTED}, whatever the file is called; up to {LARGEST_MB} MB and {MEGAPIXELS} megapixels. Several "
            "files at once, or a ZIP of them, are analysed on the Batch page."
        )
