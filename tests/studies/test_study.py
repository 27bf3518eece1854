"""Result files: which are out of date or damaged, how they were measured, and a study that is added in one line."""

from __future__ import annotations

import ast
import inspect
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dala.errors import EvidenceError
from dala.runtime.card import WEIGHTS_DIR, read_card
from dala.stats.metrics import binary_intervals
from dala.studies import blocks, headline, predictions
from dala.studies.blocks import Line, Point, lines_table, plain_cell, points_table
from dala.studies.names import MODELS, NETWORK
from dala.studies.record import Data, Result
from dala.studies.registry import PARTS, STUDIES
from dala.studies.study import Source, Study, card_of, provenance
from dala.words import NO_BREAK
from tests.helpers.records import partly, plain

# What is shipped


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.key)
def test_every_shipped_figure_is_of_the_shipped_weights(study: Study[Any]) -> None:
    """Fails for a result that is older than its weights: its command wants to be run again."""
    source = study.read()
    assert source is not None
    assert source.record.protocol
    assert source.record.command.startswith(study.command.partition(" --")[0])
    assert study.weights is None or source.record.made_with, "it does not say with which recipe it was measured"
    assert not source.earlier, f"measured with another recipe: run `{source.record.command}` again"


def test_every_study_has_its_own_file_and_one_place() -> None:
    for name in ("key", "file"):
        assert len({getattr(study, name) for study in STUDIES}) == len(STUDIES)
    for study in STUDIES:
        assert (study.part in PARTS) is (study.section is not None) is bool(study.title and study.question)


def test_the_card_carries_the_figures_of_the_evidence() -> None:
    source, card = headline.STUDY.read(), card_of("breakhis")
    assert source is not None and card is not None
    assert card.fields["metrics"]["values"] == source.record.scores[NETWORK]


def test_the_headline_follows_from_the_predictions() -> None:
    told, found = headline.STUDY.read(), predictions.STUDY.read()
    assert told is not None and found is not None
    cohort = found.record.cohort
    for name, values in found.record.by_model.items():
        scores = binary_intervals(cohort.labels, values, cohort.groups)
        for metric in ("auc", "balanced_accuracy", "brier"):
            # Six decimals are kept of a prediction.
            assert scores[metric]["value"] == pytest.approx(told.record.scores[name][metric]["value"], abs=1e-4)
            assert scores[metric]["low"] == pytest.approx(told.record.scores[name][metric]["low"], abs=1e-3)


# No number typed in

NAMES_WITH_DIGITS = re.compile(r"DALAResNet50|F1|95 %|(?:8|16|32) bits")


def shown_by(study: Study[Any]) -> list[ast.AST]:
    """What the page's words of a study are made of: its section and summary, and all of its module that they use."""
    tree = ast.parse(inspect.getsource(inspect.getmodule(study.section)))  # type: ignore[arg-type]
    top = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    constants = {
        name.id: node
        for node in tree.body
        if isinstance(node, ast.Assign)
        for name in ast.walk(node.targets[0])
        if isinstance(name, ast.Name)
    }
    place = {name: node for name, node in (constants | top).items() if "Study(" not in ast.unparse(node)}
    wanted, found = ["section", "_section", "summary"], dict[str, ast.AST]()
    while wanted:
        name = wanted.pop()
        if name in place and name not in found:
            found[name] = place[name]
            wanted += [node.id for node in ast.walk(place[name]) if isinstance(node, ast.Name)]
    return list(found.values())


@pytest.mark.parametrize("study", [one for one in STUDIES if one.section is not None], ids=lambda study: study.key)
def test_no_sentence_of_the_page_holds_a_number(study: Study[Any]) -> None:
    """Numbers come out of files: no text in the code may hold one, but for names and the level of the intervals."""
    parts = shown_by(study)
    documentation = {
        id(node.body[0].value)
        for part in parts
        for node in ast.walk(part)
        if isinstance(node, ast.FunctionDef) and isinstance(node.body[0], ast.Expr)
    }
    # Keys, formats and colours are one word in small letters.
    texts = [
        (node.lineno, node.value)
        for part in parts
        for node in ast.walk(part)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in documentation
        and re.search(r"[\sA-Z]", node.value)
    ]
    texts += [(0, study.title), (0, study.question)]
    assert len(texts) > 3
    assert [text for text in texts if re.search(r"\d", NAMES_WITH_DIGITS.sub("", text[1]))] == []


# Reading


def write(folder: Path, study: Study[Any], record: Any) -> None:
    text = record if isinstance(record, str) else json.dumps(record)
    (folder / study.file).write_text(text, encoding="utf-8")


def current() -> dict[str, Any]:
    """The least record that is up to date."""
    recipe = {key: value for key, value in read_card("breakhis", WEIGHTS_DIR)[0].fields["recipe"].items()}
    recipe.pop("seed", None)
    return {"protocol": "by hand; 95 % intervals: none", "command": "dala x", "recipe": recipe}


PLAIN = Study("plain", "plain.json", Result, "breakhis", "dala plain")


def test_a_missing_file_is_none(tmp_path: Path) -> None:
    assert PLAIN.read(tmp_path) is None


