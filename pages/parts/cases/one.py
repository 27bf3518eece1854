"""One case as it was kept: what was said then, the maps, what its reader said of it; and what may be changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dala.cases.decks import Decks
from dala.cases.kept import CALLS, CHANGEABLE, LONGEST_TITLE, KeptCase, KeptImage
from dala.cases.people import Person
from dala.cases.store import Store
from dala.errors import CaseError, DalaError, IntakeError, StoreError
from dala.export.report import LONGEST_COMMENT, FirstRead, Remarks
from dala.opinion import Opinion
from dala.words import counted
from pages.parts.batch.table import data_url
from pages.parts.buttons import pressed, uninterrupted
from pages.parts.cases import words
from pages.parts.cases.address import NAMES, write
from pages.parts.cases.files import offer_export
from pages.parts.cases.keep import NO_NAMES, choose_diagnosis, remember
from pages.parts.cases.pair import Side, show_sides
from pages.parts.cases.reopen import Served, Then, opinion_now, patch_then, served_for, settings_then, then
from pages.parts.documents import link_to_page
from pages.parts.people import logs_in
from pages.parts.second_opinion.explanation import show_explanation
from pages.parts.second_opinion.fields import show_fields
from pages.parts.second_opinion.verdict import in_one_line
from pages.parts.second_opinion.viewer import identity, usual
from pages.parts.session import Form, session
from pages.parts.shared import COMPARE_PAGE, plain

THUMBNAIL_WIDTH, TOLD = 144, 120  # px; characters of what somebody else wrote meanwhile
AGREES = {"agree": True, "disagree": False}
NAMED = {
    "title": "the title",
    "comment": "the comment",
    "read_after": "the read after the answer",
    "agrees": "the agreement",
    "diagnosis": "the diagnosis",
    "subtype": "its words",
    "patient": "the patient",
    "shared": "the sharing",
}
UNREADABLE = "What was kept of this image cannot be read by this version."


def show_case(store: Store, who: Person, case: KeptCase) -> None:
    """All of a case; the image that is looked at comes from the choice among its images, or is the only one."""
    row = st.container(key="case-top", horizontal=True, vertical_alignment="center", gap="small")
    row.button("← All cases", type="secondary", on_click=back_to_list)
    row.markdown(f"#### {plain(words.title_of(case.title, case.created))}", width="content")
    st.caption(words.about(case, logs_in()))
    image = choose_image(case)
    try:
        show_image_of_case(store, who, case, image)
    except (IntakeError, StoreError) as error:
        st.error(plain(str(error)))
    except (KeyError, TypeError, ValueError, AttributeError) as error:  # of another program's archive
        if isinstance(error, DalaError):
            raise
        st.error(UNREADABLE)
    if case.comment:
        st.markdown("**Comment**")
        st.markdown(plain(case.comment).replace("\n", "  \n"))
    row = st.container(key="case-actions", horizontal=True, vertical_alignment="center", gap="small")
    with row:
        link_to_page(COMPARE_PAGE, "Compare with another case", {"a": f"{case.id}.{image.number}"})
        offer_export(store, who, [case.id], f"case-{case.id[:8]}")
    if case.may_change:
        remember(case.id, words.title_of(case.title, case.created))
        offer_change(store, who, case)
        offer_deletion(row, store, who, case)


def choose_image(case: KeptCase) -> KeptImage:
    """Which of the images of a case is looked at."""
    if len(case.images) == 1:
        return case.images[0]
    numbers = [image.number for image in case.images]
    chosen = st.segmented_control(
        f"Images of this case: {len(numbers)}",
        numbers,
        default=numbers[0],
        format_func=lambda number: f"{number}: {words.short(case.images[number - 1].answer)}",
        required=True,
        key=f"image-of-{case.id}",
    )
    return case.images[(chosen or 1) - 1]


def show_image_of_case(store: Store, who: Person, case: KeptCase, image: KeptImage) -> None:
    """What was said then; below it the maps: anew by the same weights, else as they were."""
    with st.container(key="verdict"):
        show_verdict_then(case, image)
    patch = patch_then(who, case, image)
    if patch is None:
        left, right = st.columns([1, 4])
        if preview := data_url(image.thumbnail):
            left.image(preview, width=THUMBNAIL_WIDTH, alt="A small preview of the image")
        right.markdown("The image itself was not kept, so its maps cannot be looked at; this is what was said of it.")
        show_numbers(image)
        return
    known = then(patch, image)
    served = served_for(image)
    if served.changed is None:
        show_anew(case, image, opinion_now(patch, served))
    elif known is not None:
        show_by_others(case, image, known, served)
    else:
        st.info(f"{plain(served.changed)}. The maps of then were not kept.")
    show_numbers(image)


def show_verdict_then(case: KeptCase, image: KeptImage) -> None:
    """The answer in the words of the first page, with what was known against it, and the reader's own."""
    record = image.opinion
    answer, known = st.columns(2, gap="medium")
    answer.header(words.headline(record), anchor=False)
    for said in (words.below_headline(record), words.scale_in_words(record)):
        if said:
            answer.markdown(said)
    known.markdown(plain(str(record.get("worth") or "")))
    known.markdown(reader_in_words(case))


