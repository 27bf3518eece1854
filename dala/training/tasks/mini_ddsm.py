"""Mini-DDSM: the recipe of the mammography weights, its cross-validation by case, and what the film gives away.

python -m dala crossvalidate mini_ddsm --data ROOT   the figures, evidence/mini_ddsm.json
python -m dala train mini_ddsm --data ROOT           weights/mini_ddsm.safetensors, trained on every case

The network sees the breast alone (`dala.preprocess.mammogram`). The same recipe is run on the whole film as well, and
never shipped: beside the film with its breast masked out it shows how far a classifier of this data set comes without
looking at a breast. Films were scanned in batches, and a batch holds cases of mostly one class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.ensemble import ExtraTreesClassifier
from torch import nn
from tqdm import tqdm

from dala.data import mini_ddsm
from dala.data.augment import Augmentation
from dala.data.mini_ddsm import Dataset, Record
from dala.data.pixels import in_order, read_rgb
from dala.data.splits import group_weights, grouped_folds, image_folds
from dala.errors import DataError
from dala.nets.dala_resnet50 import DALAResNet50
from dala.nets.imagenet import Backbone
from dala.preprocess.mammogram import crop_breast, find_breast, squeezed
from dala.preprocess.views import network_input
from dala.runtime.calibration import softmax
from dala.runtime.predict import Model
from dala.stats.metrics import multiclass_scores, with_intervals
from dala.training.evaluate import (
    PROBE_STRENGTH,
    Progress,
    divided,
    fitted_probe,
    frozen_features,
    known_groups,
    served_probabilities,
)
from dala.training.features import (
    CHUNK,
    TrunkFeatures,
    apply_to_view,
    device_of,
    reduced_precision,
    views_through,
    with_teacher,
)
from dala.training.fine_tune import fit
from dala.training.recipe import Recipe

COMMAND = "python -m dala crossvalidate mini_ddsm --data ROOT"
# Framing and exposure only: a breast is not turned upside down, and there is no stain.
FRAMED = Augmentation(
    crop=0.8, aspect=1.25, stain=0.0, stain_mix=0.0, gain=0.0, gamma=0.15, grey=0.0, blur=0.0, symmetries=False
)
RECIPE = Recipe(
    enlarged=320,
    epochs=1.0,
    teacher=320,
    teacher_stages=("layer2", "layer3"),
    logistic_c=1e-2,
    geometric_views=2,
    stained_views=0,
    geometric=FRAMED,
)
PROBE_SIDE = 224  # of the probes of whole and masked films
HALO = 5  # pixels by which the breast is masked out more widely than it was found
BLANK = 128
NETWORK, WHOLE_FILM, MASKED_OUT = "dala_resnet50", "whole_film_dala_resnet50", "masked_out_probe"

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]


def breast(film: Pixels, side: int) -> Pixels:
    """What the network sees: (side, side, 3) uint8 of a film (H, W, 3) uint8."""
    return crop_breast(film).resized(side)


def whole_film(film: Pixels, side: int) -> Pixels:
    """The film as it is, squeezed: (side, side, 3) uint8."""
    return np.asarray(Image.fromarray(film).resize((side, side), Image.Resampling.BICUBIC))


def masked_out(film: Pixels, side: int) -> Pixels:
    """The film without its breast, which is one grey: labels, frame and background, and the outline of the breast."""
    grey = squeezed(film)
    return whole_film(np.repeat(np.where(_hidden(grey), BLANK, grey).astype(np.uint8)[..., None], 3, axis=2), side)


Look = Callable[[Pixels, int], Pixels]
LOOKS: Mapping[str, Look] = MappingProxyType({"breast": breast, "whole film": whole_film, "masked out": masked_out})


def grey_levels(film: Pixels) -> Floats:
    """Three numbers: mean, standard deviation and median of the whole film's grey levels."""
    grey = squeezed(film)
    return np.array([grey.mean(), grey.std(), np.median(grey)], dtype=np.float64)


def background_levels(film: Pixels) -> Floats:
    """Nine numbers: percentiles of the grey levels outside the breast, zeros if nothing is outside."""
    grey = squeezed(film)
    outside = grey[~_hidden(grey)]
    if not outside.size:
        return np.zeros(9)
    return np.asarray(np.percentile(outside, [1, 5, 10, 25, 50, 75, 90, 95, 99]), dtype=np.float64)


