"""The gate's statistics and how well it keeps out what a model cannot judge, with patients held out.

The familiarity of an image is judged by a Gaussian fitted on other accession groups: true patches, and all that is
made from them, by the fold that holds their group out; images of no known group by the mean over the folds. The
limit is the distance at which 95 % of the true patches pass the whole gate. The Gaussian that is shipped is then fitted
on all groups with that limit.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dala.data import breakhis, perturb
from dala.data.augment import Augmentation, random_views
from dala.data.perturb import jpeg
from dala.data.pixels import load_pixels
from dala.data.splits import grouped_folds
from dala.errors import DataError
from dala.gate.checks import CHECKS
from dala.gate.familiarity import SUFFIX, Familiarity, Gaussian, fit_gaussian, save_familiarity, trunk_identity
from dala.preprocess.views import network_input, preprocess
from dala.runtime.card import read_card
from dala.runtime.predict import Model, load_model
from dala.stats.agreement import share_over_groups
from dala.stats.roc import auc, roc_curve
from dala.studies import gate_images
from dala.studies.gate_images import Item, Kind, all_kinds

Floats = NDArray[np.float64]
Progress = Callable[[int, int], None]

ACCEPTED = 0.95  # share of true patches, of patients held out, that pass the whole gate
FOLDS = 5
AXES = 64
VARIANTS = 1  # of each training image, besides itself
# What users do to a patch before they hand it in, and a fit to bare training images would take for strange.
HANDED_IN = Augmentation(
    crop=0.6, aspect=1.6, stain=0.15, stain_mix=0.02, gain=0.04, gamma=0.08, grey=0.0, blur=0.3, symmetries=True
)
CURVE = 200  # points of a ROC curve, at most
KEPT_EVERY = 50


@dataclass(frozen=True, eq=False)
class Seen:
    """What the gate sees of N images: pooled trunk features of each view, the check that each view fails ("" for
    none), which image a view is of, and the images' sources and accession groups ("" for none)."""

    pooled: NDArray[np.float32]
    failed: NDArray[np.str_]
    image: NDArray[np.int64]
    sources: NDArray[np.str_]
    groups: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.sources)


