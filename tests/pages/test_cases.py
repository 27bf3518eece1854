"""Cases on the pages: kept by one click, found, opened as they were, changed, compared, deleted; by nobody else."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from dala.cases import audit
from dala.cases.deck_records import NewItem
from dala.cases.decks import Decks
from dala.cases.kept import KeptCase, NewCase, NewImage
from dala.cases.opening import store_from_environment
from dala.cases.people import LOCAL, SERVER, Person, Role
from dala.cases.quota import Quota
from dala.cases.store import ABSENT, Store
from dala.export.kept import kept_record, thumbnail
from dala.intake.image import read_image
from dala.opinion import Opinion, explain, second_opinion
from dala.runtime.predict import load_model
from dala.slides.reader import open_slide
from pages.parts import people
from pages.parts.cases import one, words
from pages.parts.second_opinion.examples import phantom_png
from tests.helpers import slides
from tests.helpers.cases import case, image, lay_tables, sqlite_store

PAGES = Path(__file__).resolve().parents[2] / "pages"
HOSTILE = "**bold** <img src=x onerror=alert(1)> =1+1 [a](http://x.org) $x$ " + 60 * "\N{CJK UNIFIED IDEOGRAPH-6F22}"
SOMEBODY = Person("somebody", "Some Body", Role.READER)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The store of the server, empty."""
    lay_tables(tmp_path / "cases")
    yield from served(tmp_path / "cases", monkeypatch)


