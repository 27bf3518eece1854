"""An open slide: its size and pixel size, its fields of view as patches, its tiles for a viewer, its overview.

    with open_slide("slide.svs") as slide:
        patch = slide.read_field(*slide.grid.at(12_000, 8_000))  # what a click shows is what a scan judges
        tile = slide.read_tile(slide.halvings, 0, 0)  # the whole slide in 256 px

Coordinates are pixels of level 0 of what was scanned, as in QuPath: where a file says that only a part of its frame
was, (0, 0) is that part's corner.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from dala.errors import SlideError
from dala.intake.image import who_is
from dala.intake.patch import Patch
from dala.intake.pixel_size import FILE, USER, GivenSize, PixelSize, given
from dala.slides.folder import readable
from dala.slides.grid import Box, Grid
from dala.slides.overviews import kept
from dala.slides.sources import FORMATS, Source, opener, out_of_reach
from dala.slides.tiled import Pixels, Unreadable

RANGE_UM = (0.05, 2.0)  # of a slide's pixel; what a file states outside of it is another unit or a default
FIELD_UM = (245.0, 161.0)  # width and height of a field, as the served weights see it
LEVEL_UM, COARSEST_UM = 0.575, 0.72  # a field is read from the coarsest level up to the first, or not beyond the second
TILE = 256
OVERVIEW_UM, OVERVIEW_SHRINK = 8.0, 16.0  # the second where the pixel size is not known
MISSHAPEN = 0.2  # by how much a level's sides may differ from those of the first
LARGEST_OVERVIEW = 2**27  # pixels; at `OVERVIEW_UM` more than 100 x 75 mm of glass
CACHE = 64 * 2**20  # bytes of decoded tiles: those around a field or a view, which is all that is asked for again soon
LARGEST_READ = 2048  # pixels of a level, a side, that are decoded at once
FLAT = 16_384  # pixels of the coarsest level's longer side
SMALLEST_LOSS, MOST_FAILURES = 16, 200  # pixels of the overview; each failure opens the file anew
SAMPLES, SAMPLE = 16, 2**16  # of a file, and their bytes, that tell one slide from another

FORMATS_IN_WORDS = FORMATS | {"ome": "OME-TIFF"}
PROFILE = "The embedded colour profile was not applied; colours are the stored numbers."


@dataclass(frozen=True)
class Level:
    """A level of the pyramid: what was scanned in pixels of the level, and its pixels' distance in those of level 0."""

    width: int
    height: int
    downsample: float


@dataclass(frozen=True, eq=False)
class Overview:
    """The whole slide, small: (h, w, 3) uint8 RGB; bool (h, w) where anything was scanned; pixels of level 0 per pixel
    (x, y); bool (h, w) where nothing could be read, which is white and not `scanned`, None for nowhere."""

    pixels: Pixels
    scanned: NDArray[np.bool_]
    downsample: tuple[float, float]
    unreadable: NDArray[np.bool_] | None = None


