"""Do the maps lie on lesions? Every method and rule against masks: lymph nodes, BACH part B, drawn phantoms.

    PYTHONPATH=. python benchmarks/localisation.py --data DIR [--score-cam N]

DIR holds `camelyon_tiles` and `bach_part_b`, images NAME.jpg beside NAME_mask.png (0: unmarked). About 6 minutes on
two cores without ScoreCAM, which takes some two minutes an image more and is run on N of each set of tissue, evenly
spread; its maps are kept (`--runs`), so that a stopped run goes on. Writes evidence/localisation_breakhis.json.

Every map is the shipped network's, towards malignant, whatever the verdict, brought to 320 x 320 (the network's input)
and compared with the mask there. pytorch-grad-cam's methods are used as it documents them. Beside them stand maps that
ask no network: a random one, the distance from the centre, and the amount of haematoxylin, that is where nuclei are.
The rules' parameters are chosen on every second image (`chosen on`) and scored on the others.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from methods import SCORE_CAM, Scoring, library_maps, spread, trainable
from PIL import Image
from tqdm import tqdm

from dala.data.perturb import density
from dala.data.pixels import read_rgb
from dala.explanation.gradcam import signed_maps
from dala.explanation.localisation import area_under_precision_recall, overlap, pointing_game
from dala.explanation.stability import augmented_maps, fine_maps
from dala.explanation.threshold import RULES, threshold
from dala.phantoms.tissue import PHANTOMS, draw
from dala.preprocess.views import cut, network_input
from dala.runtime.predict import load_model
from dala.studies.robustness import mean_shift
from dala.training.evaluate import write_json

SIDE = 320
COVER = (0.05, 0.80)  # of a mask: below it nothing is to be found, above it nothing can be missed
CROP = 500  # of BACH's 1000 px tiles: 210 um, about a BreakHis field
SEEDS = 6  # of each phantom that has a lesion
TISSUE = ("camelyon", "bach_part_b")
TARGETS = torch.tensor([[-1.0, 1.0]])
COMMAND = "PYTHONPATH=. python benchmarks/localisation.py --data DIR"
PARAMETERS = {
    "mean_std": np.arange(-1, 3.01, 0.25),
    "evidence": np.arange(5, 96, 5),
    "otsu": np.arange(0.5, 1.51, 0.1),
    "percentile": np.arange(0, 96, 5),
    "fixed": np.arange(0, 1, 0.05),
}


@dataclass(frozen=True, eq=False)
class Case:
    """An image (H, W, 3) uint8, its mask (H, W) bool, and the image that it was cut from."""

    pixels: np.ndarray
    mask: np.ndarray
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
                if COVER[0] <= mask[part].mean() <= COVER[1]:
                    found.append(Case(image[part], mask[part], path.stem))
    return found


def drawn() -> list[Case]:
    """Phantoms whose lesion covers a part of them."""
    every = [draw(name, seed) for name in PHANTOMS for seed in range(SEEDS)]
    return [
        Case(one.pixels, one.lesion_mask, f"{one.name} {one.seed}")
        for one in every
        if COVER[0] <= one.lesion_mask.mean() <= COVER[1]
    ]


def enlarged(values: np.ndarray) -> np.ndarray:
    return cv2.resize(values.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)


def moved(values: np.ndarray) -> np.ndarray:
    """A map (h, w) on the image with its cells at the middle of what they see: half a cell up and left."""
    half = SIDE / values.shape[0] / 2
    shift = np.float32([[1, 0, -half], [0, 1, -half]])
    return cv2.warpAffine(enlarged(values), shift, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)


def own_maps(net, x) -> dict[str, np.ndarray]:
    with torch.no_grad():
        trunk = net.trunk(x)
        activations = net.tail(trunk)
    plain = signed_maps(net.head, activations, TARGETS)[0, 0].numpy()
    return {
        "gradcam": enlarged(plain),
        "gradcam_moved": moved(plain),
        "fine": enlarged(fine_maps(trunk, net.tail, net.head, TARGETS)[0, 0].numpy()),
        "steady": enlarged(augmented_maps(x, net.trunk, net.tail, net.head, TARGETS).mean[0]),
    }


def plain_maps(seen: np.ndarray, number: int) -> dict[str, np.ndarray]:
    """Maps that ask no network, of a view (224, 224, 3) uint8."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE] - (SIDE - 1) / 2
    stain = density(seen).mean(-1)
    return {
        "random": enlarged(np.random.default_rng(number).normal(size=(10, 10))),
        "centre": -np.hypot(rows, columns).astype(np.float32),
        "stain": enlarged(cv2.GaussianBlur(stain, (0, 0), 224 / 20)),
    }


def interval(values: list[float], parents: np.ndarray) -> dict:
    return mean_shift(np.array(values, dtype=float), parents)