def _hidden(grey: Pixels) -> NDArray[np.bool_]:
    """The breast and a halo around it."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * HALO + 1, 2 * HALO + 1))
    return cv2.dilate(find_breast(grey)[0].astype(np.uint8), kernel).astype(bool)


@dataclass(frozen=True, eq=False)
class Tiles:
    """Images of a data set under one look, read when asked for: `tiles[i:j]` is (j - i, side, side, 3) uint8."""

    records: Sequence[Record]
    look: Look
    side: int

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, chosen: slice) -> Pixels:
        return np.stack(list(in_order(self._of, self.records[chosen])))

    def _of(self, record: Record) -> Pixels:
        return self.look(np.asarray(read_rgb(record.path)), self.side)


def measured(records: Sequence[Record], measure: Callable[[Pixels], Floats]) -> Floats:
    """One row of numbers a film."""
    return np.stack(list(in_order(lambda record: measure(np.asarray(read_rgb(record.path))), records)))


def trunk_views(dataset: Dataset, look: str, backbone: Backbone, recipe: Recipe, folder: Path) -> TrunkFeatures:
    """The trunk's output for the recipe's training views under a look, and what the teacher sees, from `folder` where
    that has been computed before.

    Takes 0.8 MB of disk an image and view at 320 pixels.
    """
    net = DALAResNet50()
    net.load_imagenet(backbone)
    framing = recipe.geometric
    place = folder / f"{look.replace(' ', '-')}-{recipe.enlarged}-{framing.crop}-{framing.aspect}-{framing.gamma}"
    tiles = Tiles(dataset.records, LOOKS[look], recipe.enlarged)
    found = views_through(net.trunk, tiles, recipe, recipe.training_views, place)
    return with_teacher(found, net.trunk, tiles, recipe, place) if recipe.teacher else found


def pooled_features(dataset: Dataset, look: str, backbone: Backbone, folder: Path) -> Floats:
    """Pooled features (N, 2048) of ImageNet's own ResNet50 at `PROBE_SIDE`, from `folder` if they are there already."""
    done = folder / f"pooled-{look.replace(' ', '-')}-{PROBE_SIDE}.npy"
    if not done.is_file():
        net = DALAResNet50()
        net.load_imagenet(backbone)
        device = device_of()
        parts = (net.trunk, net.layer4.get_submodule("blocks"), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        pooled = nn.Sequential(*parts).eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        tiles, rows = Tiles(dataset.records, LOOKS[look], PROBE_SIDE), []
        with torch.no_grad(), reduced_precision(device):
            for start in tqdm(range(0, len(tiles), CHUNK), desc=f"features of the {look}", unit="batch"):
                x = network_input(tiles[start : start + CHUNK], PROBE_SIDE).to(device)
                rows.append(pooled(x).double().cpu().numpy())
        folder.mkdir(parents=True, exist_ok=True)
        partial = done.with_suffix(".partial.npy")
        np.save(partial, np.concatenate(rows))
        partial.replace(done)
    answer: Floats = np.load(done)
    return answer


def cross_validate(
    dataset: Dataset, everything: Dataset, backbone: Backbone, recipe: Recipe, folder: Path, folds: int, repeats: int
) -> dict[str, Any]:
    """Repeated cross-validation by case of the network beside what needs no network or no breast; ready for JSON.

    dataset: benign and malignant cases of the trained letters. everything: all letters and statuses, for the table of
    what a naive three-class split would have claimed. A fold's predictions are kept in `folder` as soon as they are
    made: a killed run goes on where it was. On the whole film the recipe runs one repeat only.
    """
    labels, groups = dataset.labels, dataset.groups
    features = trunk_views(dataset, "breast", backbone, recipe, folder)
    film_recipe = replace(recipe, geometric_views=0)
    film = trunk_views(dataset, "whole film", backbone, film_recipe, folder)
    pooled = {look: pooled_features(everything, look, backbone, folder) for look in LOOKS}
    place_of = {record.name: index for index, record in enumerate(everything.records)}
    here = np.array([place_of[record.name] for record in dataset.records])
    frozen = {
        "linear_probe": frozen_features(features, backbone),
        "grey_levels": measured(dataset.records, grey_levels),
        MASKED_OUT: pooled["masked out"][here],
        "whole_film_probe": pooled["whole film"][here],
    }
    strengths = dict.fromkeys(frozen, PROBE_STRENGTH)
    if features.teacher is not None:
        frozen["teacher"], strengths["teacher"] = features.teacher.astype(np.float64), recipe.logistic_c
    background = measured(dataset.records, background_levels)
    probabilities = {name: np.zeros((repeats, len(labels))) for name in (NETWORK, *frozen, "background_trees")}
    probabilities[WHOLE_FILM] = np.zeros((1, len(labels)))
    for repeat in range(repeats):
        for number, fold in enumerate(grouped_folds(labels, groups, folds, seed=repeat)):
            training, test = fold
            seed, place = 100 * repeat + number, f"{repeat}-{number}"
            own = folder / recipe.fingerprint
            probabilities[NETWORK][repeat, test] = _held_out(
                dataset, features, fold, backbone, recipe, seed, own / f"breast-{place}"
            )
            if repeat == 0:
                probabilities[WHOLE_FILM][0, test] = _held_out(
                    dataset, film, fold, backbone, film_recipe, seed, own / f"whole-film-{place}"
                )
            for name, x in frozen.items():
                probabilities[name][repeat, test] = probe(x, labels, groups, training, test, strengths[name])[:, 1]
            trees = ExtraTreesClassifier(300, min_samples_leaf=3, random_state=seed)
            trees.fit(background[training], labels[training], group_weights(labels[training], groups[training]))
            probabilities["background_trees"][repeat, test] = trees.predict_proba(background[test])[:, 1]
    order = (
        NETWORK,
        *(["teacher"] if "teacher" in frozen else []),
        "linear_probe",
        "grey_levels",
        MASKED_OUT,
        "background_trees",
        "whole_film_probe",
        WHOLE_FILM,
    )
    probabilities = {name: probabilities[name] for name in order}
    scores = scores_of(probabilities, labels, groups)
    by_letter = {
        letter: scores_of(
            {name: p[:, dataset.laboratories == letter] for name, p in probabilities.items()},
            labels[dataset.laboratories == letter],
            groups[dataset.laboratories == letter],
        )
        for letter in sorted(set(dataset.laboratories))
    }
    return {
        "protocol": f"grouped cross-validation by case, {divided(folds, repeats)} (1 of the network on the "
        "whole film), predictions pooled within a repeat and scores averaged over the repeats; 95 % intervals: "
        "bootstrap over cases",
        "command": COMMAND,
        "data": described(dataset),
        "imagenet": backbone.source,
        "recipe": recipe.record,
        "scores": scores,
        "scores_by_letter": by_letter,
        "scores_by_case": scores_of(*of_cases(probabilities, labels, groups)),
        "explained": {
            NETWORK: "the recipe on the breast alone, threshold 0.5: what is shipped",
            "teacher": "the recipe's teacher alone: logistic regression on frozen ImageNet features of "
            f"{' and '.join(recipe.teacher_stages)} of the breast alone",
            "linear_probe": "logistic regression on pooled frozen ImageNet features of the breast alone",
            "grey_levels": "logistic regression on mean, standard deviation and median of the whole film's grey levels",
            MASKED_OUT: "logistic regression on frozen features of the film with its breast masked out: a site effect",
            "background_trees": "extremely randomised trees on nine percentiles of the grey levels outside the breast: "
            "a site effect",
            "whole_film_probe": "logistic regression on frozen features of the whole film: site effect and breast",
            WHOLE_FILM: "the recipe on the whole film: site effect and breast; never shipped",
        },
        "site_effect": site_effect(scores, by_letter),
        "naive_three_classes": {
            "table": (rows := naive_table(everything, pooled, folds)),
            "verdict": naive_verdict(rows),
        },
        "predictions": {
            "files": [record.name for record in dataset.records],
            "labels": labels.tolist(),
            "groups": [str(group) for group in groups],
            "probabilities": {name: p.round(4).tolist() for name, p in probabilities.items()},
        },
    }


def _held_out(
    dataset: Dataset,
    features: TrunkFeatures,
    fold: tuple[NDArray[np.intp], NDArray[np.intp]],
    backbone: Backbone,
    recipe: Recipe,
    seed: int,
    place: Path,
) -> Floats:
    """Probability of malignant for a fold's test images, from disk where it has been computed before."""
    training, test = fold
    done = place / "probabilities.npy"
    if not done.is_file():
        net = fit(features, dataset.labels, dataset.groups, training, backbone, recipe, seed, place)
        logits = apply_to_view(nn.Sequential(net.layer4, net.head), features, "plain", test)
        np.save(done, softmax(logits)[:, 1])
    answer: Floats = np.load(done)
    return answer


def scores_of(probabilities: Mapping[str, Floats], labels: NDArray[np.int64], groups: NDArray[Any]) -> dict[str, Any]:
    """The binary metrics of every model with intervals over groups."""
    return {name: dict(with_intervals(labels, p, groups)) for name, p in probabilities.items()}


def of_cases(
    probabilities: Mapping[str, Floats], labels: NDArray[np.int64], groups: NDArray[np.str_]
) -> tuple[dict[str, Floats], NDArray[np.int64], NDArray[np.str_]]:
    """One prediction a case: the mean over its images, with the case's label and name."""
    names, first, order = np.unique(groups, return_index=True, return_inverse=True)
    counts = np.bincount(order)
    means = {
        name: np.stack([np.bincount(order, repeat) / counts for repeat in np.atleast_2d(p)])
        for name, p in probabilities.items()
    }
    return means, labels[first], names


def described(dataset: Dataset) -> dict[str, Any]:
    """What a result was computed on, for JSON; counts by letter are [benign, malignant]."""
    labels, groups = dataset.labels, dataset.groups
    return {
        "name": "Mini-DDSM",
        "letters": sorted({str(letter) for letter in dataset.laboratories}),
        "pictures": len(labels),
        "benign": int((labels == 0).sum()),
        "malignant": int((labels == 1).sum()),
        "groups": len(set(groups)),
        "benign_groups": len(set(groups[labels == 0])),
        "by_letter": {
            str(letter): np.bincount(labels[dataset.laboratories == letter], minlength=2).tolist()
            for letter in sorted(set(dataset.laboratories))
        },
    }


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


def probe(
    x: Floats,
    labels: NDArray[np.int64],
    groups: NDArray[np.str_],
    training: NDArray[np.intp],
    test: NDArray[np.intp],
    strength: float = PROBE_STRENGTH,
) -> Floats:
    """Class probabilities (len(test), classes) by group-balanced logistic regression on standardised features."""
    rows, biases = fitted_probe(x, labels, groups, training, strength)
    answer: Floats = softmax(x[test] @ rows.T + biases)
    return answer


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
            p[test] = probe(x[input_][chosen], labels, units, training, test)
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


def load_all(root: Path) -> tuple[Dataset, Dataset]:
    """Benign and malignant cases of the trained letters, and all statuses of all letters."""
    return mini_ddsm.load(root), mini_ddsm.load(root, mini_ddsm.LETTERS, "status")


def evaluate(dataset: Dataset, model: Model, progress: Progress | None = None) -> dict[str, Any]:
    """Score a model on films, image by image, by the very path that serves users, over all and per scanner letter.

    Raises DataError for an image that cannot be read, or weights of other classes or of another modality.
    """
    if model.card.input.preprocess != "mammogram":
        raise DataError(f"The weights {model.name} judge {model.card.modality}, not mammograms.")
    p = served_probabilities(dataset, model, progress)
    subsets = {"all": np.ones(len(p), dtype=bool)}
    subsets |= {str(letter): dataset.laboratories == letter for letter in sorted(set(dataset.laboratories))}
    return {
        "protocol": f"every image scored once, 95 % intervals by bootstrap over {len(set(dataset.groups))} cases; "
        + known_groups(dataset.groups, model),
        "weights": model.name,
        "weights_sha256": model.card.fields["sha256"],
        "data": described(dataset),
        "scores": {
            name: dict(with_intervals(dataset.labels[chosen], p[chosen], dataset.groups[chosen]))
            for name, chosen in subsets.items()
        },
    }