def fit_and_measure(
    root: Path,
    others: Path | None,
    weights: str,
    runs: Path,
    say: Callable[[str], None] = print,
    progress: Callable[[str], Progress] | None = None,
) -> tuple[Familiarity, Model, dict[str, Any]]:
    """Fit the statistics for a model on the data set that it was trained on, and measure the gate.

    What the trunk says of each kind of image is kept in `runs`: a killed run goes on where it was. Raises DataError
    for a missing data set, WeightsError for missing weights.
    """
    model = load_model(weights)
    magnification = int(model.card.magnification.removesuffix("X"))
    dataset = breakhis.load(root, magnification)
    pixels = load_pixels(dataset.records, model.card.input.size)
    folder = runs / f"gate-{_made_of(model)}"
    # A change of the code that makes the images makes other images.
    code = b"".join(Path(str(module.__file__)).read_bytes() for module in (gate_images, perturb))
    made = folder / hashlib.sha256(code).hexdigest()[:8]
    bars = progress or (lambda name: lambda done, total: None)

    groups = [str(group) for group in dataset.groups]
    own = [Item(image, group, group) for image, group in zip(pixels, groups, strict=True)]
    true = observe("true", own, model, folder, bars)
    variants = [
        observe(f"variant-{k}", _handed_in(pixels, groups, k), model, folder, bars) for k in range(VARIANTS)
    ]  # fmt: skip
    kinds = all_kinds(dataset, pixels, others)
    seen = {kind.name: observe(kind.name, kind.items, model, made, bars) for kind in kinds}

    folds = [test for _, test in grouped_folds(dataset.labels, dataset.groups, FOLDS)]
    fold_of = {str(group): number for number, test in enumerate(folds) for group in dataset.groups[test]}
    gaussians = [_fit([true, *variants], set(groups) - set(dataset.groups[test])) for test in folds]
    scores = score(true, gaussians, fold_of)
    limit = limit_of(scores)
    judged = {name: score(one, gaussians, fold_of) for name, one in seen.items()}
    alone = {name: int((distance(one, gaussians, fold_of) > limit).sum()) for name, one in seen.items()}
    finite = np.sort(distance(true, gaussians, fold_of))
    say(f"limit {limit:.4f}; distances of true patches {finite[0]:.3f} to {finite[-1]:.3f}")
    familiarity = Familiarity(_fit([true, *variants], set(groups)), limit, finite)
    record = {
        "protocol": f"familiarity by a Gaussian of pooled layer3 features ({AXES} axes) fitted on other accession "
        f"groups, {FOLDS} grouped folds. The lines of the checks of the pixels and the number of axes were chosen with "
        "these very images in view, true patches and others, so what the checks refuse is a description and no "
        "estimate for new kinds; `by_distance_alone` is what familiarity refuses without them. The limit is set at "
        "the distance at "
        f"which {ACCEPTED:.0%} of the {len(true)} true patches, each analysed by a fit without its group, pass the "
        "whole gate. Images made from true patches are analysed by the fit without their group, all others by the "
        "mean distance over the folds. 95 % intervals: bootstrap over sources (patients, photographs, films), Wilson "
        "with the number of sources where all or none are refused or there is one source only",
        "command": f"dala gate breakhis --data ROOT --others DIR{_name_of(weights)}",
        "weights": model.name,
        "weights_sha256": model.card.fields["sha256"],
        "trunk": trunk_identity(model.net.trunk),
        "enlarged": model.card.input.upsampled,
        "modality": model.card.modality,
        "data": {"name": "BreakHis", "magnification": magnification, "pictures": len(true), "groups": len(set(groups))},
        "limit": limit,
        "true_patches": {**refused(scores > limit, true), "by_check": reasons(true, scores > limit),
                         "by_group": _by_group(scores > limit, dataset.groups)},
        "kinds": [
            {**describe(kind, seen[kind.name], judged[kind.name], scores, limit), "by_distance_alone": alone[kind.name]}
            for kind in kinds
        ],
        "families": _families(kinds, seen, judged, limit),
        "left_out": [] if others is not None else ["the data sets of --others"],
    }  # fmt: skip
    return familiarity, model, record


def write_statistics(model: Model, weights: str, familiarity: Familiarity) -> Path:
    """Write the statistics beside the weights and return their path."""
    path = read_card(weights)[1].with_suffix(SUFFIX)
    save_familiarity(path, familiarity, trunk_identity(model.net.trunk), model.card.input.upsampled)
    return path


def observe(
    name: str,
    items: Iterable[Item] | Callable[[], Iterable[Item]],
    model: Model,
    folder: Path,
    bars: Callable[[str], Progress] = lambda name: lambda done, total: None,
) -> Seen:
    """What the gate sees of some images, by the very path that serves users; the features are kept in `folder`."""
    images = list(items() if callable(items) else items)
    views, inputs, image = [], [], []
    for number, item in enumerate(images):
        seen = preprocess(item.pixels, model.card.input)
        views += list(seen.for_gate)
        inputs += list(seen.for_network)
        image += [number] * len(seen.places)
    path = folder / f"{name.replace(' ', '-').replace(':', '').replace(',', '').replace('&', '')}.npy"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        pooled_features(inputs, model, path, bars(name))
    check = CHECKS[model.card.modality]
    failed = [reason.name if (reason := check(view)) else "" for view in views]
    return Seen(
        np.load(path),
        np.array(failed, dtype=np.str_),
        np.array(image),
        np.array([item.source for item in images], dtype=np.str_),
        np.array([item.group or "" for item in images], dtype=np.str_),
    )


