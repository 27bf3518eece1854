"""Time of a prediction with the maps of both classes: ours, pytorch-grad-cam and torch-cam side by side, same weights.

    python benchmarks/explain.py [--weights breakhis] [--runs 21] [--threads 2]

The programs take turns in a seeded random order, so that a slower moment of the machine, or what the one before left in
the caches, meets all of them. Every one starts from the same normalised 320 x 320 input and ends with the logits and a
map for each class; theirs are used as they document it, with trainable weights and one call for each class. The last
column compares the maps: the largest difference to ours, relative to the largest value, after their own rectification
(and, for pytorch-grad-cam, its stretching and enlarging). The second table is the cost of one move of the threshold
slider, for a 700 x 460 patch.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from pytorch_grad_cam.utils.image import scale_cam_image
from torch import Tensor

from dala.explanation import render
from dala.explanation.gradcam import SignedMap, signed_maps
from dala.explanation.threshold import RULES, threshold
from dala.nets.dala_resnet50 import DALAResNet50
from dala.runtime.weights import load_weights
from dala.studies.other_programs import milliseconds, pytorch_grad_cam, torch_cam

SIDE = 320  # what the shipped weights are shown


def ours(net: DALAResNet50, x: Tensor) -> np.ndarray:
    """Signed maps (classes, h, w), everything but the head without a graph."""
    with torch.no_grad():
        activations = net.features(x)
        logits = net.head(activations)
    return signed_maps(net.head, activations, torch.eye(logits.shape[1]))[:, 0].numpy()


def forward_only(net: DALAResNet50, x: Tensor) -> np.ndarray:
    with torch.no_grad():
        return net(x).numpy()


def differences(net: DALAResNet50, x: Tensor) -> dict[str, float]:
    """Largest difference of the maps to ours, relative to the largest value, each in the other program's own form."""
    signed = ours(net, x)
    rectified = np.maximum(signed, 0)
    # pytorch-grad-cam stretches to 0..1 at layer resolution, enlarges, averages over layers and stretches again.
    stretched = scale_cam_image(scale_cam_image(rectified, (x.shape[3], x.shape[2])))
    return {
        "pytorch-grad-cam": float(np.abs(pytorch_grad_cam(net, x) - stretched).max()),
        "torch-cam": float(np.abs(torch_cam(net, x) - rectified).max() / np.abs(signed).max()),
    }


def slider_table(runs: int) -> None:
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (460, 700, 3), dtype=np.uint8)
    field = SignedMap(generator.normal(size=(7, 7)).astype(np.float32), "malignant").upsampled(460, 700)

    def move(rule: str) -> None:
        regions = threshold(field, rule, RULES[rule].default)
        panels = render.panels(image, field, regions)
        render.encode_png(panels.dt)
        render.encode_png(panels.bar)

    print("\n| one move of the slider | ms (median) |\n|---|---:|")
    for name, value in milliseconds({rule: partial(move, rule) for rule in RULES}, runs).items():
        print(f"| {name} | {value:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", help="name of trained weights; without it, seeded random ones of the same network")
    parser.add_argument("--runs", type=int, default=21)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    net = load_weights(arguments.weights)[0] if arguments.weights else DALAResNet50().eval()
    # pytorch-grad-cam needs trainable weights; ours and torch-cam's time does not depend on it.
    net = net.requires_grad_(True).to(memory_format=torch.channels_last)
    x = torch.randn(1, 3, SIDE, SIDE).contiguous(memory_format=torch.channels_last)

    programs: dict[str, Callable[[], object]] = {
        "forward pass alone, no map": lambda: forward_only(net, x),
        "dala, both classes": lambda: ours(net, x),
        "pytorch-grad-cam, both classes": lambda: pytorch_grad_cam(net, x),
        "pytorch-grad-cam, one class": lambda: pytorch_grad_cam(net, x, (1,)),
        "torch-cam, both classes": lambda: torch_cam(net, x),
    }
    apart = differences(net, x)
    times = milliseconds(programs, arguments.runs)
    base = times["pytorch-grad-cam, both classes"]
    print(
        f"weights {arguments.weights or 'random, seed 0'}, {arguments.threads} threads, {arguments.runs} runs, "
        f"torch {torch.__version__}\n\n"
        "| program | ms (median) | of pytorch-grad-cam | largest difference to ours |\n|---|---:|---:|---:|"
    )
    for name, value in times.items():
        difference = apart.get(name.removesuffix(", both classes"))
        print(f"| {name} | {value:.0f} | {value / base:.2f} | {'' if difference is None else f'{difference:.0e}'} |")
    slider_table(arguments.runs)


if __name__ == "__main__":
    main()
