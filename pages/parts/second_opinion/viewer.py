"""The viewer in the browser: packs an opinion for it, mounts it, and takes back what its user has set."""

from __future__ import annotations

import base64
import inspect
import json
import math
import secrets
import struct
from dataclasses import asdict, replace
from typing import Any, Protocol

import cv2
import numpy as np
import streamlit as st
from streamlit.errors import StreamlitAPIException

from dala.explanation.gradcam import SignedMap
from dala.explanation.render import COLOUR_MAPS, encode_png
from dala.explanation.threshold import RULES, threshold
from dala.intake.patch import Patch
from dala.opinion import Opinion
from pages.parts.buttons import uninterrupted
from pages.parts.component import component, component_key
from pages.parts.session import PLAIN, VIEWER, Settings, Start, session

COLOUR_LIMITS = [float(f"{digit}e{power}") for power in range(-5, 3) for digit in (1, 2, 5)]
OPACITY = (0.1, 1.0)
DETAIL_SIDE, DETAIL_QUALITY = 4096, 92
MINIMUM_AREA = float(inspect.signature(threshold).parameters["minimum_area"].default)


class ViewerError(RuntimeError):
    """This installation cannot show the viewer."""


class Mapped(Protocol):
    """What the viewer draws: a patch, the same at display size, and a signed map towards each class."""

    @property
    def patch(self) -> Patch: ...

    @property
    def image(self) -> np.ndarray: ...

    @property
    def maps(self) -> dict[str, SignedMap]: ...


def identity(opinion: Opinion) -> str:
    """Which image an opinion is of, by which model and at which scale: a person may choose another one of each."""
    parts = [opinion.patch.sha256[:12], opinion.model.name]
    if (site := opinion.model.site) is not None:
        parts.append(site.sha256[:12])
    if (scale := opinion.prediction.scale) is not None:
        parts.append(f"{'x'.join(f'{side:.6g}' for side in scale.um_per_pixel)}{'' if scale.known else '?'}")
    return "-".join(parts)


def shown_map(opinion: Opinion) -> str:
    """Which image, with which of its maps."""
    return f"{identity(opinion)}-steadied" if opinion.augmented else identity(opinion)


def settings_for(opinion: Opinion) -> Settings:
    """This session's settings; target and parameter are an image's own, and start anew with another one."""
    label, viewing = opinion.prediction.label, session().viewing
    if viewing.settings is None:
        return usual(opinion)
    if viewing.image == identity(opinion):
        return viewing.settings
    return replace(viewing.settings, target=label, parameter=RULES[viewing.settings.rule].default)


def remember(opinion: Opinion, settings: Settings) -> None:
    viewing = session().viewing
    viewing.image, viewing.settings = identity(opinion), settings


def parse(record: object, opinion: Mapped) -> Settings | None:
    """The settings that a browser sent, or None where anything in them is not what a browser can have been offered."""
    if not isinstance(record, dict):
        return None
    try:
        told = Settings(**{key: value for key, value in record.items() if key != "start"})
        rule = RULES[told.rule]
        ranges = [(told.parameter, rule.minimum, rule.maximum), (told.opacity, *OPACITY)]
        right = (
            told.target in opinion.maps
            and told.colour_map in COLOUR_MAPS
            and isinstance(told.fixed, bool)
            and (told.limit in COLOUR_LIMITS or (told.limit is None and not told.fixed))
            and all(math.isfinite(value) and low <= value <= high for value, low, high in ranges)
        )
    except (TypeError, KeyError):
        return None
    # JavaScript writes 1.0 as 1, which Streamlit's slider would not take for a float.
    return replace(told, parameter=float(told.parameter), opacity=float(told.opacity)) if right else None


def usual(opinion: Opinion) -> Settings:
    """The settings to begin with: towards the prediction, by the first rule."""
    rule = next(iter(RULES.values()))
    return Settings(opinion.prediction.label, rule.name, rule.default)


def show(opinion: Opinion, settings: Settings, verdict: str = "") -> Settings:
    """Mount the viewer and return what its user has set last. Raises ViewerError where it cannot be mounted.

    `verdict`: the answer in a line, which stays in sight where the viewer fills the screen.

    The data stay the same for one image, so they travel once; what is set comes back as the component's state. The
    viewer takes settings only from a new start, so that an answer of the server never moves a slider that is held.
    """
    viewing = session().viewing
    viewing.failure = None
    start = viewing.start
    if start is None or start.image != shown_map(opinion):
        start = viewing.start = Start(secrets.token_hex(4), shown_map(opinion), settings)
    try:
        state = component("heatmap")(
            key=VIEWER,
            data=packed(opinion, start, verdict),
            on_settings_change=lambda: None,
            on_failed_change=to_plain_view,
        )
    except (AttributeError, OSError, StreamlitAPIException) as error:
        raise ViewerError(str(error)) from error
    record = state.get("settings")
    if not isinstance(record, dict) or record.get("start") != start.number:
        return settings
    return parse(record, opinion) or settings


