"""The model as it is served: views of a patch, one forward pass, probabilities. Nothing here is ever written to."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dala.explanation.gradcam import margins as evidence_margins
from dala.explanation.gradcam import signed_maps
from dala.files import cache_dir
from dala.gate.checks import CHECKS
from dala.gate.familiarity import Familiarity, load_familiarity
from dala.intake.patch import Patch
from dala.nets.dala_resnet50 import WIDTHS, DALAResNet50
from dala.preprocess.physical import views_at_scale
from dala.preprocess.scale import FACTORS, Scale, scale_of
from dala.preprocess.views import Views, network_input, preprocess
from dala.runtime.calibration import Calibration, PredictionSet, softmax
from dala.runtime.card import WEIGHTS_DIR, Card, read_card
from dala.runtime.engines import Engine, TorchEngine, choose_engine
from dala.runtime.memory import give_back_files, give_back_freed
from dala.runtime.pooling import margins
from dala.runtime.weights import load_weights

TOGETHER = 8  # views of one pass where many images are asked about: their activations are at most 75 MB
NOTHING = ("blank", "too_bright")  # reasons of the gate that speak of glass, not of tissue


@dataclass(frozen=True)
class InUse:
    """The site whose head a model has: its name, and the sha256 of its file."""

    name: str
    sha256: str


@dataclass(frozen=True, eq=False)
class Model:
    """Trained weights with their card; shared by all users, never changed after loading.

    `familiarity` holds the statistics of the training images that the gate needs, None where there are none.
    `engine` runs the convolutions of `net`; None is torch. `site`: whose head it is, if not that of the weights.
    """

    net: DALAResNet50
    card: Card
    familiarity: Familiarity | None = None
    engine: Engine | None = None
    site: InUse | None = None

    @property
    def runs_on(self) -> Engine:
        return TorchEngine(self.net) if self.engine is None else self.engine

    @property
    def name(self) -> str:
        return self.card.name


@dataclass(frozen=True, eq=False)
class Field:
    """What the network says of one view of an image: `box` (left, top, right, bottom) in patch pixels, the `number` of
    its view, logits and calibrated probabilities, float64 (classes,). One that is `blank`, glass, does not count."""

    number: int
    box: tuple[int, int, int, int]
    logits: np.ndarray
    probabilities: np.ndarray
    blank: bool


@dataclass(frozen=True, eq=False)
class Prediction:
    """What one forward pass said about a patch.

    `logits` and `probabilities` are float64 (classes,), logits pooled over the `views`; `maps` (classes, views, h, w)
    float32 is the raw signed Grad-CAM of each class's margin in each view, a cell every `cell` pixels of the network;
    `pooled` (views, 1024) float32 is layer3's output averaged over each view, for the gate; `milliseconds` is the time
    from pixels to probabilities and maps. The probabilities are calibrated if there is a `calibration`; without one
    they are the plain softmax and there are no sets.

    Of weights that see at a physical scale, `scale` is the image's, `fields` are its views, most suspicious first, and
    `rescaled` the probabilities at the other scales that were tried where the scale is only assumed.
    """

    classes: tuple[str, ...]
    logits: np.ndarray
    probabilities: np.ndarray
    views: Views
    maps: np.ndarray
    cell: int
    pooled: np.ndarray
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

    def sets(self, laboratory: str | None = None) -> tuple[PredictionSet, ...]:
        """The set at every error level of the card, the largest level first, for an image that is taken for one of this
        laboratory; empty without a calibration."""
        if self.calibration is None:
            return ()
        levels = sorted(self.calibration.thresholds, reverse=True)
        return tuple(self.calibration.set_of(self.probabilities, one, laboratory) for one in levels)


def load_model(
    name: str | Path = "breast", folder: Path = WEIGHTS_DIR, engine: str | None = None, many: bool = False
) -> Model:
    """Load weights and the engine that `choose_engine` chooses for them; `name` as in `dala.runtime.card.read_card`.

    Raises `dala.errors.WeightsError`, also (`EngineError`) if `engine` or `DALA_ENGINE` names none.
    """
    net, card = load_weights(name, folder)
    familiarity = load_familiarity(read_card(name, folder)[1], net.trunk, card.input.upsampled)
    return Model(net, card, familiarity, choose_engine(net, str(card.fields["sha256"]), engine, card.name, many))


def served(name: str | Path, engine: str | None = None, many: bool = False) -> Model:
    """The model of `load_model` without torch's copy of what another engine runs: 200 MB less, all that answers need.

    Of its `net` only the head has values; where torch is the engine, all of it has.
    """
    model = load_model(name, WEIGHTS_DIR, engine, many)
    if isinstance(model.runs_on, TorchEngine):
        return model
    with torch.device("meta"):
        net = DALAResNet50(len(model.card.classes), stages=model.card.stages).eval().requires_grad_(False)
    net.head = model.net.head
    model = replace(model, net=net)
    give_back_freed()
    give_back_files(cache_dir())  # the engine has made its own copy of the weights
    return model


_LOADING = threading.Lock()


def served_model(name: str) -> Model:
    """The served weights of that name, loaded when they are first asked for and then shared by all threads."""
    with _LOADING:
        return _served(name)


@cache
def _served(name: str) -> Model:
    return served(name)


def probabilities_of(images: np.ndarray, model: Model, counted: np.ndarray | None = None) -> np.ndarray:
    """Probabilities (N, classes) float64 of images as views, (N, V, h, w, 3) uint8, by the rule of `predict`.

    `counted` (V,) bool: the views that count, which `predict` finds; None: all. At most `TOGETHER` views pass at once.
    """
    count, views = images.shape[:2]
    flat = images.reshape(-1, *images.shape[2:])
    rows = []
    for start in range(0, len(flat), TOGETHER):
        x = network_input(flat[start : start + TOGETHER], model.card.input.side)
        with torch.no_grad():
            rows.append(model.net.head(model.runs_on.tail(model.runs_on.trunk(x))).to(torch.float64).numpy())
    logits = np.concatenate(rows).reshape(count, views, -1)
    return calibrated(np.stack([pooled(one if counted is None else one[counted], model) for one in logits]), model)


def pooled(logits: np.ndarray, model: Model) -> np.ndarray:
    """Logits (classes,) of an image from those of its views (N, classes): by the card's rule at a physical scale."""
    card = model.card
    if card.input.um_per_pixel is None:
        return np.asarray(logits.mean(0))
    return card.pooling.pooled(logits, card.classes.index(str(card.fields["positive"])))


