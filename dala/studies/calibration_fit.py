"""What a probability is worth and when the answer is "not sure": calibration and prediction sets from held-out groups.

`dala.stats.conformal` says how both are made. Temperature and bias are fitted weighted so that classes, and groups
within a class, count the same: the probability is the one for a patient who is as likely benign as malignant before
anyone has looked. Each of the two is kept only if it lowers the log loss of groups that were left out of its fit: with
few patients a fitted temperature can be worse than none.

One threshold serves both classes. A promise to each class apart would need 9 groups of it for alpha = .10 and 19 for
.05: BreakHis 200X has 8 benign ones, so benign would have to be in every set and malignant could never be said. That
variant is measured and reported beside the one that is served.
"""

from __future__ import annotations

import json
import math
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dala.errors import DataError
from dala.runtime.calibration import DEFAULT_ALPHA, NOT_CALIBRATED
from dala.runtime.card import Card, read_card
from dala.stats.bootstrap import Interval
from dala.stats.conformal import (
    Bools,
    Cohort,
    Floats,
    Scaling,
    apply_held_out,
    fit_scaling,
    groups_needed,
    held_out_thresholds,
    measure_sets,
    members,
    outcome,
    thresholds_of,
)
from dala.stats.groups import group_weights
from dala.stats.metrics import bin_edges, bin_of, calibration_error

ALPHAS = (DEFAULT_ALPHA, 0.05)
NETWORK, CHANGED_STAIN = "dala_resnet50", "dala_resnet50_stain_shift"
SETS_LIMIT = (
    "Probabilities are for a patient as likely benign as malignant beforehand. The sets keep their promise on average "
    "over patients like the training groups, not for a single patient and not for each class: a whole patient can be "
    "wrong and the set sure of it."
)
PROTOCOL = (
    "predictions out of fold by patient group, every repeat of the cross-validation with equal weight; every figure "
    "is measured leaving one group out: calibration and thresholds from all other groups; 95 % intervals: bootstrap "
    "over patient groups of a class, thresholds held fixed"
)


CANDIDATES = {
    "none": {"temperature": False},
    "temperature": {"temperature": True},
    "temperature and bias": {"temperature": True, "bias": True},
}


def fit_to(cohort: Cohort, keep: Bools, candidate: str) -> Scaling:
    """The scaling of one of the CANDIDATES on some images of a cohort, classes and groups weighing the same."""
    labels = cohort.labels[keep]
    weights = group_weights(labels, cohort.groups[keep])
    return fit_scaling(cohort.margins[:, keep], labels, weights, **CANDIDATES[candidate])


def cohort_of(predictions: dict[str, Any], network: str) -> Cohort:
    """The held-out images of one network; DataError if they cannot be calibrated on."""
    try:
        return Cohort.of(predictions["labels"], predictions["groups"], predictions["probabilities"][network])
    except ValueError as error:
        raise DataError(str(error)) from error


