"""What runs the convolutions: torch, or OpenVINO, which is faster on the same processor. The head is always torch's.

Only the head needs a gradient, so the maps work on every engine. An engine has no state between calls: any number of
threads may share it. Which one is used: `DALA_ENGINE`, else for verdicts the fastest that is exact, and for the many
questions about one the fastest that keeps the maps: on this network, sixteen bits move a probability by up to some
hundredths (`python -m dala engines`, evidence/engines_breakhis.json). `python -m dala doctor` names them.
"""

from __future__ import annotations

import contextlib
import copy
import os
import shutil
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from dala.nets.imagenet import cache_dir
from dala.nets.staged import StagedNetwork
from dala.nets.weights import WeightsError

AUTO = "auto"
ENGINES = ("openvino-bf16", "openvino-f32", "torch", "torch-bf16", "torch-cuda")
CACHE_FORMAT = 1  # another number where the conversion changes
EXAMPLE = {"trunk": (1, 3, 320, 320), "tail": (1, 1024, 20, 20)}


class EngineError(WeightsError):
    """The engine that was asked for does not exist or cannot run on this machine: one sentence for the user.

    To whoever loads a model it is the same as weights that cannot be loaded.
    """


class Engine(Protocol):
    """The two convolutional parts of a network, float32 in and out, on any batch."""

    @property
    def name(self) -> str: ...

    def trunk(self, x: Tensor) -> Tensor:
        """Normalised pictures (N, 3, H, W) to the trunk's output (N, K, h, w)."""
        ...

    def tail(self, trunk: Tensor) -> Tensor:
        """The trunk's output to the head's input (N, K', h/2, w/2)."""
        ...


@dataclass(frozen=True, eq=False)
class TorchEngine:
    """torch as it is, in bfloat16 where `precision` says so, or a copy of the network on a CUDA `device`."""

    net: StagedNetwork
    name: str = "torch"
    precision: torch.dtype = torch.float32
    device: str = "cpu"

    def trunk(self, x: Tensor) -> Tensor:
        return self._run(self.net.trunk, x)

    def tail(self, trunk: Tensor) -> Tensor:
        return self._run(self.net.tail, trunk)

    def _run(self, part: nn.Module, x: Tensor) -> Tensor:
        reduced = self.precision != torch.float32
        with torch.no_grad(), torch.autocast(self.device, dtype=torch.bfloat16, enabled=reduced):
            answer: Tensor = part(x.to(self.device))
        return answer.float().cpu()


@dataclass(frozen=True, eq=False)
class OpenVINOEngine:
    """Both parts compiled by OpenVINO for this processor."""

    name: str
    compiled: dict[str, Any]

    def trunk(self, x: Tensor) -> Tensor:
        return self._run("trunk", x)

    def tail(self, trunk: Tensor) -> Tensor:
        return self._run("tail", trunk)

    def _run(self, part: str, x: Tensor) -> Tensor:
        # A request of its own for every call: requests have buffers that two threads must not share.
        answer = (
            self.compiled[part].create_infer_request().infer({0: x.detach().contiguous().numpy()}, share_inputs=True)
        )
        return torch.from_numpy(answer[0].copy())


def choose_engine(net: StagedNetwork, key: str | None, wanted: str | None = None) -> Engine:
    """The engine that `wanted` names, else `DALA_ENGINE`, else the best of this machine.

    `key` identifies the weights: what was converted once is found again in the cache folder; None converts anew.
    Raises EngineError for an unknown name, or for a named engine that cannot run here; "auto" never fails.
    """
    name = wanted or os.environ.get("DALA_ENGINE") or AUTO
    if name == AUTO:
        return _best(net, key)
    if name not in ENGINES:
        raise EngineError(f"There is no engine named {name!r}; choose one of {', '.join((AUTO, *ENGINES))}.")
    if name == "torch":
        return TorchEngine(net)
    if name == "torch-bf16":
        return TorchEngine(net, name, torch.bfloat16)
    if name == "torch-cuda":
        if not torch.cuda.is_available():
            raise EngineError("The engine torch-cuda needs a CUDA device, and torch sees none.")
        return _on_cuda(net)
    return _openvino_engine(net, key, name)


