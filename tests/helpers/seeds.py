"""Files of every kind that the intake reads, drawn: what the fuzzer begins with."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from tests.helpers.archives import zipped
from tests.helpers.dicoms import dataset_of, dicom, written

RGB = np.asarray(Image.fromarray(np.random.default_rng(6).integers(0, 256, (6, 7, 3), dtype=np.uint8)).resize((52, 44)))
GREY = np.ascontiguousarray(RGB[..., 0])
DEEP = RGB.astype(np.uint16) * 257
TWELVE = GREY.astype(np.uint16) * 16
ALPHA = np.dstack([RGB, GREY])
DICOM_CODECS: dict[str, Callable[[np.ndarray], bytes]] = {
    "50": imagecodecs.jpeg8_encode,
    "51": lambda values: imagecodecs.jpeg8_encode(values, bitspersample=12),
    "70": lambda values: imagecodecs.jpeg8_encode(values, lossless=True, bitspersample=12),
    "80": imagecodecs.jpegls_encode,
    "91": lambda values: imagecodecs.jpeg2k_encode(values, codecformat="j2k"),
}


def encode(image: np.ndarray, format: str, **options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, format, **options)
    return out.getvalue()


def tiff(values: np.ndarray, **options: Any) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, values, **options)
    return out.getvalue()


def pages(*images: np.ndarray) -> bytes:
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as file:
        for number, image in enumerate(images):
            file.write(image, photometric="rgb", subfiletype=int(number < len(images) - 1))
    return out.getvalue()


def encapsulated(number: str, length: int | None = None) -> bytes:
    values = GREY if number == "50" else TWELVE
    dataset = dataset_of(values, 8 if number == "50" else 12, WindowCenter=2000, WindowWidth=4000)
    dataset.file_meta.TransferSyntaxUID = UID(f"1.2.840.10008.1.2.4.{number}")
    dataset.PixelData = encapsulate([DICOM_CODECS[number](values)[:length]])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return written(dataset)


def with_tables() -> bytes:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4096, 0, 12])
    item.add_new("LUTData", "US", list(range(4096)))
    header = {"ModalityLUTSequence": Sequence([item]), "VOILUTSequence": Sequence([item]), "PixelPaddingValue": 0}
    return dicom(TWELVE, 12, PresentationLUTShape="INVERSE", **header)


def of_syntax(syntax: UID) -> bytes:
    dataset = dataset_of(TWELVE, 12, PixelSpacing=[0.1, 0.1])
    if syntax == RLELossless:
        dataset.compress(syntax, generate_instance_uid=False)
    else:
        dataset.file_meta.TransferSyntaxUID = syntax
    return written(dataset)


def masked_bmp() -> bytes:
    words = (RGB.astype(np.uint32) << np.array([22, 12, 2], np.uint32)).sum(axis=2).astype("<u4")
    head = struct.pack("<IiiHHIIiiII", 40, RGB.shape[1], -RGB.shape[0], 1, 32, 3, words.nbytes, 0, 0, 0, 0)
    head += struct.pack("<3I", 0x3FC00000, 0xFF000, 0x3FC)
    return b"BM" + struct.pack("<IHHI", 66 + words.nbytes, 0, 0, 66) + head + words.tobytes()


def profiled_png() -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    data = encode(RGB, "PNG", dpi=(50_800, 50_800))
    extra = chunk(b"iCCP", b"Own\0\0" + zlib.compress(bytes(5000))) + chunk(b"tEXt", b"Comment\0hello")
    return data[:33] + extra + chunk(b"eXIf", EXIF[6:]) + data[33:]


EXIF = b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"
SEEDS: dict[str, Callable[[], bytes]] = {
    "png": lambda: encode(RGB, "PNG"),
    "png profile": profiled_png,
    "png deep alpha": lambda: imagecodecs.png_encode(ALPHA.astype(np.uint16) * 16),
    "png grey": lambda: encode(GREY, "PNG", transparency=7),
    "jpeg": lambda: encode(RGB, "JPEG", exif=EXIF, icc_profile=bytes(3000)),
    "jpeg progressive": lambda: encode(RGB, "JPEG", progressive=True),
    "jpeg cut": lambda: encode(RGB, "JPEG", restart_marker_rows=1)[:-2],
    "jpeg cmyk": lambda: cmyk(),
    "tiff": lambda: tiff(RGB, photometric="rgb", description="ImageJ=1\nunit=um\n"),
    "tiff lzw": lambda: encode(RGB, "TIFF", compression="tiff_lzw"),
    "tiff jpeg": lambda: encode(RGB, "TIFF", compression="jpeg"),
    "tiff fax": lambda: encode(GREY > 128, "TIFF", compression="group4"),
    "tiff deep": lambda: tiff(DEEP, photometric="rgb", compression="zlib", predictor=True),
    "tiff planes": lambda: tiff(DEEP.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"),
    "tiff tiled": lambda: tiff(RGB, photometric="rgb", tile=(16, 16), compression="zlib"),
    "tiff big": lambda: tiff(RGB, photometric="rgb", bigtiff=True, byteorder=">"),
    "tiff jpeg 2000": lambda: tiff(RGB, photometric="rgb", compression="jpeg2000"),
    "tiff webp": lambda: tiff(RGB, photometric="rgb", compression="webp"),
    "tiff zstd": lambda: tiff(ALPHA, photometric="rgb", compression="zstd", extrasamples=["assocalpha"]),
    "tiff lerc": lambda: tiff(RGB, photometric="rgb", compression="lerc"),
    "tiff float": lambda: tiff((RGB / 255).astype(np.float32), photometric="rgb", compression="zlib"),
    "tiff palette": lambda: tiff(GREY % 4, photometric="palette", colormap=np.full((3, 256), 200, np.uint16)),
    "tiff pages": lambda: pages(RGB[:36, :36], RGB),
    "imagej": lambda: tiff(RGB.transpose(2, 0, 1).copy(), imagej=True, metadata={"axes": "CYX", "mode": "composite"}),
    "bmp": lambda: encode(RGB, "BMP"),
    "bmp masks": masked_bmp,
    "webp": lambda: encode(RGB, "WEBP"),
    "webp lossless": lambda: encode(ALPHA, "WEBP", lossless=True, exif=EXIF),
    "pgm": lambda: b"P5\n# drawn\n52 44\n4095\n" + TWELVE.astype(">u2").tobytes(),
    "pgm text": lambda: b"P2 52 44 255\n" + " ".join(map(str, GREY.ravel())).encode(),
    "dicom": lambda: dicom(TWELVE, 12, WindowCenter=2000, WindowWidth=4000, NumberOfFrames=1),
    "dicom colour": lambda: dicom(RGB),
    "dicom tables": with_tables,
    "dicom bare": lambda: dicom(TWELVE, 12)[132:],
    "dicom implicit": lambda: of_syntax(ImplicitVRLittleEndian),
    "dicom deflated": lambda: of_syntax(DeflatedExplicitVRLittleEndian),
    "dicom rle": lambda: of_syntax(RLELossless),
    **{f"dicom {number}": lambda number=number: encapsulated(number) for number in DICOM_CODECS},
    "dicom 80 cut": lambda: encapsulated("80", -2),  # without the marker of its end, for which CharLS looks for seconds
    "zip": lambda: zipped({"a.png": encode(RGB, "PNG"), "DICOM/IM1": dicom(TWELVE, 12), "notes.txt": b"x" * 99}),
}


def cmyk() -> bytes:
    out = io.BytesIO()
    Image.fromarray(RGB).convert("CMYK").save(out, "JPEG")
    return out.getvalue()
