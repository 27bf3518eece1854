"""The same models under four ways of splitting the images: what the leak between patients is worth.

By image, by the official folds and by slide, images of one patient stand on both sides; by accession group they do
not. `python -m dala protocols breakhis --data ROOT [--folds-file DIR]`
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from dala.data import breakhis
from dala.data.pixels import load_pixels
from dala.data.splits import Fold, grouped_folds, image_folds
from dala.errors import DataError
from dala.nets.imagenet import Backbone
from dala.runtime.calibration import softmax
from dala.runtime.colour_only import colour_statistics
from dala.stats.metrics import binary_scores, with_intervals
from dala.training.evaluate import frozen_features, linear_probe, write_json
from dala.training.features import apply_to_view, trunk_features
from dala.training.fine_tune import fit
from dala.training.recipe import SIZE, Recipe

FOLD_FILES = tuple(f"dsfold{number}.txt" for number in range(1, 6))
PROTOCOLS = {
    "by_image": "images dealt out one by one, blind to the patient: for comparison with literature that split so",
    "official_folds": "the data set's own five divisions into training and test",
    "by_slide": "whole slides (the folders of the tree), blind to slides that share an accession number",
    "by_group": "whole accession groups: the patients of the test are new",
}

Answers = NDArray[np.float64]


def official_folds(folder: Path, dataset: breakhis.Dataset) -> list[Fold]:
    """(training indices, test indices) of the official divisions, for the images that this tree holds.

    `folder` holds dsfold1.txt to dsfold5.txt with lines `FILE|MAGNIFICATION|FOLD|train` or `...|test`, as mkfold.py of
    the data set reads them. Raises DataError for a missing file, a line of another form, or an image of the tree that
    a file does not name.
    """
    place = {record.name: index for index, record in enumerate(dataset.records)}
    divisions = []
    for name in FOLD_FILES:
        path = folder / name
        if not path.is_file():
            raise DataError(f"{name} is missing in {folder}; the official folds are {', '.join(FOLD_FILES)}.")
        sides: dict[int, str] = {}
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
            if not line.strip():
                continue
            parts = [part.strip() for part in line.split("|")]
            if len(parts) != 4 or parts[3] not in ("train", "test"):
                raise DataError(f"Line {number} of {name} is not FILE|MAGNIFICATION|FOLD|train or test.")
            if parts[0] in place:
                sides[place[parts[0]]] = parts[3]
        if len(sides) < len(place):
            lost = next(name_ for name_, index in place.items() if index not in sides)
            raise DataError(f"{name} does not say on which side {lost} stands.")
        side = np.array([sides[index] for index in range(len(place))])
        divisions.append((np.flatnonzero(side == "train"), np.flatnonzero(side == "test")))
    return divisions


def leakage(folds: list[Fold], groups: NDArray[np.str_]) -> dict[str, Any]:
    """Accession groups on both sides of each fold, and the share of test images whose group was trained on."""
    split, known, tested = [], 0, 0
    for training, test in folds:
        shared = np.isin(groups[test], np.unique(groups[training]))
        split.append(len(np.unique(groups[test][shared])))
        known, tested = known + int(shared.sum()), tested + len(test)
    return {"groups_on_both_sides": split, "share_of_test_pictures": round(known / tested, 4)}


def compare_protocols(
    dataset: breakhis.Dataset,
    backbone: Backbone,
    recipe: Recipe,
    folder: Path,
    path: Path,
    predictions: Path,
    folds_folder: Path | None,
    count: int = 5,
) -> dict[str, Any]:
    """Score every model under every protocol and write the table into `path` as columns get done.

    `predictions`: the held-out predictions of `crossvalidate`, which are the column by accession group; raises
    DataError if they are of another recipe or of other images. `count` folds are made where they are not given.
    """
    labels, groups = dataset.labels, dataset.groups
    slides = np.array([record.slide for record in dataset.records])
    kept = by_group_predictions(predictions, recipe, dataset)
    pixels = load_pixels(dataset.records, SIZE)
    features = trunk_features(pixels, backbone, recipe, folder)
    frozen, statistics = frozen_features(features, backbone), colour_statistics(pixels)

    def network(how: Recipe, name: str) -> Callable[[int, Fold], Answers]:
        views = replace(features, training=how.training_views)

        def answer(number: int, fold: Fold) -> Answers:
            done = folder / f"protocols-{how.fingerprint}-{name}-{number}.npy"
            if not done.is_file():
                run = folder / f"protocols-{how.fingerprint}-{name}-{number}"
                net = fit(views, labels, groups, fold[0], backbone, how, number, run)
                np.save(
                    done, softmax(apply_to_view(nn.Sequential(net.layer4, net.head), views, "plain", fold[1]))[:, 1]
                )
            found: Answers = np.load(done)
            return found

        return answer

    record: dict[str, Any] = {
        "protocol": "one model a fold, scored on the fold's test images; threshold 0.5; 95 % intervals: bootstrap "
        "over accession groups in every column, so that they can be compared (too narrow where groups leak)",
        "command": "python -m dala protocols breakhis --data ROOT",
        "recipe": recipe.record,
        "memorising_recipe": recipe.memorising.record,
        "imagenet": backbone.source,
        "data": {"pictures": len(labels), "groups": len(set(groups)), "slides": len(set(slides))},
        "explained": PROTOCOLS,
        "columns": {},
    }
    for name in PROTOCOLS:
        if name == "official_folds" and folds_folder is None:
            record["columns"][name] = {"not_measured": "needs the data set's dsfold1.txt to dsfold5.txt (--folds-file)"}
            continue
        if name == "by_group":
            folds = grouped_folds(labels, groups, count, seed=0)
            scores: dict[str, Any] = {model: with_intervals(labels, p, groups) for model, p in kept.items()}
        else:
            folds = {
                "by_image": lambda: image_folds(labels, count, seed=0),
                "by_slide": lambda: grouped_folds(labels, slides, count, seed=0),
                "official_folds": lambda: official_folds(folds_folder, dataset) if folds_folder else [],
            }[name]()
            models: dict[str, Callable[[int, Fold], Answers]] = {
                "dala_resnet50": network(recipe, name),
                "linear_probe": lambda _, fold: linear_probe(frozen, labels, groups, *fold),
                "colour_only": lambda _, fold: linear_probe(statistics, labels, groups, *fold),
            }
            if name == "by_image":
                models["dala_resnet50_memorising"] = network(recipe.memorising, name)
            scores = {
                model: score(labels, groups, folds, [answer(number, fold) for number, fold in enumerate(folds)])
                for model, answer in models.items()
            }
        record["columns"][name] = {"folds": len(folds), "leakage": leakage(folds, groups), "scores": scores}
        write_json(path, record)
    write_json(path, record)
    return record


def score(labels: NDArray[np.int64], groups: NDArray[np.str_], folds: list[Fold], answers: list[Answers]) -> Any:
    """Pooled scores with intervals if every image is tested once; else the mean of the folds' scores, no interval."""
    tested = np.concatenate([test for _, test in folds])
    if len(tested) == len(labels) == len(set(tested.tolist())):
        pooled = np.zeros(len(labels))
        for (_, test), answer in zip(folds, answers, strict=True):
            pooled[test] = answer
        return with_intervals(labels, pooled, groups)
    rows = [binary_scores(labels[test], answer) for (_, test), answer in zip(folds, answers, strict=True)]

    def mean(metric: str) -> float | None:
        values = [row[metric] for row in rows]
        return None if any(value is None for value in values) else float(np.mean([v for v in values if v is not None]))

    return {metric: {"value": mean(metric), "low": None, "high": None} for metric in rows[0]}


def by_group_predictions(path: Path, recipe: Recipe, dataset: breakhis.Dataset) -> dict[str, Answers]:
    """Held-out predictions (repeats, N) of the three models, from the file that `crossvalidate` wrote."""
    if not path.is_file():
        raise DataError(f"{path.name} is missing; `python -m dala crossvalidate breakhis` writes it.")
    record = json.loads(path.read_text(encoding="utf-8"))
    if record["recipe"] != recipe.record:
        raise DataError(f"{path.name} is of another recipe; run `python -m dala crossvalidate breakhis` again.")
    if record["files"] != [one.name for one in dataset.records]:
        raise DataError(f"{path.name} is about other images than this tree holds.")
    return {name: np.array(record["probabilities"][name]) for name in ("dala_resnet50", "linear_probe", "colour_only")}
