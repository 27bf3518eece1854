"""A training run from top to bottom: a convex start, then the network's last stage, attention and head together.

What is trained is small enough for two cores, for the trunk is frozen (`dala.training.features`). Every random choice
of a step derives from (seed, step) alone: a run that was killed resumes into the same result.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from dala.files import replacing
from dala.nets.staged import StagedNetwork
from dala.stats.groups import group_weights
from dala.training.features import (
    Floats,
    Indices,
    TrunkFeatures,
    barrier,
    device_of,
    rank,
    reduced_precision,
)
from dala.training.head import start_head
from dala.training.recipe import Recipe

CHECKPOINT_STEPS = 20

Network = TypeVar("Network", bound=StagedNetwork)


def fine_tune(
    net: Network,
    features: TrunkFeatures,
    labels: NDArray[np.int64],
    groups: NDArray[np.str_],
    tiles: Indices,
    recipe: Recipe,
    seed: int,
    folder: Path,
) -> Network:
    """Train tail and head of `net` on `tiles` (indices) and return it averaged, in evaluation mode.

    labels, groups: (T,) of all tiles.

    `features` must come from a trunk equal to the network's own. `folder` takes `log.jsonl` (a line a step) and a
    checkpoint, from which a killed run goes on; the checkpoint is deleted at the end. Under torchrun every process
    takes its share of each batch and the gradients are averaged.
    """
    device, here, world = device_of(), rank(), _world()
    net.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    chances = group_weights(labels[tiles], groups[tiles])
    chances /= chances.sum()
    size = min(recipe.batch, len(tiles))

    def draw(
        step: int, views: list[str], of_views: list[float] | None, of_tiles: Floats | None
    ) -> tuple[list[str], Indices]:
        """Views and tiles of a step, with their chances, or evenly; no tile twice in a batch."""
        random = np.random.default_rng((seed, step))
        chosen = random.choice(tiles, size, replace=False, p=of_tiles)
        return [views[k] for k in random.choice(len(views), size, p=of_views)], chosen

    # BatchNorm with care: ImageNet's statistics do not fit stained tissue, a small batch's own are noise. So the tail's
    # are estimated anew over many batches of the training images, drawn evenly (balanced by group, the few benign
    # slides set the scale for all), and then stay as they are.
    start_views, start_chances = list(recipe.start_views), list(recipe.start_views.values())
    evenly = (draw(2**31 - step - 1, start_views, start_chances, None) for step in range(recipe.norm_batches))
    _estimate_norms(net.tail, (features.batch(*drawn, device) for drawn in evenly), device)

    # The head begins as a classifier, and is fine-tuned from there.
    answers = start_head(net, features, labels, tiles, chances * len(tiles), recipe)

    # What is learnt from there on is to give every view of an image that answer, and as far as the recipe trusts it
    # less than wholly, to fit the labels: with a few benign patients, fitting labels learns the slides by heart.
    targets = np.zeros((len(labels), answers.shape[1]), np.float32)
    targets[tiles] = recipe.distillation * answers + (1 - recipe.distillation) * np.eye(answers.shape[1])[labels[tiles]]

    net.trunk.requires_grad_(False)
    fresh = [parameter for part in net.fresh for parameter in part.parameters()]
    slow = [parameter for parameter in net.tail.parameters() if all(parameter is not other for other in fresh)]
    fast = [*fresh, *net.head.parameters()]
    tail = nn.ModuleList([net.tail, net.head])
    optimiser = torch.optim.AdamW(
        [{"params": slow, "lr": recipe.lr}, {"params": fast, "lr": recipe.head_lr}],
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    rates = [group["lr"] for group in optimiser.param_groups]
    averages = [p.detach().clone() for p in tail.parameters()]
    steps = math.ceil(recipe.epochs * len(tiles) / size)
    warm = max(1, round(recipe.warmup * steps))
    checkpoint = folder / "checkpoint.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    first = _resume(checkpoint, tail, optimiser, averages, recipe, seed) if checkpoint.is_file() else 0
    log = (folder / "log.jsonl").open("a") if here == 0 else None

    for step in tqdm(range(first, steps), desc=folder.name, unit="step", initial=first, total=steps, disable=here > 0):
        began = time.perf_counter()
        factor = min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * factor
        names, chosen = draw(step, list(features.training), None, chances)
        names, chosen = names[here::world], chosen[here::world]
        target = torch.from_numpy(targets[chosen]).to(device)
        torch.manual_seed((seed * 1_000_003 + step) * 64 + here)  # dropout
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
        keep = min(recipe.ema_decay, (step + 1) / (step + 10))
        with torch.no_grad():
            for average, parameter in zip(averages, tail.parameters(), strict=True):
                average.lerp_(parameter, 1 - keep)
        if log is not None:
            seconds = round(time.perf_counter() - began, 3)
            line = {"step": step + 1, "steps": steps, "loss": round(loss.item(), 5), "factor": round(factor, 4)}
            print(json.dumps({**line, "seconds": seconds}), file=log, flush=True)
        if here == 0 and (step + 1) % CHECKPOINT_STEPS == 0 and step + 1 < steps:
            _save(checkpoint, tail, optimiser, averages, recipe, seed, step + 1)

    if log is not None:
        log.close()
    with torch.no_grad():
        for average, parameter in zip(averages, tail.parameters(), strict=True):
            parameter.copy_(average)
    barrier()
    if here == 0:
        checkpoint.unlink(missing_ok=True)
    return net.eval().requires_grad_(False)


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
    with replacing(path) as partial:
        save_file(tensors, partial, {"step": str(step), "recipe": recipe.fingerprint, "seed": str(seed)})


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


def _world() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1
