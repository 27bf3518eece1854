"""A laboratory that the model does not know, and a few labelled images of it: what they bring on its other patients."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from dala.data.perturb import restain
from dala.files import replacing, write_json
from dala.gate.familiarity import Familiarity
from dala.preprocess.views import network_input
from dala.runtime.card import Card
from dala.runtime.predict import Model
from dala.sites import with_head, with_laboratory
from dala.stats.conformal import groups_needed
from dala.training.laboratories.promise import ALPHAS, DECIDES
from dala.training.laboratories.samples import Samples, stage_means
from dala.training.laboratories.sources import TRAINED, items_of
from dala.training.site.fit import (
    Rule,
    answered_before,
    held_out,
    joined,
    margins_of,
    mean_for_gate,
    recipe_of,
    refit,
    rule_of,
)
from dala.training.site.images import SiteImages

PER_CLASS = (2, 4, 8, 16)
DRAWS = 10
SITE = "site"
STAIN = (1.6, 0.6, 1.0)  # haematoxylin, eosin, residual: dark nuclei in a pale pink
SHIFTED = "BreakHis, stain shifted"

Indices = NDArray[np.intp]
Drawn = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Stranger:
    """A laboratory that is new to a model: its images, the `model` and `samples` without it, and the largest share of
    its patients of a class that may be drawn."""

    images: SiteImages
    model: Model
    samples: Samples
    share: float = 1.0


def laboratory_without(model: Model, samples: Samples, name: str) -> Stranger:
    """A laboratory of the training, and the model as it would be without it."""
    own = np.flatnonzero(~samples.extra & (samples.laboratories == name))
    rest = some(samples, samples.laboratories != name)
    return Stranger(site_images(samples, own), without(model, rest, name), rest)


def shifted_half(model: Model, samples: Samples, shifted: NDArray[np.float32], half: int) -> Stranger:
    """Half of BreakHis's patients with their stain shifted, (N, 3584) `shifted` as the samples have them; the other
    half is known as it is."""
    own = ~samples.extra & (samples.laboratories == TRAINED[0].laboratory)
    pairs = zip(samples.labels[own].tolist(), samples.groups[own].tolist(), strict=True)
    patients = sorted(set(pairs))
    chosen = np.isin(samples.groups, [group for _, group in patients[half::2]])
    rest = some(samples, ~(own & chosen))
    features = samples.features.copy()
    features[own] = shifted
    return Stranger(
        site_images(replace(samples, features=features), np.flatnonzero(own & chosen)),
        without(model, rest, None), rest, 0.5,
    )  # fmt: skip


def some(samples: Samples, chosen: NDArray[np.bool_]) -> Samples:
    """The chosen ones."""
    return Samples(**{name: getattr(samples, name)[chosen] for name in Samples.__dataclass_fields__})


def site_images(samples: Samples, images: Indices) -> SiteImages:
    """Images of the samples as those of a site: each of one view."""
    views = tuple(samples.features[k][None] for k in images)
    return SiteImages(views, samples.labels[images], samples.groups[images], (0.5, 0.5), "table")


def without(model: Model, rest: Samples, name: str | None) -> Model:
    """The model as it is fitted to the rest: head, gate and card know nothing of the laboratory of this name."""
    head = refit(rest, np.flatnonzero(~rest.extra), recipe_of(model))
    fields = model.card.fields
    calibration = fields["calibration"]
    card = Card(
        fields
        | {
            "laboratories": {key: value for key, value in fields["laboratories"].items() if key != name},
            "calibration": calibration
            | {"laboratories": {key: value for key, value in calibration["laboratories"].items() if key != name}},
        }
    )
    return Model(with_head(model.net, head), card, _gate_without(model.familiarity, name))


def _gate_without(familiarity: Familiarity | None, name: str | None) -> Familiarity | None:
    """The covariance stays: of what lies about the other means it is hardly another."""
    if familiarity is None or familiarity.laboratories is None or name is None:
        return familiarity
    known = familiarity.laboratories
    keep = [k for k, one in enumerate(known.names) if one != name]
    return replace(
        familiarity,
        gaussian=replace(familiarity.gaussian, mean=familiarity.gaussian.mean[keep]),
        laboratories=replace(
            known,
            names=tuple(known.names[k] for k in keep),
            gaussian=replace(known.gaussian, mean=known.gaussian.mean[keep]),
            limits=known.limits[keep],
            margins=known.margins[keep],
        ),
    )


def shifted_features(root: Path, model: Model, runs: Path) -> NDArray[np.float32]:
    """What the stages make of every BreakHis image with its stain shifted, (N, 3584), kept under `runs`."""
    items = items_of(root, TRAINED[:1])
    told = "\n".join([str(model.card.fields["sha256"]), repr(STAIN), *(item.name for item in items)])
    path = runs / f"stain-{hashlib.sha256(told.encode()).hexdigest()[:12]}.npz"
    if not path.is_file():
        found = []
        for item in items:
            pixels = restain(np.asarray(item.seen()), np.array(STAIN))
            found.append(stage_means(model.net, network_input(pixels[None], None))[0])
        with replacing(path) as partial:
            np.savez(partial, features=np.array(found))
    with np.load(path) as kept:
        return np.asarray(kept["features"], np.float32)


# Drawing and asking


def draw(images: SiteImages, per_class: int, number: int, share: float) -> tuple[Indices, Indices] | None:
    """So many images of each class, from as many patients as there may be, and all images of the patients that were
    not drawn; None where the patients are too few: one of each class at least is left."""
    random = np.random.default_rng([per_class, number])
    chosen: list[int] = []
    for label in (0, 1):
        own = np.flatnonzero(images.labels == label)
        patients = random.permutation(np.unique(images.groups[own]))
        most = patients[: min(per_class, len(patients) - 1, max(1, int(share * len(patients))))]
        piles = [list(random.permutation(own[images.groups[own] == patient])) for patient in most]
        dealt = [pile[turn] for turn in range(max(map(len, piles))) for pile in piles if turn < len(pile)]
        if len(dealt) < per_class:
            return None
        chosen += dealt[:per_class]
    left = ~np.isin(images.groups, images.groups[chosen])
    return np.array(chosen), np.flatnonzero(left)


def ask(stranger: Stranger, per_class: int, number: int) -> Drawn | None:
    """One draw: the model as it is and fitted to what was drawn, on the patients that were not."""
    found = draw(stranger.images, per_class, number, stranger.share)
    if found is None:
        return None
    site, test = (stranger.images.of(part) for part in found)
    model = stranger.model
    adapted = fitted_to(site, model, stranger.samples)
    return {
        "before": answers(model, test),
        "after": answers(adapted, test),
        "patients": len(set(test.groups)),
    }


def fitted_to(site: SiteImages, model: Model, samples: Samples) -> Model:
    """The model with a site as `dala adapt` fits it, and prediction sets of its own where its patients allow them."""
    calibration, recipe = model.card.calibration, recipe_of(model)
    assert calibration is not None and model.familiarity is not None
    rule = Rule(0.0, 0.0, DECIDES, None)
    if len(set(site.groups)) >= groups_needed(max(ALPHAS)):
        rule = rule_of(held_out(samples, site, model, recipe, repeats=1), site, calibration)
    every = joined(samples, site, SITE)
    head = refit(every, np.flatnonzero(~every.extra), recipe)
    told = model.card.fields["calibration"]
    own = {f"{alpha:.2f}": {"benign": t, "malignant": t} for alpha, t in (rule.thresholds or {}).items()}
    card = Card(
        model.card.fields
        | {"calibration": told | {"decides": rule.decides, "laboratories": {SITE: own} if own else {}}}
    )
    gate = with_laboratory(model.familiarity, SITE, mean_for_gate(site), rule.limit, rule.margin)
    return Model(with_head(model.net, head), card, gate)


def answers(model: Model, images: SiteImages) -> dict[str, float]:
    """AUC, balanced accuracy at even odds, the number of images, of answers and of wrong ones."""
    margins = margins_of(model.net.head, images, model.card.pooling)
    right = (margins > 0) == (images.labels == 1)
    answered = answered_before(margins, images, model)
    count = len(images.labels)
    share = answered.share["value"] or 0.0
    return {
        "auc": float(roc_auc_score(images.labels, margins)),
        "balanced_accuracy": float(np.mean([right[images.labels == label].mean() for label in (0, 1)])),
        "images": count,
        "answered": round(share * count),
        "wrong": round((answered.wrong["value"] or 0.0) * share * count),
    }


def curve(
    of: Callable[[int], Stranger], name: str, kept: Path, per_class: tuple[int, ...] = PER_CLASS, draws: int = DRAWS
) -> Iterator[tuple[int, list[Drawn]]]:
    """By number of labelled images a class the draws; none where there are too few patients. `of` gives the stranger of
    a draw; every draw is kept for the next run."""
    for count in per_class:
        found: list[Drawn] = []
        for number in range(draws):
            path = kept / f"{''.join(sign for sign in name if sign.isalnum())}-{count}-{number}.json"
            if not path.is_file():
                answer = ask(of(number), count, number)
                if answer is None:
                    break
                write_json(path, answer)
            found.append(json.loads(path.read_text(encoding="utf-8")))
        yield count, found