def pooled_features(views: Sequence[NDArray[np.uint8]], model: Model, path: Path, progress: Progress) -> None:
    """Write (N, C) float32 to `path`: the trunk's output averaged over each view, a view at a time as in serving.

    What is done so far is kept beside it; a killed run goes on there.
    """
    partial = path.with_suffix(".partial.npy")
    rows = list(np.load(partial)) if partial.is_file() else []
    with torch.no_grad():
        for done in range(len(rows), len(views)):
            maps = model.net.trunk(network_input(views[done][None], model.card.input.upsampled))
            rows.append(maps.mean((2, 3)).numpy()[0])
            progress(done + 1, len(views))
            if (done + 1) % KEPT_EVERY == 0 or done + 1 == len(views):
                written = path.with_suffix(".written.npy")
                np.save(written, np.stack(rows).astype(np.float32))
                written.replace(partial)
    partial.replace(path)


def score(seen: Seen, gaussians: Sequence[Gaussian], fold_of: dict[str, int]) -> Floats:
    """(N,) the least limit at which each image passes the gate; infinite if a check of the pixels refuses it.

    Of an image with several views at least half must pass.
    """
    far = np.where(seen.failed == "", _distances(seen, gaussians, fold_of), np.inf)
    return np.array([_middle(far[seen.image == number]) for number in range(len(seen))])


def distance(seen: Seen, gaussians: Sequence[Gaussian], fold_of: dict[str, int]) -> Floats:
    """(N,) the median distance over each image's views, whatever the checks of the pixels say."""
    far = _distances(seen, gaussians, fold_of)
    return np.array([float(np.median(far[seen.image == number])) for number in range(len(seen))])


def _distances(seen: Seen, gaussians: Sequence[Gaussian], fold_of: dict[str, int]) -> Floats:
    table = np.stack([gaussian.distances(seen.pooled) for gaussian in gaussians])
    folds = np.array([fold_of.get(str(group), -1) for group in seen.groups])[seen.image]
    return np.where(folds >= 0, table[folds, np.arange(len(folds))], table.mean(0))


