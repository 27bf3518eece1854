"""Fetches one file by HTTP: resumes where it stopped, checks size and digest, and says in a sentence what went wrong.

httpx is among the pinned packages of this project: unlike urllib it has a time limit for each read and says when a
connection was cut before its end, and unlike pooch it lets a transfer go on where it stopped. What has arrived lies in
NAME.part, with what the server said of the file in NAME.part.json; the file has its name only when it is whole.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from dala import __version__
from dala.errors import DataError
from dala.files import write_json

Progress = Callable[[int, int], None]  # bytes that are there, bytes of the whole file or 0 where nobody knows

TIMEOUT = httpx.Timeout(30.0, connect=15.0)  # seconds; of a read, not of the whole transfer
BREAKS = 4  # connections in a row that may end without one new byte
WAIT = 1.0  # seconds before the second attempt; twice as long before each further one
REDIRECTS = 5
SPARE = 64 << 20  # bytes that a transfer leaves free on the disk
GONE, LOGIN, BUSY = (404, 410), (401, 403), (429, 500, 502, 503, 504)


@dataclass(frozen=True)
class File:
    """A file to fetch: its address, where to look for it by hand, and what is known of it.

    size in bytes and digest ("md5" or "sha256", hexadecimal) where they were published; `at_most` bounds a file of
    unknown size.
    """

    url: str
    name: str
    page: str
    size: int | None = None
    digest: tuple[str, str] | None = None
    at_most: int = 64 << 30


class _Restart(Exception):
    """What is there cannot be continued: begin anew."""


def fetch(
    file: File, folder: Path, progress: Progress = lambda done, total: None, unpacked: int = 0, wait: float = WAIT
) -> Path:
    """Fetch a file into a folder, going on where an earlier call stopped, and check it; returns its path.

    A file that is there and right is not fetched again. `unpacked`: bytes that must be free beside those of the file.
    Raises DataError, one sentence, if the server cannot be reached, answers something else, or the disk is too full;
    what has arrived until then is kept. A file of a wrong size or digest is deleted, and raises too.
    """
    path = folder / file.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            if fault(path, file) is None:
                return path
            path.unlink()
        part = _transferred(file, path, progress, unpacked, wait)
        if (wrong := fault(part, file)) is not None:
            part.unlink()
            _notes(part).unlink(missing_ok=True)
            raise DataError(f"{file.url} was fetched, but {wrong}; it was deleted, so start the command again.")
        part.replace(path)
        _notes(part).unlink(missing_ok=True)
    except OSError as error:
        raise _disk(error, folder) from error
    return path


def fault(path: Path, file: File) -> str | None:
    """What is wrong with a file by its size and digest, the end of a sentence; None where nothing is."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"it has {size:,} bytes and not the published {file.size:,}"
    if file.digest is not None:
        kind, expected = file.digest
        with path.open("rb") as opened:
            if hashlib.file_digest(opened, kind).hexdigest() != expected:
                return f"its {kind} is not the published one: it is damaged or another file"
    return None


def need_space(folder: Path, needed: int) -> None:
    """DataError where a folder's disk has not that many bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE:
        raise DataError(
            f"The disk of {folder} has {sized(free)} free, and {sized(needed + SPARE)} are needed; make room and start "
            "the command again."
        )


def sized(count: int) -> str:
    """A number of bytes for people: "25.2 MB"."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def _transferred(file: File, path: Path, progress: Progress, unpacked: int, wait: float) -> Path:
    """The whole file as NAME.part, whose digest nobody has looked at."""
    part, breaks, host = path.with_name(f"{path.name}.part"), 0, _host(file.url)
    headers = {"User-Agent": f"dala/{__version__}", "Accept-Encoding": "identity"}
    with httpx.Client(timeout=TIMEOUT, follow_redirects=True, max_redirects=REDIRECTS, headers=headers) as client:
        while True:
            before = _length(part)
            try:
                _one_connection(client, file, part, progress, unpacked)
                return part
            except _Restart:
                part.unlink(missing_ok=True)
                _notes(part).unlink(missing_ok=True)
                breaks += 1
                stopped = "the server changes its answer"
            except httpx.ConnectError as error:
                if before == 0:
                    raise DataError(
                        f"{host} cannot be reached, so nothing was downloaded: is there a connection to the internet?"
                    ) from error
                breaks += 1
                stopped = "the server cannot be reached any more"
            except httpx.TooManyRedirects as error:
                raise DataError(f"{file.url} leads in circles; look at {file.page}.") from error
            except (httpx.TransportError, httpx.StreamError) as error:
                breaks = 0 if _length(part) > before else breaks + 1
                stopped = "the server is silent" if isinstance(error, httpx.TimeoutException) else "the connection ends"
            if breaks >= BREAKS:
                raise DataError(
                    f"After {sized(_length(part))} of {file.name} {stopped}; start the command again later, and it "
                    "goes on there."
                )
            time.sleep(wait * 2 ** max(0, breaks - 1))


