"""The model as it is served: views of a patch, one forward pass, probabilities. Nothing here is ever written to."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from dala.intake.image import Patch
from dala.intake.mammogram import prepare
from dala.nets.calibration import Calibration, PredictionSet, softmax
from dala.nets.dala_resnet50 import DALAResNet50
from dala.nets.engines import Engine, TorchEngine, choose_engine
from dala.nets.familiarity import Familiarity, load_familiarity
from dala.nets.fields import field_grid
from dala.nets.imagenet import IMAGENET_MEAN, IMAGENET_STD
from dala.nets.weights import WEIGHTS_DIR, Card, load_weights, read_card

# Longest side over shortest up to which the whole picture is squeezed to the square input; see `plan_grid`.
WHOLE_UP_TO = 2.3
MAX_TILES = 12


@dataclass(frozen=True)
class View:
    """A rectangle of the patch as the network saw it: `box` (left, top, right, bottom) in patch pixels.

    Views without a `part` lie side by side and cover the patch. A view with one is all that the network saw: `part` is
    its box as shares 0..1 of the patch's width and height, and `mirrored` says that it was turned left to right.
    """

    box: tuple[int, int, int, int]
    part: tuple[float, float, float, float] | None = None
    mirrored: bool = False


@dataclass(frozen=True, eq=False)
class Model:
    """Trained weights with their card; shared by all users, never changed after loading.

    `familiarity` holds the statistics of the training pictures that the gate needs, None where there are none.
    `engine` runs the convolutions of `net`; None is torch.
    """

    net: DALAResNet50
    card: Card
    familiarity: Familiarity | None = None
    engine: Engine | None = None

    @property
    def runs_on(self) -> Engine:
        return TorchEngine(self.net) if self.engine is None else self.engine

    @property
    def name(self) -> str:
        return self.card.name


@dataclass(frozen=True, eq=False)
class Prediction:
    """What one forward pass said about a patch.

    `logits` and `probabilities` are float64 (classes,), logits averaged over the views; `activations` is the attended
    layer4 output (views, 2048, h, w) float32 without a graph; `seen` (views, size, size, 3) uint8 are the views (of a
    mammogram the whole film) and `pooled` (views, 1024) float32 the trunk's output averaged over each, for the gate;
    `grid` (rows, columns) says how the views tile the patch; `milliseconds` is the time from pixels to probabilities.
    The probabilities are calibrated if there is a `calibration`; without one they are the plain softmax and there are
    no sets.
    """

    classes: tuple[str, ...]
    logits: np.ndarray
    probabilities: np.ndarray
    activations: Tensor
    seen: np.ndarray
    pooled: np.ndarray
    head: nn.Module
    views: tuple[View, ...]
    grid: tuple[int, int]
    milliseconds: float
    calibration: Calibration | None = None
    engine: str = "torch"

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.classes[int(self.probabilities.argmax())]

    @property
    def sets(self) -> tuple[PredictionSet, ...]:
        """The set at every error level of the card, the largest level first; empty without a calibration."""
        if self.calibration is None:
            return ()
        return tuple(self.calibration.set_of(self.probabilities, a) for a in sorted(self.calibration.thresholds)[::-1])

    @property
    def default_set(self) -> PredictionSet | None:
        """The set at `DEFAULT_ALPHA`, None without a calibration: `default_set.not_sure` decides the verdict."""
        return None if self.calibration is None else self.calibration.set_of(self.probabilities)


def load_model(name: str | Path = "breakhis", folder: Path = WEIGHTS_DIR, engine: str | None = None) -> Model:
    """Load weights once for all users, and the engine that `choose_engine` chooses for them.

    Raises `dala.nets.weights.WeightsError`, also (`EngineError`) if `engine` or `DALA_ENGINE` names none.
    """
    net, card = load_weights(name, folder)
    familiarity = load_familiarity(read_card(name, folder)[1], net.trunk, card.enlarged)
    return Model(net, card, familiarity, choose_engine(net, str(card.fields["sha256"]), engine, card.name))


def plan_grid(width: int, height: int, frame: tuple[int, int]) -> tuple[int, int]:
    """(rows, columns) of equal tiles that show the network pictures shaped like those it was trained on.

    The whole picture, squeezed, as long as its sides differ by no more than a factor `WHOLE_UP_TO`: half as much again
    as the training frame's 1.52. A longer one is cut along its long side into tiles of about that `frame`'s shape.
    benchmarks/view_policy.py: at 3 : 1, whole and in two tiles, new patients are told apart equally well but for noise
    (AUC .958 and .951, balanced accuracy .902 and .919; 189 pictures of 37 accession groups, plain .953 and .919), so
    the limit is set by what tiles give besides: nuclei of the size learnt, and a map that is finer along the picture.
    """
    long, short = max(width, height), min(width, height)
    if long <= WHOLE_UP_TO * short:
        return 1, 1
    shape = max(frame) / min(frame)
    tiles = min(MAX_TILES, max(2, round(long / short / shape)))
    return (1, tiles) if width >= height else (tiles, 1)


def cut(pixels: np.ndarray, grid: tuple[int, int], size: int) -> tuple[np.ndarray, tuple[View, ...]]:
    """Tiles of an (H, W, 3) uint8 picture as (views, size, size, 3) uint8, row by row, with their boxes.

    Bicubic with antialiasing: the filter that made the training pictures.
    """
    height, width = pixels.shape[:2]
    tops = np.linspace(0, height, grid[0] + 1).round().astype(int).tolist()
    lefts = np.linspace(0, width, grid[1] + 1).round().astype(int).tolist()
    picture = Image.fromarray(pixels)
    views, tiles = [], []
    for top, bottom in pairwise(tops):
        for left, right in pairwise(lefts):
            box = (left, top, right, bottom)
            tiles.append(np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC, box=box)))
            views.append(View(box))
    return np.stack(tiles), tuple(views)


def look(pixels: np.ndarray, card: Card) -> tuple[np.ndarray, np.ndarray, tuple[View, ...], tuple[int, int]]:
    """What the gate and what the network see of an (H, W, 3) uint8 picture, with the views' boxes and their grid.

    Both are (views, size, size, 3) uint8; they differ where the card names a preprocessing.
    """
    if card.preprocess == "mammogram":
        film, _ = cut(pixels, (1, 1), card.size)
        breast = prepare(pixels)
        height, width = pixels.shape[:2]
        left, right = (round(share * width) for share in breast.box[::2])
        top, bottom = (round(share * height) for share in breast.box[1::2])
        view = View((left, top, right, bottom), breast.box, breast.mirrored)
        return film, breast.resized(card.size)[None], (view,), (1, 1)
    plan = field_grid if card.preprocess == "fields" else plan_grid
    grid = plan(pixels.shape[1], pixels.shape[0], tuple(card.fields["input"]["frame"]))
    tiles, views = cut(pixels, grid, card.size)
    return tiles, tiles, views, grid


def network_input(views: np.ndarray | Tensor, enlarged: int) -> Tensor:
    """(N, size, size, 3) uint8 to (N, 3, enlarged, enlarged) float32: bicubic enlargement, ImageNet mean and deviation.

    Layer maps are finer on the enlarged picture (10 x 10 instead of 7 x 7 at 320) and frozen ImageNet features tell
    more of it: nuclei are small in a field of view squeezed to 224 pixels.
    """
    x = torch.tensor(views) if isinstance(views, np.ndarray) else views
    x = x.permute(0, 3, 1, 2).to(torch.float32) / 255
    if x.shape[-1] != enlarged:
        x = F.interpolate(x, size=(enlarged, enlarged), mode="bicubic", align_corners=False).clamp(0, 1)
    return normalised(x)


def normalised(x: Tensor) -> Tensor:
    """(N, 3, H, W) in 0..1 with ImageNet's mean taken off and divided by its deviation, channels last."""
    mean = torch.tensor(IMAGENET_MEAN, device=x.device).view(1, 3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=x.device).view(1, 3, 1, 1)
    return ((x - mean) / std).contiguous(memory_format=torch.channels_last)


