"""What runs the convolutions: torch, or OpenVINO, which is faster on the same processor. The head is always torch's.

Only the head needs a gradient, so the maps work on every engine. An engine has no state between calls: any number of
threads may share it. Which one is used: the one that is named, else `DALA_ENGINE`, else the fastest of this machine
that was measured to keep the verdicts (`dala engines`, evidence/engines_breakhis.json).

Sixteen bits, but not everywhere: with all of the network in bfloat16 the probabilities of new patients move by
hundredths and not every prediction set stays ("openvino-bf16-throughout" in that file). Two causes make most of it.
Stem and first block bring most of the noise for a twelfth of the work, so they stay in 32 bits. And OpenVINO rounds the
folded biases too, which moves a whole channel and does not average out over its places: see `Bias32`.
"""

from __future__ import annotations

import contextlib
import copy
import ctypes
import hashlib
import json
import logging
import os
import shutil
import sys
import tempfile
import warnings
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dala.errors import EngineError
from dala.files import cache_dir
from dala.nets.dala_resnet50 import ResNet50
from dala.nets.resnet50 import Bottleneck

AUTO, TORCH = "auto", "torch"
ENGINES = ("openvino-bf16", "openvino-f32", TORCH, "torch-bf16", "torch-cuda")
# Weights whose verdicts were measured to be the same in 16 bits; in 32 bits all are.
MEASURED = {"openvino-bf16": ("breakhis", "breast")}
PRECISIONS = {
    "openvino-bf16": {"front": "f32", "back": "bf16", "tail": "bf16"},
    "openvino-f32": {"front": "f32", "back": "f32", "tail": "f32"},
}
KERNELS = 300  # that each piece keeps; the largest piece needs some 50 for one size
IDLE_REQUESTS, FEW = 2, 4  # of each piece, and the images that one takes at once
MOST_STREAMS = 8  # each has memory of its own for all that lies between two layers
CACHE_FORMAT = 3  # another number where the conversion changes
# What of a processor computes in bfloat16, by torch's names of it.
BFLOAT16_UNITS = {"avx512_bf16": "AVX512-BF16", "amx_bf16": "AMX", "bf16": "ARM BF16"}
GRAPH, MANIFEST = ("graph.xml", "graph.bin"), "sha256.json"

logger = logging.getLogger(__name__)


class Engine(Protocol):
    """The two convolutional parts of a network, float32 in and out, on any batch."""

    @property
    def name(self) -> str: ...

    @property
    def streams(self) -> int:
        """How many calls it works on at once, each on its share of the processor; others wait."""
        ...

    def trunk(self, x: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W) to the trunk's output (N, K, h, w)."""
        ...

    def tail(self, trunk: Tensor) -> Tensor:
        """The trunk's output to the head's input (N, K', h/2, w/2), or (N, K', h, w) of several stages."""
        ...


@dataclass(frozen=True, eq=False)
class TorchEngine:
    """torch as it is, in bfloat16 where `precision` says so, or a copy of the network on a CUDA `device`."""

    net: ResNet50
    name: str = TORCH
    precision: torch.dtype = torch.float32
    device: str = "cpu"
    streams: int = 1

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
    """The `pieces` of a network compiled by OpenVINO for this processor.

    A request has buffers for everything between two layers, and fetching that memory from the system anew for every
    image costs time. So some that have done their work stay `idle` for the next call. A call takes one out for itself
    alone, or makes one, and two calls never hold the same.
    """

    name: str
    compiled: dict[str, Any]
    streams: int = 1
    idle: dict[str, deque[Any]] = field(default_factory=lambda: _kept_idle(IDLE_REQUESTS))

    def trunk(self, x: Tensor) -> Tensor:
        return self._run(("front", "back"), x)

    def tail(self, trunk: Tensor) -> Tensor:
        return self._run(("tail",), trunk)

    def _run(self, names: tuple[str, ...], x: Tensor) -> Tensor:
        few = FEW if self.streams == 1 else 1  # of a large batch hundreds of megabytes would lie between two layers
        answer: np.ndarray | None = None
        for start in range(0, len(x), few):
            # By numpy: torch's threads go on spinning for milliseconds after they have laid it out, and hold the cores.
            values, requests = np.ascontiguousarray(x[start : start + few].detach().numpy()), []
            for name in names:
                requests.append(self._request(name))
                values = requests[-1].infer({0: values}, share_inputs=True, share_outputs=True)[0]
            if answer is None:
                answer = np.empty((len(x), *values.shape[1:]), np.float32)
            # What the requests answer are views of their buffers: nobody else may have them before it is copied.
            answer[start : start + few] = values
            for name, request in zip(names, requests, strict=True):
                self.idle[name].append(request)
        return torch.from_numpy(answer)

    def _request(self, name: str) -> Any:
        try:
            return self.idle[name].pop()  # atomic, as append is
        except IndexError:
            return self.compiled[name].create_infer_request()


