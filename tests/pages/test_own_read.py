"""Record my own read first: no answer before it, and what was recorded goes into the report unchanged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from tests.pages.conftest import Files

PAGE = Path(__file__).resolve().parents[2] / "pages" / "second_opinion.py"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("DALA_SAMPLES", raising=False)
    yield
    st.cache_resource.clear()


def opened(**query: str) -> AppTest:
    at = AppTest.from_file(str(PAGE), default_timeout=120)
    for name, value in {"plain": "true", **query}.items():
        at.query_params[name] = value
    at.run()
    assert not at.exception
    return at


def words(at: AppTest) -> str:
    return "\n".join(str(one.value) for one in [*at.header, *at.markdown, *at.caption, *at.warning])


def choose(at: AppTest, name: str) -> AppTest:
    at.selectbox(key="example").set_value(f"drawn:{name}").run()
    assert not at.exception
    return at


def person(files: Files) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(files["Numbers (JSON)"][1])["person"]
    return found


@pytest.mark.slow
def test_the_answer_waits_for_the_own_read(files: Files) -> None:
    at = choose(opened(**{"read-first": "true"}), "solid_sheets")
    assert not at.header and not files
    assert "malignant" not in words(at).lower()
    (record,) = [one for one in at.button if one.label.startswith("Record it")]
    assert record.disabled
    (own,) = [one for one in at.segmented_control if one.label == "Your own read"]
    (sure,) = [one for one in at.slider if one.label.startswith("How sure")]
    sure.set_value(90)
    own.set_value("benign").run()
    (record,) = [one for one in at.button if one.label.startswith("Record it")]
    record.click().run()
    assert not at.exception
    assert at.header and "Your own read, recorded beforehand: **● benign, 90 % sure**." in words(at)
    assert person(files) == {
        "comment": "",
        "read_first": {"call": "benign", "confidence": 0.9},
        "own_read": "benign",
        "agree": None,
    }
    # A second thought is a second thought.
    (own,) = [one for one in at.segmented_control if one.label == "My own read"]
    own.set_value("malignant").run()
    assert person(files)["own_read"] == "malignant"
    assert person(files)["read_first"] == {"call": "benign", "confidence": 0.9}
    # The next image is asked for again.
    choose(at, "regular_ducts")
    assert not at.header


@pytest.mark.slow
def test_not_sure_has_no_confidence(files: Files) -> None:
    at = choose(opened(**{"read-first": "true"}), "mucin_pools")
    at.segmented_control[0].set_value("not sure").run()
    next(one for one in at.button if one.label.startswith("Record it")).click().run()
    assert "recorded beforehand: **not sure**" in words(at)
    assert person(files)["read_first"] == {"call": "not sure", "confidence": None}


@pytest.mark.slow
def test_a_image_whose_answer_was_seen_is_not_read_first(files: Files) -> None:
    at = choose(opened(), "solid_sheets")
    assert at.header
    at.toggle(key="read-first").set_value(True).run()
    assert not at.exception
    assert at.header and "has been shown already" in words(at)
    assert person(files)["read_first"] is None


@pytest.mark.slow
def test_without_the_switch_nothing_is_asked(files: Files) -> None:
    at = choose(opened(), "solid_sheets")
    assert at.header and person(files)["read_first"] is None
