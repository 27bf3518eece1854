"""Compressed frames: values under their mask and sign, and colours as the stream says."""

from __future__ import annotations

import struct
import time
from typing import Any

import imagecodecs
import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from dala.decoders.process import answer
from dala.decoders.refusal import Bounds
from tests.helpers.dicoms import dataset_of, dicom, written

ROOT = "1.2.840.10008.1.2.4."
WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}
SIGNED = {"WindowCenter": 0, "WindowWidth": 4096}


def compressed(frame: bytes, syntax: str, like: np.ndarray, bits: int | None = None, **header: Any) -> bytes:
    dataset = dataset_of(like, bits, **header)
    known = "202" if syntax == "110" else syntax  # pydicom cannot write it, and the two names are of one length
    dataset.file_meta.TransferSyntaxUID = UID(ROOT + known)
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return written(dataset).replace((ROOT + known).encode(), (ROOT + syntax).encode(), 1)


def pixels(data: bytes) -> np.ndarray:
    told, found = answer(data, Bounds())
    assert "refused" not in told, told
    return np.frombuffer(found, np.uint8).reshape(told["shape"])


def refused(data: bytes) -> str:
    told, _ = answer(data, Bounds())
    return str(told["why"])


def encoders() -> dict[str, Any]:
    """Of unsigned 16-bit words, by transfer syntax; all lossless."""
    return {
        "70": lambda values: imagecodecs.ljpeg_encode(values, bitspersample=16),
        "80": imagecodecs.jpegls_encode,
        "90": lambda values: imagecodecs.jpeg2k_encode(values, codecformat="j2k", reversible=True, level=0),
        "91": lambda values: imagecodecs.jpeg2k_encode(values, codecformat="j2k", reversible=True, level=0),
        "110": lambda values: imagecodecs.jpegxl_encode(values, lossless=True),
    }


@pytest.mark.parametrize("syntax", encoders())
def test_negative_values_without_their_upper_bits(syntax: str) -> None:
    """Twelve bits in two's complement: 4095 is -1. The window goes from -2048 to 2047."""
    values = np.random.default_rng(1).integers(-2048, 2048, (40, 48)).astype(np.int16)
    stored = (values.astype(np.uint16) & 4095).astype(np.uint16)
    data = compressed(encoders()[syntax](stored), syntax, values, 12, **SIGNED)
    np.testing.assert_array_equal(pixels(data), pixels(dicom(values, 12, **SIGNED)))


@pytest.mark.parametrize("syntax", encoders())
def test_an_overlay_above_the_values_is_masked(syntax: str) -> None:
    values = np.random.default_rng(2).integers(0, 4096, (40, 48)).astype(np.uint16)
    overlay = values.copy()
    overlay[10:20, 10:30] |= 0x1000
    overlay[25:30, 10:30] |= 0xA000
    data = compressed(encoders()[syntax](overlay), syntax, values, 12, **WINDOW)
    np.testing.assert_array_equal(pixels(data), pixels(dicom(values, 12, **WINDOW)))


def test_what_a_lossy_codec_pushes_over_the_end_stays_white() -> None:
    """Twelve bits in a stream of sixteen that loses: 4095 may come out as 4100, which a mask would make black."""
    values = np.full((64, 64), 4095, np.uint16)
    values[::2, ::3] = 0
    frame = imagecodecs.jpeg2k_encode(values, codecformat="j2k", reversible=False, level=30)
    decoded = imagecodecs.jpeg2k_decode(frame)
    assert decoded.max() > 4095  # otherwise this shows nothing
    expected = np.rint(255 * np.clip((np.clip(decoded, 0, 4095) - 2047.5) / 4095 + 0.5, 0, 1))
    found = pixels(compressed(frame, "91", values, 12, **WINDOW))
    np.testing.assert_array_equal(found, expected)


def test_a_lossy_stream_that_holds_more_bits_than_the_header_says() -> None:
    """Ten bits by the header, twelve by the stream: its values are taken, not cut off at 1023."""
    values = np.tile(np.arange(0, 4096, 64, dtype=np.uint16), (64, 1))
    frame = imagecodecs.jpeg8_encode(values, level=100, bitspersample=12)
    told, found = answer(compressed(frame, "51", values, 10, **WINDOW), Bounds())
    row = np.frombuffer(found, np.uint8).reshape(64, 64)[32]
    assert np.abs(row[[0, 16, 32, 63]].astype(int) - [0, 64, 128, 251]).max() <= 2
    assert any("10 bits" in note and "12" in note for note in told["notes"])


def test_a_jpeg_ls_stream_without_its_end_is_refused_at_once() -> None:
    """The decoder alone takes six seconds for about every third length that such a stream is cut to."""
    values = np.random.default_rng(3).integers(0, 4096, (40, 48)).astype(np.uint16)
    frame = imagecodecs.jpegls_encode(values)
    assert frame.endswith(b"\xff\xd9")
    whole = pixels(compressed(frame, "80", values, 12, **WINDOW))
    # All values are there before the marker that ends the stream.
    np.testing.assert_array_equal(pixels(compressed(frame[:-2], "80", values, 12, **WINDOW)), whole)
    start = time.process_time()
    for length in range(100, len(frame) - 100, 50):
        assert "damaged" in refused(compressed(frame[:length], "80", values, 12, **WINDOW)), length
    assert time.process_time() - start < 4, "one alone took longer"


TISSUE = np.full((48, 64, 3), (200, 100, 180), np.uint8)
TISSUE[:, 32:] = (250, 250, 250)