def choose_engine(
    net: ResNet50, key: str | None, wanted: str | None = None, weights: str = "", many: bool = False
) -> Engine:
    """The engine that `wanted` names, else `DALA_ENGINE`, else the `preferred` one for the `weights` of this name.

    `key` identifies what the weights hold: what was converted once is found again in the cache folder; None converts
    anew. With `many` the engine is for as many images a second as it can rather than for one soon: OpenVINO then has
    `streams`. Raises EngineError for an unknown name, or for a named engine that cannot run here. "auto" never fails:
    it falls back to torch, and a warning in the log says why.
    """
    name = wanted or os.environ.get("DALA_ENGINE") or AUTO
    if name == AUTO:
        # Whatever is wrong with an optional library, there is a verdict without it.
        try:
            return _openvino_engine(net, key, preferred(weights), many)
        except Exception as error:
            logger.warning("torch runs the network, about half as fast as OpenVINO would: %s", error)
            return TorchEngine(net)
    if name not in ENGINES:
        raise EngineError(f"There is no engine named {name!r}; choose one of {', '.join((AUTO, *ENGINES))}.")
    if name == TORCH:
        return TorchEngine(net)
    if name == "torch-bf16":
        return TorchEngine(net, name, torch.bfloat16)
    if name == "torch-cuda":
        if not torch.cuda.is_available():
            raise EngineError("The engine torch-cuda needs a CUDA device, and torch sees none.")
        return TorchEngine(copy.deepcopy(net).to("cuda"), name, device="cuda")
    return _openvino_engine(net, key, name, many)


def preferred(weights: str) -> str:
    """OpenVINO in 16 bits if it was measured with these weights and the processor has such arithmetic, else in 32.

    Raises EngineError without OpenVINO. bfloat16 that is only emulated would be slower than 32 bits.
    """
    native = openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    name = "openvino-bf16"
    return name if "BF16" in native and weights in MEASURED[name] else "openvino-f32"


