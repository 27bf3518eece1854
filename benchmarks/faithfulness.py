"""Does the probability follow the map? Deletion, insertion and re-drawn weights on pictures of held-out patients.

    PYTHONPATH=. python benchmarks/faithfulness.py --data ROOT [--each 2] [--score-cam N] [--runs DIR]

ROOT is BreakHis 200X; the folds' networks are those that `python -m dala crossvalidate breakhis` keeps, and each judges
pictures of patients that it has not seen. About 15 minutes on two cores, and two minutes more for each of the N
pictures whose ScoreCAM is wanted; what is done is kept. Writes evidence/faithfulness_breakhis_200x.json.

Every map is of the network's own call (towards malignant where it says so, else towards benign), on a grid of 10 x 10
cells (fine and steady maps: 20 x 20). pytorch-grad-cam's maps are averaged over the cells that they were enlarged from.
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path

import cv2
import numpy as np
import torch
from methods import SCORE_CAM, Scoring, library_maps, spread, trainable
from scipy.stats import spearmanr
from torch import nn
from tqdm import tqdm

from dala.data import breakhis
from dala.data.pixels import load_pixels
from dala.data.splits import grouped_folds
from dala.explain.effect import BASELINES
from dala.explain.faithfulness import ordered_curves, random_map
from dala.explain.gradcam import signed_maps
from dala.explain.stability import fine_maps, steady_maps
from dala.nets.calibration import softmax
from dala.nets.dala_resnet50 import DALAResNet50
from dala.nets.engines import choose_engine
from dala.nets.runtime import network_input
from dala.training.evaluate import described, kept_networks, write_json
from dala.training.fit import reduced_precision
from dala.training.recipe import SIZE, Recipe
from dala.training.robustness import FOLDS, mean_shift, sample

CPU = torch.device("cpu")
COMMAND = "PYTHONPATH=. python benchmarks/faithfulness.py --data ROOT"


def judge_of(net: DALAResNet50, enlarged: int):
    def judge(pictures: np.ndarray) -> np.ndarray:
        with torch.no_grad(), reduced_precision(CPU):
            return softmax(net(network_input(pictures[:, 0], enlarged)).double().numpy())

    return judge


def call_of(net: DALAResNet50, view: np.ndarray, enlarged: int):
    """What judges changed pictures, the class that the network calls this one, and the map's target."""
    judge = judge_of(net, enlarged)
    called = int(judge(view[None, None])[0].argmax())
    return judge, called, torch.tensor([-1.0, 1.0]) * (1 if called == 1 else -1)


def areas(view: np.ndarray, maps: dict[str, np.ndarray], judge, called: int, steps: int, seed: int) -> dict:
    """Areas under deletion and insertion of every map, by baseline."""
    found: dict = {}
    for baseline in BASELINES:
        found[baseline] = {}
        for name, values in maps.items():
            curves = ordered_curves(view, values, judge, called, baseline, steps, seed=seed)
            found[baseline][name] = [curves.deletion_area, curves.insertion_area]
    return found


def lines_of(kept: Path) -> list[dict]:
    return [json.loads(line) for line in kept.read_text().splitlines()] if kept.is_file() else []


