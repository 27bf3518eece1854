"""DICOM: every transfer syntax beside the raw values, greys by hand, a sentence for what is damaged or ill-meant."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    RLELossless,
)

from dala.decoders.process import answer
from dala.decoders.refusal import Bounds
from dala.errors import IntakeError, TooLarge, TooSmall, UnreadableImage, UnsupportedFormat
from dala.gate.checks import film_reason
from dala.intake import decoding
from dala.intake.image import read_image
from dala.intake.patch import Patch
from dala.phantoms.film import draw_film
from tests.helpers.dicoms import PATIENT, dataset_of, dicom, film_dicom, written
from tests.helpers.generated import examples

SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"
PREAMBLE = b"\0" * 128 + b"DICM"
FIRST_OF_SEVERAL = "The file holds several pages or frames; the first was taken."


def grey(bits: int, seed: int = 0, size: tuple[int, int] = (40, 48)) -> np.ndarray:
    """All of the range, both ends included."""
    values = np.random.default_rng(seed).integers(0, 2**bits, size).astype(np.uint8 if bits <= 8 else np.uint16)
    values[0, :2] = (0, 2**bits - 1)
    return values


def in_process(data: bytes, least: int = 8) -> tuple[dict[str, Any], np.ndarray | None]:
    """What the process of the decoders answers, without the process."""
    told, pixels = answer(data, Bounds(least=least))
    return told, None if "refused" in told else np.frombuffer(pixels, np.uint8).reshape(told["shape"])


def pixels_of(data: bytes, least: int = 8) -> np.ndarray:
    told, pixels = in_process(data, least)
    assert pixels is not None, told
    return pixels


def compressed(values: np.ndarray, syntax: UID, bits: int | None = None, **header: Any) -> bytes:
    """Run lengths by pydicom, whose codecs for JPEG 2000 are not installed."""
    if syntax == JPEG2000Lossless:
        frame = imagecodecs.jpeg2k_encode(values, codecformat="j2k", reversible=True, bitspersample=bits)
        return encapsulated(frame, syntax, values, bits, **header)
    dataset = dataset_of(values, bits, **header)
    dataset.compress(syntax, generate_instance_uid=False)
    return written(dataset)


def encapsulated(frame: bytes, syntax: UID, like: np.ndarray, bits: int | None = None, **header: Any) -> bytes:
    """A file around a frame that was encoded elsewhere."""
    dataset = dataset_of(like, bits, **header)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return written(dataset)


def jpeg(values: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(values).save(out, "JPEG", quality=95)
    return out.getvalue()


def shipped(name: str) -> bytes:
    path = SHIPPED / name
    if not path.is_file():
        pytest.skip(f"this pydicom does not ship {name}")
    return path.read_bytes()


def raw(name: str) -> np.ndarray:
    """The values of a native file that pydicom ships, read by hand: the last bytes of the file."""
    dataset = pydicom.dcmread(io.BytesIO(shipped(name)))
    return np.frombuffer(dataset.PixelData, "<i2").reshape(dataset.Rows, dataset.Columns)


# Transfer syntaxes


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless, JPEG2000Lossless]
)
def test_lossless_syntaxes_give_the_raw_values(syntax: UID, bits: int) -> None:
    """The whole range is used, so that the grey of a value is 255 value / (2^bits - 1), rounded."""
    values = grey(bits)
    if syntax.is_compressed and not syntax.is_deflated:
        data = compressed(values, syntax, bits)
    else:
        dataset = dataset_of(values, bits)
        dataset.file_meta.TransferSyntaxUID = syntax
        data = written(dataset)
    np.testing.assert_array_equal(pixels_of(data), np.rint(255 * values.astype(float) / (2**bits - 1)))


def test_big_endian() -> None:
    values = grey(12)
    dataset = dataset_of(values, 12)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    dataset.PixelData = values.astype(">u2").tobytes()
    out = io.BytesIO()
    pydicom.dcmwrite(out, dataset, enforce_file_format=True)
    np.testing.assert_array_equal(pixels_of(out.getvalue()), np.rint(255 * values.astype(float) / 4095))


def test_signed_values() -> None:
    """-2048 is the darkest and 2047 the brightest; two's complement in twelve of sixteen bits."""
    values = (grey(12).astype(np.int32) - 2048).astype(np.int16)
    for data in (dicom(values, 12), compressed(values, RLELossless, 12), compressed(values, JPEG2000Lossless, 12)):
        np.testing.assert_array_equal(pixels_of(data), np.rint(255 * (values.astype(float) + 2048) / 4095))


