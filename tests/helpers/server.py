"""A server of files on this machine that cuts, redirects, forgets ranges and refuses as real ones do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class Served:
    """One file and how it is served; `asked` keeps the Range of every request, "" where there was none.

    cuts: after how many bytes the next connections end, one each. ranges: whether parts can be asked for. answers:
    statuses of the next requests instead of the file. content_length: whether the size is said.
    """

    content: bytes
    etag: str | None = '"one"'
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    redirect: str | None = None
    kind: str = "application/octet-stream"
    content_length: bool = True
    asked: list[str] = field(default_factory=list)


class Server:
    """Files by path, "/name"; `url(path)` is the address of one."""

    def __init__(self, port: int) -> None:
        self.files: dict[str, Served] = {}
        self._port = port

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._port}{path}"

    def put(self, path: str, served: Served) -> str:
        self.files[path] = served
        return self.url(path)


@contextmanager
def serving() -> Iterator[Server]:
    """A server on a free port, gone at the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that http.server asks for
            served = files.files.get(self.path)
            if served is None:
                self.send_error(404)
                return
            served.asked.append(self.headers.get("Range", ""))
            if served.answers:
                self.send_error(served.answers.pop(0))
                return
            if served.redirect is not None:
                self.send_response(302)
                self.send_header("Location", served.redirect)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self._send(served)

        def _send(self, served: Served) -> None:
            match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            whole = len(served.content)
            same = self.headers.get("If-Range") in (None, served.etag)
            start = int(match[1]) if match and served.ranges and same else 0
            if start >= whole > 0:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{whole}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
            if served.content_length:
                self.send_header("Content-Length", str(whole - start))
            if served.etag:
                self.send_header("ETag", served.etag)
            self.send_header("Content-Type", served.kind)
            self.end_headers()
            rest = served.content[start:]
            self.wfile.write(rest[: served.cuts.pop(0)] if served.cuts else rest)
            self.close_connection = True

        def log_message(self, *told: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    files = Server(server.server_address[1])
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield files
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