def _middle(values: Floats) -> float:
    return float(np.sort(values)[(len(values) + 1) // 2 - 1])


def limit_of(scores: Floats, accepted: float = ACCEPTED) -> float:
    """The least limit at which at least the share `accepted` of the images pass; DataError if checks refuse more."""
    limit = float(np.sort(scores)[int(np.ceil(accepted * len(scores))) - 1])
    if not np.isfinite(limit):
        raise DataError(f"The checks of the pixels refuse more than {1 - accepted:.0%} of these images already.")
    return limit


def describe(kind: Kind, seen: Seen, scores: Floats, true: Floats, limit: float) -> dict[str, Any]:
    """A kind's line of the evidence: how many are refused and why, the area under its ROC curve, and the curve."""
    return {
        "name": kind.name,
        "family": kind.family,
        "expected": kind.expected,
        "about": kind.about,
        **refused(scores > limit, seen),
        "by_check": reasons(seen, scores > limit),
        "auc": round(auc(*_against(true, scores)), 4),
        "roc": _curve(true, scores),
    }


def refused(flags: NDArray[np.bool_], seen: Seen) -> dict[str, Any]:
    """Images, sources, how many are refused, and the share with its interval."""
    low, high = share_over_groups(flags, seen.sources)
    return {
        "pictures": len(flags),
        "sources": len(set(seen.sources)),
        "refused": int(flags.sum()),
        "share": {"value": round(float(flags.mean()), 4), "low": round(low, 4), "high": round(high, 4)},
    }


def reasons(seen: Seen, flags: NDArray[np.bool_]) -> dict[str, int]:
    """How often each check is the reason of a refusal, most frequent first."""
    names: Counter[str] = Counter()
    for number in np.flatnonzero(flags):
        failed = [str(name) for name in seen.failed[seen.image == number]]
        named = Counter(name or "unfamiliar" for name in failed)
        names[named.most_common(1)[0][0]] += 1
    return dict(names.most_common())


def _fit(parts: Sequence[Seen], keep: set[str]) -> Gaussian:
    pooled = np.concatenate([part.pooled for part in parts])
    groups = np.concatenate([part.groups[part.image] for part in parts])
    inside = np.isin(groups, sorted(keep))
    _, group_of, counts = np.unique(groups[inside], return_inverse=True, return_counts=True)
    # Patients weigh the same, however many images they have. Half of what few images span is kept for the rest.
    return fit_gaussian(pooled[inside], 1 / counts[group_of], min(AXES, int(inside.sum()) // 2))


def _handed_in(pixels: NDArray[np.uint8], groups: Sequence[str], k: int) -> Callable[[], Iterable[Item]]:
    def items() -> Iterable[Item]:
        for number, (image, group) in enumerate(zip(pixels, groups, strict=True)):
            view = random_views(torch.from_numpy(image[None]), len(image), HANDED_IN, seed=100_000 * k + number)
            changed = (255 * view[0].permute(1, 2, 0).numpy()).round().astype(np.uint8)
            random = np.random.default_rng((11, k, number))
            yield Item(jpeg(changed, int(random.integers(40, 96))) if random.random() < 0.5 else changed, group, group)

    return items


def _against(true: Floats, scores: Floats) -> tuple[NDArray[np.bool_], Floats]:
    """Is it of the kind, and its score, of true patches and a kind; the checks' infinities count as scores."""
    return np.repeat([False, True], [len(true), len(scores)]), np.concatenate([true, scores])


def _curve(true: Floats, scores: Floats) -> list[list[float]]:
    """(share of true patches refused, share of the kind refused) over falling limits, from (0, 0) to (1, 1)."""
    x, y = roc_curve(*_against(true, scores))
    # Within a level or an upright run only the ends matter.
    level, upright = np.diff(y) == 0, np.diff(x) == 0
    inner = (level[:-1] & level[1:]) | (upright[:-1] & upright[1:])
    kept = np.flatnonzero(np.concatenate([[True], ~inner, [True]]))
    step = max(1, int(np.ceil(len(kept) / CURVE)))
    kept = np.append(kept[:-1:step], kept[-1])
    return [[round(float(x[at]), 4), round(float(y[at]), 4)] for at in kept]


def _families(
    kinds: Sequence[Kind], seen: dict[str, Seen], judged: dict[str, Floats], limit: float
) -> dict[str, dict[str, Any]]:
    """Refusals over all kinds of a family of which the same is expected; a source counts once in all of them."""
    table = {}
    for family in dict.fromkeys(kind.family for kind in kinds):
        for expected in ("accept", "refuse"):
            names = [kind.name for kind in kinds if (kind.family, kind.expected) == (family, expected)]
            if names:
                flags = np.concatenate([judged[name] > limit for name in names])
                sources = np.concatenate([seen[name].sources for name in names])
                low, high = share_over_groups(flags, sources)
                table[f"{family} ({expected})"] = {
                    "kinds": names,
                    "pictures": len(flags),
                    "sources": len(set(sources)),
                    "refused": int(flags.sum()),
                    "share": {"value": round(float(flags.mean()), 4), "low": round(low, 4), "high": round(high, 4)},
                }
    return table


def _by_group(flags: NDArray[np.bool_], groups: NDArray[np.str_]) -> dict[str, list[int]]:
    return {
        str(group): [int(flags[groups == group].sum()), int((groups == group).sum())] for group in sorted(set(groups))
    }


def _made_of(model: Model) -> str:
    """Changes with the trunk, the input and the changes of true patches, so that nothing stale is found again."""
    parts = (trunk_identity(model.net.trunk), model.card.input.size, model.card.input.upsampled, HANDED_IN)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:8]


def _name_of(weights: str) -> str:
    return "" if weights == "breakhis" else f" --weights {weights}"
