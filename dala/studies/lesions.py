"""Maps against masks of lesions: what a localisation is made of, from images to scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import average_precision_score
from torch import Tensor
from tqdm import tqdm

from dala.data.perturb import density
from dala.data.pixels import read_rgb
from dala.errors import DataError
from dala.explanation.gradcam import signed_maps
from dala.explanation.stability import augmented_maps, fine_maps
from dala.explanation.threshold import RULES, threshold
from dala.nets.dala_resnet50 import DALAResNet50
from dala.phantoms.tissue import PHANTOMS, draw
from dala.preprocess.views import cut, network_input
from dala.runtime.predict import Model
from dala.stats.bootstrap import Interval, mean_over_groups
from dala.studies.localisation import Masked, Method, Rule, Setting
from dala.studies.maps import SCORE_CAM
from dala.studies.other_programs import Scoring, library_maps, spread, trainable

SIDE = 320
COVER = (0.05, 0.80)  # of a mask: below it nothing is to be found, above it nothing can be missed
CROP = 500  # of BACH's 1000 px tiles: 210 um, about a BreakHis field
SEEDS = 6  # of each phantom that has a lesion
TISSUE = ("camelyon", "bach_part_b")
RULED = ("gradcam", "fine", "steady", "stain")  # the maps that every rule is tried on
PARAMETERS = {
    "mean_std": np.arange(-1, 3.01, 0.25),
    "evidence": np.arange(5, 96, 5),
    "otsu": np.arange(0.5, 1.51, 0.1),
    "percentile": np.arange(0, 96, 5),
    "fixed": np.arange(0, 1, 0.05),
}

Field = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Case:
    """An image (H, W, 3) uint8, its mask (H, W), and the image that it was cut from."""

    pixels: NDArray[np.uint8]
    mask: Mask
    parent: str


def cases(folder: Path, crop: int | None) -> list[Case]:
    """Images with masks of a folder, cut into squares of `crop` pixels, those whose mask covers `COVER`."""

    found = []
    for path in sorted(folder.rglob("*_mask.png")):
        image = np.asarray(read_rgb(path.with_name(path.name.replace("_mask.png", ".jpg"))))
        mask = np.asarray(Image.open(path)) > 0
        height, width = mask.shape
        step = crop or max(height, width)
        for top in range(0, height, step):
            for left in range(0, width, step):
                part = (slice(top, top + step), slice(left, left + step))
                found.append(Case(image[part], mask[part], path.stem))
    if not found:
        raise DataError(f"{folder} holds no images NAME.jpg beside NAME_mask.png.")
    return [case for case in found if COVER[0] <= case.mask.mean() <= COVER[1]]


def drawn() -> list[Case]:
    """Phantoms whose lesion covers a part of them."""

    every = [draw(name, seed) for name in PHANTOMS for seed in range(SEEDS)]
    found = [Case(one.pixels, one.lesion_mask, f"{one.name} {one.seed}") for one in every]
    return [case for case in found if COVER[0] <= case.mask.mean() <= COVER[1]]


def upsampled(values: NDArray[Any]) -> Field:
    """A map brought to SIDE x SIDE."""
    return np.asarray(cv2.resize(values.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR), np.float32)


def moved(values: NDArray[Any]) -> Field:
    """A map (h, w) on the image with its cells at the middle of what they see: half a cell up and left."""
    half = SIDE / values.shape[0] / 2
    shift = np.array([[1, 0, -half], [0, 1, -half]], np.float32)
    found = cv2.warpAffine(upsampled(values), shift, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.float32)


def own_maps(net: DALAResNet50, x: Tensor, towards: Tensor) -> dict[str, Field]:
    """This tool's maps of the input (1, 3, S, S), signed, towards logits @ `towards`."""

    with torch.no_grad():
        trunk = net.trunk(x)
        activations = net.tail(trunk)
    plain = signed_maps(net.head, activations, towards)[0, 0].numpy()
    return {
        "gradcam": upsampled(plain),
        "gradcam_moved": moved(plain),
        "fine": upsampled(fine_maps(trunk, net.tail, net.head, towards)[0, 0].numpy()),
        "steady": upsampled(augmented_maps(x, net.trunk, net.tail, net.head, towards).mean[0]),
    }


def plain_maps(seen: NDArray[np.uint8], number: int) -> dict[str, Field]:
    """Maps that ask no network, of a view (224, 224, 3): a random one, the distance from the centre, and the amount of
    haematoxylin, that is where nuclei are."""

    rows, columns = np.mgrid[0:SIDE, 0:SIDE] - (SIDE - 1) / 2
    stain = cv2.GaussianBlur(density(seen).mean(-1), (0, 0), 224 / 20)
    return {
        "random": upsampled(np.random.default_rng(number).normal(size=(10, 10))),
        "centre": -np.hypot(rows, columns).astype(np.float32),
        "stain": upsampled(np.asarray(stain)),
    }


