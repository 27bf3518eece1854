"""What a page's look needs beyond the theme: a style sheet, and terms that are explained where they stand."""

from __future__ import annotations

import html
import re
from functools import cache
from pathlib import Path

import streamlit as st

from pages.parts.documents import DOCUMENTS, text_of

STYLES = Path(__file__).with_name("look.css")


def dress() -> None:
    """Lay the style sheet over the page."""
    st.html(f"<style>{_styles()}</style>")


@cache
def _styles() -> str:
    return STYLES.read_text(encoding="utf-8")


@cache
def glossary() -> dict[str, str]:
    """What each term means, in plain words; empty where the documents are not installed."""
    try:
        text = text_of(DOCUMENTS["Glossary"])
    except OSError:
        return {}
    entries = re.findall(r"^\*\*(.+?)\*\*: (.+?)(?=\n\n|\Z)", text, re.MULTILINE | re.DOTALL)
    return {term: re.sub(r"[*`]|\[([^]]*)\]\([^)]*\)", r"\1", " ".join(said.split())) for term, said in entries}


def explained(text: str, *terms: str) -> str:
    """HTML for `st.html`-like Markdown: the first place of each term in it is explained on hover and on focus.

    `text` is Markdown whose foreign parts have been escaped; a term is matched as a whole word, whatever its case.
    """
    known = glossary()
    for term in terms:
        if said := known.get(term):
            tip = html.escape(said, quote=True).replace("\n", " ")
            text = re.sub(
                rf"(?<![\w<>\"-]){re.escape(term)}(?![\w-])",
                lambda found, tip=tip: f'<abbr tabindex="0" title="{tip}">{found[0]}</abbr>',  # type: ignore[misc]
                text,
                count=1,
                flags=re.IGNORECASE,
            )
    return text
