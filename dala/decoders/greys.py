"""The greys that a DICOM file asks for: modality transformation, window or VOI table, and which end is white."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dala.decoders.refusal import damaged

Table = tuple[NDArray[np.int64], int, int]  # entries, the value that the first one is for, bits of an entry


def greys(dataset: Any, places: NDArray[np.uint16], stored: int, signed: bool, notes: list[str]) -> NDArray[np.uint8]:
    """The grey 0..255 of every stored value, as PS3.3 C.11 says; what was done is added to the notes.

    `places`: the values as places in a table of 2**stored, negative ones behind the positive. Where neither window nor
    VOI table is given the range of the values that occur is spread over the greys. Padding becomes black.
    """
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
    physical = _physical(dataset, levels)
    table, window = _table(dataset, "VOILUTSequence"), _window(dataset)
    if table is not None:
        entries, bits = table[0], table[2]
        # Writers name the 16 bits of a word for entries of 12, or 8 for entries that are longer.
        used = int(entries.max()).bit_length()
        if bits == 16 > used > 7 or used > bits:
            notes.append(f"The file's grey table says {bits} bits and holds {used}; they were taken.")
            bits = used
        grey = _looked_up(table, np.rint(physical)) / (2**bits - 1)
        notes.append("The file's own grey table (VOI LUT) was applied.")
    elif window is not None:
        grey = _windowed(physical, *window)
        notes.append("The file's own grey window was applied.")
    else:
        used_levels = (np.bincount(places.ravel(), minlength=count) > 0) & ~padding
        lowest, highest = (
            (physical[used_levels].min(), physical[used_levels].max()) if used_levels.any() else (0.0, 1.0)
        )
        grey = (physical - lowest) / max(highest - lowest, 1e-9)
        notes.append("The file names no grey window; its values were stretched over all grey levels.")
    if _inverted(dataset, notes):
        grey = 1 - grey
    if not np.isfinite(grey).all():
        damaged("is a DICOM file whose greys are not numbers.")
    grey[padding] = 0
    return np.asarray(np.rint(255 * np.clip(grey, 0, 1)), np.uint8)


def _inverted(dataset: Any, notes: list[str]) -> bool:
    """Whether low values are bright: as the shape of the presentation says, which viewers prefer, or else MONOCHROME1.

    The two may contradict each other (PS3.3 C.11.6.1.2 forbids it); files of either meaning exist, hence a note.
    """
    photometric = str(dataset.PhotometricInterpretation).strip()
    shape = str(dataset.get("PresentationLUTShape") or "").strip()
    by_photometric = photometric == "MONOCHROME1"
    inverted = shape == "INVERSE" if shape in ("INVERSE", "IDENTITY") else by_photometric
    if inverted == by_photometric:
        if inverted:
            notes.append("The greys were inverted, as the file says (MONOCHROME1).")
    else:
        notes.append(
            f"The file contradicts itself about black and white ({photometric} and {shape}); the greys were "
            f"{'inverted' if inverted else 'not inverted'}: check that air and background are black."
        )
    return inverted


def _physical(dataset: Any, levels: NDArray[np.int64]) -> NDArray[np.float64]:
    """The stored values as the modality means them, by its table or by slope and intercept."""
    table = _table(dataset, "ModalityLUTSequence")
    if table is not None:
        return _looked_up(table, levels)
    slope, intercept = (numbers(dataset.get(f"Rescale{name}"))[:1] for name in ("Slope", "Intercept"))
    by = slope[0] if slope and slope[0] != 0 else 1.0
    return np.asarray(levels * by + (intercept[0] if intercept else 0.0), np.float64)


def _looked_up(table: Table, values: NDArray[Any]) -> NDArray[np.float64]:
    entries, first, _ = table
    # A table of signed values whose first one was written as unsigned.
    first = first - 2**16 if first >= 2**15 and values.min() < 0 else first
    return entries[np.clip(values - first, 0, len(entries) - 1).astype(np.int64)].astype(np.float64)


def _table(dataset: Any, name: str) -> Table | None:
    """The first usable look-up table of a sequence, its entries of 8 or 16 bits in bytes or words; None without one."""
    for item in dataset.get(name) or []:
        descriptor = numbers(item.get("LUTDescriptor"))
        if len(descriptor) < 3:
            continue
        count, first, bits = int(descriptor[0]) & 0xFFFF or 2**16, int(descriptor[1]), int(descriptor[2])
        entries = _entries(item.get("LUTData"), count, bits, dataset.original_encoding[1] is not False)
        if len(entries) and entries.max() > 0:
            return entries, first, bits if 0 < bits <= 16 else int(entries.max()).bit_length()
    return None


def _entries(data: Any, count: int, bits: int, little: bool) -> NDArray[np.int64]:
    if isinstance(data, bytes):
        if len(data) < 2 * count and bits <= 8 and len(data) - count in (0, 1):
            return np.frombuffer(data, np.uint8)[:count].astype(np.int64)
        words = np.frombuffer(data[: len(data) // 2 * 2], "<u2" if little else ">u2").astype(np.int64)
    elif data is None:
        return np.zeros(0, np.int64)
    else:
        words = np.asarray(numbers(data), np.float64).astype(np.int64) & 0xFFFF
    if len(words) < count and bits <= 8 and len(words) == (count + 1) // 2:  # two of 8 bits in a word
        words = np.stack([words & 0xFF, words >> 8], axis=1).ravel()
    return words[:count]


def _window(dataset: Any) -> tuple[float, float, str] | None:
    """Centre, width and function of the first window; None where there is none, or one that means nothing."""
    centre, width = numbers(dataset.get("WindowCenter")), numbers(dataset.get("WindowWidth"))
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


def numbers(value: Any) -> list[float]:
    if value is None or value == "":
        return []
    return [float(one) for one in (value if isinstance(value, list) or hasattr(value, "__iter__") else [value])]
