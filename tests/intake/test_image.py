"""Intake: exact pixel values for every kind that is accepted, and one sentence for everything else."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps, features

from dala.decoders.process import answer
from dala.decoders.refusal import Bounds
from dala.errors import EmptyFile, IntakeError, TooLarge, TooSmall, UnreadableImage, UnsupportedFormat
from dala.intake.image import MAXIMUM_BYTES, read_image
from tests.helpers.generated import examples

UPPER_BITS = "16-bit values were reduced to their upper 8 bits."
FIRST_OF_SEVERAL = "The file holds several pages or frames; the first was taken."


def encode(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def tiff(values: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **options)
    return buffer.getvalue()


def png16(values: np.ndarray) -> bytes:
    """16-bit PNG by OpenCV, from RGB(A) or grey."""
    order = {2: values, 3: values[..., ::-1]}[values.ndim] if values.ndim == 2 or values.shape[2] == 3 else None
    if order is None:
        order = values[..., [2, 1, 0, 3]]
    done, data = cv2.imencode(".png", order)
    assert done
    return data.tobytes()


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG written by hand; `chunks` go between the header and the data."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = b"".join(chunk(kind, content) for kind, content in chunks)
    end = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + end


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


def assert_sentence(message: str) -> None:
    assert message[0].isupper() or message[0] == "'"
    assert message.endswith(".")
    assert "\n" not in message
    assert 10 < len(message) < 250


# What is accepted: exact values


@pytest.mark.parametrize(
    ("format", "shown", "options"),
    [
        ("PNG", "PNG", {}),
        ("BMP", "BMP", {}),
        ("TIFF", "TIFF", {}),
        ("TIFF", "TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", "TIFF", {"compression": "tiff_adobe_deflate"}),
        ("TIFF", "TIFF", {"compression": "packbits"}),
        ("TIFF", "TIFF", {"big_tiff": True}),
        ("WEBP", "WebP", {"lossless": True}),
    ],
)
def test_lossless_formats_keep_every_value(image: np.ndarray, format: str, shown: str, options: Any) -> None:
    data = encode(Image.fromarray(image), format, **options)
    patch = read_image(data)
    assert patch.format == shown
    assert patch.notes == ()
    assert (patch.height, patch.width) == (40, 50)
    np.testing.assert_array_equal(patch.pixels, image)
    assert patch.sha256 == sha256(data).hexdigest()


def test_jpeg_equals_pillow(image: np.ndarray) -> None:
    data = encode(Image.fromarray(image), "JPEG", quality=95)
    patch = read_image(data)
    assert patch.format == "JPEG"
    np.testing.assert_array_equal(patch.pixels, np.asarray(Image.open(io.BytesIO(data))))


def test_pixels_are_read_only_contiguous_rgb(image: np.ndarray) -> None:
    for data in (encode(Image.fromarray(image), "PNG"), encode(Image.fromarray(image), "JPEG", exif=exif(6))):
        pixels = read_image(data).pixels
        assert pixels.dtype == np.uint8
        assert pixels.flags.c_contiguous
        with pytest.raises(ValueError, match="read-only"):
            pixels[0, 0] = 0


def test_path_and_bytes_give_the_same_patch_and_the_name_loses_its_folder(image: np.ndarray, tmp_path: Path) -> None:
    data = encode(Image.fromarray(image), "PNG")
    path = tmp_path / "field 3.png"
    path.write_bytes(data)
    from_path, from_text, from_bytes = read_image(path), read_image(str(path)), read_image(data)
    assert from_path.name == from_text.name == "field 3.png"
    assert from_bytes.name == ""
    assert from_path.sha256 == from_bytes.sha256
    np.testing.assert_array_equal(from_path.pixels, from_bytes.pixels)
    assert read_image(data, name="C:\\cases\\one.png").name == "one.png"
    assert read_image(data, name="/cases/two\n.png").name == "two.png"


def test_content_decides_and_the_name_is_ignored(image: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "renamed.png"
    path.write_bytes(encode(Image.fromarray(image), "BMP"))
    assert read_image(path).format == "BMP"
    np.testing.assert_array_equal(read_image(path).pixels, image)


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block[0x0112] = orientation
    return block


def test_orientation_6_puts_the_last_row_first_column_at_the_top_left() -> None:
    """6 means: the first stored row is the right edge. The lower left corner therefore becomes the upper left one."""
    stored = np.full((40, 60, 3), 200, np.uint8)
    stored[39, 0] = (255, 0, 0)
    stored[0, 0] = (0, 0, 255)
    for format in ("PNG", "TIFF"):
        patch = read_image(encode(Image.fromarray(stored), format, exif=exif(6)))
        assert patch.pixels.shape == (60, 40, 3)
        assert patch.pixels[0, 0].tolist() == [255, 0, 0]
        assert patch.pixels[0, 39].tolist() == [0, 0, 255]
        assert any("orientation" in note for note in patch.notes)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_equals_pillows(image: np.ndarray, format: str, orientation: int) -> None:
    options = {"lossless": True} if format == "WEBP" else {}
    data = encode(Image.fromarray(image), format, exif=exif(orientation), **options)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    patch = read_image(data)
    np.testing.assert_array_equal(patch.pixels, expected)
    assert bool(patch.notes) == (orientation != 1)


@pytest.mark.parametrize("block", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"])
def test_damaged_exif_is_no_reason_to_refuse(image: np.ndarray, block: bytes) -> None:
    data = encode(Image.fromarray(image), "JPEG", exif=block)
    assert read_image(data).pixels.shape == (40, 50, 3)


def test_alpha_is_laid_on_white() -> None:
    """(a c + (255 - a) 255) / 255, rounded: a = 128, c = 0 gives 127; a = 51 (a fifth), c = 100 gives 224."""
    rgba = np.full((32, 32, 4), 255, np.uint8)
    rgba[0, 0] = (10, 20, 30, 0)
    rgba[0, 1] = (0, 0, 0, 128)
    rgba[0, 2] = (100, 200, 0, 51)
    rgba[0, 3] = (10, 20, 30, 255)
    for format, options in (("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True, "exact": True})):
        patch = read_image(encode(Image.fromarray(rgba), format, **options))
        assert patch.pixels[0, :4].tolist() == [[255] * 3, [127] * 3, [224, 244, 204], [10, 20, 30]], format
        assert patch.notes == ("Transparent parts were placed on white.",)


def test_opaque_alpha_changes_nothing_and_says_nothing(image: np.ndarray) -> None:
    patch = read_image(encode(Image.fromarray(image).convert("RGBA"), "PNG"))
    np.testing.assert_array_equal(patch.pixels, image)
    assert patch.notes == ()


def test_associated_alpha_of_tiff_is_divided_out_first() -> None:
    """Stored 50 at alpha 127 (premultiplied) is 100 unassociated; on white: (127 x 100 + 128 x 255) / 255 = 177.8."""
    rgba = np.full((32, 32, 4), (50, 50, 50, 127), np.uint8)
    patch = read_image(tiff(rgba, photometric="rgb", extrasamples=["assocalpha"]))
    assert np.abs(patch.pixels.astype(int) - 178).max() <= 1


def test_unspecified_fourth_channel_is_not_alpha(image: np.ndarray) -> None:
    four = np.dstack([image, np.zeros((40, 50), np.uint8)])
    patch = read_image(tiff(four, photometric="rgb", extrasamples=["unspecified"]))
    np.testing.assert_array_equal(patch.pixels, image)


def test_grey_and_grey_with_alpha() -> None:
    grey = np.arange(32 * 32, dtype=np.uint32).reshape(32, 32).astype(np.uint8)
    for format in ("PNG", "JPEG", "TIFF", "BMP"):
        patch = read_image(encode(Image.fromarray(grey), format, **({"quality": 100} if format == "JPEG" else {})))
        assert np.abs(patch.pixels.astype(int) - grey[..., None]).max() <= (2 if format == "JPEG" else 0)
        assert patch.notes == ("The image is grey; the three colour channels are equal.",)
    la = Image.merge("LA", (Image.new("L", (32, 32), 100), Image.new("L", (32, 32), 51)))
    for format in ("PNG", "TIFF"):
        assert (read_image(encode(la, format)).pixels == 224).all()


def test_one_bit() -> None:
    bits = np.zeros((33, 35), bool)
    bits[3, 4] = True
    for format, options in (("PNG", {}), ("BMP", {}), ("TIFF", {}), ("TIFF", {"compression": "group4"})):
        patch = read_image(encode(Image.fromarray(bits), format, **options))
        np.testing.assert_array_equal(patch.pixels, np.repeat(bits[..., None], 3, 2) * np.uint8(255))


def test_eight_bit_white_is_zero_tiff_is_turned_around() -> None:
    grey = np.arange(32 * 32, dtype=np.uint32).reshape(32, 32).astype(np.uint8)
    patch = read_image(tiff(grey, photometric="miniswhite"))
    np.testing.assert_array_equal(patch.pixels[..., 0], 255 - grey)


def palette_image() -> Image.Image:
    image = Image.new("P", (32, 32), 2)
    image.putpalette([0, 0, 0, 200, 10, 20, 90, 80, 70])
    image.putpixel((5, 3), 1)
    return image


def test_palette() -> None:
    for format in ("PNG", "BMP", "TIFF"):
        patch = read_image(encode(palette_image(), format))
        assert patch.pixels[3, 5].tolist() == [200, 10, 20]
        assert patch.pixels[0, 0].tolist() == [90, 80, 70]
        assert patch.notes == ("Palette colours were converted to RGB.",)


def test_palette_with_one_transparent_entry_and_with_an_alpha_for_each() -> None:
    one = read_image(encode(palette_image(), "PNG", transparency=1))
    assert one.pixels[3, 5].tolist() == [255, 255, 255]
    assert one.pixels[0, 0].tolist() == [90, 80, 70]
    each = read_image(encode(palette_image(), "PNG", transparency=bytes([255, 51, 255])))
    assert each.pixels[3, 5].tolist() == [244, 206, 208]  # a fifth of (200, 10, 20), four fifths white
    assert each.pixels[0, 0].tolist() == [90, 80, 70]


def test_transparent_colour_of_png() -> None:
    rgb = np.full((32, 32, 3), (1, 2, 3), np.uint8)
    rgb[4, 4] = (1, 2, 4)
    patch = read_image(encode(Image.fromarray(rgb), "PNG", transparency=(1, 2, 3)))
    assert patch.pixels[4, 4].tolist() == [1, 2, 4]
    assert patch.pixels[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize(("depth", "step"), [(1, 255), (2, 85), (4, 17)])
def test_transparent_value_of_shallow_grey_png(depth: int, step: int) -> None:
    """Every pixel holds value 1, the first one 0; value 1 is the transparent one."""
    per_byte = 8 // depth
    ones = sum(1 << depth * place for place in range(per_byte))
    row = bytes([ones]) * (32 // per_byte)
    first = bytes([ones & ~((2**depth - 1) << (8 - depth))]) + row[1:]
    rows = b"\0" + first + (b"\0" + row) * 31
    opaque = read_image(png(32, 32, depth, 0, rows))
    assert opaque.pixels[0, :2, 0].tolist() == [0, step]
    patch = read_image(png(32, 32, depth, 0, rows, (b"tRNS", b"\0\1")))
    assert patch.pixels[0, :2, 0].tolist() == [0, 255]
    assert "Transparent parts were placed on white." in patch.notes


def test_cmyk() -> None:
    """R = (1 - C)(1 - K): C 51 of 255 is .2, K 102 is .4, so R = .8 x .6 x 255 = 122.4; M = Y = 0 gives 153."""
    cmyk = Image.new("CMYK", (32, 32), (51, 0, 0, 102))
    patch = read_image(encode(cmyk, "TIFF"))
    assert np.abs(patch.pixels[0, 0].astype(int) - (122, 153, 153)).max() <= 1
    assert patch.notes == ("CMYK colours were converted to RGB.",)
    jpeg = read_image(encode(cmyk, "JPEG", quality=100))  # Adobe's inverted CMYK
    assert np.abs(jpeg.pixels[0, 0].astype(int) - (122, 153, 153)).max() <= 3
    deep = np.full((32, 32, 4), (51 * 257, 0, 0, 102 * 257), np.uint16)
    patch = read_image(tiff(deep, photometric="separated"))
    assert np.abs(patch.pixels[0, 0].astype(int) - (122, 153, 153)).max() <= 1
    assert UPPER_BITS in patch.notes


def test_ycbcr_tiff() -> None:
    """Y = 76, Cb = 85, Cr = 255 is pure red (JFIF)."""
    ycbcr = Image.new("YCbCr", (32, 32), (76, 85, 255))
    patch = read_image(encode(ycbcr, "TIFF"))
    assert np.abs(patch.pixels[0, 0].astype(int) - (254, 0, 0)).max() <= 1
    assert patch.notes == ("YCbCr colours were converted to RGB.",)
    compressed = read_image(encode(Image.new("RGB", (32, 32), (254, 0, 0)), "TIFF", compression="jpeg", quality=95))
    assert np.abs(compressed.pixels[0, 0].astype(int) - (254, 0, 0)).max() <= 3


# 16 bit


DEEP_RGB: dict[str, Callable[[np.ndarray], bytes]] = {
    "png": png16,
    "tiff little": lambda values: tiff(values, photometric="rgb", byteorder="<"),
    "tiff big": lambda values: tiff(values, photometric="rgb", byteorder=">"),
    "tiff deflate": lambda values: tiff(values, photometric="rgb", compression="zlib", predictor=True),
    "tiff deflate big": lambda values: tiff(values, photometric="rgb", compression="zlib", byteorder=">"),
    "tiff tiled": lambda values: tiff(values, photometric="rgb", tile=(16, 16), compression="zlib"),
    "tiff tiled raw": lambda values: tiff(values, photometric="rgb", tile=(16, 16)),
}


@pytest.mark.parametrize("writer", DEEP_RGB)
def test_sixteen_bit_rgb_keeps_the_upper_byte(writer: str) -> None:
    values = np.random.default_rng(1).integers(0, 65536, (40, 50, 3), dtype=np.uint16)
    values[0, 0] = (0, 255, 256)
    values[0, 1] = (511, 512, 65535)
    patch = read_image(DEEP_RGB[writer](values))
    assert patch.pixels[0, :2].tolist() == [[0, 0, 1], [1, 2, 255]]
    np.testing.assert_array_equal(patch.pixels, values // 256)
    assert patch.notes == (UPPER_BITS,)


@pytest.mark.parametrize("factor", [256, 257])
def test_eight_bits_spread_over_sixteen_come_back_exactly(image: np.ndarray, factor: int) -> None:
    deep = image.astype(np.uint16) * factor
    for writer in DEEP_RGB.values():
        np.testing.assert_array_equal(read_image(writer(deep)).pixels, image)


@pytest.mark.parametrize("writer", DEEP_RGB)
def test_twelve_bit_camera_values_are_not_shown_as_black(writer: str) -> None:
    values = np.random.default_rng(2).integers(0, 4096, (40, 50, 3), dtype=np.uint16)
    values[0, 0] = (4095, 16, 15)
    patch = read_image(DEEP_RGB[writer](values))
    assert patch.pixels[0, 0].tolist() == [255, 1, 0]
    np.testing.assert_array_equal(patch.pixels, values // 16)
    assert len(patch.notes) == 1
    assert "12-bit" in patch.notes[0]


def test_eight_bit_values_in_sixteen_bits_are_taken_as_they_are(image: np.ndarray) -> None:
    patch = read_image(tiff(image.astype(np.uint16), photometric="rgb"))
    np.testing.assert_array_equal(patch.pixels, image)
    assert patch.notes == ("No 16-bit value is above 255; they were taken as 8-bit values.",)


def test_sixteen_bit_grey() -> None:
    values = np.random.default_rng(3).integers(0, 65536, (40, 50), dtype=np.uint16)
    values[0, :3] = (0, 256, 65535)
    for data in (png16(values), tiff(values), tiff(values, byteorder=">"), tiff(values, compression="zlib")):
        patch = read_image(data)
        assert patch.pixels[0, :3, 1].tolist() == [0, 1, 255]
        np.testing.assert_array_equal(patch.pixels, np.repeat((values // 256)[..., None], 3, 2))
        assert UPPER_BITS in patch.notes
    inverted = read_image(tiff(values, photometric="miniswhite"))
    np.testing.assert_array_equal(inverted.pixels[..., 0], 255 - values // 256)
    twelve = read_image(png16(values // 16))
    np.testing.assert_array_equal(twelve.pixels[..., 0], values // 256)


def test_sixteen_bit_alpha_on_white() -> None:
    values = np.full((32, 32, 4), 65535, np.uint16)
    values[0, 0] = (100 * 257, 200 * 257, 0, 51 * 257)
    for data in (png16(values), tiff(values, photometric="rgb", extrasamples=["unassalpha"])):
        patch = read_image(data)
        assert patch.pixels[0, 0].tolist() == [224, 244, 204]
        assert patch.pixels[5, 5].tolist() == [255, 255, 255]
        assert len(patch.notes) == 2


def test_sixteen_bit_transparent_value_is_compared_in_full() -> None:
    """0x8001 is transparent, 0x8002 is not, although both become 128."""
    row = struct.pack(">HH", 0x8001, 0x8002) * 16
    grey = read_image(png(32, 32, 16, 0, (b"\0" + row) * 32, (b"tRNS", b"\x80\x01")))
    assert grey.pixels[7, :2, 0].tolist() == [255, 128]
    row = struct.pack(">HHHHHH", 0x8001, 0x8001, 0x8001, 0x8001, 0x8001, 0x8002) * 16
    colour = read_image(png(32, 32, 16, 2, (b"\0" + row) * 32, (b"tRNS", b"\x80\x01" * 3)))
    assert colour.pixels[7, :2].tolist() == [[255] * 3, [128] * 3]


def test_sixteen_bit_orientation_is_applied_once() -> None:
    values = np.random.default_rng(4).integers(0, 4096, (40, 50, 3), dtype=np.uint16)
    patch = read_image(tiff(values, photometric="rgb", extratags=[(274, "H", 1, 6, True)]))
    np.testing.assert_array_equal(patch.pixels, np.rot90(values // 16, -1))


def test_separate_planes() -> None:
    values = np.random.default_rng(5).integers(0, 65536, (3, 40, 50), dtype=np.uint16)
    for stored in ((values // 256).astype(np.uint8), values):
        patch = read_image(tiff(stored, photometric="rgb", planarconfig="separate"))
        np.testing.assert_array_equal(patch.pixels, (values // 256).transpose(1, 2, 0))
    with pytest.raises(UnsupportedFormat, match="interleaved"):
        read_image(tiff(np.concatenate([values, values[:1]]), photometric="separated", planarconfig="separate"))


@pytest.mark.parametrize("type_", [np.float32, np.int32])
def test_values_without_a_white_are_refused(type_: type) -> None:
    with pytest.raises(UnsupportedFormat, match="pixels"):
        read_image(tiff(np.zeros((40, 50), type_)))


# Pages, profiles, metadata


def test_first_page_is_taken_with_a_note(image: np.ndarray) -> None:
    pages = [Image.fromarray(image), Image.fromarray(255 - image)]
    for format, options in (("TIFF", {}), ("PNG", {}), ("WEBP", {"lossless": True})):
        data = encode(pages[0], format, save_all=True, append_images=pages[1:], **options)
        patch = read_image(data)
        np.testing.assert_array_equal(patch.pixels, image)
        assert patch.notes == (FIRST_OF_SEVERAL,)
    mpo = encode(Image.new("RGB", (40, 50), (9, 99, 199)), "MPO", save_all=True, append_images=pages)
    patch = read_image(mpo)
    assert patch.format == "JPEG"
    assert np.abs(patch.pixels[5, 5].astype(int) - (9, 99, 199)).max() < 5
    assert any("first was taken" in note for note in patch.notes)


def test_colour_profiles_are_not_applied_and_only_foreign_ones_noted(image: np.ndarray) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    foreign = b"\0\0\0\x80lcms" + b"Adobe RGB (1998)".ljust(120, b"\0")
    for format, options in (("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})):
        quiet = read_image(encode(Image.fromarray(image), format, icc_profile=srgb, **options))
        assert quiet.notes == ()
        noted = read_image(encode(Image.fromarray(image), format, icc_profile=foreign, **options))
        assert [note for note in noted.notes if "profile" in note]
        np.testing.assert_array_equal(noted.pixels, image)
    jpeg = read_image(encode(Image.fromarray(image), "JPEG", icc_profile=foreign))
    assert [note for note in jpeg.notes if "profile" in note]


def test_identity_follows_the_bytes_and_metadata_does_not_reach_the_patch(image: np.ndarray) -> None:
    block = Image.Exif()
    block[0x010E] = "Patient Jane Roe"
    plain, tagged = encode(Image.fromarray(image), "JPEG"), encode(Image.fromarray(image), "JPEG", exif=block)
    first, second = read_image(plain), read_image(tagged)
    np.testing.assert_array_equal(first.pixels, second.pixels)
    assert first.sha256 != second.sha256
    assert "Jane" not in repr(vars(second))


# What is refused


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", EmptyFile),
        (b"\0", UnsupportedFormat),
        (b"This is a text named patch.png.\n", UnsupportedFormat),
        (b"GIF89a" + bytes(100), UnsupportedFormat),
        (b"%PDF-1.7\n", UnsupportedFormat),
        (b"RIFF\0\0\0\0WAVEfmt ", UnsupportedFormat),
        (b"\x89PNG\r\n\x1a\n", UnreadableImage),
        (b"\xff\xd8\xff", UnreadableImage),
        (b"\xff\xd8\xff\xe0" + b"\xff" * 50, UnreadableImage),
        (b"II*\0", UnreadableImage),
        (b"MM\0*\xff\xff\xff\xff", UnreadableImage),
        (b"II+\0\x08\0\0\0" + b"\xff" * 16, UnreadableImage),
        (b"BM", UnreadableImage),
        (b"RIFF\0\0\0\0WEBP", UnreadableImage),
        (b"RIFF\0\0\0\0WEBPVP8X" + bytes(40), TooSmall),
    ],
)
def test_what_is_no_image_gets_one_sentence(data: bytes, error: type[IntakeError]) -> None:
    with pytest.raises(error) as caught:
        read_image(data, name="patch.png")
    assert type(caught.value) is error
    assert_sentence(str(caught.value))
    assert "'patch.png'" in str(caught.value)


def test_other_formats_that_pillow_reads_are_refused(image: np.ndarray) -> None:
    for format in ("GIF", "TGA", "ICO", "JPEG2000", "DDS", "PCX"):
        if format == "JPEG2000" and not features.check("jpg_2000"):
            continue
        with pytest.raises(UnsupportedFormat, match="PNG, JPEG, TIFF, BMP, WebP, PGM and DICOM"):
            read_image(encode(Image.fromarray(image), format))


def test_sizes(image: np.ndarray) -> None:
    for shape in ((1, 1), (31, 500), (500, 31)):
        for format in ("PNG", "JPEG", "TIFF", "BMP", "WEBP"):
            with pytest.raises(TooSmall, match=f"{shape[1]} x {shape[0]} pixels; at least 32 x 32"):
                read_image(encode(Image.new("RGB", shape[::-1]), format))
    assert read_image(encode(Image.new("RGB", (32, 32)), "PNG")).pixels.shape == (32, 32, 3)


def test_zero_pixels() -> None:
    with pytest.raises(TooSmall, match="0 x 40"):
        read_image(png(0, 40, 8, 2, b""))
    bmp = bytearray(encode(Image.new("RGB", (40, 40)), "BMP"))
    bmp[22:26] = bytes(4)
    with pytest.raises(TooSmall, match="40 x 0"):
        read_image(bytes(bmp))


KINDS = {"large": TooLarge, "small": TooSmall, "unsupported": UnsupportedFormat, "damaged": UnreadableImage}


def peak(data: bytes, error: type[IntakeError] | None) -> int:
    """Python's own peak in bytes while the file is read or refused, in this process; Pillow's storage is watched by the
    resource test below."""
    tracemalloc.start()
    try:
        told, _ = answer(data, Bounds())
        assert ("refused" in told) == (error is not None) and KINDS.get(told.get("refused", "")) == error
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def bombs() -> dict[str, bytes]:
    """Small files that claim 60,000 x 60,000 pixels, 3.6 gigapixels."""
    side = 60_000
    bmp = bytearray(encode(Image.new("RGB", (40, 40)), "BMP"))
    bmp[18:26] = struct.pack("<ii", side, -side)
    jpeg = bytearray(encode(Image.new("RGB", (40, 40)), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    tif = bytearray(tiff(np.zeros((40, 50, 3), np.uint8), photometric="rgb", metadata=None))
    entries = struct.unpack_from("<H", tif, 8)[0]
    for position in range(10, 10 + 12 * entries, 12):
        if struct.unpack_from("<H", tif, position)[0] in (256, 257):
            struct.pack_into("<HII", tif, position + 2, 4, 1, side)
    webp = b"RIFF\x40\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + (side - 1).to_bytes(3, "little") * 2 + bytes(30)
    return {"PNG": png(side, side, 8, 2, b""), "BMP": bytes(bmp), "JPEG": bytes(jpeg), "TIFF": bytes(tif), "WebP": webp}


@pytest.mark.parametrize("kind", ["PNG", "BMP", "JPEG", "TIFF", "WebP"])
def test_header_bombs_are_refused_by_their_header(kind: str) -> None:
    data = bombs()[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing may reach Pillow's bomb warning
        assert peak(data, TooLarge) < 2**20
    with pytest.raises(TooLarge, match="60000 x 60000 pixels; at most 48 megapixels"):
        read_image(data)


def test_just_above_the_pixel_limit_is_refused() -> None:
    with pytest.raises(TooLarge):
        read_image(png(8000, 6001, 1, 0, b""))
    with pytest.raises(UnreadableImage):  # just at the limit: passes the check, but has no data
        read_image(png(8000, 6000, 1, 0, b""))


def test_file_size_limit(tmp_path: Path) -> None:
    path = tmp_path / "sparse.png"
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        file.truncate(MAXIMUM_BYTES + 1)
    with pytest.raises(TooLarge, match="200 MB"):
        read_image(path)


def test_text_bomb_in_png_is_bounded() -> None:
    chunks = [(b"zTXt", b"key\0\0" + zlib.compress(bytes(50 * 2**20)))] * 3
    assert peak(png(32, 32, 8, 2, b"\0" * 97 * 32, *chunks), None) < 8 * 2**20


def directory(*entries: tuple[int, int, int, bytes], extra: bytes = b"") -> bytes:
    body = b"".join(
        struct.pack("<HHI", tag, type_, count) + value.ljust(4, b"\0") for tag, type_, count, value in entries
    )
    return struct.pack("<H", len(entries)) + body + bytes(4) + extra


def long(value: int) -> bytes:
    return struct.pack("<I", value)


def test_directory_whose_entries_share_their_bytes_is_refused() -> None:
    """3,000 entries that all point at the same 100 kB would be copied to 300 MB."""
    shared = [(40_000 + tag, 7, 100_000, long(8)) for tag in range(3000)]
    data = b"II*\0" + long(8) + directory((256, 4, 1, long(40)), (257, 4, 1, long(40)), *shared, extra=bytes(100_000))
    assert peak(data, UnreadableImage) < 4 * 2**20


def test_the_same_inside_exif_is_never_followed() -> None:
    """As an EXIF directory of a JPEG and as the EXIF directory that a good TIFF points to."""
    shared = [(40_000 + tag, 7, 60_000, long(8)) for tag in range(3000)]
    exif_block = b"Exif\0\0II*\0" + long(8) + directory((ORIENTATION, 3, 1, long(6)), *shared)
    jpeg = encode(Image.new("RGB", (40, 50)), "JPEG", exif=exif_block)
    rows = 40 * 40
    pixels_at = 8 + 2 + 10 * 12 + 4
    entries = [
        (256, 4, 1, long(40)),
        (257, 4, 1, long(40)),
        (258, 3, 1, long(8)),
        (259, 3, 1, long(1)),
        (262, 3, 1, long(1)),
        (273, 4, 1, long(pixels_at)),
        (277, 3, 1, long(1)),
        (278, 4, 1, long(40)),
        (279, 4, 1, long(rows)),
        (34665, 4, 1, long(pixels_at + rows)),
    ]
    sub = directory(*[(40_000 + tag, 7, 30_000, long(8)) for tag in range(3000)])
    tif = b"II*\0" + long(8) + directory(*entries, extra=b"\x07" * rows + sub)
    for data, shape in ((jpeg, (40, 50, 3)), (tif, (40, 40, 3))):
        assert peak(data, None) < 4 * 2**20
        assert read_image(data).pixels.shape == shape
    assert (read_image(tif).pixels == 7).all()


ORIENTATION = 274


def test_huge_tiles_in_a_small_tiff_are_refused() -> None:
    data = bytearray(tiff(np.zeros((64, 64), np.uint8), tile=(16, 16), compression="zlib", metadata=None))
    entries = struct.unpack_from("<H", data, 8)[0]
    for position in range(10, 10 + 12 * entries, 12):
        if struct.unpack_from("<H", data, position)[0] in (322, 323):
            struct.pack_into("<HII", data, position + 2, 4, 1, 60_000)
    with pytest.raises(TooLarge, match="tiles"):
        read_image(bytes(data))


# Truncation and fuzz: IntakeError or an image, nothing else


def samples() -> dict[str, bytes]:
    values = np.random.default_rng(6).integers(0, 256, (36, 44, 3), dtype=np.uint8)
    image = Image.fromarray(values)
    return {
        "png": encode(image, "PNG"),
        "png palette": encode(image.quantize(16), "PNG", transparency=1),
        "png 16": png16(values.astype(np.uint16) * 16),
        "jpeg": encode(image, "JPEG", exif=exif(6)),
        "jpeg progressive": encode(image, "JPEG", progressive=True),
        "tiff": encode(image, "TIFF"),
        "tiff lzw": encode(image, "TIFF", compression="tiff_lzw"),
        "tiff jpeg": encode(image, "TIFF", compression="jpeg"),
        "tiff 16": tiff(values.astype(np.uint16) * 16, photometric="rgb", compression="zlib"),
        "tiff tiled": tiff(values, photometric="rgb", tile=(16, 16)),
        "bmp": encode(image, "BMP"),
        "bmp palette": encode(image.quantize(16), "BMP"),
        "webp": encode(image, "WEBP"),
        "webp lossless": encode(image, "WEBP", lossless=True),
        "webp animated": encode(image, "WEBP", save_all=True, append_images=[image.rotate(180)]),
    }


SAMPLES = samples()


def attempt(data: bytes) -> np.ndarray | None:
    """The pixels, or None for what is refused in a sentence; in this process, which is quicker."""
    if not data:
        return None
    told, pixels = answer(data, Bounds())
    if "refused" in told:
        assert told["refused"] in KINDS
        assert_sentence(f"'x' {told['why']}")
        return None
    return np.frombuffer(pixels, np.uint8).reshape(told["shape"])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", SAMPLES)
def test_truncation_is_refused_or_harmless(kind: str) -> None:
    """A file cut anywhere is refused, or, if only its last few bytes are missing, the whole image is there."""
    data = SAMPLES[kind]
    whole = attempt(data)
    assert whole is not None
    for length in [*range(0, 200), *range(200, len(data) - 200, 97), *range(len(data) - 200, len(data))]:
        patch = attempt(data[:length])
        if patch is not None:
            assert length > len(data) * 0.9 or "tiff" in kind or "animated" in kind, length
            np.testing.assert_array_equal(patch, whole)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@examples(150)
@given(
    kind=st.sampled_from(sorted(SAMPLES)),
    changes=st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=12),
    header_only=st.booleans(),
)
def test_flipped_bytes_give_a_image_or_a_sentence(kind: str, changes: list[tuple[int, int]], header_only: bool) -> None:
    data = bytearray(SAMPLES[kind])
    for position, value in changes:
        data[position % (120 if header_only else len(data))] = value
    patch = attempt(bytes(data))
    assert patch is None or patch.ndim in (2, 3)


@pytest.mark.filterwarnings("ignore")
@examples(150)
@given(
    start=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0+", b"BM", b"RIFF1234WEBPVP8 "]),
    body=st.binary(max_size=400),
)
def test_random_bytes_give_a_sentence(start: bytes, body: bytes) -> None:
    assert attempt(start + body) is None


# Paths


def test_paths_that_are_no_readable_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    loop = tmp_path / "loop.png"
    loop.symlink_to(loop)
    for path in (tmp_path, tmp_path / "missing.png", pipe, loop, "", "a\0b.png", "x" * 5000, tmp_path / "a" / "b.png"):
        with pytest.raises(UnreadableImage) as caught:
            read_image(path)
        assert_sentence(str(caught.value))
        assert str(tmp_path) not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "closed.png"
    path.write_bytes(SAMPLES["png"])
    path.chmod(0)
    with pytest.raises(UnreadableImage, match="permission denied"):
        read_image(path)


# Many threads, real files


def read_or_none(data: bytes) -> np.ndarray | None:
    try:
        return read_image(data).pixels
    except IntakeError as refusal:
        assert_sentence(str(refusal))
        return None


@pytest.mark.slow
def test_threads_do_not_disturb_each_other_or_the_process() -> None:
    limit, filters = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    jobs = [*SAMPLES.values(), bombs()["PNG"], b"text"] * 8
    alone = [attempt(data) for data in jobs]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(read_or_none, jobs))
    for one, other in zip(alone, together, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            np.testing.assert_array_equal(np.broadcast_to(one.reshape(*one.shape[:2], -1), other.shape), other)
    assert limit == Image.MAX_IMAGE_PIXELS
    assert warnings.filters == filters


@pytest.mark.slow
def test_real_images(shared_data: Path) -> None:
    paths = sorted((shared_data / "breakhis_originals").rglob("*.png"))[:6]
    assert paths
    for path in paths:
        patch = read_image(path)
        np.testing.assert_array_equal(patch.pixels, cv2.imread(str(path))[..., ::-1])
        assert patch.notes == ()
        assert patch.name == path.name


@pytest.mark.filterwarnings("ignore")
def test_damaged_and_foreign_slides(shared_data: Path) -> None:
    for name in ("unreadable.svs", "unopenable.tiff"):
        with pytest.raises(IntakeError) as caught:
            read_image(shared_data / "slides" / name)
        assert_sentence(str(caught.value))
    slide = read_image(shared_data / "slides" / "CMU-1-Small-Region.svs")
    assert any("first was taken" in note for note in slide.notes)
