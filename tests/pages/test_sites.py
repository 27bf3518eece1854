"""The choice of a site on the pages: absent without site files, none at first, named beside every answer and export."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from dala import opinion
from dala.explanation.render import encode_png
from dala.gate import Gate
from dala.phantoms.tissue import draw
from dala.runtime import predict as runtime
from dala.sites import SUFFIX, TRUNK, save_site
from pages.parts.session import KEY
from tests.helpers.sites import facts_of, head_that_says

pytestmark = pytest.mark.slow

PAGES = Path(__file__).resolve().parents[2] / "pages"
IMAGE = encode_png(draw("solid_sheets").pixels[:230, :350])


@pytest.fixture(scope="module")
def model() -> runtime.Model:
    return runtime.load_model("breast", engine="torch")


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, model: runtime.Model, tmp_path: Path) -> Iterator[Path]:
    monkeypatch.delenv("DALA_SAMPLES", raising=False)
    monkeypatch.setenv("DALA_SITES", str(tmp_path))
    monkeypatch.setattr(runtime, "load_model", lambda *_: model)
    # Drawings are no tissue, and are taken for the site here.
    monkeypatch.setattr(opinion, "assess", lambda *_: Gate(None, None, None, "Lab A"))
    yield tmp_path
    st.cache_resource.clear()


def write(folder: Path, model: runtime.Model, name: str, margin: float) -> None:
    save_site(folder / f"{name}{SUFFIX}", facts_of(model, name), head_that_says(margin), np.ones(TRUNK))


def opened(page: str) -> AppTest:
    at = AppTest.from_file(str(PAGES / page), default_timeout=120)
    at.query_params["plain"] = "true"
    at.run()
    assert not at.exception
    return at


def said(page: AppTest) -> str:
    """What the page says, without the signs that keep names from being Markdown."""
    return "\n".join(one.value for one in [*page.header, *page.markdown, *page.caption, *page.error]).replace("\\", "")


def choice(page: AppTest) -> Any:
    return next((one for one in page.selectbox if one.key == "site"), None)


@pytest.mark.parametrize("page", ["second_opinion.py", "batch.py"])
def test_without_site_files_there_is_nothing_to_choose(page: str, folder: Path) -> None:
    assert choice(opened(page)) is None


@pytest.mark.parametrize("page", ["second_opinion.py", "batch.py"])
def test_none_is_chosen_at_first_and_broken_files_are_not_offered(
    page: str, folder: Path, model: runtime.Model
) -> None:
    write(folder, model, "Lab A", 3.0)
    (folder / f"x{SUFFIX}").write_bytes(b"nothing")
    at = opened(page)
    assert choice(at).value == "None" and choice(at).options == ["None", "Lab A"]
    assert "1 file cannot be used" in said(at)


def test_a_chosen_site_answers_and_is_named(folder: Path, model: runtime.Model, files: dict[str, Any]) -> None:
    write(folder, model, "Lab A", -5.0)
    write(folder, model, "Lab B", 5.0)
    at = opened("second_opinion.py")
    at.file_uploader[0].set_value([("patch.png", IMAGE, "image/png")])
    at.run()
    assert "Site in use" not in said(at)
    assert json.loads(files["Numbers (JSON)"][1])["opinion"]["site"] is None
    for name, answer in (("Lab A", "benign"), ("Lab B", "malignant")):
        choice(at).set_value(f"{name}{SUFFIX}")
        at.run()
        assert not at.exception
        content = json.loads(files["Numbers (JSON)"][1])["opinion"]
        assert (content["site"]["name"], content["prediction"]) == (name, answer)
        assert f"Site in use: {name}" in said(at)
        assert ("not taken for one of it" in said(at)) == (name == "Lab B")
    choice(at).set_value("None")
    at.run()
    assert "Site in use" not in said(at)


def test_a_site_that_is_gone_is_no_longer_in_use(folder: Path, model: runtime.Model) -> None:
    write(folder, model, "Lab A", -5.0)
    at = opened("second_opinion.py")
    choice(at).set_value(f"Lab A{SUFFIX}")
    at.run()
    (folder / f"Lab A{SUFFIX}").unlink()
    at.run()
    assert not at.exception and choice(at) is None and at.session_state[KEY].site is None


def test_a_site_of_other_weights_is_a_sentence_and_not_used(folder: Path, model: runtime.Model) -> None:
    facts = facts_of(model, weights_sha256="0" * 64)
    save_site(folder / f"Lab A{SUFFIX}", facts, head_that_says(0.0), np.ones(TRUNK))
    at = opened("second_opinion.py")
    at.file_uploader[0].set_value([("patch.png", IMAGE, "image/png")])
    at.run()
    choice(at).set_value(f"Lab A{SUFFIX}")
    at.run()
    assert not at.exception and "fitted to other weights" in said(at)


def test_the_batch_keeps_the_site_it_was_started_with(
    folder: Path, model: runtime.Model, files: dict[str, Any]
) -> None:
    write(folder, model, "Lab A", -5.0)
    at = opened("batch.py")
    choice(at).set_value(f"Lab A{SUFFIX}")
    at.run()
    at.file_uploader[0].set_value([("patch.png", IMAGE, "image/png")])
    at.run()
    next(one for one in at.button if one.label.startswith("Analyse")).click()
    at.run()
    deadline = time.monotonic() + 120
    while not at.session_state[KEY].run.done and time.monotonic() < deadline:
        time.sleep(0.05)
        at.run()
    choice(at).set_value("None")
    at.run()
    (result,) = at.session_state[KEY].run.results
    assert (result.record["site"]["name"], result.record["prediction"]) == ("Lab A", "benign")
    assert at.dataframe[0].value["Site"].tolist() == ["Lab A"]