def close(found: np.ndarray, most: int = 3) -> bool:
    return bool(np.abs(found[[10, 10], [10, 50]].astype(int) - [(200, 100, 180), (250, 250, 250)]).max() <= most)


def ycc(rgb: np.ndarray) -> np.ndarray:
    """By ITU-T T.871, 7."""
    r, g, b = np.moveaxis(rgb.astype(float), -1, 0)
    y = 0.299 * r + 0.587 * g + 0.114 * b
    return np.rint(np.stack([y, (b - y) / 1.772 + 128, (r - y) / 1.402 + 128], -1)).astype(np.uint8)


@pytest.mark.parametrize("label", ["RGB", "YBR_FULL", "YBR_FULL_422"])
@pytest.mark.parametrize(("space", "sampling"), [("YCBCR", "444"), ("YCBCR", "422"), ("RGB", "444")])
def test_a_baseline_stream_knows_its_colours(label: str, space: str, sampling: str) -> None:
    """JFIF's or Adobe's marker is in the stream, whatever the header says."""
    frame = imagecodecs.jpeg8_encode(TISSUE, level=98, outcolorspace=space, subsampling=sampling)
    assert (b"JFIF" in frame[:30]) == (space == "YCBCR")
    assert close(pixels(compressed(frame, "50", TISSUE, PhotometricInterpretation=label)))


@pytest.mark.parametrize(("label", "space"), [("RGB", "RGB"), ("YBR_FULL", "YCBCR"), ("YBR_FULL_422", "YCBCR")])
def test_where_the_stream_says_nothing_the_header_decides(label: str, space: str) -> None:
    frame = imagecodecs.jpeg8_encode(TISSUE, level=98, outcolorspace=space, subsampling="444")
    marker = frame[2:4] in (b"\xff\xe0", b"\xff\xee")
    bare = frame[:2] + frame[4 + struct.unpack_from(">H", frame, 4)[0] :] if marker else frame
    assert b"JFIF" not in bare[:40] and b"Adobe" not in bare[:40]
    bare = bare.replace(b"R\x11\0G\x11\0B\x11\0", b"\1\x11\0\2\x11\0\3\x11\0")  # the components' names tell it, too
    place = bare.index(b"\xff\xda") + 5
    bare = (
        bare[:place]
        + b"\1"
        + bare[place + 1 : place + 2]
        + b"\2"
        + bare[place + 3 : place + 4]
        + b"\3"
        + bare[place + 5 :]
    )
    assert close(pixels(compressed(bare, "50", TISSUE, PhotometricInterpretation=label)))


@pytest.mark.parametrize("syntax", ["70", "80"])
def test_lossless_colours_are_converted_where_the_header_says_so(syntax: str) -> None:
    encode = {
        "70": lambda values: imagecodecs.jpeg8_encode(values, lossless=True, colorspace="RGB", outcolorspace="RGB"),
        "80": imagecodecs.jpegls_encode,
    }[syntax]
    np.testing.assert_array_equal(pixels(compressed(encode(TISSUE), syntax, TISSUE)), TISSUE)
    assert close(pixels(compressed(encode(ycc(TISSUE)), syntax, TISSUE, PhotometricInterpretation="YBR_FULL")))


@pytest.mark.parametrize("label", ["RGB", "YBR_RCT", "YBR_ICT", "YBR_FULL"])
def test_jpeg_2000_with_its_own_transform_is_rgb_whatever_the_header_says(label: str) -> None:
    frame = imagecodecs.jpeg2k_encode(TISSUE, codecformat="j2k", reversible=True, level=0, mct=True)
    assert frame[frame.index(b"\xff\x52") + 8] == 1
    np.testing.assert_array_equal(pixels(compressed(frame, "90", TISSUE, PhotometricInterpretation=label)), TISSUE)


def test_jpeg_2000_without_its_own_transform() -> None:
    """Stored as Y, Cb, Cr: by the header, or by the JP2 box around the stream beside a header that says RGB."""
    frame = imagecodecs.jpeg2k_encode(ycc(TISSUE), codecformat="j2k", reversible=True, level=0, mct=False)
    assert frame[frame.index(b"\xff\x52") + 8] == 0
    assert close(pixels(compressed(frame, "90", TISSUE, PhotometricInterpretation="YBR_FULL")))
    header = struct.pack(">I4s", 22, b"ihdr") + struct.pack(">IIHBBBB", 48, 64, 3, 7, 7, 0, 0)
    colour = struct.pack(">I4sBBBI", 15, b"colr", 1, 0, 0, 18)
    boxed = (
        b"\0\0\0\x0cjP  \r\n\x87\n"
        + struct.pack(">I4s4sI4s", 20, b"ftyp", b"jp2 ", 0, b"jp2 ")
        + struct.pack(">I4s", 8 + len(header) + len(colour), b"jp2h")
        + header
        + colour
        + struct.pack(">I4s", 0, b"jp2c")
        + frame
    )
    assert close(pixels(compressed(boxed, "90", TISSUE, PhotometricInterpretation="RGB")))


@pytest.mark.parametrize("syntax", ["50", "70", "80", "90", "110"])
def test_a_stream_of_another_size_is_refused(syntax: str) -> None:
    other = np.zeros((64, 64), np.uint8)
    encode = {
        "50": imagecodecs.jpeg8_encode,
        "70": lambda values: imagecodecs.jpeg8_encode(values, lossless=True),
        **{one: encoders()[one] for one in ("80", "90", "110")},
    }[syntax]
    assert "not of the size" in refused(compressed(encode(other), syntax, np.zeros((40, 48), np.uint8)))
