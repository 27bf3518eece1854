"""The first stage: the network learns tissue, in the classes of `dala.data.tissue`, before it is asked for diagnoses.

dala tissue --data ROOT      runs/tissue-<recipe>/network.safetensors, and what it scores on tiles held out

ImageNet's features lean on stain and on texture that changes from laboratory to laboratory. Twelve kinds of tissue from
many hospitals, seen in every stain and at a range of scales, teach what stays the same. layer2 to layer4, attention and
head are trained; stem and layer1 stay ImageNet's, and so do the statistics of every BatchNorm.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from dala.data.augment import Augmentation, random_views
from dala.data.pixels import load_pixels
from dala.data.tissue import TissueTile
from dala.data.tree import Dataset
from dala.files import replacing, write_json
from dala.nets.dala_resnet50 import DALAResNet50
from dala.nets.imagenet import Backbone
from dala.preprocess.views import network_input, normalised
from dala.training.features import device_of, imagenet_resnet50, reduced_precision

SIZE = 150  # side of a tile
# Frames of 96 to 150 px of a tile, seen at 128 to 160: a little closer or farther than 0.5 um per pixel.
VIEWS = Augmentation(
    crop=(96 / SIZE) ** 2, aspect=1.1, stain=0.3, stain_mix=0.06, gain=0.08, gamma=0.2, grey=0.03, blur=0.2
)
SIDES = (128, 144, 160)


@dataclass(frozen=True)
class TissueRecipe:
    """Fine-tuning of half a network on tiles; the defaults are those of the shipped weights."""

    epochs: int = 8
    batch: int = 32
    lr: float = 1e-4  # layer2 to layer4
    head_lr: float = 5e-4  # attention and head, which begin at random
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    warmup: float = 0.1  # share of the steps; then half a cosine down to zero
    ema_decay: float = 0.98
    views: Augmentation = VIEWS
    seed: int = 0

    @property
    def fingerprint(self) -> str:
        """Eight letters that change with any choice."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:8]


def folder_of(runs: Path, recipe: TissueRecipe, backbone: Backbone) -> Path:
    """Where this recipe's network, log and checkpoint are kept."""
    return runs / f"tissue-{recipe.fingerprint}-{Path(backbone.source).stem}"


def pretrained(path: Path, classes: int) -> DALAResNet50:
    """A DALAResNet50 of so many classes on the first stage's stem to attention; its head is drawn anew."""
    net = DALAResNet50(classes=classes)
    state = {name: value for name, value in load_file(path).items() if not name.startswith("head.")}
    net.load_state_dict(state, strict=False)
    return net.eval()


def train_on_tissue(tiles: Dataset[TissueTile], backbone: Backbone, recipe: TissueRecipe, runs: Path) -> dict[str, Any]:
    """Train on the tiles that are not held out, resuming where a killed run stopped; the network and `tissue.json`, the
    record that is returned, are written to `folder_of`."""
    folder = folder_of(runs, recipe, backbone)
    told, kept = folder / "tissue.json", folder / "network.safetensors"
    if told.is_file() and kept.is_file():
        found: dict[str, Any] = json.loads(told.read_text(encoding="utf-8"))
        return found
    started = time.monotonic()
    pixels = load_pixels(tiles.records, SIZE)
    held_out = np.array([tile.held_out for tile in tiles.records])
    training = np.flatnonzero(~held_out)
    net = _trained(pixels, tiles.labels, training, len(tiles.classes), backbone, recipe, folder)
    answers = _answers(net, pixels[held_out])
    labels = tiles.labels[held_out]
    recalls = {
        name: round(float((answers[labels == label] == label).mean()), 4) for label, name in enumerate(tiles.classes)
    }
    record = {
        "protocol": "tiles held out by a hash of their name; no tile names its patient, so patients are not kept apart",
        "command": "dala tissue --data ROOT",
        "recipe": {**asdict(recipe), "fingerprint": recipe.fingerprint},
        "imagenet": backbone.source,
        "tiles": {"training": len(training), "held_out": int(held_out.sum())},
        "accuracy": round(float((answers == labels).mean()), 4),
        "balanced_accuracy": round(float(np.mean(list(recalls.values()))), 4),
        "recall": recalls,
        "minutes": round((time.monotonic() - started) / 60, 1),
    }
    _save(kept, net, {})
    write_json(told, record)
    (folder / "checkpoint.pt").unlink(missing_ok=True)
    return record


