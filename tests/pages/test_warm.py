"""What the first visitor would wait for is there before, and a server that is stopped does not go on making it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

import pytest

from dala.errors import WeightsError
from dala.phantoms.film import FILMS
from dala.phantoms.tissue import PHANTOMS
from pages.parts import shared, warm
from pages.parts.second_opinion import examples, first

DRAWINGS = (*PHANTOMS, *FILMS)


def never(*_: object) -> NoReturn:
    raise AssertionError("made again")


@pytest.mark.slow
def test_the_first_page_finds_what_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(list(warm._first_page())) == 3 + len(DRAWINGS)
    for module, maker in ((examples, "phantom"), (shared.runtime, "served"), (first, "explain")):
        monkeypatch.setattr(module, maker, never)
    model = shared.shared_model()
    assert [name for name, _ in first.gallery()] == list(DRAWINGS)
    assert first.drawn_result(str(model.card.fields["sha256"]), model)[2].startswith("▲ Malignant")


def test_without_weights_the_drawings_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> NoReturn:
        raise WeightsError("There are none.")

    monkeypatch.setattr(shared, "shared_model", none)
    assert len(list(warm._first_page())) == 1 + len(DRAWINGS)


def test_a_server_that_is_stopped_makes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped, done = threading.Event(), []

    def steps() -> Iterator[None]:
        for step in range(3):
            done.append(step)
            yield
            stopped.wait(30)

    monkeypatch.setattr(warm, "_first_page", steps)

    async def serve() -> None:
        async with warm.listening(None):
            while not done:
                await asyncio.sleep(0.01)

    with ThreadPoolExecutor(1) as other:  # in this thread Playwright's loop may be running
        other.submit(asyncio.run, serve()).result(30)
    working = [thread for thread in threading.enumerate() if thread.name == "warm"]
    stopped.set()
    for thread in working:
        thread.join(30)
        assert not thread.is_alive()
    assert done == [0, 1]
