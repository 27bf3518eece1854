"""Which PyTorch `make run` takes: with a local server in the place of its index, and without one."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "install" / "torch_index.py"


@pytest.fixture(scope="module")
def torch_index() -> Any:
    spec = spec_from_file_location("torch_index", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Index(BaseHTTPRequestHandler):
    """/good has torch, /bare a page without it, /slow says nothing for a while; anything else is not found."""

    def do_GET(self) -> None:
        if self.path.startswith("/slow"):
            time.sleep(6)
        known = self.path in ("/good/torch/", "/bare/torch/", "/slow/torch/")
        with contextlib.suppress(BrokenPipeError):  # whoever asked has not waited
            self.send_response(200 if known else 404)
            self.end_headers()
            self.wfile.write(b"<a href='torch-2.14.1%2Bcpu.whl'>" if self.path == "/good/torch/" else b"nothing")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    served = ThreadingHTTPServer(("127.0.0.1", 0), Index)
    served.daemon_threads = True
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{served.server_port}"
    served.shutdown()


def test_the_index_is_taken_where_it_answers_and_no_gpu_is(torch_index: Any, server: str) -> None:
    found, why = torch_index.options(f"{server}/good", "linux", gpu=False)
    assert found == ["--extra-index-url", f"{server}/good"]
    assert "without CUDA" in why
    assert torch_index.options(f"{server}/good/", "linux", gpu=False)[0] == ["--extra-index-url", f"{server}/good/"]


@pytest.mark.parametrize(
    ("system", "gpu", "place"),
    [
        ("linux", True, "/good"),
        ("darwin", False, "/good"),
        ("win32", False, "/good"),
        ("linux", False, "/missing"),
        ("linux", False, "/bare"),
    ],
)
def test_otherwise_pypi(torch_index: Any, server: str, system: str, gpu: bool, place: str) -> None:
    found, why = torch_index.options(server + place, system, gpu=gpu)
    assert found == []
    assert why.startswith("PyTorch from PyPI")


def test_no_index_at_all(torch_index: Any) -> None:
    assert torch_index.options("", "linux", gpu=False)[0] == []
    for index in ("http://127.0.0.1:9", "nonsense", "file:///etc"):
        assert torch_index.options(index, "linux", gpu=False)[0] == []


@pytest.mark.slow
def test_nobody_waits_longer_than_three_seconds(torch_index: Any, server: str) -> None:
    start = time.monotonic()
    assert torch_index.options(f"{server}/slow", "linux", gpu=False)[0] == []
    assert time.monotonic() - start < 4.5


def test_the_signs_of_a_gpu(torch_index: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    sign = tmp_path / "nvidia0"
    assert not torch_index.has_gpu((str(sign),))
    sign.touch()
    assert torch_index.has_gpu((str(sign),))
    program = tmp_path / "nvidia-smi"
    program.touch()
    program.chmod(0o755)
    assert torch_index.has_gpu(())


@pytest.mark.slow
def test_what_make_hands_to_pip(server: str, tmp_path: Path) -> None:
    """The script as the Makefile calls it; its word on the choice is for people and not for pip."""
    for place, expected in ((f"{server}/good", f"--extra-index-url {server}/good\n"), ("", "\n")):
        environment = {**os.environ, "TORCH_INDEX": place, "PATH": str(tmp_path)}
        run = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, env=environment)
        if not Path("/proc/driver/nvidia/version").exists() and sys.platform == "linux":
            assert run.stdout == expected
        assert run.stderr.startswith("PyTorch ")
    assert (ROOT / "Makefile").read_text().count("$(TORCH)") == 2
    index = SCRIPT.read_text().split('INDEX = "')[1].split('"')[0]
    assert f"ARG TORCH_INDEX={index}\n" in (ROOT / "Dockerfile").read_text(), "both take the same one"
