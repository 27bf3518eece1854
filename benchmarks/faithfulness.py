"""Does the probability follow the map? Deletion, insertion and re-drawn weights on images of held-out patients.

    PYTHONPATH=. python benchmarks/faithfulness.py --data ROOT [--each 2] [--score-cam N] [--runs DIR]

ROOT is BreakHis 200X; the folds' networks are those that `dala crossvalidate breakhis` keeps, and each judges
images of patients that it has not seen. About 15 minutes on two cores, and two minutes more for each of the N
images whose ScoreCAM is wanted; what is done is kept. Writes evidence/faithfulness_breakhis_200x.json.

Every map is of the network's own call (towards malignant where it says so, else towards benign), on a grid of 10 x 10
cells. pytorch-grad-cam's maps are averaged over the cells that they were enlarged from. The finer maps, which have 20 x
20, are measured on their own grid beside a random order of such cells, and averaged to 10 x 10 beside the others.
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
from dala.explanation.effect import BASELINES
from dala.explanation.faithfulness import ordered_curves, random_map
from dala.explanation.gradcam import signed_maps
from dala.explanation.stability import augmented_maps, fine_maps
from dala.nets.dala_resnet50 import DALAResNet50
from dala.preprocess.views import network_input
from dala.runtime.calibration import softmax
from dala.runtime.engines import Engine, choose_engine
from dala.studies.robustness import FOLDS, mean_shift, sample
from dala.training.evaluate import described, kept_networks, write_json
from dala.training.features import reduced_precision
from dala.training.recipe import SIZE, Recipe

CPU = torch.device("cpu")
# The library's Grad-CAM and HiResCAM are in the same order as ours, but for negative values.
LIBRARY = (*(f"pytorch-grad-cam {name}" for name in ("GradCAM++", "LayerCAM", "EigenCAM")), SCORE_CAM)
NAMES = {
    "gradcam", "gradcam_inverted", "fine", "steady", "fine_averaged", "steady_averaged", "random", "random_fine",
    *LIBRARY[:-1],
}  # fmt: skip
FINER = ("fine", "steady", "random_fine")
COMMAND = "PYTHONPATH=. python benchmarks/faithfulness.py --data ROOT"


def judge_of(net: DALAResNet50, enlarged: int):
    def judge(images: np.ndarray) -> np.ndarray:
        with torch.no_grad(), reduced_precision(CPU):
            return softmax(net(network_input(images[:, 0], enlarged)).double().numpy())

    return judge


def call_of(net: DALAResNet50, view: np.ndarray, enlarged: int):
    """What judges changed images, the class that the network calls this one, and the map's target."""
    judge = judge_of(net, enlarged)
    called = int(judge(view[None, None])[0].argmax())
    return judge, called, torch.tensor([-1.0, 1.0]) * (1 if called == 1 else -1)


def areas(
    view: np.ndarray, maps: dict[str, np.ndarray], judge, called: int, options: argparse.Namespace, seed: int
) -> dict:
    """Areas under deletion and insertion of every map, by baseline."""
    found: dict = {}
    for baseline in BASELINES:
        found[baseline] = {}
        for name, values in maps.items():
            curves = ordered_curves(view, values, judge, called, baseline, options.steps, seed=seed)
            found[baseline][name] = [curves.deletion_area, curves.insertion_area]
    return found


def merged(kept: Path) -> dict[str, dict]:
    """What was kept of each image, in one row; a later line adds to the ones before."""
    rows: dict[str, dict] = {}
    for line in kept.read_text().splitlines() if kept.is_file() else ():
        new = json.loads(line)
        row = rows.setdefault(new["picture"], {"areas": {}})
        for baseline, of_method in new.pop("areas").items():
            row["areas"].setdefault(baseline, {}).update(of_method)
        row.update(new)
    return rows