def masked(name: str, found: Sequence[Case], model: Model, score_cam: int, kept: Path) -> Masked:
    """Every map on one set of images; ScoreCAM, whose maps are `kept`, on some of them."""

    net, asked, towards = model.net, model.card.input, torch.tensor([[-1.0, 1.0]])
    ready, slow = trainable(net), spread(len(found), score_cam if name in TISSUE else 0)
    maps: list[dict[str, Field]] = []
    masks, malignant = [], []
    for number, case in enumerate(tqdm(found, desc=name)):
        seen, _ = cut(case.pixels, (1, 1), asked.size)
        x = network_input(seen, asked.upsampled)
        with torch.no_grad():
            malignant.append(bool(net(x)[0].argmax() == 1))
        scoring = Scoring(model.runs_on, kept) if number in slow else None
        others = library_maps(ready, x, towards[0], scoring)
        maps.append(own_maps(net, x, towards) | others | plain_maps(seen[0], number))
        shrunk = cv2.resize(case.mask.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        masks.append(np.asarray(shrunk) >= 0.5)
    parents = np.array([case.parent for case in found])
    methods = dict.fromkeys(key for one in maps for key in one)
    return Masked(
        images=len(found),
        parents=len(set(parents)),
        called_malignant=float(np.mean(malignant)),
        mask_cover=float(np.mean([mask.mean() for mask in masks])),
        methods={method: against_masks(method, maps, masks, parents) for method in methods},
        everything_marked=over_parents([float(mask.mean()) for mask in masks], parents),
    )


def against_masks(
    method: str, maps: Sequence[Mapping[str, Field]], masks: Sequence[Mask], parents: NDArray[np.str_]
) -> Method:
    """One map against the masks of the images that have it; ScoreCAM's also beside Grad-CAM on the same images."""

    here = [number for number, one in enumerate(maps) if method in one]
    fields, of = [maps[n][method] for n in here], parents[here]

    def precision(name: str) -> NDArray[np.float64]:
        return np.array([area_under_precision_recall(maps[n][name], masks[n]) for n in here])

    own, found = (precision("gradcam"), precision(method)) if method == SCORE_CAM else (None, precision(method))
    return Method(
        images=len(here),
        pointing_game=over_parents([pointing_game(maps[n][method], masks[n]) for n in here], of),
        precision_recall=over_parents(found, of),
        rules=rules(fields, masks, parents) if method in RULED else {},
        gradcam_on_the_same=None if own is None else over_parents(own, of),
        more_than_gradcam=None if own is None else over_parents(found - own, of),
    )


def rules(fields: Sequence[Field], masks: Sequence[Mask], parents: NDArray[np.str_]) -> dict[str, Rule]:
    """IoU of every rule at its default, and at the parameter chosen on every second parent image, on the others."""

    chosen_on = np.isin(parents, sorted(set(parents))[::2])
    table = {}
    for rule, parameters in PARAMETERS.items():

        def masks_at(parameter: float, rule: str = rule) -> list[Mask]:
            return [threshold(field, rule, float(parameter)).mask for field in fields]

        def ious(kept: Sequence[Mask]) -> NDArray[np.float64]:
            return np.array([overlap(one, mask) for one, mask in zip(kept, masks, strict=True)])

        def pure(kept: Sequence[Mask]) -> NDArray[np.float64]:
            """Share of what is kept that lies in the mask; NaN where nothing is kept."""
            return np.array([mask[one].mean() if one.any() else np.nan for one, mask in zip(kept, masks, strict=True)])

        default = masks_at(RULES[rule].default)
        grid = [masks_at(float(parameter)) for parameter in parameters]
        scores = [ious(kept) for kept in grid]
        best = int(np.argmax([one[chosen_on].mean() for one in scores]))
        some = ~np.isnan(pure(default))
        table[rule] = Rule(
            default=RULES[rule].default,
            iou_at_default=over_parents(ious(default), parents),
            precision_at_default=over_parents(pure(default)[some], parents[some]),
            kept_at_default=float(np.mean([one.mean() for one in default])),
            chosen=round(float(parameters[best]), 3),
            iou_at_chosen=over_parents(scores[best][~chosen_on], parents[~chosen_on]),
            curve=tuple(
                Setting(
                    parameter=round(float(parameter), 3),
                    iou=float(one.mean()),
                    precision=float(np.nanmean(pure(kept))),
                    kept=float(np.mean([part.mean() for part in kept])),
                )
                for parameter, one, kept in zip(parameters, scores, grid, strict=True)
            ),
        )
    return table


def over_parents(values: Any, parents: NDArray[np.str_]) -> Interval:
    """Mean over the images that crops were cut from, with its interval."""
    return mean_over_groups(np.array(values, dtype=float), parents)


# Three scores of a signed map against a mask. A map says what moved a model; that it also lies on the lesion is a hope
# to be measured, never a definition.


def _check_mask(field: NDArray[np.float32], mask: Mask) -> None:
    if field.shape != mask.shape:
        raise ValueError(f"A field of {field.shape} does not fit a mask of {mask.shape}.")
    if mask.all() or not mask.any():
        raise ValueError("A mask that is empty or full says nothing of where a map lies.")


def pointing_game(field: NDArray[np.float32], mask: Mask) -> float:
    """Whether the strongest pixel lies in the mask (Zhang et al., IJCV 2018, without tolerance): 1 or 0.

    Where several pixels share the maximum, the share of them that lies in the mask.
    """
    _check_mask(field, mask)
    return float(mask[field == field.max()].mean())


def area_under_precision_recall(field: NDArray[np.float32], mask: Mask) -> float:
    """Average precision of the field's values as scores for the pixels of the mask, 0..1.

    A map without meaning has the mask's own share of the image, so that share belongs beside it.
    """
    _check_mask(field, mask)
    return float(average_precision_score(mask.ravel(), field.ravel()))


def overlap(kept: Mask, mask: Mask) -> float:
    """Intersection over union of what a threshold keeps and the mask, 0..1; 0 if nothing is kept."""
    if kept.shape != mask.shape:
        raise ValueError(f"What is kept, {kept.shape}, does not fit a mask of {mask.shape}.")
    union = np.count_nonzero(kept | mask)
    return 0.0 if not union else np.count_nonzero(kept & mask) / union
