"""The batch page through Streamlit's own test harness: upload, slices, cancel, filter, choose, hand over, exports."""

from __future__ import annotations

import hashlib
import io
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from dala.batch import Run
from dala.explanation.render import encode_png
from dala.phantoms.tissue import PHANTOMS, draw
from dala.runtime import predict as runtime
from dala.runtime import weights
from pages.parts.batch.table import table_row
from pages.parts.session import KEY, Dropped, Handed, Session
from tests.helpers.physical import at_scale

PAGE = Path(__file__).resolve().parents[2] / "pages" / "batch.py"
IMAGE = encode_png(draw(PHANTOMS[0]).pixels[:230, :350])
GREY = encode_png(np.repeat(draw(PHANTOMS[0]).pixels[..., :1], 3, axis=2))


@pytest.fixture(scope="module", autouse=True)
def without_familiarity() -> Iterator[None]:
    """These images are drawn, and the gate knows drawings from tissue: without its statistics they pass."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "load_familiarity", lambda *_: None)
        yield
    st.cache_resource.clear()


@pytest.fixture
def page() -> AppTest:
    at = AppTest.from_file(str(PAGE), default_timeout=60).run()
    assert not at.exception
    return at


def zipped(entries: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return out.getvalue()


def uploaded(page: AppTest, *files: tuple[str, bytes]) -> AppTest:
    page.file_uploader[0].set_value([(name, data, "application/octet-stream") for name, data in files])
    return page.run()


def button(page: AppTest, label: str) -> Any:
    return next(one for one in page.button if one.label.startswith(label))


def session_of(page: AppTest) -> Session:
    """What the session keeps; made here where the page has not run yet."""
    if KEY not in page.session_state:
        page.session_state[KEY] = Session()
    return page.session_state[KEY]


def run_of(page: AppTest) -> Run:
    run = session_of(page).run
    assert run is not None
    return run


def overlays_of(page: AppTest) -> zipfile.ZipFile:
    made = session_of(page).overlays
    assert made is not None
    return zipfile.ZipFile(io.BytesIO(made))


def finished(page: AppTest) -> AppTest:
    """The harness has no browser that would ask how far it is."""
    for _ in range(1200):
        if run_of(page).done:
            return page.run()
        time.sleep(0.05)
    pytest.fail("the batch did not come to an end")


@pytest.mark.slow
def test_the_empty_page_says_what_to_do(page: AppTest) -> None:
    assert page.file_uploader[0].label == (
        "Drop many H&E breast patches or mammograms here, or one ZIP of them, then start."
    )
    assert button(page, "Analyse the images").disabled
    assert not page.dataframe


@pytest.mark.slow
def test_a_batch_from_upload_to_table(page: AppTest) -> None:
    uploaded(page, ("a.png", IMAGE), ("mix.zip", zipped({"b.png": GREY, "c.png": b"none"})))
    button(page, "Analyse 3 images").click().run()
    finished(page)
    assert not page.exception
    run = run_of(page)
    table = page.dataframe[0].value
    assert table["File"].tolist() == ["a.png", "mix.zip/b.png", "mix.zip/c.png"]
    first = run.results[0].record
    said = {"benign": "● Benign", "malignant": "▲ Malignant"}[first["prediction"]]
    answers = ["◆ Not sure" if first["not_sure"] else said, "◇ Outside", "✕ Refused"]
    assert table["Answer"].tolist() == answers
    # A drawing is of no laboratory that the model knows: "not sure" has no probability there.
    assert (first["not_sure"], first["calibrated"]) == (True, False)
    assert table["P(malignant), %"].isna().all()
    known = replace(run.results[0], record=first | {"calibrated": True})
    shown = table_row(known, "malignant", at_scale=True)["P(malignant), %"]
    assert shown == pytest.approx(100 * first["probabilities"]["malignant"])
    assert table["Patch"][0].startswith("data:image/jpeg;base64,")
    assert table["Patch"].isna().tolist() == [False, False, True]
    assert table["Why no verdict"][1].startswith("The image is grey")
    assert table["Why no verdict"][2].startswith("'c.png' is not an image")
    assert [one.label for one in page.get("download_button")] == ["All as CSV", "All as JSON"]

    # A rerun does not start over, and a filter shows its own.
    page.run()
    assert run_of(page) is run
    assert len(run.results) == 3
    for kind, name in zip(answers, table["File"], strict=True):
        page.get("button_group")[0].set_value(kind).run()
        assert page.dataframe[0].value["File"].tolist() == [name]

    # The files may go, the results stay; overlays are made of what has a verdict.
    button(page, "Make overlays").click().run()
    with overlays_of(page) as archive:
        assert archive.namelist() == [f"0001-{first['prediction']}-dt.png", "index.csv"]
        assert b"a.png" not in archive.read("index.csv")
    # With the files' names only when told to; what was made without them is made anew.
    page.toggle(key="batch-with-names").set_value(True).run()
    assert session_of(page).overlays is None
    button(page, "Make overlays").click().run()
    with overlays_of(page) as archive:
        assert archive.namelist() == [f"0001-a-{first['prediction']}-dt.png", "index.csv"]
    assert "Overlays (ZIP)" in [one.label for one in page.get("download_button")]
    uploaded(page, ("d.png", IMAGE))
    assert run_of(page) is run
    button(page, "Analyse 1 image").click().run()
    assert run_of(page) is not run
    assert session_of(page).overlays is None


def test_cancelled_it_keeps_what_it_has(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "work", lambda self: self.advance(0.0))  # one image for each look at it
    uploaded(page, ("many.zip", zipped({f"{n}.png": b"none" for n in range(60)})))
    button(page, "Analyse 60 images").click().run()
    assert button(page, "Analyse 60 images").disabled
    assert page.get("progress")[0].proto.text.startswith("1 of 60 images; about ")
    page.run()
    assert page.dataframe[0].value["File"].tolist() == ["many.zip/1.png", "many.zip/0.png"], "the newest first"
    button(page, "Cancel").click().run()
    page.run()
    kept = len(run_of(page).results)
    assert 2 <= kept < 60
    assert page.warning[0].value == f"Cancelled: {kept} of 60 images analysed."
    assert len(page.dataframe[0].value) == kept
    assert not button(page, "Analyse 60 images").disabled


def test_images_of_known_patients_are_said(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    group = sorted(weights.read_card("breakhis")[0].training_groups)[0]
    name = f"SOB_B_A-{group}-200-001.png"
    uploaded(page, ("a.zip", zipped({name: b"none", "b.png": b"none"})))
    button(page, "Analyse").click().run()
    finished(page)
    assert page.warning[0].value.startswith("Images of patients on whom the model was trained, by file name: 1 of 2.")


@pytest.mark.slow
def test_the_first_page_opens_what_is_handed_over() -> None:
    first = AppTest.from_file(str(PAGE.with_name("second_opinion.py")), default_timeout=60)
    session_of(first).handed = Handed("many.zip/a*b.png", IMAGE, "From the batch")
    first.run()
    assert not first.exception
    assert first.header[0].value
    assert "From the batch: **many.zip/a\\*b.png**" in [one.value for one in first.markdown]
    button(first, "Remove").click().run()
    assert not first.header
    assert session_of(first).handed is None


@pytest.mark.slow
def test_an_upload_takes_the_place_of_what_was_handed_over() -> None:
    first = AppTest.from_file(str(PAGE.with_name("second_opinion.py")), default_timeout=60)
    session_of(first).handed = Handed("a.png", IMAGE, "From the batch")
    first.run()
    first.selectbox(key="example").set_value(f"drawn:{PHANTOMS[1]}").run()
    assert not any("From the batch" in one.value for one in first.markdown)
    first.selectbox(key="example").set_value("none").run()
    assert not first.header


@pytest.mark.slow
def test_files_dropped_on_the_first_page_are_analysed_at_once() -> None:
    page = AppTest.from_file(str(PAGE), default_timeout=60)
    dropped(page, named("a.png", IMAGE), named("two.zip", zipped({"b.png": b"", "c.png": b""})))
    page.run()
    assert not page.exception
    finished(page)
    assert [result.record["file"] for result in run_of(page).results] == ["a.png", "two.zip/b.png", "two.zip/c.png"]
    assert session_of(page).dropped is None
    # The table tells the answer, so that image can no more be read first.
    assert session_of(page).answer_seen(hashlib.sha256(IMAGE).hexdigest())


@pytest.mark.slow
def test_files_dropped_on_the_first_page_do_not_end_another_batch() -> None:
    page = AppTest.from_file(str(PAGE), default_timeout=60).run()
    uploaded(page, ("a.png", IMAGE))
    button(page, "Analyse 1 image").click().run()
    finished(page)
    uploaded(page)
    dropped(page, named("b.png", IMAGE), named("c.png", IMAGE))
    page.run()
    assert page.info[0].value == "2 images from the first page, to be analysed in place of the ones below."
    assert [result.record["file"] for result in run_of(page).results] == ["a.png"]
    button(page, "Analyse 2 images").click().run()
    finished(page)
    assert [result.record["file"] for result in run_of(page).results] == ["b.png", "c.png"]
    assert not page.info
    dropped(page, named("d.png", IMAGE))
    page.run()
    button(page, "Remove").click().run()
    assert not page.info and session_of(page).dropped is None
    assert [result.record["file"] for result in run_of(page).results] == ["b.png", "c.png"]


def dropped(page: AppTest, *files: Any) -> None:
    """As the first page leaves them; it has opened this one already."""
    session_of(page).dropped = Dropped(list(files), fresh=False)


def named(name: str, data: bytes) -> io.BytesIO:
    file = io.BytesIO(data)
    file.name = name
    return file


@pytest.mark.slow
def test_sizes_are_chosen_for_those_that_tell_none(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = at_scale(runtime.load_model("breakhis"), {"0.10": {"benign": 0.5, "malignant": 0.5}})
    monkeypatch.setattr(runtime, "load_model", lambda *_: seen)
    st.cache_resource.clear()
    page = AppTest.from_file(str(PAGE), default_timeout=60).run()
    drawn = draw(PHANTOMS[0]).pixels
    parts = (drawn[:230, :350], drawn[1:230, :350], drawn)
    images = [encode_png(np.ascontiguousarray(part)) for part in parts]
    names = ("a.png", "b.png", "SOB_B_A-14-9999-200-001.png")
    uploaded(page, *zip(names, images, strict=True))
    assert page.selectbox(key="batch-usual-size").value == "unknown"
    page.selectbox(key="batch-usual-size").set_value("0.5").run()
    page.file_uploader(key="batch-sizes").set_value(("sizes.csv", b"file,um\nb.png,0.25\n", "text/csv")).run()
    button(page, "Analyse").click().run()
    table = finished(page).dataframe[0].value
    assert table["Pixel size"].tolist() == ["0.5 um, chosen", "0.25 um, chosen", "0.35 um, by its name: BreakHis 200X"]
    assert table["Laboratory"].tolist() == ["not known"] * 3
    assert [result.record["pixel_size"]["rows"] for result in run_of(page).results] == [0.5, 0.25, 0.35]
    st.cache_resource.clear()


def test_a_wrong_table_of_sizes_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = at_scale(runtime.load_model("breakhis"))
    monkeypatch.setattr(runtime, "load_model", lambda *_: seen)
    st.cache_resource.clear()
    page = AppTest.from_file(str(PAGE), default_timeout=60).run()
    page.file_uploader(key="batch-sizes").set_value(("sizes.csv", b"file,um\nb.png,25\n", "text/csv")).run()
    assert "has no number from 0.05 to 5" in page.error[0].value.replace("\\", "")
    assert session_of(page).size_table is None
    st.cache_resource.clear()


def test_missing_weights_are_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    st.cache_resource.clear()
    read_card = weights.read_card
    monkeypatch.setattr(weights, "read_card", lambda name, folder: read_card(name, tmp_path))
    page = AppTest.from_file(str(PAGE), default_timeout=60).run()
    assert "There is no model card" in page.error[0].value
    assert not page.exception


def test_what_is_left_out_is_named_and_filter_order_and_place_stay(page: AppTest) -> None:
    files = {"benign/a.png": b"none", "malignant/b.png": b"none", "notes.txt": b"words", "table.xlsx": b"none"}
    uploaded(page, ("mix.zip", zipped(files)))
    button(page, "Analyse 2 images").click().run()
    finished(page)
    assert "2 files of no accepted kind, left out: 'notes.txt', 'table.xlsx'" in page.warning[0].value.replace("\\", "")
    assert [column for column in page.dataframe[0].value][:3] == ["Answer", "P(malignant), %", "Map"]
    truth = page.expander[0]
    assert truth.label == "Against the truth, which names or folders of 2 images tell"
    assert truth.table[0].value.to_numpy().tolist() == [["● Benign", 1], ["▲ Malignant", 1]]
    page.selectbox(key="batch-order").set_value("File name").run()
    page.get("button_group")[0].set_value("✕ Refused").run()
    kept = session_of(page)
    assert (kept.batch_order, kept.batch_filter) == ("File name", "✕ Refused")
    # As after a visit to another page: the widgets are gone, what was set is not.
    again = AppTest.from_file(str(PAGE), default_timeout=60)
    again.session_state["session"] = kept
    again.run()
    assert again.selectbox(key="batch-order").value == "File name"
    assert again.get("button_group")[0].value == "✕ Refused"