def calibrate(predictions: dict[str, Any]) -> dict[str, Any]:
    """Calibration and sets from out-of-fold predictions, and what they are worth on groups left out; ready for JSON.

    `predictions` is what `crossvalidate` writes: data, labels, groups, and probabilities of malignant by network and
    repeat. The key `calibration` is the block for the model card.
    """
    cohort = cohort_of(predictions, NETWORK)
    command = f"dala calibrate {data_set(predictions['command'])}"
    stained = cohort_of(predictions, CHANGED_STAIN) if CHANGED_STAIN in predictions["probabilities"] else None
    everything = np.ones(len(cohort.labels), dtype=bool)

    fits = {name: [fit_to(cohort, cohort.order != k, name) for k in range(len(cohort.names))] for name in CANDIDATES}
    held_out = {name: apply_held_out(scalings, cohort) for name, scalings in fits.items()}
    chosen, differences = choose(cohort, held_out)
    final = fit_to(cohort, everything, chosen)
    shipped = final.probability(cohort.margins)

    sets, apart, shifted, card_thresholds, measured = {}, {}, {}, {}, {}
    for alpha in ALPHAS:
        key = f"{alpha:.2f}"
        limits = held_out_thresholds(cohort, fits[chosen], alpha, each_class=False)
        inside = members(held_out[chosen], limits, cohort.order)
        least = thresholds_of(shipped, cohort.labels, cohort.order, alpha, each_class=False)
        card_thresholds[key] = {"benign": least[0], "malignant": least[1]}
        sets[key] = {"thresholds": card_thresholds[key], **measure_sets(cohort, inside)}
        limits_apart = held_out_thresholds(cohort, fits[chosen], alpha, each_class=True)
        least = thresholds_of(shipped, cohort.labels, cohort.order, alpha, each_class=True)
        apart[key] = {
            "groups_needed": groups_needed(alpha),
            "possible": {name: count >= groups_needed(alpha) for name, count in _groups(cohort).items()},
            "thresholds": {"benign": least[0], "malignant": least[1]},
            **measure_sets(cohort, members(held_out[chosen], limits_apart, cohort.order)),
        }
        if stained is not None:
            probability = apply_held_out(fits[chosen], stained)
            shifted[key] = measure_sets(stained, members(probability, limits, cohort.order))
        for figure in ("coverage", "not_sure", "right_when_sure"):
            measured[f"{figure}_{key}"] = sets[key][figure]["by_picture"]

    after = measure_probabilities(cohort, held_out[chosen])
    measured["expected_calibration_error"] = after["by_picture"]["ece_equal_width"]
    promise = guarantee(cohort)
    return {
        "protocol": PROTOCOL,
        "command": command,
        "source": {key: predictions[key] for key in ("protocol", "command", "data", "imagenet", "recipe")},
        "weighting": {
            "balanced": "classes weigh the same, and groups within a class; the fit uses this one",
            "by_picture": "every image weighs the same, in the data's own mix of classes",
            "by_group": "every group weighs the same",
        },
        "candidates": {
            name: {
                "temperature": (scaling := fit_to(cohort, everything, name)).temperature,
                "bias": scaling.bias,
                "temperature_left_out": _span([one.temperature for one in fits[name]]),
                "bias_left_out": _span([one.bias for one in fits[name]]),
                "held_out": measure_probabilities(cohort, held_out[name]),
            }
            for name in CANDIDATES
        },
        "chosen": chosen,
        "why": "the next parameter is kept if it lowers the held-out balanced log loss of the one before",
        "log_loss_against_the_one_before": differences,
        "reliability": {
            "before": reliability(cohort, held_out["none"]),
            "after": reliability(cohort, held_out[chosen]),
        },
        "guarantee": promise,
        "sets": sets,
        "sets_for_each_class": apart,
        "under_stain_change": {
            "what": "the same networks on images with a strong random stain and colour change, calibration and "
            "thresholds from the plain images of the other groups",
            "probabilities": measure_probabilities(stained, apply_held_out(fits[chosen], stained)),
            "sets": shifted,
        }
        if stained is not None
        else None,
        "by_group": by_group(cohort, held_out[chosen], fits[chosen]),
        "calibration": {
            "temperature": final.temperature,
            "bias": {"benign": 0.0, "malignant": final.bias},
            "thresholds": card_thresholds,
            "groups": _groups(cohort),
            "protocol": PROTOCOL,
            "guarantee": promise["in_short"],
            "command": command,
            "measured": measured,
        },
    }


def choose(cohort: Cohort, held_out: dict[str, Floats]) -> tuple[str, dict[str, dict[str, float]]]:
    """The last of the CANDIDATES whose every parameter lowers the held-out balanced log loss, and by how much.

    Differences are paired by group: `mean` (negative is better) with the standard error over groups of a class.
    """
    differences = {}
    kept = ["none"]
    for simpler, richer in pairwise(CANDIDATES):
        gain = _log_loss(held_out[richer], cohort.labels) - _log_loss(held_out[simpler], cohort.labels)
        mean = float(np.average(gain, weights=cohort.balanced))
        of_group = np.bincount(cohort.order, gain * cohort.by_group)
        malignant = np.bincount(cohort.order, cohort.labels) > 0
        variances = [of_group[kind].var(ddof=1) / kind.sum() / 4 for kind in (malignant, ~malignant)]
        differences[richer] = {"mean": mean, "standard_error": math.sqrt(sum(variances))}
        if mean < 0 and kept[-1] == simpler:
            kept.append(richer)
    return kept[-1], differences


def measure_probabilities(cohort: Cohort, probability: Floats) -> dict[str, dict[str, Interval]]:
    """Log loss, Brier score and expected calibration error, balanced and by image, with intervals over groups.

    The calibration error is given in bins of equal width and in bins of equal mass; see `calibration_error`.
    """
    answer = {}
    for name, weights in (("balanced", cohort.balanced), ("by_picture", cohort.by_image)):
        total = np.broadcast_to(weights, probability.shape)
        error = partial(calibration_error, cohort.labels, probability, cohort.order, weights, cohort.draws)
        answer[name] = {
            "log_loss": cohort.ratio(_log_losses(probability, cohort.labels) * weights, total),
            "brier": cohort.ratio((probability - cohort.labels) ** 2 * weights, total),
            "ece_equal_width": error(equal_mass=False),
            "ece_equal_mass": error(equal_mass=True),
        }
    return answer


def reliability(cohort: Cohort, probability: Floats) -> dict[str, list[dict[str, Any]]]:
    """The reliability diagram in bins of equal width and of equal mass, repeats pooled; empty bins are left out.

    A bin: its edges, images (mean over repeats), groups that have one in it, mean probability of malignant, and the
    share that is malignant with its interval over groups.
    """
    answer = {}
    for name, equal_mass in (("equal_width", False), ("equal_mass", True)):
        edges = bin_edges(probability.ravel(), equal_mass=equal_mass)
        inside = bin_of(probability, edges)
        rows = []
        for k in range(len(edges) - 1):
            here = inside == k
            if here.any():
                rows.append(
                    {
                        "low": float(edges[k]),
                        "high": float(edges[k + 1]),
                        "pictures": float(here.sum() / len(probability)),
                        "groups": len(np.unique(cohort.order[here.any(axis=0)])),
                        "mean_probability": float(probability[here].mean()),
                        "malignant": cohort.ratio(here & (cohort.labels == 1), here),
                    }
                )
        answer[name] = rows
    return answer