def maps_of(
    net: DALAResNet50, x: torch.Tensor, target: torch.Tensor, number: int, scoring: Scoring | None
) -> dict[str, np.ndarray]:
    with torch.no_grad():
        trunk = net.trunk(x)
        activations = net.tail(trunk)
    plain = signed_maps(net.head, activations, target[None])[0, 0].numpy()
    cells = plain.shape

    def averaged(values: np.ndarray) -> np.ndarray:
        return cv2.resize(values, cells[::-1], interpolation=cv2.INTER_AREA)

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
    parser.add_argument("--each", type=int, default=2, help="images of an accession group, at most")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--score-cam", type=int, default=0, metavar="N", help="images that ScoreCAM is run on")
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
    rows = merged(kept)
    slow = sorted(spread(len(chosen), options.score_cam)) if options.score_cam else []
    engines: dict[int, Engine] = {}
    for place, index in enumerate(tqdm(chosen.tolist())):
        name, fold = dataset.records[index].name, fold_of[index]
        row = rows.setdefault(name, {"picture": name, "group": str(dataset.groups[index]), "areas": {}})
        missing = NAMES | ({SCORE_CAM} if place in slow else set())
        missing -= set(row["areas"].get(BASELINES[0], {}))
        if not missing:
            continue
        net, view, x = networks[fold], pixels[index], network_input(pixels[index][None], recipe.enlarged)
        if SCORE_CAM in missing and fold not in engines:
            engines[fold] = choose_engine(net, None, options.engine)
        scoring = Scoring(engines[fold], folder / f"score-cam-{fold}") if SCORE_CAM in missing else None
        judge, called, target = call_of(net, view, recipe.enlarged)
        maps = maps_of(net, x, target, index, scoring)
        new = {
            "picture": name,
            "areas": areas(view, {one: maps[one] for one in maps if one in missing}, judge, called, options, index),
        }
        if "randomised" not in row:
            new |= {"group": row["group"], "randomised": randomised(net, x, target, maps["gradcam"], index)}
        if scoring is not None:
            new["score_cam_on"] = scoring.engine.name
        with kept.open("a") as file:
            file.write(json.dumps(new) + "\n")
    rows = merged(kept)
    slowly = {dataset.records[int(chosen[place])].name for place in slow}
    for name, row in rows.items():
        for of_method in row["areas"].values():
            if name not in slowly:
                of_method.pop(SCORE_CAM, None)

    methods: dict = {}
    for baseline in BASELINES:
        methods[baseline] = {}
        for name in sorted(NAMES | ({SCORE_CAM} if slow else set())):
            here = [row for row in rows.values() if name in row["areas"][baseline]]
            by = np.array([row["group"] for row in here])

            def of(method: str, here: list[dict] = here, baseline: str = baseline) -> np.ndarray:
                return np.array([row["areas"][baseline][method] for row in here]) * (-1, 1)  # then more is better

            def mean(values: np.ndarray, by: np.ndarray = by) -> dict:
                return mean_shift(values, by)

            chance = "random_fine" if name in FINER else "random"
            methods[baseline][name] = {
                "pictures": len(here),
                "deletion": mean(-of(name)[:, 0]),
                "insertion": mean(of(name)[:, 1]),
                # Paired by image: how much sooner the call falls, and how much sooner it is back, than at random.
                "deletion_gain": mean((of(name) - of(chance))[:, 0]),
                "insertion_gain": mean((of(name) - of(chance))[:, 1]),
            }
            if name not in FINER:  # and than with Grad-CAM, on the same grid
                methods[baseline][name] |= {
                    "deletion_over_gradcam": mean((of(name) - of("gradcam"))[:, 0]),
                    "insertion_over_gradcam": mean((of(name) - of("gradcam"))[:, 1]),
                }
    groups = np.array([row["group"] for row in rows.values()])
    record = {
        "protocol": f"deletion and insertion in {options.steps} steps of the cells in the map's order, towards the "
        f"network's own call, by the network of the fold ({FOLDS} folds by accession number) that has not seen the "
        f"patient, before calibration; up to {options.each} images, drawn at random, of every accession group; gains "
        "are paired by image with a random order of cells of the same size; mean over the groups; 95 % intervals: "
        "bootstrap over accession groups",
        "command": f"{COMMAND} --each {options.each}"
        + (f" --score-cam {len(slow)}" if slow else "")
        + (f" --engine {options.engine}" if slow and options.engine else ""),
        "score_cam_on": sorted({rows[name]["score_cam_on"] for name in slowly}),
        "recipe": recipe.record,
        "data": described(dataset) | {"pictures": len(rows)},
        "methods": methods,
        "randomised": {
            part: mean_shift(np.array([row["randomised"][part] for row in rows.values()]), groups)
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
