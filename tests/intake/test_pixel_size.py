"""The pixel size of real and made files, in the order in which their sources are believed."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational, ImageFileDirectory_v2
from pydicom.dataset import Dataset

from dala.errors import IntakeError
from dala.intake.image import read_image
from dala.intake.pixel_size import PixelSize, given, of_name
from tests.helpers.dicoms import dicom

PIXELS = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
OME = (
    '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
    '<Pixels BigEndian="false" DimensionOrder="XYCZT" ID="Pixels:0" SizeX="60" SizeY="40" {} Type="uint8">'
)


def tiff(description: str | bytes | None = None, **tags: Any) -> bytes:
    """A TIFF with these tags; a resolution is a pair (x, y) per `unit`, 2 an inch, 3 a centimetre."""
    info = ImageFileDirectory_v2()
    if description is not None:
        info[270] = description
        info.tagtype[270] = 2
    if "resolution" in tags:
        info[282], info[283] = (IFDRational(round(100 * one), 100) for one in tags["resolution"])
        info[296] = tags["unit"]
    for number, value in tags.get("other", {}).items():
        info[number] = value
    out = io.BytesIO()
    Image.fromarray(PIXELS).save(out, "TIFF", tiffinfo=info)
    return out.getvalue()


def size_of(data: bytes, name: str | None = None) -> tuple[float, float, str, str] | None:
    size = read_image(data, name).pixel_size
    return None if size is None else (round(size.rows, 6), round(size.columns, 6), size.source, size.told)


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        ('PhysicalSizeX="0.25" PhysicalSizeY="0.3"', (0.3, 0.25)),
        ('PhysicalSizeX="0.25" PhysicalSizeXUnit="µm" PhysicalSizeY="0.3" PhysicalSizeYUnit="µm"', (0.3, 0.25)),
        ('PhysicalSizeX="0.25" PhysicalSizeXUnit="&#181;m"', (0.25, 0.25)),
        ('PhysicalSizeX="250" PhysicalSizeXUnit="nm" PhysicalSizeY="0.0003" PhysicalSizeYUnit="mm"', (0.3, 0.25)),
        ('PhysicalSizeX="2.5e-1"', (0.25, 0.25)),
        ('PhysicalSizeX="250"', None),  # a quarter of a millimetre shows no tissue
        ('PhysicalSizeX="1" PhysicalSizeXUnit="pixel"', None),
        ('PhysicalSizeX="0.25" PhysicalSizeY="2.5"', None),  # no microscope does that
        ('SizeZ="1"', None),
    ],
)
def test_ome_xml(pixels: str, expected: tuple[float, float] | None) -> None:
    found = size_of(tiff(OME.format(pixels).encode()))
    assert found == (None if expected is None else (*expected, "file", "OME-XML"))


@pytest.mark.parametrize("unit", ["micron", "um", "\\u00B5m", "µm"])
def test_imagej(unit: str) -> None:
    # Pixels per unit: 4 along the rows, 2 down the columns.
    description = f"ImageJ=1.53t\nunit={unit}\nloop=false\n".encode()
    assert size_of(tiff(description, resolution=(4, 2), unit=1)) == (0.5, 0.25, "file", "ImageJ")


def test_imagej_without_a_unit_is_not_believed() -> None:
    assert size_of(tiff("ImageJ=1.53t\nimages=1\n", resolution=(4, 4), unit=1)) is None


def test_a_slides_properties() -> None:
    aperio = (
        "Aperio Image Library v11.2.1 \n46000x32914 [0,0 2220x2967] (240x240) JPEG/RGB Q=30|AppMag = 20|MPP = 0.4990"
    )
    assert size_of(tiff(aperio, resolution=(300, 300), unit=2)) == (0.499, 0.499, "file", "slide properties")


@pytest.mark.parametrize(
    ("resolution", "unit", "expected"),
    [
        ((20_000, 25_000), 3, (0.4, 0.5)),  # per centimetre, 10,000 um; x and y, rows and columns
        ((50_800, 50_800), 2, (0.5, 0.5)),  # per inch: 25,400 um
        ((72, 72), 2, None),
        ((96, 96), 2, None),
        ((300, 300), 2, None),
        ((28.35, 28.35), 3, None),
        ((20_000, 20_000), 1, None),  # of no unit
        ((0, 0), 3, None),
    ],
)
def test_resolution_of_a_tiff(resolution: tuple[float, float], unit: int, expected: tuple[float, float] | None) -> None:
    found = size_of(tiff(resolution=resolution, unit=unit))
    assert found == (None if expected is None else (*expected, "file", "TIFF resolution"))


def test_a_tiff_without_tags_says_nothing() -> None:
    assert size_of(tiff()) is None


def test_a_turned_tiff_has_turned_pixels() -> None:
    # Orientation 6: the rows of the file are the columns of the image.
    data = tiff(resolution=(20_000, 25_000), unit=3, other={274: 6})
    patch = read_image(data)
    assert (patch.height, patch.width) == (60, 40)
    assert size_of(data) == (0.5, 0.4, "file", "TIFF resolution")


@pytest.mark.parametrize(("per_metre", "expected"), [(2_000_000, 0.5), (2835, None), (3780, None), (11_811, None)])
def test_resolution_of_a_png(per_metre: int, expected: float | None) -> None:
    out = io.BytesIO()
    Image.fromarray(PIXELS).save(out, "PNG", dpi=(per_metre * 0.0254, per_metre * 0.0254))
    assert b"pHYs" + per_metre.to_bytes(4, "big") * 2 + b"\1" in out.getvalue()
    assert size_of(out.getvalue()) == (None if expected is None else (expected, expected, "file", "PNG resolution"))


def test_dicom() -> None:
    grey = PIXELS[..., 0]
    assert size_of(dicom(grey, PixelSpacing=[0.0005, 0.00025])) == (0.5, 0.25, "file", "DICOM")
    measures, group = Dataset(), Dataset()
    measures.PixelSpacing = [0.0004, 0.0004]
    group.PixelMeasuresSequence = [measures]
    assert size_of(dicom(grey, SharedFunctionalGroupsSequence=[group])) == (0.4, 0.4, "file", "DICOM")
    assert size_of(dicom(grey, SharedFunctionalGroupsSequence=[Dataset()])) is None


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("SOB_B_A-14-22549AB-40-001.png", (700, 460), (1.75, 1.75)),
        ("SOB_B_A-14-22549AB-100-001.png", (700, 460), (0.7, 0.7)),
        ("SOB_M_DC-14-4364-200-001.png", (700, 456), (0.35, 0.35)),
        ("SOB_M_DC-14-4364-400-001.png", (700, 460), (0.175, 0.175)),
        # Squeezed whole: 245 um over 224 columns, 161 um over 224 rows.
        ("SOB_M_DC-14-4364-200-001.png", (224, 224), (161 / 224, 245 / 224)),
        ("SOB_M_DC-14-4364-40-001.png", (224, 224), (805 / 224, 1225 / 224)),
        ("SOB_M_DC-14-4364-200-001.png", (350, 460), None),  # a part of one, or another edition
        ("SOB_M_DC-14-4364-50-001.png", (700, 460), None),
        ("my SOB_M_DC-14-4364-200-001.png", (700, 460), None),
        ("", (700, 460), None),
    ],
)
def test_breakhis(name: str, size: tuple[int, int], expected: tuple[float, float] | None) -> None:
    found = of_name(name, *size)
    if expected is None:
        assert found is None
    else:
        assert found is not None and found.source == "name"
        assert (found.rows, found.columns) == pytest.approx(expected)


def test_the_user_comes_before_the_file_and_the_file_before_the_name() -> None:
    name = "SOB_M_DC-14-4364-200-001.png"
    pixels = np.zeros((460, 700, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", dpi=(50_800, 50_800))
    data = out.getvalue()
    assert size_of(data, name) == (0.5, 0.5, "file", "PNG resolution")
    assert read_image(data, name, 0.25).pixel_size == PixelSize(0.25, 0.25, "user")
    assert read_image(pixels, name).pixel_size == PixelSize(0.35, 0.35, "name", "BreakHis 200X")


def test_what_is_given_is_a_size_or_a_sentence() -> None:
    assert given(None) is None
    for wrong in (0, math.nan, 50, (1, 2, 3)):
        with pytest.raises(IntakeError, match=r"^[A-Z].*\.$"):
            given(wrong)  # type: ignore[arg-type]


def test_of_a_film_it_is_known_and_not_microscopic() -> None:
    size = read_image(dicom(PIXELS[..., 0], PixelSpacing=[0.05, 0.05])).pixel_size
    assert size is not None and size.rows == pytest.approx(50) and not size.microscopic


@pytest.mark.parametrize("length", [10, 100_000])
def test_hostile_descriptions_end_quickly(length: int) -> None:
    for text in ("<Pixels " * length, "MPP" * length, "MPP = " + "1" * length, "unit=" * length, OME[:-1] * 20):
        read_image(tiff(text.encode()))


def test_real_files(shared_data: Path) -> None:
    slide = read_image(shared_data / "slides" / "CMU-1-Small-Region.svs")
    assert slide.pixel_size == PixelSize(0.499, 0.499, "file", "slide properties")
    original = next((shared_data / "breakhis_originals").rglob("*-200-*.png"))
    assert read_image(original).pixel_size == PixelSize(0.35, 0.35, "name", "BreakHis 200X")
    squeezed = next((shared_data / "breakhis_200x_224").rglob("*-200-*.png"))
    size = read_image(squeezed).pixel_size
    assert size is not None and (224 * size.rows, 224 * size.columns) == pytest.approx((161, 245))
    assert read_image(next((shared_data / "tnbc" / "images").glob("*.jpg"))).pixel_size is None
