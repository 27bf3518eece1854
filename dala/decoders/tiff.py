"""TIFF files: those of everyday by Pillow's libtiff, and what it does not read or not in full depth by tifffile."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from dala.decoders import directories, scale
from dala.decoders.containers import ORIENTATION
from dala.decoders.decoded import Decoded
from dala.decoders.frames import rgb_of_ycc
from dala.decoders.refusal import SLIDE, Bounds, Refused, damaged, unsupported
from dala.decoders.rgb import check_mode, eight_bit_rgb, of_deep, on_white, upright

WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
SAMPLES, PLANAR, COLOUR_MAP, TILE_WIDTH, TILE_LENGTH, EXTRA, FORMAT = 277, 284, 320, 322, 323, 338, 339
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, YCBCR = 0, 1, 2, 6  # photometric interpretations
FLOAT, ASSOCIATED, SEPARATE = 3, 1, 2  # values of sample format, extra samples and planar configuration
YCC_2000 = 33003  # Aperio's JPEG 2000 of Y, Cb, Cr
# Compressions by name in imagecodecs: JPEG 2000 (several numbers), JPEG XR, LERC, zstd, WebP, JPEG XL.
BY_TIFFFILE = {33003, 33004, 33005, 34712, 34934, 34887, 34925, 50000, 50001, 50002, 52546, 22610, 34926, 34927}
MOST_SAMPLES = 8
# The colours in which ImageJ lays the channels of a composite over each other, where the file has no tables of its own.
IMAGEJ_COLOURS = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1), (0, 1, 1), (1, 0, 1), (1, 1, 0))
SLIDES_SAY = ("Aperio", "Hamamatsu", "Philips", "Ventana", "iScan", "<ImageDescription", "Leica")


def read(data: bytes, bounds: Bounds) -> tuple[Decoded, bytes]:
    """The first page of full size, and its colour profile. Raises Refused, Large and whatever damage brings."""
    data, pages, order, entries = directories.bare_tiff(data)
    facts = {entry.tag: _fact(data, order, entry) for entry in entries if entry.tag <= FORMAT}
    notes = []
    if pages > 1:
        notes.append("The file holds several pages or frames; the first was taken.")
    width, height = facts.get(WIDTH, 0), facts.get(LENGTH, 0)
    _check(facts, data, pages, bounds)
    description = _description(data, order, entries)
    colour = facts.get(PHOTOMETRIC) == RGB
    deep = facts.get(BITS, 1) == 16 and (colour or facts.get(SAMPLES, 1) == 2) and facts.get(FORMAT, 1) == 1
    if description.startswith("ImageJ") and (composite := _composite(description)) is not None:
        return _of_imagej(data, composite, (height, width), bounds, notes), b""
    if deep or facts.get(COMPRESSION) in BY_TIFFFILE or data[:4] == b"MM\0+" or (colour and facts.get(FORMAT) == FLOAT):
        return _by_tifffile(data, facts, notes)
    if facts.get(PLANAR) == SEPARATE and facts.get(BITS, 1) > 8:
        # Pillow takes the two bytes of a value for two pixels here.
        unsupported("is a TIFF file of more than 8 bits with separate colour planes; please save it interleaved.")
    return _by_pillow(data, notes)


def _fact(data: bytes, order: str, entry: directories.Entry) -> int:
    """The first whole number of an entry, wherever it is stored."""
    code = directories.WHOLE.get(entry.type)
    if code is None or entry.count < 1:
        return 0
    if directories.TYPE_BYTES[entry.type] * entry.count <= len(entry.inside):
        return entry.number(order)
    place = struct.unpack(order + ("Q" if len(entry.inside) == 8 else "I"), entry.inside)[0]
    return int(struct.unpack_from(order + code, data, place)[0])


def _description(data: bytes, order: str, entries: list[directories.Entry]) -> str:
    for entry in entries:
        if entry.tag == scale.DESCRIPTION and entry.type in directories.BYTE_TYPES and entry.count > len(entry.inside):
            place = struct.unpack(order + ("Q" if len(entry.inside) == 8 else "I"), entry.inside)[0]
            return data[place : place + min(entry.count, 4096)].decode("latin-1")
    return ""


def _check(facts: dict[int, int], data: bytes, pages: int, bounds: Bounds) -> None:
    """Sizes by the directory, before anything is allocated for them."""
    width, height = facts.get(WIDTH, 0), facts.get(LENGTH, 0)
    if width * height > bounds.most and (pages > 1 or TILE_WIDTH in facts):
        raise Refused("large", f"is a whole slide of {width} x {height} pixels, too large for one image: {SLIDE}.")
    bounds.check(width, height)
    tile = facts.get(TILE_WIDTH, 1), facts.get(TILE_LENGTH, 1)
    if not all(0 <= side <= bounds.most for side in tile) or tile[0] * tile[1] > bounds.most:
        raise Refused("large", f"is a TIFF file with tiles of more than {bounds.most // 1_000_000} megapixels.")


def _by_pillow(data: bytes, notes: list[str]) -> tuple[Decoded, bytes]:
    image = TiffImageFile(BytesIO(data))
    check_mode(image.mode)
    tags = image.tag_v2
    size, orientation = scale.of_tiff(tags), tags.get(ORIENTATION, 1)
    map_ = tags.get(COLOUR_MAP)
    image.load()
    if image.mode == "P" and map_ is not None and max(map_) < 256:
        # Written as 8 bits where 16 are meant: all black, if read as it says. libtiff takes it so, too.
        image.putpalette(np.asarray(map_, np.uint8).reshape(3, -1).T.tobytes())
    pixels = eight_bit_rgb(image, data, "TIFF", notes)
    turned = orientation if orientation in range(2, 9) else 1  # Pillow turns it itself while loading it
    return Decoded(pixels, notes, size, turned=turned), image.info.get("icc_profile") or b""


def _by_tifffile(data: bytes, facts: dict[int, int], notes: list[str]) -> tuple[Decoded, bytes]:
    import tifffile

    with tifffile.TiffFile(BytesIO(data)) as file:
        page: Any = file.pages[0]
        samples = int(page.samplesperpixel)
        if samples > MOST_SAMPLES or page.imagedepth != 1:
            unsupported(f"is a TIFF file of {samples} channels; grey, RGB and CMYK are accepted.")
        ends = [place + count for place, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if not ends or max(ends) > len(data) or min(page.databytecounts) == 0:
            damaged("is an incomplete TIFF file.")
        values: NDArray[Any] = page.asarray(maxworkers=1)
        tags = {code: page.tags[code].value for code in scale.TIFF_TAGS if code in page.tags}
        profile = page.tags[34675].value if 34675 in page.tags else b""
        photometric, planar = int(page.photometric), int(page.planarconfig)
    if planar == SEPARATE and values.ndim == 3:
        values = np.moveaxis(values, 0, -1)
    if values.ndim == 2:
        values = values[..., np.newaxis]
    if values.ndim != 3 or photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, YCBCR):
        unsupported("is a TIFF file of colours or a compression that is not accepted; please save it as RGB.")
    channels = values.shape[2]
    kept = min(channels, 4 if photometric in (RGB, YCBCR) else 2)
    extra = facts.get(EXTRA, 0)
    if kept in (2, 4) and extra == 0:  # a channel that says nothing of itself is no alpha
        kept -= 1
    values = np.ascontiguousarray(values[..., :kept])
    if values.dtype.kind == "f":
        values = np.asarray(_of_floats(values))
    if facts.get(COMPRESSION) == YCC_2000 and kept == 3 and values.dtype == np.uint8:
        values = rgb_of_ycc(values, 8).astype(np.uint8)
    if values.dtype == np.uint16:
        pixels = of_deep(values, notes, associated=extra == ASSOCIATED, white_is_zero=photometric == WHITE_IS_ZERO)
    elif values.dtype == np.uint8:
        pixels = _of_bytes(values, photometric, extra == ASSOCIATED, notes)
    else:
        unsupported(f"holds {values.dtype} values, which have no faithful 8-bit colours.")
    size, orientation = scale.of_tiff(tags), facts.get(ORIENTATION, 1)
    if orientation in range(2, 9):
        return Decoded(upright(pixels, orientation), notes, size, turned=orientation), profile
    return Decoded(pixels, notes, size), profile


def _of_bytes(values: NDArray[np.uint8], photometric: int, associated: bool, notes: list[str]) -> NDArray[np.uint8]:
    """Channels as they are stored, through Pillow's conversions."""
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[values.shape[2]]
    if associated and mode == "RGBA":
        mode = "RGBa"
    height, width = values.shape[:2]
    if photometric == WHITE_IS_ZERO:
        values = 255 - values
    return eight_bit_rgb(Image.frombytes(mode, (width, height), values.tobytes()), b"", "", notes)


