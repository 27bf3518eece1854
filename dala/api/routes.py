"""The routes of the API below the server's base path: addresses to answers, and every error a problem."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dala.api.access import Access
from dala.api.body import Room, drain
from dala.api.cases import Cases
from dala.api.document import document
from dala.api.opinion import Opinions
from dala.api.page import page
from dala.api.problems import FAULT, HEADERS, Problem, problem_of
from dala.errors import DalaError
from dala.files import json_text

if TYPE_CHECKING:
    from dala.api.answers import Models
    from dala.cases.store import Store

PREFIX = "api/v1"
AT_ONCE = "DALA_API_AT_ONCE"
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"]
DRAINED = 4  # images of the largest size, of a request that is refused before it has been read
READING = 4  # requests whose images arrive, for each whose image is looked at
PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"

logger = logging.getLogger(__name__)
Handler = Callable[[Request], Awaitable[Response]]


def api_routes(
    base: str, models: Models, store: Callable[[], Store | None], login: Callable[[], bool], largest_mb: int
) -> list[Route]:
    """Everything under `base`/api.

    models: the model of a name with a site, loaded when it is first asked for. store: where cases and tokens are kept,
    None where nothing is. login: whether people log in at the pages. largest_mb: of one image, as on the pages.
    """
    start = f"/{base.strip('/')}" if base.strip("/") else ""
    access = Access(store, login)
    most = max(1, int(os.environ.get(AT_ONCE, "2")))
    opinions = Opinions(access, models, Room(READING * most), Room(most), largest_mb)
    cases = Cases(access, opinions, f"{start}/{PREFIX}")
    told, drained = document(start, largest_mb), DRAINED * largest_mb * 2**20
    json, html = json_text(told).encode(), page(told).encode()

    async def openapi(request: Request) -> Response:
        return Response(json, headers=HEADERS, media_type="application/json")

    async def docs(request: Request) -> Response:
        return Response(html, headers={**HEADERS, "Content-Security-Policy": PAGE_POLICY}, media_type="text/html")

    def route(path: str, **handlers: Handler) -> Route:
        return Route(f"{start}/{PREFIX}/{path}", answering(handlers, drained), methods=METHODS)

    return [
        route("openapi.json", GET=openapi),
        route("docs", GET=docs),
        route("opinion", POST=opinions.post),
        route("cases", GET=cases.listed, POST=cases.kept),
        route("cases/{id}", GET=cases.one, PATCH=cases.changed, DELETE=cases.deleted),
        route("cases/{id}/images", POST=cases.added),
        route("cases/{id}/images/{number:int}", GET=cases.image),
        Route(f"{start}/api", answering({}, drained), methods=METHODS),
        Route(f"{start}/api/{{rest:path}}", answering({}, drained), methods=METHODS),
    ]


def answering(handlers: Mapping[str, Handler], drained: int) -> Handler:
    """One endpoint for all methods, which raises nothing: what goes wrong is a problem. No handlers: nothing is here.
    drained: how many bytes of a refused request are read all the same.

    Nothing here allows another origin, so that a browser gives none of it to other pages.
    """

    async def endpoint(request: Request) -> Response:
        try:
            if not handlers:
                raise Problem(HTTPStatus.NOT_FOUND, f"There is nothing here; {PREFIX}/docs describes what there is.")
            handler = handlers.get("GET" if request.method == "HEAD" else request.method)
            if handler is None:
                allowed = ", ".join(handlers)
                raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, f"This address takes {allowed} only.", {"Allow": allowed})
            return await handler(request)
        except Problem as found:
            problem = found
        except DalaError as error:
            problem = problem_of(error)
        except Exception:
            logger.exception("A request of the API has failed.")
            problem = Problem(HTTPStatus.INTERNAL_SERVER_ERROR, FAULT)
        await drain(request, drained)
        return problem.response()

    return endpoint