def served(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The server's store, which is in this folder."""
    monkeypatch.delenv("DALA_DATABASE", raising=False)
    monkeypatch.delenv("DALA_SAMPLES", raising=False)
    monkeypatch.setenv("DALA_CASES_FOLDER", str(folder))
    found = store_from_environment()
    assert found is not None
    yield found
    found.database.close()
    st.cache_resource.clear()


def page(name: str, **query: str) -> AppTest:
    at = AppTest.from_file(str(PAGES / f"{name}.py"), default_timeout=120)
    for key, value in {"plain": "true", **query}.items():
        at.query_params[key] = value
    return ran(at)


def ran(at: AppTest) -> AppTest:
    at.run()
    assert not at.exception
    return at


def pressed(at: AppTest, label: str) -> AppTest:
    next(one for one in at.button if one.label == label).click()
    return ran(at)


def field(at: AppTest, label: str, kind: str = "text_input") -> Any:
    return next(one for one in getattr(at, kind) if one.label == label)


def said(at: AppTest) -> str:
    return "\n".join(str(one.value) for one in [*at.header, *at.markdown, *at.caption, *at.info, *at.error])


def example(at: AppTest, name: str = "solid_sheets") -> AppTest:
    at.selectbox(key="example").set_value(f"drawn:{name}")
    return ran(at)


def only(store: Store) -> KeptCase:
    (row,) = store.search(LOCAL).rows
    return store.case(LOCAL, row.id)


@pytest.fixture(scope="module")
def opinion() -> Opinion:
    return second_opinion(phantom_png("solid_sheets"), load_model(), name="solid_sheets.png")


def kept(store: Store, opinion: Opinion, data: bytes | None = None, who: Person = LOCAL, **changes: Any) -> str:
    """A case of the drawn image, its record altered where that is asked for."""
    settings = {
        "target": "malignant", "rule": "mean_std", "parameter": 0.5, "opacity": 0.5, "colour_map": "viridis",
        "fixed": False, "limit": None,
    }  # fmt: skip
    record = kept_record(opinion, explain(opinion, "malignant")) | changes.pop("record", {})
    one = NewImage("", data, settings, record, thumbnail(opinion.image))
    return store.keep(who, NewCase([one], **changes))


# Keeping


@pytest.mark.slow
def test_one_click_keeps_what_is_on_the_page_and_nothing_is_kept_without(store: Store) -> None:
    at = example(page("second_opinion", **{"read-first": "true"}))
    field(at, "Your own read", "segmented_control").set_value("benign")
    ran(at)
    pressed(at, "Record it and show the model's answer")
    assert store.search(LOCAL).total == 0
    next(one for one in at.slider if one.label.startswith("Dynamic threshold")).set_value(0.5)
    field(at, "My own read", "segmented_control").set_value("malignant")
    field(at, "The model's answer: I", "segmented_control").set_value("agree")
    at.text_area[0].set_value(HOSTILE)
    field(at, "Title").set_value("  A title ")
    field(at, "Patient or case").set_value("P-7")
    field(at, "Final diagnosis, if known", "selectbox").set_value("malignant")
    ran(at)
    assert store.search(LOCAL).total == 0
    pressed(at, "Keep this case")
    found = only(store)
    assert (found.title, found.patient, found.comment, found.diagnosis) == ("A title", "P-7", HOSTILE, "malignant")
    assert found.read_before == {"call": "benign", "confidence": 0.75}
    assert (found.read_after, found.agrees, found.shared) == ({"call": "malignant"}, True, False)
    (one,) = found.images
    assert (one.name, one.origin) == ("", None)
    assert store.image(LOCAL, found.id, 1) == phantom_png("solid_sheets")
    assert (one.settings["rule"], one.settings["parameter"], one.settings["target"]) == ("mean_std", 0.5, "malignant")
    # Kept is what the page says, which no longer offers to keep it.
    assert words.headline(one.opinion) == at.header[0].value
    assert words.below_headline(one.opinion) in said(at)
    assert "Keep this case" not in [button.label for button in at.button]
    assert "**Kept** in this server's cases." in said(at)
    pressed(at, "Keep it once more")
    pressed(at, "Keep this case")
    assert store.search(LOCAL).total == 2


@pytest.mark.slow
def test_without_its_image_only_the_opinion_is_kept_and_the_name_by_choice(store: Store) -> None:
    at = example(page("second_opinion"))
    field(at, "Keep the image itself", "toggle").set_value(False)
    field(at, "Keep the file's name", "toggle").set_value(True)
    pressed(ran(at), "Keep this case")
    found = only(store)
    assert found.images[0].sha256 is None and found.images[0].name == "solid_sheets.png"
    assert found.images[0].opinion["file"] is None
    assert (found.read_before, found.read_after, found.agrees, found.patient) == (None, None, None, None)
    opened = page("cases", id=found.id)
    assert "The image itself was not kept" in said(opened)
    assert opened.header[0].value == at.header[0].value
    assert not opened.slider


@pytest.mark.slow
def test_where_cases_are_off_nothing_of_them_is_there(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DALA_DATABASE", "off")
    at = example(page("second_opinion"))
    assert not any("Keep" in one.label for one in [*at.button, *at.toggle])
    for name in ("cases", "compare", "agreement"):
        opened = page(name)
        assert [one.value for one in opened.info] == [people.SWITCHED_OFF]
        assert not opened.header


@pytest.mark.slow
def test_a_database_that_does_not_answer_is_a_sentence(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = example(page("second_opinion"))
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DALA_CASES_FOLDER", str(tmp_path / "file"))
    pressed(at, "Keep this case")
    assert len(at.error) == 1 and at.header  # and the opinion still stands there
    for name in ("cases", "compare", "agreement"):
        assert len(page(name).error) == 1


# One case


@pytest.mark.slow
def test_reopened_after_a_restart_a_case_says_and_shows_the_same(store: Store, opinion: Opinion) -> None:
    identity = kept(store, opinion, phantom_png("solid_sheets"), title="Again", read_before={"call": "not sure"})
    st.cache_resource.clear()  # as a new server has nothing computed
    at = page("cases", id=identity)
    record = only(store).images[0].opinion
    assert at.header[0].value == words.headline(record)
    assert words.below_headline(record) in said(at)
    assert record["worth"].split(".")[0] in said(at)
    assert "Own read: **◆ Not sure** before the answer" in said(at)
    # With the settings of then, at the scale of then.
    slider = next(one for one in at.slider if one.label.startswith("Dynamic threshold"))
    assert slider.value == 0.5
    assert "pixel size unknown" in said(at)
    threshold = explain(opinion, "malignant", "mean_std", 0.5).regions
    shown = {one.label: one.value for one in at.metric}
    assert shown["Kept area"] == f"{100 * threshold.kept_area:.1f} %"
    assert shown["Threshold"] == f"{threshold.threshold:.3g}"
    # What is moved stays where it was moved to.
    slider.set_value(1.5)
    ran(at)
    assert next(one for one in at.slider if one.label.startswith("Dynamic threshold")).value == 1.5


@pytest.mark.slow
def test_with_other_weights_stands_what_was_said_then_and_on_request_what_is_said_now(
    store: Store, opinion: Opinion
) -> None:
    then = {
        "weights_sha256": "0" * 64, "verdict": "benign", "verdict_reason": None, "prediction": "benign",
        "probabilities": {"benign": 0.97, "malignant": 0.03}, "calibrated": True,
    }  # fmt: skip
    identity = kept(store, opinion, phantom_png("solid_sheets"), record=then)
    at = page("cases", id=identity)
    assert at.header[0].value == "● Benign"
    assert "Calibrated probability **97 %**." in said(at)
    assert r"Then the weights breast \(000000000000\) served" in said(at)
    (viewer,) = at.get("bidi_component")
    assert viewer.proto.component_name == "dala_compare"
    field(at, "What would be said now?", "toggle").set_value(True)
    ran(at)
    assert at.header[0].value == "● Benign", "what was said then stays"
    (viewer,) = at.get("bidi_component")
    assert viewer.proto.component_name == "dala_compare"


def test_somebody_elses_case_is_answered_as_one_that_does_not_exist(
    store: Store, opinion: Opinion, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = kept(store, opinion, title="Secret", who=SOMEBODY)
    other = Person("other", "Other", Role.READER)
    monkeypatch.setattr(people, "person", lambda: other)
    answers = [page("cases", id=name) for name in (identity, "A" * 22, "../etc/passwd", "")]
    for at in answers:
        assert [one.value for one in at.error] == [ABSENT]
        assert not at.header and not at.markdown and not at.get("download_button") and not at.get("expander")
    assert "Secret" not in "".join(map(said, answers))
    assert [one.value for one in page("compare", a=identity, b=identity).error] == [ABSENT]
    listed = page("cases")
    assert not listed.dataframe and "Nothing is kept yet" in said(listed)
    monkeypatch.setattr(people, "person", lambda: SOMEBODY)
    assert "Secret" in said(page("cases", id=identity))


def test_a_shared_case_is_seen_by_others_and_changed_by_nobody_else(
    store: Store, opinion: Opinion, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = kept(store, opinion, title="Shared", who=SOMEBODY, shared=True)
    monkeypatch.setattr(people, "person", lambda: Person("other", "Other", Role.READER))
    monkeypatch.setattr(one, "logs_in", lambda: True)
    at = page("cases", id=identity)
    assert "Shared" in said(at) and "read by Some Body, shared with everybody" in said(at)
    assert not any(one.label in ("Save", "Delete") for one in at.button)


def test_words_of_a_case_are_changed_and_the_first_read_never(store: Store, opinion: Opinion) -> None:
    identity = kept(store, opinion, title="Old", read_before={"call": "benign", "confidence": 0.9})
    at = page("cases", id=identity)
    field(at, "Title").set_value(HOSTILE)
    field(at, "Words of the diagnosis").set_value("lobular")
    field(at, "Own read after the answer", "segmented_control").set_value("malignant")
    field(at, "The model's answer: I", "segmented_control").set_value("disagree")
    field(at, "Final diagnosis, if known", "selectbox").set_value("malignant")
    at.text_area[0].set_value("line one\nline two")
    pressed(at, "Save")
    found = only(store)
    assert (found.title, found.subtype, found.comment) == (HOSTILE.strip(), "lobular", "line one\nline two")
    assert (found.read_before, found.read_after) == ({"call": "benign", "confidence": 0.9}, {"call": "malignant"})
    assert (found.agrees, found.diagnosis) == (False, "malignant")
    assert "the reader **disagrees**" in said(at) and "(lobular)" in said(at)
    # No sign of it is Markdown or HTML on the page.
    heading = next(one.value for one in at.markdown if one.value.startswith("#### "))
    assert r"\*\*bold\*\* \<img" in heading and r"\[a\]\(" in heading and r"\$x\$" in heading


@pytest.mark.slow
def test_two_windows_write_over_nothing_unawares(store: Store, opinion: Opinion) -> None:
    identity = kept(store, opinion, title="Old", comment="First words.")
    one, two = page("cases", id=identity), page("cases", id=identity)
    field(two, "Title").set_value("Of the second window")
    two.text_area[0].set_value("Words of the second window.")
    pressed(two, "Save")
    # What the first window did not touch stays as the second one left it.
    field(one, "Words of the diagnosis").set_value("lobular")
    pressed(one, "Save")
    found = only(store)
    assert (found.title, found.comment, found.subtype) == (
        "Of the second window", "Words of the second window.", "lobular"
    )  # fmt: skip
    # What both have changed is told before it is written over, and the words of neither are lost.
    for at, words_ in ((one, "Mine."), (two, "No, mine.")):
        at.text_area[0].set_value(words_)
    pressed(one, "Save")
    pressed(two, "Save")
    (warning,) = two.warning
    assert 'meanwhile: the comment is now "Mine.". Save again' in warning.value
    assert two.text_area[0].value == "No, mine." and only(store).comment == "Mine." and "Mine." in said(two)
    pressed(two, "Save")
    assert only(store).comment == "No, mine." and not two.warning and only(store).subtype == "lobular"
    # Opened anew, the form holds what is there.
    again = pressed(page("cases", id=identity), "← All cases")
    again.query_params["id"] = identity
    store.change(LOCAL, identity, title="Of a program")
    assert field(ran(again), "Title").value == "Of a program"


def test_what_somebody_else_has_changed_is_told_in_words() -> None:
    for name, value, told in (
        ("title", "", "empty"),
        ("patient", None, "empty"),
        ("comment", "a\n" + 200 * "b", '"a ' + 118 * "b" + ' …"'),
        ("subtype", "*x*", '"\\*x\\*"'),
        ("agrees", None, "not said"),
        ("agrees", False, '"disagrees"'),
        ("diagnosis", None, "not known"),
        ("diagnosis", "benign", words.short("benign")),
        ("read_after", None, "none"),
        ("read_after", {"call": "malignant"}, words.read_in_words({"call": "malignant"})),
        ("shared", True, "with everybody who logs in"),
    ):
        assert one.said_of(name, value) == told


@pytest.mark.slow
def test_a_case_is_deleted_after_a_second_click(store: Store, opinion: Opinion) -> None:
    identity = kept(store, opinion, phantom_png("solid_sheets"))
    at = page("cases", id=identity)
    assert not any(one.label == "Delete this case" for one in at.button)
    pressed(pressed(at, "Delete"), "Delete this case")
    assert store.search(LOCAL).total == 0 and list(store.images.names()) == []
    assert [one.value for one in page("cases", id=identity).error] == [ABSENT]


@pytest.mark.slow
def test_copies_in_decks_are_told_before_a_case_is_deleted(store: Store, opinion: Opinion) -> None:
    identity = kept(store, opinion, phantom_png("solid_sheets"))
    at = page("cases", id=identity)
    assert not pressed(at, "Delete").warning
    copy = NewItem(b"copy", "a", "benign", case_id=identity, image=1)
    for title in ("*First*", "Second"):
        Decks(store).make(LOCAL, title, 1, [copy])
    (told,) = pressed(page("cases", id=identity), "Delete").warning
    assert told.value == (
        "2 teaching decks have their own copy of this case's image, with diagnosis and words, and keep it: only "
        "deleting the deck removes that copy."
    )
    assert one.copies_in_words(1, ["*First*"]) == (
        "1 teaching deck (\\*First\\*) has its own copy of this case's image, with diagnosis and words, and keeps it: "
        "only deleting the deck removes that copy."
    )
    assert one.copies_in_words(0, []) == ""


@pytest.mark.slow
def test_what_one_person_may_keep_is_a_sentence_on_the_page(store: Store) -> None:
    store.quota = Quota(cases=1)
    store.keep(LOCAL, case(image("first.png")))
    at = pressed(example(page("second_opinion")), "Keep this case")
    assert [one.value.replace("\\", "") for one in at.error] == [
        "One person may keep at most 1 case on this server (DALA_CASES_MOST), and this would be more; nothing was kept."
    ]
    assert store.search(LOCAL).total == 1


@pytest.mark.parametrize(
    "record",
    [
        {"pixel_size": "wide"},
        {"pixel_size": {}},
        {"probabilities": 3},
        {"probabilities": {"malignant": "very"}},
        {"worth": {"a": 1}, "site": ["x"], "classes": 7, "maps": "none"},
        {"status": "outside", "reason": None, "probabilities": None, "prediction": None},
    ],
    ids=str,
)
def test_a_record_of_another_program_never_ends_the_page(
    store: Store, opinion: Opinion, record: dict[str, Any]
) -> None:
    identity = kept(store, opinion, title="Foreign", record={**record, "weights_sha256": "0" * 64})
    at = page("cases", id=identity)
    assert "Foreign" in said(at)
    pressed(pressed(at, "Delete"), "Delete this case")
    assert store.search(LOCAL).total == 0


# The list


@pytest.mark.slow
def test_the_list_shows_filters_sorts_and_turns_pages_by_the_database(store: Store) -> None:
    for number in range(30):
        answer = ("malignant", "benign", "not sure")[number % 3]
        new = case(image(f"{number}.png", answer=answer, probability=number / 30), title=f"Case {number:02}")
        store.keep(LOCAL, replace(new, agrees=number % 2 == 0, comment=HOSTILE if number == 7 else ""))
    at = page("cases")
    table = at.dataframe[0].value
    assert len(table) == 25 and "1 to 25 of **30**" in said(at)
    assert list(table)[:3] == ["Preview", "Answer", "Title"], "what a phone shows"
    pressed(at, "Next")
    assert "26 to 30 of **30**" in said(at) and len(at.dataframe[0].value) == 5
    at.selectbox(key="cases-answer").set_value("benign")
    ran(at)
    assert set(at.dataframe[0].value["Answer"]) == {"● Benign"} and "1 to 10 of **10**" in said(at)
    at.selectbox(key="cases-order").set_value("malignant")
    ran(at)
    shares = list(at.dataframe[0].value["P(malignant), %"])
    assert shares == sorted(shares, reverse=True) and max(shares) == pytest.approx(100 * 28 / 30)
    at.selectbox(key="cases-answer").set_value("Any")
    at.selectbox(key="cases-agreement").set_value("disagrees")
    ran(at)
    assert "of **15**" in said(at)
    at.selectbox(key="cases-agreement").set_value("Any")
    at.text_input(key="cases-text").set_value("onerror bold")
    ran(at)
    assert list(at.dataframe[0].value["Title"]) == ["Case 07"]
    at.text_input(key="cases-text").set_value("no such words")
    ran(at)
    assert not at.dataframe and "No case fits" in said(at)


@pytest.fixture(scope="module")
def kept_thirty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cases of two laboratories, kept once."""
    folder = tmp_path_factory.mktemp("thirty") / "cases"
    store = sqlite_store(folder)
    for number in range(30):
        answer, laboratory = ("malignant", "benign")[number % 2], ("UCSB", "TCGA")[number // 15]
        store.keep(LOCAL, case(image(f"{number}.png", answer=answer, laboratory=laboratory), title=f"Case {number:02}"))
    store.database.close()
    return folder


@pytest.fixture
def thirty(kept_thirty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The store of the server with these cases."""
    yield from served(Path(shutil.copytree(kept_thirty, tmp_path / "cases")), monkeypatch)


@pytest.mark.slow
@pytest.mark.usefixtures("thirty")
def test_what_is_listed_stands_in_the_address_and_an_address_is_listed() -> None:
    at = page("cases")
    at.selectbox(key="cases-order").set_value("title")
    ran(at)
    pressed(at, "Next")
    assert at.query_params == {"plain": "true", "order": "title", "page": "2"}
    assert list(at.dataframe[0].value["Title"]) == [f"Case {number}" for number in range(25, 30)]
    # The same in another window, and after a reload.
    again = page("cases", **{key: str(value) for key, value in at.query_params.items()})
    assert said(again) == said(at) and list(again.dataframe[0].value["Title"]) == list(at.dataframe[0].value["Title"])
    assert again.selectbox(key="cases-order").value == "title"
    # Another filter begins with its first page, and taken away it is gone from the address.
    at.selectbox(key="cases-answer").set_value("benign")
    at.selectbox(key="cases-laboratory").set_value("TCGA")
    at.text_input(key="cases-text").set_value(" case ")
    ran(at)
    assert at.query_params == {
        "plain": "true", "order": "title", "answer": "benign", "laboratory": "TCGA", "text": "case"
    }  # fmt: skip
    assert list(at.dataframe[0].value["Title"]) == [f"Case {number}" for number in range(15, 30, 2)]
    for key in ("answer", "laboratory"):
        at.selectbox(key=f"cases-{key}").set_value("Any")
    at.text_input(key="cases-text").set_value("")
    ran(at)
    assert at.query_params == {"plain": "true", "order": "title"} and "of **30**" in said(at)
    # As the browser does when somebody goes back.
    at.query_params.pop("order")
    at.query_params.update({"laboratory": "UCSB", "since": "2020-01-01", "agreement": "disagrees"})
    ran(at)
    assert at.selectbox(key="cases-order").value == "newest" and at.selectbox(key="cases-laboratory").value == "UCSB"
    assert "No case fits" in said(at)
    assert any("More filters (3)" in str(one.proto) for one in at.get("popover"))


def test_the_list_is_found_as_it_was_left(thirty: Store) -> None:
    at = page("cases", laboratory="UCSB", answer="benign")
    (identity, *_) = [row.id for row in thirty.search(LOCAL).rows]
    at.query_params.clear()
    at.query_params["id"] = identity
    ran(at)
    assert not at.dataframe
    pressed(at, "← All cases")
    assert at.query_params == {"laboratory": "UCSB", "answer": "benign"}
    assert "of **7**" in said(at)


@pytest.mark.parametrize(
    "told",
    [
        {"answer": "HOSTILE", "order": "'; DROP TABLE cases", "agreement": "[]"},
        {"page": "-1"}, {"page": "999999999999999999999"}, {"page": "9999"}, {"page": "\N{SUPERSCRIPT TWO}"},
        {"since": "today", "until": "0000-00-00"}, {"text": "\0%_\\" + HOSTILE * 9},
        {"laboratory": HOSTILE, "reader": "\0"},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.usefixtures("thirty")
def test_no_address_ends_the_list(told: dict[str, str]) -> None:
    at = page("cases", **told)
    assert not at.error
    listed = "" if not at.dataframe else list(at.dataframe[0].value["Title"])
    assert listed == "" if told.keys() & {"text", "laboratory"} else len(listed) in (5, 25)


@pytest.mark.usefixtures("thirty")
def test_of_other_rows_none_is_ticked() -> None:
    """The key of the table is of its rows: what was ticked is not what stands in its place."""
    at = page("cases")
    first = at.dataframe[0].proto.id
    at.selectbox(key="cases-answer").set_value("benign")
    ran(at)
    assert at.dataframe[0].proto.id != first


def test_a_probability_stands_only_beside_what_it_says_something_of(store: Store) -> None:
    for answer, laboratory in (("outside", "UCSB"), ("not sure", None), ("not sure", "UCSB"), ("malignant", None)):
        new = image("a.png", answer=answer, laboratory=laboratory, probability=0.75)
        if answer == "outside":
            new.opinion["probabilities"] = {"benign": 0.25, "malignant": 0.75}
        store.keep(LOCAL, case(new, title=f"{answer} {laboratory}"))
    rows = page("cases").dataframe[0].value
    shares = dict(zip(rows["Title"], rows["P(malignant), %"], strict=True))
    assert {name for name, share in shares.items() if share == 75} == {"not sure UCSB", "malignant None"}
    assert all(np.isnan(share) for name, share in shares.items() if name in ("outside UCSB", "not sure None"))


def test_an_empty_list_says_how_a_case_is_kept(store: Store) -> None:
    assert "Nothing is kept yet. **Keep this case**" in said(page("cases"))


# What fails


def missing(store: Store) -> str:
    """A case whose image somebody has removed from the folder, beside one that is whole."""
    store.keep(LOCAL, case(image("whole.png"), title="Whole"))
    identity = store.keep(LOCAL, case(image("lost.png"), title="A [lost](x) one"))
    sha256 = store.case(LOCAL, identity).images[0].sha256
    assert sha256 is not None
    store.images.remove(sha256)
    return identity


def logged(store: Store) -> list[str]:
    with store.database.read(SERVER) as session:
        return [entry.what for entry in audit.entries(session)]


def test_an_export_is_made_and_then_saved(store: Store) -> None:
    identity = store.keep(LOCAL, case(image("whole.png"), title="Whole"))
    at = pressed(page("cases"), "Export all 1 (ZIP)")
    assert [one.proto.label for one in at.get("download_button")] == ["Save cases.zip"]
    assert logged(store) == ["kept", "exported"]
    at = pressed(page("cases", id=identity), "Export (ZIP)")
    assert f"Save case-{identity[:8]}.zip" in [one.proto.label for one in at.get("download_button")]


def test_an_export_without_an_image_is_one_sentence_that_names_the_case(store: Store) -> None:
    identity = missing(store)
    for at in (pressed(page("cases"), "Export all 2 (ZIP)"), pressed(page("cases", id=identity), "Export (ZIP)")):
        sentence = at.error[-1].value
        assert (
            r"image 1 of the case \"A \[lost\]" in sentence.replace('"', r"\"") and "Nothing was exported" in sentence
        )
        assert not at.get("download_button")
    assert "exported" not in logged(store) and store.search(LOCAL).total == 2


@pytest.mark.parametrize("what", ["Export all 1 (ZIP)", "Export (ZIP)", "Delete this case", "Save"])
def test_a_full_disk_is_a_sentence_and_nothing_is_lost(
    store: Store, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = store.keep(LOCAL, case(image("whole.png"), title="Whole"))
    before = store.case(LOCAL, identity)  # and it is logged that it was seen
    at = page("cases") if what.startswith("Export all") else page("cases", id=identity)
    if what == "Save":
        field(at, "Title").set_value("Other")
    if what == "Delete this case":
        pressed(at, "Delete")
    with monkeypatch.context() as full:
        full.setattr(audit, "append", failing)
        pressed(at, what)
    assert [one.value for one in at.error if "full" in one.value] != [] and not at.get("download_button")
    assert store.case(LOCAL, identity) == before and store.image(LOCAL, identity, 1) == b"bytes of whole.png"
    assert logged(store) == ["kept", "seen"]


def failing(*_: Any, **__: Any) -> None:
    raise sqlite3.OperationalError("database or disk is full")


# Comparing


@pytest.mark.slow
def test_two_cases_are_compared_at_an_address(store: Store, opinion: Opinion) -> None:
    data = phantom_png("solid_sheets")
    first, other = (kept(store, opinion, data, title=title) for title in ("One", "Other"))
    at = page("compare", a=first, b=f"{other}.1")
    (viewer,) = at.get("bidi_component")
    assert viewer.proto.component_name == "dala_compare"
    assert [one.value for one in page("compare", a=first, b=f"{other}.2").error] == ["This case has no such image."]
    without = kept(store, opinion, None, title="Without")
    at = page("compare", a=first, b=without)
    assert not at.get("bidi_component") and "The image itself was not kept" in said(at)
    assert "Choose a case on either side" in said(page("compare", a=first))


def test_with_fewer_than_two_cases_there_is_nothing_to_compare(store: Store, opinion: Opinion) -> None:
    kept(store, opinion)
    assert "Two cases are needed" in said(page("compare"))


# Agreement


def test_the_figures_are_of_both_decided_and_a_disagreement_is_listed(store: Store) -> None:
    # 8 malignant of which 6 are called so, 4 benign of which 3 are called so; 2 not sure, 1 outside.
    for number, (truth, answer) in enumerate(
        [("malignant", "malignant")] * 6 + [("malignant", "benign")] * 2 + [("benign", "benign")] * 3
        + [("benign", "malignant")] + [("malignant", "not sure")] * 2 + [("benign", "outside")]
    ):  # fmt: skip
        new = case(image(f"{number}.png", answer=answer), title=f"{truth} called {answer}", diagnosis=truth)
        store.keep(LOCAL, replace(new, patient=f"P{number}", read_before={"call": truth}))
    at = page("agreement")
    assert "**15 cases of 15 patients**: both sides were decided in **12**" in said(at)
    model, before = (row for _, row in at.table[0].value.iterrows())
    # Kappa by hand: 9 of 12 the same, chance 8/12 * 7/12 + 4/12 * 5/12 = 76/144.
    assert model["Kappa"].startswith("0.471 (") and pytest.approx(0.471, abs=5e-4) == (9 / 12 - 76 / 144) / (
        1 - 76 / 144
    )
    assert model["Sensitivity"].replace("\N{NO-BREAK SPACE}", " ").startswith("75.0 % (")
    assert model["Specificity"].replace("\N{NO-BREAK SPACE}", " ").startswith("75.0 % (")
    assert (before["Who"], before["Kappa"]) == ("Readers before the answer", "1.000")
    assert sorted(at.dataframe[0].value["Title"]) == [
        "benign called malignant", "malignant called benign", "malignant called benign",
    ]  # fmt: skip
    assert "**3 cases** in which" in said(at)


@pytest.mark.slow
def test_what_is_held_against_stands_in_the_address(store: Store) -> None:
    for number in range(60):
        truth = ("malignant", "benign")[number % 2]
        new = case(image(f"{number}.png", answer="malignant"), title=f"{number}", diagnosis="malignant")
        store.keep(LOCAL, replace(new, read_before={"call": truth}))
    at = page("agreement")
    against = field(at, "Held against", "segmented_control")
    assert against.value == "diagnosis" and "In no case did" in said(at)
    against.set_value("before")
    ran(at)
    assert at.query_params == {"plain": "true", "against": "before"} and "**30 cases** in which" in said(at)
    at.number_input(key="agreement-page").set_value(2)
    ran(at)
    assert at.query_params["page"] == "2" and len(at.dataframe[0].value) == 5
    again = page("agreement", against="before", page="2")
    assert list(again.dataframe[0].value["Title"]) == list(at.dataframe[0].value["Title"])
    for wrong in ({"against": "nobody"}, {"page": "x"}, {"figure": "beauty"}):
        assert field(page("agreement", **wrong), "Held against", "segmented_control").value == "diagnosis"
    assert len(page("agreement", against="before", page="77").dataframe[0].value) == 5


def test_without_anything_to_compare_the_page_says_so(store: Store) -> None:
    store.keep(LOCAL, case())
    assert "Nothing to compare yet" in said(page("agreement"))


@pytest.mark.slow
def test_a_second_image_goes_into_the_case_that_was_just_kept(store: Store) -> None:
    at = pressed(example(page("second_opinion")), "Keep this case")
    example(at, "mucin_pools")
    into = field(at, "Keep it as", "selectbox")
    into.set_value(into.options[1])
    pressed(ran(at), "Add to the case")
    found = only(store)
    assert [image.number for image in found.images] == [1, 2]
    assert store.image(LOCAL, found.id, 2) == phantom_png("mucin_pools")
    opened = page("cases", id=found.id)
    assert opened.header[0].value == words.headline(found.images[0].opinion)
    field(opened, "Images of this case: 2", "segmented_control").set_value(2)
    ran(opened)
    assert opened.header[0].value == words.headline(found.images[1].opinion) == "Outside the model's competence"


@pytest.mark.slow
def test_a_field_of_a_slide_is_kept_with_the_place_where_it_lies(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slides.aperio(tmp_path / "P-1234.svs", slides.pyramid(slides.drawn(1024, 768), 2))
    monkeypatch.setenv("DALA_SLIDES", str(tmp_path))
    at = page("slides")
    at.selectbox(key="slide-box").set_value("P-1234.svs")
    ran(at)
    at.session_state["session"].field_picked[str(tmp_path / "P-1234.svs")] = (0, 0)
    ran(at)
    anyway = [one for one in at.toggle if one.label == "Show me anyway"]
    if anyway:
        anyway[0].set_value(True)
        ran(at)
    pressed(at, "Keep this case")
    (kept_image,) = only(store).images
    # Nothing names the slide, whose name may be a patient's number; the place is kept.
    assert kept_image.origin is not None and kept_image.origin["slide"] == ""
    assert "P-1234" not in str(kept_image)
    left, top, right, bottom = kept_image.origin["box"]
    with open_slide(tmp_path / "P-1234.svs") as slide:
        pixels = slide.read_field(0, 0).pixels
        assert (left, top, right, bottom) == slide.grid.box(0, 0)
    data = store.image(LOCAL, only(store).id, 1)
    assert data is not None
    np.testing.assert_array_equal(read_image(data, "field.png").pixels, pixels)
    opened = page("cases", id=only(store).id)
    assert opened.header[0].value == at.header[0].value and "A field of the slide" in said(opened)
    assert "pixel size 0.499 um" in said(opened)
