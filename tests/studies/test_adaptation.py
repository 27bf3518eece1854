"""The curve of labelled images: who is drawn, who is left, and what several draws come to."""

from __future__ import annotations

import numpy as np
import pytest

from dala.studies.adaptation import answers_of, lines, point_of, rows, section, spread, summary
from dala.studies.adaptation_fit import draw, some, without
from dala.studies.registry import STUDIES
from dala.training.site.images import SiteImages


def site(benign: list[str], malignant: list[str]) -> SiteImages:
    """An image a name of a patient."""
    groups = np.array(benign + malignant)
    labels = np.array([0] * len(benign) + [1] * len(malignant))
    return SiteImages(tuple(np.zeros((1, 4), np.float32) for _ in groups), labels, groups, (0.5, 0.5), "table")


@pytest.mark.parametrize("number", range(5))
def test_no_patient_is_drawn_and_tested(number: int) -> None:
    images = site([f"b{k // 3}" for k in range(12)], [f"m{k // 3}" for k in range(12)])
    found = draw(images, 4, number, 0.5)
    assert found is not None
    chosen, left = found
    assert [int((images.labels[chosen] == label).sum()) for label in (0, 1)] == [4, 4]
    drawn, tested = set(images.groups[chosen]), set(images.groups[left])
    # Half of four patients a class are drawn from, evenly; all images of the other half are tested.
    assert not drawn & tested and len(drawn) == len(tested) == 4 and len(left) == 12
    assert sorted(np.unique(images.groups[chosen], return_counts=True)[1]) == [2, 2, 2, 2]


def test_one_patient_of_a_class_is_left_or_nothing_is_drawn() -> None:
    images = site([f"b{k}" for k in range(9)], [f"m{k}" for k in range(15)])
    found = draw(images, 8, 0, 1.0)
    assert found is not None
    assert sorted(images.labels[found[1]]) == [0] + [1] * 7
    assert draw(images, 9, 0, 1.0) is None


def drawn(before: float, after: float, answered: int, wrong: int) -> dict:
    one = {"auc": 0.9, "images": 10, "answered": answered, "wrong": wrong}
    return {
        "before": {**one, "balanced_accuracy": before},
        "after": {**one, "balanced_accuracy": after},
        "patients": 5,
    }


def test_draws_are_averaged_and_answers_pooled() -> None:
    """Answered 4 + 6 of 20; wrong 1 + 0 of 10; in the draws 1 / 4 and 0 / 6."""
    point = point_of(8, [drawn(0.5, 0.75, 4, 1), drawn(0.75, 0.875, 6, 0)])
    assert point.gain == {"value": 0.1875, "low": 0.125, "high": 0.25}
    assert point.after.balanced_accuracy == {"value": 0.8125, "low": 0.75, "high": 0.875}
    assert point.after.answered == {"value": 0.5, "low": 0.4, "high": 0.6}
    assert point.after.wrong == {"value": 0.1, "low": 0.0, "high": 0.25}
    assert (point.draws, point.images, point.patients) == (2, 10.0, 5.0)


def test_without_answers_none_is_wrong_or_right() -> None:
    assert answers_of([drawn(0.5, 0.5, 0, 0)["after"]]).wrong == {"value": None, "low": None, "high": None}
    assert spread([]) == {"value": None, "low": None, "high": None}


def test_the_shipped_figures_are_shown_as_they_are() -> None:
    (study,) = [one for one in STUDIES if one.key == "adaptation"]
    source = study.read()
    assert source is not None and not source.earlier
    record = source.record
    for line, curve in zip(lines(record), record.laboratories.values(), strict=True):
        assert line.x == (0.0, *(point.per_class for point in curve.points))
        assert line.y[1:] == tuple(point.after.balanced_accuracy["value"] for point in curve.points)
        assert len(rows(curve)) == len(curve.points) and curve.benign + curve.malignant == curve.images
        assert {point.draws for point in curve.points} == {10}
    assert "UCSB +0." in summary(record) and len(section(record)) > 4


@pytest.mark.slow
def test_a_laboratory_left_out_is_unknown_to_the_model() -> None:
    from dala import load_model
    from dala.runtime.card import read_card
    from dala.training.laboratories.release import load_samples

    model = load_model("breast", engine="torch")
    samples = load_samples(read_card("breast")[1])
    rest = some(samples, samples.laboratories != "UCSB")
    assert len(rest.labels) == len(samples.labels) - 24
    other = without(model, rest, "UCSB")
    assert model.familiarity is not None and other.familiarity is not None
    known = other.familiarity.laboratories
    assert known is not None and known.names == ("BRCA-M2C", "BreakHis")
    assert known.gaussian.mean.shape == (2, 1024) and known.limits.shape == (2,)
    assert "UCSB" not in other.card.fields["laboratories"]
    assert "UCSB" not in other.card.fields["calibration"]["laboratories"]
    assert other.net.trunk is model.net.trunk
