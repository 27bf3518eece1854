"""`dala download` and `dala samples` from the shell: terms, asking, archives by hand, what is complete."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dala.cli.main import main
from dala.data import download_facts
from dala.data.download_facts import Fact
from tests.helpers.server import Served, Server, serving

BREAST = "BreaKHis_v1/histology_slides/breast/benign/SOB/adenosis/SOB_B_A_14-1/200X"
NAMES = tuple(f"SOB_B_A-14-1-200-{number:03d}.png" for number in (1, 2, 3))


def png(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


IMAGES = {name: png(number) for number, name in enumerate(NAMES)}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving() as found:
        yield found


@pytest.fixture(autouse=True)
def facts(monkeypatch: pytest.MonkeyPatch) -> None:
    """BreakHis with three images."""
    known = {name: Fact(len(data), hashlib.sha256(data).digest()[:8]) for name, data in IMAGES.items()}
    monkeypatch.setattr(download_facts, "breakhis_facts", lambda: known)


def archive(images: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        for name, data in images.items():
            packed.writestr(f"{BREAST}/{name}", data)
    return content.getvalue()


@pytest.mark.slow
def test_an_archive_is_fetched_unpacked_checked_and_gone(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    served = Served(archive(IMAGES), cuts=[200])
    line = ["download", "breakhis", "--to", str(tmp_path / "to"), "--yes", "--from", server.put("/b.zip", served)]
    assert main(line) == 0
    printed = capsys.readouterr()
    assert "Terms: for research" in printed.out and "Spanhol" in printed.out
    assert "3 of 3 images have the published size and sha256." in printed.out
    assert served.asked == ["", "bytes=200-"]
    assert {path.name for path in (tmp_path / "to").rglob("*") if path.is_file()} == set(NAMES)

    assert main(line) == 0  # a second time nothing is asked for
    assert "is complete; nothing was fetched" in capsys.readouterr().out
    assert len(served.asked) == 2


def test_a_missing_and_a_changed_image_are_named_and_mended(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {NAMES[0]: IMAGES[NAMES[0]], NAMES[1]: IMAGES[NAMES[1]][:-1] + b"!"}
    line = ["download", "breakhis", "--to", str(tmp_path), "--yes", "--from"]
    assert main([*line, server.put("/old.zip", Served(archive(wrong), etag='"old"'))]) == 1
    printed = capsys.readouterr()
    assert f"1 image missing, for example {NAMES[2]}." in printed.out
    assert f"  {BREAST}/{NAMES[1]}" in printed.out
    assert printed.err.rstrip().endswith("is not complete.")
    assert main([*line, server.put("/new.zip", Served(archive(IMAGES)))]) == 1  # a file of the same size was left
    (tmp_path / BREAST / NAMES[1]).unlink()
    assert main([*line, server.url("/new.zip")]) == 0


def test_an_archive_fetched_by_hand_is_unpacked_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine.zip"
    mine.write_bytes(archive(IMAGES))
    assert main(["download", "breakhis", "--to", str(tmp_path / "to"), "--yes", "--archive", str(mine)]) == 0
    assert mine.is_file()
    assert "the set is complete" in capsys.readouterr().out


@pytest.mark.parametrize("key", ["ucsb", "mini_ddsm"])
def test_a_set_without_an_open_address_says_where_it_is(
    key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["download", key, "--to", str(tmp_path / "to"), "--yes"]) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("dala: ") and "--archive FILE" in printed.err and "https://" in printed.err
    assert not (tmp_path / "to").exists()


def test_nothing_is_fetched_without_a_yes(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    served = Served(archive(IMAGES))
    line = ["download", "breakhis", "--to", str(tmp_path / "to"), "--from", server.put("/b.zip", served)]
    assert main(line) == 1
    printed = capsys.readouterr()
    assert "Terms:" in printed.out and "accept the terms above with --yes" in printed.err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for answer in ("", "n", "maybe"):
        monkeypatch.setattr("builtins.input", lambda question, answer=answer: answer)
        assert main(line) == 1
    assert served.asked == []
    monkeypatch.setattr("builtins.input", lambda question: " Y ")
    assert main(line) == 0


def test_wrong_calls(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DALA_SAMPLES", raising=False)
    line = ["download", "tnbc", "--to", str(tmp_path), "--archive", "a.zip", "--from", "https://example.org"]
    assert main(line) == 2
    assert main(["samples", "--yes"]) == 2
    assert main(["samples", "--to", str(tmp_path)]) == 1
    assert "accept the terms above with --yes" in capsys.readouterr().err
