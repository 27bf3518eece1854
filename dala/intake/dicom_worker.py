"""Decodes one DICOM file in a process of its own: `python -I dicom_worker.py MEGABYTES MOST LEAST`.

A DICOM file is a tree of any depth around a stream for one of several old decoders in C and C++. What a damaged or
ill-meant one does to them, to the parser or to memory ends with this process, whose memory and time are bounded, and
not with the one that serves everybody. So nothing of dala is imported here, and dala imports nothing of this.

Standard input is the file. Standard output is one line of JSON and, unless it says `refused`, the pixels: uint8 (rows,
columns) or (rows, columns, 3). Of the header nothing is passed on but the geometry of the pixels, what was done to
them, and a word of `KINDS`; free text, in which a name could stand, never leaves this process.
"""

from __future__ import annotations

import io
import json
import math
import struct
import sys
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

CPU_SECONDS = 60
DAMAGED = "is a damaged, incomplete or unusual DICOM file."
DEPTHS = (8, 16)  # bits a value takes in the file; one, twelve packed, 32 and floating point are no images to analyse
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
GREYS = ("MONOCHROME1", "MONOCHROME2")

# Modality (0008,0060), as far as it says whether a model may analyse the image. Film (RG), secondary captures and the
# like say nothing: there the pixels decide.
KINDS = {
    "MG": "a mammogram",
    "SM": "microscopy",
    "GM": "microscopy",
    "CR": "computed radiography",
    "DX": "digital radiography",
    "CT": "computed tomography",
    "MR": "magnetic resonance",
    "NM": "nuclear medicine",
    "PT": "positron emission tomography",
    "RF": "fluoroscopy",
    "US": "ultrasound",
    "XA": "angiography",
    "ES": "endoscopy",
    "OP": "ophthalmic photography",
    "OPT": "ophthalmic tomography",
    "SEG": "a segmentation",
    "RTDOSE": "a radiation dose",
    "RTIMAGE": "a radiotherapy image",
}
# SOP classes (0008,0016) of detectors; a digitised film is a secondary capture.
DIGITAL = ("1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.13.1.")

# Transfer syntaxes (0002,0010) whose frames are made of JPEG's markers: baseline, 12 bits, lossless, JPEG-LS.
JPEGS = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70, 80, 81))
SIZES = {0xC0, 0xC1, 0xC2, 0xC3, 0xF7}  # markers that begin with the size of the image
SEQUENTIAL = {0xC0, 0xC1}

