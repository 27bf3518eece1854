"""Whole image or tiles for elongated images? AUC on patients the networks have not seen.

    python benchmarks/view_policy.py --data ROOT [--runs runs] [--every 4]

The fold networks are those that `dala crossvalidate breakhis` kept in `runs`, each asked about patients it
has not seen. Each test image is shown as it is, as its central square, and as a panorama: joined with the next
image of its slide to about 3 : 1, once squeezed whole and once cut into two tiles with averaged logits.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from dala.data.pixels import load_pixels
from dala.preprocess.views import cut, network_input
from dala.stats.metrics import binary_scores
from dala.training.cross_validation import kept_networks
from dala.training.features import reduced_precision
from dala.training.recipe import SIZE
from dala.training.task import folds_of
from dala.training.tasks import breakhis


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--every", type=int, default=4, help="score every n-th image of each accession group")
    arguments = parser.parse_args()
    task = breakhis.load(arguments.data)
    pixels = load_pixels(task.records, SIZE)
    slides = np.array([record.slide for record in task.records])
    chosen = np.zeros(len(pixels), dtype=bool)
    for group in np.unique(task.groups):
        chosen[np.flatnonzero(task.groups == group)[:: arguments.every]] = True
    variants: dict[str, np.ndarray] = {}
    for net, fold in zip(kept_networks(task, arguments.runs, 5), folds_of(task, 5, 1), strict=True):

        def margin(image: np.ndarray, grid: tuple[int, int], net: torch.nn.Module = net) -> float:
            tiles, _ = cut(image, grid, SIZE)
            with torch.no_grad(), reduced_precision(torch.device("cpu")):
                logits = net(network_input(tiles, task.recipe.enlarged)).float().mean(0)
            return float(logits[1] - logits[0])

        for index in tqdm(fold.test[chosen[fold.test]], desc=f"fold {fold.number}", unit="image"):
            same = np.flatnonzero(slides == slides[index])
            following = same[(np.searchsorted(same, index) + 1) % len(same)]
            # Back to the proportions of the microscope field, 700 x 460.
            first, second = (np.asarray(Image.fromarray(pixels[i]).resize((700, 460))) for i in (index, following))
            panorama = np.concatenate([first, second], axis=1)
            shown = {
                "as it is, whole": margin(pixels[index], (1, 1)),
                "central square, whole": margin(np.ascontiguousarray(first[:, 120:580]), (1, 1)),
                "panorama 3 : 1, whole": margin(panorama, (1, 1)),
                "panorama 3 : 1, two tiles": margin(panorama, (1, 2)),
            }
            for name, value in shown.items():
                variants.setdefault(name, np.zeros(len(pixels)))[index] = value
    labels = task.labels[chosen]
    print(f"{len(labels)} images of {len(set(task.groups))} accession groups")
    print("| view | AUC | balanced accuracy |\n|---|---:|---:|")
    for name, margins in variants.items():
        accuracy = binary_scores(labels, 1 / (1 + np.exp(-margins[chosen])))["balanced_accuracy"]
        print(f"| {name} | {roc_auc_score(labels, margins[chosen]):.3f} | {accuracy:.3f} |")


if __name__ == "__main__":
    main()
