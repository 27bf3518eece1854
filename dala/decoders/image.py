"""The bytes of a file of any accepted kind as 8-bit pixels: kind and size by the header, then the decoder of that kind.

The bytes are untrusted, and this runs in a process of its own (`dala.decoders.process`). The plugin of the one kind is
called directly: `Image.open` would try others and would judge bombs by a process-wide limit. The limit here is below
Pillow's own, so its bomb warning can never come first.

Colour profiles are not applied. The networks were trained on images without profiles, their numbers taken as they
are; a conversion would show the network other colours than the ones in the file, would depend on the version of a
colour engine, and would put a parser of complex untrusted data into the path. A profile other than sRGB is noted.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from dala.decoders import bmp, containers, dicom, jpeg, png, pnm, scale, tiff
from dala.decoders.decoded import Decoded, PixelSizeUm
from dala.decoders.refusal import Bounds, Refused, damaged
from dala.decoders.rgb import check_mode, eight_bit_rgb, of_deep, on_white, upright

ACCEPTED = "PNG, JPEG, TIFF, BMP, WebP, PGM and DICOM"
TURNED = "The image was rotated as its EXIF orientation says."


def decode(data: bytes, bounds: Bounds) -> tuple[str, Decoded]:
    """The kind of the file by its content, and its first image.

    Raises Refused, Large (`dala.decoders.refusal`) or MemoryError, and nothing else for whatever bytes.
    """
    kind = containers.kind_of(data)
    if kind is None:
        raise Refused("unsupported", f"is not an image of an accepted kind ({ACCEPTED}).")
    try:
        return kind, dicom.decode(data, bounds) if kind == "DICOM" else _image(data, kind, bounds)
    except (Refused, MemoryError):
        raise
    except RecursionError:
        damaged(f"is a damaged {kind} file: it is nested too deep.")
    # Decoders meet damaged bytes with whatever error comes first, from struct.error to SyntaxError and IndexError; its
    # text may hold what stands in the file.
    except Exception as failure:
        if type(failure).__name__ == "Large":
            raise
        raise Refused("damaged", f"is a damaged, incomplete or unusual {kind} file.") from None


def _image(data: bytes, kind: str, bounds: Bounds) -> Decoded:
    stated = containers.stated_size(data, kind)
    if stated is not None:
        bounds.check(*stated)
    if kind == "PNM":
        values = pnm.read(data, bounds)
        grey = ["The image is grey; the three colour channels are equal."] if values.ndim == 2 else []
        return Decoded(values, grey)
    reader = {"PNG": _png, "JPEG": _jpeg, "BMP": _bmp, "WebP": _webp, "TIFF": tiff.read}[kind]
    decoded, profile = reader(data, bounds)
    if decoded.turned != 1:
        decoded.notes.append(TURNED)
    if profile and b"sRGB" not in profile and "sRGB".encode("utf-16-be") not in profile:
        decoded.notes.append("The embedded colour profile was not applied; colours are the stored numbers.")
    size = decoded.pixel_size
    if size is not None and decoded.turned >= 5:
        size = size[1], size[0], size[2]
    return Decoded(decoded.pixels, decoded.notes, size, turned=decoded.turned)


def _notes(pages: int) -> list[str]:
    return ["The file holds several pages or frames; the first was taken."] if pages > 1 else []


def _turned(pixels: NDArray[np.uint8], exif: bytes, notes: list[str], size: PixelSizeUm | None) -> Decoded:
    orientation = containers.orientation(exif)
    if orientation not in range(2, 9):
        return Decoded(pixels, notes, size)
    return Decoded(upright(pixels, orientation), notes, size, turned=orientation)


def _png(data: bytes, bounds: Bounds) -> tuple[Decoded, bytes]:
    bare = png.bare(data)
    notes = _notes(bare.pages)
    image = PngImageFile(BytesIO(bare.data))
    bounds.check(*image.size)
    check_mode("RGB" if bare.deep else image.mode)
    size = scale.of_dots_per_inch(image.info.get("dpi"))
    if bare.deep:
        import imagecodecs

        values = imagecodecs.png_decode(png.without_transparency(bare.data))
        values = values if values.ndim == 3 else values[..., np.newaxis]
        step = range(0, len(bare.transparent), 2)
        transparent = tuple(int.from_bytes(bare.transparent[at : at + 2], "big") for at in step)
        pixels = of_deep(values, notes, transparent if len(transparent) == values.shape[2] else None)
    else:
        image.load()
        pixels = eight_bit_rgb(image, bare.data, "PNG", notes)
    return _turned(pixels, bare.exif, notes, size), bare.profile


def _jpeg(data: bytes, bounds: Bounds) -> tuple[Decoded, bytes]:
    bare = jpeg.bare(data)
    notes = _notes(bare.pages)
    if bare.ended:
        image = _loaded_jpeg(bare.data, bounds)
    else:
        # Only the mark of the end may be missing: then it does not matter what follows the compressed data.
        if not jpeg.all_scans(bare.data):
            damaged("is an incomplete JPEG file.")
        image = _loaded_jpeg(bare.data.rstrip(b"\xff") + jpeg.END, bounds)
        other = _loaded_jpeg(bare.data.rstrip(b"\xff") + jpeg.anything(bare.data) + jpeg.END, bounds)
        if image.tobytes() != other.tobytes():
            damaged("is an incomplete JPEG file.")
    return _turned(eight_bit_rgb(image, data, "JPEG", notes), bare.exif, notes, None), bare.profile


def _loaded_jpeg(data: bytes, bounds: Bounds) -> Image.Image:
    image = JpegImageFile(BytesIO(data))
    bounds.check(*image.size)
    check_mode(image.mode)
    image.load()
    return image


def _bmp(data: bytes, bounds: Bounds) -> tuple[Decoded, bytes]:
    notes: list[str] = []
    if bmp.has_masks(data):
        return Decoded(on_white(*bmp.masked(data), notes), notes), b""
    image = BmpImageFile(BytesIO(data))
    bounds.check(*image.size)
    check_mode(image.mode)
    image.load()
    return Decoded(eight_bit_rgb(image, data, "BMP", notes), notes), b""


def _webp(data: bytes, bounds: Bounds) -> tuple[Decoded, bytes]:
    image = WebPImageFile(BytesIO(data))
    bounds.check(*image.size)
    check_mode(image.mode)
    image.load()
    notes = _notes(getattr(image, "n_frames", 1))
    pixels = eight_bit_rgb(image, data, "WebP", notes)
    return _turned(pixels, image.info.get("exif", b""), notes, None), image.info.get("icc_profile") or b""
