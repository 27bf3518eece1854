"""How often is it wrong, on whose patients: grouped cross-validation of the recipe, and scoring of any tree."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import nn

from dala.data import breakhis, mini_ddsm
from dala.data.pixels import load_pixels
from dala.data.splits import group_weights, grouped_folds
from dala.errors import DataError, IntakeError
from dala.intake.image import read_image
from dala.nets.dala_resnet50 import DALAResNet50
from dala.nets.imagenet import Backbone
from dala.runtime.calibration import softmax
from dala.runtime.colour_only import colour_statistics
from dala.runtime.predict import Model, predict
from dala.stats.metrics import with_intervals
from dala.training.features import TrunkFeatures, apply_to_view, trunk_features
from dala.training.fine_tune import fit
from dala.training.head import logistic_regression
from dala.training.recipe import SIZE, Recipe

Progress = Callable[[int, int], None]

PROBE_STRENGTH = 1e-3  # C of the linear probes


def cross_validate(
    dataset: breakhis.Dataset,
    backbone: Backbone,
    recipe: Recipe,
    folder: Path,
    folds: int,
    repeats: int,
) -> dict[str, Any]:
    """Repeated grouped cross-validation of the network beside two baselines on the same folds; ready for JSON.

    A fold's predictions are kept in `folder` as soon as they are made: a killed run goes on where it was. Every number
    is about images whose accession group the model did not see in training.
    """
    labels, groups = dataset.labels, dataset.groups
    pixels = load_pixels(dataset.records, SIZE)
    features = trunk_features(pixels, backbone, recipe, folder)
    shape = (repeats, len(labels))
    network, shifted = np.zeros(shape), np.zeros(shape)
    probe, colour, teacher = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    seen_by_teacher = None if features.teacher is None else features.teacher.astype(np.float64)
    frozen = frozen_features(features, backbone)
    statistics = colour_statistics(pixels)
    for repeat in range(repeats):
        for number, (training, test) in enumerate(grouped_folds(labels, groups, folds, seed=repeat)):
            done = folder / f"fold-{recipe.fingerprint}-{repeat}-{number}.npz"
            if not done.is_file():
                seed = 100 * repeat + number
                net = fit(
                    features, labels, groups, training, backbone, recipe, seed, folder / f"fold-{repeat}-{number}"
                )
                network_of = nn.Sequential(net.layer4, net.head)
                # The softmax outside, in float64: in bfloat16 every probability above .998 would be 1.
                seen = {
                    name: softmax(apply_to_view(network_of, features, name, test))[:, 1]
                    for name in ("plain", "stain_shift")
                }
                if repeat == 0:  # the networks of one division serve every later question about new patients
                    state = {name: value.contiguous() for name, value in net.state_dict().items()}
                    save_file(state, network_of_fold(folder, number))
                np.savez(done, plain=seen["plain"], stain_shift=seen["stain_shift"])
            with np.load(done) as kept:
                network[repeat, test], shifted[repeat, test] = kept["plain"], kept["stain_shift"]
            probe[repeat, test] = linear_probe(frozen, labels, groups, training, test)
            colour[repeat, test] = linear_probe(statistics, labels, groups, training, test)
            if seen_by_teacher is not None:
                teacher[repeat, test] = linear_probe(seen_by_teacher, labels, groups, training, test, recipe.logistic_c)
    predictions = {
        "dala_resnet50": network,
        "dala_resnet50_stain_shift": shifted,
        "linear_probe": probe,
        "colour_only": colour,
    }
    if seen_by_teacher is not None:
        predictions["teacher"] = teacher
    scores = {name: with_intervals(labels, probabilities, groups) for name, probabilities in predictions.items()}
    return {
        "protocol": f"grouped cross-validation by accession number, {divided(folds, repeats)}, predictions "
        "pooled within a repeat and scores averaged over the repeats; 95 % intervals: bootstrap over accession groups",
        "command": "dala crossvalidate breakhis --data ROOT",
        "data": described(dataset),
        "imagenet": backbone.source,
        "recipe": recipe.record,
        "scores": scores,
        "explained": {
            "dala_resnet50": "the recipe, plain view, threshold 0.5, before calibration",
            "dala_resnet50_stain_shift": "the same networks on images with a strong random stain and colour change",
            "linear_probe": "logistic regression on pooled frozen ImageNet features of the same input",
            "colour_only": "logistic regression on mean and standard deviation of R, G and B",
            "teacher": "the recipe's teacher alone: logistic regression on frozen ImageNet features of "
            f"{' and '.join(recipe.teacher_stages)}, the image at {recipe.teacher} pixels",
        },
        "by_group": by_group(labels, groups, network),
        "predictions": {
            "files": [record.name for record in dataset.records],
            "labels": labels.tolist(),
            "groups": [str(group) for group in groups],
            "probabilities": {name: values.round(6).tolist() for name, values in predictions.items()},
        },
    }


def divided(folds: int, repeats: int) -> str:
    """How often a cross-validation divided the images, in words."""
    return f"{folds} folds, {repeats} repeat{'' if repeats == 1 else 's'}"


def described(dataset: breakhis.Dataset) -> dict[str, Any]:
    """What a result was computed on: magnifications, images and accession groups, for JSON."""
    labels, groups = dataset.labels, dataset.groups
    return {
        "name": "BreakHis",
        "magnifications": sorted({record.magnification for record in dataset.records}),
        "pictures": len(labels),
        "benign": int((labels == 0).sum()),
        "malignant": int((labels == 1).sum()),
        "groups": len(set(groups)),
        "benign_groups": len(set(groups[labels == 0])),
    }


def by_group(labels: NDArray[np.int64], groups: NDArray[np.str_], probabilities: NDArray[np.float64]) -> dict[str, Any]:
    """Per accession group: class, images, share called malignant at 0.5 and mean probability over the repeats."""
    table = {}
    for group in sorted(set(groups)):
        inside = groups == group
        table[str(group)] = {
            "malignant": int(labels[inside].sum()),
            "pictures": int(inside.sum()),
            "called_malignant": round(float((probabilities[:, inside] >= 0.5).mean()), 4),
            "mean_probability": round(float(probabilities[:, inside].mean()), 4),
        }
    return table


def kept_networks(folder: Path, folds: int) -> tuple[DALAResNet50, ...]:
    """The networks of the first repeat's folds, as `cross_validate` left them; DataError where one is missing."""
    networks = []
    for number in range(folds):
        path = network_of_fold(folder, number)
        if not path.is_file():
            raise DataError("The folds' networks are missing; `dala crossvalidate breakhis` keeps them.")
        net = DALAResNet50()
        net.load_state_dict(load_file(path))
        networks.append(net.eval().requires_grad_(False).to(memory_format=torch.channels_last))
    return tuple(networks)


