"""The speed of scans: rates and memory of a scan, and what is said of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from dala.errors import DataError
from dala.slides.reader import open_slide
from dala.studies import scan_speed, scan_speed_runs, scan_speed_tiles
from dala.studies.scan_speed import Curve, Kills, Rates, ScanSpeed, Waits
from dala.studies.scan_speed_tiles import Tile, TileWaits
from dala.studies.scan_speed_walk import Walk
from tests.helpers.scans import quick_model, spread_slide

RECORD = ScanSpeed(
    protocol="p",
    command="c",
    weights_sha256="0",
    engine="torch",
    threads=2,
    width=30_000,
    height=22_500,
    slide_fields=4000,
    rates=Rates(
        fields=600,
        scan=9.0,
        bare=10.0,
        loop=3.6,
        of_bare=0.9,
        of_bare_by_processor_time=0.91,
        of_loop=2.5,
        first_map_seconds=28.2,
        whole_seconds=445.0,
    ),
    memory_mb=Curve(peak=440, climb_per_thousand=-0.2, each=((1, 100), (101, 400), (201, 440), (301, 438))),
    waits=Waits(
        in_browser=TileWaits(tiles=300, median=40.0, percentile_95=60.4, route_median=2.0, route_percentile_95=4.0),
        by_client=TileWaits(tiles=300, median=8.2, percentile_95=30.4, route_median=2.0, route_percentile_95=4.0),
        moves=18,
        sharp_median=120.0,
        sharp_percentile_95=300.0,
        fields=12,
        click_verdict=330.0,
        click_maps=500.0,
        drop_verdict=300.0,
        drop_maps=480.0,
        measured="2026-11-29",
    ),
    kills=Kills(times=10, identical=True),
    measured="2026-11-29",
)


def test_the_climb_is_that_of_the_second_half() -> None:
    # From 100 to 500 MB in the first half, then 2 MB for each hundred fields: 20 for a thousand.
    memory = ((0, 100), (100, 500), (200, 500), (300, 502), (400, 504))
    assert scan_speed.climb(memory) == pytest.approx(20.0)


def test_speed_in_a_sentence() -> None:
    assert scan_speed.summary(RECORD) == (
        "On 2 cores a slide is scanned at 9.0 fields a second, 0.90 of what the bare network does and 2.5 times a loop "
        "that reads patch by patch; memory climbs by -0.2 MB for a thousand fields (watched over 301 fields). A click "
        "has its verdict after 0.33 s, 1.10 of the time of a dropped image. After 10 kills the rows of a scan were the "
        "same to the byte."
    )
    assert ScanSpeed.from_json(RECORD.to_json()) == RECORD
    assert len(scan_speed.section(RECORD)) == 3
    told = {str(row["What"]): str(row["Measured"]).replace("\u00a0", " ") for row in scan_speed.table(RECORD)}
    assert told["Tiles from the server: half within, 95 % within"] == "8 ms, 30 ms (of these to draw them: 2 ms, 4 ms)"


def test_waits_can_be_measured_apart(tmp_path: Path) -> None:
    model = quick_model()
    earlier = RECORD.to_json() | {"weights_sha256": model.card.fields["sha256"], "waits": {"tiles": 3}}
    waits = replace(RECORD.waits, moves=19)
    found = scan_speed.with_waits(earlier, waits, model)
    assert found.waits == waits and found.rates == RECORD.rates and "; 600 fields in groups" in found.protocol
    with pytest.raises(DataError, match="other weights"):
        scan_speed.with_waits(earlier | {"weights_sha256": "0"}, waits, model)
    with pytest.raises(DataError, match="no file of"):
        scan_speed.with_waits(earlier | {"rates": 3}, waits, model)
    (tmp_path / "list.json").write_text("[1]")
    for name in ("absent.json", "list.json"):
        with pytest.raises(DataError, match="There is no file of"):
            scan_speed.read(tmp_path / name)


def test_waits_of_a_walk_by_hand() -> None:
    tiles = (tile("", 0, 10), tile("", 1, 30))
    walk = Walk(tiles, tiles[:1], (20.0, 40.0), ((100.0, 200.0), (300.0, 400.0)), ((500.0, 600.0),))
    waits = scan_speed.waits_in(walk)
    assert (waits.in_browser.median, waits.by_client.tiles, waits.moves, waits.sharp_percentile_95) == (20, 1, 2, 39)
    assert (waits.click_verdict, waits.click_maps, waits.drop_verdict, waits.drop_maps) == (200, 300, 500, 600)


def tile(place: str, start: float, wait: float = 1.0, route: float = 0.5) -> Tile:
    return Tile(place, start, wait, route)


def test_what_was_wanted_together_is_asked_for_at_once() -> None:
    # Two moves: tiles of the first within 150 ms of each other, though the last came 240 ms after the first.
    assert scan_speed_tiles.due([100, 220, 340, 500, 510]) == [0, 0, 0, 400, 400]
    assert scan_speed_tiles.due([]) == []


def test_waits_by_hand() -> None:
    waits = scan_speed_tiles.waits_of([tile("", 0, wait, wait / 2) for wait in range(1, 102)])
    assert waits == TileWaits(tiles=101, median=51.0, percentile_95=96.0, route_median=25.5, route_percentile_95=48.0)
    assert scan_speed_tiles.route_of("tile;dur=3.5") == 3.5 and scan_speed_tiles.route_of("") == 0.0


class Server(ThreadingHTTPServer):
    """Keeps connections alive, counts them, and takes 20 ms for a tile."""

    def __init__(self) -> None:
        self.lock, self.now, self.most, self.connections = threading.Lock(), 0, 0, set[object]()
        self.asked: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                with server.lock:
                    server.asked.append(self.path)
                    server.connections.add(self.client_address)
                    server.now += 1
                    server.most = max(server.most, server.now)
                time.sleep(0.02)
                with server.lock:
                    server.now -= 1
                self.send_response(404 if "gone" in self.path else 200)
                self.send_header("Content-Length", "4")
                self.send_header("Server-Timing", "tile;dur=20.0")
                self.end_headers()
                self.wfile.write(b"tile")

            def log_message(self, *_: object) -> None: ...

        super().__init__(("127.0.0.1", 0), Handler)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.slow
def test_a_client_asks_as_the_viewer_did_over_six_connections(server: Server) -> None:
    address = f"http://127.0.0.1:{server.server_port}/tiles/token/"
    asked = [tile(f"0/{number}_0.jpg", 10.0 * number) for number in range(12)] + [tile("1/0_0.jpg", 600.0)]
    found = scan_speed_tiles.replayed(address, asked[::-1])
    assert sorted(one.place for one in found) == sorted(one.place for one in asked)
    assert server.asked[-1] == "/tiles/token/1/0_0.jpg"
    assert server.most == len(server.connections) == scan_speed_tiles.CONNECTIONS
    assert all(one.route == 20 and 20 <= one.wait < 1000 for one in found)
    assert max(one.start for one in found) > 599, "the pause between two moves is kept"
    with pytest.raises(DataError, match="did not come: status 404"):
        scan_speed_tiles.replayed(address, [tile("gone", 0)])


@pytest.mark.slow
def test_a_slide_is_scanned_beside_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = quick_model()
    spread_slide(tmp_path / "spread.tiff")
    for name, value in (("GROUP", 8), ("LEAD", 4), ("REST", 0.1)):
        monkeypatch.setattr(scan_speed_runs, name, value)
    path = tmp_path / "spread.tiff"
    monkeypatch.setattr(scan_speed_runs, "load_model", lambda *_, **__: model)
    memory, peak = scan_speed_runs.watched(path, "quick", 20, tmp_path / "alone")
    assert [fields for fields, _ in memory] == [8, 16, 20] and peak >= 0
    monkeypatch.setattr(scan_speed_runs, "load_model", lambda *_, **__: SimpleNamespace(net=torch.nn.Identity()))
    seen: list[tuple[int, int]] = []
    with open_slide(path) as slide:
        found = scan_speed_runs.compare(slide, model, 16, tmp_path / "scan", lambda *at: seen.append(at))
    assert (found.scan.done, found.bare.done, found.loop.done) == (16, 16, min(64, found.planned))
    assert seen == [(8, 16), (16, 16)] and 0 < found.first_map < found.whole
    assert found.scan.per_second == pytest.approx(16 / found.scan.seconds)