def quick_engine(net: StagedNetwork, key: str | None) -> Engine | None:
    """Sixteen bits where the processor has them and nobody has named an engine; None: the engine of the verdicts."""
    if (os.environ.get("DALA_ENGINE") or AUTO) != AUTO or torch.cuda.is_available():
        return None
    with contextlib.suppress(Exception):
        if "BF16" in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            return _openvino_engine(net, key, "openvino-bf16")
    return None


def _best(net: StagedNetwork, key: str | None) -> Engine:
    if torch.cuda.is_available():
        return _on_cuda(net)
    # Whatever is wrong with an optional library, there is a verdict without it.
    with contextlib.suppress(Exception):
        return _openvino_engine(net, key, "openvino-f32")
    return TorchEngine(net)


def _on_cuda(net: StagedNetwork) -> TorchEngine:
    return TorchEngine(copy.deepcopy(net).to("cuda"), "torch-cuda", device="cuda")


def import_openvino() -> Any:
    """The package `openvino`, without its telemetry; EngineError where it is not installed.

    Importing it reports to Google Analytics unless the package openvino_telemetry cannot be imported; then it falls
    back to doing nothing. Nothing leaves this machine, so here it cannot be imported.
    """
    if "openvino" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        import openvino
    except ImportError as error:
        raise EngineError("OpenVINO is not installed; `pip install -r requirements.txt` brings it.") from error
    return openvino


def _openvino_engine(net: StagedNetwork, key: str | None, name: str) -> OpenVINOEngine:
    openvino = import_openvino()
    core = openvino.Core()
    precision = {"openvino-bf16": "bf16", "openvino-f32": "f32"}[name]
    settings = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    compiled = {part: core.compile_model(_graph(net, part, key, core), "CPU", settings) for part in EXAMPLE}
    return OpenVINOEngine(name, compiled)


def _graph(net: StagedNetwork, part: str, key: str | None, core: Any) -> Any:
    """OpenVINO's graph of a part, from the cache folder if it is there and whole."""
    if key is None:
        return converted(net, part)
    version = import_openvino().__version__.split("-")[0]
    place = cache_dir() / "openvino" / f"{key[:16]}-{version}-{CACHE_FORMAT}" / part
    with contextlib.suppress(RuntimeError):  # absent, or damaged: made anew
        return core.read_model(place / "graph.xml")
    graph = converted(net, part)
    with contextlib.suppress(OSError):  # a folder that cannot be written to costs some seconds at every start
        _keep(graph, place)
    return graph


def _keep(graph: Any, place: Path) -> None:
    """Write a graph's two files so that nobody ever finds one without the other."""
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}-"))
    try:
        import_openvino().save_model(graph, partial / "graph.xml", compress_to_fp16=False)
        shutil.rmtree(place, ignore_errors=True)
        with contextlib.suppress(OSError):  # another process was faster: its files are as good
            partial.rename(place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def converted(net: StagedNetwork, part: str) -> Any:
    """OpenVINO's graph of the `trunk` or the `tail`, for any batch and size.

    By the frontend itself, for `openvino.convert_model` is the part of the library that reports what it does.
    """
    import_openvino()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    module = copy.deepcopy(getattr(net, part)).float().cpu().eval()  # tracing must not touch the shared one
    frontend = FrontEndManager().load_by_framework("pytorch")
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, and what the decoder is made for
        decoder = TorchScriptPythonDecoder(module, example_input=torch.zeros(EXAMPLE[part]))
        graph = frontend.convert(frontend.load(decoder))
    graph.reshape([-1, EXAMPLE[part][1], -1, -1])
    return graph