TAGS = [
    *("SOPClassUID", "Modality", "BurnedInAnnotation", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel"),
    *("PhotometricInterpretation", "PlanarConfiguration", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit", "PixelSpacing", "ImagerPixelSpacing"),
    *("NominalScannedPixelSpacing", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "WindowCenter"),
    *("WindowWidth", "VOILUTFunction", "VOILUTSequence", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
    *("PixelData", "FloatPixelData", "DoubleFloatPixelData", "SharedFunctionalGroupsSequence"),
]


class Refused(Exception):
    """Why the file is not taken: the kind of refusal and the rest of a sentence that begins with the file's name."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind, self.why = kind, why


def damaged(why: str) -> NoReturn:
    raise Refused("damaged", why)


def decode(data: bytes, most: int, least: int) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    """What is said of the image, and its pixels; at most `most` pixels, at least `least` on each side.

    Raises Refused, or whatever pydicom and its decoders raise for damaged bytes.
    """
    import pydicom
    from pydicom.encaps import encapsulate, get_frame
    from pydicom.pixels.decoders.base import get_decoder

    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    dataset = pydicom.dcmread(io.BytesIO(data), specific_tags=list(TAGS))
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        damaged("is a DICOM file that does not say how its pixels are stored (no transfer syntax).")
    if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
        raise Refused("unsupported", "holds floating-point values, which cannot be shown faithfully.")
    if "PixelData" not in dataset:
        damaged("is a DICOM file without an image.")
    rows, columns, colour, stored, signed = _geometry(dataset, most, least)
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise Refused("unsupported", "is compressed in a way that is not accepted, such as video.") from None
    if not decoder.is_available:
        raise Refused("unsupported", "is compressed in a way for which no decoder is installed.")
    frames = int(dataset.get("NumberOfFrames") or 1)
    if syntax in JPEGS:
        frame = get_frame(dataset.PixelData, 0, number_of_frames=frames)
        dataset.PixelData = encapsulate([_sound_jpeg(frame, (rows, columns))])
        dataset.NumberOfFrames = 1
    values, _ = decoder.as_array(dataset, index=0)
    if values.shape != ((rows, columns, 3) if colour else (rows, columns)):
        damaged("is a DICOM file whose image is not of the size that its header says.")

    notes = ["The file holds several pages or frames; the first was taken."] if frames > 1 else []
    if dataset.get("BurnedInAnnotation") == "YES":
        notes.append("The file says that text is burnt into the image: it may name a patient.")
    if stored > 8:
        notes.append(f"{stored}-bit values were reduced to 8 bits.")
    places = _places(values, stored, signed, bool(syntax.is_encapsulated))
    if colour:
        table = (np.arange(2**stored) >> max(stored - 8, 0)).astype(np.uint8)
    else:
        table = _greys(dataset, places, stored, signed, notes)
        notes.append("The image is grey; the three colour channels are equal.")
    told = {
        "rows": rows,
        "columns": columns,
        "samples": 3 if colour else 1,
        "notes": notes,
        "pixel_size_um": _pixel_size(dataset),
        "stated": _kind(dataset),
    }
    return told, table[places]


def _geometry(dataset: Any, most: int, least: int) -> tuple[int, int, bool, int, bool]:
    """Rows, columns, whether it has colours, bits stored, whether signed: checked before any decoder is called."""
    rows, columns = _number(dataset, "Rows"), _number(dataset, "Columns")
    samples, allocated = _number(dataset, "SamplesPerPixel", 1), _number(dataset, "BitsAllocated")
    stored = _number(dataset, "BitsStored", allocated)
    size = f"is {columns} x {rows} pixels"
    if rows * columns > most:
        raise Refused("large", f"{size}; at most {most // 1_000_000} megapixels are accepted.")
    if min(rows, columns) < least:
        raise Refused("small", f"{size}; at least {least} x {least} are needed to see anything.")
    photometric = str(dataset.get("PhotometricInterpretation", "")).strip()
    if (samples, photometric in COLOURS) != (3, True) and (samples, photometric in GREYS) != (1, True):
        raise Refused(
            "unsupported", "holds neither grey values nor RGB or YBR colours, the only kinds that are accepted."
        )
    if allocated not in DEPTHS:
        raise Refused("unsupported", f"holds {allocated} bits a value; 8 to 16 are accepted.")
    if not 1 < stored <= allocated or _number(dataset, "HighBit", stored - 1) != stored - 1:
        raise Refused("unsupported", "stores its values in unusual bits, which cannot be shown faithfully.")
    return rows, columns, samples == 3, stored, _number(dataset, "PixelRepresentation", 0) == 1


def _sound_jpeg(jpeg: bytes, size: tuple[int, int]) -> bytes:
    """The frame, once it is seen to be of the size that was checked, with a scan that can be read.

    The coefficients of a sequential scan are 0 to 63. Writers of old mammograms left 0 to 0 there, which many decoders
    never look at and the one here refuses.
    """
    position, sequential = 2, False
    while (marker := jpeg[position + 1]) != 0xDA:
        if marker in SIZES:
            sequential = marker in SEQUENTIAL
            if struct.unpack_from(">HH", jpeg, position + 5) != size:
                damaged("is a DICOM file whose image is not of the size that its header says.")
        position += 2 + int.from_bytes(jpeg[position + 2 : position + 4], "big")
    place = position + 5 + 2 * jpeg[position + 4]
    broken = sequential and jpeg[place : place + 2] == b"\0\0"
    return jpeg[:place] + b"\0\x3f" + jpeg[place + 2 :] if broken else jpeg


def _number(dataset: Any, name: str, otherwise: int | None = None) -> int:
    value = dataset.get(name)
    if value is None or value == "":
        if otherwise is None:
            damaged("is a DICOM file whose header does not give the size of the image.")
        return otherwise
    return int(value)


def _places(values: NDArray[Any], stored: int, signed: bool, encapsulated: bool) -> NDArray[np.uint16]:
    """Every value as a place in a table of 2**stored: negative ones follow the positive, as in two's complement."""
    if encapsulated:  # a decoder gives whole numbers, whose range the header may have wrong
        low = -(2 ** (stored - 1)) if signed else 0
        values = np.clip(values, low, low + 2**stored - 1)
    # As the file stores them, unused upper bits may hold something else, such as an overlay.
    places: NDArray[np.uint16] = values.astype(np.uint16)
    places &= 2**stored - 1
    return places


def _greys(dataset: Any, places: NDArray[np.uint16], stored: int, signed: bool, notes: list[str]) -> NDArray[np.uint8]:
    """The grey 0..255 of every stored value, as PS3.3 C.11 says: modality transformation, then window or VOI table.

    Where neither is given the range of the values that occur is spread over the greys. Padding becomes black.
    """
    from pydicom.pixels.processing import apply_modality_lut, apply_voi

    count = 2**stored
    levels = np.arange(count)
    if signed:
        levels[count // 2 :] -= count
    padding = np.zeros(count, bool)
    if dataset.get("PixelPaddingValue") is not None:
        # Where it is signed, pydicom may still have read it as unsigned, or the other way round.
        first = int(dataset.PixelPaddingValue)
        last = int(dataset.get("PixelPaddingRangeLimit", first))
        wrapped = np.sort([(one + count // 2) % count - count // 2 if signed else one % count for one in (first, last)])
        padding = (levels >= wrapped[0]) & (levels <= wrapped[1])
    physical = np.asarray(apply_modality_lut(levels, dataset), np.float64)
    table, window = dataset.get("VOILUTSequence"), _window(dataset)
    if table:
        bits = int(table[0].LUTDescriptor[2])
        grey = np.asarray(apply_voi(np.rint(physical).astype(np.int64), dataset), np.float64) / (2**bits - 1)
        notes.append("The file's own grey table (VOI LUT) was applied.")
    elif window is not None:
        grey = _windowed(physical, *window)
        notes.append("The file's own grey window was applied.")
    else:
        used = (np.bincount(places.ravel(), minlength=count) > 0) & ~padding
        lowest, highest = (physical[used].min(), physical[used].max()) if used.any() else (0.0, 1.0)
        grey = (physical - lowest) / max(highest - lowest, 1e-9)
        notes.append("The file names no grey window; its values were stretched over all grey levels.")
    if dataset.PhotometricInterpretation.strip() == "MONOCHROME1":
        grey = 1 - grey
        notes.append("The greys were inverted, as the file says (MONOCHROME1).")
    if not np.isfinite(grey).all():
        damaged("is a DICOM file whose greys are not numbers.")
    grey[padding] = 0
    return np.asarray(np.rint(255 * np.clip(grey, 0, 1)), np.uint8)


def _window(dataset: Any) -> tuple[float, float, str] | None:
    """Centre, width and function of the first window; None where there is none, or one that means nothing."""
    centre, width = _numbers(dataset.get("WindowCenter")), _numbers(dataset.get("WindowWidth"))
    function = str(dataset.get("VOILUTFunction") or "LINEAR").strip()
    if not centre or not width or not math.isfinite(centre[0]) or not math.isfinite(width[0]):
        return None
    if width[0] < 1 if function == "LINEAR" else width[0] <= 0:
        return None
    return centre[0], width[0], function


def _windowed(x: NDArray[np.float64], centre: float, width: float, function: str) -> NDArray[np.float64]:
    """0..1 by PS3.3 C.11.2.1.2.1 and C.11.2.1.3."""
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * (x - centre) / width, -700, 700))), np.float64)
    if function == "LINEAR_EXACT":
        return np.asarray(np.clip((x - centre) / width + 0.5, 0, 1), np.float64)
    if width == 1:
        return np.asarray(x > centre - 0.5, np.float64)
    return np.asarray(np.clip((x - (centre - 0.5)) / (width - 1) + 0.5, 0, 1), np.float64)


def _numbers(value: Any) -> list[float]:
    if value is None or value == "":
        return []
    return [float(one) for one in (value if isinstance(value, list) or hasattr(value, "__iter__") else [value])]


def _pixel_size(dataset: Any) -> list[float] | None:
    """Distance of the rows and of the columns in micrometres; a slide gives it for all its frames together."""
    names = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
    groups = dataset.get("SharedFunctionalGroupsSequence") or []
    measures = [one for group in groups[:1] for one in (group.get("PixelMeasuresSequence") or [])[:1]]
    for holder, name in [*((dataset, name) for name in names), *((one, names[0]) for one in measures)]:
        spacing = _numbers(holder.get(name))
        if len(spacing) == 2 and all(1e-5 < one < 100 for one in spacing):
            return [1000 * one for one in spacing]
    return None


def _kind(dataset: Any) -> str | None:
    kind = KINDS.get(str(dataset.get("Modality", "")).strip())
    if kind == "a mammogram" and str(dataset.get("SOPClassUID", "")).startswith(DIGITAL):
        return "a digital mammogram"
    return kind


def answer(data: bytes, most: int, least: int) -> tuple[dict[str, Any], bytes]:
    """What standard output says: the line of JSON and the pixels. Raises nothing for whatever bytes."""
    try:
        told, values = decode(data, most, least)
        return told, values.tobytes()
    except Refused as refusal:
        return {"refused": refusal.kind, "why": refusal.why}, b""
    except MemoryError:
        return {"refused": "large", "why": "needs more memory than one image may take."}, b""
    # Damaged bytes are met with whatever error comes first; its text may hold what stands in the file.
    except Exception:
        return {"refused": "damaged", "why": DAMAGED}, b""


def main() -> None:
    """Bound this process, decode, answer."""
    megabytes, most, least = (int(one) for one in sys.argv[1:])
    try:
        import resource
    except ImportError:  # not on Windows, where the one who waits still ends it in time
        pass
    else:
        resource.setrlimit(resource.RLIMIT_AS, (megabytes * 2**20, megabytes * 2**20))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    told, pixels = answer(sys.stdin.buffer.read(), most, least)
    sys.stdout.buffer.write(json.dumps(told).encode() + b"\n" + pixels)


if __name__ == "__main__":
    main()