def scored(name: str, found: list[Case], net, card, score_cam: int, scoring: Scoring) -> dict:
    ready, slow = trainable(net), spread(len(found), score_cam if name in TISSUE else 0)
    maps: list[dict[str, np.ndarray]] = []
    masks, malignant = [], []
    for number, case in enumerate(tqdm(found, desc=name)):
        seen, _ = cut(case.pixels, (1, 1), card.input.size)
        x = network_input(seen, card.input.upsampled)
        with torch.no_grad():
            malignant.append(bool(net(x)[0].argmax() == 1))
        maps.append(
            own_maps(net, x)
            | library_maps(ready, x, TARGETS[0], scoring if number in slow else None)
            | plain_maps(seen[0], number)
        )
        shrunk = cv2.resize(case.mask.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        masks.append(shrunk >= 0.5)
    parents = np.array([case.parent for case in found])
    methods: dict[str, dict] = {}
    for method in dict.fromkeys(key for one in maps for key in one):
        here = [n for n, one in enumerate(maps) if method in one]
        fields = [maps[n][method] for n in here]
        methods[method] = {
            "pictures": len(here),
            "pointing_game": interval(
                [pointing_game(f, masks[n]) for f, n in zip(fields, here, strict=True)], parents[here]
            ),
            "precision_recall": interval(
                [area_under_precision_recall(f, masks[n]) for f, n in zip(fields, here, strict=True)], parents[here]
            ),
            "rules": {} if method not in ("gradcam", "fine", "steady", "stain") else rules(fields, masks, parents),
        }
    if SCORE_CAM in methods:
        # Of a part of the images: beside it what Grad-CAM has on these, and the difference image by image.
        here = [n for n, one in enumerate(maps) if SCORE_CAM in one]
        theirs, ours = (
            np.array([area_under_precision_recall(maps[n][name], masks[n]) for n in here])
            for name in (SCORE_CAM, "gradcam")
        )
        methods[SCORE_CAM]["gradcam_on_the_same"] = interval(ours.tolist(), parents[here])
        methods[SCORE_CAM]["more_than_gradcam"] = interval((theirs - ours).tolist(), parents[here])
    return {
        "pictures": len(found),
        "parents": len(set(parents)),
        "called_malignant": float(np.mean(malignant)),
        "mask_cover": float(np.mean([mask.mean() for mask in masks])),
        "methods": methods,
        "everything_marked": interval([float(mask.mean()) for mask in masks], parents),
    }


def rules(fields: list[np.ndarray], masks: list[np.ndarray], parents: np.ndarray) -> dict:
    """IoU of every rule at its default, and at the parameter chosen on every second parent image, on the others."""
    order = sorted(set(parents))
    chosen_on = np.isin(parents, order[::2])
    table = {}
    for rule, parameters in PARAMETERS.items():

        def masks_at(parameter: float, rule: str = rule) -> list[np.ndarray]:
            return [threshold(field, rule, float(parameter)).mask for field in fields]

        def ious(kept: list[np.ndarray]) -> np.ndarray:
            return np.array([overlap(one, mask) for one, mask in zip(kept, masks, strict=True)])

        def pure(kept: list[np.ndarray]) -> np.ndarray:
            """Share of what is kept that lies in the mask; NaN where nothing is kept."""
            return np.array([mask[one].mean() if one.any() else np.nan for one, mask in zip(kept, masks, strict=True)])

        default = masks_at(RULES[rule].default)
        grid = [masks_at(parameter) for parameter in parameters]
        scores = [ious(kept) for kept in grid]
        best = int(np.argmax([one[chosen_on].mean() for one in scores]))
        some = ~np.isnan(pure(default))
        table[rule] = {
            "default": RULES[rule].default,
            "iou_at_default": interval(ious(default).tolist(), parents),
            "precision_at_default": interval(pure(default)[some].tolist(), parents[some]),
            "kept_at_default": float(np.mean([one.mean() for one in default])),
            "chosen": round(float(parameters[best]), 3),
            "iou_at_chosen": interval(scores[best][~chosen_on].tolist(), parents[~chosen_on]),
            "curve": [
                {
                    "parameter": round(float(parameter), 3),
                    "iou": float(one.mean()),
                    "precision": float(np.nanmean(pure(kept))),
                    "kept": float(np.mean([part.mean() for part in kept])),
                }
                for parameter, one, kept in zip(parameters, scores, grid, strict=True)
            ],
        }
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--score-cam", type=int, default=0, metavar="N")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--evidence", type=Path, default=Path("evidence") / "localisation_breakhis.json")
    options = parser.parse_args()
    model = load_model()
    sets: dict[str, Callable[[], list[Case]]] = {
        "camelyon": lambda: cases(options.data / "camelyon_tiles", None),
        "bach_part_b": lambda: cases(options.data / "bach_part_b", CROP),
        "phantoms": drawn,
    }
    record = {
        "protocol": "raw signed maps of the shipped weights towards malignant against masks at 320 x 320; "
        f"images whose mask covers {COVER[0]:.0%} to {COVER[1]:.0%}; a rule's parameter is chosen on every second "
        "image and scored on the others; 95 % intervals: bootstrap over the images that crops were cut from",
        "command": COMMAND + (f" --score-cam {options.score_cam}" if options.score_cam else ""),
        "score_cam_on": [model.runs_on.name] if options.score_cam else [],
        "weights_sha256": model.card.fields["sha256"],
        "sets": {},
    }
    scoring = Scoring(model.runs_on, options.runs / f"score-cam-{model.card.fields['sha256'][:8]}")
    for name, make in sets.items():
        record["sets"][name] = scored(name, make(), model.net, model.card, options.score_cam, scoring)
        write_json(options.evidence, record)
        for method, row in record["sets"][name]["methods"].items():
            shown = (
                f"{method:28s} pointing {row['pointing_game']['value']:.3f}  PR {row['precision_recall']['value']:.3f}"
            )
            for rule, one in row["rules"].items():
                shown += f"  {rule} {one['iou_at_default']['value']:.3f}, {one['iou_at_chosen']['value']:.3f}"
                shown += f" at {one['chosen']}"
            print(shown)
        print(record["sets"][name]["everything_marked"], record["sets"][name]["called_malignant"])


if __name__ == "__main__":
    main()