def test_a_record_of_the_cards_recipe_is_current(tmp_path: Path) -> None:
    write(tmp_path, PLAIN, current())
    source = PLAIN.read(tmp_path)
    assert source is not None
    assert not source.earlier
    assert source.study.path == "evidence/plain.json"


@pytest.mark.parametrize(
    ("change", "earlier"),
    [
        ({}, False),
        ({"weights_sha256": "CARD"}, False),
        ({"weights_sha256": "0" * 64}, True),
        ({"recipe": {"rate": 1.0}}, True),
    ],
)
def test_earlier_is_another_recipe_or_another_sha256(tmp_path: Path, change: dict[str, Any], earlier: bool) -> None:
    if change.get("weights_sha256") == "CARD":
        change = {"weights_sha256": read_card("breakhis", WEIGHTS_DIR)[0].fields["sha256"]}
    write(tmp_path, PLAIN, current() | change)
    source = PLAIN.read(tmp_path)
    assert source is not None
    assert source.earlier is earlier


def test_the_recipe_of_the_predictions_counts_for_a_calibration(tmp_path: Path) -> None:
    (study,) = [one for one in STUDIES if one.key == "calibration"]
    source = study.read()
    assert source is not None
    told = source.record.to_json()
    write(tmp_path, study, told | {"source": told["source"] | {"recipe": {"rate": 1.0}}})
    changed = study.read(tmp_path)
    assert changed is not None and changed.earlier and not source.earlier


def test_a_seed_makes_no_other_recipe_and_no_card_makes_everything_earlier() -> None:
    card = read_card("breakhis", WEIGHTS_DIR)[0]
    record = Result.from_json(current() | {"recipe": current()["recipe"] | {"seed": 7}})
    assert record.is_current(card)
    assert not record.is_current(None)


@pytest.mark.parametrize(
    "record",
    ["{", "[]", "{}", {"protocol": "p", "command": "c"}, {"protocol": 1, "command": "c", "recipe": {}}],
)
@pytest.mark.parametrize("study", [PLAIN, headline.STUDY], ids=lambda study: study.key)
def test_a_file_that_is_no_result_is_one_sentence(tmp_path: Path, study: Study[Any], record: Any) -> None:
    write(tmp_path, study, record)
    with pytest.raises(EvidenceError, match=rf"^evidence/{study.file} .*`dala "):
        study.read(tmp_path)


def test_a_record_without_what_it_should_hold_is_one_sentence(tmp_path: Path) -> None:
    write(tmp_path, headline.STUDY, current())
    with pytest.raises(EvidenceError, match="does not hold what `dala crossvalidate"):
        headline.STUDY.read(tmp_path)


def test_a_section_that_lacks_a_model_is_one_sentence() -> None:
    source = headline.STUDY.read()
    assert source is not None
    scores = {name: row for name, row in source.record.scores.items() if name != "teacher"}
    lacking = Source(headline.STUDY, replace(source.record, scores=scores), False, "")
    for told in (lacking.section, lacking.summary):
        with pytest.raises(EvidenceError, match="does not hold what `dala crossvalidate"):
            told()


def test_a_record_that_is_written_is_read_again(tmp_path: Path) -> None:
    record = Result.from_json(current())
    PLAIN.write(record, tmp_path / "deep" / PLAIN.file)
    source = PLAIN.read(tmp_path / "deep")
    assert source is not None
    assert source.record == record


def test_provenance_takes_the_intervals_out_of_the_protocol() -> None:
    data = Data(groups=3, benign_groups=1, images=1200)
    record = partly(
        headline.Headline, protocol="folds by hand; 95 % intervals: bootstrap over groups", command="dala x", data=data
    )
    told = provenance(Source(headline.STUDY, record, False, ""))
    assert told.protocol == "Folds by hand."
    assert told.intervals == "95 %, bootstrap over groups."
    assert told.patients == "3 groups, 1 of them benign, 1,200 images"
    assert told.command == "dala x"


# Blocks


def test_a_cells_markdown_is_only_text() -> None:
    assert plain_cell("a_b*c<d|e") == r"a\_b\*c\<d\|e"


def test_the_numbers_of_a_chart_are_read_off_its_curves() -> None:
    line = Line("one", (0.0, 0.5, 1.0), (0.0, 0.4, 1.0), (0.0, 0.2, 1.0), (0.0, 0.6, 1.0))
    assert [plain(row["one"]) for row in lines_table([line], "x")] == [
        "0.000 (0.000 to 0.000)",
        "0.400 (0.200 to 0.600)",
        "1.000 (1.000 to 1.000)",
    ]
    assert [row["x"] for row in lines_table([line], "x", steps=2)] == ["0", "0.5", "1"]
    rows = points_table([Point("a_b", 0.5)], "kind", "share", percent=True)
    assert rows == [{"kind": r"a\_b", "share": f"50.0{NO_BREAK}%"}]


def test_a_line_runs_through_its_places() -> None:
    assert Line.through("one", [(0, 1), (2, 3)]) == Line("one", (0, 2), (1, 3))
    assert Line.through("one", [(0, 1, 0.5, 2)]) == Line("one", (0,), (1,), (0.5,), (2,))
    with pytest.raises(ValueError, match="no value"):
        blocks.point("one", {"value": None, "low": None, "high": None})


def test_the_models_of_the_page_have_names() -> None:
    assert len(set(MODELS.values())) == len(MODELS)
