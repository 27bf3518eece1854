"""Sentences and tables of the evidence page that depend on a result: each from a record worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from dala.stats.bootstrap import Interval
from dala.studies import ablation, benchmark, calibration, gate, mini_ddsm, protocols, robustness
from dala.studies.blocks import Box, Chart, Choice, Point
from tests.helpers.records import cells, interval, partly, plain

# The parts of the network


def compared(correct: tuple[float, float], brier: tuple[float, float]) -> ablation.Ablation:
    one, other = (ablation.Test(difference=difference, p=p, p_holm=p) for difference, p in (correct, brier))
    trained = {name: ablation.Trained(title=name.upper(), minutes=1.0, scores={}) for name in ("a", "b")}
    row = ablation.Comparison(
        variant="b", against="a", tests=ablation.Tests(correct=one, brier=other), metrics={"auc": interval(0.1, 0, 0.2)}
    )
    return partly(ablation.Ablation, variants=trained, comparisons=(row,))


def test_the_parts_verdict_claims_only_what_the_tests_show() -> None:
    assert "smallest corrected p value is 0.200" in ablation.verdict(compared((0.1, 0.2), (-0.1, 0.3)))
    better = ablation.verdict(compared((0.1, 0.01), (-0.1, 0.02)))
    assert "B is better than A in images called right (p 0.010)" in better
    assert "B is better than A in squared error (p 0.020)" in better
    worse = ablation.verdict(compared((-0.1, 0.01), (0.1, 0.3)))
    assert "B is worse than A in images called right" in worse
    assert "squared error" not in worse
    assert "compared yet" in ablation.verdict(partly(ablation.Ablation, comparisons=()))
    (point,) = ablation.comparison_points(compared((0.1, 0.2), (-0.1, 0.3)))
    assert (plain(str(point.place)), point.value, point.low, point.high) == ("B - A", 0.1, 0, 0.2)


def test_pipeline_checks_are_apart_from_what_may_be_compared() -> None:
    cost = benchmark.Cost(side=224, parameters=1_000_000, gflops=1.0, milliseconds=2.0, device="CPU", threads=2)
    rows = {
        name: benchmark.Network(
            title=name, budget=budget, protocol=f"as {name}", command="", initialisation="random", side=224, cost=cost,
            minutes=1.0, scores=dict.fromkeys(benchmark.METRICS, interval(0.5, 0.25, 0.75)),
        )
        for name, budget in (("a", "full"), ("b", benchmark.CHECK))
    }  # fmt: skip
    *full, box = benchmark.section(partly(benchmark.Benchmark, networks=rows))
    (chart,) = [block for block in full if isinstance(block, Chart)]
    assert [point.place for point in chart.series["AUC"]] == ["a"]
    assert isinstance(box, Box)
    assert [block.markdown for block in box.blocks if hasattr(block, "markdown")][1] == "As b."
    # Neither is there without its rows.
    (only,) = benchmark.section(partly(benchmark.Benchmark, networks={"b": rows["b"]}))
    assert isinstance(only, Box)
    assert not any(
        isinstance(block, Box) for block in benchmark.section(partly(benchmark.Benchmark, networks={"a": rows["a"]}))
    )


# Patients and leaks


def test_the_leak_in_words() -> None:
    def scores(**accuracies: float) -> dict[str, dict[str, Interval]]:
        return {
            name: {"accuracy": interval(value), "balanced_accuracy": interval(0.5), "auc": interval(None)}
            for name, value in accuracies.items()
        }

    def split(known: float, **accuracies: float) -> protocols.Split:
        leakage = protocols.Leakage(groups_on_both_sides=(), share_of_test_images=known)
        return protocols.Split(folds=5, leakage=leakage, scores=scores(**accuracies))

    def record(**columns: Any) -> protocols.Protocols:
        missing = {"official_folds": protocols.NotMeasured(not_measured="no files")}
        return partly(protocols.Protocols, columns=columns | missing)

    leaky = {"dala_resnet50": 0.9, "linear_probe": 1.0}
    assert "not complete" in protocols.leak_sentence(record(by_image=split(0.995, **leaky)))
    told = record(by_image=split(0.995, **leaky), by_group=split(0.0, dala_resnet50=0.75))
    assert plain(protocols.leak_sentence(told)) == (
        "Split by image, DALAResNet50 would have claimed an accuracy of 90.0 %; on new patients it reaches 75.0 %."
    )
    leaky["dala_resnet50_memorising"] = 0.98
    told = record(by_image=split(0.995, **leaky), by_group=split(0.0, dala_resnet50=0.75))
    assert "of 90.0 %, and 98.0 % if trained to memorise; on new" in plain(protocols.leak_sentence(told))
    assert cells(protocols.table(told)) == [
        ["By image", "DALAResNet50", "99.5 %", "0.900", "0.500", "undefined"],
        ["By image", "Linear probe", "99.5 %", "1.000", "0.500", "undefined"],
        ["By image", "DALAResNet50, memorising", "99.5 %", "0.980", "0.500", "undefined"],
        ["Official folds", "not measured: no files", "", "", "", ""],
        ["By accession group", "DALAResNet50", "0.0 %", "0.750", "0.500", "undefined"],
    ]


# Not sure, or refused


def test_calibration_that_changes_nothing_says_so() -> None:
    fitted = {"bias": partly(calibration.Candidate, temperature=1.5, bias=-0.25)}
    assert "none is used" in calibration.scaling_kept(partly(calibration.Calibration, chosen="none", candidates=fitted))
    kept = partly(calibration.Calibration, chosen="bias", candidates=fitted)
    assert calibration.scaling_kept(kept) == "Kept: bias (temperature 1.500, bias -0.250)."


def test_of_each_class_the_sets_are_judged_by_what_they_say() -> None:
    def shares(*values: float) -> calibration.Shares:
        of = dict(zip(("by_image", "by_group", "benign", "malignant"), map(interval, values), strict=True))
        return calibration.Shares(**of)

    right = calibration.RightShares(
        by_image=interval(0.7), by_group=interval(0), when_benign=interval(0.8), when_malignant=interval(0.9)
    )
    sets = calibration.Sets(coverage=shares(0.1, 0, 0.2, 0.3), not_sure=shares(0.4, 0, 0.5, 0.6), right_when_sure=right)
    assert cells(calibration.sets_table({"0.05": sets})) == [
        ["95 %", "All images", "10.0 %", "40.0 %", "70.0 %"],
        ["", "Benign patients", "20.0 %", "50.0 %", "said benign: 80.0 %"],
        ["", "Malignant patients", "30.0 %", "60.0 %", "said malignant: 90.0 %"],
    ]


def test_the_gate_in_words() -> None:
    def kind(name: str, auc: float, alone: int, expected: str, **by_check: int) -> gate.Kind:
        return gate.Kind(
            name=name, about="drawn", family="", expected=expected, refused=1, images=4, sources=4,
            share=interval(0.25, 0.1, 0.5), auc=auc, by_check=by_check, by_distance_alone=alone,
            roc=((0.0, 0.0), (0.0, 0.5), (1.0, 1.0)),
        )  # fmt: skip

    true = gate.TruePatches(refused=2, images=40, sources=4, share=interval(0.05, 0.01, 0.1), by_check={}, by_group={})
    foreign = gate.Family(
        refused=9, images=10, sources=4, share=interval(0.9, 0.7, 1.0), kinds=("glass", "pen_and_ink")
    )
    kinds = (
        kind("glass", 1.0, 4, "refuse", ink=1),
        kind("pen_and_ink", 0.75, 3, "refuse", ink=1),
        kind("turned", 0.75, 3, "accept"),
    )
    record = partly(gate.GateRecord, true_patches=true, kinds=kinds, families={"no histology (refuse)": foreign})
    assert plain(gate.summary(record)) == (
        "Of true patches of patients held out it refuses 2 of 40, 5.0 % (1.0 to 10.0); of images that are no "
        "histology 9 of 10, 90.0 % (70.0 to 100.0) (the distance without the checks: 7). The checks were chosen with "
        "these images in view."
    )
    assert [line.name for line in gate.lines(record)] == ["pen_and_ink", "glass"]
    assert gate.lines(record)[0].y == (0.0, 0.5, 1.0)
    (row,) = gate.table(record, "accept")
    assert row["By which check"] == "none"
    assert cells(gate.table(record, "refuse"))[1] == [
        r"pen\_and\_ink: drawn", "1 of 4", "25.0 % (10.0 to 50.0)", "0.750", "ink 1", "3 of 4",
    ]  # fmt: skip
    assert gate.families(record)[0] == Point("true patches (accept)", 0.05, 0.01, 0.1)
    (choice,) = [block for block in gate.section(record) if isinstance(block, Choice)]
    chart = choice.body("glass")[0]
    assert isinstance(chart, Chart)
    assert [(line.name, line.faint) for line in chart.lines] == [("pen_and_ink", True), ("glass", False)]


# Changed images


def level(at: float, auc: float) -> robustness.Level:
    other = robustness.Scores(
        auc=interval(auc / 2, 0.1, 0.9), balanced_accuracy=interval(0.5), shift=interval(-0.25, -0.5, 0.0)
    )
    return robustness.Level(
        level=at, auc=interval(auc, auc - 0.1, auc + 0.1), balanced_accuracy=interval(0.5),
        shift=interval(-0.25, -0.5, 0.0), linear_probe=other, colour_only=other,
    )  # fmt: skip


def perturbed(**more: robustness.Perturbed) -> robustness.Robustness:
    changes = {
        "JPEG": robustness.Perturbed(unit="quality", about="saved", levels=(level(30, 0.8), level(95, 0.85))),
        "blur": robustness.Perturbed(unit="px", about="Gaussian", levels=(level(0.5, 0.875), level(2, 0.5))),
    }
    whole = partly(robustness.Scores, auc=interval(0.855, 0.8, 0.9))
    return partly(robustness.Robustness, changes=changes | more, unchanged={"dala_resnet50": whole}, originals=())


def test_changes_are_drawn_the_costliest_first() -> None:
    record = perturbed()
    assert plain(robustness.summary(record)) == (
        "Of 2 kinds of change of the image, **blur** costs most: at 2 px the AUC is **0.500 (0.400 to 0.600)** "
        "instead of 0.855 (0.800 to 0.900)."
    )
    turned = robustness.Perturbed(unit="degrees", about="", levels=(level(90, 0.85),))
    assert robustness.summary(perturbed(turned=turned)).endswith("Hardly any at the strengths tried: turned.")
    lines = robustness.lines(record)
    assert [(line.name, line.x, line.y) for line in lines] == [
        ("blur", (0.5, 2), (0.875, 0.5)),
        ("JPEG", (30, 95), (0.8, 0.85)),
    ]
    assert lines[0].low == pytest.approx((0.775, 0.4))
    _, beside = robustness.beside(record, "JPEG")
    assert (beside.name, beside.x, beside.y, beside.low) == ("Colour alone", (30, 95), (0.4, 0.425), None)
    assert cells(robustness.table(record))[2] == [
        "blur", "0.5 px", "0.875 (0.775 to 0.975)", "0.500", "-0.250 (-0.500 to 0.000)", "0.438 (0.100 to 0.900)",
        "0.438 (0.100 to 0.900)",
    ]  # fmt: skip
    choice = robustness.section(record)[0]
    assert isinstance(choice, Choice) and choice.options == ["blur", "JPEG"]
    words, chart = choice.body("blur")
    assert words.markdown == "Blur: Gaussian."  # type: ignore[union-attr]
    assert isinstance(chart, Chart)
    assert [line.name for line in chart.lines] == ["DALAResNet50", "Linear probe", "Colour alone"]


def test_the_published_images_are_counted() -> None:
    row = robustness.Originals(
        magnification=40, images=5, groups=3, benign=2, dala_resnet50=robustness.Right(right=4, auc=0.75),
        linear_probe=robustness.Right(right=3, auc=0.5), colour_only=robustness.Right(right=2, auc=None),
    )  # fmt: skip
    (found,) = robustness.originals_table(partly(robustness.Robustness, originals=(row,)))
    assert found == {
        "Magnification": "40X",
        "Images, patients": "5 of 3, 2 benign",
        "DALAResNet50, right": "4 of 5, AUC 0.750",
        "Linear probe, right": "3 of 5, AUC 0.500",
        "Colour alone, right": "2 of 5",
    }


# Mammograms


def test_mammograms_by_scanner_and_naive_splits() -> None:
    auc = {"auc": interval(0.75, 0.5, 1.0)}
    naive = mini_ddsm.NaiveRow(
        input="breast", letters="B", split="by case", images=1200, largest_class=0.5, accuracy=0.625,
        balanced_accuracy=0.5, auc=0.7,
    )  # fmt: skip
    record = partly(
        mini_ddsm.Mammograms,
        scores={"dala_resnet50": auc, "new_one": auc},
        scores_by_letter={"B": {"dala_resnet50": {"auc": interval(0.5)}, "new_one": auc}},
        scores_by_case={"dala_resnet50": auc, "new_one": {"auc": interval(None)}},
        naive_three_classes=mini_ddsm.Naive(table=(naive,), verdict=""),
    )
    rows = mini_ddsm.letters_table(record)
    assert list(rows[0]) == ["AUC of", "All", "Scanner B", "By case"]
    assert cells(rows)[0] == [
        "DALAResNet50, breast alone", "0.750 (0.500 to 1.000)", "0.500", "0.750 (0.500 to 1.000)",
    ]  # fmt: skip
    assert (rows[1]["AUC of"], rows[1]["By case"]) == ("new one", "undefined")
    assert cells(mini_ddsm.naive_table(record)) == [["breast", "B", "by case", "62.5 %", "50.0 %", "0.700", "1,200"]]
