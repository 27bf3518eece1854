"""What decodes a slide's pixels: OpenSlide, whose every refusal becomes one sentence. Nothing else of the file is read.

Label, macro, thumbnail, barcode and description are never asked for: they have other colours and another geometry, and
names stand on them.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from PIL import Image

from dala.errors import SlideError
from dala.intake.image import who_is
from dala.slides.folder import readable
from dala.slides.tiled import Region, TiledLevel, Unbelievable, Unreadable, directories_of, plain_tiles

# OpenSlide's vendors, in words.
FORMATS = {
    "aperio": "Aperio SVS",
    "dicom": "DICOM",
    "generic-tiff": "tiled TIFF",
    "hamamatsu": "Hamamatsu",
    "leica": "Leica SCN",
    "mirax": "3DHISTECH MIRAX",
    "philips": "Philips TIFF",
    "sakura": "Sakura SVSLIDE",
    "synthetic": "synthetic",
    "trestle": "Trestle",
    "ventana": "Ventana BIF",
    "zeiss": "Zeiss CZI",
}
COMPRESSIONS = {
    "5": "LZW",
    "7": "JPEG",
    "8": "Deflate",
    "33003": "JPEG 2000",
    "33005": "JPEG 2000",
    "34712": "JPEG 2000",
    "22610": "JPEG XR",
    "34934": "JPEG XR",
    "34887": "LERC",
    "34925": "LZMA",
    "50000": "Zstandard",
    "50001": "WebP",
    "50002": "JPEG XL",
    "52546": "JPEG XL",
}
CONVERTER = "`vips tiffsave IN OUT.tiff --tile --pyramid --compression jpeg` makes a copy that can be read"

# Pixels of one tile. OpenSlide ends the process where memory for one cannot be had; NDPI may hold a level in one piece.
LARGEST_TILE, LARGEST_PIECE = 4096**2, 2**28

PLAIN = ("aperio", "generic-tiff")  # formats of which a level is its tiles side by side, and nothing else
IN_TIFF = (*PLAIN, "leica", "philips", "trestle", "ventana")  # Hamamatsu's directories are their own


class Source(Protocol):
    """An open slide: sizes (width, height) of its levels, the finest first, their `downsamples` and the `bounds` (left,
    top, width, height) in pixels of level 0 outside which nothing was scanned. Threads may share it; after `Unreadable`
    it may be of no more use."""

    format: str
    levels: tuple[tuple[int, int], ...]
    downsamples: tuple[float, ...]
    bounds: tuple[int, int, int, int]
    um: tuple[float, float] | None  # (rows, columns) as the file states it
    profile: bool  # whether it holds a colour profile

    def read(self, level: int, x: int, y: int, width: int, height: int) -> Region:
        """(height, width, 3) RGB from (x, y), in pixels of level 0, and where anything was scanned, None everywhere."""
        ...


class OpenSlideSource:
    """A slide by OpenSlide; `cache`: bytes of decoded tiles to keep. Where tiles are plain, they are copied as
    `dala.slides.tiled` decodes them: the same numbers in a tenth of the time."""

    def __init__(self, path: Path, cache: int, who: str = "The slide", directories: Sequence[TiledLevel] = ()) -> None:
        import openslide

        self._slide = slide = openslide.OpenSlide(path)
        slide.set_cache(openslide.OpenSlideCache(cache))
        properties = slide.properties
        self.format = str(properties.get("openslide.vendor", ""))
        most = LARGEST_PIECE if self.format == "hamamatsu" else LARGEST_TILE
        if any(_tile(properties, level) > most for level in range(slide.level_count)):
            raise SlideError("layout", f"{who} is not stored in tiles of a usable size, or is damaged; {CONVERTER}.")
        self.levels = tuple(slide.level_dimensions)
        self.downsamples = tuple(slide.level_downsamples)
        self.bounds = self._bounds(properties)
        self.um = _stated(properties)
        # By this name alone: to parse a profile is to run a colour engine over untrusted bytes.
        self.profile = getattr(slide, "_profile", None) is not None
        self._tiles = plain_tiles(path, directories, self.levels, cache) if self.format in PLAIN else None
        self._background = "#" + properties.get("openslide.background-color", "ffffff")

    def read(self, level: int, x: int, y: int, width: int, height: int) -> Region:
        import openslide

        if self._tiles is not None:
            down = self.downsamples[level]
            with contextlib.suppress(Unreadable):  # what cannot be read or is not there has OpenSlide's answer
                return self._tiles.read(level, round(x / down), round(y / down), width, height)
        try:
            image = self._slide.read_region((x, y), level, (width, height))
        except openslide.OpenSlideError as error:
            raise Unreadable(str(error)) from error
        pixels = np.asarray(image)
        if pixels[..., 3].min() == 255:  # as nearly always; by PIL it takes four times as long
            return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB), np.uint8), None
        whole = Image.new("RGB", image.size, self._background)
        whole.paste(image, None, image.getchannel("A"))
        return np.asarray(whole), pixels[..., 3] > 127

    def _bounds(self, properties: Any) -> tuple[int, int, int, int]:
        width, height = self.levels[0]
        try:
            left, top, wide, high = (
                int(properties[f"openslide.bounds-{side}"]) for side in ("x", "y", "width", "height")
            )
        except (KeyError, ValueError):
            return 0, 0, width, height
        left, top = min(max(left, 0), width - 1), min(max(top, 0), height - 1)
        return left, top, max(1, min(wide, width - left)), max(1, min(high, height - top))


def _tile(properties: Any, level: int) -> int:
    """Pixels of a tile of a level; 0 where nothing is said of it."""
    try:
        return math.prod(int(properties[f"openslide.level[{level}].tile-{side}"]) for side in ("width", "height"))
    except (KeyError, ValueError):
        return 0


def _stated(properties: Any) -> tuple[float, float] | None:
    try:
        return float(properties["openslide.mpp-y"]), float(properties["openslide.mpp-x"])
    except (KeyError, ValueError):
        return None


def opener(path: Path, cache: int) -> Callable[[], Source]:
    """How to open the slide at `path`, again and again; raises SlideError with the sentence why it cannot be opened."""
    who = who_is(readable(path.name), "The slide")
    if not path.exists():
        raise SlideError("absent", f"{who} does not exist.")
    if path.is_dir():
        raise SlideError("not_a_slide", f"{who} is a folder, not a slide.")
    if not path.is_file():
        raise SlideError("not_a_slide", f"{who} is not a regular file.")
    if path.suffix.lower() == ".mrxs" and not path.with_suffix("").is_dir():
        folder = who_is(readable(path.with_suffix("").name))
        raise SlideError("no_folder", f"{who} needs its folder {folder} beside it, which holds the image.")
    library()
    import openslide

    try:
        kind = openslide.OpenSlide.detect_format(path)
    except Exception:  # whatever a damaged file makes of it, opening says why
        kind = None
    if kind in (None, "generic-tiff"):
        from dala.slides.ome import OmeSource, is_ome

        if is_ome(path):
            return lambda: OmeSource(path, cache, who)

    if kind == "dicom" and not all(one.is_file() or one.is_dir() for one in path.parent.iterdir() if one.exists()):
        # OpenSlide looks into every file beside it for other levels, and would wait for a pipe for ever.
        raise SlideError("not_a_slide", f"{who} lies beside something that is neither a file nor a folder: move it.")

    try:  # once, however often it is opened
        directories = (directories_of(path) or ()) if kind in IN_TIFF else ()
    except Unbelievable as error:
        raise SlideError("damaged", f"{who} is damaged or incomplete: its structure cannot be read.") from error

    def open_again() -> Source:
        try:
            return OpenSlideSource(path, cache, who, directories)
        except openslide.OpenSlideError as error:
            try:
                raise _refusal(who, path, error) from error
            except OSError as gone:
                raise out_of_reach(path) from gone
        except OSError as error:
            raise SlideError("unreadable", f"{who} cannot be opened: {error.strerror or error}.") from error

    return open_again


def out_of_reach(path: Path) -> SlideError:
    """What is said of a slide that was there when it was opened."""
    return SlideError(
        "absent",
        f"{who_is(readable(path.name), 'The slide')} is out of reach: it was moved or removed, or its folder is not "
        "mounted.",
    )


def library() -> str:
    """The version of the OpenSlide library; raises SlideError where it is missing."""
    try:
        import openslide
    except ImportError as error:
        raise SlideError(
            "no_openslide", "OpenSlide is not installed; `pip install -r requirements.txt` brings it."
        ) from error
    return str(openslide.__library_version__)


def _refusal(who: str, path: Path, error: Exception) -> SlideError:
    """OpenSlide's complaint as a sentence; its own words may quote the file and are not repeated."""
    import openslide

    said = str(error)
    if found := re.search(r"[Uu]nsupported (?:TIFF )?compression:? *(\d+)?|(?:transfer syntax|codec)", said):
        code = found[1] or ""
        named = COMPRESSIONS.get(code, f"number {code}" if code else "that of this file")
        return SlideError("compression", f"{who} is compressed in a way that is not read ({named}); {CONVERTER}.")
    if isinstance(error, openslide.OpenSlideUnsupportedFormatError):
        with path.open("rb") as file:
            empty = not file.read(1)
        if empty:
            return SlideError("empty", f"{who} is empty.")
        known = "Aperio, Hamamatsu, Leica, MIRAX, Philips, Sakura, Trestle, Ventana, Zeiss, DICOM, tiled TIFF, OME-TIFF"
        return SlideError("not_a_slide", f"{who} is not a slide of a known kind ({known}), or damaged from the start.")
    if "image flavor" in said or "No pyramid" in said or "VOLUME" in said:
        return SlideError(
            "not_a_slide", f"{who} is a DICOM file whose image type does not say that it is a level of a slide."
        )
    return SlideError("damaged", f"{who} is damaged or incomplete: its structure cannot be read.")
