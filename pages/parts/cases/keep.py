"""Keep this case: one click keeps what is on the page with what its reader adds; nothing is kept without it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import streamlit as st

from dala.cases.kept import DIAGNOSES, LONGEST_NAME, LONGEST_TITLE, NewCase, NewImage
from dala.errors import CaseError, StoreError
from dala.explanation.render import encode_png
from dala.export.kept import kept_record, thumbnail
from dala.opinion import Opinion, explain
from pages.parts.buttons import offer, taken, uninterrupted
from pages.parts.documents import link_to_page
from pages.parts.people import keeps_cases, keeps_images, logs_in, person, store_or_stop
from pages.parts.second_opinion.report import AGREE
from pages.parts.second_opinion.viewer import identity, settings_for
from pages.parts.session import lasting, own_read_key, session
from pages.parts.shared import CASES_PAGE, called, plain

NO_NAMES = "A pseudonym or a number of your own, by which cases of one patient are counted together. No names."
UNKNOWN, NEW_CASE = "Not known", "A case of its own"
RECENT = 5


@dataclass(frozen=True)
class Source:
    """What the image of an opinion is: its name; its bytes, which are made when they are wanted; where a field was cut
    out, as `dala.cases.kept.NewImage` has it; and which field of it is looked at."""

    name: str
    data: Callable[[], bytes]
    origin: dict[str, Any] | None = None
    field: int | None = None


def of_field(opinion: Opinion, slide: str, box: tuple[int, int, int, int]) -> Source:
    """A field of a slide: its own pixels, for the slide stays where it lies."""
    return Source(
        f"{slide}, {opinion.patch.name}", lambda: encode_png(opinion.patch.pixels), {"slide": slide, "box": list(box)}
    )


def offer_keeping(opinion: Opinion, looked_at: Opinion, source: Source) -> None:
    """The form below the maps; `looked_at` is the opinion of the field whose maps are shown."""
    if not keeps_cases():
        return
    image = identity(opinion)
    with st.container(key="keep", border=True):
        if (kept := session().kept.get(image)) is not None:
            row = st.container(horizontal=True, vertical_alignment="center", gap="small")
            row.markdown("**Kept** in this server's cases.", width="content")
            with row:
                link_to_page(CASES_PAGE, "Open the case", {"id": kept})
            row.button("Keep it once more", type="tertiary", on_click=forget, args=(image,))
            return
        st.markdown(
            "**Keep this case**, to find it again at an address of its own: verdict, settings of the maps, your own "
            "read and the comment from above."
        )
        into = choose_case(image)
        named, label, final = ("", "", None) if into else ask_words(image)
        row = st.container(horizontal=True, vertical_alignment="center", gap="medium")
        offer(row, "Add to the case" if into else "Keep this case", f"keep-{image}", type="primary")
        with_image, with_name, shared = ask_what(row, image, asks_sharing=into is None)
        if not taken(f"keep-{image}"):
            return
        with uninterrupted():
            store, who = store_or_stop(), person()
            try:
                new = NewImage(
                    (source.name[:LONGEST_NAME] if with_name else ""),
                    source.data() if with_image else None,
                    asdict(settings_for(looked_at)) | ({} if source.field is None else {"field": source.field}),
                    record_of(opinion, looked_at),
                    thumbnail(opinion.image),
                    None if source.origin is None else source.origin | ({} if with_name else {"slide": ""}),
                )
                if into:
                    store.add(who, into, new)
                    kept_as = into
                else:
                    kept_as = store.keep(who, case_of(opinion, looked_at, new, named, label, final, shared))
                    remember(kept_as, named.strip())
            except (CaseError, StoreError) as error:
                st.error(plain(str(error)))
                return
            session().kept[image] = kept_as
        st.rerun()


def choose_case(image: str) -> str | None:
    """The case of this visit that the image is added to; None for a case of its own."""
    recent = session().recent_cases
    if not recent:
        return None
    chosen = st.selectbox(
        "Keep it as",
        [NEW_CASE, *reversed(recent)],
        format_func=lambda one: one if one == NEW_CASE else f"Another image of: {recent[one]}",
        key=f"keep-into-{image}",
        width=420,
    )
    return None if chosen == NEW_CASE else chosen


def remember(identity: str, title: str) -> None:
    """Further images may be added to this case; the ones that were kept or opened last are offered."""
    recent = session().recent_cases
    recent.pop(identity, None)
    recent[identity] = title or f"the case kept at {datetime.now():%H:%M}"
    for oldest in list(recent)[:-RECENT]:
        recent.pop(oldest)


def ask_words(image: str) -> tuple[str, str, str | None]:
    """Title, label and final diagnosis."""
    title, patient, diagnosis = st.columns([4, 3, 3], vertical_alignment="bottom")
    named = title.text_input(
        "Title", max_chars=LONGEST_TITLE, key=lasting(f"keep-title-{image}"), placeholder="Optional"
    )
    label = patient.text_input(
        "Patient or case",
        max_chars=LONGEST_TITLE,
        key=lasting(f"keep-patient-{image}"),
        placeholder="A label, no names",
        help=NO_NAMES,
    )
    return named or "", label or "", choose_diagnosis(diagnosis, lasting(f"keep-diagnosis-{image}"), None)


@uninterrupted()
def forget(image: str) -> None:
    """The form is offered again; what was kept stays."""
    session().kept.pop(image, None)


def choose_diagnosis(place: Any, key: str, known: str | None) -> str | None:
    choices = [UNKNOWN, *DIAGNOSES]
    chosen = place.selectbox(
        "Final diagnosis, if known",
        choices,
        choices.index(known) if known in choices else 0,
        format_func=lambda name: name if name == UNKNOWN else called(name, DIAGNOSES[-1]),
        key=key,
        help="What pathology settled in the end, not what the model says: agreement is counted against it.",
    )
    return None if chosen == UNKNOWN else str(chosen)


def ask_what(row: Any, image: str, *, asks_sharing: bool) -> tuple[bool, bool, bool]:
    """Whether the image's bytes and its name are kept, and whether others see the case."""
    images_off = not keeps_images()
    with_image = row.toggle(
        "Keep the image itself",
        value=not images_off,
        disabled=images_off,
        key=f"keep-image-{image}",
        help="This server keeps no images, only opinions."
        if images_off
        else "When off, only the opinion is kept, with "
        "its numbers and a small preview: maps cannot be looked at on the image again.",
    )
    with_name = row.toggle(
        "Keep the file's name", key=f"keep-name-{image}", help="A file name may identify a patient, so it is left out."
    )
    shared = (
        asks_sharing
        and logs_in()
        and row.toggle(
            "Share with everybody who logs in",
            key=f"keep-shared-{image}",
            help="Otherwise only you and administrators see it.",
        )
    )
    return bool(with_image), bool(with_name), bool(shared)


