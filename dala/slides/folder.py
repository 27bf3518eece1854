"""Which slides there are below files and folders, by name; nothing that anybody sends becomes a path."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
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
    MIRAX slide is that slide's; of the files of a DICOM series only one is listed.
    """
    return [Listed(path.relative_to(folder).as_posix(), path) for path in _walk(folder)]


def find(folder: Path, name: str) -> Path:
    """The slide of that name below a folder; raises SlideError ("absent") for any name that is not listed there."""
    for one in slides_in(folder):
        if one.name == name:
            return one.path
    raise SlideError("absent", f"There is no slide {who_is(name)} in the folder.")


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
        inside = slides_in(given) if given.is_dir() else [Listed(given.name, given)]
        if not inside:
            known = ", ".join(SUFFIXES)
            raise SlideError("empty_folder", f"There are no slides in {who_is(given.name or str(given))} ({known}).")
        for one in inside:
            place = one.path.resolve()
            if place in places:
                continue
            name, number = one.name, 1
            while name in names:
                number += 1
                name = f"{one.name}~{number}"
            names.add(name)
            places.add(place)
            found.append(Listed(name, one.path))
    return found


def shard(slides: Sequence[Listed], number: int, of: int) -> list[Listed]:
    """The part `number`, from 1, of `of` parts: every slide is in one of them."""
    return list(slides[number - 1 :: of])


def _walk(folder: Path) -> Iterator[Path]:
    for where, folders, files in os.walk(folder):
        slides = sorted(name for name in files if not name.startswith(".") and name.lower().endswith(SUFFIXES))
        theirs = {name[: -len(".mrxs")] for name in slides if name.lower().endswith(".mrxs")}
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in theirs)
        place = Path(where)
        dicom = [place / name for name in slides if name.lower().endswith(DICOM)]
        chosen = set(_of_series(dicom)) if len(dicom) > 1 else set(dicom)
        for name in slides:
            path = place / name
            if path.is_file() and (path in chosen or not name.lower().endswith(DICOM)):
                yield path


def _of_series(paths: list[Path]) -> list[Path]:
    """Of the files of every DICOM series the largest image of tissue; one that is no DICOM stands for itself."""
    from pydicom import dcmread

    tags = ["SeriesInstanceUID", "ImageType", "TotalPixelMatrixColumns"]
    best: dict[str, tuple[int, Path]] = {}
    for path in paths:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what the header does not keep to
                head = dcmread(path, stop_before_pixels=True, specific_tags=tags)
            kind = {str(word) for word in head.get("ImageType") or ()}
            series, width = str(head.get("SeriesInstanceUID") or path), int(head.get("TotalPixelMatrixColumns") or 0)
        except Exception:  # it will say why when it is opened
            kind, series, width = set(), str(path), 0
        if kind.isdisjoint(NOT_THE_SLIDE) and width >= best.get(series, (-1, path))[0]:
            best[series] = (width, path)
    return [path for _, path in best.values()]
