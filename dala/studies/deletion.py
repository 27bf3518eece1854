"""Deletion, insertion and redrawn weights of single images: what `faithfulness` averages, kept image by image."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from dala.data.pixels import load_pixels
from dala.explanation.effect import BASELINES
from dala.explanation.faithfulness import ordered_curves, random_map
from dala.explanation.gradcam import signed_maps
from dala.explanation.stability import augmented_maps, fine_maps
from dala.nets.dala_resnet50 import DALAResNet50
from dala.preprocess.views import network_input
from dala.runtime.calibration import softmax
from dala.runtime.engines import Engine, choose_engine
from dala.studies.faithfulness import REDRAWN, Kept
from dala.studies.held_out import FOLDS, sample
from dala.studies.maps import SCORE_CAM
from dala.studies.other_programs import Scoring, library_maps, spread, trainable
from dala.training.cross_validation import kept_networks
from dala.training.features import reduced_precision
from dala.training.recipe import SIZE
from dala.training.task import folds_of
from dala.training.tasks.breakhis import BreakHis

# The library's Grad-CAM and HiResCAM are in the same order as ours, but for negative values.
LIBRARY = (*(f"pytorch-grad-cam {name}" for name in ("GradCAM++", "LayerCAM", "EigenCAM")), SCORE_CAM)
NAMES = {
    "gradcam", "gradcam_inverted", "fine", "steady", "fine_averaged", "steady_averaged", "random", "random_fine",
    *LIBRARY[:-1],
}  # fmt: skip

Field = NDArray[np.float32]
Judge = Callable[[NDArray[np.uint8]], NDArray[np.float64]]


def kept_rows(task: BreakHis, runs: Path, each: int, steps: int, score_cam: int, engine: str | None) -> list[Kept]:
    """Up to `each` images of every group, each by the network of the fold that has not seen its patient.

    ScoreCAM, whose passes run on `engine`, is asked of `score_cam` of them. What is done is kept beside the folds, a
    line an image: a killed run goes on where it was.
    """
    folder = task.folder(runs)
    networks = kept_networks(task, runs, FOLDS)
    fold_of = {int(index): fold.number for fold in folds_of(task, FOLDS, 1) for index in fold.test}
    chosen = sample(task.groups, each).tolist()
    pixels = load_pixels(task.records, SIZE)
    kept = folder / f"faithfulness-{each}-{steps}.jsonl"
    rows = merged(kept)
    slow = spread(len(chosen), score_cam) if score_cam else set()
    engines: dict[int, Engine] = {}
    for place, index in enumerate(tqdm(chosen)):
        name, fold = task.records[index].name, fold_of[index]
        row = rows.setdefault(name, {"picture": name, "group": str(task.groups[index]), "areas": {}})
        missing = NAMES | ({SCORE_CAM} if place in slow else set())
        missing -= set(row["areas"].get(BASELINES[0], {}))
        if not missing:
            continue
        net, view = networks[fold], pixels[index]
        x = network_input(view[None], task.recipe.enlarged)
        if SCORE_CAM in missing and fold not in engines:
            engines[fold] = choose_engine(net, None, engine)
        scoring = Scoring(engines[fold], folder / f"score-cam-{fold}") if SCORE_CAM in missing else None
        judge = judge_of(net, task.recipe.enlarged)
        called = int(judge(view[None, None])[0].argmax())
        target = torch.tensor([-1.0, 1.0]) * (1 if called == 1 else -1)
        maps = maps_of(net, x, target, index, scoring)
        wanted = {one: values for one, values in maps.items() if one in missing}
        new: dict[str, Any] = {"picture": name, "areas": areas(view, wanted, judge, called, steps, index)}
        if "randomised" not in row:
            new |= {"group": row["group"], "randomised": randomised(net, x, target, maps["gradcam"], index)}
        if scoring is not None:
            new["score_cam_on"] = scoring.engine.name
        with kept.open("a") as file:
            file.write(json.dumps(new) + "\n")
    rows = merged(kept)
    slowly = {task.records[chosen[place]].name for place in slow}
    return [_told(row, row["picture"] in slowly) for row in rows.values()]


def _told(row: dict[str, Any], slowly: bool) -> Kept:
    areas = {
        baseline: {method: (float(one[0]), float(one[1])) for method, one in found.items()}
        for baseline, found in row["areas"].items()
    }
    if not slowly:  # asked of it in another run
        areas = {baseline: {m: one for m, one in found.items() if m != SCORE_CAM} for baseline, found in areas.items()}
    return Kept(row["picture"], row["group"], areas, row["randomised"], row["score_cam_on"] if slowly else None)


def merged(kept: Path) -> dict[str, dict[str, Any]]:
    """What was kept of each image, in one row; a later line adds to the ones before."""
    rows: dict[str, dict[str, Any]] = {}
    for line in kept.read_text().splitlines() if kept.is_file() else ():
        new = json.loads(line)
        row = rows.setdefault(new["picture"], {"areas": {}})
        for baseline, of_method in new.pop("areas").items():
            row["areas"].setdefault(baseline, {}).update(of_method)
        row.update(new)
    return rows


def judge_of(net: DALAResNet50, enlarged: int) -> Judge:
    """Probabilities of perturbed images (N, 1, S, S, 3) by a network, before calibration."""

    def judge(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        with torch.no_grad(), reduced_precision(torch.device("cpu")):
            return softmax(net(network_input(images[:, 0], enlarged)).double().numpy())

    return judge


def areas(
    view: NDArray[np.uint8], maps: Mapping[str, Field], judge: Judge, called: int, steps: int, seed: int
) -> dict[str, dict[str, list[float]]]:
    """Areas under deletion and insertion of every map, by baseline."""
    found: dict[str, dict[str, list[float]]] = {}
    for baseline in BASELINES:
        found[baseline] = {}
        for name, values in maps.items():
            curves = ordered_curves(view, values, judge, called, baseline, steps, seed=seed)
            found[baseline][name] = [curves.deletion_area, curves.insertion_area]
    return found


def maps_of(net: DALAResNet50, x: Tensor, target: Tensor, number: int, scoring: Scoring | None) -> dict[str, Field]:
    """Every map of the input towards logits @ target, on its own cells; `number` seeds the random ones."""
    with torch.no_grad():
        trunk = net.trunk(x)
        activations = net.tail(trunk)
    plain = signed_maps(net.head, activations, target[None])[0, 0].numpy()
    cells = plain.shape

    def averaged(values: Field) -> Field:
        return np.asarray(cv2.resize(values, cells[::-1], interpolation=cv2.INTER_AREA), np.float32)

    fine = fine_maps(trunk, net.tail, net.head, target[None])[0, 0].numpy()
    steady = augmented_maps(x, net.trunk, net.tail, net.head, target[None]).mean[0]
    library = library_maps(trainable(net), x, target, scoring)
    return {
        "gradcam": plain,
        "gradcam_inverted": -plain,
        "fine": fine,
        "steady": steady,
        "fine_averaged": averaged(fine),
        "steady_averaged": averaged(steady),
        "random": random_map(cells, number),
        "random_fine": random_map(fine.shape, number),
        **{name: averaged(library[name]) for name in LIBRARY if name in library},
    }


def redrawn(net: DALAResNet50, part: str, seed: int) -> DALAResNet50:
    """A copy whose head, or last stage, has weights that were never trained (Adebayo et al., Sanity Checks, 2018)."""
    torch.manual_seed(seed)
    changed, fresh = copy.deepcopy(net), DALAResNet50()
    for name in {"head": ("head",), "layer4": ("layer4",), "both": ("head", "layer4")}[part]:
        state = getattr(fresh, name).state_dict()
        getattr(changed, name).load_state_dict(state)
    if part != "head":  # untrained norms would let activations explode: measure them on the fly in this one stage
        for module in changed.layer4.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.track_running_stats, module.running_mean, module.running_var = False, None, None
    return changed


def randomised(net: DALAResNet50, x: Tensor, target: Tensor, plain: Field, number: int) -> dict[str, float]:
    """Rank correlations of a map (h, w) with those of the same network with a part drawn anew."""
    from scipy.stats import spearmanr  # seconds to import

    found = {}
    for part in REDRAWN:
        other = redrawn(net, part, number)
        with torch.no_grad():
            activations = other.features(x)
        values = signed_maps(other.head, activations, target[None])[0, 0].numpy()
        found[part] = float(spearmanr(values.ravel(), plain.ravel()).statistic)
    return found