def reader_in_words(case: KeptCase) -> str:
    """The reads, agreement and diagnosis in a line of Markdown."""
    read = (
        (case.read_before, "before the answer"),
        (case.read_after, "after it" if case.read_before else "after the answer"),
    )
    told = [f"**{words.read_in_words(one)}** {when}" for one, when in read if one is not None]
    parts = [f"Own read: {', '.join(told) or 'none'}"]
    if case.agrees is not None:
        parts.append(f"the reader **{words.AGREEMENT[case.agrees].lower()}**")
    final = "not known" if case.diagnosis is None else words.short(case.diagnosis)
    if case.subtype:
        final += f" ({plain(case.subtype)})"
    return f"{'; '.join(parts)}. Final diagnosis: **{final}**."


def show_anew(case: KeptCase, image: KeptImage, opinion: Opinion) -> None:
    """The maps by the weights of then, which serve still, with the settings of then."""
    kept, fresh = session(), f"{case.id}.{image.number}"
    opened = kept.case_opened != fresh
    kept.case_opened = fresh
    field = image.settings.get("field")
    if opened:
        kept.looked_at = (identity(opinion), field) if isinstance(field, int) else None
    with st.container(key="fields"):
        looked_at = show_fields(opinion)
    if opened or kept.viewing.image != identity(looked_at):
        kept.viewing.image = identity(looked_at)
        kept.viewing.settings = settings_then(image, looked_at) or usual(looked_at)
        kept.viewing.start = None
    kept.note_answer_seen(opinion.patch.sha256)
    show_explanation(looked_at, in_one_line(looked_at), remarks_of(case))


def show_by_others(case: KeptCase, image: KeptImage, known: Then, served: Served) -> None:
    """The maps of then beside those of the weights that serve now, once these are asked."""
    key = f"now-{case.id}-{image.number}"
    row = st.container(horizontal=True, vertical_alignment="center", gap="small")
    row.info(f"{plain(served.changed or '')}. Above and here stands what was said then.", width="stretch")
    asked = row.toggle("What would be said now?", key=key)
    before = Side(f"{case.id}-{image.number}-then", "Then", words.in_one_line(image.opinion), known)
    if not asked:
        show_sides([before], settings_then(image, known), f"then-{case.id}-{image.number}")
        return
    now = opinion_now(known.patch, served)
    after = Side(f"{identity(now)}-now", "Now", in_one_line(now), now)
    show_sides([before, after], settings_then(image, known), f"now-then-{case.id}-{image.number}")


def show_numbers(image: KeptImage) -> None:
    """By what it was said, and what the record holds, folded."""
    origin = image.origin or {}
    lines = [words.weights_in_words(image)]
    if image.name:
        lines.append(f"File {plain(image.name)}.")
    if origin:
        box = ", ".join(str(value) for value in origin.get("box", []))
        lines.append(f"A field of the slide {plain(str(origin.get('slide') or 'whose name was not kept'))}, box {box}.")
    if told := words.settings_in_words(image.settings):
        lines.append(told)
    st.caption("  \n".join(lines))


def remarks_of(case: KeptCase) -> Remarks:
    """What the report says of the reader."""
    before, after = case.read_before, case.read_after
    first = None if before is None else FirstRead(before["call"], before.get("confidence"))
    return Remarks(case.comment[:LONGEST_COMMENT], None if after is None else after["call"], case.agrees, False, first)


