"""The images that are at hand without an upload: drawn examples, and those of the folder that DALA_SAMPLES names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import streamlit as st

from dala.explanation.render import encode_png
from dala.intake.image import IMAGE_SUFFIXES, MAXIMUM_BYTES
from dala.opinion import Opinion, second_opinion
from dala.phantoms.film import FILMS, draw_film
from dala.phantoms.sheet import HEIGHT, WIDTH
from dala.phantoms.tissue import Phantom, draw
from dala.runtime.predict import Model

UPLOAD_TYPES = [suffix.removeprefix(".") for suffix in IMAGE_SUFFIXES]
SAMPLES_AT_MOST = 200
NONE, DRAWN, FILE = "none", "drawn:", "file:"


@st.cache_resource(show_spinner=False)
def phantom(name: str) -> Phantom:
    return draw_film(name) if name in FILMS else draw(name)


@st.cache_data(show_spinner=False)
def phantom_png(name: str) -> bytes:
    return encode_png(phantom(name).pixels)


@st.cache_data(show_spinner=False)
def thumbnail_png(name: str) -> bytes:
    """The middle of the drawing in the shape of a field of view, so that all of them are as high."""
    pixels = phantom(name).pixels
    height = min(pixels.shape[0], round(pixels.shape[1] * HEIGHT / WIDTH))
    top = (pixels.shape[0] - height) // 2
    return encode_png(np.ascontiguousarray(pixels[top : top + height]))


def opinion_of(data: bytes, name: str, model: Model) -> Opinion:
    """What these weights say of a file; a rerun of the page never runs the network again."""
    return _opinion_of(data, name, str(model.card.fields["sha256"]), model)


# Bytes, name and weights are the key. Few are kept, for one may hold the 48 megapixels that intake lets through.
@st.cache_resource(show_spinner="The model looks at the image …", max_entries=8)
def _opinion_of(data: bytes, name: str, weights: str, _model: Model) -> Opinion:
    return second_opinion(data, _model, name=name)


def samples() -> dict[str, Path]:
    """The first image files below the folder that DALA_SAMPLES names, by relative name."""
    folder = os.environ.get("DALA_SAMPLES")
    if not folder:
        return {}
    root = Path(folder).expanduser()
    return {str(path.relative_to(root)): path for path in islice(image_files(root), SAMPLES_AT_MOST)}


def image_files(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        folders.sort()
        yield from (
            Path(folder, file) for file in sorted(files) if Path(file).suffix.lower().removeprefix(".") in UPLOAD_TYPES
        )


def sample_bytes(path: Path) -> bytes:
    """The file may have changed since it was last chosen, so its bytes are read again and are the cache's key."""
    with path.open("rb") as file:
        return file.read(MAXIMUM_BYTES + 1)


def example_bytes(key: str, files: dict[str, Path]) -> tuple[bytes, str]:
    """The file of an example and its name; `files` are the samples. Raises OSError where it cannot be read."""
    if key.startswith(DRAWN):
        name = key.removeprefix(DRAWN)
        return phantom_png(name), f"{name}.png"
    path = files[key.removeprefix(FILE)]
    return sample_bytes(path), path.name


def title(key: str) -> str:
    """How an example is listed; a drawn one is named as drawn."""
    if key == NONE:
        return "Choose an example …"
    return f"Drawn example: {drawn_title(key)}" if key.startswith(DRAWN) else key.removeprefix(FILE)


def drawn_title(key: str) -> str:
    return key.removeprefix(DRAWN).replace("_", " ")
