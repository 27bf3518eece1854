"""One or two images with their maps, linked in zoom, threshold and colour scale: what the viewer is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Any

import streamlit as st
from streamlit.errors import StreamlitAPIException

from dala.explanation.threshold import RULES
from pages.parts.component import component, component_key
from pages.parts.second_opinion.viewer import Mapped, heavy, joined, of_image, offered
from pages.parts.session import Settings
from pages.parts.shared import plain, show_image


@dataclass(frozen=True)
class Side:
    """One of two images: an identity of image and maps together, what it is called, its answer in a line."""

    identity: str
    name: str
    answer: str
    mapped: Mapped


def show_sides(sides: Sequence[Side], settings: Settings | None, key: str) -> None:
    """The viewer of one or two, beginning with these settings; plain images where it cannot be mounted."""
    key = component_key(key)
    if st.session_state.get(key, {}).get("failed"):
        show_plainly(sides, str(st.session_state[key]["failed"]))
        return
    try:
        component("heatmap", "compare")(
            key=key, data=packed(sides, settings or usual(sides[0])), on_failed_change=lambda: None
        )
    except (AttributeError, OSError, StreamlitAPIException) as error:
        show_plainly(sides, str(error))


def show_plainly(sides: Sequence[Side], why: str) -> None:
    st.info(f"The viewer is not available here, so these are the images alone. {plain(why)}")
    for place, side in zip(st.columns(len(sides)), sides, strict=True):
        place.markdown(f"**{plain(side.name)}**  \n{plain(side.answer)}")
        show_image(place, side.mapped.image, alt="The image")


def usual(side: Side) -> Settings:
    """Towards the last class, by the first rule."""
    rule = next(iter(RULES.values()))
    return Settings(list(side.mapped.maps)[-1], rule.name, rule.default)


def packed(sides: Sequence[Side], settings: Settings) -> bytes:
    """The data of the component: what they have in common, each side's own, and the parts of all, one after the other.

    A side without the class of the settings begins with its own first one.
    """
    told: list[dict[str, Any]] = []
    body = b""
    for side in sides:
        parts, content = heavy(side.identity, False, side.mapped)
        own = (
            settings if settings.target in side.mapped.maps else replace(settings, target=next(iter(side.mapped.maps)))
        )
        told.append(
            {
                **of_image(side.identity, side.answer, side.mapped.patch),
                "name": side.name,
                "settings": asdict(own),
                **{name: moved(part, len(body)) for name, part in parts.items()},
            }
        )
        body += content
    start = sha256(repr(([side.identity for side in sides], settings)).encode()).hexdigest()[:8]
    header = {**offered(start, settings, settings), **told[0], "sides": told}
    return joined(header, body)


def moved(part: Any, by: int) -> Any:
    """Where parts lie, so many bytes further on."""
    if isinstance(part, list):
        return [moved(one, by) for one in part]
    return part | {"offset": part["offset"] + by} if isinstance(part, dict) and "offset" in part else part
