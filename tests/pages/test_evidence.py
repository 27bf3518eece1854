"""The page through Streamlit's own test harness: every number has a source, what is old or missing is said so."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from dala.runtime.card import available, read_card
from dala.studies import ablation, predictions, registry
from dala.studies import study as study_module
from dala.studies.blocks import (
    Block,
    Caption,
    Chart,
    Choice,
    Line,
    Table,
    Text,
    bullets,
    choices,
    lines_table,
    plain_cell,
)
from dala.studies.names import CUT
from dala.studies.record import Result
from dala.studies.registry import STUDIES
from dala.studies.study import EVIDENCE_DIR, Study, provenance
from dala.words import MINUS, NO_BREAK, SMALL_P
from pages.parts.evidence.cards import card_table
from pages.parts.evidence.short import shortened
from pages.parts.shared import plain

PAGE = Path(__file__).resolve().parents[2] / "pages" / "evidence.py"
EARLIER, MISSING = "**Measured with an earlier recipe**", "Not measured yet: "
NUMBER = re.compile(r"(?<![\w.])[+-]?\d[\d,]*(?:\.\d+)?")
SIGNS = str.maketrans({NO_BREAK: " ", MINUS: "-"})
ON_THE_PAGE = [study for study in STUDIES if study.section is not None]
SMALL = 100  # whole numbers up to this may be a count of what a file lists


@pytest.fixture(autouse=True)
def _read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record is made once of every content of a file, and a card is checked once: no test here changes one."""
    monkeypatch.setattr(study_module, "card_of", CARD_OF)
    monkeypatch.setattr(Study, "load", load_once)


CARD_OF = cache(study_module.card_of)
LOAD = Study.load
LOADED: dict[tuple[str, bytes], Any] = {}


