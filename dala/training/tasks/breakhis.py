"""BreakHis: benign or malignant, or one of eight subtypes, by accession group.

dala crossvalidate breakhis --data ROOT [--task subtype]    the figures, evidence/breakhis_200x.json
dala train breakhis --data ROOT [--task subtype]            the weights, trained on every group
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dala.data import breakhis
from dala.data.breakhis import Question, Record
from dala.data.splits import can_be_tested, sparse_folds
from dala.gate.checks import HISTOLOGY
from dala.nets.imagenet import Backbone
from dala.runtime.predict import Model
from dala.training.colour_only import SUFFIX, ColourOnly, save_colour_only
from dala.training.features import TrunkFeatures, frozen_features
from dala.training.recipe import SIZE, Recipe
from dala.training.task import (
    Baseline,
    Indices,
    Results,
    Task,
    Tiles,
    colour_features,
    confusion,
    fitted_probe,
    probe,
)


def load(root: Path, magnification: int | None = 200, question: Question = "binary") -> BreakHis:
    """The task of a tree at one magnification, or at all that it holds; see `dala.data.breakhis.load`."""
    kind = BreakHis if question == "binary" else Subtypes
    return kind(**vars(breakhis.load(root, magnification, question)), recipe=Recipe(), magnification=magnification)


@dataclass(frozen=True, eq=False)
class BreakHis(Task[Record]):
    """Benign or malignant."""

    magnification: int | None

    by: ClassVar[str] = "accession number"
    units: ClassVar[str] = "accession groups"
    title: ClassVar[str] = "Benign or malignant"
    suffix: ClassVar[str] = ""

    @property
    def scales(self) -> str:
        """The magnifications of the images: "200X", "40X/200X"."""
        return "/".join(f"{at}X" for at in sorted({record.magnification for record in self.records}))

    @property
    def name(self) -> str:
        return f"breakhis{self.suffix}_{'all' if self.magnification is None else f'{self.magnification}x'}"

    @property
    def weights(self) -> str:
        return f"breakhis{self.suffix}"

    @property
    def command(self) -> str:
        return "dala crossvalidate breakhis --data ROOT"

    @property
    def explained(self) -> dict[str, str]:
        return {
            "dala_resnet50": "the recipe, plain view, threshold 0.5, before calibration",
            "dala_resnet50_stain_shift": "the same networks on images with a strong random stain and colour change",
            "linear_probe": "logistic regression on pooled frozen ImageNet features of the same input",
            "colour_only": "logistic regression on mean and standard deviation of R, G and B",
            "teacher": "the recipe's teacher alone: logistic regression on frozen ImageNet features of "
            f"{' and '.join(self.recipe.teacher_stages)}, the image at {self.recipe.teacher} pixels",
        }

    def baselines(self, tiles: Tiles, features: TrunkFeatures, backbone: Backbone, folder: Path) -> dict[str, Baseline]:
        found = {
            "linear_probe": probe(frozen_features(features, backbone), self.labels, self.groups),
            "colour_only": probe(colour_features(tiles), self.labels, self.groups),
        }
        if features.teacher is not None:
            seen = features.teacher.astype(np.float64)
            found["teacher"] = probe(seen, self.labels, self.groups, self.recipe.logistic_c)
        return found

    def described(self) -> dict[str, Any]:
        labels, groups = self.labels, self.groups
        return {
            "name": "BreakHis",
            "magnifications": sorted({record.magnification for record in self.records}),
            "pictures": len(labels),
            "benign": int((labels == 0).sum()),
            "malignant": int((labels == 1).sum()),
            "groups": len(set(groups)),
            "benign_groups": len(set(groups[labels == 0])),
        }

    def findings(self, results: Results) -> dict[str, Any]:
        """Per accession group: class, images, share called malignant at 0.5, mean probability over the repeats."""
        table, p = {}, results.predictions[self.served]
        for group in sorted(set(results.groups)):
            inside = results.groups == group
            table[str(group)] = {
                "malignant": int(results.labels[inside].sum()),
                "pictures": int(inside.sum()),
                "called_malignant": round(float((p[:, inside] >= 0.5).mean()), 4),
                "mean_probability": round(float(p[:, inside].mean()), 4),
            }
        return {"by_group": table}

    def evaluated_on(self, model: Model) -> str:
        return (
            f"every image scored once by weights trained at {model.card.magnification}, BreakHis {self.scales}, "
            f"95 % intervals by bootstrap over {len(set(self.groups))} accession groups"
        )

    def card(self) -> dict[str, Any]:
        return {
            "title": f"{self.title} on BreakHis {self.scales}",
            "input": {
                "size": SIZE,
                "resize": "whole view squeezed to size x size (Pillow bicubic, antialiased, aspect ratio not kept), "
                "then enlarged bicubically",
                "magnification": self.scales,
                "modality": HISTOLOGY,
                "frame": [700, 460],
            },
            "training_data": {
                "name": f"BreakHis {self.scales}",
                "source": "Spanhol et al., A Dataset for Breast Cancer Histopathological Image Classification, IEEE "
                "Trans. Biomed. Eng. 63(7), 2016",
                "terms": "for research use",
                "magnification": self.scales,
            },
            "split": "the shipped weights are trained on all groups; metrics are of the same recipe in "
            "cross-validation by accession group (year and leading digits of the slide number)",
            "assumptions": [
                f"An image shows about what a BreakHis {self.scales} image shows: 700 x 460 px at roughly 0.35 um "
                "per pixel, estimated from nuclei.",
                "One laboratory, one staining protocol, one scanner.",
            ],
            "limits": [
                "Few benign patients: specificity is known only roughly.",
                "Colour alone separates much of this data set; part of the accuracy may be stain and not morphology.",
                "The gate keeps out what is no H&E or unlike the training images; some near misses pass, such as other "
                "magnifications (evidence/gate_breakhis.json).",
            ],
        }

    def card_metrics(self, record: Mapping[str, Any]) -> dict[str, Any]:
        return {**super().card_metrics(record), "by_group": record["by_group"]}

    def card_limits(self, record: Mapping[str, Any]) -> list[str]:
        """The accession groups whose images were mostly called wrong while held out, if there are any."""
        subtypes = {record.accession: breakhis.SUBTYPES[record.subtype].name for record in self.records}
        wrong = [
            f"{group} ({subtypes[group]}, {row['pictures']} images)"
            for group, row in record["by_group"].items()
            if (row["called_malignant"] > 0.5) != (row["malignant"] > 0)
        ]
        if not wrong:
            return []
        return [f"Held out, most images of these accession groups were called wrong: {', '.join(wrong)}."]

    def beside(self, tiles: Tiles, weights: Path) -> None:
        """The judge that knows the colours of an image alone, to stand beside the network on the teaching page."""
        everything = np.arange(len(self.labels))
        rows, biases = fitted_probe(colour_features(tiles), self.labels, self.groups, everything)
        save_colour_only(
            weights.with_suffix(SUFFIX),
            ColourOnly(self.classes, rows, biases),
            protocol="group-balanced logistic regression on every image of the data set; how often it is right on "
            "patients left out is in the card of the weights beside it, under comparison",
            command="dala colour breakhis --data ROOT",
            images=str(len(self.labels)),
            groups=str(len(set(self.groups))),
        )


@dataclass(frozen=True, eq=False)
class Subtypes(BreakHis):
    """One of eight diagnoses, several of which come from a single patient in a part of the data set.

    An accession group that alone holds a subtype is trained on in every fold and never tested: a network that has seen
    no adenosis cannot be asked for it. A subtype with fewer groups than folds is tested in as many folds as it has
    groups. Metrics are over the subtypes that were tested; an image called one of the others counts as wrong.
    """

    title: ClassVar[str] = "One of eight subtypes"
    suffix: ClassVar[str] = "_subtype"

    @property
    def command(self) -> str:
        return f"{super().command} --task subtype"

    @property
    def explained(self) -> dict[str, str]:
        return super().explained | {"dala_resnet50": "the recipe, plain view, the most probable subtype is called"}

    @property
    def not_testable(self) -> list[str]:
        """Subtypes without an image whose group can be held out."""
        tested = set(self.labels[can_be_tested(self.labels, self.groups)].tolist())
        return [name for label, name in enumerate(self.classes) if label not in tested]

    def divide(self, folds: int, seed: int) -> list[tuple[Indices, Indices]]:
        return sparse_folds(self.labels, self.groups, folds, seed)

    def protocol(self, divided: str) -> str:
        left = ", ".join(self.not_testable)
        return super().protocol(divided) + (
            "; an accession group that alone holds a subtype is trained on in every fold and never tested, and a "
            "subtype with fewer groups than folds is tested in as many folds as it has groups; macro scores are over "
            "the subtypes that were tested, and an image called one of the others counts as wrong"
            + (f"; not testable, for want of accession groups: {left}" if left else "")
        )

    def described(self) -> dict[str, Any]:
        return {
            "name": "BreakHis",
            "task": "subtype",
            "magnifications": sorted({record.magnification for record in self.records}),
            "pictures": len(self.labels),
            "per_class": self.per_class,
            "groups": len(set(self.groups)),
            "groups_per_class": {
                name: len(set(self.groups[self.labels == label])) for label, name in enumerate(self.classes)
            },
            "not_testable": self.not_testable,
        }

    def findings(self, results: Results) -> dict[str, Any]:
        return {
            "tested": {"pictures": len(results.labels), "groups": len(set(results.groups))},
            "confusion": confusion(results.labels, results.predictions[self.served], self.classes),
        }

    def card(self) -> dict[str, Any]:
        told = super().card()
        left = ", ".join(self.not_testable)
        limits = ["Several subtypes come from few patients, and what is known of them is known roughly."]
        if left:
            limits.append(f"Never measured, for want of accession groups to test on: {left}.")
        return told | {"limits": limits + told["limits"][1:]}

    def card_metrics(self, record: Mapping[str, Any]) -> dict[str, Any]:
        return Task.card_metrics(self, record)

    def card_limits(self, record: Mapping[str, Any]) -> list[str]:
        return []

    def beside(self, tiles: Tiles, weights: Path) -> None:
        """Nothing: the teaching page is about benign and malignant."""
