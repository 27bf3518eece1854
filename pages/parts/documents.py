"""The documents that open inside the app: guide, lesson and glossary, as they lie in docs/."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import streamlit as st
from streamlit.errors import StreamlitPageNotFoundError

FOLDER = Path(__file__).resolve().parents[2] / "docs"
DOCUMENTS = {"Guide": "guide.md", "Lesson": "lesson.md", "Glossary": "glossary.md"}
GUIDE_PAGE, READ = "guide.py", "read"
IMAGE = re.compile(r"^!\[([^]]*)\]\(([\w.]+)\)$", re.MULTILINE)
LINK = re.compile(r"\[([^]]+)\]\((?!https?:)([^)#]*)(#[^)]*)?\)")


def text_of(name: str) -> str:
    """A document's Markdown. Raises OSError where it is not installed."""
    return (FOLDER / name).read_text(encoding="utf-8")


def linked(text: str) -> str:
    """Links between the documents lead to them inside the app; those to other files are their words alone."""
    titles = {name: title for title, name in DOCUMENTS.items()}
    return LINK.sub(lambda one: f"[{one[1]}](guide?{READ}={titles[one[2]]})" if one[2] in titles else one[1], text)


def show_document(title: str) -> None:
    """The document with its images."""
    try:
        text = text_of(DOCUMENTS[title])
    except OSError:
        st.error("The documents are not installed beside this app.")
        return
    parts = IMAGE.split(text)
    for words, alt, name in zip(parts[::3], [*parts[1::3], ""], [*parts[2::3], ""], strict=True):
        st.markdown(linked(words))
        if name and (FOLDER / name).is_file():
            st.image(str(FOLDER / name), caption=alt, alt=alt)


def link_to(title: str, label: str) -> None:
    """A link to a document inside the app."""
    link_to_page(GUIDE_PAGE, label, {READ: title})


def link_to_page(page: str, label: str, query: dict[str, str] | None = None) -> None:
    """A link to a page inside the app; where a page runs without the frame there is none to lead to."""
    with suppress(StreamlitPageNotFoundError):
        st.page_link(page, label=label, query_params=query)