class Slide:
    """A slide that is open; made by `open_slide`. Any number of threads may read at once.

    path, name   the file, and its name
    format       in words, such as "Aperio SVS"
    size         (width, height) of what was scanned, in pixels of level 0
    um           the pixel size with its source, "file" or "user"; None where neither tells one
    levels       the pyramid, finest first
    notes        sentences for whoever sees pixels of it
    """

    def __init__(self, path: Path, um: PixelSize | None, open_again: Callable[[], Source]) -> None:
        self.path, self.name = path, readable(path.name)
        self._open, self._lock, self._making = open_again, Lock(), Lock()
        self._overview: Overview | None = None
        self._stamp = _stamp(path)
        self._source: Source | None = open_again()
        source = self._source
        self._left, self._top, *size = source.bounds
        self.size = (size[0], size[1])
        self.format = FORMATS_IN_WORDS.get(source.format, source.format)
        self._stated = source.um
        self.um = um if um is not None else _believed(source.um)
        self.levels = tuple(
            Level(max(1, round(size[0] / down)), max(1, round(size[1] / down)), down) for down in source.downsamples
        )
        self.notes = (PROFILE,) if source.profile else ()
        if not _alike(source.levels):
            raise SlideError("damaged", f"{who_is(self.name)} is damaged: its levels do not show the same.")
        if math.prod(self._overview_size) > LARGEST_OVERVIEW:
            raise SlideError("too_large", self._too_large())

    def __enter__(self) -> Slide:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; reads that are under way end, later ones raise SlideError."""
        self._source = None

    def check(self) -> None:
        """SlideError where the file is no longer the one that was opened ("changed"), or is out of reach ("absent")."""
        try:
            same = _stamp(self.path) == self._stamp
        except OSError as error:
            raise out_of_reach(self.path) from error
        if not same:
            raise SlideError("changed", f"{who_is(self.name)} was changed since it was opened: open or scan it again.")

    @cached_property
    def fingerprint(self) -> str:
        """A digest of samples of the file, and of the files that belong to it: tells slides apart, and changed ones."""
        digest = hashlib.sha256()
        folder = self.path.with_suffix("")
        others = sorted(folder.iterdir()) if self.path.suffix.lower() == ".mrxs" else []
        for path in [self.path, *(other for other in others if other.is_file())]:
            length = path.stat().st_size
            digest.update(f"{length}\n".encode())
            with path.open("rb") as file:
                for number in range(SAMPLES):
                    file.seek(max(0, length - SAMPLE) * number // (SAMPLES - 1))
                    digest.update(file.read(SAMPLE))
        return digest.hexdigest()

    # Fields of view

    @property
    def field_level(self) -> int:
        """The number of the level that fields are read from: the coarsest with pixels of at most `LEVEL_UM`.

        Raises SlideError without a pixel size ("no_pixel_size"), or where level 0 is coarser than `COARSEST_UM`
        ("too_coarse").
        """
        size = self.known_um()
        coarsest = max(size.rows, size.columns)
        if coarsest > COARSEST_UM:
            raise SlideError(
                "too_coarse",
                f"{who_is(self.name)} is too coarse: its pixels are {coarsest:.3g} um apart, at most {COARSEST_UM:g} "
                "are needed to see nuclei.",
            )
        fit = [number for number, level in enumerate(self.levels) if coarsest * level.downsample <= LEVEL_UM]
        return max(fit, key=lambda number: self.levels[number].downsample, default=0)

    def known_um(self) -> PixelSize:
        """The pixel size; raises SlideError ("no_pixel_size") where there is none: it is asked for, never guessed."""
        if self.um is None:
            said = "does not say how large its pixels are"
            if self._stated is not None:
                rows, columns = self._stated
                size = f"{columns:.3g}" if rows == columns else f"{columns:.3g} x {rows:.3g}"
                said = f"says that its pixels are {size} um large, which no scanner's are"
            raise SlideError("no_pixel_size", f"{who_is(self.name)} {said}: state the micrometres per pixel.")
        return self.um

    @property
    def grid(self) -> Grid:
        """The fields of view; raises as `field_level`."""
        step, um = self.levels[self.field_level].downsample, self.known_um()
        return Grid(self.size, (FIELD_UM[0] / um.columns, FIELD_UM[1] / um.rows), step)

    def read_field(self, column: int, row: int) -> Patch:
        """A field of view as a patch at the slide's scale, for `dala.opinion.opinion_of` or a scan.

        Raises SlideError where that part of the file is damaged ("damaged"), and as `field_level`.
        """
        number, um = self.field_level, self.known_um()
        level = self.levels[number]
        left, top, right, bottom = self.grid.box(column, row)
        width, height = (max(1, round(length / level.downsample)) for length in (right - left, bottom - top))
        pixels, _ = self._read(number, left, top, width, height)
        pixels.flags.writeable = False
        return Patch(
            pixels,
            hashlib.sha256(pixels.tobytes()).hexdigest(),
            f"field {column + 1}, {row + 1}",
            "slide",
            self.notes,
            PixelSize(um.rows * level.downsample, um.columns * level.downsample, um.source, um.told),
        )

    # What people look at

    @property
    def flat(self) -> bool:
        """Whether it lacks a pyramid, so that the first look at all of it takes long: some 40 s."""
        coarsest = max(level.downsample for level in self.levels)
        return max(self.size) / coarsest > FLAT

    @property
    def slow(self) -> bool:
        """Whether a tile may take as long as that first look, which nobody has had yet."""
        return self.flat and self._overview is None

    @property
    def halvings(self) -> int:
        """How often the slide must be halved until it fits into one tile."""
        return max(0, math.ceil(math.log2(max(self.size) / TILE)))

    def read_tile(self, halvings: int, column: int, row: int) -> Pixels:
        """A tile of the slide halved so often, (h, w, 3) uint8 RGB, `TILE` px a side, less at the right and lower edge.

        Raises IndexError for a tile that is not on the slide, SlideError ("damaged") for one that cannot be read.
        """
        side = TILE << halvings if 0 <= halvings <= self.halvings else 0
        left, top = column * side, row * side
        if not side or column < 0 or row < 0 or left >= self.size[0] or top >= self.size[1]:
            raise IndexError(f"there is no tile ({column}, {row}) at {halvings} halvings")
        right, bottom = min(left + side, self.size[0]), min(top + side, self.size[1])
        size = (-((left - right) >> halvings), -((top - bottom) >> halvings))
        level = self.levels[self._level_for(2.0**halvings)]
        if 2.0**halvings > 4 * level.downsample * LARGEST_READ / TILE:  # no pyramid: it would take seconds
            return self._of_overview((left, top, right, bottom), size)
        made = self._overview  # where it is there, whole and as fine, nothing need be decoded
        if made is not None and made.unreadable is None and 2.0**halvings >= max(made.downsample):
            return self._of_overview((left, top, right, bottom), size)
        return self.read_box((left, top, right, bottom), size)[0]

    def read_box(self, box: Box, size: tuple[int, int]) -> tuple[Pixels, NDArray[np.bool_]]:
        """What lies in `box` (left, top, right, bottom; pixels of level 0) as (height, width, 3) RGB of `size` (width,
        height), by the mean over each pixel's area; and where anything was scanned. Raises SlideError ("damaged")."""
        left, top, right, bottom = box
        shrink = min((right - left) / size[0], (bottom - top) / size[1])
        number = self._level_for(shrink)
        down = self.levels[number].downsample
        width, height = (max(1, round(length / down)) for length in (right - left, bottom - top))
        pixels, scanned = self._read(number, left, top, width, height)
        if (width, height) != size:
            pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
        if scanned is None:
            return pixels, np.ones(size[::-1], bool)
        shares = cv2.resize(scanned.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA)
        return pixels, np.asarray(shares > 127)

    @property
    def overview(self) -> Overview:
        """The slide at about `OVERVIEW_UM` per pixel, from its own levels; made once, by whoever asks first, and kept.

        A damaged part is quartered, down to `SMALLEST_LOSS` pixels. Without a pyramid all of it is decoded, some 40 s,
        and the overview is kept on disk.
        """
        with self._making:  # of this slide alone: a cached property of Python 3.11 would hold up all slides
            if self._overview is None:
                self._overview = kept(self._key, self._made) if self.flat else self._made()
            return self._overview

    @property
    def _key(self) -> str:
        """Of the overview as it is kept: other files, and files that have changed, have another."""
        what = (self.fingerprint, self.path.stat().st_mtime_ns, self.size, self.um, OVERVIEW_UM, OVERVIEW_SHRINK)
        return hashlib.sha256(repr(what).encode()).hexdigest()[:32]

    @property
    def _overview_shrink(self) -> tuple[float, float]:
        """Pixels of level 0 for one of the overview (x, y), about."""
        um = self.um
        return (OVERVIEW_UM / um.columns, OVERVIEW_UM / um.rows) if um else (OVERVIEW_SHRINK, OVERVIEW_SHRINK)

    @property
    def _overview_size(self) -> tuple[int, int]:
        across, down = self._overview_shrink
        return max(1, round(self.size[0] / across)), max(1, round(self.size[1] / down))

    def _too_large(self) -> str:
        """What a damaged header says, or somebody who told a wrong pixel size."""
        (width, height), um = self.size, self.um
        if um is None:
            return f"{who_is(self.name)} says that it is {width:,} x {height:,} pixels large, which no slide is."
        return (
            f"{who_is(self.name)} would be {width * um.columns / 1000:,.0f} x {height * um.rows / 1000:,.0f} mm large, "
            "which no slide is: its size or its pixel size is wrong."
        )

    def _made(self) -> Overview:
        (across, down), (width, height) = self._overview_shrink, self._overview_size
        pixels, scanned = np.full((height, width, 3), 255, np.uint8), np.zeros((height, width), bool)
        lost, failures = np.zeros((height, width), bool), 0
        level = self.levels[self._level_for(min(across, down))]
        block = max(1, math.floor(LARGEST_READ * level.downsample / max(across, down)))
        parts = [
            (x, y, min(x + block, width), min(y + block, height))
            for y in range(0, height, block)
            for x in range(0, width, block)
        ][::-1]
        while parts:
            x0, y0, x1, y1 = parts.pop()
            across, down = self.size[0] / width, self.size[1] / height
            box = (round(x0 * across), round(y0 * down), round(x1 * across), round(y1 * down))
            part = (slice(y0, y1), slice(x0, x1))
            try:
                pixels[part], scanned[part] = self.read_box(box, (x1 - x0, y1 - y0))
            except SlideError as error:
                if error.name != "damaged":
                    raise
                failures += 1
                if max(x1 - x0, y1 - y0) <= SMALLEST_LOSS or failures > MOST_FAILURES:
                    lost[part] = True
                    continue
                x, y = (x0 + x1 + 1) // 2, (y0 + y1 + 1) // 2
                quarters = ((x0, y0, x, y), (x, y0, x1, y), (x0, y, x, y1), (x, y, x1, y1))
                parts += [one for one in quarters if one[2] > one[0] and one[3] > one[1]]
        downsample = (self.size[0] / width, self.size[1] / height)
        return Overview(pixels, scanned, downsample, lost if failures else None)

    def _of_overview(self, box: Box, size: tuple[int, int]) -> Pixels:
        overview = self.overview
        (across, down), (height, width) = overview.downsample, overview.pixels.shape[:2]
        left, top = min(int(box[0] / across), width - 1), min(int(box[1] / down), height - 1)
        right, bottom = max(left + 1, round(box[2] / across)), max(top + 1, round(box[3] / down))
        part = np.ascontiguousarray(overview.pixels[top:bottom, left:right])
        shrinks = part.shape[1] > size[0]
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(part, size, interpolation=how), np.uint8)

    def _level_for(self, shrink: float) -> int:
        """The coarsest level that is still as fine as asked for, within a hundredth."""
        fit = [number for number, level in enumerate(self.levels) if level.downsample <= 1.01 * shrink]
        return max(fit, key=lambda number: self.levels[number].downsample, default=0)

    def _read(self, level: int, x: int, y: int, width: int, height: int) -> tuple[Pixels, NDArray[np.bool_] | None]:
        """As `Source.read`, from what was scanned. An error ends an OpenSlide handle for good, for all who share it: a
        new one takes its place, and what was asked for is tried again by one that nobody shares."""
        x, y, source = x + self._left, y + self._top, self._source
        if source is None:
            raise SlideError("closed", f"{who_is(self.name)} has been closed.")
        try:
            return source.read(level, x, y, width, height)
        except Unreadable:
            self.check()  # what takes its place must be the same slide
        try:
            with self._lock:
                if self._source is source:
                    self._source = self._open()
            return self._open().read(level, x, y, width, height)
        except Unreadable as error:
            raise SlideError("damaged", f"A part of {who_is(self.name)} is damaged and cannot be read.") from error