@pytest.mark.parametrize("name", ["MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm"])
def test_compressed_files_of_others_equal_their_native_twin(name: str) -> None:
    np.testing.assert_array_equal(pixels_of(shipped(name)), pixels_of(shipped("MR_small.dcm")))


def test_the_window_of_a_file_of_others_by_hand() -> None:
    """MR_small asks for a centre of 600 and a width of 1600: 600 - 0.5 is half of 1599 grey steps."""
    expected = np.clip((raw("MR_small.dcm") - 599.5) / 1599 + 0.5, 0, 1)
    np.testing.assert_array_equal(pixels_of(shipped("MR_small.dcm")), np.rint(255 * expected))


@pytest.mark.parametrize(
    ("name", "plugins"),
    [
        ("SC_rgb_jpeg_gdcm.dcm", "JPEG lossless"),
        ("SC_rgb_dcmtk_+eb+cr.dcm", "JPEG baseline, RGB"),
        ("SC_rgb_dcmtk_+eb+cy+np.dcm", "JPEG baseline, YBR_FULL_422"),
        ("SC_rgb_jpeg_dcmtk.dcm", "JPEG baseline, YBR_FULL"),
        ("SC_rgb_jls_lossy_sample.dcm", "JPEG-LS, near lossless"),
        ("SC_rgb_gdcm_KY.dcm", "JPEG 2000"),
        ("SC_rgb_rle.dcm", "RLE"),
        ("SC_ybr_full_422_uncompressed.dcm", "native YBR_FULL_422"),
    ],
)
def test_colours_of_files_of_others(name: str, plugins: str) -> None:
    """All are the same test card: stripes of red, green, blue and their mixtures from row 5 on, every ten rows."""
    pixels = pixels_of(shipped(name)).astype(int)
    assert pixels.shape == (100, 100, 3)
    for row, colour in ((5, (255, 0, 0)), (25, (0, 255, 0)), (45, (0, 0, 255))):
        assert np.abs(pixels[row, 50] - colour).max() <= 8, (plugins, pixels[row, 50])


def test_baseline_and_extended_jpeg_equal_pillow() -> None:
    values = np.asarray(Image.fromarray(grey(8, size=(8, 6))).resize((48, 40)))
    frame = jpeg(values)
    decoded = np.asarray(Image.open(io.BytesIO(frame))).astype(float)
    spread = np.rint(255 * (decoded - decoded.min()) / (decoded.max() - decoded.min()))
    for syntax in (JPEGBaseline8Bit, JPEGExtended12Bit):
        difference = np.abs(pixels_of(encapsulated(frame, syntax, values)) - spread)
        assert difference.max() <= 3  # another decoder may round another way


def test_a_scan_that_says_no_coefficients_is_read_all_the_same() -> None:
    """As writers of old mammograms left it: start and end of the spectral selection are both 0."""
    values = np.asarray(Image.fromarray(grey(8, size=(8, 6))).resize((48, 40)))
    frame = jpeg(values)
    place = frame.index(b"\xff\xda") + 7
    assert frame[place : place + 2] == b"\0\x3f"
    broken = frame[:place] + b"\0\0" + frame[place + 2 :]
    whole = pixels_of(encapsulated(frame, JPEGExtended12Bit, values))
    np.testing.assert_array_equal(pixels_of(encapsulated(broken, JPEGExtended12Bit, values)), whole)
    if (SHIPPED / "JPEG-lossy.dcm").is_file():
        assert pixels_of(shipped("JPEG-lossy.dcm")).std() > 5


def test_deep_colours_keep_their_upper_byte() -> None:
    values = np.random.default_rng(4).integers(0, 65536, (33, 35, 3), dtype=np.uint16)
    for data in (dicom(values), compressed(values, RLELossless)):
        np.testing.assert_array_equal(pixels_of(data), values >> 8)


# Greys


