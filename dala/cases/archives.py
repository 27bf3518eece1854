"""ZIP files of cases that are written and read with bounds: what exports and backups share."""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from dala.cases.images import NAME, Images
from dala.cases.kept import LARGEST_IMAGE
from dala.errors import CaseError, DalaError
from dala.files import replacing

MANIFEST, IMAGES = "manifest.json", "images"
LARGEST_JSON = 256 * 2**20  # bytes of one member that is read in one piece
MOST_VALUES = 5_000_000  # in one of them: small values take far more memory than they have characters
MOST_MEMBERS = 500_000
MEMBER, PIECE = b"PK\x01\x02", 2**20  # how a member begins in the directory at the end
DAMAGE = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, struct.error, EOFError),
    *(LookupError, TypeError, ValueError, AttributeError, NotImplementedError, RuntimeError),
)


@contextmanager
def writing(to: Path | IO[bytes]) -> Iterator[zipfile.ZipFile]:
    """An archive to write: a file that is whole or absent, or into a file that is open."""
    if isinstance(to, Path):
        with replacing(to) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            partial.chmod(0o600)
            yield archive
    else:
        with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:
            yield archive


@contextmanager
def reading(source: Path | IO[bytes], kind: str) -> Iterator[tuple[zipfile.ZipFile, dict[str, Any]]]:
    """An archive of this kind and its manifest; CaseError for anything else, and for damage met in the block."""
    try:
        if not isinstance(source, Path) and _members(source) > MOST_MEMBERS:
            raise CaseError("This ZIP has more members than any that dala writes.")
        with zipfile.ZipFile(source) as archive:
            manifest = read_json(archive, MANIFEST)
            if not isinstance(manifest, dict) or manifest.get("kind") != kind or manifest.get("format") != 1:
                raise CaseError(f"This ZIP is no {kind} of cases that this version of dala reads.")
            yield archive, manifest
    except FileNotFoundError as error:
        raise CaseError(f"There is no file {error.filename}.") from error
    except IsADirectoryError as error:
        raise CaseError(f"{error.filename} is a folder, not a ZIP file with an export or backup of cases.") from error
    # Damage shows itself as many errors, and a member or key that is missing or of another type as still others.
    except DAMAGE as error:
        if isinstance(error, DalaError):
            raise
        raise CaseError(f"This is no {kind} of cases, or it is damaged.") from error


def _members(file: IO[bytes]) -> int:
    """At least how many members the directory names, before all of it is read into memory."""
    count, end = 0, b""
    file.seek(0)
    while piece := file.read(PIECE):
        count += (end + piece).count(MEMBER)
        end = piece[1 - len(MEMBER) :]
    file.seek(0)
    return count


def read_json(archive: zipfile.ZipFile, name: str) -> Any:
    """A member that is JSON, of bounded size and with so many values at most."""
    if archive.getinfo(name).file_size > LARGEST_JSON:
        raise CaseError("A member of this archive is larger than any that dala writes.")
    text = archive.read(name)
    if sum(map(text.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise CaseError("A member of this archive holds more values than any that dala writes.")
    return json.loads(text)


def write_image(archive: zipfile.ZipFile, images: Images, sha256: str) -> None:
    """Copy the bytes of an image into an archive, uncompressed; StoreError where they are missing or damaged."""
    archive.writestr(zipfile.ZipInfo(f"{IMAGES}/{sha256}"), images.get(sha256), zipfile.ZIP_STORED)


def read_image(archive: zipfile.ZipFile, sha256: str) -> bytes:
    """The bytes of an image; CaseError where there are none of this name or others than it says."""
    if not isinstance(sha256, str) or NAME.fullmatch(sha256) is None:
        raise CaseError("The archive names an image by something else than its sha256.")
    if archive.getinfo(f"{IMAGES}/{sha256}").file_size > LARGEST_IMAGE:
        raise CaseError("An image of this archive is larger than any that is kept.")
    data = archive.read(f"{IMAGES}/{sha256}")
    if hashlib.sha256(data).hexdigest() != sha256:
        raise CaseError("An image of this archive is damaged or altered.")
    return data