def probabilities_of(pictures: np.ndarray, model: Model) -> np.ndarray:
    """Probabilities (N, classes) float64 of pictures as views, (N, V, size, size, 3) uint8, by the rule of `predict`.

    All of them in one pass, so the caller bounds N times V.
    """
    count, views = pictures.shape[:2]
    engine = model.runs_on
    x = network_input(pictures.reshape(-1, *pictures.shape[2:]), model.card.enlarged)
    with torch.no_grad():
        activations = engine.tail(engine.trunk(x))
        logits = model.net.head(activations).to(torch.float64).reshape(count, views, -1).mean(1).numpy()
    calibration = model.card.calibration
    return softmax(logits) if calibration is None else calibration.probabilities(logits)


def predict(patch: Patch, model: Model) -> Prediction:
    """One forward pass over the views of a patch; any number of threads may call it with the same model."""
    start = time.perf_counter()
    seen, tiles, views, grid = look(patch.pixels, model.card)
    with torch.no_grad():
        # A tile at a time: the answer for a tile does not depend on its neighbours in a batch, and memory stays flat.
        engine = model.runs_on
        trunks = [engine.trunk(network_input(tile[None], model.card.enlarged)) for tile in tiles]
        pooled = torch.cat([trunk.mean((2, 3)) for trunk in trunks])
        activations = torch.cat([engine.tail(trunk) for trunk in trunks])
        logits = model.net.head(activations).to(torch.float64).mean(0).numpy()
    calibration = model.card.calibration
    return Prediction(
        classes=model.card.classes,
        logits=logits,
        probabilities=softmax(logits) if calibration is None else calibration.probabilities(logits),
        activations=activations,
        seen=seen,
        pooled=pooled.numpy(),
        head=model.net.head,
        views=views,
        grid=grid,
        milliseconds=1000 * (time.perf_counter() - start),
        calibration=calibration,
        engine=engine.name,
    )
