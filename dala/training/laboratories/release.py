"""From the laboratories' images to weights that may be shipped, with their card and the evidence of their worth.

dala laboratories --data ROOT        evidence/laboratories.json and weights/breast.safetensors

ROOT holds breakhis_200x_224, ucsb, brca_m2c, tissue_tiles_150, tnbc and bach_part_b. Six minutes on two quiet cores,
four of them for what the frozen stages make of the images, which are kept and found again.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from dala.files import replacing, write_json
from dala.gate.checks import HISTOLOGY
from dala.nets.dala_resnet50 import STAGES
from dala.nets.imagenet import IMAGENET_MEAN, IMAGENET_STD, Backbone
from dala.runtime.card import Card
from dala.runtime.weights import save_weights
from dala.stats.conformal import fit_scaling
from dala.training.features import imagenet_resnet50
from dala.training.laboratories.fit import HeadRecipe, balanced_weights, fit_head, rows_of
from dala.training.laboratories.promise import (
    ALPHAS,
    DECIDES,
    WRONG,
    Answered,
    known_laboratory,
    least_malignant,
    pooling_of,
    unknown_laboratory,
)
from dala.training.laboratories.samples import Samples, collect
from dala.training.laboratories.sources import BREAKHIS_FIELD, TESTED, UM_PER_PIXEL, items_of
from dala.training.laboratories.validation import (
    EXPLAINED,
    NETWORK,
    answers,
    cross_validated,
    laboratories_of,
    laboratory_left_out,
    make_network,
    models_of,
    scores_of,
    tested,
    told,
)
from dala.training.release import IMAGENET_SOURCES

NAME, COMMAND = "breast", "dala laboratories --data ROOT"
SAMPLES_SUFFIX = ".samples.safetensors"
GROUPED = (
    "grouped cross-validation by patient within every laboratory (BreakHis by accession group, UCSB by image, BRCA-M2C "
    "by patient), {folds} folds, {repeats} repeats"
)
LEFT_OUT = "every laboratory left out once, with all its patients"
INTERVALS = "95 % intervals: bootstrap over patients"
SHOWN = ("auc", "balanced_accuracy", "sensitivity", "specificity")


def release(
    root: Path,
    backbone: Backbone,
    runs: Path,
    out: Path,
    evidence: Path,
    folds: int = 5,
    repeats: int = 3,
    recipe: HeadRecipe | None = None,
    say: Callable[[str], None] = print,
) -> Card:
    """Measure the recipe, train it on every laboratory, and write weights, card and evidence.

    Raises DataError where a data set is missing or cannot be read.
    """
    recipe = recipe or HeadRecipe()
    net = imagenet_resnet50(backbone, seed=0, stages=STAGES).eval()
    samples = collect(items_of(root), root / "tissue_tiles_150", net, backbone.source, runs)
    others = collect(items_of(root, TESTED), None, net, backbone.source, runs)
    make, images = make_network(net.state_dict()), tested(samples)

    grouped = cross_validated(samples, make, recipe, folds, repeats, say)
    left_out = laboratory_left_out(samples, make, recipe, say)
    strangers = answers(samples, images, others, np.arange(len(others.labels)), make, recipe, 0)

    labels, groups = samples.labels[images], samples.groups[images]
    of = samples.laboratories[images]
    margins = grouped.of(NETWORK, images)
    scaling = fit_scaling(margins, labels, balanced_weights(labels, groups, of, {}))
    known = {
        name: known_laboratory(labels[of == name], groups[of == name], margins[:, of == name], scaling)
        for name in laboratories_of(samples)
    }
    new = scaling.probability(left_out.of(NETWORK, images)[0])
    least = least_malignant([(labels[of == name], new[of == name]) for name in laboratories_of(samples)])
    unknown = {
        name: unknown_laboratory(labels[of == name], groups[of == name], new[of == name], least)
        for name in laboratories_of(samples)
    }
    protocol = f"{GROUPED.format(folds=folds, repeats=repeats)}; {INTERVALS}"
    by_laboratory = scores_of(samples, grouped, models_of(recipe))
    stranger = scores_of(samples, left_out, models_of(recipe))
    pooling = pooling_of(labels, of, margins[0])
    record: dict[str, Any] = {
        "protocol": f"{GROUPED.format(folds=folds, repeats=repeats)}; beside it {LEFT_OUT}; recipe and limits were "
        f"chosen on these figures. {INTERVALS}",
        "command": COMMAND,
        "recipe": asdict(recipe) | {"fingerprint": recipe.fingerprint},
        "imagenet": backbone.source,
        "data": {"pictures": len(images), "groups": len(set(groups))},
        "explained": EXPLAINED,
        "laboratories": {
            name: {
                **{key: by_laboratory[name][key] for key in ("images", "groups", "benign", "malignant")},
                "known": by_laboratory[name]["scores"],
                "left_out": stranger[name]["scores"],
                "answered": _answered(known[name].answered),
                "answered_left_out": _answered(unknown[name]),
            }
            for name in laboratories_of(samples)
        },
        "one_class": {
            str(name): {
                "images": int((others.laboratories == name).sum()),
                "called_malignant": {
                    model: round(float((values[others.laboratories == name] > 0).mean()), 4)
                    for model, values in strangers.items()
                },
                "answered_malignant": round(
                    float((scaling.probability(strangers[NETWORK][others.laboratories == name]) >= least).mean()), 4
                ),
            }
            for name in dict.fromkeys(others.laboratories)
        },
        "least_malignant": round(least, 6),
        "pooling": pooling,
    }

    network = make(0)
    fit_head(network.head, rows_of(samples, images, recipe), recipe)
    card = save_weights(
        network.eval(),
        out,
        {
            "schema": 1,
            "name": out.stem,
            "title": "Benign and malignant at 0.5 um per pixel, from several laboratories",
            "network": "DALAResNet50",
            "stages": list(recipe.stages),
            "classes": ["benign", "malignant"],
            "positive": "malignant",
            "input": _input(pooling),
            "imagenet": IMAGENET_SOURCES.get(backbone.source, backbone.source),
            "training_data": _training_data(samples, images),
            "recipe": record["recipe"],
            "split": "the shipped weights are trained on all patients; metrics are of the same recipe on patients, and "
            "on laboratories, left out",
            "metrics": {
                "protocol": protocol,
                "command": COMMAND,
                "values": {},
                "comparison": {},
            },
            "laboratories": {
                name: {
                    **{key: by_laboratory[name][key] for key in ("images", "groups", "benign", "malignant")},
                    "scores": by_laboratory[name]["scores"][NETWORK],
                    "answered": _answered(known[name].answered),
                    "protocol": protocol,
                }
                for name in laboratories_of(samples)
            },
            "unknown_laboratory": _worst(samples, stranger, unknown),
            "left_out": {
                name: {
                    **{key: by_laboratory[name][key] for key in ("images", "groups")},
                    "answered": _answered(unknown[name]),
                }
                for name in laboratories_of(samples)
            },
            "calibration": {
                "temperature": scaling.temperature,
                "bias": {"benign": 0.0, "malignant": scaling.bias},
                "decides": DECIDES,
                "thresholds": {f"{alpha:.2f}": {"benign": 1 - least, "malignant": 0.0} for alpha in ALPHAS},
                "laboratories": {
                    name: {
                        f"{alpha:.2f}": {"benign": value, "malignant": value} for alpha, value in one.thresholds.items()
                    }
                    for name, one in known.items()
                },
                "groups": {
                    "benign": len(set(groups[labels == 0])),
                    "malignant": len(set(groups[labels == 1])),
                },
                "protocol": f"known laboratories: held-out predictions of {protocol}; unknown ones: {LEFT_OUT}",
                "guarantee": f"In a laboratory that the model knows, a set at alpha holds the true class with "
                f"probability 1 - alpha on average over new patients like its own. In any other nothing is promised: "
                f"benign is never answered, and malignant only above {100 * least:.0f} %, where in no laboratory left "
                f"out more than {100 * WRONG:.0f} % of such answers were wrong; the limit was chosen on these.",
                "command": COMMAND,
                "measured": {},
            },
            "assumptions": [
                "Attention and head are this project's definition: the published abstract fixes little. The head sees "
                "layer2 and layer3 beside the attended layer4.",
                f"Every image has a physical scale and is seen at {UM_PER_PIXEL} um per pixel.",
                "A BreakHis 200X image is taken to be 245 x 161 um, an estimate from nuclei; UCSB 0.25 um per pixel, "
                "another.",
            ],
            "limits": [
                "Three laboratories: what a fourth one shows is known from leaving each of them out, and roughly.",
                "Ductal carcinoma in situ, mucinous carcinoma and triple negative carcinoma are often called benign.",
                "What stages and tissue tiles weigh was chosen on the data that the figures are of.",
                "Images of BreakHis are a part of the data set that lacks its 34 most textured slides.",
            ],
            "use": "Research and teaching only, not for diagnosis.",
            "created": datetime.date.today().isoformat(),
        },
    )
    _save_samples(out.with_suffix(SAMPLES_SUFFIX), samples)
    record["weights_sha256"] = card.fields["sha256"]
    write_json(evidence, record)
    return card


def _input(pooling: dict[str, Any]) -> dict[str, Any]:
    return {
        "size": 224,
        "enlarged": 320,
        "colour": "RGB",
        "mean": list(IMAGENET_MEAN),
        "std": list(IMAGENET_STD),
        "resize": f"resampled to {UM_PER_PIXEL} um per pixel in both directions (Pillow bicubic, antialiased), seen at "
        "its own height and width, a larger image in fields",
        "magnification": "20x (0.5 um/px)",
        "modality": HISTOLOGY,
        "frame": [490, 322],
        "um_per_pixel": UM_PER_PIXEL,
        "field_um": [int(side) for side in BREAKHIS_FIELD],
        "pooling": pooling["chosen"],
    }


def _training_data(samples: Samples, images: Any) -> dict[str, Any]:
    labels = samples.labels[images]
    return {
        "name": "BreakHis 200X, UCSB, BRCA-M2C and tissue tiles of TCGA",
        "source": "Spanhol et al. 2016 (BreakHis); Gelasca et al. 2009 (UCSB); Abousamra et al. 2021 (BRCA-M2C); "
        "tissue tiles of TCGA-BRCA without patients' names, always trained on",
        "terms": "BreakHis and UCSB for research use; BRCA-M2C BSD 3-Clause; tissue tiles Apache-2.0",
        "pictures": len(images),
        "per_class": {"benign": int((labels == 0).sum()), "malignant": int((labels == 1).sum())},
        "groups": sorted({str(group).partition("/")[2] for group in samples.groups[images]}),
        "magnification": "0.5 um/px",
    }


def _answered(one: Answered) -> dict[str, Any]:
    return dict(told({"share": one.share, "wrong": one.wrong}))


def _worst(samples: Samples, scores: dict[str, dict[str, Any]], answered: dict[str, Answered]) -> dict[str, Any]:
    """The scores of an unknown laboratory: those of the one left out with the largest share of wrong answers."""
    name = max(scores, key=lambda one: answered[one].wrong["value"] or 0)
    return {
        "name": name,
        **{key: scores[name][key] for key in ("images", "groups", "benign", "malignant")},
        "scores": {key: scores[name]["scores"][NETWORK][key] for key in SHOWN},
        "answered": _answered(answered[name]),
        "protocol": f"{LEFT_OUT}; scores are those of {name}, with the largest share of wrong answers; {INTERVALS}",
    }


def _save_samples(path: Path, samples: Samples) -> None:
    """The training features in float16, which a site's own images are added to (`dala adapt`)."""
    kinds = {name: np.unique(getattr(samples, name)) for name in ("groups", "laboratories")}
    numbers = {name: np.searchsorted(kinds[name], getattr(samples, name)).astype(np.int32) for name in kinds}
    with replacing(path) as partial:
        save_file(
            {
                "features": samples.features.astype(np.float16),
                "labels": samples.labels.astype(np.int8),
                "extra": samples.extra.astype(np.uint8),
                **numbers,
            },
            partial,
            {name: "\n".join(map(str, values)) for name, values in kinds.items()},
        )
    path.chmod(0o644)


def load_samples(weights: Path) -> Samples:
    """The training features beside weights, without names and colours."""
    from safetensors import safe_open

    with safe_open(weights.with_suffix(SAMPLES_SUFFIX), "numpy") as file:
        notes = file.metadata()
        kept = {name: file.get_tensor(name) for name in ("features", "labels", "extra", "groups", "laboratories")}
    count = len(kept["labels"])
    return Samples(
        features=kept["features"].astype(np.float32),
        colours=np.zeros((count, 6), np.float32),
        names=np.array([str(number) for number in range(count)]),
        labels=kept["labels"].astype(np.int64),
        groups=np.array(notes["groups"].split("\n"))[kept["groups"]],
        laboratories=np.array(notes["laboratories"].split("\n"))[kept["laboratories"]],
        extra=kept["extra"].astype(bool),
    )
