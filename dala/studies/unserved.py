"""Engines that are measured and not served: the whole network in bfloat16, and in eight bits."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from dala.errors import EngineError
from dala.intake.image import read_image
from dala.nets.dala_resnet50 import DALAResNet50
from dala.preprocess.views import network_input, preprocess
from dala.runtime.card import Card
from dala.runtime.engines import OpenVINOEngine, converted, examples, import_openvino, openvino_core, pieces, settings

INT8, PLAIN16 = "openvino-int8", "openvino-bf16-throughout"
UNSERVED = (PLAIN16, INT8)
CALIBRATED_ON = 128  # training images of a fold, for the ranges of int8


def rounded(net: DALAResNet50) -> OpenVINOEngine:
    """The whole network in bfloat16 as OpenVINO does it by itself: what the served engine's exceptions are worth."""
    core = openvino_core()
    graphs = {name: converted(piece, examples(net)[name]) for name, piece in pieces(net).items()}
    compiled = {name: core.compile_model(graph, "CPU", settings("bf16")) for name, graph in graphs.items()}
    return OpenVINOEngine(PLAIN16, compiled)


def quantised(net: DALAResNet50, images: Iterable[Tensor]) -> OpenVINOEngine:
    """The whole network in eight bits, its ranges measured on `images`, each (1, 3, H, W) as the network gets it.

    It needs NNCF, which only development installs, and training images, which no user has: it is measured here and
    not served. Raises EngineError without NNCF.
    """
    import_openvino()  # before another package imports it with its telemetry
    try:
        import nncf
    except ImportError as error:
        raise EngineError("Eight bits need NNCF; `pip install -r requirements-dev.txt` brings it.") from error
    nncf.set_log_level(logging.ERROR)
    core, compiled = openvino_core(), {}
    values = [x.numpy() for x in images]
    for name, piece in pieces(net).items():
        graph = converted(piece, examples(net)[name])
        small = nncf.quantize(graph, nncf.Dataset(values), subset_size=len(values))
        compiled[name] = core.compile_model(small, "CPU", settings("f32"))
        exact = core.compile_model(graph, "CPU", settings("f32"))
        values = [exact.create_infer_request().infer({0: one})[0] for one in values]
    return OpenVINOEngine(INT8, compiled)


def shown(paths: Sequence[Path], card: Card) -> Iterator[Tensor]:
    """The network's input for some images of the training patients, drawn at random."""
    for index in np.random.default_rng(0).permutation(len(paths))[:CALIBRATED_ON]:
        views = preprocess(read_image(paths[index]).pixels, card.input)
        yield network_input(views.for_network[:1], card.input.upsampled)
