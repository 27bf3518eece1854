"""What the film gives away: how far classifiers of Mini-DDSM come without a breast, and a naive split's empty claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dala.data.mini_ddsm import Dataset
from dala.data.splits import grouped_folds, image_folds
from dala.errors import DataError
from dala.runtime.calibration import softmax
from dala.stats.metrics import multiclass_scores
from dala.training.films import grey_levels, measured
from dala.training.task import Floats, fitted_probe

NETWORK, WHOLE_FILM, MASKED_OUT = "dala_resnet50", "whole_film_dala_resnet50", "masked_out_probe"


def site_effect(scores: Mapping[str, Any], by_letter: Mapping[str, Any]) -> str:
    """How much of what a classifier of whole films reaches needs no breast: a paragraph with the figures in it."""

    def auc(name: str) -> str:
        letters = ", ".join(f"{letter} {table[name]['auc']['value']:.2f}" for letter, table in by_letter.items())
        return f"{scores[name]['auc']['value']:.2f} ({letters})"

    return (
        f"With the breast masked out, a linear probe still reaches AUC {auc(MASKED_OUT)}, and nine percentiles of the "
        f"background's grey levels reach {auc('background_trees')}: benign and malignant cases were scanned in "
        f"different batches. On whole films the recipe reaches {auc(WHOLE_FILM)} and a linear probe "
        f"{auc('whole_film_probe')}; what these have above the breast's own {auc(NETWORK)} is the film and not the "
        "breast. The label is the case's, and about half of the images of a malignant case show the healthy other "
        "breast: a reader who finds every cancer and is blind to all else would reach about AUC 0.75 by image."
    )


def naive_table(everything: Dataset, pooled: Mapping[str, Floats], folds: int) -> list[dict[str, Any]]:
    """What a naive split into normal, benign and malignant would have claimed with a linear probe, and what is left.

    `pooled` holds features of every image by look. Rows from the claim to its undoing: what the model saw, which
    letters, how the split was made, and the scores.
    """
    x = {**pooled, "three grey levels": measured(everything.records, grey_levels)}
    all_letters = np.ones(len(everything.labels), dtype=bool)
    only_b = everything.laboratories == "B"
    rows = []
    for input_, letters, chosen, by_case in (
        ("whole film", "all", all_letters, False),
        ("masked out", "all", all_letters, False),
        ("three grey levels", "all", all_letters, False),
        ("whole film", "all", all_letters, True),
        ("masked out", "all", all_letters, True),
        ("breast", "all", all_letters, True),
        ("whole film", "B", only_b, True),
        ("masked out", "B", only_b, True),
        ("breast", "B", only_b, True),
    ):
        labels, groups = everything.labels[chosen], everything.groups[chosen]
        if len(set(labels)) < len(everything.classes):
            raise DataError(f"The letters {letters} do not hold normal, benign and malignant cases.")
        divided = grouped_folds(labels, groups, folds) if by_case else image_folds(labels, folds)
        p = np.zeros((len(labels), len(everything.classes)))
        for training, test in divided:
            # The naive split knows no cases, so it does not balance by them either.
            units = groups if by_case else np.arange(len(labels)).astype(np.str_)
            weights, biases = fitted_probe(x[input_][chosen], labels, units, training)
            p[test] = softmax(x[input_][chosen][test] @ weights.T + biases)
        scores = multiclass_scores(labels, p)
        rows.append(
            {
                "input": input_,
                "letters": letters,
                "split": "by case" if by_case else "by image",
                "pictures": len(labels),
                "largest_class": float(np.bincount(labels).max() / len(labels)),
                **{name: scores[name] for name in ("accuracy", "balanced_accuracy", "auc")},
            }
        )
    return rows


def naive_verdict(rows: Sequence[Mapping[str, Any]]) -> str:
    """Why the first row of the table is worthless, in a sentence with the figures in it."""
    of = {(row["input"], row["letters"], row["split"]): row for row in rows}
    claim, blind = of["whole film", "all", "by image"], of["masked out", "all", "by image"]
    honest = of["breast", "B", "by case"]
    return (
        f"Split by image over all scanners, a linear probe would have claimed {claim['accuracy']:.0%} accuracy in "
        f"three classes (AUC {claim['auc']:.2f}); without any breast in the image it still has "
        f"{blind['accuracy']:.0%} ({blind['auc']:.2f}). Scanner and batch tell the class, and images of one case "
        f"stand on both sides. Within scanner B, by case and on the breast alone, {honest['accuracy']:.0%} are left "
        f"(AUC {honest['auc']:.2f}; the largest class is {honest['largest_class']:.0%})."
    )