def record_of(opinion: Opinion, looked_at: Opinion) -> dict[str, Any]:
    """The record of the whole image, with its map at the settings that are shown; of a field its own maps are made anew
    from the image."""
    settings = settings_for(looked_at)
    explanation = explain(
        opinion,
        settings.target,
        settings.rule,
        settings.parameter,
        colour_map=settings.colour_map,
        opacity=settings.opacity,
        limit=settings.limit if settings.fixed else None,
    )
    return kept_record(opinion, explanation)


def case_of(
    opinion: Opinion,
    looked_at: Opinion,
    new: NewImage,
    title: str,
    patient: str,
    diagnosis: str | None,
    shared: bool,
) -> NewCase:
    """With what the reader has said beside the report, of what is looked at."""
    state, image = st.session_state, looked_at.patch.sha256[:12]
    first = session().first_read(opinion.patch.sha256)
    after, agree = state.get(own_read_key(looked_at)), state.get(f"agree-{image}")
    return NewCase(
        [new],
        title=title.strip(),
        comment=str(state.get(f"comment-{image}") or "").strip(),
        read_before=None if first is None else asdict(first),
        read_after=None if after is None else {"call": after},
        agrees=None if agree is None else AGREE[agree],
        diagnosis=diagnosis,
        patient=patient.strip() or None,
        shared=shared,
    )