def test_a_window_by_hand() -> None:
    """Centre 1000, width 401: 799.5 is black, 1199.5 white, so 900 is (900 - 999.5) / 400 + .5 = .25125 of 255."""
    values = np.full((32, 32), 900, np.uint16)
    values[0, :4] = (799, 1200, 1000, 4095)
    told, pixels = in_process(dicom(values, 12, WindowCenter=1000, WindowWidth=401))
    assert pixels is not None
    assert pixels[0, :4].tolist() == [0, 255, 128, 255]
    assert pixels[1, 1] == 64
    assert "The file's own grey window was applied." in told["notes"]
    exact = pixels_of(dicom(values, 12, WindowCenter=1000, WindowWidth=400, VOILUTFunction="LINEAR_EXACT"))
    assert exact[1, 1] == round(255 * 0.25)
    sigmoid = pixels_of(dicom(values, 12, WindowCenter=1000, WindowWidth=400, VOILUTFunction="SIGMOID"))
    assert sigmoid[1, 1] == round(255 / (1 + np.e))
    several = pixels_of(dicom(values, 12, WindowCenter=[1000, 5], WindowWidth=[401, 5]))
    np.testing.assert_array_equal(several, pixels)


def test_rescaled_values_meet_the_window() -> None:
    """2 x 500 - 100 = 900, as above."""
    values = np.full((32, 32), 500, np.uint16)
    data = dicom(values, 12, RescaleSlope=2, RescaleIntercept=-100, WindowCenter=1000, WindowWidth=401)
    assert (pixels_of(data) == 64).all()


@pytest.mark.parametrize(
    "window", [{}, {"WindowCenter": 5, "WindowWidth": 0}, {"WindowCenter": "1e400", "WindowWidth": 5}]
)
def test_without_a_window_the_used_range_is_spread(window: dict[str, Any]) -> None:
    """100 to 300: 150 is a quarter of the way."""
    values = np.full((32, 32), 150, np.uint16)
    values[0, :2] = (100, 300)
    told, pixels = in_process(dicom(values, 12, **window))
    assert pixels is not None
    assert (pixels[0, 0], pixels[0, 1], pixels[1, 1]) == (0, 255, 64)
    assert any("stretched" in note for note in told["notes"])


def test_monochrome1_is_turned_around_and_padding_is_black() -> None:
    values = np.full((32, 32), 150, np.uint16)
    values[0, :4] = (100, 300, 4000, 4095)
    told, pixels = in_process(
        dicom(values, 12, PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=4000, PixelPaddingRangeLimit=4095)
    )
    assert pixels is not None
    assert pixels[0, :4].tolist() == [255, 0, 0, 0]
    assert pixels[1, 1] == 191
    assert "The greys were inverted, as the file says (MONOCHROME1)." in told["notes"]


def test_signed_padding() -> None:
    values = np.full((32, 32), 50, np.int16)
    values[0, :3] = (-2000, 0, 100)
    pixels = pixels_of(dicom(values, PixelPaddingValue=-2000))
    assert pixels[0, :3].tolist() == [0, 0, 255]
    assert pixels[1, 1] == 128


def test_lookup_tables_by_hand() -> None:
    """The modality's table turns 0, 1, 2, 3 into 0, 10, 20, 30; that of the greys these into 0, 255, 64, 128."""
    values = np.zeros((32, 32), np.uint8)
    values[0, :4] = (0, 1, 2, 3)
    modality, voi = Dataset(), Dataset()
    modality.LUTDescriptor, modality.LUTData, modality.ModalityLUTType = [4, 0, 8], [0, 10, 20, 30], "US"
    table = np.zeros(31, int)
    table[[10, 20, 30]] = (255, 64, 128)
    voi.LUTDescriptor, voi.LUTData = [31, 0, 8], table.tolist()
    for item in (modality, voi):
        item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    told, pixels = in_process(dicom(values, ModalityLUTSequence=Sequence([modality]), VOILUTSequence=Sequence([voi])))
    assert pixels is not None, told
    assert pixels[0, :4].tolist() == [0, 255, 64, 128]


def test_bits_of_an_overlay_above_the_values_are_not_seen() -> None:
    values = grey(12)
    np.testing.assert_array_equal(pixels_of(dicom(values | 0xA000, 12)), pixels_of(dicom(values, 12)))


