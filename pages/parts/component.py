"""The components of viewer/: plain ES modules, joined into the one that Streamlit takes as a text."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import streamlit as st

if TYPE_CHECKING:
    from streamlit.components.v2.types import ComponentRenderer

FOLDER = Path(__file__).resolve().parents[2] / "viewer"
IMPORT = re.compile(r'^import [^;]*? from "(\.[^"]+)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?!default)", re.MULTILINE)


class Sources(NamedTuple):
    """What a component is made of."""

    html: str
    css: str
    js: str


@cache
def component(name: str, script: str | None = None) -> ComponentRenderer:
    """The component of the folder of that name, registered once; `script`: with another script of that folder than the
    one of its own name. Raises OSError where a file is missing."""
    return st.components.v2.component(f"dala_{script or name}", **sources(name, script)._asdict())


def component_key(text: str) -> str:
    """`text`, an id or a name, as the key of a component: two underscores in a row are Streamlit's own mark there, and
    one in two hundred random ids holds them. Different texts have different keys."""
    return re.sub("(?<=_)_", "._", text.replace(".", ".."))


def sources(name: str, script: str | None = None) -> Sources:
    html, css = ((FOLDER / name / f"{name}.{kind}").read_text(encoding="utf-8") for kind in ("html", "css"))
    return Sources(html, css, "\n".join(modules((FOLDER / name / f"{script or name}.js"), set())))


def modules(path: Path, known: set[Path]) -> list[str]:
    """A module without its imports and named exports, after those that it imports, each of them once.

    A module from a text has no address from which it could import another; so they share one scope, and no two of them
    may give the same name to different things.
    """
    if path in known:
        return []
    known.add(path)
    text = path.read_text(encoding="utf-8")
    imported = [one for name in IMPORT.findall(text) for one in modules((path.parent / name).resolve(), known)]
    return [*imported, EXPORT.sub("", IMPORT.sub("", text))]
