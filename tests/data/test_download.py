"""Fetching from a server that cuts connections, changes files, forgets ranges, refuses, and lies."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dala.data.download import BREAKS, File, fetch, sized
from dala.errors import DataError
from tests.helpers.server import Served, Server, serving

CONTENT = np.random.default_rng(0).integers(0, 256, 300_000, dtype=np.uint8).tobytes()
OTHER = CONTENT[::-1]
DIGEST = ("sha256", hashlib.sha256(CONTENT).hexdigest())
PAGE = "https://example.org/page"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving() as found:
        yield found


def file(url: str, **known: object) -> File:
    return File(url, "a.zip", PAGE, **{"size": len(CONTENT), "digest": DIGEST, **known})  # type: ignore[arg-type]


def got(wanted: File, folder: Path) -> Path:
    return fetch(wanted, folder, wait=0)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_once_and_whole(server: Server, tmp_path: Path) -> None:
    served = Served(CONTENT)
    told: list[tuple[int, int]] = []
    wanted = file(server.put("/a", served))
    path = fetch(wanted, tmp_path / "new" / "folder", lambda done, total: told.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == ["a.zip"]
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert got(wanted, path.parent) == path
    assert served.asked == [""]  # the second time nothing was asked for


def test_cut_connections_go_on_where_they_ended(server: Server, tmp_path: Path) -> None:
    served = Served(CONTENT, cuts=[100_000, 50_000, 7])
    assert got(file(server.put("/a", served)), tmp_path).read_bytes() == CONTENT
    assert served.asked == ["", "bytes=100000-", "bytes=150000-", "bytes=150007-"]


def test_a_later_call_goes_on_where_an_earlier_one_stopped(server: Server, tmp_path: Path) -> None:
    served = Served(CONTENT, cuts=[90_000, *[0] * BREAKS])
    wanted = file(server.put("/a", served))
    with pytest.raises(DataError, match=r"After 90\.0 kB of a\.zip the connection ends; start the command again"):
        got(wanted, tmp_path)
    assert names(tmp_path) == ["a.zip.part", "a.zip.part.json"]
    del served.asked[:], served.cuts[:]
    assert got(wanted, tmp_path).read_bytes() == CONTENT
    assert served.asked == ["bytes=90000-"]


def test_a_transfer_that_was_whole_but_not_yet_named_is_not_repeated(server: Server, tmp_path: Path) -> None:
    served = Served(CONTENT)
    wanted = file(server.put("/a", served))
    (tmp_path / "a.zip.part").write_bytes(CONTENT)
    (tmp_path / "a.zip.part.json").write_text(
        json.dumps({"url": wanted.url, "size": len(CONTENT), "validator": '"one"'})
    )
    assert got(wanted, tmp_path).read_bytes() == CONTENT
    assert served.asked == []


def test_a_file_that_changed_in_between_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    served = Served(OTHER, etag='"old"', cuts=[90_000, *[0] * BREAKS])
    wanted = file(server.put("/a", served))
    with pytest.raises(DataError):
        got(wanted, tmp_path)
    served.content, served.etag, served.cuts = CONTENT, '"new"', []
    assert got(wanted, tmp_path).read_bytes() == CONTENT
    assert served.asked[-1] == "bytes=90000-"  # asked for the rest of the old one, got all of the new one


def test_without_a_validator_the_size_tells_a_change(server: Server, tmp_path: Path) -> None:
    served = Served(OTHER + b"more", etag=None, cuts=[90_000, *[0] * BREAKS])
    wanted = file(server.put("/a", served), size=None)
    with pytest.raises(DataError):
        got(wanted, tmp_path)
    served.content, served.cuts = CONTENT, []
    assert got(wanted, tmp_path).read_bytes() == CONTENT


@pytest.mark.slow
def test_the_beginning_of_another_address_is_not_continued(server: Server, tmp_path: Path) -> None:
    first = server.put("/b", Served(OTHER, cuts=[90_000, *[0] * BREAKS]))
    with pytest.raises(DataError):
        got(file(first), tmp_path)
    assert got(file(server.put("/a", Served(CONTENT))), tmp_path).read_bytes() == CONTENT
    (tmp_path / "a.zip").unlink()
    (tmp_path / "a.zip.part").write_bytes(OTHER[:1000])  # and no word of where it came from
    assert got(file(server.url("/a")), tmp_path).read_bytes() == CONTENT


def test_a_server_without_ranges_sends_all_of_it_again(server: Server, tmp_path: Path) -> None:
    served = Served(CONTENT, ranges=False, etag=None, cuts=[100_000, 299_999])
    assert got(file(server.put("/a", served)), tmp_path).read_bytes() == CONTENT
    assert len(served.asked) == 3


def test_a_server_that_does_not_say_the_size(server: Server, tmp_path: Path) -> None:
    url = server.put("/a", Served(CONTENT, content_length=False))
    assert got(file(url), tmp_path).read_bytes() == CONTENT
    (tmp_path / "a.zip").unlink()
    with pytest.raises(DataError, match="does not end after"):
        got(file(url, size=None, at_most=1000), tmp_path)


def test_redirects_are_followed_but_not_in_circles(server: Server, tmp_path: Path) -> None:
    server.put("/a", Served(CONTENT, cuts=[100]))
    assert got(file(server.put("/b", Served(b"", redirect="/a"))), tmp_path).read_bytes() == CONTENT
    server.put("/c", Served(b"", redirect="/d"))
    with pytest.raises(DataError, match="leads in circles"):
        got(File(server.put("/d", Served(b"", redirect="/c")), "d.zip", PAGE), tmp_path)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [(404, "is gone"), (410, "is gone"), (403, "wants a log-in"), (418, r"cannot be fetched \(answer 418\)")],
)
def test_a_refusal_is_a_sentence_with_the_page(server: Server, tmp_path: Path, answer: int, sentence: str) -> None:
    with pytest.raises(DataError, match=f"{sentence}.*{PAGE}"):
        got(file(server.put("/a", Served(CONTENT, answers=[answer]))), tmp_path)
    assert names(tmp_path) == []


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    served = Served(CONTENT, answers=[503, 429])
    assert got(file(server.put("/a", served)), tmp_path).read_bytes() == CONTENT
    served.answers, served.asked = [503] * 9, []
    (tmp_path / "a.zip").unlink()
    with pytest.raises(DataError, match="start the command again later"):
        got(file(server.url("/a")), tmp_path)
    assert len(served.asked) == BREAKS


def test_a_web_page_is_not_taken_for_the_file(server: Server, tmp_path: Path) -> None:
    url = server.put("/a", Served(b"<html>fill in this form</html>", kind="text/html; charset=utf-8"))
    with pytest.raises(DataError, match="answers with a web page"):
        got(file(url), tmp_path)
    assert names(tmp_path) == []


def test_a_wrong_digest_deletes_the_file(server: Server, tmp_path: Path) -> None:
    url = server.put("/a", Served(OTHER))
    with pytest.raises(DataError, match=r"its sha256 is not the published one.*it was deleted"):
        got(file(url), tmp_path)
    assert names(tmp_path) == []
    server.files["/a"].content = CONTENT
    assert got(file(url), tmp_path).read_bytes() == CONTENT


def test_a_wrong_size_is_seen_before_anything_is_fetched(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has 300,001 bytes and not the published 300,000"):
        got(file(server.put("/a", Served(CONTENT + b"x"))), tmp_path)
    assert names(tmp_path) == []


def test_a_damaged_file_that_is_there_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(OTHER)
    assert got(file(server.put("/a", Served(CONTENT))), tmp_path).read_bytes() == CONTENT


def test_without_internet_it_is_one_sentence(server: Server, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DataError, match="is there a connection to the internet") as told:
        got(file(f"http://127.0.0.1:{port}/a"), tmp_path)
    assert str(told.value).count("\n") == 0
    with pytest.raises(DataError, match="cannot be reached"):
        got(file("https://no-such-host.invalid/a"), tmp_path)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/a", "nowhere", "http://", "http://[", "file:///etc/hostname"])
def test_no_other_address_is_taken(server: Server, tmp_path: Path, url: str) -> None:
    with pytest.raises(DataError):
        got(file(url), tmp_path)


def test_too_little_room_is_told_before_anything_is_fetched(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(0, 0, 70_000_000))
    with pytest.raises(DataError, match=r"has 70\.0 MB free, and 1\.1 GB are needed"):
        fetch(file(server.put("/a", Served(CONTENT))), tmp_path, unpacked=1_000_000_000)
    assert names(tmp_path) == []


def test_a_disk_that_fills_up_is_a_sentence(server: Server, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("This system has no /dev/full.")
    (tmp_path / "a.zip.part").symlink_to("/dev/full")
    with pytest.raises(DataError, match="is full; make room"):
        got(file(server.put("/a", Served(CONTENT))), tmp_path)


def test_sizes_for_people() -> None:
    assert [sized(n) for n in (0, 999, 1000, 25_232_361, 4_279_435_131)] == [
        "0 bytes", "999 bytes", "1.0 kB", "25.2 MB", "4.3 GB"]  # fmt: skip