def network_of_fold(folder: Path, number: int) -> Path:
    """Where the network of a fold of the first repeat is kept."""
    return folder / f"fold-0-{number}" / "network.safetensors"


def last_block(backbone: Backbone) -> nn.Module:
    """From the trunk's output to pooled features (N, 2048): the last ImageNet block as it comes, without attention."""
    net = DALAResNet50()
    net.load_imagenet(backbone)
    return nn.Sequential(net.layer4.get_submodule("blocks"), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


def frozen_features(features: TrunkFeatures, backbone: Backbone) -> NDArray[np.float64]:
    """Pooled features (N, 2048) of the plain view by `last_block`."""
    return apply_to_view(last_block(backbone), features, "plain", np.arange(len(features.views["plain"])))


def linear_probe(
    x: NDArray[np.float64],
    labels: NDArray[np.int64],
    groups: NDArray[np.str_],
    training: NDArray[np.int64],
    test: NDArray[np.int64],
    strength: float = PROBE_STRENGTH,
) -> NDArray[np.float64]:
    """Probability of malignant for the test images by `fitted_probe`."""
    rows, biases = fitted_probe(x, labels, groups, training, strength)
    answer: NDArray[np.float64] = softmax(x[test] @ rows.T + biases)[:, 1]
    return answer


def fitted_probe(
    x: NDArray[np.float64],
    labels: NDArray[np.int64],
    groups: NDArray[np.str_],
    training: NDArray[np.int64],
    strength: float = PROBE_STRENGTH,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Group-balanced logistic regression on standardised features; weights and biases as `logistic_regression` has."""
    weights = group_weights(labels[training], groups[training])
    return logistic_regression(x[training], labels[training], weights, strength)


def evaluate(dataset: breakhis.Dataset, model: Model, progress: Progress | None = None) -> dict[str, Any]:
    """Score a model on a data set, image by image, by the very path that serves users; ready for JSON.

    `protocol` says by how many accession groups, and whether the weights have seen any of them in training. Raises
    DataError for an image that cannot be read.
    """
    probabilities = served_probabilities(dataset, model, progress)
    return {
        "protocol": protocol_of(dataset, model),
        "weights": model.name,
        "pictures": len(dataset.records),
        "groups": len(set(dataset.groups)),
        **with_intervals(dataset.labels, probabilities, dataset.groups),
    }


def served_probabilities(
    dataset: breakhis.Dataset | mini_ddsm.Dataset, model: Model, progress: Progress | None = None
) -> NDArray[np.float64]:
    """Probability of the second class for every image, (N,), by the path that serves users, without the gate."""
    if model.card.classes != dataset.classes:
        raise DataError(f"The weights {model.name} know {model.card.classes}, the data set {dataset.classes}.")
    records: Sequence[breakhis.Record | mini_ddsm.Record] = dataset.records
    probabilities = np.zeros(len(records))
    for done, record in enumerate(records):
        try:
            patch = read_image(record.path)
        except IntakeError as error:
            raise DataError(f"{record.name} cannot be scored: {error}") from error
        probabilities[done] = predict(patch, model).probabilities[1]
        if progress is not None:
            progress(done + 1, len(records))
    return probabilities


def protocol_of(dataset: breakhis.Dataset, model: Model) -> str:
    """One sentence on what a score on this data set means for these weights."""
    groups = len(set(dataset.groups))
    scales = "/".join(f"{m}X" for m in sorted({record.magnification for record in dataset.records}))
    start = (
        f"every image scored once by weights trained at {model.card.magnification}, BreakHis {scales}, "
        f"95 % intervals by bootstrap over {groups} accession groups; "
    )
    return start + known_groups(dataset.groups, model)


def known_groups(groups: NDArray[np.str_], model: Model) -> str:
    """Half a sentence: how many of the images' groups the weights have seen in training."""
    seen = np.isin(groups, sorted(model.card.training_groups))
    count, known = len(set(groups)), len(set(groups[seen]))
    if known == 0:
        return "none of these groups was in the weights' training data"
    share = "all" if known == count else f"{known} of the {count}"
    return (
        f"{share} groups ({int(seen.sum())} of {len(seen)} images) were in the weights' training data, so this is "
        "the fit to known patients and no estimate for new ones"
    )


def write_evidence(path: Path, record: dict[str, Any]) -> None:
    """Write a cross-validation: its figures to `path`, every held-out prediction to NAME_predictions.json beside it."""
    predictions = record["predictions"]
    head = {key: record[key] for key in ("protocol", "command", "data", "imagenet", "recipe")}
    rows = json.dumps({**head, **predictions}, ensure_ascii=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(f"{path.stem}_predictions.json").write_text(rows + "\n", encoding="utf-8")
    write_json(path, {key: value for key, value in record.items() if key != "predictions"})


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Write a result file, readable and stable under version control."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