def load_once(self: Study[Any], path: Path) -> Any:
    key = (self.file, path.read_bytes())
    if key not in LOADED:
        LOADED[key] = LOAD(self, path)
    return LOADED[key]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the evidence that a test may spoil."""
    copy = tmp_path / "evidence"
    shutil.copytree(EVIDENCE_DIR, copy)
    monkeypatch.setattr(study_module, "EVIDENCE_DIR", copy)
    return copy


@dataclass(frozen=True)
class WholePage:
    """What all parts of the page hold, one after the other."""

    header: list[Any] = field(default_factory=list)
    subheader: list[Any] = field(default_factory=list)
    markdown: list[Any] = field(default_factory=list)
    caption: list[Any] = field(default_factory=list)
    warning: list[Any] = field(default_factory=list)
    error: list[Any] = field(default_factory=list)
    table: list[Any] = field(default_factory=list)


def run() -> WholePage:
    whole = WholePage()
    page = AppTest.from_file(str(PAGE), default_timeout=60).run()
    for part in page.segmented_control(key="evidence-part").options:
        page.segmented_control(key="evidence-part").set_value(part).run()
        assert not page.exception
        for kind in fields(whole):
            getattr(whole, kind.name).extend(getattr(page, kind.name))
    return whole


@cache
def as_shipped() -> WholePage:
    """With the evidence as it is."""
    return run()


@pytest.mark.slow
def test_every_source_has_its_place_in_one_part() -> None:
    """Parts are names of sections, and no section is forgotten or shown twice."""
    said = [caption.value for caption in as_shipped().caption]
    for study in ON_THE_PAGE:
        told = [text for text in said if f"**File** `{study.path}`" in text or f"`{study.command}`" in text]
        assert told, study.file


def texts(page: WholePage) -> list[str]:
    """Everything that the page says in words: text, captions, warnings, errors and the cells of its tables."""
    said = [element.value for kind in (page.markdown, page.caption, page.warning, page.error) for element in kind]
    for table in page.table:
        said += [str(name) for name in table.value.columns] + [str(cell) for cell in table.value.to_numpy().ravel()]
    return [text.translate(SIGNS) for text in said]


@pytest.mark.slow
def test_every_section_is_there_with_protocol_and_command() -> None:
    page = as_shipped()
    said = "\n".join(texts(page))
    for study in ON_THE_PAGE:
        source = study.read()
        if source is None:
            assert f"{MISSING}`{study.command}`" in said
        else:
            told = provenance(source)
            assert f"**Command** `{told.command}`" in said
            assert plain(told.protocol) in said
            assert f"**File** `{study.path}`" in said
    for name in available():
        assert f"**File** `weights/{name}.json`" in said
    assert {heading.value for heading in page.header} == {"Evidence"}
    anchors = [heading.anchor for heading in page.subheader]
    assert len(anchors) == len(set(anchors)) == len(ON_THE_PAGE) + 2  # the weights and BACH
    assert not page.error


def in_order_of_the_page() -> list[Study[Any]]:
    return sorted(ON_THE_PAGE, key=lambda study: registry.PARTS.index(study.part))


@pytest.mark.slow
def test_whatever_is_earlier_than_its_weights_is_marked(folder: Path) -> None:
    for path in folder.glob("*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(record | {"recipe": {"rate": 1.0}}), encoding="utf-8")
    page = run()
    assert len(page.warning) == len(ON_THE_PAGE)
    for warning, study in zip(page.warning, in_order_of_the_page(), strict=True):
        assert warning.value.startswith(EARLIER)
        assert study.command in warning.value
    # What is not of the served weights is no summary of them.
    assert not any("On patients it has not seen" in text for text in texts(page))


@pytest.mark.slow
@pytest.mark.parametrize("part", registry.PARTS)
def test_a_part_is_read_in_two_minutes(part: str) -> None:
    """Fewer than 400 words are in sight when it is opened: titles, questions, and what is not folded away."""
    words = 0
    for study in (one for one in STUDIES if one.part == part):
        words += len(f"{study.title} {study.question}".split())
        if (source := study.read()) is not None:
            words += sum(len(block.markdown.split()) for block in in_sight(source.section()))
    assert 10 < words < 400


def in_sight(blocks: Sequence[Block]) -> list[Text | Caption]:
    seen, _ = shortened(blocks)
    found: list[Text | Caption] = []
    for block in seen:
        if isinstance(block, Choice):
            found += [one for one in block.body(block.options[0]) if isinstance(one, Text | Caption)]
        elif isinstance(block, Text | Caption):
            found.append(block)
    return found


def test_without_results_the_page_says_so_and_holds_no_number(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in folder.iterdir():
        path.unlink()
    page = run()
    missing = [caption.value for caption in page.caption if caption.value.startswith(MISSING)]
    assert missing == [f"{MISSING}`{study.command}`" for study in in_order_of_the_page()]
    cards = {text.translate(SIGNS) for name in available() for text in card_texts(name)}
    assert [text for text in texts(page) if text not in cards and NUMBER.search(text)] == []


def card_texts(name: str) -> list[str]:
    """What the page shows of a card."""
    card = read_card(name)[0]
    rows = [*card_table(card), *choices(card.fields["recipe"])]
    lists = [bullets(plain_cell(line) for line in card.fields[key]) for key in ("assumptions", "limits")]
    lists = [f"**{title}**\n\n{lines}" for title, lines in zip(("Assumptions", "Limits"), lists, strict=True)]
    fingerprint = f"**File** `weights/{name}.json`\n\n**Fingerprint of the weights** `{card.fields['sha256']}`"
    return [f"#### {card.fields['title']}", *(text for row in rows for text in row.values()), *lists, fingerprint]


@pytest.mark.slow
@pytest.mark.parametrize("content", ["{", '{"protocol": "p", "command": "c"}'])
def test_a_damaged_file_is_a_sentence_and_the_page_goes_on(folder: Path, content: str) -> None:
    (folder / "calibration_breakhis_200x.json").write_text(content, encoding="utf-8")
    page = run()
    assert [error.value.split()[0] for error in page.error] == ["evidence/calibration_breakhis_200x.json"]
    assert any(table.value.iloc[0, 0] == "AUC" for table in page.table)
    assert page.subheader[-1].value == "BACH, four classes"


def nth_of_each_part() -> list[list[Study[Any]]]:
    """The first study of each part, the second of each that has two, and so on; in the order of the page."""
    parts = [[study for study in ON_THE_PAGE if study.part == part] for part in registry.PARTS]
    return [[one for part in parts for one in part[n : n + 1]] for n in range(max(map(len, parts)))]


@pytest.mark.slow
@pytest.mark.parametrize("studies", nth_of_each_part(), ids=lambda studies: "-".join(study.key for study in studies))
def test_a_file_without_its_figures_is_a_sentence_and_the_page_goes_on(folder: Path, studies: list[Study[Any]]) -> None:
    """One file of each part at a time; whatever else reads it would say its sentence once more."""
    present = [study for study in studies if (folder / study.file).is_file()]
    if not present:
        pytest.skip("none of these files has been written yet")
    for path in (folder / study.file for study in present):
        record = json.loads(path.read_text(encoding="utf-8"))
        kept = {
            name: record[name]
            for name in ("protocol", "command", "recipe", "weights_sha256", "source")
            if name in record
        }
        path.write_text(json.dumps(kept), encoding="utf-8")
    page = run()
    assert [error.value for error in page.error] == [
        f"evidence/{study.file} does not hold what `{study.command}` writes; run it again." for study in present
    ]
    assert page.subheader[-1].value == "BACH, four classes"


# Every number has a source


@pytest.mark.slow
def test_every_number_on_the_page_has_a_source() -> None:
    page = as_shipped()
    known = known_numbers()
    unknown = {
        text: strange
        for text in texts(page)
        if (strange := [number for number in numbers_in(text) if number not in known])
    }
    assert unknown == {}


@pytest.mark.slow
def test_a_number_that_is_typed_in_is_found() -> None:
    assert numbers_in("AUC **0.99812** of 1,234 (-3.5 %), DALAResNet50 at 200X") == [
        "0.99812", "1234", "3.5",
    ]  # fmt: skip
    assert not {"0.99812", "123456"} & known_numbers()


def numbers_in(text: str) -> list[str]:
    """Numbers of a text without sign and thousands separators; not those within a word."""
    found = re.findall(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?:e-?\d+)?(?![\w])", text)
    return [number.replace(",", "") for number in found]


@cache
def known_numbers() -> set[str]:
    """All numbers of the files in the ways that the page writes them, and what is computed from the predictions."""
    known = {str(whole) for whole in range(SMALL + 1)} | {str(CUT), str(ablation.CLEAR), str(SMALL_P)}
    for study in ON_THE_PAGE:
        source = study.read()
        if source is not None:
            # Every single prediction would cover every number; what the page computes from them is added below.
            record = {key: value for key, value in source.record.to_json().items() if key != "probabilities"}
            collect(record, known)
    for name in available():
        collect(read_card(name)[0].fields, known)
    found = predictions.STUDY.read()
    if found is not None:
        computed = [
            *predictions.confusion_table(found.record),
            *predictions.patient_table(predictions.patients(found.record)),
            *lines_table(predictions.roc_lines(found.record), "x"),
        ]
        for text in [predictions.against_probe(found.record), *(cell for row in computed for cell in row.values())]:
            known |= set(numbers_in(text.translate(SIGNS)))
    return known


def collect(value: Any, known: set[str]) -> None:
    """Add the ways in which the page may write the numbers of a piece of JSON."""
    if isinstance(value, dict):
        for key, inner in value.items():
            collect(key, known)
            collect(inner, known)
    elif isinstance(value, list):
        known.add(str(len(value)))
        for inner in value:
            collect(inner, known)
    elif isinstance(value, str):
        for number in numbers_in(value):
            known |= {number, *written(float(number))}
    elif isinstance(value, int | float) and not isinstance(value, bool):
        known |= written(value)


def written(value: float) -> set[str]:
    size = abs(value)
    ways = {str(size), f"{size:g}", *(f"{size:.{digits}f}" for digits in range(4))}
    return ways | {f"{100 * size:.1f}", f"{100 * (1 - size):.0f}", f"{size / 1e6:.0f}", f"{size / 1e6:.1f}"}


# A study is one file and one line


@dataclass(frozen=True, kw_only=True)
class Toy(Result):
    answers: dict[str, float]


def toy_section(record: Toy) -> list[Block]:
    rows = [{"Question": name, "Answer": f"{value:g}"} for name, value in record.answers.items()]

    def one(name: str) -> list[Block]:
        line = Line(name, (0.0, 1.0), (0.0, record.answers[name]))
        return [Text(f"{name} was asked."), Chart("toy", f"The answer to {name}", "Time", "Answer", lines=[line])]

    return [Table(rows, "Answers"), Choice("Question", list(record.answers), "toy", one)]


TOY = Study(
    "toy", "toy.json", Toy, None, "dala toy", part="Heat maps", title="A toy", question="Does it play?",
    section=toy_section,
)  # fmt: skip


@pytest.mark.slow
def test_a_study_that_is_added_to_the_list_is_on_the_page(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "STUDIES", [*STUDIES, TOY])
    page = AppTest.from_file(str(PAGE), default_timeout=60).run()
    page.segmented_control(key="evidence-part").set_value("Heat maps").run()
    assert page.subheader[-1].value == "A toy" and page.subheader[-1].anchor == "toy"
    assert page.caption[-1].value == f"{MISSING}`dala toy`"
    TOY.write(
        Toy(protocol="by hand", command="dala toy --hard", answers={"left": 0.5, "right": 2.0}), folder / TOY.file
    )
    page.run()
    assert page.table[-1].value.to_numpy().tolist() == [["left", "0.5"], ["right", "2"]]
    assert page.markdown[-1].value == "left was asked."
    page.selectbox(key="toy").set_value("right").run()
    assert page.markdown[-1].value == "right was asked."
    assert "**Command** `dala toy --hard`" in page.caption[-1].value
    assert not page.exception and not page.warning and not page.error
