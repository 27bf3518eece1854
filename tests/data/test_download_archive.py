"""Unpacking: every format, going on, and archives that would write where they should not."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from dala.data.download_archive import unpack
from dala.errors import DataError

FILES = {"set/images/a.png": b"a" * 1000, "set/b.txt": b"b", "set/empty": b""}
LITTER = {"__MACOSX/set/._a.png": b"x", "set/._b.txt": b"x", "set/.DS_Store": b"x"}


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("set/"), b"")
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, files: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        folder = tarfile.TarInfo("set")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


MAKERS = {
    "zip": zipped,
    "tar": lambda path, files: tarred(path, files, "w"),
    "gz": tarred,
    "bz2": lambda path, files: tarred(path, files, "w:bz2"),
    "xz": lambda path, files: tarred(path, files, "w:xz"),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_every_format_is_unpacked_without_what_a_mac_leaves(kind: str, tmp_path: Path) -> None:
    archive = MAKERS[kind](tmp_path / "a.archive", {**FILES, **LITTER})
    told: list[tuple[int, int]] = []
    written = unpack(archive, tmp_path / "to", 10_000, lambda done, total: told.append((done, total)))
    assert contents(tmp_path / "to") == FILES
    assert [path.relative_to(tmp_path / "to").as_posix() for path in written] == list(FILES)
    size = archive.stat().st_size
    assert told[-1] == (size, size)
    assert all(done <= total == size for done, total in told)


def test_what_is_there_is_left_and_what_is_torn_is_written_again(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", FILES)
    whole, torn = tmp_path / "to/set/images/a.png", tmp_path / "to/set/b.txt"
    unpack(archive, tmp_path / "to", 10_000)
    os.utime(whole, (1, 1))
    torn.write_bytes(b"")
    unpack(archive, tmp_path / "to", 10_000)
    assert whole.stat().st_mtime == 1
    assert contents(tmp_path / "to") == FILES


@pytest.mark.parametrize("kind", ["zip", "gz"])
@pytest.mark.parametrize(
    "name",
    ["../out.txt", "set/../../out.txt", "/out.txt", "..\\out.txt", "C:/out.txt", "set/..", "a\nb"],
    ids=["up", "up-inside", "absolute", "backslash", "drive", "folder-up", "line-break"],
)
def test_nothing_is_written_outside(kind: str, name: str, tmp_path: Path) -> None:
    archive = MAKERS[kind](tmp_path / "a.archive", {"set/good.txt": b"good", name: b"bad"})
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match="would lie outside the folder"):
        unpack(archive, tmp_path / "in" / "to", 10_000)
    assert contents(tmp_path / "in") == {"to/set/good.txt": b"good"}
    assert not (tmp_path / "out.txt").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_of_a_tar_are_refused(kind: bytes, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        entry = tarfile.TarInfo("set/link")
        entry.type, entry.linkname = kind, "../../secret"
        archive.addfile(entry)
        inside = tarfile.TarInfo("set/link/out.txt")
        inside.size = 3
        archive.addfile(inside, io.BytesIO(b"bad"))
    with pytest.raises(DataError, match="a link or a device"):
        unpack(tmp_path / "a.tar", tmp_path / "to", 10_000)
    assert not (tmp_path / "to").exists()


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("set/link")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc")
    with pytest.raises(DataError, match="a link or a device"):
        unpack(tmp_path / "a.zip", tmp_path / "to", 10_000)
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize("kind", ["zip", "gz"])
def test_a_bomb_is_refused_by_what_it_says(kind: str, tmp_path: Path) -> None:
    archive = MAKERS[kind](tmp_path / "a.archive", {"set/zeros": bytes(5_000_000)})
    assert archive.stat().st_size < 10_000
    with pytest.raises(DataError, match=r"would unpack to more than 0\.0 GB"):
        unpack(archive, tmp_path / "to", 1_000_000)
    assert contents(tmp_path) == {"a.archive": archive.read_bytes()}


def test_a_zip_that_lies_about_a_size_writes_no_more_than_it_says(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"set/zeros": bytes(100_000)})
    content = bytearray(archive.read_bytes())
    said = (100_000).to_bytes(4, "little")
    assert content.count(said) == 2  # the entry's own head, and the list at the end
    archive.write_bytes(bytes(content).replace(said, (10).to_bytes(4, "little")))
    with pytest.raises(DataError):
        unpack(archive, tmp_path / "to", 1000)
    assert contents(tmp_path / "to") == {}


def test_a_name_twice_is_refused(tmp_path: Path) -> None:
    archive = tarred(tmp_path / "a.tar.gz", {"set/A.png": b"one", "set/a.png": b"two"})
    with pytest.raises(DataError, match="twice"):
        unpack(archive, tmp_path / "to", 1000)


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_torn_archive_is_a_sentence(kind: str, share: float, tmp_path: Path) -> None:
    noise = {f"set/{n}": os.urandom(20_000) for n in range(4)}
    archive = MAKERS[kind](tmp_path / "a.archive", noise)
    archive.write_bytes(archive.read_bytes()[: int(share * archive.stat().st_size)])
    with pytest.raises(DataError, match=r"damaged|neither"):
        unpack(archive, tmp_path / "to", 1_000_000)
    assert all(contents(tmp_path / "to")[f"{name}"] == noise[name] for name in contents(tmp_path / "to"))


def test_a_changed_byte_in_a_zip_is_a_sentence(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"set/noise": os.urandom(20_000)})
    content = bytearray(archive.read_bytes())
    content[10_000] ^= 1
    archive.write_bytes(bytes(content))
    with pytest.raises(DataError, match="damaged"):
        unpack(archive, tmp_path / "to", 1_000_000)
    assert contents(tmp_path / "to") == {}


def test_no_archive_is_a_sentence(tmp_path: Path) -> None:
    for content in (b"", b"This is a letter.\n" * 99):
        (tmp_path / "a.zip").write_bytes(content)
        with pytest.raises(DataError, match="neither a ZIP nor a TAR"):
            unpack(tmp_path / "a.zip", tmp_path / "to", 1000)
