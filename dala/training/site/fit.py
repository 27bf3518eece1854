"""The head refitted with a site as one more laboratory, and what that is worth on patients of the site held out.

Trunk, layer4 and attention stay as they are. The site's images join those that the weights were trained on, weighing
as much as any other laboratory, and the head is fitted as the shipped one was (`dala.training.laboratories.fit`). What
it is worth is measured with patients of the site left out of the fit, beside the shipped weights on the same images.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dala.data.splits import grouped_folds
from dala.errors import DataError
from dala.gate.familiarity import Familiarity
from dala.nets.dala_resnet50 import DualActivatedHead
from dala.nets.staged import Head
from dala.runtime.calibration import Calibration
from dala.runtime.pooling import Pooling
from dala.runtime.predict import Model
from dala.sites import CHANNELS, CLASSES, with_laboratory
from dala.stats.conformal import Cohort, Scaling, groups_needed, held_out_thresholds, thresholds_of
from dala.stats.metrics import binary_intervals
from dala.training.laboratories.fit import HeadRecipe, fit_head, head_margins, rows_of
from dala.training.laboratories.promise import ALPHAS, DECIDES, Answered
from dala.training.laboratories.samples import Floats, Indices, Samples
from dala.training.laboratories.validation import told
from dala.training.site.images import SiteImages
from dala.words import counted

SCORES = ("auc", "balanced_accuracy", "sensitivity", "specificity")
FOLDS, REPEATS = 5, 2
OWN = 0.95  # share of the site's images held out within its limit, and beyond its margin, as of other laboratories
COMMAND = "dala adapt --data FOLDER --name LAB"
INTERVALS = "95 % intervals: bootstrap over patients"
BEFORE = "the shipped weights, which have not seen the site"

Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Images of a site as fits without their patient answer them: margins (R, N) towards malignant, distances (R, N,
    L + 1) to the known laboratories and to the site, the last, and how far from all that is known (R, N)."""

    margins: Floats
    distances: Floats
    strange: Floats


@dataclass(frozen=True, eq=False)
class Fitted:
    """A site that was fitted: its head, the mean (1024,) of its images for the gate, and what was measured."""

    head: DualActivatedHead
    mean: Floats
    facts: dict[str, Any]


def recipe_of(model: Model) -> HeadRecipe:
    """How the head of these weights was fitted."""
    known = {one.name for one in fields(HeadRecipe)}
    given = {key: value for key, value in model.card.fields["recipe"].items() if key in known}
    return HeadRecipe(**given | {key: tuple(given[key]) for key in ("stages", "shares")})


def joined(samples: Samples, images: SiteImages, name: str) -> Samples:
    """The samples with a site's images behind them, as of one more laboratory of this `name`."""
    count = len(images.labels)
    return Samples(
        features=np.concatenate([samples.features, images.features]),
        colours=np.concatenate([samples.colours, np.zeros((count, samples.colours.shape[1]), np.float32)]),
        names=np.concatenate([samples.names, np.array([f"{name}-{k}" for k in range(count)])]),
        labels=np.concatenate([samples.labels, images.labels]),
        groups=np.concatenate([samples.groups, np.array([f"{name}/{group}" for group in images.groups])]),
        laboratories=np.concatenate([samples.laboratories, np.full(count, name)]),
        extra=np.concatenate([samples.extra, np.zeros(count, bool)]),
    )


def refit(samples: Samples, images: Indices, recipe: HeadRecipe, seed: int = 0) -> DualActivatedHead:
    """A head that is fitted to these `images` and all that is extra."""
    torch.manual_seed(seed)
    head = DualActivatedHead(CHANNELS, CLASSES)
    fit_head(head, rows_of(samples, images, recipe), recipe)
    return head


def margins_of(head: Head, images: SiteImages, pooling: Pooling) -> Floats:
    """Logit of malignant minus logit of benign, (N,), the fields of an image pooled as the served model does."""
    ends = np.cumsum([len(one) for one in images.views])
    lean = head_margins(head, np.concatenate(images.views))
    found = [pooling.pooled(np.stack([-one / 2, one / 2], 1), 1) for one in np.split(lean, ends[:-1])]
    return np.array([logits[1] - logits[0] for logits in found])


