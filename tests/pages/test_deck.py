"""Decks through Streamlit's own harness: made by a teacher, read by students, followed, revealed; and who may not."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from dala.cases.deck_records import MadeDeck, NewItem
from dala.cases.decks import Decks
from dala.cases.kept import NewCase, NewImage
from dala.cases.opening import store_from_environment
from dala.cases.people import LOCAL, Person, Role
from dala.explanation.render import encode_png
from dala.phantoms.tissue import draw
from pages.parts.session import Session
from tests.helpers.cases import lay_tables
from tests.pages.conftest import Files

PAGES = Path(__file__).resolve().parents[2] / "pages"
ADA = Person("ada", "Ada", Role.TEACHER)
PNG = encode_png(draw("solid_sheets").pixels[:230, :350])
ITEMS = [
    NewItem(PNG, "SOB_M_DC-1.png", "malignant", "ductal carcinoma", "Look at the edge.", {"status": "outside"}),
    NewItem(PNG, "two.png", "benign", "adenosis", "", {"status": "ok", "verdict": "malignant"}),
]
TELLING = ("carcinoma", "adenosis", "edge", "SOB_M", "model", "outside")


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in ("DALA_SAMPLES", "DALA_DATABASE", "DALA_CASES_IMAGES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DALA_CASES_FOLDER", str(tmp_path / "cases"))
    lay_tables(tmp_path / "cases")
    yield
    st.cache_resource.clear()


@pytest.fixture
def decks() -> Decks:
    store = store_from_environment()
    assert store is not None
    return Decks(store)


@pytest.fixture
def made(decks: Decks) -> MadeDeck:
    return decks.make(ADA, "Monday's deck", 7, ITEMS, anonymous=True)


def opened(**query: str) -> AppTest:
    at = AppTest.from_file(str(PAGES / "deck.py"), default_timeout=60)
    for name, value in query.items():
        at.query_params[name] = value
    at.run()
    assert not at.exception
    return at


def button(at: AppTest, label: str) -> Any:
    (found,) = [one for one in at.button if one.label == label]
    return found


def words(at: AppTest) -> str:
    shown = [*at.header, *at.subheader, *at.markdown, *at.caption, *at.info, *at.success, *at.error, *at.code]
    return "\n".join(str(one.value) for one in shown)


def joined(made: MadeDeck, name: str) -> AppTest:
    at = opened(id=made.id)
    assert "Monday's deck" in words(at)
    at.text_input[0].set_value(name)
    button(at, "Begin").click().run()
    assert not at.exception
    return at


def call(at: AppTest, answer: str) -> AppTest:
    (control,) = [one for one in at.segmented_control if one.label == "Your call"]
    assert button(at, "Commit").disabled
    control.set_value(answer).run()
    button(at, "Commit").click().run()
    assert not at.exception
    return at


def test_a_student_reads_and_sees_what_is_revealed(made: MadeDeck, decks: Decks) -> None:
    at = joined(made, "Anna")
    assert "**Case 1 of 2**" in words(at) and not any(told in words(at) for told in TELLING)
    call(at, "malignant")
    assert "**Case 2 of 2**, 1 answered" in words(at)
    call(at, "not sure")
    assert "You have answered all 2 cases" in words(at) and not any(told in words(at) for told in TELLING)

    # The same address on another device, or after a reload, goes on there.
    secret = at.query_params["reader"]
    again = opened(id=made.id, reader=secret[0] if isinstance(secret, list) else secret)
    assert "You have answered all 2 cases" in words(again)

    decks.reveal(ADA, made.id, "", [1])
    said = words(again.run())
    assert "It is malignant" in said and "ductal carcinoma" in said and "Look at the edge" in said
    assert "outside the model's competence" in said and "adenosis" not in said and "SOB" not in said
    assert "Of 1 revealed case you were right in **1 of 1**" in said
    assert "▲ Malignant **1**" in said


def test_the_teacher_follows_and_reveals(made: MadeDeck, decks: Decks, files: Files) -> None:
    one, two = decks.join(None, made.id, "Anna"), decks.join(None, made.id, "17")
    decks.answer(None, made.id, one, 1, "malignant", ((0.2, 0.2), (0.6, 0.2), (0.6, 0.6)))
    decks.answer(None, made.id, two, 1, "benign", ((0.4, 0.3),))
    at = opened(id=made.id, key=made.key)
    said = words(at)
    assert "2 readers, 2 cases" in said and f"deck?id={made.id}" in said
    table = at.dataframe[0].value
    assert table["▲ Malignant"].tolist() == [1, 0] and table["To come"].tolist() == [0, 2]
    assert "It is malignant" in said and "● Benign **1**, ▲ Malignant **1**, ◆ Not sure **0**" in said
    name, content = files["All answers (CSV)"]
    rows = list(csv.DictReader(StringIO(content)))
    assert name == "deck.csv" and [(row["name"], row["right"]) for row in rows] == [("Anna", "true"), ("17", "false")]
    button(at, "Reveal this case").click().run()
    assert not at.exception and "Revealed: students see all of this." in words(at)
    at.text_area[0].set_value("The edge tells it.").run()
    assert decks.led(ADA, made.id).items[0].truth.words == "The edge tells it."  # type: ignore[union-attr]
    button(at, "Reveal all cases").click().run()
    assert all(item.revealed for item in decks.led(ADA, made.id).items)
    button(at, "Delete the deck").click().run()
    assert not at.exception and not decks.leads(ADA, made.id)


@pytest.mark.parametrize("query", [{}, {"id": "x" * 22}, {"id": "<b>"}, {"id": "x" * 22, "key": "y" * 22}])
def test_without_an_address_there_is_a_sentence(query: dict[str, str], made: MadeDeck) -> None:
    at = opened(**query)
    assert [one.value for one in at.error] == ["There is no deck at this address, or it is not open."]


def test_a_wrong_key_is_a_student(made: MadeDeck) -> None:
    at = opened(id=made.id, key="x" * 22)
    assert [one.label for one in at.text_input] == ["Your name or number"] and not at.dataframe
    assert not any(told in words(at) for told in TELLING)


def test_a_name_that_is_taken_is_a_sentence(made: MadeDeck) -> None:
    joined(made, "Anna")
    at = joined(made, "anna")
    assert "under this name already" in at.error[0].value


def test_a_name_is_shown_as_it_is_written(made: MadeDeck) -> None:
    at = joined(made, "**[x](http://a)**")
    assert r"\*\*\[x\]\(http" in words(at)


# Making


def making() -> AppTest:
    at = AppTest.from_file(str(PAGES / "teaching.py"), default_timeout=120)
    at.query_params["part"] = "With a class"
    at.run()
    assert not at.exception
    return at


@pytest.mark.slow
def test_a_deck_is_made_of_drawings(decks: Decks) -> None:
    at = making()
    at.text_input(key="deck-title").set_value("Drawn")
    at.number_input(key="deck-seed").set_value(5)
    at.number_input(key="deck-count").set_value(2).run()
    button(at, "Make the deck").click().run()
    assert not at.exception and not at.error
    students, own = (str(one.value) for one in at.code)
    assert students in own.replace("&key", "") or own.startswith(students)
    kept: Session = at.session_state["session"]
    assert kept.made_deck is not None
    deck = decks.led(None, kept.made_deck.id, kept.made_deck.key)
    assert (deck.title, deck.seed, len(deck.items), deck.anonymous) == ("Drawn", 5, 2, True)
    assert {item.truth.diagnosis for item in deck.items if item.truth} == {"benign", "malignant"}
    assert all(item.truth and item.truth.opinion and "status" in item.truth.opinion for item in deck.items)
    button(at, "Make another deck").click().run()
    assert button(at, "Make the deck")


@pytest.mark.slow
def test_a_deck_is_made_of_a_folder_and_a_broken_file_is_left_out(
    decks: Decks, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for folder, content in (("benign", PNG), ("malignant", b"no image")):
        (tmp_path / "samples" / folder).mkdir(parents=True)
        (tmp_path / "samples" / folder / "one.png").write_bytes(content)
    monkeypatch.setenv("DALA_SAMPLES", str(tmp_path / "samples"))
    at = making()
    button(at, "Make the deck").click().run()
    assert not at.exception
    kept: Session = at.session_state["session"]
    assert kept.made_deck is not None
    (item,) = decks.led(None, kept.made_deck.id, kept.made_deck.key).items
    assert item.truth is not None and item.truth.diagnosis == "benign"
    assert "is left out" in at.warning[0].value and "one.png" in at.warning[0].value


@pytest.mark.slow
def test_where_nothing_is_kept_there_are_no_decks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DALA_DATABASE", "off")
    at = making()
    assert "DALA_DATABASE=off" in at.info[0].value and not at.button
    at = opened(id="x" * 22)
    assert at.info


@pytest.mark.slow
def test_a_reader_makes_no_decks(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Person("ben", "Ben", Role.READER)
    monkeypatch.setattr("pages.parts.decks.making.person", lambda: reader)
    at = making()
    assert "Only a teacher" in at.info[0].value and not at.button


@pytest.mark.slow
def test_a_deck_is_made_of_kept_cases(decks: Decks) -> None:
    store = decks.store
    for title, data, diagnosis in (("Kept", PNG, "malignant"), ("Without bytes", None, "benign"), ("Open", PNG, None)):
        opinion = {"status": "ok", "verdict": None, "weights_sha256": "0" * 64}
        image = NewImage(f"{title}.png", data, {}, opinion, b"jpeg")
        store.keep(LOCAL, NewCase([image], title=title, diagnosis=diagnosis))
    at = making()
    at.segmented_control(key="deck-source").set_value("Kept cases").run()
    assert not at.exception
    # Those with a final diagnosis are taken first.
    (chosen,) = at.multiselect
    assert len(chosen.value) == 2 and any("no final diagnosis" in option for option in chosen.options)
    button(at, "Make the deck").click().run()
    assert not at.exception
    kept: Session = at.session_state["session"]
    assert kept.made_deck is not None
    (item,) = decks.led(None, kept.made_deck.id, kept.made_deck.key).items
    assert item.truth is not None and (item.truth.name, item.truth.diagnosis) == ("Kept", "malignant")
    assert decks.image(None, kept.made_deck.id, 1, key=kept.made_deck.key)[:4] == b"\x89PNG"


@pytest.mark.slow
def test_a_deck_with_a_case_of_others_opens_after_log_in_only(decks: Decks, monkeypatch: pytest.MonkeyPatch) -> None:
    opinion = {"status": "ok", "verdict": None, "weights_sha256": "0" * 64}
    case = NewCase([NewImage("a.png", PNG, {}, opinion, b"jpeg")], title="Ben's", diagnosis="benign", shared=True)
    ben = Person("ben", "Ben", Role.READER)
    decks.store.keep(ben, case)
    for teacher, anonymous in ((ADA, False), (Person("ben", "Ben", Role.TEACHER), True)):
        monkeypatch.setattr("pages.parts.decks.making.person", lambda teacher=teacher: teacher)
        at = making()
        at.segmented_control(key="deck-source").set_value("Kept cases").run()
        button(at, "Make the deck").click().run()
        assert not at.exception
        assert decks.led(teacher, at.session_state["session"].made_deck.id).anonymous is anonymous
        assert any("opens after log-in only" in one.value for one in at.warning) is not anonymous


@pytest.mark.slow
def test_a_switch_stands_as_another_window_has_turned_it(decks: Decks, made: MadeDeck) -> None:
    here = opened(id=made.id, key=made.key)
    (switch,) = here.toggle
    assert switch.value is True
    decks.change(None, made.id, made.key, shared=False)
    here.run()
    assert here.toggle[0].value is False and decks.led(None, made.id, made.key).shared is False
    here.toggle[0].set_value(True).run()
    assert not here.exception and decks.led(None, made.id, made.key).shared is True
