"""Fixtures that several rooms use."""

from __future__ import annotations

import os

PARALLEL = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) > 1
if PARALLEL:
    # Each worker has one core: two threads each would wait for each other, and a thread that waits keeps its core busy
    # unless it is told not to. Before numpy and torch are imported, which read it.
    os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}

# ruff: noqa: E402
import ast
import gc
import hashlib
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache, partial, partialmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers import generated  # noqa: F401  its profiles
from tests.helpers.trees import draw_tree

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from torch import Tensor

    from dala.nets.imagenet import Backbone
    from dala.runtime.engines import TorchEngine
    from dala.training.recipe import Recipe

# Exact numbers are torch's; the engines have tests of their own, and the served app of the browser tests chooses its.
os.environ["DALA_ENGINE"] = "torch"
# Nothing is kept in the home folder of whoever tests; a test of cases opens a store of its own.
os.environ["DALA_DATABASE"] = "off"
CHROMIUM_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.hookimpl(tryfirst=True)  # `-m` reads the markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever asks for Chromium is marked `browser`. Several processes begin with the browser's files, which take
    longest, and end with those of quick tests, so that they end together. A single process ends with the browser's,
    for Playwright keeps an event loop running in its thread.
    """
    for item in items:
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)
        if mark := item.get_closest_marker("exhaustive"):
            _stands_in(mark.kwargs.get("instead", ""), item.nodeid)
    slow = {_file(item) for item in items if item.get_closest_marker("slow")}

    def place(item: pytest.Item) -> int:
        if item.get_closest_marker("browser"):
            return 0 if PARALLEL else 2
        return 2 if PARALLEL and _file(item) not in slow else 1

    items.sort(key=place)


@lru_cache
def _stands_in(instead: str, of: str) -> None:
    """What `make test` leaves out names the test that it runs in its place, as `room/test_x.py::test_y`.

    Raises pytest.UsageError where there is no such test, or `make test` leaves it out, too.
    """
    path, _, name = instead.partition("::")
    file = Path(__file__).parent / path
    tests = ast.parse(file.read_text(encoding="utf-8")).body if file.is_file() else []
    found = [one for one in tests if isinstance(one, ast.FunctionDef) and one.name == name]
    if not found or any(ast.unparse(mark).startswith("pytest.mark.exhaustive") for mark in found[0].decorator_list):
        raise pytest.UsageError(f"{of} is exhaustive, and {instead!r} is no test that `make test` runs in its place.")


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def pytest_collection_finish() -> None:
    """The tests and what they import stay to the end: the collector need not look through them time and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def nothing_remembered() -> Iterator[None]:
    """What pages keep for all visitors ends with a file: a model that a test bends is no part of its key."""
    yield
    if "streamlit" in sys.modules:
        sys.modules["streamlit"].cache_resource.clear()


@pytest.fixture(scope="session", autouse=True)
def networks_made_once() -> Iterator[None]:
    """A random ResNet50 of the same seed is drawn once a session, by `starts.drawn_once`: most tests begin at 0.

    Shipped weights are read once, for nobody changes what is served, and the gate asks once whose trunk it is.
    """
    if "torch" not in sys.modules:  # no network is made
        yield
        return
    from dala.gate import familiarity
    from dala.nets import dala_resnet50, resnet50
    from dala.runtime import card, predict, weights
    from tests.helpers.starts import drawn_once

    whose, shipped = familiarity.trunk_identity, card.available()
    identities: dict[int, tuple[str, Any]] = {}  # with the network, so that no other has its number

    def load(name: Any = "breakhis", folder: Path = card.WEIGHTS_DIR) -> Any:
        if name not in shipped or folder != card.WEIGHTS_DIR:
            return weights.load_weights(name, folder)
        net, found = _loaded(weights.read_card, name, folder)
        if id(net.trunk) not in identities:
            identities[id(net.trunk)] = whose(net.trunk), net
        return net, found

    with pytest.MonkeyPatch.context() as patch:
        for module in (dala_resnet50, resnet50):
            patch.setattr(module, "resnet50_parts", partial(drawn_once, resnet50.resnet50_parts))
        patch.setattr(predict, "load_weights", load)
        patch.setattr(
            familiarity,
            "trunk_identity",
            lambda trunk: identities[id(trunk)][0] if id(trunk) in identities else whose(trunk),
        )
        yield