def _trained(
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    training: NDArray[np.intp],
    classes: int,
    backbone: Backbone,
    recipe: TissueRecipe,
    folder: Path,
) -> DALAResNet50:
    device = device_of()
    net = imagenet_resnet50(backbone, classes, seed=recipe.seed).eval()
    net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    learnt = [net.trunk.get_submodule("layer2"), net.trunk.get_submodule("layer3"), net.layer4.get_submodule("blocks")]
    fresh = [net.layer4.get_submodule("attention"), net.head]
    net.requires_grad_(False)
    slow = [p for part in learnt for p in part.requires_grad_(True).parameters()]
    fast = [p for part in fresh for p in part.requires_grad_(True).parameters()]
    optimiser = torch.optim.AdamW(
        [{"params": slow, "lr": recipe.lr}, {"params": fast, "lr": recipe.head_lr}], weight_decay=recipe.weight_decay
    )
    rates = [group["lr"] for group in optimiser.param_groups]
    averages = [p.detach().clone() for p in (*slow, *fast)]
    counts = np.bincount(labels[training], minlength=classes)
    chances = (1 / np.sqrt(counts))[labels[training]]  # between every tile alike and every class alike
    chances /= chances.sum()
    steps = math.ceil(recipe.epochs * len(training) / recipe.batch)
    warm = max(1, round(recipe.warmup * steps))
    checkpoint = folder / "checkpoint.pt"
    folder.mkdir(parents=True, exist_ok=True)
    first = 0
    if checkpoint.is_file():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        net.load_state_dict(state["net"])
        optimiser.load_state_dict(state["optimiser"])
        averages, first = state["averages"], state["step"]
    with (folder / "log.jsonl").open("a") as log:
        for step in tqdm(range(first, steps), desc=folder.name, unit="step", initial=first, total=steps):
            began = time.perf_counter()
            factor = min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * step / steps))
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            draw = np.random.default_rng((recipe.seed, step))
            chosen = draw.choice(training, min(recipe.batch, len(training)), replace=False, p=chances)
            side = int(draw.choice(SIDES))
            x = normalised(random_views(torch.from_numpy(pixels[chosen]), side, recipe.views, recipe.seed + step))
            torch.manual_seed(recipe.seed * 1_000_003 + step)  # dropout
            net.head.train()
            with reduced_precision(device):
                attended = net.features(x.to(device))
            target = torch.from_numpy(labels[chosen]).to(device)
            loss = F.cross_entropy(net.head(attended.float()), target, label_smoothing=recipe.label_smoothing)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            keep = min(recipe.ema_decay, (step + 1) / (step + 10))
            with torch.no_grad():
                for average, parameter in zip(averages, (*slow, *fast), strict=True):
                    average.lerp_(parameter, 1 - keep)
            seconds = round(time.perf_counter() - began, 3)
            line = {"step": step + 1, "steps": steps, "loss": round(loss.item(), 5), "seconds": seconds}
            print(json.dumps(line), file=log, flush=True)
            if (step + 1) % 50 == 0 and step + 1 < steps:
                with replacing(checkpoint) as partial:
                    state = {"net": net.state_dict(), "optimiser": optimiser.state_dict()}
                    torch.save({**state, "averages": averages, "step": step + 1}, partial)
    with torch.no_grad():
        for average, parameter in zip(averages, (*slow, *fast), strict=True):
            parameter.copy_(average)
    return net.eval().requires_grad_(False)


def _answers(net: DALAResNet50, pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The most probable class of each tile, (T,), seen whole at its own size."""
    device, parts = device_of(), []
    with torch.no_grad(), reduced_precision(device):
        for start in range(0, len(pixels), 32):
            x: Tensor = network_input(torch.from_numpy(pixels[start : start + 32]), SIZE).to(device)
            parts.append(net(x).float().argmax(1).cpu())
    return torch.cat(parts).numpy()


def _save(path: Path, net: DALAResNet50, notes: dict[str, str]) -> None:
    with replacing(path) as partial:
        save_file({name: value.contiguous() for name, value in net.state_dict().items()}, partial, notes)
