"""What the first visitor would wait for is made as soon as the server listens."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from pages.parts.sockets import at_once


@asynccontextmanager
async def listening(app: Any) -> AsyncIterator[None]:
    """The server's `lifespan`. A step that has begun when the server stops is finished, and no other is begun."""
    stopping = threading.Event()
    async with at_once(app):
        threading.Thread(target=_step_by_step, args=(_first_page, stopping), name="warm").start()
        try:
            yield
        finally:
            stopping.set()


def _step_by_step(steps: Callable[[], Iterator[None]], stopping: threading.Event) -> None:
    for _ in steps():
        if stopping.is_set():
            break


def _first_page() -> Iterator[None]:
    """The model and the drawings of the empty first page, from the caches of all visitors: one who comes meanwhile
    waits for the same."""
    from dala.errors import WeightsError  # not before the server listens: what computes takes seconds to import
    from pages.parts.second_opinion.first import drawn_result, gallery
    from pages.parts.shared import shared_model

    yield
    with suppress(WeightsError):  # the page says it
        model = shared_model()
        yield
        drawn_result(str(model.card.fields["sha256"]), model)
        yield
    for _ in gallery():
        yield