def maps_of(net: DALAResNet50, x: torch.Tensor, target: torch.Tensor, number: int) -> dict[str, np.ndarray]:
    with torch.no_grad():
        trunk = net.trunk(x)
        activations = net.tail(trunk)
    plain = signed_maps(net.head, activations, target[None])[0, 0].numpy()
    cells = plain.shape
    library = {
        name: cv2.resize(values, cells[::-1], interpolation=cv2.INTER_AREA)
        for name, values in library_maps(trainable(net), x, target).items()
        if "HiResCAM" not in name and name != "pytorch-grad-cam GradCAM"  # the same order as ours, but for negatives
    }
    return {
        "gradcam": plain,
        "gradcam_inverted": -plain,
        "fine": fine_maps(trunk, net.tail, net.head, target[None])[0, 0].numpy(),
        "steady": steady_maps(x, net.trunk, net.tail, net.head, target[None]).mean[0],
        "random": random_map(cells, number),
        **library,
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


def randomised(net: DALAResNet50, x: torch.Tensor, target: torch.Tensor, plain: np.ndarray, number: int) -> dict:
    found = {}
    for part in ("head", "layer4", "both"):
        other = redrawn(net, part, number)
        with torch.no_grad():
            activations = other.features(x)
        values = signed_maps(other.head, activations, target[None])[0, 0].numpy()
        found[part] = float(spearmanr(values.ravel(), plain.ravel()).statistic)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--each", type=int, default=2, help="pictures of an accession group, at most")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--score-cam", type=int, default=0, metavar="N", help="pictures that ScoreCAM is run on")
    parser.add_argument("--engine", default=None, metavar="NAME", help="what ScoreCAM's passes run on")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--evidence", type=Path, default=Path("evidence") / "faithfulness_breakhis_200x.json")
    options = parser.parse_args()

    recipe = Recipe()
    folder = options.runs / f"breakhis_200x-{recipe.fingerprint}"
    dataset = breakhis.load(options.data, 200)
    networks = kept_networks(folder, FOLDS)
    splits = grouped_folds(dataset.labels, dataset.groups, FOLDS, seed=0)
    fold_of = {int(index): number for number, (_, test) in enumerate(splits) for index in test}
    chosen = sample(dataset.groups, options.each)
    pixels = load_pixels(dataset.records, SIZE)
    kept = folder / f"faithfulness-{options.each}-{options.steps}.jsonl"
    rows = lines_of(kept)
    done = {row["picture"] for row in rows}
    for index in tqdm([int(one) for one in chosen if dataset.records[one].name not in done]):
        net = networks[fold_of[index]]
        view, x = pixels[index], network_input(pixels[index][None], recipe.enlarged)
        judge, called, target = call_of(net, view, recipe.enlarged)
        maps = maps_of(net, x, target, index)
        row = {"picture": dataset.records[index].name, "group": str(dataset.groups[index])}
        row["areas"] = areas(view, maps, judge, called, options.steps, index)
        row["randomised"] = randomised(net, x, target, maps["gradcam"], index)
        rows.append(row)
        with kept.open("a") as file:
            file.write(json.dumps(row) + "\n")

    scored = folder / f"faithfulness-{options.each}-{options.steps}-score-cam.jsonl"
    found = {row["picture"]: row for row in lines_of(scored)}
    slow = sorted(spread(len(chosen), options.score_cam)) if options.score_cam else []
    engines = {}
    for index in tqdm([int(chosen[place]) for place in slow], desc=SCORE_CAM):
        name, fold = dataset.records[index].name, fold_of[index]
        if name not in found:
            net, view, x = networks[fold], pixels[index], network_input(pixels[index][None], recipe.enlarged)
            if fold not in engines:
                engines[fold] = choose_engine(net, None, options.engine)
            judge, called, target = call_of(net, view, recipe.enlarged)
            map_ = library_maps(trainable(net), x, target, Scoring(engines[fold], folder / f"score-cam-{fold}"))
            cells = cv2.resize(map_[SCORE_CAM], (10, 10), interpolation=cv2.INTER_AREA)
            found[name] = {
                "picture": name,
                "engine": engines[fold].name,
                "areas": areas(view, {SCORE_CAM: cells}, judge, called, options.steps, index),
            }
            with scored.open("a") as file:
                file.write(json.dumps(found[name]) + "\n")
    taken = {dataset.records[int(chosen[place])].name for place in slow}
    for row in rows:
        if row["picture"] in taken:
            for baseline, of_method in found[row["picture"]]["areas"].items():
                row["areas"][baseline] |= of_method

    methods: dict = {}
    for baseline in BASELINES:
        methods[baseline] = {}
        for name in dict.fromkeys(name for row in rows for name in row["areas"][baseline]):
            here = [row for row in rows if name in row["areas"][baseline]]
            areas_, chance, plain = (
                np.array([row["areas"][baseline][one] for row in here]) for one in (name, "random", "gradcam")
            )
            by = np.array([row["group"] for row in here])
            methods[baseline][name] = {
                "pictures": len(here),
                "deletion": mean_shift(areas_[:, 0], by),
                "insertion": mean_shift(areas_[:, 1], by),
                # Paired by picture: how much sooner the call falls, and how much sooner it is back, than at random.
                "deletion_gain": mean_shift(chance[:, 0] - areas_[:, 0], by),
                "insertion_gain": mean_shift(areas_[:, 1] - chance[:, 1], by),
                # And than with Grad-CAM.
                "deletion_over_gradcam": mean_shift(plain[:, 0] - areas_[:, 0], by),
                "insertion_over_gradcam": mean_shift(areas_[:, 1] - plain[:, 1], by),
            }
    groups = np.array([row["group"] for row in rows])
    record = {
        "protocol": f"deletion and insertion in {options.steps} steps of the cells in the map's order, towards the "
        f"network's own call, by the network of the fold ({FOLDS} folds by accession number) that has not seen the "
        f"patient, before calibration; up to {options.each} pictures, drawn at random, of every accession group; gains "
        "are paired with a random order by picture; mean over the groups; 95 % intervals: bootstrap over accession "
        "groups",
        "command": f"{COMMAND} --each {options.each}" + (f" --score-cam {len(slow)}" if slow else ""),
        "score_cam_on": sorted({found[name]["engine"] for name in taken}),
        "recipe": recipe.record,
        "data": described(dataset) | {"pictures": len(rows)},
        "methods": methods,
        "randomised": {
            part: mean_shift(np.array([row["randomised"][part] for row in rows]), groups)
            for part in ("head", "layer4", "both")
        },
        "explained": {
            "deletion": "area under the call's probability as cells are taken away, strongest first: small is better",
            "insertion": "area as cells are put onto the baseline, strongest first: large is better",
            "randomised": "rank correlation of the map with that of the same network with a part's weights drawn anew: "
            "a map that explains this network should be far from 1",
        },
    }
    write_json(options.evidence, record)
    for baseline, table in methods.items():
        for name, row in table.items():
            cells = (
                f"{key} {one['value']:+.3f} [{one['low']:+.3f}, {one['high']:+.3f}]"
                for key, one in row.items()
                if key != "pictures"
            )
            print(baseline, f"{name:28s}", *cells)
    print(record["randomised"])


if __name__ == "__main__":
    main()