def test_first_of_several_frames() -> None:
    frames = np.stack([np.full((32, 32), value, np.uint8) for value in (0, 99)])
    frames[0, 0, 0] = 255
    dataset = dataset_of(frames[0], NumberOfFrames=2)
    dataset.PixelData = frames.tobytes()
    told, pixels = in_process(written(dataset))
    np.testing.assert_array_equal(pixels, frames[0])
    assert told["notes"][0] == FIRST_OF_SEVERAL


# The patch


def test_the_patch(tmp_path: Path) -> None:
    values = grey(12)
    data = dicom(values, 12, Modality="MG", PixelSpacing=[0.05, 0.07], BurnedInAnnotation="YES")
    path = tmp_path / "1.2.840.99"
    path.write_bytes(data)
    patch = read_image(path)
    assert (patch.format, patch.name, patch.stated) == ("DICOM", "1.2.840.99", "a mammogram")
    assert patch.pixel_size is not None and (patch.pixel_size.rows, patch.pixel_size.columns) == pytest.approx((50, 70))
    assert patch.pixels.shape == (40, 48, 3)
    assert patch.pixels.flags.c_contiguous
    assert not patch.pixels.flags.writeable
    np.testing.assert_array_equal(patch.pixels[..., 1], np.rint(255 * values.astype(float) / 4095))
    assert patch.notes[0] == "The file says that text is burnt into the image: it may name a patient."


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ({}, None),
        ({"ImagerPixelSpacing": [0.1, 0.1]}, (100, 100)),
        ({"PixelSpacing": [0.2, 0.2], "ImagerPixelSpacing": [0.1, 0.1]}, (200, 200)),
        ({"PixelSpacing": [0, 0]}, None),
        ({"PixelSpacing": ["1e300", "1"]}, None),
    ],
)
def test_pixel_size(header: dict[str, Any], size: tuple[float, float] | None) -> None:
    told, _ = in_process(dicom(grey(8), **header))
    assert told["pixel_size"] == (None if size is None else (*map(pytest.approx, size), "DICOM"))


