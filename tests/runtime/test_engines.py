"""Engines: the same numbers as torch, found again in the cache, shared by threads, silent towards the world."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import nn

from dala.errors import EngineError
from dala.nets.dala_resnet50 import DALAResNet50
from dala.runtime import engines
from dala.runtime.engines import (
    GRAPH,
    IDLE_REQUESTS,
    MANIFEST,
    MOST_STREAMS,
    Bias32,
    OpenVINOEngine,
    TorchEngine,
    choose_engine,
    converted,
    openvino_core,
    pieces,
    preferred,
    settings,
    with_bias32,
)
from tests.helpers.forks import FORKS, keep_graph, sent
from tests.helpers.starts import slim_resnets

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def served() -> DALAResNet50:
    """With as many blocks as the networks that are served."""
    torch.manual_seed(0)
    return DALAResNet50().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def net() -> DALAResNet50:
    with slim_resnets():
        torch.manual_seed(0)
        return DALAResNet50().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def exact(net: DALAResNet50) -> OpenVINOEngine:
    engine = choose_engine(net, None, "openvino-f32")
    assert isinstance(engine, OpenVINOEngine)
    return engine


@pytest.fixture(scope="module")
def x() -> torch.Tensor:
    return torch.randn(3, 3, 64, 96, generator=torch.Generator().manual_seed(1))


def close(found: torch.Tensor, wanted: torch.Tensor, tolerance: float) -> None:
    assert found.shape == wanted.shape and found.dtype == torch.float32
    assert float((found - wanted).abs().max() / wanted.abs().max()) < tolerance


def test_openvino_gives_what_torch_gives(net: DALAResNet50, exact: OpenVINOEngine, x: torch.Tensor) -> None:
    with torch.no_grad():
        trunk = net.trunk(x)
        close(exact.trunk(x), trunk, 1e-4)
        close(exact.tail(trunk), net.tail(trunk), 1e-4)
        close(exact.trunk(x[:1]), trunk[:1], 1e-4)


more_sizes = pytest.mark.exhaustive(instead="runtime/test_engines.py::test_memory_is_flat_over_many_sizes_of_images")


@pytest.mark.parametrize(
    ("of", "most"), [("net", 60), pytest.param("served", 100, marks=more_sizes)], ids=["slim", "served"]
)
def test_memory_is_flat_over_many_sizes_of_images(of: str, most: int, request: pytest.FixtureRequest) -> None:
    """Kernels of a size are dropped again: 90 new sizes add 25 MB, and with OpenVINO's own limit they add 97 for a slim
    network and up to 180 for one of the size that is served."""
    draw, exact = random.Random(0), choose_engine(request.getfixturevalue(of), None, "openvino-f32")

    def after(sizes: int) -> float:
        for _ in range(sizes):
            exact.tail(exact.trunk(torch.zeros(1, 3, draw.randint(32, 128), draw.randint(32, 128))))
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    assert after(80) + most > after(90)


def test_sixteen_bits_are_close(net: DALAResNet50, x: torch.Tensor) -> None:
    with torch.no_grad():
        features = net.tail(net.trunk(x))
    for name in ("torch-bf16", "openvino-bf16"):
        engine = choose_engine(net, None, name)
        assert engine.name == name
        found = engine.tail(engine.trunk(x))
        close(found, features, 0.05)


def test_torch_is_torch(net: DALAResNet50, x: torch.Tensor) -> None:
    engine = choose_engine(net, None, "torch")
    with torch.no_grad():
        torch.testing.assert_close(engine.tail(engine.trunk(x)), net.features(x), rtol=0, atol=0)


def test_nothing_is_left_on_the_network(net: DALAResNet50, exact: OpenVINOEngine) -> None:
    assert not net.training and not any(one.requires_grad or one.grad is not None for one in net.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_threads_share_an_engine(exact: OpenVINOEngine, x: torch.Tensor) -> None:
    alone = [exact.trunk(one[None]) for one in x]
    with ThreadPoolExecutor(6) as threads:
        together = list(threads.map(lambda n: exact.trunk(x[n % 3][None]), range(24)))
    for number, answer in enumerate(together):
        torch.testing.assert_close(answer, alone[number % 3], rtol=0, atol=0)
    assert len({answer.data_ptr() for answer in together}) == 24  # nobody holds a buffer that the next call overwrites


def test_requests_work_again_and_remember_nothing(net: DALAResNet50, exact: OpenVINOEngine, x: torch.Tensor) -> None:
    engine = OpenVINOEngine(exact.name, exact.compiled)  # the same graphs, no request yet
    first = engine.trunk(x[:1])
    (request,) = engine.idle["front"]
    many = torch.randn(5, 3, 96, 64, generator=torch.Generator().manual_seed(2))
    close(engine.trunk(many), net.trunk(many), 1e-4)  # another size, and more than a request takes at once
    assert list(engine.idle["front"]) == [request]
    other = engine.trunk(x[1:2, :, :32])
    again = engine.trunk(x[:1])
    torch.testing.assert_close(again, first, rtol=0, atol=0)
    assert first.data_ptr() != again.data_ptr()
    torch.testing.assert_close(other, engine.trunk(x[1:2, :, :32]), rtol=0, atol=0)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: engine.trunk(x[:1]), range(32)))
    assert 1 <= len(engine.idle["front"]) <= IDLE_REQUESTS


def test_streams_give_the_same_bits_to_several_at_once(
    net: DALAResNet50, exact: OpenVINOEngine, x: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a scan: as many images at once as there are threads. No engine pins its threads, for those of every process
    would be pinned to the same cores: two processes of one thread each took turns on the first core."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    many = choose_engine(net, None, "openvino-f32", many=True)
    assert isinstance(many, OpenVINOEngine) and (exact.streams, many.streams) == (1, 2)
    for engine in (exact, many):
        for piece in engine.compiled.values():
            assert piece.get_property("NUM_STREAMS") == engine.streams
            assert piece.get_property("ENABLE_CPU_PINNING") is False
    alone = [exact.tail(exact.trunk(one[None])) for one in x]
    with ThreadPoolExecutor(3) as threads:
        together = list(threads.map(lambda n: many.tail(many.trunk(x[n % 3][None])), range(12)))
    for number, answer in enumerate(together):
        torch.testing.assert_close(answer, alone[number % 3], rtol=0, atol=0)
    torch.testing.assert_close(many.tail(many.trunk(x)), torch.cat(alone), rtol=0, atol=0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    assert min(64, MOST_STREAMS) == getattr(choose_engine(net, None, "openvino-f32", many=True), "streams", 0)
    assert choose_engine(net, None, "torch", many=True).streams == 1


def test_a_request_that_failed_is_not_used_again(net: DALAResNet50, exact: OpenVINOEngine, x: torch.Tensor) -> None:
    engine = OpenVINOEngine(exact.name, exact.compiled)
    with pytest.raises(RuntimeError):
        engine.trunk(torch.zeros(1, 4, 64, 64))
    assert not engine.idle["front"]
    close(engine.trunk(x), net.trunk(x), 1e-4)


def test_conversion_is_found_again(
    net: DALAResNet50, exact: OpenVINOEngine, x: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DALA_CACHE", str(tmp_path))
    choose_engine(net, "a" * 64, "openvino-f32")
    (folder,) = (tmp_path / "openvino").iterdir()
    assert folder.name.startswith("a" * 16 + "-")
    assert sorted(part.name for part in folder.iterdir()) == ["back", "front", "tail"]

    def never(*_: object) -> None:
        raise AssertionError("converted although it lay in the cache")

    with monkeypatch.context() as bent:
        bent.setattr(engines, "converted", never)
        again = choose_engine(net, "a" * 64, "openvino-f32")
        torch.testing.assert_close(again.trunk(x), exact.trunk(x), rtol=1e-5, atol=1e-5)
        with pytest.raises(AssertionError):  # other weights are not served from it
            choose_engine(net, "b" * 64, "openvino-f32")
    # A single weight that was altered would change verdicts in silence: the files are checked, and made anew.
    file = folder / "back" / "graph.bin"
    whole = file.read_bytes()
    file.write_bytes(whole[:-4] + b"\x00\x00\x80\x7f")
    (folder / "front" / "graph.xml").write_text("<broken")
    (folder / "tail" / "sha256.json").unlink()
    repaired = choose_engine(net, "a" * 64, "openvino-f32")
    torch.testing.assert_close(repaired.tail(repaired.trunk(x)), exact.tail(exact.trunk(x)), rtol=1e-4, atol=1e-5)
    assert file.read_bytes() == whole
    assert sorted(part.name for part in folder.iterdir()) == ["back", "front", "tail"]


def test_a_cache_that_cannot_be_written_costs_only_time(
    net: DALAResNet50, x: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("DALA_CACHE", str(tmp_path / "file"))
    assert choose_engine(net, "a" * 64, "openvino-f32").trunk(x).shape[0] == 3


def test_processes_at_once_leave_one_whole_graph(tmp_path: Path) -> None:
    """All find an empty cache, convert and keep; what lies there afterwards is whole."""
    runs = []
    for _ in range(3):
        told, end = FORKS.Pipe(duplex=False)
        runs.append((FORKS.Process(target=keep_graph, args=(tmp_path / "one", end)), told))
        runs[-1][0].start()
        end.close()
    answers = [answer for _, told in runs for answer in sent(told)]
    for process, _ in runs:
        process.join()
    assert [process.exitcode for process, _ in runs] == [0, 0, 0]
    assert len(answers) == 3 * 8 and len(set(answers)) == 1
    assert [place.name for place in tmp_path.iterdir()] == ["one"]  # nothing half done is left over
    wanted = {name: hashlib.sha256((tmp_path / "one" / name).read_bytes()).hexdigest() for name in GRAPH}
    assert json.loads((tmp_path / "one" / MANIFEST).read_text()) == wanted


def test_biases_keep_32_bits_in_16() -> None:
    """A convolution that gives -1 with biases of 1 + 2**-10, which bfloat16 does not hold, and 2: 2**-10 is left."""
    convolution, normalisation = nn.Conv2d(64, 64, 1, bias=False), nn.BatchNorm2d(64, eps=0)
    nn.init.constant_(convolution.weight, -1 / 64)
    normalisation.bias.data[:] = torch.tensor([1 + 2**-10, 2]).repeat(32)
    plain = nn.Sequential(convolution, normalisation).eval().requires_grad_(False)
    x, core = torch.ones(1, 64, 8, 8), openvino_core()

    def answer(of: nn.Module) -> float:
        graph = core.compile_model(converted(of, (1, 64, 8, 8)), "CPU", settings("bf16"))
        return float(graph({0: x.numpy()})[0][0, 0].max())

    assert float(plain(x)[0, 0].max()) == 2**-10
    if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        assert answer(plain) == 0  # the fault that Bias32 is there for
    assert answer(Bias32(convolution, normalisation)) == 2**-10


def test_every_bottleneck_is_changed_and_means_the_same(served: DALAResNet50) -> None:
    net, parts = served, pieces(served)
    changed = {name: with_bias32(copy.deepcopy(part)) for name, part in parts.items()}
    counts = {name: sum(isinstance(one, Bias32) for one in part.modules()) for name, part in changed.items()}
    assert counts == {"front": 4, "back": 2 * 3 + 4 * 3 + 1 + 6 * 3 + 1, "tail": 10}
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        wanted = net.features(x)
        found = changed["tail"](changed["back"](changed["front"](x)))
    close(found, wanted, 1e-5)
    assert not any(isinstance(one, Bias32) for one in net.modules())


def test_engines_that_cannot_be_had(
    net: DALAResNet50, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(EngineError, match="no engine named 'abacus'; choose one of auto, openvino-bf16"):
        choose_engine(net, None, "abacus")
    monkeypatch.setenv("DALA_ENGINE", "abacus")
    with pytest.raises(EngineError, match="abacus"):
        choose_engine(net, None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EngineError, match="sees none"):
        choose_engine(net, None, "torch-cuda")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineError, match="not installed"):
        choose_engine(net, None, "openvino-f32")
    monkeypatch.setenv("DALA_ENGINE", "auto")
    assert isinstance(choose_engine(net, None), TorchEngine)
    (said,) = caplog.messages
    assert said == (
        "torch runs the network, about half as fast as OpenVINO would: OpenVINO is not installed; "
        "`pip install -r requirements.txt` brings it."
    )


def test_auto_takes_sixteen_bits_only_where_they_are_native_and_measured(
    net: DALAResNet50, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # a device that nobody measured is not chosen
    native = "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert choose_engine(net, None, "auto", "breakhis").name == ("openvino-bf16" if native else "openvino-f32")
    assert preferred("weights that nobody measured") == "openvino-f32"
    assert preferred("mini_ddsm") == "openvino-f32"  # the mammograms' weights: 16 bits were not measured with them


PROGRAM = """
import gc, signal, socket, sys, time
def refuse(*arguments, **named):
    raise SystemExit(f"tried to reach {arguments}")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
import torch
from dala.nets.dala_resnet50 import DALAResNet50
from dala.runtime.engines import choose_engine, openvino_core
from tests.helpers.starts import slim_resnets

with slim_resnets():
    net = DALAResNet50().eval()
first, second = openvino_core(), openvino_core()
engine = choose_engine(net, None, "openvino-f32")
engine.tail(engine.trunk(torch.zeros(1, 3, 64, 64)))
print(sys.modules["openvino_telemetry"])
del first
del engine, second
gc.collect()
if hasattr(signal, "setitimer"):
    signal.signal(signal.SIGALRM, lambda *_: print("heard"))
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    time.sleep(0.2)
"""


def test_openvino_reports_to_nobody_and_signals_are_heard_after_it(tmp_path: Path) -> None:
    """A fresh process with an empty home: no connection is tried, the telemetry's own files do not appear, and a signal
    that comes after engines have come and gone does not end the process."""
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    environment.pop("CI", None)  # where CI is set the library is silent by itself
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    heard = ["heard"] if hasattr(signal, "setitimer") else []
    assert (found.returncode, found.stdout.split()) == (0, ["None", *heard]), found.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and "openvino" in path.name.lower()]