def held_out(
    samples: Samples, images: SiteImages, model: Model, recipe: HeadRecipe, repeats: int = REPEATS,
    say: Say = lambda _: None,
) -> HeldOut:  # fmt: skip
    """Every patient of the site left out once a repeat; the other laboratories are known throughout."""
    every = joined(samples, images, "site")
    others, first = np.flatnonzero(~samples.extra), len(samples.labels)
    folds = min(FOLDS, *(len(set(images.groups[images.labels == label])) for label in (0, 1)))
    assert model.familiarity is not None
    margins, distances, strange = [], [], []
    for repeat in range(repeats):
        row, far = np.zeros(len(images.labels)), np.zeros(len(images.labels))
        each = np.zeros((len(images.labels), len(_laboratories(model)) + 1))
        for k, (training, test) in enumerate(grouped_folds(images.labels, images.groups, folds, repeat)):
            head = refit(every, np.concatenate([others, first + training]), recipe, 100 * repeat + k)
            asked = images.of(test)
            row[test] = margins_of(head, asked, model.card.pooling)
            gate = with_laboratory(model.familiarity, "site", mean_for_gate(images.of(training)), np.inf, 0.0)
            each[test], far[test] = _gated(gate, asked)
            say(f"repeat {repeat + 1} of {repeats}, fold {k + 1} of {folds}")
        margins.append(row)
        distances.append(each)
        strange.append(far)
    return HeldOut(np.stack(margins), np.stack(distances), np.stack(strange))


def mean_for_gate(images: SiteImages) -> Floats:
    """The mean (1024,) of what the gate sees of a site's images, patients weighing the same."""
    pooled = np.stack([one.mean(0) for one in images.pooled]).astype(np.float64)
    _, order, counts = np.unique(images.groups, return_inverse=True, return_counts=True)
    weights = 1 / counts[order]
    return np.asarray(weights @ pooled / weights.sum())


def _gated(gate: Familiarity, images: SiteImages) -> tuple[Floats, Floats]:
    """Distances (N, L) to every laboratory and (N,) to what is familiar, the median over the views."""
    assert gate.laboratories is not None
    each = np.stack([gate.laboratories.distances(one) for one in images.pooled])
    far = np.array([np.median(gate.gaussian.distances(one)) for one in images.pooled])
    return each, far


def _laboratories(model: Model) -> tuple[str, ...]:
    known = None if model.familiarity is None else model.familiarity.laboratories
    if known is None:
        raise DataError(f"The weights {model.name} have no gate that tells laboratories apart: `dala gate` writes it.")
    return known.names


# What is answered


@dataclass(frozen=True, eq=False)
class Rule:
    """The gate's limit and margin for a site, and the thresholds of its prediction sets by alpha, None where the
    patients are too few; `decides` is the alpha of the set that gives the verdict."""

    limit: float
    margin: float
    decides: float
    thresholds: dict[float, float] | None


def rule_of(found: HeldOut, images: SiteImages, calibration: Calibration) -> Rule:
    """By the site's own patients held out."""
    own = found.distances.reshape(-1, found.distances.shape[-1])
    limit = float(np.quantile(own[:, -1], OWN))
    margin = max(0.0, float(np.quantile(own[:, :-1].min(1) ** 2 - own[:, -1] ** 2, 1 - OWN)))
    groups = len(set(images.groups))
    if groups < groups_needed(max(ALPHAS)):
        return Rule(limit, margin, DECIDES, None)
    cohort = _cohort(found, images, calibration)
    confidence = _scaling(calibration).probability(found.margins)
    thresholds = {
        alpha: thresholds_of(confidence, images.labels, cohort.order, alpha, each_class=False)[0] for alpha in ALPHAS
    }
    return Rule(limit, margin, DECIDES if groups >= groups_needed(DECIDES) else max(ALPHAS), thresholds)


def answered_after(found: HeldOut, images: SiteImages, rule: Rule, model: Model) -> Answered:
    """What the site's images held out would be answered, every patient by the thresholds that the others give; what
    the gate refuses is not answered, and what it does not take for the site is answered as of an unknown laboratory."""
    calibration, gate = _calibration(model), model.familiarity
    assert gate is not None
    benign, malignant = (np.full(found.margins.shape, t) for t in calibration.thresholds[calibration.decides])
    if rule.thresholds is not None:
        cohort = _cohort(found, images, calibration)
        one = [Scaling()] * len(cohort.names)
        each = np.array(held_out_thresholds(cohort, one, rule.decides, each_class=False))[cohort.order, 0]
        site, others = found.distances[..., -1], found.distances[..., :-1]
        taken = (site <= rule.limit) & (others.min(-1) ** 2 - site**2 >= rule.margin)
        benign, malignant = (np.where(taken, each, limit) for limit in (benign, malignant))
    return _answered(found.margins, images, found.strange <= gate.limit, (benign, malignant), calibration)


def answered_before(margins: Floats, images: SiteImages, model: Model) -> Answered:
    """What the shipped weights answer of margins (N,): by the laboratory that each image is taken for."""
    calibration, gate = _calibration(model), model.familiarity
    assert gate is not None and gate.laboratories is not None
    each, far = _gated(gate, images)
    limits = []
    for distances in each:
        name = gate.laboratories.taken_for(distances)
        known = calibration.limits_for(name)
        limits.append(known[calibration.decides])
    benign, malignant = np.array(limits).T
    return _answered(margins[None], images, (far <= gate.limit)[None], (benign[None], malignant[None]), calibration)


def _answered(
    margins: Floats, images: SiteImages, passes: NDArray[np.bool_], thresholds: tuple[Floats, Floats],
    calibration: Calibration,
) -> Answered:  # fmt: skip
    p = _scaling(calibration).probability(margins)
    benign, malignant = 1 - p >= thresholds[0], p >= thresholds[1]
    answer = passes & (benign != malignant)
    return Answered.of(answer, answer & (malignant != (images.labels == 1)), images.groups)


def _calibration(model: Model) -> Calibration:
    found = model.card.calibration
    if found is None:
        raise DataError(f"The weights {model.name} are not calibrated, and so cannot be fitted to a site.")
    return found


def _scaling(calibration: Calibration) -> Scaling:
    return Scaling(calibration.temperature, calibration.bias[1] - calibration.bias[0])


def _cohort(found: HeldOut, images: SiteImages, calibration: Calibration) -> Cohort:
    return Cohort.of(images.labels, images.groups, _scaling(calibration).probability(found.margins))


# All of it


def adapt(
    images: SiteImages, name: str, model: Model, samples: Samples, say: Say = lambda _: None, repeats: int = REPEATS
) -> Fitted:
    """Measure the model on a site as it is and refitted, and refit it on all of the site's images."""
    calibration, recipe = _calibration(model), recipe_of(model)
    known = _laboratories(model)
    before = margins_of(model.net.head, images, model.card.pooling)
    found = held_out(samples, images, model, recipe, repeats, say)
    rule = rule_of(found, images, calibration)
    every = joined(samples, images, name)
    chosen = np.concatenate([np.flatnonzero(~samples.extra), len(samples.labels) + np.arange(len(images.labels))])
    head = refit(every, chosen, recipe)
    _, far = _gated(model.familiarity, images)  # type: ignore[arg-type]
    groups, folds = len(set(images.groups)), min(FOLDS, *_patients(images))
    assert model.familiarity is not None
    whose = {"table": "by a table", "pattern": "by file name", "image": "every image taken for a patient of its own"}
    facts: dict[str, Any] = {
        "schema": 1,
        "name": name,
        "weights": model.name,
        "weights_sha256": model.card.fields["sha256"],
        "created": datetime.date.today().isoformat(),
        "images": len(images.labels),
        "groups": groups,
        "benign": int((images.labels == 0).sum()),
        "malignant": int((images.labels == 1).sum()),
        "patients_by": images.patients_by,
        "um_per_pixel": [round(side, 6) for side in images.um_per_pixel],
        "unfamiliar": int((far > model.familiarity.limit).sum()),
        "gate": {"limit": rule.limit, "margin": rule.margin},
        "decides": rule.decides,
        "thresholds": rule.thresholds and {
            f"{alpha:.2f}": {"benign": value, "malignant": value} for alpha, value in rule.thresholds.items()
        },
        "before": measured(before[None], images, calibration, answered_before(before, images, model)),
        "after": measured(found.margins, images, calibration, answered_after(found, images, rule, model)),
        "protocol": f"{folds}-fold cross-validation by patient ({whose[images.patients_by]}), "
        f"{counted(repeats, 'repeat')}, beside {', '.join(known)}, which are known; before: {BEFORE}; {INTERVALS}",
        "guarantee": guarantee(name, rule, groups),
        "command": COMMAND,
    }  # fmt: skip
    return Fitted(head, mean_for_gate(images), facts)


def _patients(images: SiteImages) -> tuple[int, int]:
    benign, malignant = (len(set(images.groups[images.labels == label])) for label in (0, 1))
    return benign, malignant


def measured(margins: Floats, images: SiteImages, calibration: Calibration, answered: Answered) -> dict[str, Any]:
    """Scores of margins (R, N) at even odds and what is answered, ready for JSON."""
    scores = binary_intervals(images.labels, _scaling(calibration).probability(margins), images.groups)
    return {
        "scores": dict(told({key: scores[key] for key in SCORES})),
        "answered": dict(told({key: value for key, value in asdict(answered).items()})),
    }


def guarantee(name: str, rule: Rule, groups: int) -> str:
    """What the prediction sets of a site promise."""
    if rule.thresholds is None:
        return (
            f"{groups} patients of {name} are too few for prediction sets of its own: the limits are those for a "
            "laboratory that the model does not know, and nothing is promised."
        )
    return (
        f"The set that decides holds the true class with probability {1 - rule.decides:.2f} on average over new "
        f"patients like the {groups} of {name} that it was fitted to, if every patient was named truly. For any other "
        "image nothing is promised."
    )
