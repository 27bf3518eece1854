"""Engines: the same numbers as torch, found again in the cache, shared by threads, silent towards the world."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from dala.nets import engines
from dala.nets.dala_resnet50 import DALAResNet50
from dala.nets.engines import EngineError, OpenVINOEngine, TorchEngine, choose_engine, import_openvino, quick_engine

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def net() -> DALAResNet50:
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


def test_conversion_is_found_again(
    net: DALAResNet50, exact: OpenVINOEngine, x: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DALA_CACHE", str(tmp_path))
    choose_engine(net, "a" * 64, "openvino-f32")
    (folder,) = (tmp_path / "openvino").iterdir()
    assert folder.name.startswith("a" * 16 + "-") and sorted(part.name for part in folder.iterdir()) == [
        "tail",
        "trunk",
    ]

    def never(*_: object) -> None:
        raise AssertionError("converted although it lay in the cache")

    with monkeypatch.context() as bent:
        bent.setattr(engines, "converted", never)
        again = choose_engine(net, "a" * 64, "openvino-f32")
        torch.testing.assert_close(again.trunk(x), exact.trunk(x), rtol=1e-5, atol=1e-5)
        with pytest.raises(AssertionError):  # other weights are not served from it
            choose_engine(net, "b" * 64, "openvino-f32")
    # Damaged files are made anew.
    (folder / "trunk" / "graph.xml").write_text("<broken")
    repaired = choose_engine(net, "a" * 64, "openvino-f32")
    torch.testing.assert_close(repaired.trunk(x), exact.trunk(x), rtol=1e-5, atol=1e-5)
    assert "<broken" not in (folder / "trunk" / "graph.xml").read_text()


def test_a_cache_that_cannot_be_written_costs_only_time(
    net: DALAResNet50, x: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("DALA_CACHE", str(tmp_path / "file"))
    assert choose_engine(net, "a" * 64, "openvino-f32").trunk(x).shape[0] == 3


def test_engines_that_cannot_be_had(net: DALAResNet50, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_verdicts_are_exact_and_questions_take_sixteen_bits_where_the_processor_has_them(
    net: DALAResNet50, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("DALA_ENGINE", "auto")
    native = "BF16" in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert choose_engine(net, None).name == "openvino-f32"
    quick = quick_engine(net, None)
    assert (quick is not None and quick.name == "openvino-bf16") if native else quick is None
    monkeypatch.setenv("DALA_ENGINE", "torch")  # who names an engine gets it for everything
    assert quick_engine(net, None) is None


def test_openvino_reports_to_nobody(tmp_path: Path) -> None:
    """A fresh process with an empty home: no connection is tried, and the telemetry's own files do not appear."""
    program = """
import socket
def refuse(*arguments, **named):
    raise SystemExit(f"tried to reach {arguments}")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
import torch
from dala.nets.dala_resnet50 import DALAResNet50
from dala.nets.engines import choose_engine
engine = choose_engine(DALAResNet50().eval(), None, "openvino-f32")
engine.trunk(torch.zeros(1, 3, 64, 64))
import sys
print(sys.modules["openvino_telemetry"])
"""
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    environment.pop("CI", None)  # where CI is set the library is silent by itself
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert (found.returncode, found.stdout.strip()) == (0, "None"), found.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and "openvino" in path.name.lower()]
