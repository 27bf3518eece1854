"""The addresses of kept cases: keep, add, search, see, change, delete; what somebody may not see is not there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from dala.api.access import Access
from dala.api.answers import PARAMETERS, flag, opinion_on
from dala.api.body import SentImage, sent_json
from dala.api.keeping import case_record, new_image, rows
from dala.api.opinion import Opinions, json_answer
from dala.api.problems import HEADERS, Problem, problem_of
from dala.cases.kept import CHANGEABLE, NewCase, NewImage, Query
from dala.errors import DalaError

if TYPE_CHECKING:
    from dala.api.answers import Asked
    from dala.cases.people import Person
    from dala.cases.store import Store

TEXTS = ("title", "comment", "subtype", "diagnosis", "patient")
READS = ("read_before", "read_after")
FLAGS = ("agrees", "shared")
REMARKS = (*TEXTS, *READS, *FLAGS)
LOOKED_AT = PARAMETERS - {"keep", "maps", "anyway"}
LONGEST_PAGE, USUAL_PAGE = 200, 50
MOST_AT_ONCE = 20  # images of one request
# An image is for saving, not for showing: whatever it holds, no browser takes it for a page.
DOWNLOAD = {"Content-Disposition": "attachment", "Content-Security-Policy": "sandbox; default-src 'none'"}


@dataclass(frozen=True)
class Cases:
    """The endpoints of cases, which all work in threads: a database may take its time."""

    access: Access
    opinions: Opinions
    address: str

    async def _who(self, request: Request) -> tuple[Store, Person]:
        return await asyncio.to_thread(lambda: (self.access.kept_in(), self.access.person(request)))

    async def listed(self, request: Request) -> Response:
        store, person = await self._who(request)
        told = dict(request.query_params)
        offset, limit = whole(told, "offset", 0, 0, 10**9), whole(told, "limit", USUAL_PAGE, 1, LONGEST_PAGE)
        query = query_of({key: value for key, value in told.items() if key not in ("offset", "limit")})
        found = await asyncio.to_thread(store.search, person, query, offset, limit)
        return json_answer({"total": found.total, "offset": offset, "cases": rows(found.rows)})

    async def kept(self, request: Request) -> Response:
        store, person = await self._who(request)
        sent, asked = await self.opinions.received(request, LOOKED_AT | set(REMARKS), MOST_AT_ONCE)
        remarks = remarks_of(sent.told)

        def work() -> Response:
            made = store.keep(person, NewCase(self._looked_at(sent.images, asked), **remarks))
            case = case_record(store.case(person, made))
            return json_answer(case, HTTPStatus.CREATED, {"Location": f"{self.address}/cases/{made}"})

        return await self.opinions.thought(work)

    async def added(self, request: Request) -> Response:
        store, person = await self._who(request)
        id_ = request.path_params["id"]
        await asyncio.to_thread(store.check_own, person, id_)  # before an image is waited for
        sent, asked = await self.opinions.received(request, LOOKED_AT)

        def work() -> Response:
            case = store.add(person, id_, self._looked_at(sent.images, asked)[0])
            place = f"{self.address}/cases/{id_}/images/{case.images[-1].number}"
            return json_answer(case_record(case), HTTPStatus.CREATED, {"Location": place})

        return await self.opinions.thought(work)

    def _looked_at(self, images: Sequence[SentImage], asked: Asked) -> list[NewImage]:
        """Each image with its opinion, in their order. Raises Problem, which names the image if there are several."""
        found = []
        for number, image in enumerate(images, start=1):
            try:
                opinion = opinion_on(image.data, image.name, asked, self.opinions.models)
                found.append(new_image(opinion, image, asked))
            except DalaError as error:
                problem = problem_of(error)
                which = f"Image {number} of {len(images)}: " if len(images) > 1 else ""
                raise Problem(problem.status, which + problem.sentence, problem.headers) from error
        return found

    async def one(self, request: Request) -> Response:
        store, person = await self._who(request)
        return json_answer(case_record(await asyncio.to_thread(store.case, person, request.path_params["id"])))

    async def changed(self, request: Request) -> Response:
        store, person = await self._who(request)
        told = await sent_json(request)
        if not isinstance(told, dict) or not told or told.keys() - set(CHANGEABLE):
            raise Problem(HTTPStatus.BAD_REQUEST, f"A change is an object with some of {', '.join(CHANGEABLE)}.")
        if isinstance(call := told.get("read_after"), str):
            told["read_after"] = {"call": call}
        change = partial(store.change, person, request.path_params["id"], **told)
        return json_answer(case_record(await asyncio.to_thread(change)))

    async def deleted(self, request: Request) -> Response:
        store, person = await self._who(request)
        await asyncio.to_thread(store.delete, person, request.path_params["id"])
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=HEADERS)

    async def image(self, request: Request) -> Response:
        store, person = await self._who(request)
        id_, number = request.path_params["id"], request.path_params["number"]
        data = await asyncio.to_thread(store.image, person, id_, number)
        if data is None:
            raise Problem(HTTPStatus.NOT_FOUND, "The bytes of this image were not kept.")
        return Response(data, headers={**HEADERS, **DOWNLOAD}, media_type="application/octet-stream")


def remarks_of(told: Mapping[str, str]) -> dict[str, Any]:
    """What is said of a case, as `NewCase` has it; checked when it is kept."""
    found: dict[str, Any] = {key: told[key] for key in TEXTS if told.get(key)}
    found |= {key: {"call": told[key]} for key in READS if told.get(key)}
    return found | {key: flag(told, key) for key in FLAGS if key in told}


def query_of(told: Mapping[str, str]) -> Query:
    """A search by the words of an address. Raises Problem for what cannot be meant."""
    flags = {key: flag(told, key) for key in ("agrees", "differs", "descending") if key in told}
    days = {key: _day(told[key], key) for key in ("since", "until") if key in told}
    texts = {key: told[key] for key in ("text", "answer", "diagnosis", "laboratory", "reader", "order") if key in told}
    if unknown := sorted(told.keys() - flags.keys() - days.keys() - texts.keys()):
        raise Problem(HTTPStatus.BAD_REQUEST, f"There is no parameter {unknown[0]!r} of a search.")
    return Query(**texts, **flags, **days)  # type: ignore[arg-type]


def _day(told: str, key: str) -> date:
    try:
        return date.fromisoformat(told)
    except ValueError:
        raise Problem(HTTPStatus.BAD_REQUEST, f"The parameter {key} is a day, such as 2026-11-29.") from None


def whole(told: Mapping[str, str], key: str, usual: int, least: int, most: int) -> int:
    """A whole number of the address, within its range."""
    text = told.get(key, str(usual))
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise Problem(HTTPStatus.BAD_REQUEST, f"The parameter {key} is a whole number from {least} to {most}.")
    return int(text)
