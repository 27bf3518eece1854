"""Which slides there are below files and folders, by name; nothing that anybody sends becomes a path."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from dala.errors import SlideError
from dala.intake.image import who_is

SUFFIXES = (
    *(".svs", ".tif", ".tiff", ".ndpi", ".vms", ".vmu", ".scn", ".mrxs"),
    *(".svslide", ".bif", ".czi", ".dcm"),
)
DICOM = ".dcm"
NOT_THE_SLIDE = ("LABEL", "OVERVIEW", "THUMBNAIL", "LOCALIZER")  # images of a DICOM series that are beside it


@dataclass(frozen=True)
class Listed:
    """A slide by its `name`, which is its path below the folder that was given, with "/" between the parts."""

    name: str
    path: Path


def slides_in(folder: Path) -> list[Listed]:
    """The slides below a folder by their suffixes, sorted by name; none of them is opened.

    Links to files count, links to folders are not followed, and hidden names are left out. What lies in the folder of a
    MIRAX slide is that slide's; of the files of a DICOM series only one is listed. Folders that may not be read are
    passed over.
    """
    return list(found_in(folder))


def found_in(folder: Path) -> Iterator[Listed]:
    """As `slides_in`, one after another as they are found."""
    start, names = len(os.path.join(folder, "")), set[str]()
    for path in _walk(folder):
        yield Listed(_told_apart(readable(path[start:].replace(os.sep, "/")), names), Path(path))


def readable(name: str) -> str:
    """A file's name as text: what is no UTF-8 in it, and what would break a line, is replaced."""
    text = os.fsencode(name).decode("utf-8", "replace")
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


def _told_apart(name: str, names: set[str]) -> str:
    """The name, with "~2" and so on where it is taken; it is taken afterwards."""
    one, number = name, 1
    while one in names:
        number += 1
        one = f"{name}~{number}"
    names.add(one)
    return one


def listed(paths: Iterable[str | Path]) -> list[Listed]:
    """The slides of files and folders, in this order, each once; equal names are told apart by "~2".

    A file that is named outright is listed whatever its suffix. Raises SlideError for a path that does not exist
    ("absent") and for a folder without slides ("empty_folder").
    """
    found: list[Listed] = []
    names, places = set[str](), set[Path]()
    for given in map(Path, paths):
        if not given.exists():
            raise SlideError("absent", f"{who_is(given.name or str(given))} does not exist.")
        inside = slides_in(given) if given.is_dir() else [Listed(readable(given.name), given)]
        if not inside:
            known = ", ".join(SUFFIXES)
            raise SlideError("empty_folder", f"There are no slides in {who_is(given.name or str(given))} ({known}).")
        for one in inside:
            place = one.path.resolve()
            if place in places:
                continue
            places.add(place)
            found.append(Listed(_told_apart(one.name, names), one.path))
    return found


def shard(slides: Sequence[Listed], number: int, of: int) -> list[Listed]:
    """The part `number`, from 1, of `of` parts: every slide is in one of them."""
    return list(slides[number - 1 :: of])


def _walk(folder: Path) -> Iterator[str]:
    """Paths of slides, those of a folder before those of the folders in it. A disk far away answers once a folder, not
    once a file: only links are looked at."""
    waiting = [os.fspath(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as found:
                entries = sorted((one for one in found if not one.name.startswith(".")), key=_order)
        except OSError:
            continue
        slides = [one for one in entries if one.name.lower().endswith(SUFFIXES) and _is_file(one)]
        theirs = {one.name[: -len(".mrxs")] for one in slides if one.name.lower().endswith(".mrxs")}
        waiting += [
            one.path for one in reversed(entries) if one.name not in theirs and one.is_dir(follow_symlinks=False)
        ]
        dicom = [one.path for one in slides if one.name.lower().endswith(DICOM)]
        beside = set(dicom) - set(_of_series(dicom)) if len(dicom) > 1 else set[str]()
        yield from (one.path for one in slides if one.path not in beside)


def _order(entry: os.DirEntry[str]) -> tuple[str, str]:
    """As people look names up: capital and small letters together."""
    return entry.name.casefold(), entry.name


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Of a link: what it leads to."""
    try:
        return entry.is_file()
    except OSError:  # such as a link to itself
        return False


def _of_series(paths: list[str]) -> list[str]:
    """Of the files of every DICOM series the largest image of tissue; one that is no DICOM stands for itself."""
    best: dict[str, tuple[int, str]] = {}
    for path in paths:
        try:
            about = os.stat(path)
        except OSError:
            continue
        series, width, beside = _head(path, about.st_size, about.st_mtime_ns)
        if not beside and width >= best.get(series, (-1, path))[0]:
            best[series] = (width, path)
    return [path for _, path in best.values()]


@lru_cache(maxsize=2**17)
def _head(path: str, size: int, changed: int) -> tuple[str, int, bool]:
    """Of a DICOM file of this size that was changed then: its series and width, and whether it is beside a slide."""
    from pydicom import dcmread

    tags = ["SeriesInstanceUID", "ImageType", "TotalPixelMatrixColumns"]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what the header does not keep to
            head = dcmread(path, stop_before_pixels=True, specific_tags=tags)
        kind = {str(word) for word in head.get("ImageType") or ()}
        series, width = str(head.get("SeriesInstanceUID") or path), int(head.get("TotalPixelMatrixColumns") or 0)
    except Exception:  # it will say why when it is opened
        return path, 0, False
    return series, width, not kind.isdisjoint(NOT_THE_SLIDE)
