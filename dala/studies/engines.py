"""Do the faster engines give the same verdicts? Every engine beside torch on images of held-out patients.

python -m dala engines breakhis --data ROOT    evidence/engines_breakhis.json
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dala.data import breakhis
from dala.data.splits import grouped_folds
from dala.errors import EngineError
from dala.gate import assess
from dala.intake.image import read_image
from dala.nets.dala_resnet50 import DALAResNet50
from dala.opinion import evidence_maps
from dala.preprocess.views import network_input, preprocess
from dala.runtime.card import Card
from dala.runtime.engines import (
    EXAMPLE,
    Engine,
    OpenVINOEngine,
    choose_engine,
    converted,
    import_openvino,
    pieces,
    settings,
)
from dala.runtime.predict import Model, Prediction, predict
from dala.studies.robustness import FOLDS
from dala.training.evaluate import described, kept_networks
from dala.training.recipe import Recipe

Progress = Callable[[int, int], None]
INT8, PLAIN16 = "openvino-int8", "openvino-bf16-throughout"
UNSERVED = (PLAIN16, INT8)  # measured beside the others, to show what they would cost
CALIBRATED_ON = 128  # training images of a fold, for the ranges of int8
LIMITS = {"largest": 0.01, "percentile_99": 0.02, "map_correlation": 0.99}


@dataclass(frozen=True, eq=False)
class Answer:
    """What an engine said of one image: probability of malignant, the default set, the gate and the map."""

    probability: float
    left: tuple[str, ...]
    inside: bool
    map: NDArray[np.float32]


def parity(
    dataset: breakhis.Dataset,
    model: Model,
    recipe: Recipe,
    folder: Path,
    names: tuple[str, ...],
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Judge every image by the network of the fold that has not seen its patient, on torch and on every engine.

    `model` gives card, calibration and gate; `folder` holds the folds' networks. An engine that cannot run on this
    machine is left out, with its reason. Ready for JSON.
    """
    networks = kept_networks(folder, FOLDS)
    splits = grouped_folds(dataset.labels, dataset.groups, FOLDS, seed=0)
    reference: dict[int, Answer] = {}
    found: dict[str, dict[int, Answer]] = {name: {} for name in names}
    left_out: dict[str, str] = {}
    done, total = 0, len(dataset.records)
    for net, (training, test) in zip(networks, splits, strict=True):
        engines: dict[str, Engine] = {"torch": choose_engine(net, None, "torch")}
        for name in names:
            try:
                if name == INT8:
                    engines[name] = quantised(net, shown(dataset, training, model.card))
                elif name == PLAIN16:
                    engines[name] = rounded(net)
                else:
                    engines[name] = choose_engine(net, None, name)
            except EngineError as error:
                left_out[name] = str(error)
        for index in test.tolist():
            patch = read_image(dataset.records[index].path)
            for name, engine in engines.items():
                said = answer(predict(patch, Model(net, model.card, model.familiarity, engine)), model)
                (reference if name == "torch" else found[name])[index] = said
            done += 1
            if progress is not None:
                progress(done, total)
    return {
        "protocol": f"every image judged by the network of the fold ({FOLDS} folds by accession number, the first "
        "repeat of the cross-validation) that has not seen its patient, with the card's calibration and gate, on torch "
        "in float32 and on each engine; differences are engine minus torch",
        "command": "python -m dala engines breakhis --data ROOT" + (" --unserved" if INT8 in names else ""),
        "weights_sha256": model.card.fields["sha256"],
        "recipe": recipe.record,
        "data": described(dataset),
        "limits": LIMITS,
        "engines": {name: compared(reference, rows) for name, rows in found.items() if rows},
        "left_out": left_out,
    }


def answer(prediction: Prediction, model: Model) -> Answer:
    """The part of a prediction that engines must agree in."""
    gate = assess(prediction.views.for_gate, prediction.pooled, model.card.modality, model.familiarity)
    decisive = prediction.default_set
    left = (prediction.label,) if decisive is None else decisive.classes
    positive = prediction.classes[1]
    return Answer(float(prediction.probabilities[1]), left, gate.inside, evidence_maps(prediction)[positive].values)


def compared(reference: dict[int, Answer], rows: dict[int, Answer]) -> dict[str, Any]:
    """Differences in probability, changed verdicts, sets and gates, and correlations of the maps."""
    places = sorted(reference)
    one, other = [reference[place] for place in places], [rows[place] for place in places]
    change = np.abs([b.probability - a.probability for a, b in zip(one, other, strict=True)])
    correlation = np.array([np.corrcoef(a.map.ravel(), b.map.ravel())[0, 1] for a, b in zip(one, other, strict=True)])

    def changed(what: Callable[[Answer], object]) -> int:
        return sum(what(a) != what(b) for a, b in zip(one, other, strict=True))

    return {
        "pictures": len(places),
        "probability": {
            "mean": float(change.mean()),
            "percentile_99": float(np.percentile(change, 99)),
            "largest": float(change.max()),
        },
        "changed": {
            "label": changed(lambda said: said.probability >= 0.5),
            "set": changed(lambda said: said.left),
            "gate": changed(lambda said: said.inside),
        },
        "map_correlation": {"smallest": float(correlation.min()), "median": float(np.median(correlation))},
    }


def rounded(net: DALAResNet50) -> OpenVINOEngine:
    """The whole network in bfloat16 as OpenVINO does it by itself: what the served engine's exceptions are worth."""
    core = import_openvino().Core()
    graphs = {name: converted(piece, EXAMPLE[name]) for name, piece in pieces(net).items()}
    compiled = {name: core.compile_model(graph, "CPU", settings("bf16")) for name, graph in graphs.items()}
    return OpenVINOEngine(PLAIN16, compiled)


def quantised(net: DALAResNet50, images: Iterable[Tensor]) -> OpenVINOEngine:
    """The whole network in eight bits, its ranges measured on `images`, each (1, 3, H, W) as the network gets it.

    It needs NNCF, which only development installs, and training images, which no user has: it is measured here and
    not served. Raises EngineError without NNCF.
    """
    openvino = import_openvino()
    try:
        import nncf
    except ImportError as error:
        raise EngineError("Eight bits need NNCF; `pip install -r requirements-dev.txt` brings it.") from error
    nncf.set_log_level(logging.ERROR)
    core, compiled = openvino.Core(), {}
    values = [x.numpy() for x in images]
    for name, piece in pieces(net).items():
        graph = converted(piece, EXAMPLE[name])
        small = nncf.quantize(graph, nncf.Dataset(values), subset_size=len(values))
        compiled[name] = core.compile_model(small, "CPU", settings("f32"))
        exact = core.compile_model(graph, "CPU", settings("f32"))
        values = [exact.create_infer_request().infer({0: one})[0] for one in values]
    return OpenVINOEngine(INT8, compiled)


def shown(dataset: breakhis.Dataset, training: NDArray[np.intp], card: Card) -> Iterator[Tensor]:
    """The network's input for some images of the training patients, drawn at random."""
    for index in np.random.default_rng(0).permutation(training)[:CALIBRATED_ON]:
        views = preprocess(read_image(dataset.records[index].path).pixels, card.input)
        yield network_input(views.for_network[:1], card.input.upsampled)