def calibrated(logits: np.ndarray, model: Model) -> np.ndarray:
    """Probabilities (..., classes) of logits, by the card's calibration or, without one, the plain softmax."""
    calibration = model.card.calibration
    return softmax(logits) if calibration is None else calibration.probabilities(logits)


@dataclass(frozen=True, eq=False)
class Looked:
    """One forward pass over the views of an image: as the fields of `Prediction`, logits (views, classes)."""

    views: Views
    logits: np.ndarray
    maps: np.ndarray
    pooled: np.ndarray


def look(views: Views, model: Model) -> Looked:
    """One forward pass, a view at a time: the answer for one does not depend on its neighbours, memory stays flat."""
    targets = evidence_margins(len(model.card.classes))
    logits, maps, pooled = [], [], []
    for view in views.for_network:
        trunk, seen = _through(view, model)
        with torch.no_grad():
            logits.append(model.net.head(seen).to(torch.float64).numpy())
        maps.append(signed_maps(model.net.head, seen, targets).numpy())
        pooled.append(trunk[:, -WIDTHS["layer3"] :].mean((2, 3)).numpy())
    return Looked(views, np.concatenate(logits), np.concatenate(maps, 1), np.concatenate(pooled))


def _through(view: np.ndarray, model: Model) -> tuple[Tensor, Tensor]:
    """What trunk and tail make of one view (h, w, 3) uint8."""
    with torch.no_grad():
        trunk = model.runs_on.trunk(network_input(view[None], model.card.input.side))
        return trunk, model.runs_on.tail(trunk)


def activations_of(view: np.ndarray, model: Model) -> Tensor:
    """What the head sees of one view, (K, h, w) float32 without a graph; another forward pass."""
    return _through(view, model)[1][0]


def look_together(many: Sequence[Views], x: Tensor, model: Model) -> list[Looked]:
    """One pass over images of one view and one size each, as `network_input` makes `x` (N, 3, h, w) of them all; their
    maps are left out, which are empty."""
    trunk = model.runs_on.trunk(x)
    means = trunk[:, -WIDTHS["layer3"] :].mean((2, 3)).numpy()
    with torch.no_grad():
        logits = model.net.head(model.runs_on.tail(trunk)).to(torch.float64).numpy()
    none = np.zeros((logits.shape[1], 1, 0, 0), np.float32)
    parts = (slice(number, number + 1) for number in range(len(many)))
    return [Looked(views, logits[p], none, means[p]) for views, p in zip(many, parts, strict=True)]


def predict(patch: Patch, model: Model) -> Prediction:
    """The views of a patch through the network; any number of threads may call it with the same model.

    With weights that see at a physical scale, a patch of unknown scale is looked at once more at each of `FACTORS`.
    Raises TooLarge for an image of too many fields.
    """
    start = time.perf_counter()
    asked = model.card.input
    scale = None if asked.um_per_pixel is None else scale_of(patch)
    others: list[np.ndarray] = []
    if scale is None:
        found = look(preprocess(patch.pixels, asked), model)
    else:
        found = look(views_at_scale(patch.pixels, scale, asked), model)
        for factor in () if scale.known else FACTORS:
            again = look(views_at_scale(patch.pixels, scale.times(factor), asked), model)
            others.append(calibrated(pooled(again.logits[counted_views(again.views, model)], model), model))
    return prediction_of(found, model, scale, tuple(others), 1000 * (time.perf_counter() - start))


def prediction_of(
    found: Looked, model: Model, scale: Scale | None, rescaled: tuple[np.ndarray, ...] = (), milliseconds: float = 0.0
) -> Prediction:
    """What a pass says of the image whose views it has seen."""
    counted = counted_views(found.views, model)
    logits = pooled(found.logits[counted], model)
    return Prediction(
        classes=model.card.classes,
        logits=logits,
        probabilities=calibrated(logits, model),
        views=found.views,
        maps=found.maps,
        cell=model.net.cell,
        pooled=found.pooled,
        milliseconds=milliseconds,
        calibration=model.card.calibration,
        engine=model.runs_on.name,
        scale=scale,
        fields=_fields(found, counted, model),
        rescaled=rescaled,
    )


def counted_views(views: Views, model: Model) -> np.ndarray:
    """Which views count, (views,) bool: at a physical scale a field of glass does not, unless all are that."""
    if views.extent is None or len(views.places) == 1:
        return np.ones(len(views.places), bool)
    reasons = [CHECKS[model.card.modality](view) for view in views.for_gate]
    counted = np.array([reason is None or reason.name not in NOTHING for reason in reasons])
    return counted if counted.any() else ~counted


def _fields(found: Looked, counted: np.ndarray, model: Model) -> tuple[Field, ...]:
    lean = margins(found.logits, model.card.classes.index(str(model.card.fields["positive"])))
    probabilities = calibrated(found.logits, model)
    return tuple(
        Field(number, found.views.places[number].box, found.logits[number], probabilities[number], not counted[number])
        for number in np.lexsort((-lean, ~counted)).tolist()
    )
