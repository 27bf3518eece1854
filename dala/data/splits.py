"""Splits and weights that respect the patient: no accession group stands on both sides, none dominates by its size."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from dala.errors import DataError
from dala.words import counted

ATTEMPTS = 100

Fold = tuple[NDArray[np.intp], NDArray[np.intp]]


def grouped_folds(labels: ArrayLike, groups: ArrayLike, folds: int = 5, seed: int = 0) -> list[Fold]:
    """Cross-validation by patient group: (training indices, test indices) per fold, a group in exactly one test fold.

    Every test fold holds every class. The split is scikit-learn's StratifiedGroupKFold(shuffle=True,
    random_state=seed), which also makes the shares of the classes about equal. That algorithm is greedy and promises no
    class in a fold; where it leaves one without, a fold is first given a group of each class, the rarest first, and
    then the rest by size. For two classes that always succeeds. The same seed always gives the same folds.

    The greedy algorithm deals out the large groups first, so seeds differ less than one may think: with few groups in
    a class, its groups meet in the same folds under every seed.

    labels: (N,) class indices; groups: (N,) patient groups. Raises DataError if a class has fewer groups than folds, or
    if no fold-by-fold dealing succeeds (possible only for three or more classes, in groups that hold several of them).
    """
    y, g = _aligned(labels, groups)
    _check_folds(folds)
    classes = np.unique(y)
    for name in classes:
        available = np.unique(g[y == name]).size
        if available < folds:
            advice = f"use at most {available} folds" if available > 1 else "more patients are needed"
            raise DataError(
                f"Class {name} has {counted(available, 'patient group')}, "
                f"so {folds} folds by patient cannot each test it; {advice}."
            )
    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    split: list[Fold] = list(splitter.split(np.zeros(len(y)), y, g))
    attempt = 0
    while not all(np.isin(classes, y[test]).all() for _, test in split):
        if attempt == ATTEMPTS:
            raise DataError(
                f"No division of the {np.unique(g).size} patient groups into {folds} folds was found in which every "
                f"fold holds every class; use fewer folds."
            )
        split = _dealt_by_class(y, g, folds, np.random.default_rng([seed, attempt]))
        attempt += 1
    return split


def can_be_tested(labels: ArrayLike, groups: ArrayLike) -> NDArray[np.bool_]:
    """Which images, (N,), can be tested by models that know every class: those of groups that no class depends on."""
    y, g = _aligned(labels, groups)
    alone = [names[0] for names in (np.unique(g[y == name]) for name in np.unique(y)) if names.size == 1]
    tested: NDArray[np.bool_] = ~np.isin(g, alone)
    return tested


def sparse_folds(labels: ArrayLike, groups: ArrayLike, folds: int = 5, seed: int = 0) -> list[Fold]:
    """Like `grouped_folds`, for classes with fewer groups than folds: every fold's training set holds every class.

    A group that alone holds a class is in every training set and in no test set (see `can_be_tested`); all other groups
    are in exactly one. A class stands in as many test sets as it can, at most one a group. Raises DataError if fewer
    groups than folds can be tested, or if no dealing succeeds.
    """
    y, g = _aligned(labels, groups)
    _check_folds(folds)
    where = np.flatnonzero(can_be_tested(y, g))
    available = np.unique(g[where]).size
    if available < folds:
        raise DataError(
            f"{counted(available, 'patient group')} can be tested by models that know every class, too few for "
            f"{folds} folds; use fewer folds or more patients."
        )
    for attempt in range(ATTEMPTS):
        dealt = _dealt_by_class(y[where], g[where], folds, np.random.default_rng([seed, attempt]))
        split = [(np.flatnonzero(~np.isin(g, g[where[test]])), where[test]) for _, test in dealt]
        if all(test.size and np.isin(y, y[training]).all() for training, test in split):
            return split
    raise DataError(f"No division into {folds} folds was found in which every training set holds every class.")


def image_folds(labels: ArrayLike, folds: int = 5, seed: int = 0) -> list[Fold]:
    """Cross-validation by image, blind to the patient: only for comparison with literature that split so.

    Images of one patient stand on both sides, so scores on these folds are too high. Returns (training indices, test
    indices) per fold. Raises DataError if a class has fewer images than folds.
    """
    y = np.asarray(labels)
    _check_folds(folds)
    classes, counts = np.unique(y, return_counts=True)
    for name, count in zip(classes, counts, strict=True):
        if count < folds:
            raise DataError(f"Class {name} has {counted(count, 'image')}, too few for {folds} folds.")
    splitter = StratifiedKFold(n_splits=folds, shuffle=True, random_state=seed)
    return list(splitter.split(np.zeros(len(y)), y))


def _aligned(labels: ArrayLike, groups: ArrayLike) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    y, g = np.asarray(labels), np.asarray(groups)
    if y.ndim != 1 or y.shape != g.shape or y.size == 0:
        raise DataError(
            f"Every image needs one label and one patient group; there are labels of shape {y.shape} and groups of "
            f"shape {g.shape}."
        )
    return y, g


def _check_folds(folds: int) -> None:
    if folds < 2:
        raise DataError(f"Cross-validation needs at least 2 folds, not {folds}.")


def _dealt_by_class(
    y: NDArray[np.generic], g: NDArray[np.generic], folds: int, random: np.random.Generator
) -> list[Fold]:
    """One group of each class to every fold, rarest class first, then the rest, largest first, to the smallest fold.

    Two classes: a fold that gets a pure group of the rarer class needs one of the other, which has at least as many.
    """
    names, group_of = np.unique(g, return_inverse=True)
    classes, class_of = np.unique(y, return_inverse=True)
    images = np.zeros((names.size, classes.size), dtype=np.int64)
    np.add.at(images, (group_of, class_of), 1)
    order = random.permutation(names.size)
    fold_of = np.full(names.size, -1)
    held = np.zeros((folds, classes.size), dtype=np.int64)

    def deal(group: int, fold: int) -> None:
        fold_of[group] = fold
        held[fold] += images[group]

    for name in np.argsort((images > 0).sum(axis=0), kind="stable"):
        for group in order:
            lacking = np.flatnonzero(held[:, name] == 0)
            if lacking.size and fold_of[group] < 0 and images[group, name]:
                deal(int(group), int(lacking[0]))
    for group in sorted(order, key=lambda group: -int(images[group].sum())):
        if fold_of[group] < 0:
            deal(int(group), int(held.sum(axis=1).argmin()))
    tested_in = fold_of[group_of]
    return [(np.flatnonzero(tested_in != fold), np.flatnonzero(tested_in == fold)) for fold in range(folds)]
