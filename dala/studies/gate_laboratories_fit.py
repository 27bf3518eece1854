"""The statistics of a gate that knows several laboratories, and how it does with patients and laboratories held out.

Two Gaussians of pooled layer3 features with a mean for each laboratory: one of the images and of random views of them,
whose distance says whether an image is familiar at all, and one of the images as they are, which tells laboratories
apart by their stain and camera. Beside them a linear classifier of the same features knows the tissue that the model
takes for carcinoma though it is none. Of other weights the same command writes other statistics.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dala.data import breakhis
from dala.data.augment import Augmentation, random_views
from dala.data.pixels import load_pixels, read_rgb
from dala.data.splits import grouped_folds
from dala.errors import TooLarge
from dala.files import replacing
from dala.gate.checks import CHECKS
from dala.gate.familiarity import Familiarity, Gaussian, Laboratories, Lookalike, fit_gaussian, trunk_identity
from dala.preprocess.physical import views_at_scale
from dala.preprocess.scale import ASSUMED_UM, LEAST_UM, Scale
from dala.preprocess.views import Input, network_input
from dala.runtime.predict import Model
from dala.stats.agreement import share_over_groups
from dala.studies.gate_images import EVERY, Kind, all_kinds
from dala.training.head import logistic_regression
from dala.training.laboratories.fit import TOLERANCE, balanced_weights
from dala.training.laboratories.samples import PARTS, Samples
from dala.training.laboratories.sources import BREAKHIS_FIELD, TESTED, TRAINED, Item, Source, items_of

Floats = NDArray[np.float64]

AXES = 16
FOLDS = 5
ACCEPTED = 0.85  # share of the fields of a laboratory left out that pass, laboratories weighing the same
TRUNK = 1024  # channels of its output
OWN = 0.95  # share of the fields of patients held out within their laboratory's limit, and beyond its margin
RANDOM_VIEWS = 250  # of a laboratory, about
SIDE = 256  # of a random view, pixels of the network
NEARER, FARTHER = 0.8, 1.25
VIEWS = Augmentation(
    crop=1.0, aspect=1.0, stain=0.3, stain_mix=0.06, gain=0.06, gamma=0.15, grey=0.0, blur=0.2, symmetries=True
)
LOOKALIKES = ("immunecels", "apocrine_change")  # kinds of tissue, of `dala.data.tissue.CLASSES`
LOOKALIKE_C = 1e-3  # of its logistic regression
FIELDS_OF_AN_IMAGE = 2  # of those that were not trained on, as so many pass the network
KIND_IMAGES = 80  # of a kind of image, at most; those that a check of the pixels refuses cost nothing

Look = Callable[[NDArray[np.uint8]], NDArray[np.float32]]  # a view as the network sees it, (H, W, 3), to (C,)


@dataclass(frozen=True, eq=False)
class Fields:
    """Views of images: pooled features (V, C), NaN where a check of the pixels `failed` ("" for none) and nobody asked
    further, and of each its image's number, its laboratory, its group and whether it is a random view."""

    pooled: NDArray[np.float32]
    failed: NDArray[np.str_]
    image: NDArray[np.int64]
    laboratories: NDArray[np.str_]
    groups: NDArray[np.str_]
    random: NDArray[np.bool_]

    def of(self, chosen: NDArray[np.bool_]) -> Fields:
        """Some of the views."""
        return Fields(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


Row = tuple[NDArray[np.float32], str, int, str, str, bool]


def trained_fields(root: Path, model: Model, kept: Path, sources: Sequence[Source] = TRAINED) -> Fields:
    """Every image of the laboratories that are trained on, as it is and in random views."""
    items = items_of(root, sources)
    return _kept(kept / "trained.npz", lambda look: _trained(items, model, look), model)


def tested_fields(root: Path, model: Model, kept: Path, sources: Sequence[Source] = TESTED) -> Fields:
    """Images of laboratories that are not trained on: whole, and in fields of view where they are larger."""
    items = items_of(root, sources)
    return _kept(kept / "tested.npz", lambda look: _tested(items, model, look), model)


def kind_fields(kind: Kind, model: Model, kept: Path) -> Fields:
    """Images of a kind, at the scale of BreakHis if they are made of its patches, else at the assumed one."""
    name = "".join(letter if letter.isalnum() else "-" for letter in kind.name)
    return _kept(kept / f"kind-{name}.npz", lambda look: _of_kind(kind, model, look), model)


def strange_kinds(root: Path) -> list[Kind]:
    """The kinds of `dala.studies.gate_images` that should be refused; made from a few patches of BreakHis."""
    dataset = breakhis.load(root / "breakhis_200x_224", 200)
    chosen = np.concatenate(
        [np.flatnonzero(dataset.groups == group)[::EVERY][:1] for group in sorted(set(dataset.groups))]
    )
    few = replace(dataset, records=tuple(dataset.records[index] for index in chosen), groups=dataset.groups[chosen])
    pixels = load_pixels(few.records, 224)
    return [kind for kind in all_kinds(few, pixels, None) if kind.expected == "refuse"]


def _kept(path: Path, make: Callable[[Look], Iterable[Row]], model: Model) -> Fields:
    if not path.is_file():
        columns = list(zip(*make(_look(model)), strict=True))
        names = Fields.__dataclass_fields__
        with replacing(path) as partial:
            np.savez(partial, **{name: np.array(column) for name, column in zip(names, columns, strict=True)})  # type: ignore[arg-type]
    with np.load(path) as found:
        return Fields(**{name: found[name] for name in found.files})


def _look(model: Model) -> Look:
    trunk = model.net.trunk.eval()

    def look(view: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.no_grad():
            pooled: NDArray[np.float32] = trunk(network_input(view[None], None))[:, -TRUNK:].mean((2, 3)).numpy()[0]
        return pooled

    return look


def _trained(items: Sequence[Item], model: Model, look: Look) -> Iterable[Row]:
    check, size = CHECKS[model.card.modality], model.card.input
    names = [item.laboratory for item in items]
    for number, item in enumerate(items):
        seen = np.asarray(item.seen())
        failed = _failed(check, read_rgb(item.path).size, seen, size)
        yield look(seen), failed, number, item.laboratory, item.group, False
        share = RANDOM_VIEWS / names.count(item.laboratory)
        for view in range(int((number + 1) * share) - int(number * share) if share < 1 else min(8, round(share))):
            yield look(random_view(seen, 100 * number + view)), "", number, item.laboratory, item.group, True


def _failed(check: Callable[..., Any], file: tuple[int, int], seen: NDArray[np.uint8], asked: Input) -> str:
    """The check that an image fails, seen as the gate sees it: at most `asked.size` px and no larger than it is."""
    side = min(asked.size, max(seen.shape[:2]), max(file))
    reason = check(np.asarray(cv2.resize(seen, (side, side), interpolation=cv2.INTER_AREA), np.uint8))
    return reason.name if reason else ""


def random_view(seen: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """A square of an image at the network's scale, a little nearer or farther, in another stain: (256, 256, 3)."""
    draw = np.random.default_rng(seed)
    side = round(SIDE / float(np.exp(draw.uniform(np.log(NEARER), np.log(FARTHER)))))
    side = min(side, *seen.shape[:2])
    top, left = (int(draw.integers(length - side + 1)) for length in seen.shape[:2])
    frame = torch.from_numpy(np.ascontiguousarray(seen[top : top + side, left : left + side]))
    x = random_views(frame[None], SIDE, VIEWS, seed)[0]
    return np.asarray((255 * x.permute(1, 2, 0).numpy()).round(), np.uint8)


def _tested(items: Sequence[Item], model: Model, look: Look) -> Iterable[Row]:
    for number, item in enumerate(items):
        image = read_rgb(item.path)
        scale = Scale(item.pixel_size(item.record, image.width, image.height), "user")
        views = views_at_scale(np.asarray(image), scale, model.card.input)
        check, count = CHECKS[model.card.modality], len(views.places)
        for at in _spread(count, FIELDS_OF_AN_IMAGE):
            reason = check(views.for_gate[at])
            name = item.laboratory if count == 1 else f"{item.laboratory}, fields"
            failed = reason.name if reason else ""
            yield look(views.for_network[at]), failed, number, name, item.group, False
        if count > 1:
            seen = np.asarray(item.seen())
            failed = _failed(check, image.size, seen, model.card.input)
            yield look(seen), failed, number, f"{item.laboratory}, whole", item.group, False


def _spread(count: int, most: int) -> list[int]:
    """So many of 0..count - 1, evenly, none at the ends where that can be."""
    return sorted({int((2 * number + 1) * count / (2 * most)) for number in range(most)})


def _of_kind(kind: Kind, model: Model, look: Look) -> Iterable[Row]:
    check, images = CHECKS[model.card.modality], list(kind.items())
    wide, high = BREAKHIS_FIELD
    for number in sorted({int(at) for at in np.linspace(0, len(images) - 1, KIND_IMAGES)}):
        item = images[number]
        height, width = item.pixels.shape[:2]
        assumed = max(ASSUMED_UM, LEAST_UM / max(height, width))
        um = (assumed, assumed) if item.group is None else (high / height, wide / width)
        try:
            views = views_at_scale(item.pixels, Scale(um, "user"), model.card.input)
        except TooLarge:  # refused before the gate is asked
            continue
        middle = len(views.places) // 2
        reason = check(views.for_gate[middle])
        pooled = np.full(TRUNK, np.nan, np.float32) if reason else look(views.for_network[middle])
        yield pooled, reason.name if reason else "", number, item.source, item.group or "", False


# The statistics


def fit_familiar(fields: Fields) -> Gaussian:
    """Of images and random views, a mean for each laboratory, in the order of their names."""
    return _fit(fields)


def fit_apart(fields: Fields) -> Gaussian:
    """Of images as they are."""
    return _fit(fields.of(~fields.random))


def _fit(fields: Fields) -> Gaussian:
    names, number = np.unique(fields.laboratories, return_inverse=True)
    weights = np.zeros(len(number))
    for one in range(len(names)):
        own = number == one
        _, group, counts = np.unique(fields.groups[own], return_inverse=True, return_counts=True)
        weights[own] = 1 / len(counts) / counts[group]
    return fit_gaussian(fields.pooled, weights, min(AXES, len(number) // 2), number)


@dataclass(frozen=True, eq=False)
class Tissue:
    """Views of tissue in named classes: layer3 features (T, 1024), the group, and whether it is a class that the model
    takes for carcinoma."""

    pooled: NDArray[np.float32]
    lookalike: NDArray[np.bool_]
    groups: NDArray[np.str_]


def tissue_of(samples: Samples) -> Tissue:
    """The tissue that weights were trained with, of their training features."""
    own = samples.extra & (samples.labels >= 0)
    groups = samples.groups[own]
    kinds = np.array([group.removeprefix("tissue/").split(" ")[0] for group in groups.tolist()])
    return Tissue(samples.features[own][:, PARTS["layer3"]], np.isin(kinds, LOOKALIKES), groups)


def fit_lookalike(trained: Fields, tissue: Tissue) -> Lookalike:
    """Crowded lymphocytes and apocrine cells against all other tissue and all images of the laboratories, which
    together weigh the same: each laboratory alike, in it each patient."""
    names = np.where(tissue.lookalike, "lookalike", "tissue")
    laboratories = np.concatenate([trained.laboratories, names])
    labels = (laboratories == "lookalike").astype(np.int64)
    others = len(set(laboratories[labels == 0].tolist()))
    weights = balanced_weights(
        labels, np.concatenate([trained.groups, tissue.groups]), laboratories, {"lookalike": others}
    )
    x = np.concatenate([trained.pooled, tissue.pooled]).astype(np.float64)
    rows, biases = logistic_regression(x, labels, weights, LOOKALIKE_C, TOLERANCE)
    return Lookalike(rows[1] - rows[0], float(biases[1] - biases[0]))


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Of the images as they are: distances to their own fold's means (n, L), familiarity by patients held out (n,)
    and by laboratories left out (n,), and to the means (n, L - 1) of the other laboratories; and whether they were
    taken for a lookalike by patients held out (n,) and by laboratories left out (n,)."""

    fields: Fields
    names: tuple[str, ...]
    apart: Floats
    familiar: Floats
    strange: Floats
    others: Floats
    like: NDArray[np.bool_]
    strange_like: NDArray[np.bool_]


def held_out(trained: Fields, tissue: Tissue, folds: int = FOLDS) -> HeldOut:
    """Every image seen by fits without its patient, and by fits without its laboratory."""
    plain = trained.of(~trained.random)
    names, number = np.unique(plain.laboratories, return_inverse=True)
    apart, familiar = np.zeros((len(number), len(names))), np.zeros(len(number))
    strange, others = np.zeros(len(number)), np.zeros((len(number), len(names) - 1))
    like, strange_like = np.zeros(len(number), bool), np.zeros(len(number), bool)
    for _, test in grouped_folds(number.astype(np.int64), plain.groups, folds):
        rest = trained.of(~np.isin(trained.groups, plain.groups[test]))
        apart[test] = fit_apart(rest).to_each(plain.pooled[test])
        familiar[test] = fit_familiar(rest).distances(plain.pooled[test])
        like[test] = fit_lookalike(rest, tissue).recognised(plain.pooled[test])
    for name in names:
        test, rest = plain.laboratories == name, trained.of(trained.laboratories != name)
        others[test] = fit_apart(rest).to_each(plain.pooled[test])
        strange[test] = fit_familiar(rest).distances(plain.pooled[test])
        strange_like[test] = fit_lookalike(rest, tissue).recognised(plain.pooled[test])
    return HeldOut(plain, tuple(map(str, names)), apart, familiar, strange, others, like, strange_like)


def statistics(trained: Fields, found: HeldOut, tissue: Tissue) -> Familiarity:
    """What is shipped: fitted on all, with the limits that patients and laboratories held out give."""
    limits, margins = [], []
    for number, name in enumerate(found.names):
        own = found.apart[found.fields.laboratories == name]
        limits.append(np.quantile(own[:, number], OWN))
        margins.append(np.quantile(np.delete(own, number, 1).min(1) ** 2 - own[:, number] ** 2, 1 - OWN))
    known = Laboratories(found.names, fit_apart(trained), np.array(limits), np.maximum(margins, 0))
    limit = wide_limit([found.strange[found.fields.laboratories == name] for name in found.names])
    like = fit_lookalike(trained, tissue)
    return Familiarity(fit_familiar(trained), limit, np.sort(found.familiar), known, like)


def wide_limit(distances: Sequence[Floats], accepted: float = ACCEPTED) -> float:
    """The least limit that lets the share `accepted` of fields through, each laboratory (n,) weighing the same."""
    values = np.concatenate(distances)
    order = np.argsort(values)
    weights = np.concatenate([np.full(len(one), 1 / len(one) / len(distances)) for one in distances])[order]
    reached = np.searchsorted(np.cumsum(weights), accepted - 1e-9)
    return float(values[order][min(int(reached), len(values) - 1)])


def share(flags: NDArray[np.bool_], groups: NDArray[np.str_]) -> dict[str, float]:
    """A share with its interval over groups."""
    low, high = share_over_groups(flags, groups)
    return {"value": round(float(flags.mean()), 4), "low": round(low, 4), "high": round(high, 4)}


def taken(known: Laboratories, pooled: NDArray[np.floating]) -> dict[str, int]:
    """How many views are taken for which laboratory; the rest for an unknown one."""
    return counted(known, known.gaussian.to_each(pooled))


def counted(known: Laboratories, distances: Floats) -> dict[str, int]:
    """The same of distances (n, L)."""
    answers = [known.taken_for(one) for one in distances]
    return {name: answers.count(name) for name in known.names if name in answers}


def folder_of(runs: Path, model: Model) -> Path:
    """Where what this trunk sees is kept; a change of how images are made is another folder."""
    from dala.studies import gate_images

    code = Path(str(gate_images.__file__)).read_bytes() + Path(__file__).read_bytes()
    made = hashlib.sha256(trunk_identity(model.net.trunk).encode() + code).hexdigest()[:8]
    return runs / f"gate-laboratories-{made}"