def by_group(cohort: Cohort, probability: Floats, scalings: list[Scaling]) -> dict[str, Any]:
    """Per accession group left out: class, images, and coverage and share of "not sure" by alpha."""
    table: dict[str, Any] = {
        str(name): {
            "malignant": bool(cohort.labels[cohort.order == k].any()),
            "pictures": int((cohort.order == k).sum()),
            "sets": {},
        }
        for k, name in enumerate(cohort.names)
    }
    for alpha in ALPHAS:
        thresholds = held_out_thresholds(cohort, scalings, alpha, each_class=False)
        covers, unsure = outcome(cohort, members(probability, thresholds, cohort.order))
        for k, name in enumerate(cohort.names):
            own = cohort.order == k
            table[str(name)]["sets"][f"{alpha:.2f}"] = {
                "coverage": round(float(covers[:, own].mean()), 4),
                "not_sure": round(float(unsure[:, own].mean()), 4),
            }
    return table


def guarantee(cohort: Cohort) -> dict[str, str]:
    """What the sets promise, and what they do not, in sentences."""
    groups = _groups(cohort)
    return {
        "in_short": "A set at alpha holds the true class with probability 1 - alpha or more, on average over new "
        "patients like those of the calibration; close to that, not proven, for weights trained on all of them. "
        "Nothing is promised for a single patient, for each class apart, or for another laboratory or stain.",
        "promised": "For an image of a new patient, drawn like the calibration groups, the set holds the true class "
        f"with probability 1 - alpha or more, averaged over patients and over cohorts of {sum(groups.values())} "
        "groups, without any assumption on the network.",
        "approximate": "The promise is exact for a network that has not seen the calibration groups. The weights that "
        "are served were trained on all of them, and their thresholds come from networks of the same recipe trained "
        "without the group in question: close to it, not proven.",
        "not_promised": f"Nothing is promised for a single patient, for benign or malignant apart ({groups['benign']} "
        f"benign and {groups['malignant']} malignant groups; each class would need {groups_needed(0.1)} for alpha "
        f".10 and {groups_needed(0.05)} for .05), for another mix of classes, laboratory, stain or scanner, or for "
        "images that are none of the card's modality.",
        "measured": "Coverage over groups left out one at a time must come out near 1 - alpha or above on average by "
        "construction; what it tells is how it falls on classes and patients, and how often the answer is not sure.",
    }


def calibrate_weights(predictions: Path, weights: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Calibrate `weights` from `predictions`: all figures, for JSON, and the fields of the card with the calibration.

    Raises DataError if the predictions are missing, unreadable, or not of the card's recipe, images and groups.
    """
    card, _ = read_card(weights)
    try:
        given = json.loads(predictions.read_text(encoding="utf-8"))
        same = describes(given, card)
    except FileNotFoundError as error:
        message = f"There are no predictions {predictions}; `dala crossvalidate` writes them."
        raise DataError(message) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{predictions} is not a file of predictions that crossvalidate wrote.") from error
    if not same:
        message = f"The predictions in {predictions.name} are of another recipe or of other images than the weights"
        raise DataError(f"{message} {card.name}; run `{given['command']}` again.")
    record = calibrate(given)
    limits = [line for line in card.fields["limits"] if line not in (NOT_CALIBRATED, SETS_LIMIT)]
    fields = card.fields | {"calibration": record["calibration"], "limits": [*limits, SETS_LIMIT]}
    return {"weights": card.name, "weights_sha256": card.fields["sha256"], **record}, fields


def data_set(command: str) -> str:
    """The data set that a command names: the word after `crossvalidate`."""
    return command.partition("crossvalidate ")[2].split(" ")[0]


def describes(predictions: dict[str, Any], card: Card) -> bool:
    """Are these predictions of the card's recipe, ImageNet start, images and groups?"""
    recipe = {key: value for key, value in card.fields["recipe"].items() if key != "seed"}
    return (
        predictions["recipe"] == recipe
        and predictions["imagenet"] in card.fields["imagenet"]  # "npm", "torchvision": a word of the card's sentence
        and len(predictions["labels"]) == card.fields["training_data"]["pictures"]
        and frozenset(predictions["groups"]) == card.training_groups
    )


def _log_losses(probability: Floats, labels: NDArray[np.int64]) -> Floats:
    # A scaling may round to 0 or 1; a loss of 28 says enough.
    answer: Floats = -np.log(np.where(labels == 1, probability, 1 - probability).clip(1e-12))
    return answer


def _log_loss(probability: Floats, labels: NDArray[np.int64]) -> Floats:
    """Mean over the repeats, (N,)."""
    answer: Floats = _log_losses(probability, labels).mean(axis=0)
    return answer


def _groups(cohort: Cohort) -> dict[str, int]:
    return {
        name: len(np.unique(cohort.order[cohort.labels == label])) for label, name in enumerate(("benign", "malignant"))
    }


def _span(values: list[float]) -> list[float]:
    return [min(values), max(values)]