def offer_change(store: Store, who: Person, case: KeptCase) -> None:
    """The form by which what a reader has said is changed; what was read before the answer never is. What somebody else
    has changed since the form was filled is not written over unawares."""
    form = session().case_form
    if form is None or form.id != case.id or f"change-title-{form.number}" not in st.session_state:
        said = {name: getattr(case, name) for name in CHANGEABLE}
        form = session().case_form = Form(case.id, f"{case.id}-{case.changed.timestamp()}", said, dict(said))
    said = form.filled
    with st.expander("Change title, reads and comment"), st.form(f"change-{form.number}", border=False):
        first, second, third = st.columns([4, 3, 3], vertical_alignment="bottom")
        title = first.text_input("Title", said["title"], LONGEST_TITLE, key=f"change-title-{form.number}")
        patient = second.text_input("Patient or case", said["patient"] or "", LONGEST_TITLE, help=NO_NAMES)
        diagnosis = choose_diagnosis(third, f"change-diagnosis-{form.number}", said["diagnosis"])
        first, second, third = st.columns([4, 3, 3], vertical_alignment="bottom")
        call = None if said["read_after"] is None else said["read_after"]["call"]
        after = first.segmented_control("Own read after the answer", CALLS, default=call, format_func=words.short)
        agrees = second.segmented_control(
            "The model's answer: I",
            list(AGREES),
            default=next((word for word, agreed in AGREES.items() if agreed is said["agrees"]), None),
        )
        subtype = third.text_input(
            "Words of the diagnosis", said["subtype"], LONGEST_TITLE, placeholder="Such as its subtype"
        )
        comment = st.text_area("Comment", said["comment"], max_chars=max(LONGEST_COMMENT, len(said["comment"])))
        shared = said["shared"]
        if logs_in():
            shared = st.toggle("Share with everybody who logs in", said["shared"])
        if not pressed(st, "Save", f"save-{form.number}", form=True, type="primary"):
            return
        wanted: dict[str, Any] = {
            "title": title.strip(),
            "patient": patient.strip() or None,
            "diagnosis": diagnosis,
            "subtype": subtype.strip(),
            "agrees": None if agrees is None else AGREES[agrees],
            "comment": comment.strip(),
            "shared": shared,
        }
        if after != call:
            wanted["read_after"] = None if after is None else {"call": after}
        changes = {name: value for name, value in wanted.items() if value != said[name]}
        if lost := [name for name in changes if getattr(case, name) not in (form.known[name], changes[name])]:
            form.known.update({name: getattr(case, name) for name in lost})
            meanwhile = "; ".join(f"{NAMED[name]} is now {said_of(name, getattr(case, name))}" for name in lost)
            st.warning(
                "Nothing was saved yet, for somebody has changed this case in another window meanwhile: "
                f"{meanwhile}. Save again to put yours in its place."
            )
            return
        with uninterrupted():
            try:
                store.change(who, case.id, **changes)
            except (CaseError, StoreError) as error:
                st.error(plain(str(error)))
                return
            session().case_form = None
    st.rerun()


def said_of(name: str, value: Any) -> str:
    """What somebody else has put into a field, in words."""
    if name == "read_after":
        return words.read_in_words(value)
    if name == "agrees":
        return "not said" if value is None else f'"{words.AGREEMENT[value].lower()}"'
    if name == "shared":
        return "with everybody who logs in" if value else "with nobody"
    if name == "diagnosis":
        return "not known" if value is None else words.short(value)
    text = " ".join(str(value or "").split())
    return f'"{plain(text if len(text) <= TOLD else text[:TOLD].rstrip() + " …")}"' if text else "empty"


def offer_deletion(row: DeltaGenerator, store: Store, who: Person, case: KeptCase) -> None:
    """Deletion, said twice."""

    @uninterrupted()
    def ask() -> None:
        session().case_to_delete = case.id

    row.button("Delete", key=f"ask-{case.id}", on_click=ask)
    if session().case_to_delete == case.id:
        confirm_deletion(store, who, case)


@uninterrupted()
def not_deleted() -> None:
    """Nothing is asked any longer."""
    session().case_to_delete = ""


@st.dialog("Delete this case?", on_dismiss=not_deleted)
def confirm_deletion(store: Store, who: Person, case: KeptCase) -> None:
    """Asks once more, in the middle of the window wherever the page stands, and deletes."""
    st.markdown("Image, opinion and every word of this case are removed for good; the log keeps that it was there.")
    try:
        if copies := copies_in_words(*Decks(store).holding(who, case.id)):
            st.warning(copies)
    except StoreError as error:
        st.error(plain(str(error)))
        return
    if not pressed(st, "Delete this case", f"delete-{case.id}", type="primary"):
        return
    with uninterrupted():
        try:
            store.delete(who, case.id)
        except (CaseError, StoreError) as error:
            st.error(plain(str(error)))
            return
        for image in [image for image, id_ in session().kept.items() if id_ == case.id]:
            session().kept.pop(image)
        session().recent_cases.pop(case.id, None)
        not_deleted()
        back_to_list()
    st.rerun()


def copies_in_words(decks: int, titles: Sequence[str]) -> str:
    """What deletion does not reach: teaching decks, with the titles of one's own; "" where there are none."""
    if not decks:
        return ""
    named = f" ({', '.join(map(plain, titles))})" if titles else ""
    one = decks == 1
    return (
        f"{counted(decks, 'teaching deck')}{named} {'has its' if one else 'have their'} own copy of this case's image, "
        f"with diagnosis and words, and {'keeps' if one else 'keep'} it: only deleting the deck removes that copy."
    )


@uninterrupted()
def back_to_list() -> None:
    """To the list as it was left."""
    write(session().cases_listed.parameters(), ("id", *NAMES))
