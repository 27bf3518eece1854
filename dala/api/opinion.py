"""POST opinion: the bytes of an image in, the JSON of its opinion out; nothing is kept unless that is asked for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from dala.api.access import Access
from dala.api.answers import PARAMETERS, Asked, Models, answer, asked_of, opinion_on
from dala.api.body import Room, Sent, sent_images
from dala.api.keeping import new_image
from dala.api.problems import HEADERS
from dala.cases.kept import NewCase

Found = TypeVar("Found")


def json_answer(content: Any, status: HTTPStatus = HTTPStatus.OK, headers: dict[str, str] | None = None) -> Response:
    """JSON that no cache keeps."""
    body = json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
    return Response(body, status.value, {**HEADERS, **(headers or {})}, media_type="application/json")


@dataclass(frozen=True)
class Opinions:
    """What the endpoints that look at an image have in common.

    reading: room for requests whose images arrive; thinking: for those whose image is looked at, in threads of their
    own, so that the pages go on.
    """

    access: Access
    models: Models
    reading: Room
    thinking: Room
    largest_mb: int
    _threads: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_threads", ThreadPoolExecutor(self.thinking.most, "dala-api"))

    async def received(self, request: Request, known: frozenset[str] = PARAMETERS, most: int = 1) -> tuple[Sent, Asked]:
        with self.reading.place():
            sent = await sent_images(request, self.largest_mb, known, most)
        return sent, asked_of(sent.told)

    async def thought(self, work: Callable[[], Found]) -> Found:
        """Done in a thread, where there is room. The work holds the room, not the request, which may end before it."""
        with ExitStack() as stack:
            stack.enter_context(self.thinking.place())
            future = self._threads.submit(work)
            release = stack.pop_all()
        future.add_done_callback(lambda _: release.close())
        return await asyncio.wrap_future(future)

    async def post(self, request: Request) -> Response:
        person = await asyncio.to_thread(self.access.person, request)
        sent, asked = await self.received(request)
        store = await asyncio.to_thread(self.access.kept_in) if asked.keep else None

        def work() -> Response:
            image = sent.image
            opinion = opinion_on(image.data, image.name, asked, self.models)
            case = None if store is None else store.keep(person, NewCase([new_image(opinion, image, asked)]))
            return json_answer(answer(opinion, asked, case))

        return await self.thought(work)
