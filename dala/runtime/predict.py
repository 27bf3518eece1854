"""The model as it is served: views of a patch, one forward pass, probabilities. Nothing here is ever written to."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dala.gate.familiarity import Familiarity, load_familiarity
from dala.intake.patch import Patch
from dala.nets.dala_resnet50 import DALAResNet50
from dala.preprocess.scale import Scale
from dala.preprocess.views import Views, network_input, preprocess
from dala.runtime.calibration import Calibration, PredictionSet, softmax
from dala.runtime.card import WEIGHTS_DIR, Card, read_card
from dala.runtime.engines import Engine, TorchEngine, choose_engine
from dala.runtime.weights import load_weights


@dataclass(frozen=True, eq=False)
class Model:
    """Trained weights with their card; shared by all users, never changed after loading.

    `familiarity` holds the statistics of the training images that the gate needs, None where there are none.
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
class Field:
    """What the network says of one view of an image: `box` (left, top, right, bottom) in patch pixels, the `number` of
    its view, logits and calibrated probabilities, float64 (classes,)."""

    number: int
    box: tuple[int, int, int, int]
    logits: np.ndarray
    probabilities: np.ndarray


@dataclass(frozen=True, eq=False)
class Prediction:
    """What one forward pass said about a patch.

    `logits` and `probabilities` are float64 (classes,), logits averaged over the `views`; `activations` is the attended
    layer4 output (views, 2048, h, w) float32 without a graph, which `head` turns into logits; `pooled` (views, 1024)
    float32 is the trunk's output averaged over each view, for the gate; `milliseconds` is the time from pixels to
    probabilities. The probabilities are calibrated if there is a `calibration`; without one they are the plain softmax
    and there are no sets.

    Of weights that see at a physical scale, `scale` is the image's, `fields` are its views, most suspicious first, and
    `rescaled` the probabilities at the other scales that were tried where the scale is only assumed.
    """

    classes: tuple[str, ...]
    logits: np.ndarray
    probabilities: np.ndarray
    views: Views
    activations: Tensor
    pooled: np.ndarray
    head: nn.Module
    milliseconds: float
    calibration: Calibration | None = None
    engine: str = "torch"
    scale: Scale | None = None
    fields: tuple[Field, ...] = ()
    rescaled: tuple[np.ndarray, ...] = ()

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
        """The set at `DEFAULT_ALPHA` that holds for an unknown laboratory, None without a calibration."""
        return None if self.calibration is None else self.calibration.set_of(self.probabilities)


def load_model(name: str | Path = "breakhis", folder: Path = WEIGHTS_DIR, engine: str | None = None) -> Model:
    """Load weights and the engine that `choose_engine` chooses for them; `name` as in `dala.runtime.card.read_card`.

    Raises `dala.errors.WeightsError`, also (`EngineError`) if `engine` or `DALA_ENGINE` names none.
    """
    net, card = load_weights(name, folder)
    familiarity = load_familiarity(read_card(name, folder)[1], net.trunk, card.input.upsampled)
    return Model(net, card, familiarity, choose_engine(net, str(card.fields["sha256"]), engine, card.name))


_LOADING = threading.Lock()


def served_model(name: str) -> Model:
    """The served weights of that name, loaded when they are first asked for and then shared by all threads."""
    with _LOADING:
        return _served(name)


@cache
def _served(name: str) -> Model:
    return load_model(name)


def probabilities_of(images: np.ndarray, model: Model) -> np.ndarray:
    """Probabilities (N, classes) float64 of images as views, (N, V, size, size, 3) uint8, by the rule of `predict`.

    All of them in one pass, so the caller bounds N times V.
    """
    count, views = images.shape[:2]
    engine = model.runs_on
    x = network_input(images.reshape(-1, *images.shape[2:]), model.card.input.upsampled)
    with torch.no_grad():
        activations = engine.tail(engine.trunk(x))
        logits = model.net.head(activations).to(torch.float64).reshape(count, views, -1).mean(1).numpy()
    calibration = model.card.calibration
    return softmax(logits) if calibration is None else calibration.probabilities(logits)


def predict(patch: Patch, model: Model) -> Prediction:
    """One forward pass over the views of a patch; any number of threads may call it with the same model."""
    start = time.perf_counter()
    views = preprocess(patch.pixels, model.card.input)
    with torch.no_grad():
        # A view at a time: the answer for one does not depend on its neighbours in a batch, and memory stays flat.
        engine = model.runs_on
        side = model.card.input.upsampled
        trunks = [engine.trunk(network_input(view[None], side)) for view in views.for_network]
        pooled = torch.cat([trunk.mean((2, 3)) for trunk in trunks])
        activations = torch.cat([engine.tail(trunk) for trunk in trunks])
        logits = model.net.head(activations).to(torch.float64).mean(0).numpy()
    calibration = model.card.calibration
    return Prediction(
        classes=model.card.classes,
        logits=logits,
        probabilities=softmax(logits) if calibration is None else calibration.probabilities(logits),
        views=views,
        activations=activations,
        pooled=pooled.numpy(),
        head=model.net.head,
        milliseconds=1000 * (time.perf_counter() - start),
        calibration=calibration,
        engine=engine.name,
    )