def _one_connection(client: httpx.Client, file: File, part: Path, progress: Progress, unpacked: int) -> None:
    """Ask for what is missing and write it; returns when the file is whole, else raises what httpx does or _Restart."""
    have, known = _length(part), _known(part, file.url)
    if have and not known:
        raise _Restart  # nobody knows of which file these bytes are
    if have and have == known.get("size"):
        return
    headers = {"Range": f"bytes={have}-"} if have else {}
    if have and known["validator"]:
        headers["If-Range"] = known["validator"]
    with client.stream("GET", file.url, headers=headers) as answer:
        _refuse(file, answer)
        if answer.status_code == 416:
            raise _Restart
        start, total = _range(answer) if answer.status_code == 206 else (0, _number(answer.headers, "Content-Length"))
        if start not in (0, have) or (start and known["size"] not in (None, total)):
            raise _Restart
        if total is not None and file.size not in (None, total):
            raise DataError(
                f"{file.url} has {total:,} bytes and not the published {file.size:,}: it is another file; look at "
                f"{file.page}."
            )
        need_space(part.parent, max(0, (total or file.size or 0) - start) + unpacked)
        write_json(_notes(part), {"url": file.url, "size": total, "validator": _validator(answer.headers)})
        done = start
        # A server without ranges sends the whole file again, from its first byte.
        with part.open("r+b" if start else "wb") as written:
            if start:
                written.seek(start)
                written.truncate()
            for chunk in answer.iter_raw():  # as they arrive: of a cut connection nothing is lost
                written.write(chunk)
                done += len(chunk)
                progress(done, total or file.size or 0)
                if done > (total or file.size or file.at_most):
                    raise DataError(f"{file.url} does not end after {sized(done)}: it is not the file that was meant.")
        if total is not None and done < total:
            raise httpx.RemoteProtocolError("the answer ended early")


def _refuse(file: File, answer: httpx.Response) -> None:
    """DataError for an answer that is no file; httpx.RemoteProtocolError for one that may be better next time."""
    hops = [answer.url, *(hop.url for hop in answer.history)]
    if httpx.URL(file.url).scheme == "https" and any(hop.scheme != "https" for hop in hops):
        raise DataError(f"{file.url} leads to an address without encryption, which is not followed.")
    status = answer.status_code
    if status in GONE:
        raise DataError(f"{file.url} is gone (answer {status}); look at {file.page}.")
    if status in LOGIN:
        raise DataError(f"{file.url} wants a log-in (answer {status}); look at {file.page}.")
    if status in BUSY:
        raise httpx.RemoteProtocolError(f"answer {status}")
    if status not in (200, 206, 416):
        raise DataError(f"{file.url} cannot be fetched (answer {status}); look at {file.page}.")
    if answer.headers.get("Content-Type", "").lower().startswith("text/html"):
        raise DataError(f"{file.url} answers with a web page and not with the file; look at {file.page}.")
    if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise DataError(f"{file.url} comes in an encoding that was not asked for; look at {file.page}.")


def _range(answer: httpx.Response) -> tuple[int, int | None]:
    """First byte and size of the whole file as a partial answer says them."""
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
    if match is None:
        raise _Restart
    return int(match[1]), None if match[2] == "*" else int(match[2])


def _validator(headers: httpx.Headers) -> str | None:
    """What tells one version of the file from another: a strong ETag, or the time of its last change."""
    tag = headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")


def _number(headers: httpx.Headers, name: str) -> int | None:
    text = headers.get(name, "")
    return int(text) if text.isdecimal() else None


def _known(part: Path, url: str) -> dict[str, Any]:
    """What the server said of the file whose beginning is there; empty where that was another address, or unknown."""
    with contextlib.suppress(OSError, ValueError):
        told = json.loads(_notes(part).read_text(encoding="utf-8"))
        if isinstance(told, dict) and told.get("url") == url and {"size", "validator"} <= told.keys():
            return told
    return {}


def _notes(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _host(url: str) -> str:
    """The host of an address; DataError unless it is one of the web."""
    with contextlib.suppress(httpx.InvalidURL):
        parsed = httpx.URL(url)
        if parsed.scheme in ("http", "https") and parsed.host:
            return parsed.host
    raise DataError(f"'{url}' is no address that begins with https:// or http://.")


def _length(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _disk(error: OSError, folder: Path) -> DataError:
    """A sentence for what the disk does not do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DataError(f"The disk of {folder} is full; make room and start the command again, and it goes on there.")
    return DataError(f"{error.filename or folder} cannot be written: {(error.strerror or str(error)).lower()}.")
