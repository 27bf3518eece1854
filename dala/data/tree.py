"""What every data set on disk has in common: found, scanned, compared with itself, read, and told in a report."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dala.data.pixels import Progress, in_order, read_rgb
from dala.errors import DataError
from dala.words import counted

LISTED = 20  # problems that the readable report lists one by one
PROBE = 65_536  # bytes from the middle of a file that tell most images apart
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"}


class Record(Protocol):
    """One image of a data set, whatever else is known of it."""

    @property
    def path(self) -> Path: ...

    @property
    def name(self) -> str: ...


R = TypeVar("R", bound=Record)
Seen = TypeVar("Seen")


@dataclass(frozen=True, eq=False)
class Dataset(Generic[R]):
    """Images in a fixed order, labels (N,) int64 into `classes`, groups (N,) str that stand for patients, the
    laboratory (or scanner) of each image (N,) str, and notes on what was left out."""

    root: Path
    records: tuple[R, ...]
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    groups: NDArray[np.str_]
    laboratories: NDArray[np.str_]
    notes: tuple[str, ...]


def dataset(
    base: Path,
    records: Sequence[R],
    classes: tuple[str, ...],
    told: Callable[[R], tuple[int, str, str]],
    notes: Sequence[str],
) -> Dataset[R]:
    """A data set of records in their order; `told` gives label, group and laboratory of each."""
    labels, groups, laboratories = zip(*map(told, records), strict=True)
    return Dataset(
        base,
        tuple(records),
        classes,
        np.array(labels, dtype=np.int64),
        np.array(groups, dtype=np.str_),
        np.array(laboratories, dtype=np.str_),
        tuple(notes),
    )


@dataclass(frozen=True)
class Problem:
    """A file that is left out, by its path below the root, and why."""

    path: str
    reason: str

    @property
    def note(self) -> str:
        return f"{self.path} is left out: {self.reason}"


@dataclass(frozen=True)
class Report:
    """What a tree holds beside what the official one holds.

    counts and official: readable and published images by whatever tells them apart. problems: files that cannot be
    used. copies: names of files that hold the same image. sizes: images by (width, height).
    """

    root: Path
    counts: Mapping[Any, int]
    official: Mapping[Any, int]
    problems: tuple[Problem, ...]
    copies: tuple[tuple[str, ...], ...]
    sizes: Mapping[tuple[int, int], int]

    @property
    def found(self) -> int:
        return sum(self.counts.values())

    @property
    def complete(self) -> bool:
        """Whether every official image is there and readable: all counts as published, no file with a problem."""
        return not self.problems and all(self.counts.get(key, 0) == count for key, count in self.official.items())

    def headline(self, title: str, word: str = "official") -> list[str]:
        """Where the tree is, and how many of its images are there."""
        state = "the set is complete." if self.complete else "the set is NOT complete."
        total = sum(self.official.values())
        return [f"{title} in {self.root}", f"{self.found:,} of {total:,} {word} images are there and readable: {state}"]

    def size_line(self, most: int | None = None) -> str:
        """Sizes with their counts, all by size, or the `most` frequent ones."""
        rows = sorted(self.sizes.items(), key=None if most is None else lambda item: -item[1])
        listed = ", ".join(f"{w}x{h} ({n:,})" for (w, h), n in rows[:most]) or "none"
        return f"Sizes: {listed}" + ("." if most is None or len(rows) <= most else f" and {len(rows) - most:,} more.")

    def problem_lines(self) -> list[str]:
        """What is left out and why, the first `LISTED` one by one."""
        if not self.problems:
            return []
        rest = len(self.problems) - LISTED
        return [
            f"{counted(len(self.problems), 'file')} left out:",
            *(f"  {problem.path}: {problem.reason}" for problem in self.problems[:LISTED]),
            *([f"  and {rest:,} more"] if rest > 0 else []),
        ]


def find_tree(root: Path, name: str, candidates: Callable[[Path], Collection[Path]]) -> Path | None:
    """The one tree of a data set at or below the root, None without one; DataError where the folder does not exist or
    holds several. `candidates` gives the trees below a root."""
    root = folder(root, name)
    trees = sorted(candidates(root))
    if len(trees) > 1:
        listed = ", ".join(str(tree.relative_to(root)) for tree in trees)
        raise DataError(f"{root} holds {len(trees)} {name} trees ({listed}); name one of them.")
    return trees[0] if trees else None


def folder(root: Path, name: str) -> Path:
    """The root of a data set without a tree of its own; DataError where it does not exist."""
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"The {name} folder {root} does not exist.")
    return root


def scan(base: Path, read: Callable[[Path], R | None]) -> tuple[list[R], list[Problem]]:
    """Every image file below the base, sorted by file name, as a record or as a problem.

    `read` makes a record of a path; None passes a file over, DataError says what is wrong with it. Of two records with
    one name the second is a problem.
    """
    records: dict[str, R] = {}
    problems: list[Problem] = []
    files = [
        path
        for path in base.rglob("*")
        # "._NAME.png" are leftovers of archives made on a Mac, not images.
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]
    for path in sorted(files, key=lambda path: (path.name, path.as_posix())):
        try:
            record = read(path)
            if record is None:
                continue
            if record.name in records:
                first = records[record.name].path.relative_to(base).as_posix()
                raise DataError(f"A file of the same name is at {first}.")
            records[record.name] = record
        except DataError as error:
            problems.append(Problem(path.relative_to(base).as_posix(), str(error)))
    return list(records.values()), problems


def read_all(
    base: Path, found: Sequence[R], see: Callable[[Image.Image], Seen], progress: Progress | None
) -> tuple[dict[int, Seen], list[Problem], Counter[tuple[int, int]]]:
    """Decode every image: what `see` makes of the readable ones by their place in `found`, problems, and sizes.

    `progress(done, total)` is called after every image.
    """

    def one(record: R) -> tuple[Seen, tuple[int, int]] | str:
        try:
            image = read_rgb(record.path)
        except DataError as error:
            reason = str(error).removeprefix(f"{record.path} ")
            return reason[:1].upper() + reason[1:]
        return see(image), image.size

    readable, problems, sizes = {}, [], Counter[tuple[int, int]]()
    for index, result in enumerate(in_order(one, found, progress)):
        if isinstance(result, str):
            problems.append(Problem(found[index].path.relative_to(base).as_posix(), result))
        else:
            readable[index] = result[0]
            sizes[result[1]] += 1
    return readable, problems, sizes


def same_bytes(records: Iterable[R]) -> list[tuple[R, ...]]:
    """Sets of records with the same bytes.

    Only files of equal length are opened, and of those first a piece from the middle: official images may be
    uncompressed and all of one length, so that hashing them whole would take minutes.
    """
    copies: list[tuple[R, ...]] = []
    for alike in _alike(records, lambda path: path.stat().st_size):
        for middle in _alike(alike, _middle):
            copies.extend(tuple(same) for same in _alike(middle, _whole))
    return copies


def used_once(
    records: Sequence[R], copies: Iterable[tuple[R, ...]], said: Callable[[R], object]
) -> tuple[list[R], list[tuple[R, ...]], list[tuple[R, ...]]]:
    """The records that are left when copies are used once, or not at all where what is `said` of them differs; the sets
    of copies that agree, and of those that do not."""
    sets = list(copies)
    alike = [same for same in sets if len({said(record) for record in same}) == 1]
    unlike = [same for same in sets if same not in alike]
    dropped = {record.path for same in alike for record in same[1:]} | {
        record.path for same in unlike for record in same
    }
    return [record for record in records if record.path not in dropped], alike, unlike


def usable(
    base: Path,
    name: str,
    scanned: tuple[Sequence[R], Sequence[Problem]],
    classes: tuple[str, ...],
    told: Callable[[R], tuple[int, str, str]],
    said: Callable[[R], object],
    notes: Sequence[str] = (),
) -> Dataset[R]:
    """The data set of what was scanned, each image once; what is left out, and why, in its notes.

    Copies (the same bytes) are used once, or not at all where what is `said` of them differs. Raises DataError if
    nothing is left.
    """
    found, problems = scanned
    records, once, never = used_once(found, same_bytes(found), said)
    told_of = [*(problem.note for problem in problems), *notes]
    for words, sets in {
        "the same image and used once": once,
        "left out: the same image under different labels or patients": never,
    }.items():
        told_of += [f"{' and '.join(record.path.name for record in same)} are {words}." for same in sets]
    if not records:
        raise DataError(f"There is no usable {name} image in {base}.")
    return dataset(base, records, classes, told, told_of)


def _alike(records: Iterable[R], key: Callable[[Path], object]) -> list[list[R]]:
    """The records whose files have the same key, where that are two or more."""
    sets: dict[object, list[R]] = defaultdict(list)
    for record in records:
        sets[key(record.path)].append(record)
    return [members for members in sets.values() if len(members) > 1]


def _middle(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, (path.stat().st_size - PROBE) // 2))
        return hashlib.sha256(file.read(PROBE)).digest()


def _whole(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
