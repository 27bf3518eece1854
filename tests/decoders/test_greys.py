"""The greys of a DICOM file by hand; dcm2pnm of DCMTK 3.6.7 gave the same for every case that names it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dala.decoders.process import answer
from dala.decoders.refusal import Bounds
from tests.helpers.dicoms import dicom

RAMP = np.tile(np.arange(0, 4096, 64, dtype=np.uint16), (40, 1))  # 0, 64, 128 ... 4032 in twelve bits
PLACES = [0, 16, 32, 63]  # of the values 0, 1024, 2048, 4032
WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}


def greys(values: np.ndarray = RAMP, bits: int = 12, **header: Any) -> tuple[list[int], list[str]]:
    """The first row's greys at `PLACES`, and the notes."""
    told, pixels = answer(dicom(values, bits, **header), Bounds())
    assert "refused" not in told, told
    return np.frombuffer(pixels, np.uint8).reshape(told["shape"])[0, PLACES].tolist(), told["notes"]


def table(count: int, first: int, bits: int, data: Any, kind: str = "US") -> Sequence:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [count, first, bits])
    item.add_new("LUTData", kind, data)
    return Sequence([item])


UP, DOWN = [0, 64, 128, 251], [255, 191, 127, 4]


@pytest.mark.parametrize(
    ("photometric", "shape", "expected", "contradicts"),
    [
        ("MONOCHROME2", None, UP, False),
        ("MONOCHROME2", "IDENTITY", UP, False),
        ("MONOCHROME2", "INVERSE", DOWN, True),
        ("MONOCHROME1", None, DOWN, False),
        ("MONOCHROME1", "INVERSE", DOWN, False),
        ("MONOCHROME1", "IDENTITY", UP, True),
        ("MONOCHROME1", "", DOWN, False),
        ("MONOCHROME2", "LIN OD", UP, False),
    ],
)
def test_the_shape_of_the_presentation_decides_what_is_white(
    photometric: str, shape: str | None, expected: list[int], contradicts: bool
) -> None:
    """As dcm2pnm does; where the two fields contradict each other a note says so."""
    header = {} if shape is None else {"PresentationLUTShape": shape}
    found, notes = greys(PhotometricInterpretation=photometric, **WINDOW, **header)
    assert np.abs(np.subtract(found, expected)).max() <= 1
    assert any("contradicts itself" in note for note in notes) == contradicts


@pytest.mark.parametrize("kind", ["OW bytes", "OW words", "US", "packed words"])
def test_a_voi_table_of_more_than_256_entries_of_8_bits(kind: str) -> None:
    """The table is value / 16: 1024 is 64."""
    entries = (np.arange(4096) // 16).astype(np.uint8)
    data, vr = {
        "OW bytes": (entries.tobytes(), "OW"),
        "OW words": (entries.astype("<u2").tobytes(), "OW"),
        "US": (entries.tolist(), "US"),
        "packed words": (np.frombuffer(entries.tobytes(), "<u2").tolist(), "US"),
    }[kind]
    found, notes = greys(VOILUTSequence=table(4096, 0, 8, data, vr))
    assert found == [0, 64, 128, 252]
    assert "The file's own grey table (VOI LUT) was applied." in notes


@pytest.mark.parametrize(("says", "holds"), [(10, 10), (12, 12), (14, 14), (16, 16), (16, 12), (8, 12), (10, 16)])
def test_a_voi_table_of_any_width(says: int, holds: int) -> None:
    """The ramp over all greys, whatever the descriptor says where it cannot be true; dcm2pnm shows the true ones so."""
    most = 2**holds - 1
    found, notes = greys(VOILUTSequence=table(4096, 0, says, (np.arange(4096) * most // 4095).tolist()))
    assert np.abs(np.subtract(found, [0, 64, 128, 251])).max() <= 1
    assert any("holds" in note for note in notes) == (says != holds)


def test_a_voi_table_that_begins_later_and_ends_early() -> None:
    """Below 1024 the first entry counts, from 2048 on the last one (PS3.3 C.11.2.1.1); dcm2pnm."""
    found, _ = greys(VOILUTSequence=table(1024, 1024, 12, np.arange(0, 4096, 4).tolist()))
    assert found == [0, 0, 255, 255]


def test_a_voi_table_with_fewer_entries_than_it_says() -> None:
    found, _ = greys(VOILUTSequence=table(4096, 0, 12, list(range(3000))))
    assert found == [0, 64, 128, 187]  # 2999 / 4095 of 255; dcm2pnm


def test_a_table_of_65536_entries_is_written_as_0() -> None:
    values = (RAMP * 16).astype(np.uint16)
    found, _ = greys(values, 16, VOILUTSequence=table(0, 0, 16, (np.arange(65536)).astype("<u2").tobytes(), "OW"))
    assert found == [0, 64, 128, 251]


@pytest.mark.parametrize("name", ["ModalityLUTSequence", "VOILUTSequence"])
@pytest.mark.parametrize("items", [[], [Dataset()], [Dataset(), Dataset()]], ids=["none", "empty", "two empty"])
def test_an_empty_table_is_none(name: str, items: list[Dataset]) -> None:
    found, _ = greys(**{name: Sequence(items)}, **WINDOW)
    assert found == greys(**WINDOW)[0]


def test_the_first_table_that_has_entries_is_taken() -> None:
    whole = table(4096, 0, 12, list(range(4095, -1, -1)))[0]
    found, _ = greys(VOILUTSequence=Sequence([Dataset(), whole]))
    assert found == [255, 191, 127, 4]


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_a_modality_table_of_any_width_meets_the_window(bits: int) -> None:
    """The table turns the values round: 4095 - v, in as many bits as it says; the window spans all of them."""
    most = 2**bits - 1
    entries = (np.arange(4095, -1, -1) * most // 4095).tolist()
    found, _ = greys(
        ModalityLUTSequence=table(4096, 0, bits, entries), WindowCenter=2 ** (bits - 1), WindowWidth=2**bits
    )
    assert np.abs(np.subtract(found, [255, 191, 127, 4])).max() <= 1


def test_a_table_of_signed_values_whose_first_was_written_unsigned() -> None:
    values = (RAMP.astype(np.int32) - 2048).astype(np.int16)
    found, _ = greys(values, 12, VOILUTSequence=table(4096, 2**16 - 2048, 12, list(range(4096))))
    assert found == [0, 64, 128, 251]


def test_a_slope_without_an_intercept_and_one_of_nothing() -> None:
    plain, _ = greys(**WINDOW)
    assert greys(RescaleSlope=1, **WINDOW)[0] == plain
    assert greys(RescaleSlope=0, RescaleIntercept=0, **WINDOW)[0] == plain
    assert greys(RescaleIntercept=1024, WindowCenter=3072, WindowWidth=4096)[0] == plain
