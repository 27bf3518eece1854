"""Mini-DDSM: benign cases against cases with cancer on film, by case, and what the film gives away.

dala crossvalidate mini_ddsm --data ROOT   the figures, evidence/mini_ddsm.json
dala train mini_ddsm --data ROOT           weights/mini_ddsm.safetensors, trained on every case

The network sees the breast alone (`dala.preprocess.mammogram`). The same recipe is run on the whole film as well, and
never shipped: beside the film with its breast masked out it shows how far a classifier of this data set comes without
looking at a breast. Films were scanned in batches, and a batch holds cases of mostly one class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier

from dala.data import mini_ddsm
from dala.data.augment import Augmentation
from dala.data.mini_ddsm import Dataset, Record
from dala.data.pixels import Progress
from dala.gate.checks import MAMMOGRAM
from dala.nets.imagenet import Backbone
from dala.preprocess.mammogram import SIDE
from dala.runtime.calibration import softmax
from dala.runtime.predict import Model
from dala.stats.groups import group_weights
from dala.training.cross_validation import dala_resnet50, fold_answers, network_folder
from dala.training.features import TrunkFeatures, frozen_features
from dala.training.films import LOOKS, Films, background_levels, grey_levels, measured, pooled_features
from dala.training.recipe import Recipe
from dala.training.site_effect import MASKED_OUT, NETWORK, WHOLE_FILM, naive_table, naive_verdict, site_effect
from dala.training.task import Baseline, Floats, Fold, Indices, Results, Task, Tiles, probe, scored

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


def load(root: Path) -> MiniDDSM:
    """The task of a tree, benign and malignant cases of the trained letters; see `dala.data.mini_ddsm.load`."""
    return MiniDDSM(**vars(mini_ddsm.load(root)), recipe=RECIPE)


@dataclass(frozen=True, eq=False)
class MiniDDSM(Task[Record]):
    """A benign case (0) or one with cancer (1), from one film."""

    look: str = "breast"

    views: ClassVar[tuple[str, ...]] = ("plain",)
    decimals: ClassVar[int] = 4
    preprocess: ClassVar[str] = "mammogram"
    by: ClassVar[str] = "case"
    units: ClassVar[str] = "cases"
    name: ClassVar[str] = "mini_ddsm"
    weights: ClassVar[str] = "mini_ddsm"
    command: ClassVar[str] = "dala crossvalidate mini_ddsm --data ROOT"

    @property
    def explained(self) -> Mapping[str, str]:
        return {
            NETWORK: "the recipe on the breast alone, threshold 0.5: what is shipped",
            "teacher": "the recipe's teacher alone: logistic regression on frozen ImageNet features of "
            f"{' and '.join(self.recipe.teacher_stages)} of the breast alone",
            "linear_probe": "logistic regression on pooled frozen ImageNet features of the breast alone",
            "grey_levels": "logistic regression on mean, standard deviation and median of the whole film's grey levels",
            MASKED_OUT: "logistic regression on frozen features of the film with its breast masked out: a site effect",
            "background_trees": "extremely randomised trees on nine percentiles of the grey levels outside the breast: "
            "a site effect",
            "whole_film_probe": "logistic regression on frozen features of the whole film: site effect and breast",
            WHOLE_FILM: "the recipe on the whole film: site effect and breast; never shipped",
        }

    @property
    def everything(self) -> Dataset:
        """All letters and statuses, for the table of what a naive three-class split would have claimed."""
        return mini_ddsm.load(self.root, mini_ddsm.LETTERS, "status")

    def protocol(self, divided: str) -> str:
        return super().protocol(f"{divided} (1 of the network on the whole film)")

    def tiles(self, progress: Progress | None = None) -> Tiles:
        films = Films(self.records, LOOKS[self.look], self.recipe.enlarged)
        return Tiles(films, np.arange(len(films)), np.ones(len(films), dtype=bool))

    def baselines(self, tiles: Tiles, features: TrunkFeatures, backbone: Backbone, folder: Path) -> dict[str, Baseline]:
        labels, groups, everything = self.labels, self.groups, self.everything
        place = {record.name: index for index, record in enumerate(everything.records)}
        here = np.array([place[record.name] for record in self.records])
        pooled = {look: pooled_features(everything.records, look, backbone, folder)[here] for look in LOOKS}
        found: dict[str, Baseline] = {}
        if features.teacher is not None:
            found["teacher"] = probe(features.teacher.astype(np.float64), labels, groups, self.recipe.logistic_c)
        return {
            **found,
            "linear_probe": probe(frozen_features(features, backbone), labels, groups),
            "grey_levels": probe(measured(self.records, grey_levels), labels, groups),
            MASKED_OUT: probe(pooled["masked out"], labels, groups),
            "background_trees": background_trees(measured(self.records, background_levels), labels, groups),
            "whole_film_probe": probe(pooled["whole film"], labels, groups),
            WHOLE_FILM: self._whole_film(backbone, folder),
        }

    def _whole_film(self, backbone: Backbone, folder: Path) -> Baseline:
        """The recipe on the whole film, without framing: the first repeat only."""
        task = replace(self, look="whole film", recipe=replace(self.recipe, geometric_views=0))
        place = folder / "whole-film"
        features, make = task.features(task.tiles(), backbone, place), dala_resnet50(task, task.recipe, backbone)
        networks = network_folder(place, backbone)

        def answer(fold: Fold, training: Indices, test: Indices) -> Floats | None:
            if fold.repeat:
                return None
            return softmax(fold_answers(make, features, task, task.recipe, networks, fold)["plain"])

        return answer

    def described(self) -> dict[str, Any]:
        """Counts by letter are [benign, malignant]."""
        labels, groups, letters = self.labels, self.groups, self.laboratories
        return {
            "name": "Mini-DDSM",
            "letters": sorted({str(letter) for letter in letters}),
            "pictures": len(labels),
            "benign": int((labels == 0).sum()),
            "malignant": int((labels == 1).sum()),
            "groups": len(set(groups)),
            "benign_groups": len(set(groups[labels == 0])),
            "by_letter": {
                str(letter): np.bincount(labels[letters == letter], minlength=2).tolist()
                for letter in sorted(set(letters))
            },
        }

    def findings(self, results: Results) -> dict[str, Any]:
        by_letter = {}
        for letter in sorted(set(results.laboratories)):
            here = results.laboratories == letter
            of_letter = {name: p[:, here] for name, p in results.predictions.items()}
            by_letter[str(letter)] = self._scores(of_letter, results.labels[here], results.groups[here])
        everything = self.everything
        pooled = {look: pooled_features(everything.records, look, results.backbone, results.folder) for look in LOOKS}
        rows = naive_table(everything, pooled, results.folds)
        return {
            "scores_by_letter": by_letter,
            "scores_by_case": self._scores(*of_cases(results.predictions, results.labels, results.groups)),
            "site_effect": site_effect(results.scores, by_letter),
            "naive_three_classes": {"table": rows, "verdict": naive_verdict(rows)},
        }

    def _scores(
        self, predictions: Mapping[str, Floats], labels: NDArray[np.int64], groups: NDArray[np.str_]
    ) -> dict[str, Any]:
        return {name: dict(scored(labels, p, groups, self.classes)) for name, p in predictions.items()}

    def card(self) -> dict[str, Any]:
        letters = " and ".join(sorted({str(letter) for letter in self.laboratories}))
        return {
            "title": "Mammogram of a benign case or of one with cancer, Mini-DDSM",
            "input": {
                "size": self.recipe.enlarged,
                "preprocess": "mammogram",
                "resize": f"whole film squeezed to {SIDE} x {SIDE} (Pillow bicubic, antialiased, aspect ratio not "
                "kept); the breast cut out, cleaned and stretched to one grey scale, chest wall at the left, squeezed "
                "bicubically to size x size (dala.preprocess.mammogram)",
                "magnification": "whole film",
                "modality": MAMMOGRAM,
                "frame": [SIDE, SIDE],
            },
            "training_data": {
                "name": f"Mini-DDSM, scanners {letters}, benign and cancer cases",
                "source": "Lekamlage et al., Mini-DDSM: Mammography-based Automatic Age Estimation, DMIP 2020; "
                "thumbnails of Heath et al., The Digital Database for Screening Mammography, IWDM 2000",
                "terms": "DDSM: for research use",
                "magnification": "whole film",
            },
            "split": "the shipped weights are trained on all cases; metrics are of the same recipe in cross-validation "
            "by case",
            "assumptions": [
                f"A whole film, CC or MLO, digitised; training saw thumbnails of {SIDE} px, so nothing below about a "
                "millimetre: no microcalcifications.",
                f"Film digitised by one model of scanner (letters {letters} of DDSM).",
            ],
            "limits": [
                "The label is the case's: 'malignant' means that this patient has cancer in one of the breasts. Images "
                "of the healthy other breast count as malignant in training and in every score.",
                "Benign cases stand against cancer cases; the model has seen no case without a finding.",
                "Film scanners only: no digital mammography, no tomosynthesis.",
                "Never for histology; the modality is part of this card.",
            ],
        }

    def card_metrics(self, record: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "by_letter": {letter: scores[NETWORK] for letter, scores in record["scores_by_letter"].items()},
            "by_case": record["scores_by_case"][NETWORK],
            "comparison": {name: {"auc": row["auc"]} for name, row in record["scores"].items() if name != NETWORK},
        }

    def card_limits(self, record: Mapping[str, Any]) -> list[str]:
        return [record["site_effect"]]

    def evaluated(self, model: Model, answers: Mapping[str, Floats]) -> dict[str, Any]:
        """Over all and per scanner letter."""
        letters = self.laboratories
        subsets = {"all": np.ones(len(letters), dtype=bool)}
        subsets |= {str(letter): letters == letter for letter in sorted(set(letters))}
        return {
            "weights_sha256": model.card.fields["sha256"],
            "data": self.described(),
            "scores": {
                name: dict(scored(self.labels[here], answers["served"][:, here], self.groups[here], self.classes))
                for name, here in subsets.items()
            },
        }

    def evaluated_on(self, model: Model) -> str:
        return f"every image scored once, 95 % intervals by bootstrap over {len(set(self.groups))} cases"


def background_trees(x: Floats, labels: NDArray[np.int64], groups: NDArray[np.str_]) -> Baseline:
    """Extremely randomised trees on the levels of the background."""

    def answer(fold: Fold, training: Indices, test: Indices) -> Floats:
        trees = ExtraTreesClassifier(300, min_samples_leaf=3, random_state=fold.seed)
        trees.fit(x[training], labels[training], group_weights(labels[training], groups[training]))
        found: Floats = trees.predict_proba(x[test])
        return found

    return answer


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