def bfloat16_units() -> list[str]:
    """What of this processor computes in bfloat16, of `BFLOAT16_UNITS`; without any, torch is many times slower in it
    than in 32 bits."""
    onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not (onednn and torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        return []
    found = torch.cpu.get_capabilities()
    return [unit for name, unit in BFLOAT16_UNITS.items() if found.get(name)]


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


class _Stack(ctypes.Structure):
    """stack_t of Linux's <signal.h>."""

    _fields_ = (("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextlib.contextmanager
def same_signal_stack() -> Iterator[None]:
    """What runs within may set another alternate signal stack of this thread; at the end it is the one before."""
    if sys.platform != "linux":
        yield
        return
    before, library = _Stack(), ctypes.CDLL(None)
    library.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        library.sigaltstack(ctypes.byref(before), None)


def openvino_core() -> Any:
    """OpenVINO's core with its part for the processor loaded, and the thread's stack for signals as it was.

    That part gives the thread a stack of its own for signals and, when it is let go, puts back the one it found: of two
    that do not go in the order in which they came, one leaves memory that is no more, and the next signal (Ctrl-C)
    ends the process. With the stack put back at once, each of them finds the thread's own.
    """
    core = import_openvino().Core()
    with same_signal_stack():
        core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return core


def settings(precision: str, streams: int = 1) -> dict[str, Any]:
    """How a graph is compiled: on as many threads as torch has, all for the shortest answer, or shared among `streams`.

    A kernel is made for every new size of image and kept. Measured over 200 sizes: with OpenVINO's own limit of 5,000
    kernels memory grows by 4 MB a size, past 900 MB; with this one, several sizes at once, it stays flat after some 20.
    Threads are not pinned: those of every process would be pinned to the same first cores.
    """
    return {
        "CPU_RUNTIME_CACHE_CAPACITY": KERNELS,
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": streams,
    }


def _openvino_engine(net: ResNet50, key: str | None, name: str, many: bool = False) -> OpenVINOEngine:
    core, streams = openvino_core(), min(torch.get_num_threads(), MOST_STREAMS) if many else 1
    compiled = {
        piece: core.compile_model(_graph(net, piece, key, core), "CPU", settings(precision, streams))
        for piece, precision in PRECISIONS[name].items()
    }
    return OpenVINOEngine(name, compiled, streams, _kept_idle(max(IDLE_REQUESTS, streams)))


def _kept_idle(most: int) -> dict[str, deque[Any]]:
    return defaultdict(lambda: deque(maxlen=most))


# The network as OpenVINO's graphs


class Bias32(nn.Module):
    """A convolution with its batch normalisation folded in, whose bias keeps 32 bits in a graph of 16 bits.

    OpenVINO merges an addition into the convolution before it, and then rounds it as it does the weights. It does not
    look beyond a clamp, even one that changes nothing: both become part of the same kernel, and cost nothing.
    """

    NO_LIMIT = 1e30
    bias: Tensor

    def __init__(self, convolution: nn.Conv2d, normalisation: nn.BatchNorm2d) -> None:
        super().__init__()
        self.convolution = fuse_conv_bn_eval(convolution, normalisation)
        assert self.convolution.bias is not None
        self.register_buffer("bias", self.convolution.bias.detach()[:, None, None])
        self.convolution.bias = None

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.convolution(x).clamp(-self.NO_LIMIT, self.NO_LIMIT) + self.bias
        return answer


def with_bias32(module: nn.Module) -> nn.Module:
    """The same module, changed in place, with a `Bias32` for every convolution of its bottleneck blocks."""
    for block in [one for one in module.modules() if isinstance(one, Bottleneck)]:
        for number in "123":
            convolution, normalisation = (block.get_submodule(f"{kind}{number}") for kind in ("conv", "bn"))
            setattr(block, f"conv{number}", Bias32(cast(nn.Conv2d, convolution), cast(nn.BatchNorm2d, normalisation)))
            setattr(block, f"bn{number}", nn.Identity())
        if isinstance(block.downsample, nn.Sequential):
            convolution, normalisation = block.downsample
            block.downsample = Bias32(cast(nn.Conv2d, convolution), cast(nn.BatchNorm2d, normalisation))
    return module


def pieces(net: ResNet50) -> dict[str, nn.Module]:
    """Copies of stem and first block (`front`), the rest of the trunk (`back`) and the `tail`, in evaluation mode.

    Copies, because tracing a module would leave traces on the one that all users share.
    """
    trunk, tail = (copy.deepcopy(part).float().cpu().eval() for part in (net.trunk, net.tail))
    parts = dict(trunk.named_children())
    first, *others = parts.pop("layer1").children()
    stem = [parts.pop(name) for name in ("conv1", "bn1", "relu", "maxpool")]
    rest = OrderedDict([*((f"block{number}", block) for number, block in enumerate(others, start=1)), *parts.items()])
    return {"front": nn.Sequential(*stem, first), "back": type(trunk)(rest), "tail": tail}


def examples(net: ResNet50) -> dict[str, tuple[int, ...]]:
    """The shape of an input of every one of the `pieces`, small: the graph is of any size."""
    return {"front": (1, 3, 96, 96), "back": (1, 256, 24, 24), "tail": (1, net.trunk_width, 6, 6)}


def converted(piece: nn.Module, shape: tuple[int, ...]) -> Any:
    """OpenVINO's graph of a module for inputs (N, channels, H, W) of any number and size; `shape` is an example's.

    By the frontend itself, for `openvino.convert_model` is the part of the library that reports what it does.
    """
    import_openvino()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    frontend = FrontEndManager().load_by_framework("pytorch")
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, and what the decoder is made for
        # torch's check of a trace imports half of torch and runs the piece four times more: most of the first start.
        once = {"check_trace": False}
        decoder = TorchScriptPythonDecoder(piece, example_input=torch.zeros(shape), trace_kwargs=once)
        graph = frontend.convert(frontend.load(decoder))
    graph.reshape([-1, shape[1], -1, -1])
    return graph


# Kept between starts: the graphs. Compiling one takes a tenth of a second, converting it a second.


def _graph(net: ResNet50, piece: str, key: str | None, core: Any) -> Any:
    def convert() -> Any:
        return converted(with_bias32(pieces(net)[piece]), examples(net)[piece])

    if key is None:
        return convert()
    version = import_openvino().__version__.split("-")[0]
    return kept(cache_dir() / "openvino" / f"{key[:16]}-{version}-{CACHE_FORMAT}" / piece, core, convert)


def kept(place: Path, core: Any, convert: Callable[[], Any]) -> Any:
    """The graph at `place` if it is there, whole and unaltered; else converted, and kept there for the next start."""
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        if json.loads((place / MANIFEST).read_text()) == _digests(place):
            return core.read_model(place / GRAPH[0])
    graph = convert()
    with contextlib.suppress(OSError):  # a folder that cannot be written to costs some seconds at every start
        _keep(graph, place)
    return graph


def _keep(graph: Any, place: Path) -> None:
    """Write a graph's files so that nobody, not even another process at the same time, ever finds a part of them."""
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}-"))
    try:
        import_openvino().save_model(graph, partial / GRAPH[0], compress_to_fp16=False)
        (partial / MANIFEST).write_text(json.dumps(_digests(partial)))
        shutil.rmtree(place, ignore_errors=True)
        with contextlib.suppress(OSError):  # another process was faster: its files are as good
            partial.rename(place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _digests(place: Path) -> dict[str, str]:
    digests = {}
    for name in GRAPH:
        with (place / name).open("rb") as file:
            digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests
