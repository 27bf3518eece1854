"""At which scale an image is judged, in one line, and the choice of another: of this image alone, at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import streamlit as st

from dala.intake.patch import Patch
from dala.intake.pixel_size import FILE, MAGNIFICATIONS_UM, NAME, RANGE_UM, USER, PixelSize, given, of_magnification
from dala.preprocess.scale import FACTORS, Scale, scale_of
from dala.runtime.card import Card
from pages.parts.buttons import uninterrupted
from pages.parts.session import ChosenSize, session
from pages.parts.shared import plain

TOLD, UNKNOWN, OWN = "told", "unknown", "own"
OBJECTIVES_UM = {"0.25": "0.25 um, 40x", "0.5": "0.5 um, 20x"}
MAGNIFICATIONS = {f"{name}X": f"BreakHis {name}X" for name in MAGNIFICATIONS_UM}
AS_DRAWN, AS_READ = "as drawn", {FILE: "As the file says", NAME: "As its name says"}
FROM = {USER: "chosen", FILE: "from the file", NAME: "by its name"}


def sized(patch: Patch) -> Patch:
    """The patch with the pixel size that was chosen for it, if any was."""
    chosen = session().pixel_sizes.get(patch.sha256)
    return patch if chosen is None else replace(patch, pixel_size=chosen.size)


def key_of(patch: Patch) -> str:
    """What a patch is judged at, for the keys of caches: the same file at another scale is another opinion."""
    size = patch.pixel_size
    return "" if size is None else f"{size.rows:.6g}x{size.columns:.6g}"


def show_scale(patch: Patch, card: Card, *, asked: bool, folded: bool = True) -> None:
    """The line and its control, for weights that see at a physical scale; nothing for others.

    `patch` is as it was read. Where the scale is unknown and `asked` for, because there is no answer without it, the
    control is the first thing to do: `folded` away it leaves the maps in sight; where there are none it stands open.
    """
    um = card.input.um_per_pixel
    if um is None:
        return
    scale = scale_of(sized(patch))
    if not folded and not scale.known:
        st.markdown(f"{line(scale, um)} Say how large a pixel is:")
        choose(patch)
        return
    row = st.container(horizontal=True, vertical_alignment="center", gap="small", wrap=scale.known)
    row.markdown(line(scale, um), width="content" if scale.known else "stretch")
    kind: Literal["primary", "tertiary"] = "primary" if asked and not scale.known else "tertiary"
    with row.popover("Change" if scale.known else "Say how large a pixel is", type=kind):
        choose(patch)


def line(scale: Scale, um: float) -> str:
    """Such as "Seen at 0.5 um/px; pixel size 0.25 um (chosen)"."""
    rows, columns = scale.um_per_pixel
    if not scale.known:
        low, high = FACTORS
        return (
            f"Seen at {um:g} um/px; pixel size **unknown**: answered only if the answer is the same at {low:g}, 1 "
            f"and {high:g} times {columns:.3g} um/px."
        )
    size = f"{columns:.3g}" if rows == columns else f"{columns:.3g} x {rows:.3g}"
    told = ": ".join([FROM[scale.source], *([plain(scale.told)] if scale.told else [])])
    told = AS_DRAWN if scale.told == AS_DRAWN else told
    return f"Seen at {um:g} um/px; pixel size **{size} um** ({told})"


def choose(patch: Patch) -> None:
    """The choices; each judges the image anew."""
    size, identity = patch.pixel_size, patch.sha256[:12]
    names = {}
    if size is not None and size.microscopic:
        names[TOLD] = AS_DRAWN.capitalize() if size.told == AS_DRAWN else AS_READ[size.source]
    names |= OBJECTIVES_UM | MAGNIFICATIONS | {UNKNOWN: "Unknown"}
    chosen = session().pixel_sizes.get(patch.sha256)
    choice = (TOLD if TOLD in names else UNKNOWN) if chosen is None else chosen.choice
    pills, number = f"pixel-size-{identity}", f"pixel-size-own-{identity}"

    @uninterrupted()
    def by_pill() -> None:
        picked = st.session_state[pills]
        if picked is not None:
            keep(patch, str(picked))
        st.session_state[number] = None

    @uninterrupted()
    def by_number() -> None:
        um = st.session_state[number]
        if um is not None:
            session().pixel_sizes[patch.sha256] = ChosenSize(OWN, given(um))
            st.session_state[pills] = None

    st.pills(
        "Pixel size",
        list(names),
        default=choice if choice in names else None,
        format_func=names.__getitem__,
        key=pills,
        on_change=by_pill,
        label_visibility="collapsed",
        wrap=True,
    )
    st.number_input(
        "Or micrometres per pixel",
        *RANGE_UM,
        value=chosen.size.columns if chosen is not None and chosen.choice == OWN and chosen.size else None,
        step=0.01,
        format="%.3f",
        key=number,
        on_change=by_number,
        placeholder="such as 0.23",
        width=220,
        help="Of this image alone. A scanner's objective 40x has about 0.25, 20x about 0.5; a camera's is in its "
        "program's calibration. A wrong size makes a wrong answer.",
    )


def keep(patch: Patch, choice: str) -> None:
    """Keep a choice for this image."""
    sizes = session().pixel_sizes
    if choice == TOLD:
        sizes.pop(patch.sha256, None)
    else:
        sizes[patch.sha256] = ChosenSize(choice, size_of(choice, patch))


def size_of(choice: str, patch: Patch) -> PixelSize | None:
    """The pixel size that a choice means for this image: the edition of BreakHis in squares is squeezed."""
    if choice == UNKNOWN:
        return None
    if choice in OBJECTIVES_UM:
        return given(float(choice))
    magnification = int(choice.removesuffix("X"))
    told = MAGNIFICATIONS[choice]
    found = of_magnification(magnification, patch.width, patch.height) or given(MAGNIFICATIONS_UM[magnification])
    assert found is not None
    return replace(found, source=USER, told=told)
