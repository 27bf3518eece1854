"""A training run from top to bottom: trunk features once, a convex start, then layer4, attention and head together.

The trunk (of a ResNet50: stem to layer3) is frozen, so its output for every view of every image is computed once,
kept on disk in bfloat16, and shared by all folds and repeats of a cross-validation and by every network on the same
trunk. What is then trained is small enough for two cores.
Every random choice of a step derives from (seed, step) alone: a run that was killed resumes into the same result.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from dala.data.augment import random_views
from dala.data.pixels import Images
from dala.data.splits import group_weights
from dala.nets.dala_resnet50 import DALAResNet50
from dala.nets.imagenet import Backbone
from dala.nets.staged import StagedNetwork
from dala.preprocess.views import network_input, normalised
from dala.runtime.calibration import softmax
from dala.training.head import logistic_regression, ridge_regression, write_into_head
from dala.training.recipe import STAIN_SHIFT, Recipe
from dala.training.teacher import middle_features

CHUNK = 16
CHECKPOINT_STEPS = 20

Network = TypeVar("Network", bound=StagedNetwork)


@dataclass(frozen=True, eq=False)
class TrunkFeatures:
    """Trunk outputs of N images, one memory-mapped array of bfloat16 bits per view: maps (N, h, w, channels), of a
    ResNet50 (N, side / 16, side / 16, 1024), or tokens (N, tokens, channels)."""

    views: dict[str, NDArray[np.int16]]
    training: tuple[str, ...]
    teacher: NDArray[np.float32] | None = None  # what the teacher sees of each image, (N, features)

    def batch(self, names: list[str], images: NDArray[np.int64], device: torch.device) -> Tensor:
        """Maps (len(images), channels, h, w), or tokens, in bfloat16; `names[i]` is the view of `images[i]`."""
        rows = np.stack([self.views[name][i] for name, i in zip(names, images, strict=True)])
        x = torch.from_numpy(rows).view(torch.bfloat16)
        return (x.permute(0, 3, 1, 2) if x.ndim == 4 else x).to(device)


def device_of() -> torch.device:
    """The GPU of this process (torchrun sets LOCAL_RANK) or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def reduced_precision(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """bfloat16 autocast on GPUs and on CPUs that compute in it; float32 elsewhere (the results differ slightly)."""
    if device.type == "cuda" or torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()


def trunk_features(
    pixels: NDArray[np.uint8], backbone: Backbone, recipe: Recipe, folder: Path, seed: int = 0
) -> TrunkFeatures:
    """Compute, or find in `folder`, ResNet50's trunk's output for every training view and for a strong stain shift,
    and what the teacher sees.

    pixels: (N, 224, 224, 3) uint8. Takes 0.8 MB of disk an image and view at 320 pixels.
    """
    net = DALAResNet50()
    net.load_imagenet(backbone)
    found = views_through(net.trunk, pixels, recipe, (*recipe.training_views, "stain_shift"), folder, seed)
    if not recipe.teacher:
        return found
    return with_teacher(found, net.trunk, pixels, recipe, folder)


def with_teacher(
    features: TrunkFeatures, trunk: nn.Module, images: Images, recipe: Recipe, folder: Path
) -> TrunkFeatures:
    """The same features with what the teacher sees, computed or found in `folder`."""
    path = folder / f"teacher-{recipe.teacher}.npy"
    if _rank() == 0:
        middle_features(trunk, recipe.teacher_stages, images, recipe.teacher, path, device_of())
    _barrier()
    return replace(features, teacher=np.load(path))


def views_through(
    trunk: nn.Module,
    pixels: Images,
    recipe: Recipe,
    names: tuple[str, ...],
    folder: Path,
    seed: int = 0,
) -> TrunkFeatures:
    """Compute, or find in `folder`, the trunk's output for the named views, the recipe's training views first."""
    device, training = device_of(), recipe.training_views
    trunk = trunk.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    views = {name: folder / f"trunk-{name}.npy" for name in names}
    for number, (name, path) in enumerate(views.items()):
        if not path.is_file() and _rank() == 0:
            _write_view(trunk, pixels, name, recipe, path, seed + 10_000 * number, device)
    _barrier()
    return TrunkFeatures({name: np.load(path, mmap_mode="r") for name, path in views.items()}, training)


def _write_view(
    trunk: nn.Module,
    pixels: Images,
    name: str,
    recipe: Recipe,
    path: Path,
    seed: int,
    device: torch.device,
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    store: NDArray[np.int16] | None = None
    with torch.no_grad(), reduced_precision(device):
        for start in tqdm(range(0, len(pixels), CHUNK), desc=f"features of the {name} view", unit="batch"):
            x = torch.from_numpy(pixels[start : start + CHUNK])
            x = _view(x, name, recipe, seed + start).to(device)
            maps = trunk(x).to(torch.bfloat16)
            maps = (maps.permute(0, 2, 3, 1) if maps.ndim == 4 else maps).contiguous().cpu()
            if store is None:
                shape = (len(pixels), *maps.shape[1:])
                store = np.lib.format.open_memmap(partial, mode="w+", dtype=np.int16, shape=shape)
            store[start : start + CHUNK] = maps.view(torch.int16).numpy()
    del store  # flushes
    partial.replace(path)


def _view(images: Tensor, name: str, recipe: Recipe, seed: int) -> Tensor:
    if name == "plain":
        return network_input(images, recipe.enlarged)
    if name == "mirrored":
        return network_input(images.flip(2), recipe.enlarged)
    kinds = {"stain_shift": STAIN_SHIFT, "geometric": recipe.geometric, "stained": recipe.stained}
    return normalised(random_views(images, recipe.enlarged, kinds[name.rstrip("0123456789")], seed))


def fit(
    features: TrunkFeatures,
    labels: NDArray[np.int64],
    groups: NDArray[np.str_],
    images: NDArray[np.int64],
    backbone: Backbone,
    recipe: Recipe,
    seed: int,
    folder: Path,
) -> DALAResNet50:
    """A DALAResNet50 from ImageNet's weights, fine-tuned on `images` (indices); see `fine_tune`."""
    torch.manual_seed(seed)
    net = DALAResNet50(classes=int(labels.max()) + 1, dropout=recipe.dropout)
    net.load_imagenet(backbone)
    return fine_tune(net, features, labels, groups, images, recipe, seed, folder)


def fine_tune(
    net: Network,
    features: TrunkFeatures,
    labels: NDArray[np.int64],
    groups: NDArray[np.str_],
    images: NDArray[np.int64],
    recipe: Recipe,
    seed: int,
    folder: Path,
) -> Network:
    """Train tail and head of `net` on `images` (indices) and return it averaged, in evaluation mode.

    `features` must come from a trunk equal to the network's own. `folder` takes `log.jsonl` (a line a step) and a
    checkpoint, from which a killed run goes on; the checkpoint is deleted at the end. Under torchrun every process
    takes its share of each batch and the gradients are averaged.
    """
    device, rank, world = device_of(), _rank(), _world()
    net.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    chances = group_weights(labels[images], groups[images])
    chances /= chances.sum()
    size = min(recipe.batch, len(images))

    def draw(
        step: int, views: list[str], of_views: list[float] | None, of_images: NDArray[np.float64] | None
    ) -> tuple[list[str], NDArray[np.int64]]:
        """Views and images of a step, with their chances, or evenly; no image twice in a batch."""
        random = np.random.default_rng((seed, step))
        chosen = random.choice(images, size, replace=False, p=of_images)
        return [views[k] for k in random.choice(len(views), size, p=of_views)], chosen

    # BatchNorm with care: ImageNet's statistics do not fit stained tissue, a small batch's own are noise. So the tail's
    # are estimated anew over many batches of the training images, drawn evenly (balanced by group, the few benign
    # slides set the scale for all), and then stay as they are.
    start_views, start_chances = list(recipe.start_views), list(recipe.start_views.values())
    evenly = (draw(2**31 - step - 1, start_views, start_chances, None) for step in range(recipe.norm_batches))
    _estimate_norms(net.tail, (features.batch(*drawn, device) for drawn in evenly), device)

    # The head begins as a classifier, and is fine-tuned from there.
    answers = _start_head(net, features, labels, images, chances * len(images), recipe)

    # What is learnt from there on is to give every view of an image that answer, and as far as the recipe trusts it
    # less than wholly, to fit the labels: with a few benign patients, fitting labels learns the slides by heart.
    targets = np.zeros((len(labels), answers.shape[1]), np.float32)
    targets[images] = recipe.trust * answers + (1 - recipe.trust) * np.eye(answers.shape[1])[labels[images]]

    net.trunk.requires_grad_(False)
    fresh = [parameter for part in net.fresh for parameter in part.parameters()]
    slow = [parameter for parameter in net.tail.parameters() if all(parameter is not other for other in fresh)]
    fast = [*fresh, *net.head.parameters()]
    tail = nn.ModuleList([net.tail, net.head])
    optimiser = torch.optim.AdamW(
        [{"params": slow, "lr": recipe.rate}, {"params": fast, "lr": recipe.head_rate}],
        weight_decay=recipe.decay,
        fused=True,
    )
    rates = [group["lr"] for group in optimiser.param_groups]
    averages = [p.detach().clone() for p in tail.parameters()]
    steps = math.ceil(recipe.epochs * len(images) / size)
    warm = max(1, round(recipe.warm_up * steps))
    checkpoint = folder / "checkpoint.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    first = _resume(checkpoint, tail, optimiser, averages, recipe, seed) if checkpoint.is_file() else 0
    log = (folder / "log.jsonl").open("a") if rank == 0 else None

    for step in tqdm(range(first, steps), desc=folder.name, unit="step", initial=first, total=steps, disable=rank > 0):
        began = time.perf_counter()
        factor = min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * factor
        names, chosen = draw(step, list(features.training), None, chances)
        names, chosen = names[rank::world], chosen[rank::world]
        target = torch.from_numpy(targets[chosen]).to(device)
        torch.manual_seed((seed * 1_000_003 + step) * 64 + rank)  # dropout
        net.head.train()
        with reduced_precision(device):
            attended = net.tail(features.batch(names, chosen, device))
        loss = F.cross_entropy(net.head(attended.float()), target)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if world > 1:
            for parameter in tail.parameters():
                if parameter.grad is not None:
                    dist.all_reduce(parameter.grad)
                    parameter.grad /= world
        optimiser.step()
        keep = min(recipe.average, (step + 1) / (step + 10))
        with torch.no_grad():
            for average, parameter in zip(averages, tail.parameters(), strict=True):
                average.lerp_(parameter, 1 - keep)
        if log is not None:
            seconds = round(time.perf_counter() - began, 3)
            line = {"step": step + 1, "steps": steps, "loss": round(loss.item(), 5), "factor": round(factor, 4)}
            print(json.dumps({**line, "seconds": seconds}), file=log, flush=True)
        if rank == 0 and (step + 1) % CHECKPOINT_STEPS == 0 and step + 1 < steps:
            _save(checkpoint, tail, optimiser, averages, recipe, seed, step + 1)

    if log is not None:
        log.close()
    with torch.no_grad():
        for average, parameter in zip(averages, tail.parameters(), strict=True):
            parameter.copy_(average)
    _barrier()
    if rank == 0:
        checkpoint.unlink(missing_ok=True)
    return net.eval().requires_grad_(False)


def _start_head(
    net: StagedNetwork,
    features: TrunkFeatures,
    labels: NDArray[np.int64],
    images: NDArray[np.int64],
    weights: NDArray[np.float64],
    recipe: Recipe,
) -> NDArray[np.float64]:
    """Make the head the teacher's pupil, or a logistic regression of its own features where there is no teacher.

    Returns the probabilities (len(images), classes) of the teacher, or of that regression.
    """
    pooled = nn.Sequential(net.tail, net.head.pool, net.head.flatten)
    chances = recipe.start_views
    x = np.concatenate([apply_to_view(pooled, features, name, images) for name in chances])
    of_views = np.concatenate([weights * chance for chance in chances.values()])
    if not recipe.teacher:
        y = np.tile(labels[images], len(chances))
        rows, biases = logistic_regression(x, y, of_views, recipe.strength)
        write_into_head(net.head, rows, biases)
        answers: NDArray[np.float64] = softmax((x @ rows.T + biases).reshape(len(chances), len(images), -1))
        return np.average(answers, axis=0, weights=list(chances.values()))
    if features.teacher is None:
        raise ValueError("The recipe has a teacher, but these features come without what it sees.")
    seen = features.teacher[images].astype(np.float64)
    rows, biases = logistic_regression(seen, labels[images], weights, recipe.strength)
    taught = seen @ rows.T + biases
    write_into_head(net.head, *ridge_regression(x, np.tile(taught, (len(chances), 1)), of_views, recipe.ridge))
    return softmax(taught)


def apply_to_view(
    module: nn.Module, features: TrunkFeatures, view: str, images: NDArray[np.int64]
) -> NDArray[np.float64]:
    """What a module (the tail and what follows) makes of one view of the images: (len(images), outputs) float64."""
    device, parts = device_of(), []
    module.to(device)
    with torch.no_grad(), reduced_precision(device):
        for start in range(0, len(images), 32):
            chosen = images[start : start + 32]
            parts.append(module(features.batch([view] * len(chosen), chosen, device)).double().cpu())
    return torch.cat(parts).numpy()


def _estimate_norms(tail: nn.Module, batches: Iterator[Tensor], device: torch.device) -> None:
    norms = [module for module in tail.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over the batches
        norm.train()
    with torch.no_grad(), reduced_precision(device):
        for batch in batches if norms else ():
            tail(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def _save(
    path: Path,
    tail: nn.Module,
    optimiser: torch.optim.Optimizer,
    averages: list[Tensor],
    recipe: Recipe,
    seed: int,
    step: int,
) -> None:
    tensors: dict[str, Tensor] = {}
    for index, parameter in enumerate(tail.parameters()):
        state = optimiser.state[parameter]
        kept = {
            "value": parameter,
            "average": averages[index],
            "first": state["exp_avg"],
            "second": state["exp_avg_sq"],
        }
        tensors |= {f"{index}.{key}": value.detach().cpu().contiguous() for key, value in kept.items()}
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, {"step": str(step), "recipe": recipe.fingerprint, "seed": str(seed)})
    partial.replace(path)


def _resume(
    path: Path, tail: nn.Module, optimiser: torch.optim.AdamW, averages: list[Tensor], recipe: Recipe, seed: int
) -> int:
    """Load a checkpoint of this recipe and seed; any other is ignored. Returns the step to go on with."""
    with safe_open(path, "pt") as file:
        notes = file.metadata()
    if (notes["recipe"], notes["seed"]) != (recipe.fingerprint, str(seed)):
        return 0
    tensors = load_file(path)
    step = int(notes["step"])
    with torch.no_grad():
        for index, parameter in enumerate(tail.parameters()):
            parameter.copy_(tensors[f"{index}.value"])
            averages[index].copy_(tensors[f"{index}.average"])
            optimiser.state[parameter] = {
                "step": torch.tensor(float(step), device=parameter.device),
                # In the parameter's own memory format, which the fused optimiser takes for granted.
                "exp_avg": torch.empty_like(parameter).copy_(tensors[f"{index}.first"]),
                "exp_avg_sq": torch.empty_like(parameter).copy_(tensors[f"{index}.second"]),
            }
    return step


def _rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def _world() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def _barrier() -> None:
    if dist.is_initialized():
        dist.barrier()
