"""Eight programs at once at the served app, with hostile files and with cases: `make soak MINUTES=10`.

Every client asks the HTTP API of one server: for opinions on drawn images, each of which must be the one that the
server gave for that image when it was alone; for opinions on files as `make fuzz` alters them, each of which must be an
answer or one sentence; and it keeps, reopens, changes and deletes cases of its own. In the first quarter of the time
there are no hostile files. At the end every case that was kept and not deleted is there as it was last changed, every
deleted one is not, the log's chain holds, and the server's memory (VmRSS, Linux) has not grown. What is wrong is
printed, and is the exit status. `DALA_SOAK_DATABASE` names a database; else it is a file in a folder that goes away.

`--browsers 8` lets browsers in, too (`tests/soak_browsers.py`), and a slide is scanned beside them all the time;
`--record` writes how long everything took into evidence/soak.json, as `dala soak` does.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dala.explanation.render import encode_png
from dala.phantoms.film import draw_film
from dala.phantoms.tissue import PHANTOMS, draw
from dala.studies.soak import STUDY, Memory, Run, Wait, with_run
from dala.studies.speed import processor
from tests.fuzz import alter, memory
from tests.helpers import slides
from tests.helpers.browser import ROOT, free_port, serving
from tests.helpers.seeds import SEEDS

if TYPE_CHECKING:
    from tests.soak_browsers import Reader

SLOWEST = 60.0  # seconds for one answer on two busy cores
GROWTH = 100  # MB in the second half: by then the models of both kinds of image are loaded
CALM = 0.25  # of the time, without hostile files
CALM_OPINION, MIXED_OPINION = "opinion", "opinion beside hostile files"
KINDS = ("good", "hostile", "keep", "reopen", "change", "delete")
IMAGES = 2 * len(PHANTOMS)
SHARES = (0.4, 0.3, 0.12, 0.08, 0.05, 0.05)


@dataclass
class Found:
    """What has happened so far; any thread may write."""

    failures: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    waits: dict[str, list[float]] = field(default_factory=dict)
    memory: list[int] = field(default_factory=list)
    both_models: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def wrong(self, what: str) -> None:
        with self.lock:
            self.failures.append(what[:300])
            print(self.failures[-1], file=sys.stderr, flush=True)

    def took(self, what: str, seconds: float) -> None:
        with self.lock:
            self.waits.setdefault(what, []).append(seconds)

    def did(self, kind: str) -> None:
        with self.lock:
            self.counts[kind] = self.counts.get(kind, 0) + 1


@dataclass(frozen=True)
class Server:
    """The API of a served app."""

    url: str

    def ask(self, method: str, path: str, body: bytes | None = None, **told: object) -> tuple[int, Any]:
        """Status and content of an answer, after as many "busy" as there are."""
        place = urlsplit(self.url)
        query = f"?{urlencode(told)}" if told else ""
        kind = "application/json" if method == "PATCH" else "application/octet-stream"
        while True:
            line = HTTPConnection(str(place.hostname), place.port, timeout=SLOWEST)
            try:
                line.request(method, f"/api/v1/{path}{query}", body, {"Content-Type": kind} if body is not None else {})
                answer = line.getresponse()
                content = answer.read()
            finally:
                line.close()
            if answer.status != 429:
                return answer.status, json.loads(content) if content else None
            time.sleep(0.05 + 0.1 * np.random.default_rng().random())


@dataclass(frozen=True)
class Image:
    """A drawn image and what the server says of it when it is alone."""

    data: bytes
    sha256: str
    probabilities: dict[str, float]


def known(server: Server, number: int) -> Image:
    data = encode_png(draw(PHANTOMS[number % len(PHANTOMS)], seed=number).pixels)
    status, told = server.ask("POST", "opinion", data, pixel_size_um=0.35, anyway="true")
    assert status == 200, told
    return Image(data, told["opinion"]["sha256"], told["opinion"]["probabilities"])


def is_of(opinion: dict[str, Any], image: Image) -> bool:
    """Whether an opinion is the one on this image."""
    return opinion["sha256"] == image.sha256 and all(
        abs(opinion["probabilities"][name] - value) < 1e-6 for name, value in image.probabilities.items()
    )


@dataclass
class Client:
    """One program: its own random numbers and its own cases, by id what they must say."""

    number: int
    server: Server
    images: list[Image]
    seeds: dict[str, bytes]
    found: Found
    cases: dict[str, tuple[str, str, Image]] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)

    def run(self, end: float, hostile_from: float) -> None:
        rng = np.random.default_rng(self.number)
        while time.monotonic() < end:
            calm = time.monotonic() < hostile_from
            kind = str(rng.choice(KINDS, p=SHARES))
            if kind == "hostile" and calm:
                kind = "good"
            try:
                getattr(self, f"_{kind}")(rng, calm)
                self.found.did(kind)
            except Exception as error:
                self.found.wrong(f"client {self.number}, {kind}: {type(error).__name__}: {error}")

    def _good(self, rng: np.random.Generator, calm: bool) -> None:
        image = self._any(rng)
        start = time.perf_counter()
        status, told = self.server.ask("POST", "opinion", image.data, pixel_size_um=0.35, anyway="true")
        seconds = time.perf_counter() - start
        assert status == 200, told
        assert is_of(told["opinion"], image), "the opinion is of another image"
        self.found.took(CALM_OPINION if calm else MIXED_OPINION, seconds)

    def _hostile(self, rng: np.random.Generator, calm: bool) -> None:
        kinds, others = list(self.seeds), list(self.seeds.values())
        data = alter(self.seeds[kinds[int(rng.integers(len(kinds)))]], others, rng)
        status, told = self.server.ask("POST", "opinion", data or b"x")
        assert status == 200 or (400 <= status < 500 and told["detail"].endswith(".")), (status, told)

    def _keep(self, rng: np.random.Generator, calm: bool) -> None:
        image, title = self._any(rng), f"client {self.number}, case {rng.integers(10**9)}"
        status, told = self.server.ask("POST", "cases", image.data, pixel_size_um=0.35, title=title)
        assert status == 201, told
        self.cases[told["id"]] = (title, "", image)

    def _reopen(self, rng: np.random.Generator, calm: bool) -> None:
        if self.cases:
            self.check(str(rng.choice(list(self.cases))))

    def check(self, case: str) -> None:
        """A case is there as it was kept and changed last."""
        title, comment, image = self.cases[case]
        status, told = self.server.ask("GET", f"cases/{case}")
        assert status == 200, told
        assert (told["title"], told["comment"]) == (title, comment), told
        assert told["images"][0]["sha256"] == image.sha256

    def _change(self, rng: np.random.Generator, calm: bool) -> None:
        if self.cases:
            case, comment = str(rng.choice(list(self.cases))), f"comment {rng.integers(10**9)}"
            status, told = self.server.ask("PATCH", f"cases/{case}", json.dumps({"comment": comment}).encode())
            assert status == 200, told
            title, _, image = self.cases[case]
            self.cases[case] = (title, comment, image)

    def _delete(self, rng: np.random.Generator, calm: bool) -> None:
        if self.cases:
            case = str(rng.choice(list(self.cases)))
            status, told = self.server.ask("DELETE", f"cases/{case}")
            assert status in (200, 204), told
            del self.cases[case]
            self.gone.append(case)

    def _any(self, rng: np.random.Generator) -> Image:
        return self.images[int(rng.integers(len(self.images)))]


def scan(folder: Path, end: float, found: Found) -> None:
    """Scan a drawn slide from its beginning, again and again."""
    slide = folder / "drawn.svs"
    slides.aperio(slide, slides.pyramid(slides.drawn(4096, 4096)))
    number = 0
    while time.monotonic() < end:
        number += 1
        command = [sys.executable, "-m", "dala", "scan", str(slide), "--out", str(folder / f"scan-{number}")]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.2)
        if process.poll() is None:
            process.terminate()
            process.communicate()
        elif process.returncode:
            found.wrong(f"the scan: {process.communicate()[1]}")
        else:
            process.communicate()
            found.did("scan")


def run(minutes: float, clients: int, folder: Path, browsers: int = 0) -> Found:
    """So many clients for so long, and browsers beside a scan; what they keep is in the folder."""
    told = {
        "MALLOC_ARENA_MAX": "2",  # as `make run`
        "DALA_API": "open",
        "DALA_CASES_FOLDER": str(folder / "cases"),
        "DALA_DATABASE": os.environ.get("DALA_SOAK_DATABASE", f"sqlite:///{folder / 'cases.sqlite'}"),
    }
    found = Found()
    with serving(free_port(), folder / "server.log", environment=told, cold=True) as served:
        server = Server(served.url)
        images = [known(server, number) for number in range(IMAGES)]
        film = encode_png(draw_film().pixels)
        server.ask("POST", "opinion", film, anyway="true")  # by the other model
        found.both_models = memory(served.process)
        seeds = {kind: make() for kind, make in SEEDS.items() if kind != "zip"}
        readers: list[Reader] = []
        crowd = [Client(number, server, images, seeds, found) for number in range(clients)]
        start = time.monotonic()
        end, hostile_from = start + 60 * minutes, start + 60 * minutes * CALM
        threads = [threading.Thread(target=one.run, args=(end, hostile_from)) for one in crowd]
        if browsers:
            from tests.soak_browsers import browse

            threads.append(threading.Thread(target=browse, args=(served.url, browsers, end, found, readers)))
            threads.append(threading.Thread(target=scan, args=(folder, end, found)))
        for thread in threads:
            thread.start()
        settled = 0
        while any(thread.is_alive() for thread in threads):
            time.sleep(1)
            found.memory.append(memory(served.process))
            if not settled and time.monotonic() >= start + 30 * minutes:
                settled = found.memory[-1]
        if settled and found.memory[-1] - settled > GROWTH:
            found.wrong(f"memory: {settled} MB became {found.memory[-1]} MB")
        for client in crowd:
            for case in client.cases:
                try:
                    client.check(case)
                except Exception as error:
                    found.wrong(f"client {client.number}, at the end: {type(error).__name__}: {error}")
            for case in client.gone:
                status, _ = server.ask("GET", f"cases/{case}")
                if status != 404:
                    found.wrong(f"a deleted case is still there: {case}")
        for reader in readers:
            for case, title in reader.cases.items():
                status, told_ = server.ask("GET", f"cases/{case}")
                if status != 200 or told_["title"] != title:
                    found.wrong(f"browser {reader.number}, at the end: {case} is {told_}")
            for case in reader.gone:
                if server.ask("GET", f"cases/{case}")[0] != 404:
                    found.wrong(f"a case that a browser deleted is still there: {case}")
        status, listed = server.ask("GET", "cases", limit=1)
        kept = sum(len(one.cases) for one in (*crowd, *readers))
        if status != 200 or listed["total"] != kept:
            found.wrong(f"{kept} cases were kept, the list has {listed}")
    log = (folder / "server.log").read_text(encoding="utf-8")
    if "Traceback" in log:
        found.wrong(f"the server's log holds a traceback: {log[log.index('Traceback') :][:200]}")
    command = [sys.executable, "-m", "dala", "audit", "verify"]
    verified = subprocess.run(command, cwd=ROOT, env={**os.environ, **told}, capture_output=True, text=True)
    if verified.returncode:
        found.wrong(f"the log's chain is broken: {verified.stdout}{verified.stderr}")
    return found


def waits_of(found: Found) -> dict[str, Wait]:
    return {
        what: Wait(
            count=len(seconds),
            median=round(float(np.median(seconds)), 2),
            percentile_95=round(float(np.percentile(seconds, 95)), 2),
        )
        for what, seconds in found.waits.items()
    }


def summary(found: Found) -> dict[str, Any]:
    return {
        "asked": dict(sorted(found.counts.items())),
        "failures": len(found.failures),
        "seconds": {what: wait.to_json() for what, wait in waits_of(found).items()},
        "memory_mb": [found.both_models, *found.memory[:: max(1, len(found.memory) // 10)]],
    }


def record(found: Found, minutes: float, clients: int, browsers: int) -> None:
    """Put the run into the record of the evidence page."""
    path = ROOT / STUDY.path
    told = Run(
        database="PostgreSQL" if "postgresql" in os.environ.get("DALA_SOAK_DATABASE", "") else "SQLite",
        minutes=minutes,
        browsers=browsers,
        programs=clients,
        scans=found.counts.get("scan", 0),
        processor=processor(),
        cores=len(os.sched_getaffinity(0)),
        waits=waits_of(found),
        memory_mb=Memory(both_models=found.both_models, largest=max(found.memory), last=found.memory[-1]),
        failures=tuple(found.failures),
        measured=time.strftime("%Y-%m-%d"),
    )
    STUDY.write(with_run(STUDY.load(path) if path.is_file() else None, told), path)


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--minutes", type=float, default=5)
    asked.add_argument("--clients", type=int, default=8, help="programs")
    asked.add_argument("--browsers", type=int, default=0, help="and beside them browsers, and a scan")
    asked.add_argument("--record", action="store_true", help="write evidence/soak.json")
    options = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(options.minutes, options.clients, Path(folder), options.browsers)
    if options.record:
        record(found, options.minutes, options.clients, options.browsers)
    print(json.dumps(summary(found), indent=2))
    return int(bool(found.failures))


if __name__ == "__main__":
    sys.exit(main())
