"""Result files: which are out of date or damaged, and tables and curves worked out by hand or by scikit-learn."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from dala import evidence
from dala.errors import EvidenceError
from dala.evidence import Line, Point
from dala.gate import modality
from dala.runtime.card import WEIGHTS_DIR, read_card
from dala.stats.metrics import with_intervals
from dala.studies.calibration import Cohort

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = sorted(evidence.EVIDENCE_DIR.glob("*.json"))


def interval(value: float | None, low: float | None = None, high: float | None = None) -> dict[str, float | None]:
    return {"value": value, "low": low, "high": high}


# What is shipped


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_figure_is_of_the_shipped_weights(path: Path) -> None:
    """Fails for a result that is older than its weights: its command wants to be run again."""
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["protocol"]
    assert record["command"].startswith(("python -m dala ", "PYTHONPATH=. python benchmarks/"))
    if "rule" in record:  # of no weights, but of two limits in the code
        assert record["rule"] == {"grey": modality.GREY, "smooth": modality.SMOOTH}
        return
    card = evidence.card_of("mini_ddsm" if "mini_ddsm" in path.name else "breakhis")
    assert card is not None
    assert evidence.made_with(record), "it does not say with which recipe or weights it was measured"
    assert not evidence.is_earlier(record, card), f"measured with another recipe: run `{record['command']}` again"


def test_the_card_carries_the_figures_of_the_evidence() -> None:
    source = evidence.read("headline")
    card = evidence.card_of("breakhis")
    assert source is not None and card is not None
    assert card.fields["metrics"]["values"] == source.record["scores"][evidence.NETWORK]


def test_the_headline_follows_from_the_predictions() -> None:
    headline, predictions = evidence.read("headline"), evidence.read("predictions")
    assert headline is not None and predictions is not None
    cohort, probabilities = evidence.cohort_of(predictions.record)
    for name, values in probabilities.items():
        scores = with_intervals(cohort.labels, values, cohort.groups)
        for metric in ("auc", "balanced_accuracy", "brier"):
            # Six decimals are kept of a prediction.
            told = headline.record["scores"][name][metric]
            assert scores[metric]["value"] == pytest.approx(told["value"], abs=1e-4)
            assert scores[metric]["low"] == pytest.approx(told["low"], abs=1e-3)


@pytest.mark.slow
def test_the_area_under_each_curve_is_its_auc() -> None:
    headline, predictions = evidence.read("headline"), evidence.read("predictions")
    assert headline is not None and predictions is not None
    for line, name in zip(evidence.roc_lines(predictions.record), evidence.MODELS, strict=True):
        assert line.low is not None and line.high is not None
        assert line.name == evidence.MODELS[name]
        area = np.trapezoid(line.y, line.x)
        assert area == pytest.approx(headline.record["scores"][name]["auc"]["value"], abs=0.005)
        assert all(low <= y <= high for low, y, high in zip(line.low, line.y, line.high, strict=True))


# No number typed in

NAMES_WITH_DIGITS = re.compile(r"DALAResNet50|F1|95 %")


@pytest.mark.parametrize("file", ["dala/evidence.py", "dala/evidence_maps.py", "pages/evidence.py"])
def test_no_sentence_of_the_page_holds_a_number(file: str) -> None:
    """Numbers come out of files: no text in the code may hold one, but for names and the level of the intervals."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and isinstance(node.body[0], ast.Expr)
    }
    # Keys, formats and colours are one word in small letters.
    texts = [
        (node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in documentation
        and re.search(r"[\sA-Z]", node.value)
    ]
    assert len(texts) > 50
    assert [text for text in texts if re.search(r"\d", NAMES_WITH_DIGITS.sub("", text[1]))] == []


# Reading


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def write(folder: Path, key: str, record: Any) -> None:
    text = record if isinstance(record, str) else json.dumps(record)
    (folder / evidence.FILES[key].name).write_text(text, encoding="utf-8")


def current() -> dict[str, Any]:
    """The least record that is up to date."""
    card = read_card("breakhis", WEIGHTS_DIR)[0]
    recipe = {key: value for key, value in card.fields["recipe"].items() if key != "seed"}
    return {"protocol": "by hand; 95 % intervals: none", "command": "python -m dala x", "recipe": recipe}


def test_a_missing_file_is_none(folder: Path) -> None:
    assert evidence.read("gate", folder) is None


def test_a_record_of_the_cards_recipe_is_current(folder: Path) -> None:
    write(folder, "headline", current())
    source = evidence.read("headline", folder)
    assert source is not None
    assert not source.earlier
    assert source.path == "evidence/breakhis_200x.json"


@pytest.mark.parametrize(
    ("change", "earlier"),
    [
        ({}, False),
        ({"weights_sha256": "CARD"}, False),
        ({"weights_sha256": "0" * 64}, True),
        ({"recipe": {"rate": 1.0}}, True),
        ({"source": {"recipe": {"rate": 1.0}}}, True),
        ({"source": {"protocol": "names no recipe"}}, False),
    ],
)
def test_earlier_is_another_recipe_or_another_sha256(change: dict[str, Any], earlier: bool) -> None:
    card = read_card("breakhis", WEIGHTS_DIR)[0]
    if change.get("weights_sha256") == "CARD":
        change = {"weights_sha256": card.fields["sha256"]}
    assert evidence.is_earlier(current() | change, card) is earlier


def test_a_seed_makes_no_other_recipe_and_no_card_makes_everything_earlier() -> None:
    card = read_card("breakhis", WEIGHTS_DIR)[0]
    record = current()
    record["recipe"]["seed"] = 7
    assert not evidence.is_earlier(record, card)
    assert evidence.is_earlier(record, None)


@pytest.mark.parametrize(
    "record",
    ["{", "[]", "{}", {"protocol": "p", "command": "c"}, {"protocol": 1, "command": "c", "recipe": {}}],
)
def test_a_file_that_is_no_result_is_one_sentence(folder: Path, record: Any) -> None:
    write(folder, "headline", record)
    with pytest.raises(EvidenceError, match=r"^evidence/breakhis_200x\.json .*`python -m dala crossvalidate"):
        evidence.read("headline", folder)


def test_a_record_without_what_it_should_hold_is_one_sentence(folder: Path) -> None:
    write(folder, "headline", current())
    source = evidence.read("headline", folder)
    assert source is not None
    with pytest.raises(EvidenceError, match="does not hold what `python -m dala crossvalidate"):
        source.take(evidence.headline_table)


def test_provenance_takes_the_intervals_out_of_the_protocol(folder: Path) -> None:
    record = current() | {"data": {"groups": 3, "benign_groups": 1, "pictures": 1200}}
    write(folder, "headline", record | {"protocol": "folds by hand; 95 % intervals: bootstrap over groups"})
    source = evidence.read("headline", folder)
    assert source is not None
    told = evidence.provenance(source)
    assert told.protocol == "Folds by hand."
    assert told.intervals == "95 %, bootstrap over groups."
    assert told.patients == "3 groups, 1 of them benign, 1,200 images"
    assert told.command == "python -m dala x"


# Words


def plain(text: str) -> str:
    return text.replace(evidence.NO_BREAK, " ").replace(evidence.MINUS, "-")


@pytest.mark.parametrize(
    ("given", "options", "expected"),
    [
        (interval(0.92943, 0.8496, 0.99597), {}, "0.929 (0.850 to 0.996)"),
        (interval(0.92943), {}, "0.929"),
        (interval(None), {}, "undefined"),
        (interval(0.5, 0.25, 1.0), {"percent": True}, "50.0 % (25.0 to 100.0)"),
        (interval(0.0124, -0.0004, 0.03), {"signed": True}, "+0.012 (0.000 to +0.030)"),
        (interval(-0.2, -0.3, -0.1), {"signed": True}, "-0.200 (-0.300 to -0.100)"),
    ],
)
def test_figures_in_words(given: dict[str, float | None], options: dict[str, bool], expected: str) -> None:
    assert plain(evidence.figure(given, **options)) == expected


def test_p_values_in_words() -> None:
    assert [evidence.chance(p) for p in (None, 0.0001, 0.0123, 1.0)] == ["undefined", "under 0.001", "0.012", "1.000"]


def test_a_cells_markdown_is_only_text() -> None:
    assert evidence.plain_cell("a_b*c<d|e") == r"a\_b\*c\<d\|e"


# Curves


def held_out(probabilities: list[list[float]], labels: list[int], groups: list[str]) -> dict[str, Any]:
    return {"labels": labels, "groups": groups, "probabilities": {name: probabilities for name in evidence.MODELS}}


def test_a_curve_goes_through_scikit_learns_points() -> None:
    draw = np.random.default_rng(0)
    labels = np.repeat([0, 1], [50, 70])
    # Two decimals, so that there are ties.
    probabilities = np.clip(draw.normal(0.35 + 0.3 * labels, 0.2), 0, 1).round(2)
    groups = [f"g{label}{k % 5}" for k, label in enumerate(labels)]
    cohort = Cohort.of(labels, groups, probabilities)
    line = evidence.roc_band(cohort, cohort_probabilities := probabilities[None], "one")
    x, y, _ = roc_curve(labels, cohort_probabilities[0], drop_intermediate=False)
    # With 50 benign images every share of false alarms is on the grid of hundredths.
    for share in np.unique(x):
        assert line.y[1 + round(100 * share)] == pytest.approx(y[x == share].max())
    assert np.trapezoid(line.y, line.x) == pytest.approx(roc_auc_score(labels, probabilities), abs=0.003)


def test_repeats_are_averaged_at_the_same_false_alarms() -> None:
    # First repeat: both malignant above both benign. Second: one of the malignant below both.
    labels, groups = [0, 0, 1, 1], ["a", "b", "c", "d"]
    probabilities = np.array([[0.1, 0.2, 0.8, 0.9], [0.3, 0.4, 0.2, 0.9]])
    line = evidence.roc_band(Cohort.of(labels, groups, probabilities), probabilities, "two")
    assert (line.x[0], line.y[0]) == (0, 0)
    assert line.y[1] == pytest.approx(0.75)  # no false alarm: all, and half
    assert line.y[51] == pytest.approx(0.75)
    assert line.y[-1] == 1


def test_patients_alike_leave_no_band_and_patients_apart_leave_one() -> None:
    labels = [0, 0, 0, 0, 1, 1, 1, 1]
    groups = ["a", "a", "b", "b", "c", "c", "d", "d"]
    alike = np.array([[0.2, 0.6, 0.2, 0.6, 0.4, 0.8, 0.4, 0.8]])
    line = evidence.roc_band(Cohort.of(labels, groups, alike), alike, "alike")
    assert line.low == line.y == line.high
    apart = np.array([[0.2, 0.6, 0.2, 0.6, 0.1, 0.1, 0.8, 0.8]])
    line = evidence.roc_band(Cohort.of(labels, groups, apart), apart, "apart")
    assert line.low is not None and line.high is not None
    # No false alarm: found are 0, half or all, as the malignant patients are c c, c d or d d.
    assert (line.low[1], line.y[1], line.high[1]) == (0, 0.5, 1)


def test_confusion_counts_are_means_of_the_repeats() -> None:
    record = held_out([[0.1, 0.6, 0.9, 0.9], [0.1, 0.2, 0.9, 0.4]], [0, 0, 1, 1], ["a", "b", "c", "d"])
    rows = evidence.confusion_table(record)
    assert len(rows) == 2 * len(evidence.MODELS)
    assert [plain(text) for text in rows[0].values()] == ["DALAResNet50", "2 benign", "1.5 (75.0 %)", "0.5 (25.0 %)"]
    assert [plain(text) for text in rows[1].values()] == ["", "2 malignant", "0.5 (25.0 %)", "1.5 (75.0 %)"]


def test_patients_are_sorted_by_what_went_wrong() -> None:
    record = held_out([[0.1, 0.6, 0.9, 0.9, 0.2]], [0, 0, 1, 1, 1], ["a", "b", "c", "c", "d"])
    rows = evidence.patients(record)
    assert [(row.name, row.malignant, row.images, row.right) for row in rows] == [
        ("b", False, 1, 0.0),
        ("d", True, 1, 0.0),
        ("a", False, 1, 1.0),
        ("c", True, 2, 1.0),
    ]
    assert rows[3].probability == pytest.approx(0.9)
    assert evidence.worst_patients(rows).endswith("wrong of 2 of 4 groups: b (benign), d (malignant).")
    assert evidence.worst_patients(rows[2:]) == "No group has most of its images called wrong."


def test_the_numbers_of_a_chart_are_read_off_its_curves() -> None:
    line = Line("one", (0.0, 0.5, 1.0), (0.0, 0.4, 1.0), (0.0, 0.2, 1.0), (0.0, 0.6, 1.0))
    assert [plain(row["one"]) for row in evidence.lines_table([line], "x")] == [
        "0.000 (0.000 to 0.000)",
        "0.400 (0.200 to 0.600)",
        "1.000 (1.000 to 1.000)",
    ]
    assert [row["x"] for row in evidence.lines_table([line], "x", steps=2)] == ["0", "0.5", "1"]
    rows = evidence.points_table([Point("a_b", 0.5, None, None)], "kind", "share", percent=True)
    assert rows == [{"kind": r"a\_b", "share": f"50.0{evidence.NO_BREAK}%"}]


# Sentences that depend on a result


def compared(correct: tuple[float, float], brier: tuple[float, float]) -> dict[str, Any]:
    tests = {
        name: {"difference": difference, "p": p, "p_holm": p}
        for name, (difference, p) in (("correct", correct), ("brier", brier))
    }
    return {
        "variants": {"a": {"title": "A"}, "b": {"title": "B"}},
        "comparisons": [{"variant": "b", "against": "a", "tests": tests, "metrics": {}}],
    }


def test_the_parts_verdict_claims_only_what_the_tests_show() -> None:
    assert "smallest corrected p value is 0.200" in evidence.parts_verdict(compared((0.1, 0.2), (-0.1, 0.3)))
    better = evidence.parts_verdict(compared((0.1, 0.01), (-0.1, 0.02)))
    assert "B is better than A in images called right (p 0.010)" in better
    assert "B is better than A in squared error (p 0.020)" in better
    worse = evidence.parts_verdict(compared((-0.1, 0.01), (0.1, 0.3)))
    assert "B is worse than A in images called right" in worse
    assert "squared error" not in worse


def test_the_leak_in_words() -> None:
    def scores(**accuracies: float) -> dict[str, Any]:
        return {
            name: {"accuracy": interval(value), "balanced_accuracy": interval(0.5), "auc": interval(None)}
            for name, value in accuracies.items()
        }

    leaky = {"leakage": {"share_of_test_pictures": 0.995}, "scores": scores(dala_resnet50=0.9, linear_probe=1.0)}
    honest = {"leakage": {"share_of_test_pictures": 0.0}, "scores": scores(dala_resnet50=0.75)}
    record: dict[str, Any] = {"columns": {"by_image": leaky, "official_folds": {"not_measured": "no files"}}}
    assert "not complete" in evidence.leak_sentence(record)
    record["columns"]["by_group"] = honest
    assert plain(evidence.leak_sentence(record)) == (
        "Split by image, DALAResNet50 would have claimed an accuracy of 90.0 %; on new patients it reaches 75.0 %."
    )
    leaky["scores"] |= scores(dala_resnet50_memorising=0.98)
    assert "of 90.0 %, and 98.0 % if trained to memorise; on new" in plain(evidence.leak_sentence(record))
    rows = [[plain(text) for text in row.values()] for row in evidence.protocols_table(record)]
    assert rows == [
        ["By image", "DALAResNet50", "99.5 %", "0.900", "0.500", "undefined"],
        ["By image", "Linear probe", "99.5 %", "1.000", "0.500", "undefined"],
        ["By image", "DALAResNet50, memorising", "99.5 %", "0.980", "0.500", "undefined"],
        ["Official folds", "not measured: no files", "", "", "", ""],
        ["By accession group", "DALAResNet50", "0.0 %", "0.750", "0.500", "undefined"],
    ]


def test_calibration_that_changes_nothing_says_so() -> None:
    record = {"chosen": "none", "candidates": {"bias": {"temperature": 1.5, "bias": -0.25}}}
    assert "none is used" in evidence.scaling_kept(record)
    assert evidence.scaling_kept(record | {"chosen": "bias"}) == "Kept: bias (temperature 1.500, bias -0.250)."


def test_of_each_class_the_sets_are_judged_by_what_they_say() -> None:
    def part(*values: float) -> dict[str, dict[str, float | None]]:
        return {
            name: interval(value) for name, value in zip(("by_picture", "benign", "malignant"), values, strict=True)
        }

    right = {"by_picture": interval(0.7), "when_benign": interval(0.8), "when_malignant": interval(0.9)}
    sets = {"0.05": {"coverage": part(0.1, 0.2, 0.3), "not_sure": part(0.4, 0.5, 0.6), "right_when_sure": right}}
    assert [[plain(text) for text in row.values()] for row in evidence.sets_table(sets)] == [
        ["95 %", "All images", "10.0 %", "40.0 %", "70.0 %"],
        ["", "Benign patients", "20.0 %", "50.0 %", "said benign: 80.0 %"],
        ["", "Malignant patients", "30.0 %", "60.0 %", "said malignant: 90.0 %"],
    ]


def test_pipeline_checks_are_apart_from_what_may_be_compared() -> None:
    record = {"networks": {"a": {"budget": "full"}, "b": {"budget": "pipeline check, no comparison"}}}
    assert list(evidence.full_networks(record)) == ["a"]
    assert list(evidence.checked_networks(record)) == ["b"]


def test_mammograms_by_scanner_and_naive_splits() -> None:
    auc = {"auc": interval(0.75, 0.5, 1.0)}
    record = {
        "scores": {"dala_resnet50": auc, "new_one": auc},
        "scores_by_letter": {"B": {"dala_resnet50": {"auc": interval(0.5)}, "new_one": auc}},
        "scores_by_case": {"dala_resnet50": auc, "new_one": {"auc": interval(None)}},
        "naive_three_classes": {
            "table": [
                {"input": "breast", "letters": "B", "split": "by case", "pictures": 1200, "largest_class": 0.5,
                 "accuracy": 0.625, "auc": 0.7},
            ]
        },
    }  # fmt: skip
    rows = evidence.letters_table(record)
    assert list(rows[0]) == ["AUC of", "All", "Scanner B", "By case"]
    assert [plain(text) for text in rows[0].values()] == [
        "DALAResNet50, breast alone", "0.750 (0.500 to 1.000)", "0.500", "0.750 (0.500 to 1.000)",
    ]  # fmt: skip
    assert (rows[1]["AUC of"], rows[1]["By case"]) == ("new one", "undefined")
    (naive,) = evidence.naive_table(record)
    assert [plain(text) for text in naive.values()] == ["breast", "B", "by case", "62.5 %", "50.0 %", "0.700", "1,200"]


def test_changes_are_drawn_the_costliest_first() -> None:
    def level(at: float, auc: float) -> dict[str, Any]:
        return {
            "level": at, "auc": interval(auc, auc - 0.1, auc + 0.1), "balanced_accuracy": interval(0.5),
            "shift": interval(-0.25, -0.5, 0.0), "colour_only": {"auc": interval(auc / 2, 0.1, 0.9)},
        }  # fmt: skip

    record = {
        "models": ["dala_resnet50", "colour_only"],
        "changes": {
            "JPEG": {"unit": "quality", "about": "saved", "levels": [level(30, 0.8), level(95, 0.85)]},
            "blur": {"unit": "px", "about": "Gaussian", "levels": [level(0.5, 0.875), level(2, 0.5)]},
        },
    }
    record["unchanged"] = {"dala_resnet50": {"auc": interval(0.855, 0.8, 0.9)}}
    assert plain(evidence.robustness_sentence(record)) == (
        "Of 2 kinds of change of the image, **blur** costs most: at 2 px the AUC is **0.500 (0.400 to 0.600)** "
        "instead of 0.855 (0.800 to 0.900)."
    )
    record["changes"]["turned"] = {"unit": "degrees", "about": "", "levels": [level(90, 0.85)]}
    assert evidence.robustness_sentence(record).endswith("Hardly any at the strengths tried: turned.")
    del record["changes"]["turned"]
    lines = evidence.robustness_lines(record)
    assert [(line.name, line.x, line.y) for line in lines] == [
        ("blur", (0.5, 2), (0.875, 0.5)),
        ("JPEG", (30, 95), (0.8, 0.85)),
    ]
    assert lines[0].low == pytest.approx((0.775, 0.4))
    assert evidence.robustness_words(record, "blur") == ("px", "Gaussian")
    (beside,) = evidence.robustness_beside(record, "JPEG")
    assert (beside.name, beside.x, beside.y, beside.low) == ("Colour alone", (30, 95), (0.4, 0.425), None)
    assert [plain(text) for text in evidence.robustness_table(record)[2].values()] == [
        "blur", "0.5 px", "0.875 (0.775 to 0.975)", "0.500", "-0.250 (-0.500 to 0.000)", "0.438 (0.100 to 0.900)",
    ]  # fmt: skip


def test_the_published_images_are_counted() -> None:
    row = {
        "magnification": 40, "pictures": 5, "groups": 3, "benign": 2,
        "dala_resnet50": {"right": 4, "auc": 0.75}, "colour_only": {"right": 2, "auc": None},
    }  # fmt: skip
    (found,) = evidence.originals_table({"models": ["dala_resnet50", "colour_only"], "originals": [row]})
    assert found == {
        "Magnification": "40X",
        "Images, patients": "5 of 3, 2 benign",
        "DALAResNet50, right": "4 of 5, AUC 0.750",
        "Colour alone, right": "2 of 5",
    }


def test_the_gate_in_words() -> None:
    share_ = interval(0.25, 0.1, 0.5)
    kind = {
        "name": "pen_and_ink", "about": "drawn", "expected": "refuse", "refused": 1, "pictures": 4, "share": share_,
        "auc": 0.75, "by_check": {"ink": 1}, "by_distance_alone": 3, "roc": [[0.0, 0.0], [0.0, 0.5], [1.0, 1.0]],
    }  # fmt: skip
    easy = kind | {"name": "glass", "auc": 1.0, "by_distance_alone": 4}
    passed = kind | {"name": "turned", "expected": "accept", "by_check": {}}
    true = {"refused": 2, "pictures": 40, "share": interval(0.05, 0.01, 0.1)}
    record = {
        "true_patches": true, "kinds": [easy, kind, passed],
        "families": {"no histology (refuse)": {"refused": 9, "pictures": 10, "share": interval(0.9, 0.7, 1.0),
                                              "kinds": ["glass", "pen_and_ink"]}},
    }  # fmt: skip
    assert plain(evidence.gate_sentence(record)) == (
        "Of true patches of patients held out it refuses 2 of 40, 5.0 % (1.0 to 10.0); of images that are no "
        "histology 9 of 10, 90.0 % (70.0 to 100.0) (the distance without the checks: 7). The checks were chosen with "
        "these images in view."
    )
    assert [line.name for line in evidence.gate_lines(record)] == ["pen_and_ink", "glass"]
    assert evidence.gate_lines(record)[0].y == (0.0, 0.5, 1.0)
    (row,) = evidence.gate_table(record, "accept")
    assert row["By which check"] == "none"
    assert [plain(text) for text in evidence.gate_table(record, "refuse")[1].values()] == [
        r"pen\_and\_ink: drawn", "1 of 4", "25.0 % (10.0 to 50.0)", "0.750", "ink 1", "3 of 4",
    ]  # fmt: skip
    assert evidence.gate_families(record)[0] == Point("true patches (accept)", 0.05, 0.01, 0.1)
