"""Tiles as a viewer asked for them, asked for again by a plain HTTP client: what is the server's time, what is not.

The client has the viewer's tiles, order and pauses, and as many connections as a browser opens to one host. What a
browser does beside it on the same cores, decoding and drawing, it does not.
"""

from __future__ import annotations

import http.client
import re
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np

from dala.errors import DataError
from dala.studies.record import Record

CONNECTIONS = 6  # that browsers keep open to one host
PAUSE_MS = 150.0  # between two tiles that were not asked for together
ROUTE = re.compile(r"tile;dur=([\d.]+)")  # Server-Timing, as `pages/parts/slides/shelf.py` writes it
LONGEST_SECONDS = 60


@dataclass(frozen=True)
class Tile:
    """A tile that was asked for: its place below the token's address; milliseconds: when, from the request to its last
    byte, and of these in the route that draws it."""

    place: str
    start: float
    wait: float
    route: float


@dataclass(frozen=True, kw_only=True)
class TileWaits(Record):
    """Milliseconds: of so many tiles, from the request to the last byte, and of these in the route that draws them:
    waiting for a thread, reading, encoding."""

    tiles: int
    median: float
    percentile_95: float
    route_median: float
    route_percentile_95: float


def waits_of(tiles: Sequence[Tile]) -> TileWaits:
    """What half of them and 95 % take."""
    waits, routes = ([getattr(one, name) for one in tiles] for name in ("wait", "route"))
    return TileWaits(
        tiles=len(tiles),
        median=round(statistics.median(waits), 1),
        percentile_95=round(float(np.percentile(waits, 95)), 1),
        route_median=round(statistics.median(routes), 1),
        route_percentile_95=round(float(np.percentile(routes, 95)), 1),
    )


def due(starts: Sequence[float]) -> list[float]:
    """When each is asked for at the earliest, in milliseconds from the first: what a viewer wanted at the same time is
    wanted at once, when its first tile was. `starts` ascend."""
    found, last = list[float](), 0.0
    for number, start in enumerate(starts):
        together = number and start - last < PAUSE_MS
        found.append(found[-1] if together else start - starts[0])
        last = start
    return found


def replayed(address: str, asked: Sequence[Tile]) -> list[Tile]:
    """The same tiles below another token's `address`, in the order and with the pauses of `asked`, over `CONNECTIONS`
    that are kept alive. DataError for a tile that does not come."""
    told = urlsplit(address)
    asked = sorted(asked, key=lambda one: one.start)
    waiting = list(zip(asked, due([one.start for one in asked]), strict=True))[::-1]
    lock, found, failures = threading.Lock(), list[Tile](), list[str]()
    began = time.perf_counter()

    def elapsed() -> float:
        return (time.perf_counter() - began) * 1000

    def work() -> None:
        client = http.client.HTTPConnection(told.hostname or "", told.port, timeout=LONGEST_SECONDS)
        try:
            while not failures:
                with lock:
                    if not waiting:
                        return
                    tile, at = waiting.pop()
                time.sleep(max(0.0, at - elapsed()) / 1000)
                start = elapsed()
                answer = _asked(client, told.path + tile.place)
                data, wait = answer.read(), elapsed() - start
                if answer.status != 200 or not data:
                    raise OSError(f"status {answer.status}")
                found.append(Tile(tile.place, start, wait, route_of(answer.getheader("Server-Timing") or "")))
        except (OSError, http.client.HTTPException) as error:
            failures.append(str(error) or type(error).__name__)
        finally:
            client.close()

    threads = [threading.Thread(target=work) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise DataError(f"A tile did not come: {failures[0]}.")
    return found


def _asked(client: http.client.HTTPConnection, path: str) -> http.client.HTTPResponse:
    """The answer; over a new connection where the server has closed one that was idle, as browsers do."""
    try:
        client.request("GET", path)
        return client.getresponse()
    except (ConnectionError, http.client.RemoteDisconnected):
        client.close()
        client.request("GET", path)
        return client.getresponse()


def route_of(header: str) -> float:
    """The milliseconds that a Server-Timing header tells of the route; 0 where it tells none."""
    told = ROUTE.search(header)
    return float(told[1]) if told else 0.0