def _of_floats(values: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Colours from 0 to 1, which is black to white, as 8 bits."""
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1 or values.max() <= 1 / 255:
        unsupported("holds floating-point colours that are not from 0 to 1: nobody can tell which one is white.")
    result = np.empty(values.shape, np.uint8)
    for top in range(0, len(values), 256):
        result[top : top + 256] = np.rint(values[top : top + 256] * 255)
    return result


def _composite(description: str) -> int | None:
    """The number of channels of an ImageJ image that is shown with all of them at once; None for another one."""
    lines = dict(line.partition("=")[::2] for line in description.splitlines())
    channels = int(lines["channels"]) if lines.get("channels", "").isdecimal() else 1
    return channels if lines.get("mode") == "composite" and 1 < channels <= len(IMAGEJ_COLOURS) else None


def _of_imagej(data: bytes, channels: int, size: tuple[int, int], bounds: Bounds, notes: list[str]) -> Decoded:
    """The channels of a composite added in their colours, as ImageJ shows it."""
    import tifffile

    bounds.check(size[1], size[0] * channels if size[0] * size[1] * channels > bounds.at_once else size[0])
    with tifffile.TiffFile(BytesIO(data)) as file:
        planes = [file.pages[number] for number in range(channels)] if len(file.pages) >= channels else []
        if not planes or any(page.shape != size or page.dtype not in (np.uint8, np.uint16) for page in planes):
            unsupported("is an ImageJ composite of another layout; please save it from ImageJ as RGB (Image > Type).")
        values = [page.asarray(maxworkers=1) for page in planes]
        own = (file.imagej_metadata or {}).get("LUTs")
        first: Any = file.pages[0]
        tags = {code: first.tags[code].value for code in scale.TIFF_TAGS if code in first.tags}
    notes[:] = [f"The {channels} channels of an ImageJ composite were laid over each other in their colours."]
    total = np.zeros((*size, 3), np.uint16)
    if values[0].dtype == np.uint16:  # one depth for all, or their brightness would shift against each other
        values = np.split(of_deep(np.concatenate(values)[..., np.newaxis], notes)[..., 0], channels)
        notes.pop(1)
    for number, grey in enumerate(values):
        ramp = np.arange(256)[:, np.newaxis] * np.asarray(IMAGEJ_COLOURS[number])
        table = np.asarray(own[number]).T if own is not None and np.shape(own[number]) == (3, 256) else ramp
        total += table.astype(np.uint16)[grey]
    return Decoded(on_white(np.minimum(total, 255).astype(np.uint8), None, notes), notes, scale.of_tiff(tags))
