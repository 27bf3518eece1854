"""The two sides of a comparison: which cases are chosen, in the address, and their images with the maps of then."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dala.cases.kept import KeptCase, KeptImage, Query, Row
from dala.cases.people import Person
from dala.cases.store import Store
from dala.errors import CaseError, DalaError, IntakeError
from pages.parts.batch.table import data_url
from pages.parts.buttons import uninterrupted
from pages.parts.cases import words
from pages.parts.cases.one import THUMBNAIL_WIDTH
from pages.parts.cases.pair import Side, show_sides
from pages.parts.cases.reopen import patch_then, settings_then, then
from pages.parts.documents import link_to_page
from pages.parts.session import session
from pages.parts.shared import CASES_PAGE, plain

SIDES = {"a": "First", "b": "Second"}
OFFERED = 200


def show_comparison(store: Store, who: Person) -> None:
    """The choice of both, then the viewer; where an image was not kept, what was said of it."""
    rows = {row.id: row for row in store.search(who, Query(), 0, OFFERED).rows}
    if len(rows) < 2 and not set(SIDES) <= set(st.query_params):
        st.info("Two cases are needed to compare them; keep them first.")
        return
    chosen = [choose(place, side, rows) for place, side in zip(st.columns(2, gap="medium"), SIDES, strict=True)]
    if None in chosen:
        st.caption("Choose a case on either side. In the list of cases, tick two rows and press Compare.")
        return
    sides: list[Side | None] = []
    kept: list[tuple[KeptCase, KeptImage]] = []
    for place in chosen:
        case, image = case_at(store, who, str(place))
        kept.append((case, image))
        sides.append(side_of(who, case, image))
    known = [side for side in sides if side is not None]
    if len(known) == len(sides):
        for side in known:
            session().note_answer_seen(side.mapped.patch.sha256)
        settings = settings_then(kept[0][1], known[0].mapped)
        show_sides(known, settings, f"compare-{'-'.join(side.identity for side in known)}")
    else:
        for place_, (case, image), one in zip(st.columns(2, gap="medium"), kept, sides, strict=True):
            show_without_maps(place_, case, image, one)
    for number, (place_, (case, _)) in enumerate(zip(st.columns(2, gap="medium"), kept, strict=True)):
        with place_.container(key=f"case-link-{case.id}-{number}"):
            link_to_page(CASES_PAGE, "Open this case", {"id": case.id})


def choose(place: DeltaGenerator, side: str, rows: dict[str, Row]) -> str | None:
    """The case of a side: that of the address, or one of the newest."""
    told = st.query_params.get(side)
    choices = [*rows] if told is None or told in rows else [told, *rows]
    key = f"compare-{side}-{told}"

    @uninterrupted()
    def turn() -> None:
        if (picked := st.session_state[key]) is not None:
            st.query_params[side] = picked

    def named(identity: str) -> str:
        row = rows.get(identity.partition(".")[0])
        if row is None:
            return "The case of this address"
        return f"{words.title_of(row.title, row.created)}, {words.short(row.answer)}"

    picked: str | None = place.selectbox(
        f"{SIDES[side]} case",
        choices,
        None if told is None else choices.index(told),
        format_func=named,
        key=key,
        on_change=turn,
        placeholder="Type to search",
    )
    return picked


def case_at(store: Store, who: Person, place: str) -> tuple[KeptCase, KeptImage]:
    """The case and image of "ID" or "ID.2"; NotFound as of the store, CaseError for a number that there is not."""
    identity, _, number = place.partition(".")
    case = store.case(who, identity)
    found = [image for image in case.images if str(image.number) == (number or "1")]
    if not found:
        raise CaseError("This case has no such image.")
    return case, found[0]


def side_of(who: Person, case: KeptCase, image: KeptImage) -> Side | None:
    """The image with the maps of then; None where either was not kept. Raises StoreError."""
    try:
        patch = patch_then(who, case, image)
        known = None if patch is None else then(patch, image)
    except IntakeError:
        return None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, DalaError):
            raise
        return None
    if known is None:
        return None
    title = words.title_of(case.title, case.created)
    return Side(f"{case.id}-{image.number}-then", title, words.in_one_line(image.opinion), known)


def show_without_maps(place: DeltaGenerator, case: KeptCase, image: KeptImage, side: Side | None) -> None:
    """What was said of an image, beside one whose maps cannot be shown."""
    place.markdown(
        f"**{plain(words.title_of(case.title, case.created))}**  \n{plain(words.in_one_line(image.opinion))}"
    )
    if preview := data_url(image.thumbnail):
        place.image(preview, width=THUMBNAIL_WIDTH, alt="A small preview of the image")
    if side is None:
        place.caption("The image itself was not kept, or no maps of it, so there is nothing to lay beside the other.")