def open_slide(path: str | Path, um: GivenSize | None = None, cache: int = CACHE) -> Slide:
    """Open the slide at `path`; `um`: micrometres per pixel of level 0, one number or (rows, columns), which a person
    tells in place of what the file states. `cache`: bytes of decoded tiles to keep.

    Raises SlideError, one sentence: absent, not a slide, damaged from the start, a compression that is not read, MIRAX
    without its folder, not bright field; IntakeError for a `um` that is none.
    """
    told = given(um)
    if told is not None and not all(RANGE_UM[0] <= side <= RANGE_UM[1] for side in (told.rows, told.columns)):
        raise SlideError(
            "no_pixel_size", f"The pixels of a slide are {RANGE_UM[0]:g} to {RANGE_UM[1]:g} micrometres apart."
        )
    path = Path(path)
    size = None if told is None else PixelSize(told.rows, told.columns, USER, "told")
    return Slide(path, size, opener(path, cache))


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _alike(levels: tuple[tuple[int, int], ...]) -> bool:
    """Whether all levels have the shape of the first, but for what rounding makes of a small one."""
    width, height = levels[0]
    return all(
        abs(math.log((width / wide) / (height / high))) <= math.log(1 + MISSHAPEN) + 2 / wide + 2 / high
        for wide, high in levels
    )


def _believed(stated: tuple[float, float] | None) -> PixelSize | None:
    """What the file states, if it is the distance of a scanner's pixels."""
    if stated is None or not all(RANGE_UM[0] <= side <= RANGE_UM[1] for side in stated):
        return None
    rows, columns = stated
    return PixelSize(rows, columns, FILE, "slide properties") if 0.5 <= rows / columns <= 2 else None
