"""Files that programs write in other ways than the usual: each drawn here, with the value that it must have."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from dala.decoders import jpeg
from dala.decoders.process import answer
from dala.decoders.refusal import Bounds

DRAWN = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
SMOOTH = np.asarray(Image.fromarray(DRAWN[:5, :6]).resize((60, 48), Image.Resampling.BICUBIC))


def encode(image: np.ndarray | Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, format, **options)
    return buffer.getvalue()


def tiff(values: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **options)
    return buffer.getvalue()


def read(data: bytes) -> tuple[np.ndarray, list[str]]:
    told, found = answer(data, Bounds())
    assert "refused" not in told, told
    pixels = np.frombuffer(found, np.uint8).reshape(told["shape"])
    return np.repeat(pixels[..., np.newaxis], 3, 2) if pixels.ndim == 2 else pixels, told["notes"]


def refused(data: bytes) -> str:
    told, _ = answer(data, Bounds())
    assert "why" in told, "it was read"
    return str(told["why"])


# TIFF


def test_a_colour_map_of_8_bits_where_16_are_meant() -> None:
    index = np.random.default_rng(1).integers(0, 4, (40, 50), dtype=np.uint8)
    colours = np.zeros((3, 256), np.uint16)
    colours[:, :4] = np.array([[255, 200, 90, 0], [250, 10, 80, 0], [240, 20, 70, 0]])
    for factor in (1, 256, 257):
        pixels, _ = read(tiff(index, photometric="palette", colormap=colours * factor))
        np.testing.assert_array_equal(pixels, colours.T.astype(np.uint8)[index])


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("kind", ["rgb", "grey", "deep"])
def test_both_byte_orders_and_sizes_of_pointer(byteorder: str, bigtiff: bool, kind: str) -> None:
    values = {"rgb": DRAWN, "grey": DRAWN[..., 0], "deep": DRAWN.astype(np.uint16) * 257}[kind]
    pixels, _ = read(tiff(values, byteorder=byteorder, bigtiff=bigtiff, compression="zlib"))
    expected = np.repeat(DRAWN[..., :1], 3, 2) if kind == "grey" else DRAWN
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("compression", ["jpeg2000", "webp", "zstd", "lzma", "jpegxl", "lerc", "none"])
@pytest.mark.parametrize("alpha", [False, True])
def test_compressions_that_libtiff_is_built_without(compression: str, alpha: bool) -> None:
    values = np.dstack([DRAWN, np.full((40, 50), 255, np.uint8)]) if alpha else DRAWN
    options: dict[str, Any] = {"extrasamples": ["unassalpha"]} if alpha else {}
    lossless = {"jpeg2000": {"level": 0}, "webp": {"lossless": True}, "jpegxl": {"lossless": True}}
    if compression in lossless:
        options["compressionargs"] = lossless[compression]
    pixels, notes = read(tiff(values, photometric="rgb", compression=compression, **options))
    np.testing.assert_array_equal(pixels, DRAWN)
    assert notes == []


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_colours_from_0_to_1(kind: type) -> None:
    values = (DRAWN / 255).astype(kind)
    np.testing.assert_array_equal(read(tiff(values, photometric="rgb"))[0], np.rint(values.astype(float) * 255))


@pytest.mark.parametrize("wrong", [np.nan, -0.5, 1.5, 255.0])
def test_floating_colours_without_a_white_are_named(wrong: float) -> None:
    values = (DRAWN / 255).astype(np.float32)
    values[3, 4, 1] = wrong
    assert "floating-point" in refused(tiff(values, photometric="rgb"))


def imagej(values: np.ndarray, **metadata: Any) -> bytes:
    return tiff(values, imagej=True, metadata={"axes": "CYX", "mode": "composite", **metadata})


def test_an_imagej_composite_is_the_sum_of_its_channels() -> None:
    """Red, green, blue by default: three channels are the image itself, two are it without blue, grey lies on it."""
    planes = DRAWN.transpose(2, 0, 1)
    dim = planes // np.uint8([[[1]], [[2]], [[4]]])
    for stored in (planes, planes.astype(np.uint16) * 257, dim, dim.astype(np.uint16) * 257):
        pixels, notes = read(imagej(stored))
        np.testing.assert_array_equal(pixels, (stored & 255).astype(np.uint8).transpose(1, 2, 0))
        assert "3 channels" in notes[0]
    planes = planes // 2
    np.testing.assert_array_equal(read(imagej(planes[:2]))[0], DRAWN // 2 * np.uint8([1, 1, 0]))
    four = np.concatenate([planes, np.full((1, 40, 50), 9, np.uint8)])
    np.testing.assert_array_equal(read(imagej(four))[0], DRAWN // 2 + 9)


def test_an_imagej_composite_with_colours_of_its_own() -> None:
    magenta, green = np.zeros((3, 256), np.uint8), np.zeros((3, 256), np.uint8)
    magenta[0] = magenta[2] = green[1] = np.arange(256)
    data = imagej(DRAWN.transpose(2, 0, 1)[:2], LUTs=[magenta, green])
    np.testing.assert_array_equal(read(data)[0], DRAWN[..., [0, 1, 0]])


def test_a_stack_of_slices_is_still_its_first() -> None:
    data = tiff(DRAWN.transpose(2, 0, 1), imagej=True, metadata={"axes": "ZYX"})
    pixels, notes = read(data)
    np.testing.assert_array_equal(pixels[..., 0], DRAWN[..., 0])
    assert "The file holds several pages or frames; the first was taken." in notes


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("before", [1, 2])
def test_a_reduced_page_before_the_image_is_not_taken_for_it(bigtiff: bool, before: int) -> None:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, bigtiff=bigtiff) as file:
        for _ in range(before):
            file.write(255 - DRAWN[:36, :36], photometric="rgb", subfiletype=1)
        file.write(DRAWN, photometric="rgb")
    np.testing.assert_array_equal(read(buffer.getvalue())[0], DRAWN)


def test_pages_that_are_all_reduced_or_run_in_a_circle() -> None:
    assert read(tiff(DRAWN, photometric="rgb", subfiletype=1))[0].shape == DRAWN.shape
    data = bytearray(tiff(DRAWN, photometric="rgb", subfiletype=1, metadata=None))
    count = struct.unpack_from("<H", data, 8)[0]
    struct.pack_into("<I", data, 10 + 12 * count, 8)  # the next page is this one
    assert read(bytes(data))[0].shape == DRAWN.shape


def test_a_whole_slide_gets_the_sentence_that_says_what_to_do() -> None:
    data = bytearray(tiff(np.zeros((64, 64, 3), np.uint8), photometric="rgb", tile=(16, 16), metadata=None))
    count = struct.unpack_from("<H", data, 8)[0]
    for position in range(10, 10 + 12 * count, 12):
        if struct.unpack_from("<H", data, position)[0] in (256, 257):
            struct.pack_into("<HII", data, position + 2, 4, 1, 40_000)
    why = refused(bytes(data))
    assert "whole slide of 40000 x 40000 pixels" in why and "export the region as PNG or TIFF" in why


def test_strips_that_are_not_there_are_no_black_image() -> None:
    data = tiff(DRAWN.astype(np.uint16) * 257, photometric="rgb", rowsperstrip=8, compression="zlib")
    assert "TIFF" in refused(data[:-200])


# PNG


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def with_chunks(*chunks: bytes) -> bytes:
    data = encode(DRAWN, "PNG")
    return data[:33] + b"".join(chunks) + data[33:]


def test_a_colour_profile_above_a_megabyte() -> None:
    profile = b"\0\0\0\x80lcms" + np.random.default_rng(0).bytes(2 * 2**20)
    pixels, notes = read(with_chunks(chunk(b"iCCP", b"Own\0\0" + zlib.compress(profile))))
    np.testing.assert_array_equal(pixels, DRAWN)
    assert any("colour profile was not applied" in note for note in notes)


def test_the_name_of_srgb_is_enough() -> None:
    assert read(with_chunks(chunk(b"iCCP", b"sRGB IEC61966-2.1\0\0" + zlib.compress(bytes(3000)))))[1] == []


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt", b"tIME", b"eXIf", b"pHYs", b"iCCP", b"prVt"])
def test_a_wrong_checksum_of_what_is_not_the_image(kind: bytes) -> None:
    wrong = chunk(kind, b"Comment\0hello")[:-4] + b"\1\2\3\4"
    np.testing.assert_array_equal(read(with_chunks(wrong))[0], DRAWN)


def test_a_wrong_checksum_of_the_image_is_refused() -> None:
    data = bytearray(encode(DRAWN, "PNG"))
    data[29] ^= 1
    assert "PNG" in refused(bytes(data))


@pytest.mark.parametrize("channels", [2, 4])
def test_twelve_bits_with_alpha(channels: int) -> None:
    """The upper eight of twelve; alpha of 16 or of 12 bits. 51 of 255 is a fifth: 200 becomes 40 + 204 = 244."""
    values = np.random.default_rng(3).integers(0, 4096, (40, 50, channels), dtype=np.uint16)
    values[0, 0] = 4095
    for opaque in (65535, 4095):
        values[..., -1] = opaque
        pixels, notes = read(imagecodecs.png_encode(values))
        expected = values[..., :-1] // 16
        np.testing.assert_array_equal(pixels, np.repeat(expected, 3, 2) if channels == 2 else expected)
        assert any("12-bit" in note for note in notes)
    values[..., :-1], values[..., -1] = 3200, 65535
    values[0, 0, :-1] = 4095
    values[5, 5, -1] = 51 * 257
    assert read(imagecodecs.png_encode(values))[0][5, 5].tolist() == [244] * 3


# JPEG


def test_what_lies_between_two_segments_is_skipped() -> None:
    data = encode(SMOOTH, "JPEG", quality=95)
    expected = np.asarray(Image.open(io.BytesIO(data)))
    for stray in (b"\0", b"stray bytes", b"\xff\xff", b"\0\xff\0x"):
        np.testing.assert_array_equal(read(data[:20] + stray + data[20:])[0], expected)


def test_segments_are_counted_before_they_are_parsed() -> None:
    data = encode(SMOOTH, "JPEG")
    few, many = (data[:2] + b"\xff\xec\0\2" * count + data[2:] for count in (1000, 200_000))
    assert read(few)[0].shape == SMOOTH.shape
    assert "segments" in refused(many)


def test_stray_bytes_are_counted_too() -> None:
    data = encode(SMOOTH, "JPEG")
    assert "between its segments" in refused(data[:2] + b"\xff\0" * 500_000 + data[2:])


def test_scans_are_counted_before_they_are_decoded() -> None:
    data = encode(SMOOTH, "JPEG", progressive=True)
    first = data.index(b"\xff\xda")
    second = data.index(b"\xff\xda", first + 2)
    assert read(data)[0].shape == SMOOTH.shape
    assert "scans" in refused(data[:second] + data[first:second] * 100 + data[second:])


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("kind", "code"), [(1, "B"), (3, "H"), (4, "I"), (8, "h"), (9, "i")])
def test_an_orientation_of_any_whole_type(order: str, kind: int, code: str) -> None:
    value = struct.pack(order + code, 6).ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, 1)
    block = b"Exif\0\0" + head + struct.pack(order + "HHI", 274, kind, 1) + value + bytes(4)
    data = encode(SMOOTH, "JPEG", exif=block)
    told, found = answer(data, Bounds())
    assert told["turned"] == 6
    np.testing.assert_array_equal(
        np.frombuffer(found, np.uint8).reshape(told["shape"]), np.rot90(np.asarray(Image.open(io.BytesIO(data))), -1)
    )


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}])
def test_only_the_mark_of_the_end_may_be_missing(options: dict[str, Any]) -> None:
    data = encode(SMOOTH, "JPEG", **options)
    whole, _ = read(data)
    for missing in (1, 2):
        np.testing.assert_array_equal(read(data[:-missing])[0], whole)
    for length in range(len(data) // 2, len(data) - 8):
        assert "JPEG" in refused(data[:length])


def test_the_scans_of_others_by_hand() -> None:
    progressive = encode(SMOOTH, "JPEG", progressive=True)
    assert jpeg.all_scans(progressive) and jpeg.all_scans(encode(SMOOTH, "JPEG"))
    assert not jpeg.all_scans(progressive[: progressive.rindex(b"\xff\xda")])


# BMP


def masked(bits: int, masks: tuple[int, ...], colours: np.ndarray, top_down: bool = False) -> bytes:
    """A BMP whose colours, 0..255, lie under these masks."""
    words = np.zeros(colours.shape[:2], np.uint64)
    for mask, channel in zip(masks, np.moveaxis(colours, -1, 0), strict=False):
        low = (mask & -mask).bit_length() - 1
        words |= (channel.astype(np.uint64) * (mask >> low) // 255) << np.uint64(low)
    rows = words.astype(f"<u{bits // 8}")
    rows = rows if top_down else rows[::-1]
    body = b"".join(row.tobytes() + bytes(-row.nbytes % 4) for row in rows)
    height, width = colours.shape[:2]
    size = 40 if len(masks) == 3 else 108
    head = struct.pack("<IiiHHIIiiII", size, width, -height if top_down else height, 1, bits, 3, len(body), 0, 0, 0, 0)
    head += struct.pack(f"<{len(masks)}I", *masks)
    head += bytes(max(0, size - len(head)))
    return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(body), 0, 0, 14 + len(head)) + head + body


@pytest.mark.parametrize(
    ("bits", "masks"),
    [
        (32, (0xFF0000, 0xFF00, 0xFF)),
        (32, (0xFF, 0xFF00, 0xFF0000)),
        (32, (0xFF000000, 0xFF0000, 0xFF00)),
        (32, (0x3FC00000, 0xFF000, 0x3FC)),
        (32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)),
    ],
)
@pytest.mark.parametrize("top_down", [False, True])
def test_masks_of_8_bits_anywhere(bits: int, masks: tuple[int, ...], top_down: bool) -> None:
    np.testing.assert_array_equal(read(masked(bits, masks, DRAWN, top_down))[0], DRAWN)


@pytest.mark.parametrize(
    "masks", [(0xF800, 0x7E0, 0x1F), (0x7C00, 0x3E0, 0x1F), (0xF00, 0xF0, 0xF), (0x1F, 0x7E0, 0xF800)]
)
def test_masks_of_fewer_bits(masks: tuple[int, ...]) -> None:
    """v of n bits is v / (2^n - 1) of 255; black and white are exact."""
    colours = DRAWN.copy()
    colours[0, :2] = [(0, 0, 0), (255, 255, 255)]
    pixels, _ = read(masked(16, masks, colours))
    assert pixels[0, :2].tolist() == [[0] * 3, [255] * 3]
    worst = [255 / (2 ** mask.bit_count() - 1) for mask in masks]
    assert (np.abs(pixels.astype(int) - colours).max((0, 1)) <= worst).all()


def test_masks_of_ten_bits() -> None:
    pixels, _ = read(masked(32, (0x3FF00000, 0xFFC00, 0x3FF), DRAWN))
    assert np.abs(pixels.astype(int) - DRAWN).max() <= 1


def test_masks_that_cannot_be_are_refused() -> None:
    whole = masked(32, (0xFF0000, 0xFF00, 0xFF), DRAWN)
    assert "BMP" in refused(whole[:62] + bytes(4) + whole[66:])
    assert "BMP" in refused(masked(32, (0xFF0000, 0xFF00, 0b101), DRAWN))
    assert "BMP" in refused(masked(32, (0xFF0000, 0xFF00, 0xFF), DRAWN)[:-100])


# PGM and PPM


def test_pgm_and_ppm_as_text_and_as_bytes() -> None:
    grey = DRAWN[..., 0]
    text = b"P2\n# a comment\n50 40\n# another\n255\n" + " ".join(map(str, grey.ravel())).encode()
    for data in (b"P5 50 40 255\n" + grey.tobytes(), b"P5\n# mini-MIAS\n50 40\n255\n" + grey.tobytes(), text):
        pixels, notes = read(data)
        np.testing.assert_array_equal(pixels[..., 2], grey)
        assert notes == ["The image is grey; the three colour channels are equal."]
    np.testing.assert_array_equal(read(b"P6 50 40 255\n" + DRAWN.tobytes())[0], DRAWN)


def test_pgm_of_other_depths() -> None:
    """v of m is 255 v / m, rounded: 1 of 3 is 85, 1000 of 4095 is 62."""
    values = np.full((40, 50), 1000, ">u2")
    values[0, :2] = (0, 4095)
    pixels, _ = read(b"P5 50 40 4095\n" + values.tobytes())
    assert pixels[0, :3, 0].tolist() == [0, 255, 62]
    assert (read(b"P5 50 40 3\n" + b"\1" * 2000)[0] == 85).all()


@pytest.mark.parametrize(
    "data",
    [
        b"P5 50 40 255\n" + bytes(1999),
        b"P2 50 40 255\n1 2 3",
        b"P5 50 40 70000\n" + bytes(4000),
        b"P5 50 40 0\n" + bytes(4000),
        b"P5 50\n",
        b"P5 " + b"#" * 9000,
        b"P5 60000 60000 255\n",
        b"P2 40 40 255\n" + b"x " * 1600,
    ],
)
def test_damaged_pgm(data: bytes) -> None:
    assert refused(data).endswith(".")


def test_equal_to_pillow_where_pillow_reads_it() -> None:
    """A check of this file's own writers."""
    data = encode(DRAWN, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0")
    np.testing.assert_array_equal(read(data)[0], np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data)))))
    np.testing.assert_array_equal(
        np.asarray(Image.open(io.BytesIO(masked(32, (0xFF0000, 0xFF00, 0xFF), DRAWN))).convert("RGB")), DRAWN
    )
