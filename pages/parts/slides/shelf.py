"""The slides that are open, by tokens, and the route that serves their tiles beside the pages.

A token is drawn at random, belongs to one session and one slide, and dies with either: nothing that a browser sends
becomes a path. With log-in the request must carry the cookies with which the slide was opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import streamlit as st
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from streamlit.runtime import Runtime

from dala.errors import SlideError
from dala.intake.pixel_size import GivenSize
from dala.slides.reader import Slide, open_slide
from pages.parts.cookie import drawn_token, of_user

QUALITY = 88
PREFIX = "tiles"
AT_ONCE = 2 * (os.cpu_count() or 1)  # tiles that are decoded, of all viewers
SLOW_AT_ONCE = 2  # of slides of which the first look takes long
HEADERS = {"Cache-Control": "private, max-age=3600", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True, eq=False)
class Held:
    """An open slide, whose it is, and what the requests of its owner carry; `what` tells one opening from another."""

    slide: Slide
    session: str
    cookies: Mapping[str, str]
    what: tuple[str, str, int, int]


def is_active(session: str) -> bool:
    """Whether somebody still looks at the pages of this session."""
    return Runtime.exists() and Runtime.instance().is_active_session(session)


class Shelf:
    """What all sessions have open; any number of threads may use it. `alive` tells whether a session still is."""

    def __init__(self, alive: Callable[[str], bool] = is_active) -> None:
        self._held: dict[str, Held] = {}
        self._lock = threading.Lock()
        self._alive = alive

    def open(self, path: Path, um: GivenSize | None, session: str, cookies: Mapping[str, str]) -> tuple[str, Slide]:
        """The token and the slide: as it is open already, or opened in place of the session's last one.

        Raises SlideError.
        """
        try:
            found = path.stat()
        except OSError:
            raise SlideError(
                "absent", "This slide is no longer in the folder, or the folder is out of reach."
            ) from None
        what = (str(path), repr(um), found.st_mtime_ns, found.st_size)
        with self._lock:
            for token, one in self._held.items():
                if one.session == session and one.what == what:
                    return token, one.slide
        slide, token = open_slide(path, um), drawn_token()
        with self._lock:
            gone = [key for key, one in self._held.items() if one.session == session or not self._alive(one.session)]
            closed = [self._held.pop(key) for key in gone]
            self._held[token] = Held(slide, session, of_user(cookies), what)
        for one in closed:
            one.slide.close()
        return token, slide

    def find(self, token: str, cookies: Mapping[str, str]) -> Slide | None:
        """The slide of a token; None for one that is unknown, dead, or somebody else's."""
        with self._lock:
            held = self._held.get(token)
        if held is None or held.cookies != of_user(cookies):
            return None
        if not self._alive(held.session):
            with self._lock:
                self._held.pop(token, None)
            held.slide.close()
            return None
        return held.slide


@st.cache_resource
def shelf() -> Shelf:
    """The one shelf of this server."""
    return Shelf()


def encoded(pixels: NDArray[np.uint8]) -> bytes:
    """A tile as JPEG."""
    fine, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert fine
    return bytes(data)


def tile_route(base: str, of: Callable[[], Shelf] = shelf) -> Route:
    """The route of tiles below the server's base path: PREFIX/{token}/{halvings}/{column}_{row}.jpg, integers only."""
    # Threads of their own: the server's others answer everybody else. And a slide that is looked at for the first time
    # without a pyramid keeps nobody waiting who looks at another one.
    quick, slow = (ThreadPoolExecutor(count, f"dala-tile-{count}") for count in (AT_ONCE, SLOW_AT_ONCE))

    def drawn(slide: Slide, halvings: int, column: int, row: int) -> bytes:
        slide.check()
        return encoded(slide.read_tile(halvings, column, row))

    async def answer(request: Request) -> Response:
        told, began = request.path_params, time.perf_counter()
        slide = of().find(told["token"], request.cookies)
        if slide is not None:
            with contextlib.suppress(SlideError, IndexError):
                place = told["halvings"], told["column"], told["row"]
                threads = slow if slide.slow else quick
                tile = await asyncio.get_running_loop().run_in_executor(threads, drawn, slide, *place)
                took = f"tile;dur={1000 * (time.perf_counter() - began):.1f}"
                return Response(tile, media_type="image/jpeg", headers=HEADERS | {"Server-Timing": took})
        return Response(status_code=404, headers={"Cache-Control": "no-store"})

    start = f"/{base.strip('/')}" if base.strip("/") else ""
    return Route(f"{start}/{PREFIX}/{{token}}/{{halvings:int}}/{{column:int}}_{{row:int}}.jpg", answer)


def address_of(token: str, base: str) -> str:
    """Where the tiles of a token are, as a browser asks for them."""
    start = f"/{base.strip('/')}" if base.strip("/") else ""
    return f"{start}/{PREFIX}/{token}/"
