"""Processes of their own that may be killed, forked of one that has imported what they need: each starts at once."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.helpers.cases", "tests.helpers.scans", "dala.slides.many"])


def sent(told: Connection) -> list[Any]:
    """What was sent and not read yet, until the other end is closed."""
    found: list[Any] = []
    while True:
        try:
            found.append(told.recv())
        except EOFError:
            return found


def keep_many(url: str, images: Path, name: str, count: int, told: Connection) -> None:
    """Keep so many cases of two images in the store; send "ready", and then the id of each that was kept."""
    from tests.helpers.cases import ANNA, case, image, open_at

    store = open_at(url, images)
    told.send("ready")
    for number in range(count):
        title = f"{name} {number}"
        both = [image("same", b"s" * 100_000), image(title, title.encode() * 20_000)]
        told.send(store.keep(ANNA, case(*both, title=title)))
        if number % 5 == 4:
            store.change(ANNA, store.ids(ANNA)[0], comment=title)


def count_cases(environment: Mapping[str, str], told: Connection) -> None:
    """Open the store of that environment as a server does; send how many cases it holds."""
    import os

    from dala.cases.opening import store_from_environment
    from dala.cases.people import LOCAL

    os.environ.update(environment)
    store = store_from_environment()
    assert store is not None
    told.send(store.search(LOCAL).total)


def keep_graph(place: Path, told: Connection) -> None:
    """Have the graph of a small network converted and kept there, or found; send what it answers, eight times."""
    import torch

    from dala.runtime.engines import converted, kept, openvino_core

    torch.manual_seed(0)
    module = torch.nn.Conv2d(3, 8, 3)
    core = openvino_core()
    for _ in range(8):
        graph = kept(place, core, lambda: converted(module, (1, 3, 16, 16)))
        told.send(float(core.compile_model(graph, "CPU")({0: torch.ones(1, 3, 9, 9).numpy()})[0].sum()))


def scan_once(slide: Path, folder: Path) -> None:
    """Scan the slide by the quick model to its end."""
    import torch

    from dala.slides.reader import open_slide
    from dala.slides.scan import Scan
    from tests.helpers.scans import quick_model

    torch.set_num_threads(1)
    with open_slide(slide) as opened:
        for _ in Scan(opened, quick_model(), folder).run():
            pass
