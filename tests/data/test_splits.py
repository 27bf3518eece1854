"""Folds and weights: no patient on both sides, every fold with both classes, weights worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from dala.data import breakhis
from dala.data.splits import can_be_tested, grouped_folds, image_folds, sparse_folds
from dala.errors import DataError
from tests.helpers.cohorts import patients


def unequal_cohort() -> tuple[np.ndarray, np.ndarray]:
    """8 benign and 29 malignant patients of very different sizes."""
    sizes = np.random.default_rng(3).integers(1, 40, 37)
    return patients(*[(int(n), 0) for n in sizes[:8]], *[(0, int(n)) for n in sizes[8:]])


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_every_group_is_tested_once_and_never_trained_on_then(seed: int) -> None:
    labels, groups = unequal_cohort()
    folds = grouped_folds(labels, groups, folds=5, seed=seed)
    assert len(folds) == 5
    np.testing.assert_array_equal(np.sort(np.concatenate([test for _, test in folds])), np.arange(labels.size))
    for train, test in folds:
        assert not set(groups[train]) & set(groups[test])
        assert train.size + test.size == labels.size
        assert set(labels[test]) == {0, 1}


def test_the_usual_case_is_plain_scikit_learn() -> None:
    labels, groups = unequal_cohort()
    plain = StratifiedGroupKFold(5, shuffle=True, random_state=7).split(labels, labels, groups)
    for (_, ours), (_, theirs) in zip(grouped_folds(labels, groups, 5, seed=7), plain, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_fold_without_a_class_is_repaired_the_same_way_every_time() -> None:
    # One patient with both classes and one of each: the only division is {both} against {benign, malignant}.
    # scikit-learn never finds it, whatever the seed.
    labels, groups = patients((0, 1), (1, 0), (3, 3))
    for seed in range(5):
        plain = StratifiedGroupKFold(2, shuffle=True, random_state=seed).split(labels, labels, groups)
        assert any(len(set(labels[test])) == 1 for _, test in plain)
        sides = {frozenset(groups[test]) for _, test in grouped_folds(labels, groups, 2, seed)}
        assert sides == {frozenset({"patient 2"}), frozenset({"patient 0", "patient 1"})}


def test_a_repair_deals_the_rest_by_size() -> None:
    # The patients with benign images, of 3 and of 4 images, go one to each fold; then the patient with 3 joins the
    # fold of 3 and the one with 1 the fold of 4.
    labels, groups = patients((0, 1), (0, 3), (1, 2), (3, 1))
    plain = StratifiedGroupKFold(2, shuffle=True, random_state=0).split(labels, labels, groups)
    assert any(len(set(labels[test])) == 1 for _, test in plain)
    sides = {frozenset(groups[test]) for _, test in grouped_folds(labels, groups, 2, seed=0)}
    assert sides == {frozenset({"patient 1", "patient 2"}), frozenset({"patient 0", "patient 3"})}


@pytest.mark.slow
def test_repair_succeeds_for_two_classes_whenever_each_has_a_group_per_fold() -> None:
    random = np.random.default_rng(5)
    tried = 0
    while tried < 150:
        labels, groups = patients(
            *[(int(a), int(b)) for a, b in random.integers(0, 4, (random.integers(3, 9), 2)) if a + b]
        )
        holding = [len(set(groups[labels == label])) for label in (0, 1)]
        if min(holding) < 2:
            continue
        tried += 1
        for _, test in grouped_folds(labels, groups, folds=min(holding), seed=tried):
            assert set(labels[test]) == {0, 1}


def test_same_seed_same_folds_other_seed_other_folds() -> None:
    labels, groups = patients(*[(4, 0)] * 10, *[(0, 4)] * 10)
    first, again, other = (grouped_folds(labels, groups, 5, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for (_, a), (_, b) in zip(first, other, strict=True))


def test_too_few_patients_of_a_class() -> None:
    labels, groups = patients((9, 0), (9, 0), (9, 0), *[(0, 3)] * 9)
    with pytest.raises(DataError, match=r"Class 0 has 3 patient groups.*use at most 3 folds\."):
        grouped_folds(labels, groups, folds=5)
    with pytest.raises(DataError, match=r"Class 1 has 1 patient group, .*more patients are needed\."):
        grouped_folds(*patients((1, 0), (1, 0), (0, 5)), folds=2)


def test_impossible_divisions_end_in_a_sentence() -> None:
    # Three patients with two of three classes each: two folds cannot both hold all three.
    labels = np.array([0, 1, 1, 2, 0, 2])
    groups = np.array(["a", "a", "b", "b", "c", "c"])
    with pytest.raises(DataError, match="3 patient groups into 2 folds"):
        grouped_folds(labels, groups, folds=2)


@pytest.mark.parametrize(("labels", "groups"), [([0, 1], ["a"]), ([], []), ([[0, 1]], [["a", "b"]])])
def test_labels_and_groups_must_match(labels: list, groups: list) -> None:
    with pytest.raises(DataError, match="one label and one patient group"):
        grouped_folds(labels, groups)


def test_one_fold_is_no_cross_validation() -> None:
    for split in (lambda: grouped_folds([0, 1], ["a", "b"], folds=1), lambda: image_folds([0, 1], folds=1)):
        with pytest.raises(DataError, match="at least 2 folds"):
            split()


def test_image_folds_keep_the_share_of_the_classes() -> None:
    labels = np.array([0] * 20 + [1] * 60)
    folds = image_folds(labels, folds=4, seed=0)
    np.testing.assert_array_equal(np.sort(np.concatenate([test for _, test in folds])), np.arange(80))
    assert [(int((labels[test] == 0).sum()), int(labels[test].sum())) for _, test in folds] == [(5, 15)] * 4
    with pytest.raises(DataError, match="Class 0 has 20 images, too few for 21 folds"):
        image_folds(labels, folds=21)


def test_folds_of_the_real_images(shared_data: Path) -> None:
    data = breakhis.load(shared_data / "breakhis_200x_224")
    for seed in range(3):
        for train, test in grouped_folds(data.labels, data.groups, folds=5, seed=seed):
            assert not set(data.groups[train]) & set(data.groups[test])
            assert set(data.labels[test]) == {0, 1}
            # Eight benign groups over five folds.
            assert len(set(data.groups[test][data.labels[test] == 0])) in (1, 2)


def test_classes_of_few_groups_are_spread_and_never_lost_in_training() -> None:
    # Class 0 has one group, class 1 two, class 2 seven; one group holds classes 1 and 2.
    labels = np.array([0, 0, 1, 1, 2, 2, 2, 2, 2, 2, 2, 1])
    groups = np.array(["a", "a", "b", "b", "c", "d", "e", "f", "g", "h", "i", "i"])
    assert can_be_tested(labels, groups).tolist() == [False] * 2 + [True] * 10
    for seed in range(5):
        folds = sparse_folds(labels, groups, 4, seed)
        tested = np.concatenate([test for _, test in folds])
        assert sorted(tested) == list(range(2, 12))  # all but the only group of class 0, once each
        for training, test in folds:
            assert not set(groups[training]) & set(groups[test])
            assert set(labels[training]) == {0, 1, 2}
            assert test.size
        assert sum(1 in labels[test] for _, test in folds) == 2
        again = sparse_folds(labels, groups, 4, seed)
        assert [test.tolist() for _, test in again] == [test.tolist() for _, test in folds]
    with pytest.raises(DataError, match="8 patient groups can be tested"):
        sparse_folds(labels, groups, 9)


def test_a_group_that_alone_holds_a_class_takes_its_other_classes_out_of_the_test_too() -> None:
    labels, groups = np.array([0, 1, 1, 1]), np.array(["a", "a", "b", "c"])
    assert can_be_tested(labels, groups).tolist() == [False, False, True, True]
    for training, test in sparse_folds(labels, groups, 2):
        assert set(groups[test]) < {"b", "c"}
        assert "a" in groups[training]
