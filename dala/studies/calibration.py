"""What a probability is worth and when the answer is "not sure": calibration and prediction sets from held-out groups.

Temperature and bias. The margin z (logit of malignant minus logit of benign) becomes z / T + b (Guo et al., "On
Calibration of Modern Neural Networks", 2017; Platt 1999). They are fitted to predictions for patients whom the network
had not seen, weighted so that classes, and groups within a class, count the same: the probability is the one for a
patient who is as likely benign as malignant before anyone has looked. Each of the two is kept only if it lowers the log
loss of groups that were left out of its fit: with few patients a fitted temperature can be worse than none.

Sets. Hierarchical conformal prediction (Lee, Barber, Willett, "Distribution-free inference with hierarchical data",
2023): the unit is the accession group. Every one of K groups weighs 1 / (K + 1), shared equally by its images, and
the (K + 1)th share belongs to the patient to come. The threshold is the largest t for which true classes with a
probability of at least t weigh 1 - alpha or more; a class with p >= t is in the set. With too few groups
(K + 1 < 1 / alpha) there is no such t and every class is in every set. For two classes a temperature moves thresholds
and probabilities alike and changes no set.

One threshold serves both classes. A promise to each class apart would need 9 groups of it for alpha = .10 and 19 for
.05: BreakHis 200X has 8 benign ones, so benign would have to be in every set and malignant could never be said. That
variant is measured and reported beside the one that is served.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize

from dala.data.splits import group_weights
from dala.errors import DataError
from dala.runtime.calibration import DEFAULT_ALPHA, NOT_CALIBRATED
from dala.runtime.card import Card, read_card, write_card
from dala.stats.metrics import Interval

ALPHAS = (DEFAULT_ALPHA, 0.05)
BINS = 15
TEMPERATURES = (0.1, 10.0)  # a fit that wants more has found classes that never or always overlap
RESAMPLES = 2000
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

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Scaling:
    """z -> z / temperature + bias, for the margin z towards malignant."""

    temperature: float = 1.0
    bias: float = 0.0

    def probability(self, margins: Floats) -> Floats:
        """Probability of malignant, in the shape of the margins."""
        return _sigmoid(margins / self.temperature + self.bias)


@dataclass(frozen=True, eq=False)
class Cohort:
    """Held-out images: labels (N,) 0 or 1, groups (N,), margins (R, N) of R repeats, and `order`, each one's index in
    `names`, the sorted group names (G,)."""

    labels: NDArray[np.int64]
    groups: NDArray[np.str_]
    margins: Floats
    names: NDArray[np.str_]
    order: NDArray[np.intp]

    @classmethod
    def of(cls, labels: ArrayLike, groups: ArrayLike, probabilities: ArrayLike) -> Cohort:
        """From probabilities of malignant (R, N); DataError for anything that is not two classes of several groups."""
        y, g = np.asarray(labels, dtype=np.int64), np.asarray(groups, dtype=np.str_)
        p = np.atleast_2d(np.asarray(probabilities, dtype=np.float64))
        if y.ndim != 1 or g.shape != y.shape or p.shape[1:] != y.shape or not ((p >= 0) & (p <= 1)).all():
            raise DataError("Calibration needs a label, a group and probabilities between 0 and 1 for every image.")
        for label in (0, 1):
            if np.unique(g[y == label]).size < 2:
                raise DataError("Calibration leaves a group out at a time: it needs two or more groups of each class.")
        names, order = np.unique(g, return_inverse=True)
        # Six decimals are kept of a probability, so that 1 may stand for anything above 1 - 5e-7.
        p = p.clip(5e-7, 1 - 5e-7)
        return cls(y, g, np.log(p / (1 - p)), names, order)

    @property
    def by_image(self) -> Floats:
        """Weight 1 an image, (N,)."""
        return np.ones(len(self.labels))

    @property
    def by_group(self) -> Floats:
        """Every group weighs the same, (N,): what one new patient meets."""
        return 1 / np.bincount(self.order)[self.order]

    @property
    def balanced(self) -> Floats:
        """Classes weigh the same, and groups within a class, (N,)."""
        return group_weights(self.labels, self.groups)


def fit_scaling(
    margins: Floats, labels: NDArray[np.int64], weights: Floats, *, temperature: bool = True, bias: bool = False
) -> Scaling:
    """The scaling of least weighted log loss. margins: (R, N), labels and weights: (N,). The loss is convex."""
    if not temperature:
        return Scaling()
    signs = np.where(labels == 1, 1.0, -1.0)
    shares = weights / weights.sum() / len(margins)

    def loss(parameters: Floats) -> tuple[float, Floats]:
        slope, shift = parameters
        signed = signs * (slope * margins + shift)
        pull = -signs * _sigmoid(-signed) * shares
        gradient = np.array([(pull * margins).sum(), pull.sum() if bias else 0.0])
        return float((np.logaddexp(0, -signed) * shares).sum()), gradient

    bounds = [(1 / TEMPERATURES[1], 1 / TEMPERATURES[0]), (None, None) if bias else (0.0, 0.0)]
    slope, shift = minimize(loss, [1.0, 0.0], jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-12}).x
    return Scaling(1 / float(slope), float(shift))


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


def least_probability(confidence: Floats, order: NDArray[np.intp], alpha: float) -> float:
    """The threshold of hierarchical conformal prediction; 0 if the groups are too few for `alpha`.

    confidence: (R, N) probability given to the true class; order: (N,) index of each image's group. Repeats share an
    image's weight.
    """
    _, members, sizes = np.unique(order, return_inverse=True, return_counts=True)
    shares = np.broadcast_to(1 / (sizes[members] * len(confidence)), confidence.shape).ravel()
    highest_first = np.argsort(-confidence.ravel(), kind="stable")
    # In units of a group: 1 - alpha of the groups and the one to come. The slack is for sums like 1/3 + 1/3 + 1/3.
    reached = np.cumsum(shares[highest_first]) >= (1 - alpha) * (len(sizes) + 1) - 1e-9
    return float(confidence.ravel()[highest_first][reached.argmax()]) if reached.any() else 0.0


def thresholds_of(
    probability: Floats, labels: NDArray[np.int64], order: NDArray[np.intp], alpha: float, *, each_class: bool
) -> tuple[float, float]:
    """Least probability of (benign, malignant) for the set: one for both, or each from the groups of its class."""
    confidence = np.where(labels == 1, probability, 1 - probability)
    if not each_class:
        both = least_probability(confidence, order, alpha)
        return both, both
    benign, malignant = (least_probability(confidence[:, labels == k], order[labels == k], alpha) for k in (0, 1))
    return benign, malignant


def calibrate(predictions: dict[str, Any]) -> dict[str, Any]:
    """Calibration and sets from out-of-fold predictions, and what they are worth on groups left out; ready for JSON.

    `predictions` is what `crossvalidate` writes: data, labels, groups, and probabilities of malignant by network and
    repeat. The key `calibration` is the block for the model card.
    """
    cohort = Cohort.of(predictions["labels"], predictions["groups"], predictions["probabilities"][NETWORK])
    command = f"dala calibrate {data_set(predictions['command'])}"
    changed = predictions["probabilities"].get(CHANGED_STAIN)
    stained = None if changed is None else Cohort.of(predictions["labels"], predictions["groups"], changed)
    draws = resampled_groups(cohort)
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
        sets[key] = {"thresholds": card_thresholds[key], **measure_sets(cohort, inside, draws)}
        limits_apart = held_out_thresholds(cohort, fits[chosen], alpha, each_class=True)
        least = thresholds_of(shipped, cohort.labels, cohort.order, alpha, each_class=True)
        apart[key] = {
            "groups_needed": _needed(alpha),
            "possible": {name: count >= _needed(alpha) for name, count in _groups(cohort).items()},
            "thresholds": {"benign": least[0], "malignant": least[1]},
            **measure_sets(cohort, members(held_out[chosen], limits_apart, cohort.order), draws),
        }
        if stained is not None:
            probability = apply_held_out(fits[chosen], stained)
            shifted[key] = measure_sets(stained, members(probability, limits, cohort.order), draws)
        for figure in ("coverage", "not_sure", "right_when_sure"):
            measured[f"{figure}_{key}"] = sets[key][figure]["by_picture"]

    after = measure_probabilities(cohort, held_out[chosen], draws)
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
                "held_out": measure_probabilities(cohort, held_out[name], draws),
            }
            for name in CANDIDATES
        },
        "chosen": chosen,
        "why": "the next parameter is kept if it lowers the held-out balanced log loss of the one before",
        "log_loss_against_the_one_before": differences,
        "reliability": {
            "before": reliability(cohort, held_out["none"], draws),
            "after": reliability(cohort, held_out[chosen], draws),
        },
        "guarantee": promise,
        "sets": sets,
        "sets_for_each_class": apart,
        "under_stain_change": {
            "what": "the same networks on images with a strong random stain and colour change, calibration and "
            "thresholds from the plain images of the other groups",
            "probabilities": measure_probabilities(stained, apply_held_out(fits[chosen], stained), draws),
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


def apply_held_out(scalings: list[Scaling], cohort: Cohort) -> Floats:
    """Probability of malignant (R, N), each group scaled by the scaling that was fitted without it."""
    temperatures = np.array([one.temperature for one in scalings])[cohort.order]
    biases = np.array([one.bias for one in scalings])[cohort.order]
    return _sigmoid(cohort.margins / temperatures + biases)


def held_out_thresholds(
    cohort: Cohort, scalings: list[Scaling], alpha: float, *, each_class: bool
) -> list[tuple[float, float]]:
    """For each group the thresholds that all other groups give, under the scaling that they give."""
    answer = []
    for k, scaling in enumerate(scalings):
        others = cohort.order != k
        probability = scaling.probability(cohort.margins[:, others])
        answer.append(
            thresholds_of(probability, cohort.labels[others], cohort.order[others], alpha, each_class=each_class)
        )
    return answer


def members(probability: Floats, thresholds: list[tuple[float, float]], order: NDArray[np.intp]) -> Bools:
    """(2, R, N): is benign, is malignant in the set, each group by its own thresholds; an empty set becomes both."""
    benign, malignant = np.array(thresholds)[order].T
    inside = np.stack([1 - probability >= benign, probability >= malignant])
    answer: Bools = inside | ~inside.any(axis=0)
    return answer


def outcome(cohort: Cohort, inside: Bools) -> tuple[Bools, Bools]:
    """(R, N) twice, of sets as `members` gives them: does it hold the true class, and is it "not sure"?"""
    covers: Bools = np.where(cohort.labels == 1, inside[1], inside[0])
    unsure: Bools = np.asarray(inside.all(axis=0))
    return covers, unsure


def measure_sets(cohort: Cohort, inside: Bools, draws: Floats) -> dict[str, Any]:
    """Coverage, share of "not sure" and share right among the sure, with intervals over groups.

    inside: (2, R, N) as `members` gives it. By class: of benign (malignant) patients' images, every group weighing
    the same. `when_benign`: of the images of which the set says benign alone.
    """
    covers, unsure = outcome(cohort, inside)
    sure = ~unsure

    def share(part: Bools, whole: Bools | None = None, weights: Floats = cohort.by_image) -> Interval:
        within = np.ones_like(part) if whole is None else np.broadcast_to(whole, part.shape)
        return _ratio((part & within) * weights, within * weights, cohort, draws)

    def shares(part: Bools, whole: Bools | None = None) -> dict[str, Interval]:
        return {"by_picture": share(part, whole), "by_group": share(part, whole, cohort.by_group)}

    def of_each_class(part: Bools) -> dict[str, Interval]:
        kinds = {"benign": cohort.labels == 0, "malignant": cohort.labels == 1}
        return {name: share(part, kind, cohort.by_group) for name, kind in kinds.items()}

    return {
        "coverage": shares(covers) | of_each_class(covers),
        "not_sure": shares(unsure) | of_each_class(unsure),
        "right_when_sure": shares(covers, sure)
        | {"when_benign": share(covers, sure & inside[0]), "when_malignant": share(covers, sure & inside[1])},
    }


def measure_probabilities(cohort: Cohort, probability: Floats, draws: Floats) -> dict[str, dict[str, Interval]]:
    """Log loss, Brier score and expected calibration error, balanced and by image, with intervals over groups.

    The calibration error is the weighted mean over BINS bins of |mean probability - share malignant|, in bins of equal
    width and in bins of equal mass, computed for each repeat and averaged. Resampling makes it larger, not smaller: the
    interval leans upwards.
    """
    answer = {}
    for name, weights in (("balanced", cohort.balanced), ("by_picture", cohort.by_image)):
        total = np.broadcast_to(weights, probability.shape)
        answer[name] = {
            "log_loss": _ratio(_log_losses(probability, cohort.labels) * weights, total, cohort, draws),
            "brier": _ratio((probability - cohort.labels) ** 2 * weights, total, cohort, draws),
            "ece_equal_width": _calibration_error(cohort, probability, weights, draws, equal_mass=False),
            "ece_equal_mass": _calibration_error(cohort, probability, weights, draws, equal_mass=True),
        }
    return answer


def reliability(cohort: Cohort, probability: Floats, draws: Floats) -> dict[str, list[dict[str, Any]]]:
    """The reliability diagram in bins of equal width and of equal mass, repeats pooled; empty bins are left out.

    A bin: its edges, images (mean over repeats), groups that have one in it, mean probability of malignant, and the
    share that is malignant with its interval over groups.
    """
    answer = {}
    for name, equal_mass in (("equal_width", False), ("equal_mass", True)):
        edges = bin_edges(probability.ravel(), equal_mass=equal_mass)
        inside = np.searchsorted(edges[1:-1], probability, side="right")
        rows = []
        for k in range(BINS):
            here = inside == k
            if here.any():
                rows.append(
                    {
                        "low": float(edges[k]),
                        "high": float(edges[k + 1]),
                        "pictures": float(here.sum() / len(probability)),
                        "groups": len(np.unique(cohort.order[here.any(axis=0)])),
                        "mean_probability": float(probability[here].mean()),
                        "malignant": _ratio(here & (cohort.labels == 1), here, cohort, draws),
                    }
                )
        answer[name] = rows
    return answer


def bin_edges(probability: Floats, *, equal_mass: bool) -> Floats:
    """Edges (BINS + 1,) from 0 to 1 of bins [low, high): of equal width, or with equally many probabilities each."""
    edges = np.linspace(0, 1, BINS + 1)
    if equal_mass:
        edges[1:-1] = np.quantile(probability, edges[1:-1])
    return edges


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
        f"benign and {groups['malignant']} malignant groups; each class would need {_needed(0.1)} for alpha .10 and "
        f"{_needed(0.05)} for .05), for another mix of classes, laboratory, stain or scanner, or for images that "
        "are none of the card's modality.",
        "measured": "Coverage over groups left out one at a time must come out near 1 - alpha or above on average by "
        "construction; what it tells is how it falls on classes and patients, and how often the answer is not sure.",
    }


def calibrate_weights(predictions: Path, weights: Path, evidence: Path | None) -> dict[str, Any]:
    """Calibrate from `predictions`, write the calibration into the card of `weights` and all figures to `evidence`.

    The weights file is not touched. Raises DataError if the predictions are missing, unreadable, or not of the card's
    recipe, images and groups; nothing is written then.
    """
    card, path = read_card(weights)
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
    record = {"weights": card.name, "weights_sha256": card.fields["sha256"], **record}
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if evidence is not None:
        evidence.parent.mkdir(parents=True, exist_ok=True)
        evidence.write_text(text, encoding="utf-8")
    write_card(path, fields)
    return record


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


def resampled_groups(cohort: Cohort, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """How often each group is drawn, (resamples, G): with replacement, as many of each class as there are."""
    random = np.random.default_rng(seed)
    holds = np.stack([np.bincount(cohort.order, cohort.labels == label) > 0 for label in (0, 1)], axis=1)
    counts = np.zeros((resamples, len(cohort.names)))
    for kind in np.unique(holds, axis=0):
        stratum = (holds == kind).all(axis=1)
        size = int(stratum.sum())
        counts[:, stratum] = random.multinomial(size, np.full(size, 1 / size), resamples)
    return counts


def _ratio(part: NDArray[Any], whole: NDArray[Any], cohort: Cohort, draws: Floats) -> Interval:
    """sum(part) / sum(whole), both (R, N), with its interval; None where nothing is in the whole."""
    groups = len(cohort.names)
    parts = np.bincount(cohort.order, part.sum(axis=0), minlength=groups)
    wholes = np.bincount(cohort.order, whole.sum(axis=0), minlength=groups)
    if not wholes.sum() > 0:
        return {"value": None, "low": None, "high": None}
    with np.errstate(invalid="ignore"):
        resampled = (draws @ parts) / (draws @ wholes)
    # One group tells nothing of how patients differ.
    return _interval(parts.sum() / wholes.sum(), resampled if (wholes > 0).sum() > 1 else None)


def _calibration_error(
    cohort: Cohort, probability: Floats, weights: Floats, draws: Floats, *, equal_mass: bool
) -> Interval:
    groups = len(cohort.names)
    mass = np.bincount(cohort.order, weights, minlength=groups)
    value, resampled = 0.0, np.zeros(len(draws))
    for one in probability:
        inside = np.searchsorted(bin_edges(one, equal_mass=equal_mass)[1:-1], one, side="right")
        gaps = np.bincount(cohort.order * BINS + inside, weights * (one - cohort.labels), minlength=groups * BINS)
        gaps = gaps.reshape(groups, BINS)
        value += float(np.abs(gaps.sum(axis=0)).sum() / mass.sum()) / len(probability)
        resampled += np.abs(draws @ gaps).sum(axis=1) / (draws @ mass) / len(probability)
    return _interval(value, resampled)


def _interval(value: float, resampled: Floats | None) -> Interval:
    if resampled is None:
        return {"value": float(value), "low": None, "high": None}
    low, high = np.nanquantile(resampled, [0.025, 0.975])
    return {"value": float(value), "low": float(low), "high": float(high)}


def _log_losses(probability: Floats, labels: NDArray[np.int64]) -> Floats:
    # A scaling may round to 0 or 1; a loss of 28 says enough.
    answer: Floats = -np.log(np.where(labels == 1, probability, 1 - probability).clip(1e-12))
    return answer


def _log_loss(probability: Floats, labels: NDArray[np.int64]) -> Floats:
    """Mean over the repeats, (N,)."""
    answer: Floats = _log_losses(probability, labels).mean(axis=0)
    return answer


def _sigmoid(x: Floats) -> Floats:
    answer: Floats = 1 / (1 + np.exp(-x))
    return answer


def _groups(cohort: Cohort) -> dict[str, int]:
    return {
        name: len(np.unique(cohort.order[cohort.labels == label])) for label, name in enumerate(("benign", "malignant"))
    }


def _needed(alpha: float) -> int:
    """The least number of groups with which a threshold above 0 can exist."""
    return math.ceil(1 / alpha - 1e-9) - 1


def _span(values: list[float]) -> list[float]:
    return [min(values), max(values)]