@pytest.mark.parametrize(
    ("header", "stated"),
    [
        ({}, None),
        ({"Modality": "MG"}, "a mammogram"),
        ({"Modality": "MG", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.2"}, "a digital mammogram"),
        ({"Modality": "MG", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.13.1.3"}, "a digital mammogram"),
        ({"Modality": "SM"}, "microscopy"),
        ({"Modality": "CT"}, "computed tomography"),
        ({"Modality": "OT"}, None),
        ({"Modality": "NOBODY"}, None),
    ],
)
def test_what_the_file_says_it_is(header: dict[str, Any], stated: str | None) -> None:
    assert in_process(dicom(grey(8), **header))[0]["stated"] == stated


@pytest.mark.slow
def test_nothing_of_the_patient_is_kept(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Not in the answer of the process, not in the patch, not in a sentence, not in a log."""
    data = film_dicom(grey(8), StudyDescription=PATIENT, WindowCenterWidthExplanation=PATIENT)
    answers: list[dict[str, Any]] = []
    ask = decoding._ask

    def noted(*arguments: Any) -> Any:
        answers.append(ask(*arguments)[0])
        return ask(*arguments)

    monkeypatch.setattr(decoding, "_ask", noted)
    patch = read_image(data)
    with pytest.raises(IntakeError) as caught:
        read_image(data[: len(data) // 2])
    captured = capfd.readouterr()
    for text in (json.dumps(answers), repr(patch), str(caught.value), captured.out + captured.err):
        for secret in ("Unbekannt", "4711", "19500101"):
            assert secret not in text
    assert set(answers[0]) == {"kind", "shape", "notes", "pixel_size", "stated", "turned"}


# What is refused


def sentence(data: bytes) -> str:
    with pytest.raises(IntakeError) as caught:
        read_image(data, "film.dcm")
    message = str(caught.value)
    assert message.startswith("'film.dcm' ")
    assert message.endswith(".")
    assert len(message) < 200
    return message


def without(name: str, **header: Any) -> bytes:
    dataset = dataset_of(grey(8), **header)
    delattr(dataset, name)
    return written(dataset)


def huge(rows: int) -> bytes:
    dataset = dataset_of(grey(16))
    dataset.Rows = dataset.Columns = rows
    return written(dataset)


NEST = struct.pack("<HH2sHI", 0x0028, 0x3010, b"SQ", 0, 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)


def nested(times: int) -> bytes:
    data = dicom(grey(8))
    return data[: data.index(struct.pack("<HH", 0x0010, 0x0010))] + NEST * times


def without_syntax() -> bytes:
    dataset = dataset_of(grey(8))
    data = written(dataset)
    place = data.index(struct.pack("<HH2s", 0x0002, 0x0010, b"UI"))
    return data[:place] + struct.pack("<HH2sH", 0x0002, 0x0100, b"UI", 20) + data[place + 8 :]


REFUSED: dict[str, tuple[Callable[[], bytes], type[IntakeError], str]] = {
    "nothing but the letters": (lambda: PREAMBLE, UnreadableImage, "damaged|transfer syntax"),
    "text": (lambda: PREAMBLE + b"no such thing" * 50, UnreadableImage, "damaged|transfer syntax"),
    "no transfer syntax": (without_syntax, UnreadableImage, "transfer syntax"),
    "no pixels": (lambda: without("PixelData"), UnreadableImage, "without an image"),
    "no rows": (lambda: without("Rows"), UnreadableImage, "size"),
    "half": (lambda: dicom(grey(16))[:2000], UnreadableImage, "damaged"),
    "huge": (lambda: huge(60_000), TooLarge, "60000 x 60000"),
    "just too large": (lambda: huge(6929), TooLarge, "at most 48"),
    "larger than its data": (lambda: huge(6000), UnreadableImage, "damaged"),
    "tiny": (lambda: dicom(grey(8, size=(20, 40))), TooSmall, "40 x 20"),
    "frames": (lambda: dicom(grey(8), NumberOfFrames=2**31 - 1), UnreadableImage, "damaged"),
    "palette": (lambda: dicom(grey(8), PhotometricInterpretation="PALETTE COLOR"), UnsupportedFormat, "grey values"),
    "four samples": (lambda: dicom(grey(8), SamplesPerPixel=4), UnsupportedFormat, "grey values"),
    "one bit": (lambda: dicom(grey(8), BitsAllocated=1), UnsupportedFormat, "1 bits"),
    "floats": (lambda: dicom(grey(8), FloatPixelData=b"\0" * 8), UnsupportedFormat, "floating"),
    "odd bits": (lambda: dicom(grey(12), 12, HighBit=15), UnsupportedFormat, "unusual bits"),
    "video": (
        lambda: encapsulated(b"\0" * 99, UID("1.2.840.10008.1.2.4.100"), grey(8)),
        UnsupportedFormat,
        "compressed in a way",
    ),
    "nonsense in JPEG 2000": (
        lambda: encapsulated(b"\xff\x4f\xff\x51" + b"nonsense" * 40, JPEG2000Lossless, grey(8)),
        UnreadableImage,
        "size",
    ),
    "nonsense in RLE": (lambda: encapsulated(b"\xff" * 640, RLELossless, grey(8)), UnreadableImage, "damaged"),
    "nonsense in JPEG": (lambda: encapsulated(b"\xff\xd8" * 99, JPEGBaseline8Bit, grey(8)), UnreadableImage, "damaged"),
    "another size in JPEG": (
        lambda: encapsulated(jpeg(grey(8, size=(64, 64))), JPEGBaseline8Bit, grey(8)),
        UnreadableImage,
        "size",
    ),
    "nested deep": (lambda: nested(200_000), UnreadableImage, "damaged"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refusals_are_one_sentence(kind: str) -> None:
    make, error, said = REFUSED[kind]
    told, _ = in_process(make(), 32)
    assert "refused" in told
    assert {"large": TooLarge, "small": TooSmall, "unsupported": UnsupportedFormat, "damaged": UnreadableImage}[
        told["refused"]
    ] is error
    assert any(part in told["why"] for part in said.split("|")), told
    assert told["why"].endswith(".")


@pytest.mark.slow
def test_a_refusal_through_the_front_door() -> None:
    assert sentence(huge(60_000)) == "'film.dcm' is 60000 x 60000 pixels; at most 48 megapixels are accepted."
    assert "is a damaged" in sentence(dicom(grey(16))[:2000])


# Fuzz


SAMPLES = {
    "native": dicom(grey(12), 12, WindowCenter=2000, WindowWidth=4000, PixelSpacing=[0.1, 0.1]),
    "rgb": dicom(np.random.default_rng(8).integers(0, 256, (33, 35, 3), dtype=np.uint8)),
    "rle": compressed(grey(12), RLELossless, 12),
    "j2k": compressed(grey(12), JPEG2000Lossless, 12),
}


def attempt(data: bytes) -> None:
    told, pixels = in_process(data, 32)
    if pixels is None:
        assert told["refused"] in ("large", "small", "unsupported", "damaged")
        assert told["why"].endswith(".")
        assert "Unbekannt" not in told["why"]
    else:
        assert pixels.dtype == np.uint8


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", SAMPLES)
def test_truncation_is_refused(kind: str) -> None:
    data = SAMPLES[kind]
    for length in [*range(132, 500, 23), *range(500, len(data) - 40, 211)]:
        attempt(data[:length])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@examples(150)
@given(
    kind=st.sampled_from(sorted(SAMPLES)),
    changes=st.lists(st.tuples(st.integers(132, 2**16), st.integers(0, 255)), min_size=1, max_size=12),
    header_only=st.booleans(),
)
def test_flipped_bytes_give_a_image_or_a_sentence(kind: str, changes: list[tuple[int, int]], header_only: bool) -> None:
    data = bytearray(SAMPLES[kind])
    for position, value in changes:
        data[132 + position % ((1000 if header_only else len(data)) - 132)] = value
    attempt(bytes(data))


@pytest.mark.slow
def test_flipped_bytes_of_an_old_decoder_end_with_their_process() -> None:
    """Its C may crash on damaged streams; whatever happens in its process, here it is a sentence or an image."""
    rng = np.random.default_rng(11)
    frame = jpeg(grey(8, size=(40, 48)))
    for _ in range(6):
        damaged = bytearray(frame)
        for position in rng.integers(20, len(frame), 8):
            damaged[position] = rng.integers(0, 256)
        try:
            patch = read_image(encapsulated(bytes(damaged), JPEGExtended12Bit, grey(8)))
        except IntakeError as refusal:
            assert str(refusal).endswith(".")
        else:
            assert isinstance(patch, Patch)


# Real files


@pytest.mark.slow
def test_a_real_mammogram(shared_data: Path) -> None:
    patch = read_image(shared_data / "slides" / "mammogram_jpeg_extended.dcm")
    assert (patch.height, patch.width) == (4664, 3064)
    assert "12-bit values were reduced to 8 bits." in patch.notes
    assert np.ptp(patch.pixels) > 200
    label, background = patch.pixels[200:700, 2350:2850, 0], patch.pixels[900:1400, 2350:2600, 0]
    # The letters L MLO, and nothing below them.
    assert np.percentile(label, 99) > 200 > 60 > np.percentile(background, 99)
    assert patch.stated is None


def test_a_real_slide_gives_its_first_tile(shared_data: Path) -> None:
    patch = read_image(shared_data / "slides" / "vl_wsi_jpeg.dcm")
    assert patch.pixels.shape == (500, 500, 3)
    assert patch.stated == "microscopy"
    assert FIRST_OF_SEVERAL in patch.notes


@pytest.mark.slow
def test_sixteen_bit_films_in_png_have_sensible_greys() -> None:
    """A scanner whose brightest value is 5000 uses 13 bits: the film's brightest grey is then 5000 / 32 = 156."""
    film = draw_film().pixels[..., 0].astype(np.uint16)
    for highest, brightest in ((4095, 255), (5000, 156), (16383, 255), (20000, 156), (65535, 255)):
        values = np.rint(film.astype(float) * highest / film.max()).astype(np.uint16)
        out = io.BytesIO()
        Image.fromarray(values).save(out, "PNG")
        patch = read_image(out.getvalue())
        assert patch.pixels.max() == brightest
        assert film_reason(np.asarray(Image.fromarray(patch.pixels).resize((224, 224)))) is None