@pytest.fixture(autouse=True)
def own_main() -> Iterator[None]:
    """Streamlit's test harness leaves a page as the main module, which a process that is spawned later would run."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The one that DALA_CHROMIUM names, else Debian's. Absent: a skip, but a failure where CI is set.

    The headless shell is the same engine without the browser's own windows, which cost a third of a visit.
    """
    from playwright.sync_api import sync_playwright

    installed = filter(None, map(shutil.which, ("chromium-headless-shell", "chromium")))
    program = os.environ.get("DALA_CHROMIUM") or next(installed, None)
    if program is None:
        message = "No chromium on the PATH and none named by DALA_CHROMIUM."
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images beside the repository; a test that needs it is skipped where it is missing."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the shared images are not at {folder}")
    return folder


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("breakhis")
    return draw_tree(
        root, {"A": ("101AB", "102", "103", "104CD"), "DC": ("201", "202", "203", "204", "205", "206", "207")}
    )


@pytest.fixture(scope="session")
def backbone() -> Backbone:
    """A seeded random ResNet50 in place of ImageNet's. `starts.slim_resnets` makes one that costs a third."""
    from tests.helpers.starts import random_backbone

    return random_backbone()


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    """The shipped recipe, shrunk to what a test can carry."""
    from dala.training.recipe import Recipe

    return Recipe(enlarged=32, epochs=3, batch=8, norm_batches=2, teacher=48, geometric_views=1, stained_views=1)


@pytest.fixture
def weights_stay_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks are read once a session, however often a test empties the app's own cache of models.

    Nor does a part of one compute twice what it makes of the same: many tests look at the same few drawings.
    """
    from dala.runtime import engines, predict, weights

    monkeypatch.setattr(predict, "load_weights", lambda *given: _loaded(weights.read_card, *given))
    for part in ("trunk", "tail"):
        compute = partial(_made, part, getattr(engines.TorchEngine, part))
        monkeypatch.setattr(engines.TorchEngine, part, partialmethod(compute))


@lru_cache(maxsize=4)
def _loaded(_: Callable[..., Any], *given: Any) -> Any:
    """The reader of cards is part of the key: where a test bends it, nothing comes from here."""
    from dala.runtime import weights

    return weights.load_weights(*given)


MADE: dict[tuple[Any, ...], tuple[Any, Tensor]] = {}  # with the network, so that no other has its number


def _made(part: str, compute: Callable[..., Tensor], engine: TorchEngine, x: Tensor) -> Tensor:
    key = (part, id(engine.net), engine.precision, x.shape, hashlib.sha256(x.numpy().tobytes()).digest())
    if key not in MADE:
        while len(MADE) > 120:  # some 2 MB each
            MADE.pop(next(iter(MADE)))
        MADE[key] = (engine.net, compute(engine, x))
    return MADE[key][1].clone()


@pytest.fixture
def components_stay_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a session; Streamlit's harness would look through all installed packages for every page that it opens."""
    from streamlit.components.v2 import manifest_scanner

    scan = manifest_scanner.scan_component_manifests
    monkeypatch.setattr(manifest_scanner, "scan_component_manifests", lambda: _components(scan))


@lru_cache(maxsize=1)
def _components(scan: Callable[[], Any]) -> Any:
    return scan()


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """As many threads of torch as made the stored predictions: each number of them adds up in its own order.

    Besides, two would wait for each other where other tests run beside these.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
