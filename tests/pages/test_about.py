"""What the frame says: where images stay, version and build; and terms of the glossary where they stand."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import streamlit as st

from dala import __version__
from pages.parts import about
from pages.parts.documents import linked
from pages.parts.look import explained, glossary


@pytest.mark.parametrize(
    ("url", "where"),
    [
        (None, "machine"),
        ("http://localhost:8501/", "machine"),
        ("http://127.0.0.1:8501/batch", "machine"),
        ("https://path.example.org/", "server"),
    ],
)
def test_the_notice_says_where_images_stay(monkeypatch: pytest.MonkeyPatch, url: str | None, where: str) -> None:
    monkeypatch.setattr(st, "context", SimpleNamespace(url=url))
    assert about.notice().endswith(f"Nothing leaves this {where}.")


@pytest.mark.slow
def test_about_tells_version_build_and_weights() -> None:
    said = about.about()
    assert f"version {__version__}, build {about.build()}." in said
    assert "breast, fingerprint" in said


def test_a_term_is_explained_once_and_only_as_a_whole_word() -> None:
    said = explained("AUC 0.97, AUCs and AUC", "AUC")
    assert said.count("<abbr ") == 1 and said.startswith('<abbr tabindex="0" title="Area under the ROC curve')
    assert said.endswith("0.97, AUCs and AUC")
    assert explained("nothing", "no such term") == "nothing"
    assert "balanced accuracy" in glossary()


def test_links_between_documents_stay_inside_the_app() -> None:
    assert linked("[a](glossary.md), [b](../evidence/x.json) and [c](https://example.org)") == (
        "[a](guide?read=Glossary), b and [c](https://example.org)"
    )