def leave() -> None:
    """The viewer is not shown: when it comes back it starts from the settings of that time."""
    session().viewing.start = None


@uninterrupted()
def to_plain_view() -> None:
    """The viewer has reported that it cannot run in this browser."""
    st.session_state[PLAIN] = True
    viewer = st.session_state.get(VIEWER, {})
    session().viewing.failure = str(viewer.get("failed"))


def show_patch(opinion: Opinion) -> bool:
    """The image alone, to zoom into; nothing of the answer goes to the browser. False where it cannot be mounted."""
    if session().viewing.failure or st.session_state.get(PLAIN):
        return False
    start = Start(f"image-{identity(opinion)}", identity(opinion), usual(opinion))
    try:
        component("heatmap")(
            key=component_key(f"image-{identity(opinion)}"),
            data=packed(opinion, start, bare=True),
            on_failed_change=to_plain_view,
        )
    except (AttributeError, OSError, StreamlitAPIException):
        return False
    return True


def packed(opinion: Opinion, start: Start, verdict: str = "", *, bare: bool = False) -> bytes:
    """The component's data: length of the header (4 bytes, little-endian), header in JSON, then the parts it names.

    `bare`: the image alone, without maps and without anything that tells the answer.
    """
    parts, body = heavy(identity(opinion) if bare else shown_map(opinion), bare, opinion)
    hidden = {"target": ""} if bare else {}
    header = {
        **offered(start.number, usual(opinion), start.settings),
        **of_image(identity(opinion), verdict, opinion.patch),
        **parts,
    }
    for settings in ("usual", "settings"):
        header[settings] |= hidden
    return joined(header, body)


def offered(start: str, usual: Settings, settings: Settings) -> dict[str, Any]:
    """The part of the header that is the same for every image."""
    return {
        "start": start,
        "usual": asdict(usual),
        "settings": asdict(settings),
        "rules": [asdict(rule) for rule in RULES.values()],
        "colour_maps": {name: base64.b64encode(table.tobytes()).decode() for name, table in COLOUR_MAPS.items()},
        "limits": COLOUR_LIMITS,
        "minimum_area": MINIMUM_AREA,
    }


def of_image(identity: str, verdict: str, patch: Patch) -> dict[str, Any]:
    """The part of the header that is an image's own, beside where its parts lie."""
    # Of the columns, for the bar lies along a row.
    um = None if patch.pixel_size is None else patch.pixel_size.columns
    return {
        "id": identity,
        "verdict": verdict,
        "patch": {"width": patch.width, "height": patch.height, "pixel_um": um},
    }


def joined(header: dict[str, Any], body: bytes) -> bytes:
    text = json.dumps(header, allow_nan=False).encode()
    return struct.pack("<I", len(text)) + text + body


@st.cache_resource(show_spinner=False, max_entries=8)
def heavy(image: str, bare: bool, _opinion: Mapped) -> tuple[dict[str, object], bytes]:
    """Images and fields of an opinion, one after the other, and where each lies; `bare`: the images alone.

    The field is sent as Python enlarged it: the last bits of OpenCV's resize depend on the processor, so that no other
    code could give the same threshold everywhere. Of two maps that are mirrors only one is sent.
    """
    body = bytearray()

    def add(content: bytes, **facts: object) -> dict[str, object]:
        place = {"offset": len(body), "length": len(content), **facts}
        body.extend(content)
        return place

    height, width = _opinion.image.shape[:2]
    image_part = add(encode_png(_opinion.image), type="image/png", width=width, height=height)
    detail = None
    if _opinion.image is not _opinion.patch.pixels:
        detail = add(detail_jpeg(_opinion.patch.pixels), type="image/jpeg")
    fields: list[np.ndarray] = []
    targets = []
    for name, values in () if bare else _opinion.maps.items():
        field = values.upsampled(height, width)
        mirror = next((index for index, other in enumerate(fields) if np.array_equal(field, -other)), None)
        targets.append(
            {"name": name, "field": len(fields) if mirror is None else mirror, "sign": 1 if mirror is None else -1}
        )
        if mirror is None:
            fields.append(field)
    places = [add(np.ascontiguousarray(field, dtype="<f4").tobytes()) for field in fields]
    return {"image": image_part, "detail": detail, "fields": places, "targets": targets}, bytes(body)


def detail_jpeg(pixels: np.ndarray) -> bytes:
    """The patch for zooming in: its own pixels, or as many as `DETAIL_SIDE` allows, without halving the colours."""
    shrink = DETAIL_SIDE / max(pixels.shape[:2])
    if shrink < 1:
        size = (max(1, round(pixels.shape[1] * shrink)), max(1, round(pixels.shape[0] * shrink)))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        DETAIL_QUALITY,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    return cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)[1].tobytes()
