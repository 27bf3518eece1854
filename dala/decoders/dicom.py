"""A DICOM file as greys or colours of 8 bits: the first frame, as the file asks for it to be shown.

Of the header nothing is passed on but the geometry of the pixels, what was done to them, and a word of `KINDS`; free
text, in which a name could stand, is never read. Frames are decoded by pydicom (native, RLE) and imagecodecs (JPEG of 8
and 12 bits, lossless JPEG, JPEG-LS, JPEG 2000).
"""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dala.decoders import frames
from dala.decoders.decoded import Decoded
from dala.decoders.greys import greys, numbers
from dala.decoders.refusal import Bounds, damaged, unsupported

PREAMBLE, MAGIC = 128, b"DICM"
DIRECTORY = "1.2.840.10008.1.3.10"  # SOP class
OVERSHOOT = 0.01  # share of values that a lossy codec may push over the end of their range
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

TAGS = [
    *("SOPClassUID", "Modality", "BurnedInAnnotation", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel"),
    *("PhotometricInterpretation", "PlanarConfiguration", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit", "PixelSpacing", "ImagerPixelSpacing"),
    *("NominalScannedPixelSpacing", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "WindowCenter"),
    *(
        "WindowWidth",
        "VOILUTFunction",
        "PresentationLUTShape",
        "VOILUTSequence",
        "ExtendedOffsetTable",
        "ExtendedOffsetTableLengths",
    ),
    *("PixelData", "FloatPixelData", "DoubleFloatPixelData", "SharedFunctionalGroupsSequence"),
]


def decode(data: bytes, bounds: Bounds) -> Decoded:
    """The first frame. Raises Refused or Large, or whatever pydicom and the decoders raise for damaged bytes."""
    import pydicom
    from pydicom.encaps import get_frame
    from pydicom.pixels.decoders.base import get_decoder

    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    dataset = pydicom.dcmread(io.BytesIO(data), specific_tags=list(TAGS), force=True)
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None and not has_preamble(data):
        syntax = dataset.file_meta.TransferSyntaxUID = _plain_syntax(dataset)
    if syntax is None:
        damaged("is a DICOM file that does not say how its pixels are stored (no transfer syntax).")
    if dataset.file_meta.get("MediaStorageSOPClassUID") == DIRECTORY:
        unsupported("is the directory of a DICOM medium (DICOMDIR); the images are beside it.")
    if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
        unsupported("holds floating-point values, which cannot be shown faithfully.")
    if "PixelData" not in dataset:
        damaged("is a DICOM file without an image.")
    rows, columns, colour, stored, signed = _geometry(dataset, bounds)
    count = int(dataset.get("NumberOfFrames") or 1)
    if syntax in frames.SYNTAXES:
        photometric = str(dataset.PhotometricInterpretation).strip()
        frame = frames.decode(
            get_frame(dataset.PixelData, 0, number_of_frames=count),
            syntax,
            (rows, columns),
            3 if colour else 1,
            photometric,
        )
    else:
        try:
            decoder = get_decoder(syntax)
        except NotImplementedError:
            unsupported("is compressed in a way that is not accepted, such as video.")
        if not decoder.is_available:
            unsupported("is compressed in a way for which no decoder is installed.")
        frame = frames.Frame(decoder.as_array(dataset, index=0)[0], exact=True)
    values = frame.values
    if values.shape != ((rows, columns, 3) if colour else (rows, columns)):
        damaged(frames.OTHER_SIZE)
    if frame.ycc and colour:
        values = frames.rgb_of_ycc(values, stored)

    notes = ["The file holds several pages or frames; the first was taken."] if count > 1 else []
    held = int(values.max()).bit_length()
    if not frame.exact and not signed and held > stored and np.mean(values >= 2**stored) > OVERSHOOT:
        notes.append(f"The header says {stored} bits a value, the image holds {held}; they were taken.")
        stored = held
    if dataset.get("BurnedInAnnotation") == "YES":
        notes.append("The file says that text is burnt into the image: it may name a patient.")
    if stored > 8:
        notes.append(f"{stored}-bit values were reduced to 8 bits.")
    places = _places(values, stored, signed, frame.exact)
    if colour:
        table = (np.arange(2**stored) >> max(stored - 8, 0)).astype(np.uint8)
    else:
        table = greys(dataset, places, stored, signed, notes)
        notes.append("The image is grey; the three colour channels are equal.")
    return Decoded(table[places], notes, _pixel_size(dataset), _kind(dataset))


def has_preamble(data: bytes) -> bool:
    """The four letters behind the preamble (PS3.10, 7.1)."""
    return data[PREAMBLE : PREAMBLE + len(MAGIC)] == MAGIC


def is_dicom(data: bytes) -> bool:
    """By content: with a preamble, or as a data set that begins at once, as old archives and programs wrote it.

    The first element is then one of group 2 or 8, either with two letters of its kind and a short length, or with the
    length alone.
    """
    if has_preamble(data):
        return True
    if len(data) < 16:
        return False
    for order in "<>":
        group, element = struct.unpack_from(order + "HH", data)
        (long,) = struct.unpack_from(order + "I", data, 4)
        (short,) = struct.unpack_from(order + "H", data, 6)
        known = data[4:6] in (b"UL", b"UI", b"OB", b"CS", b"DA", b"SH", b"LO", b"TM")
        if (group == 2 and element in (0, 1, 2)) or (group == 8 and element <= 0x20):
            return (known and short <= 64) or long <= 64
    return False


def _plain_syntax(dataset: Any) -> Any:
    """That of a file which does not say it: not compressed, in the encoding that was found."""
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    implicit, little = dataset.original_encoding
    if "PixelData" in dataset and bytes(dataset.PixelData[:4]) == b"\xfe\xff\0\xe0":
        return None
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _geometry(dataset: Any, bounds: Bounds) -> tuple[int, int, bool, int, bool]:
    """Rows, columns, whether it has colours, bits stored, whether signed: checked before any decoder is called."""
    rows, columns = _number(dataset, "Rows"), _number(dataset, "Columns")
    samples, allocated = _number(dataset, "SamplesPerPixel", 1), _number(dataset, "BitsAllocated")
    stored = _number(dataset, "BitsStored", allocated)
    bounds.check(columns, rows)
    photometric = str(dataset.get("PhotometricInterpretation", "")).strip()
    if (samples, photometric in COLOURS) != (3, True) and (samples, photometric in GREYS) != (1, True):
        unsupported("holds neither grey values nor RGB or YBR colours, the only kinds that are accepted.")
    if allocated not in DEPTHS:
        unsupported(f"holds {allocated} bits a value; 8 to 16 are accepted.")
    if not 1 < stored <= allocated or _number(dataset, "HighBit", stored - 1) != stored - 1:
        unsupported("stores its values in unusual bits, which cannot be shown faithfully.")
    return rows, columns, samples == 3, stored, _number(dataset, "PixelRepresentation", 0) == 1


def _number(dataset: Any, name: str, otherwise: int | None = None) -> int:
    value = dataset.get(name)
    if value is None or value == "":
        if otherwise is None:
            damaged("is a DICOM file whose header does not give the size of the image.")
        return otherwise
    return int(value)


def _places(values: NDArray[Any], stored: int, signed: bool, exact: bool) -> NDArray[np.uint16]:
    """Every value as a place in a table of 2**stored: negative ones follow the positive, as in two's complement.

    Bits above those that are stored hold something else, such as an overlay, or repeat the sign, or do not: they are
    masked. What a lossy codec has pushed over either end of the range is brought back to it instead.
    """
    if not exact and (values.min() < 0 or values.max() >= 2**stored):
        low = -(2 ** (stored - 1)) if signed else 0
        values = np.clip(values, low, low + 2**stored - 1)
    places: NDArray[np.uint16] = values.astype(np.uint16)
    places &= 2**stored - 1
    return places


def _pixel_size(dataset: Any) -> tuple[float, float, str] | None:
    """Distance of the rows and of the columns in micrometres; a slide gives it for all its frames together."""
    names = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
    groups = dataset.get("SharedFunctionalGroupsSequence") or []
    measures = [one for group in groups[:1] for one in (group.get("PixelMeasuresSequence") or [])[:1]]
    for holder, name in [*((dataset, name) for name in names), *((one, names[0]) for one in measures)]:
        spacing = numbers(holder.get(name))
        if len(spacing) == 2 and all(1e-5 < one < 100 for one in spacing):
            return 1000 * spacing[0], 1000 * spacing[1], "DICOM"
    return None


def _kind(dataset: Any) -> str | None:
    kind = KINDS.get(str(dataset.get("Modality", "")).strip())
    if kind == "a mammogram" and str(dataset.get("SOPClassUID", "")).startswith(DIGITAL):
        return "a digital mammogram"
    return kind
