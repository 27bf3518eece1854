"""Tiny slides as the scanners of several vendors write them, with drawn tissue, from the formats' public descriptions.

They exercise recognition, pyramids, pixel sizes and the images that lie beside the slide, not the scanners' quirks.
Every place for a name holds `MARKER`, which must never be seen again.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.uid import JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage, generate_uid
from tifffile import TiffWriter

from dala.phantoms.tissue import draw

MARKER = "SMITH-JANE-4711"
SIDE, GLASS = 256, 243
Pixels = NDArray[np.uint8]
Levels = list[Pixels]


@lru_cache(maxsize=8)
def drawn(width: int = 2048, height: int = 2048, scale: float = 1.0, seed: int = 0) -> Pixels:
    """Glass with a block of drawn tissue in the middle half; `scale`: pixels per pixel of the phantoms."""
    slide = np.full((height, width, 3), GLASS, np.uint8)
    names = ("solid_sheets", "regular_ducts")
    tiles = [draw(name, seed).pixels for name in names]
    if scale != 1:
        tiles = [cv2.resize(one, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) for one in tiles]
    high, wide = tiles[0].shape[:2]
    top, left, bottom, right = height // 4, width // 4, height - height // 4, width - width // 4
    for row, y in enumerate(range(top, bottom, high)):
        for column, x in enumerate(range(left, right, wide)):
            one = tiles[(row + column) % 2]
            slide[y : min(y + high, bottom), x : min(x + wide, right)] = one[: bottom - y, : right - x]
    slide.flags.writeable = False
    return slide


def pyramid(pixels: Pixels, count: int = 4) -> Levels:
    levels = [pixels]
    for _ in range(count - 1):
        levels.append(np.asarray(cv2.resize(levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)))
    return levels


def jpeg(pixels: Pixels, quality: int = 85) -> bytes:
    return cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def tiles(pixels: Pixels, side: int = SIDE) -> Iterator[bytes]:
    """The tiles of a level as JPEG files, those at the edge filled with glass."""
    height, width = pixels.shape[:2]
    for y in range(0, height, side):
        for x in range(0, width, side):
            tile = np.full((side, side, 3), GLASS, np.uint8)
            part = pixels[y : y + side, x : x + side]
            tile[: part.shape[0], : part.shape[1]] = part
            yield jpeg(tile)


def level(file: TiffWriter, pixels: Pixels, **more: Any) -> None:
    """One tiled level in JPEG, brightness and two colour differences of half the resolution."""
    file.write(tiles(pixels), shape=pixels.shape, dtype=np.uint8, tile=(SIDE, SIDE), photometric="ycbcr",
               compression="jpeg", subsampling=(2, 2), **{"metadata": None, **more})  # fmt: skip


def strip(file: TiffWriter, pixels: Pixels, description: str, **more: Any) -> None:
    """A small image beside the slide, uncompressed."""
    file.write(pixels, photometric="rgb", description=description, metadata=None, **more)


def per_cm(um: float, number: int = 0) -> dict[str, Any]:
    return {"resolution": (10_000 / um / 2**number,) * 2, "resolutionunit": "CENTIMETER"}


def labelled() -> Pixels:
    """A label: its pixels spell nothing, but have a colour that no slide has."""
    return np.full((64, 128, 3), (3, 250, 7), np.uint8)


def generic(path: Path, levels: Levels, um: float | None = 0.5) -> None:
    with TiffWriter(path) as file:
        for number, one in enumerate(levels):
            resolution = {} if um is None else per_cm(um, number)
            level(file, one, subfiletype=1 if number else 0, description=MARKER, software=False, **resolution)


def aperio(path: Path, levels: Levels, um: float | None = 0.499) -> None:
    height, width = levels[0].shape[:2]
    head = "Aperio Image Library v11.2.1\r\n"
    stated = "" if um is None else f"|MPP = {um:.4f}"
    with TiffWriter(path) as file:
        told = f"{head}{width}x{height} [0,0 {width}x{height}] (256x256) JPEG/RGB Q=80|AppMag = 20{stated}"
        level(file, levels[0], description=f"{told}|Filename = {MARKER}|Title = {MARKER}", software=False)
        small = levels[-1]
        strip(file, small, f"{head}{width}x{height} -> {small.shape[1]}x{small.shape[0]} - |AppMag = 20")
        for one in levels[1:]:
            told = f"{head}{width}x{height} -> {one.shape[1]}x{one.shape[0]} JPEG/RGB Q=80"
            level(file, one, description=told, software=False)
        strip(file, labelled(), f"{head}label 128x64 {MARKER}", subfiletype=1)
        strip(file, labelled(), f"{head}macro 128x64 {MARKER}", subfiletype=9)


def philips(path: Path, levels: Levels, um: float = 0.5) -> None:
    def attribute(name: str, element: str, kind: str, value: str) -> str:
        group = {"10": "0x301D", "11": "0x301D", "8B": "0x1001"}.get(element[:2], "0x0028")
        return f'<Attribute Name="{name}" Group="{group}" Element="0x{element}" PMSVR="{kind}">{value}</Attribute>'

    def spacing(number: int) -> str:
        mm = um * 2**number / 1000
        return attribute("DICOM_PIXEL_SPACING", "0030", "IDoubleArray", f'"{mm:.6f}" "{mm:.6f}"')

    parts = "".join(
        f'<DataObject ObjectType="PixelDataRepresentation">{spacing(number)}'
        f"{attribute('PIIM_PIXEL_DATA_REPRESENTATION_NUMBER', '8B02', 'IUInt16', str(number))}</DataObject>"
        for number in range(len(levels))
    )
    data = base64.b64encode(jpeg(labelled())).decode()
    images = "".join(
        '<DataObject ObjectType="DPScannedImage">'
        + attribute("PIM_DP_IMAGE_TYPE", "1004", "IString", kind)
        + content
        + "</DataObject>"
        for kind, content in (
            ("LABELIMAGE", attribute("PIM_DP_IMAGE_DATA", "1005", "IString", data)),
            ("MACROIMAGE", attribute("PIM_DP_IMAGE_DATA", "1005", "IString", data)),
            ("WSI", spacing(0) + attribute("PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE", "8B01", "IDataObjectArray",
                                           f"<Array>{parts}</Array>")),
        )
    )  # fmt: skip
    xml = (
        '<?xml version="1.0" encoding="UTF-8" ?><DataObject ObjectType="DPUfsImport">'
        f'<Attribute Name="DICOM_MANUFACTURER" Group="0x0008" Element="0x0070" PMSVR="IString">{MARKER}</Attribute>'
        f'<Attribute Name="PIM_DP_UFS_BARCODE" Group="0x301D" Element="0x1002" PMSVR="IString">{MARKER}</Attribute>'
        f"{attribute('PIM_DP_SCANNED_IMAGES', '1003', 'IDataObjectArray', f'<Array>{images}</Array>')}</DataObject>"
    )
    with TiffWriter(path, bigtiff=True) as file:
        for number, one in enumerate(levels):
            first = {"description": xml, "software": "Philips DP v1.0"} if number == 0 else {"software": False}
            level(file, one, subfiletype=1 if number else 0, **first)


def leica(path: Path, levels: Levels, um: float = 0.5) -> None:
    """The scanned part is the middle of the frame: half as wide and half as high."""
    height, width = levels[0].shape[:2]
    nm, small = round(um * 1000), levels[-1]

    def image(kind: str, sizes: list[tuple[Pixels, int]], view: str, objective: float) -> str:
        dimensions = "".join(
            f'<dimension sizeX="{one.shape[1]}" sizeY="{one.shape[0]}" r="{number}" ifd="{ifd}" />'
            for number, (one, ifd) in enumerate(sizes)
        )
        first = sizes[0][0]
        return (
            f'<image name="{kind}" uuid="urn:uuid:00000000-0000-0000-0000-00000000000{len(sizes)}">'
            '<creationDate>2020-01-01T00:00:00Z</creationDate><device model="TEST;SCN" version="1" />'
            f'<pixels sizeX="{first.shape[1]}" sizeY="{first.shape[0]}">{dimensions}</pixels>{view}'
            f"<scanSettings><objectiveSettings><objective>{objective:g}</objective></objectiveSettings>"
            "<illuminationSettings><numericalAperture>0.4</numericalAperture>"
            "<illuminationSource>brightfield</illuminationSource></illuminationSettings></scanSettings></image>"
        )

    half = f'<view sizeX="{width * nm}" sizeY="{height * nm}" offsetX="{width * nm // 2}" offsetY="{height * nm // 2}" spacingZ="0" />'  # noqa: E501
    whole = f'<view sizeX="{2 * width * nm}" sizeY="{2 * height * nm}" offsetX="0" offsetY="0" spacingZ="0" />'
    xml = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01" '
        'uuid="urn:uuid:00000000-0000-0000-0000-000000000001"><collection name="test" '
        f'uuid="urn:uuid:00000000-0000-0000-0000-000000000009" sizeX="{2 * width * nm}" sizeY="{2 * height * nm}">'
        f"<barcode>{base64.b64encode(MARKER.encode()).decode()}</barcode>"
        + image("main", [(one, number) for number, one in enumerate(levels)], half, 20)
        + image("macro", [(small, len(levels))], whole, 0.6)
        + "</collection></scn>"
    )
    with TiffWriter(path, bigtiff=True) as file:
        for number, one in enumerate([*levels, small]):
            told = {"description": xml} if number == 0 else {}
            level(file, one, software=False, **told, **per_cm(um, number))


def ventana(path: Path, levels: Levels, um: float = 0.465) -> None:
    def xmp(text: str) -> tuple[int, int, int, bytes, bool]:
        data = text.encode()
        return (700, 1, len(data), data, True)

    scan = (
        f'<?xml version="1.0" encoding="utf-8" ?><Metadata><iScan Magnification="20" ScanRes="{um:.4f}" '
        f'UnitNumber="{MARKER}" Barcode1D="{MARKER}" /></Metadata>'
    )
    across, down = levels[0].shape[1] // SIDE, levels[0].shape[0] // SIDE

    def number(column: int, row: int) -> int:  # from the bottom left, alternate rows running back
        return row * across + (column if row % 2 == 0 else across - 1 - column) + 1

    joint = '<TileJointInfo FlagJoined="1" Confidence="99" Direction="{}" Tile1="{}" Tile2="{}" '
    joint += 'OverlapX="0" OverlapY="0" />'
    places = [(column, row) for row in range(down) for column in range(across)]
    joints = "".join(joint.format("RIGHT", number(c, r), number(c + 1, r)) for c, r in places if c + 1 < across)
    joints += "".join(joint.format("UP", number(c, r), number(c, r + 1)) for c, r in places if r + 1 < down)
    info = (
        '<?xml version="1.0" encoding="utf-8" ?><EncodeInfo Ver="2"><SlideInfo><ServerDirectory /></SlideInfo>'
        f'<SlideStitchInfo><ImageInfo AOIScanned="1" AOIIndex="0" NumRows="{down}" NumCols="{across}" Width="{SIDE}" '
        f'Height="{SIDE}" Pos-X="0" Pos-Y="0">{joints}</ImageInfo></SlideStitchInfo>'
        '<AoiOrigin><AOI0 OriginX="0" OriginY="0" /></AoiOrigin></EncodeInfo>'
    )
    with TiffWriter(path, bigtiff=True) as file:
        strip(file, labelled(), "Label_Image", extratags=[xmp(scan)])
        for one, pixels in enumerate(levels):
            tags = [xmp(info)] if one == 0 else []
            level(file, pixels, description=f"level={one} mag={20 / 2**one:g} quality=90", extratags=tags)


def trestle(path: Path, levels: Levels, um: float = 0.5) -> None:
    with TiffWriter(path) as file:
        for number, one in enumerate(levels):
            told = "OverlapsXY=0 0;Background Color=FFFFFF;Objective Power=20;" if number == 0 else None
            level(file, one, subfiletype=1 if number else 0, software="MedScan v1" if number == 0 else False,
                  description=told, resolution=(um, um), resolutionunit="NONE")  # fmt: skip


def ome(path: Path, levels: Levels, um: float | None = 0.5) -> None:
    size = {} if um is None else {f"PhysicalSize{a}": um for a in "XY"} | {f"PhysicalSize{a}Unit": "µm" for a in "XY"}
    with TiffWriter(path, bigtiff=True, ome=True) as file:
        level(file, levels[0], subifds=len(levels) - 1, metadata={"axes": "YXS", "Name": MARKER, **size})
        for one in levels[1:]:
            level(file, one, subfiletype=1)


def mirax(path: Path, levels: Levels, um: float = 0.5) -> None:
    """A slide is a file and the folder of its name beside it: Slidedat.ini, Index.dat, Data0000.dat."""
    folder, ident = path.with_suffix(""), b"0123456789ABCDEF0123456789ABCDEF"
    folder.mkdir(exist_ok=True)
    path.write_bytes(jpeg(labelled()))
    across = levels[0].shape[1] // SIDE
    data, pages = bytearray(b"01.02" + ident + b"000"), []
    for zoom, pixels in enumerate(levels):
        page, wide = [], pixels.shape[1] // SIDE
        for number, tile in enumerate(tiles(pixels)):
            y, x = divmod(number, wide)
            page.append((((y << zoom) * across) + (x << zoom), len(data), len(tile), 0))
            data += tile
        pages.append(page)
    (folder / "Data0000.dat").write_bytes(data)
    head = b"01.02" + ident
    roots = len(head) + 8
    body, table = b"", b""
    for page in pages:
        at = roots + 4 * len(levels) + len(body)
        table += struct.pack("<i", at)
        body += struct.pack("<iiii", 0, at + 8, len(page), 0) + b"".join(struct.pack("<iiii", *one) for one in page)
    (folder / "Index.dat").write_bytes(head + struct.pack("<ii", roots, 0) + table + body)
    lines = ["[GENERAL]", "SLIDE_VERSION = 01.02", f"SLIDE_ID = {ident.decode()}", f"SLIDE_NAME = {MARKER}",
             f"IMAGENUMBER_X = {across}", f"IMAGENUMBER_Y = {levels[0].shape[0] // SIDE}",
             "OBJECTIVE_MAGNIFICATION = 20", "CameraImageDivisionsPerSide = 1", "[HIERARCHICAL]", "HIER_COUNT = 1",
             "NONHIER_COUNT = 0", "INDEXFILE = Index.dat", "HIER_0_NAME = Slide zoom level",
             f"HIER_0_COUNT = {len(levels)}"]  # fmt: skip
    lines += [f"HIER_0_VAL_{zoom}_SECTION = LAYER_0_LEVEL_{zoom}_SECTION" for zoom in range(len(levels))]
    lines += ["[DATAFILE]", "FILE_COUNT = 1", "FILE_0 = Data0000.dat"]
    for zoom in range(len(levels)):
        lines += [f"[LAYER_0_LEVEL_{zoom}_SECTION]", "OVERLAP_X = 0", "OVERLAP_Y = 0",
                  f"MICROMETER_PER_PIXEL_X = {um * 2**zoom}", f"MICROMETER_PER_PIXEL_Y = {um * 2**zoom}",
                  "IMAGE_FORMAT = JPEG", "IMAGE_FILL_COLOR_BGR = 16777215", f"DIGITIZER_WIDTH = {SIDE}",
                  f"DIGITIZER_HEIGHT = {SIDE}", f"IMAGE_CONCAT_FACTOR = {1 if zoom else 0}"]  # fmt: skip
    (folder / "Slidedat.ini").write_text("\n".join(lines) + "\n")


def dicom(path: Path, levels: Levels, um: float = 0.5, colours: str = "YBR_FULL_422") -> None:
    """A pyramid is a file for each level; `path` is the finest one's. `colours`: what the files say of theirs."""
    series = generate_uid()
    for number, one in enumerate(levels):
        height, width = one.shape[:2]
        frames = list(tiles(one))
        head = FileMetaDataset()
        head.TransferSyntaxUID = JPEGBaseline8Bit
        head.MediaStorageSOPClassUID = VLWholeSlideMicroscopyImageStorage
        head.MediaStorageSOPInstanceUID = generate_uid()
        file = Dataset()
        file.file_meta = head
        file.SOPClassUID, file.SOPInstanceUID = head.MediaStorageSOPClassUID, head.MediaStorageSOPInstanceUID
        file.PatientName = file.PatientID = file.BarcodeValue = file.LabelText = MARKER
        file.StudyInstanceUID, file.SeriesInstanceUID, file.FrameOfReferenceUID = generate_uid(), series, generate_uid()
        file.Modality, file.ImageType = "SM", ["ORIGINAL", "PRIMARY", "VOLUME", "NONE" if number == 0 else "RESAMPLED"]
        file.ImageComments = MARKER
        file.Rows = file.Columns = SIDE
        file.TotalPixelMatrixColumns, file.TotalPixelMatrixRows, file.NumberOfFrames = width, height, len(frames)
        file.DimensionOrganizationType = "TILED_FULL"
        file.SamplesPerPixel, file.PhotometricInterpretation, file.PlanarConfiguration = 3, colours, 0
        file.BitsAllocated = file.BitsStored = 8
        file.HighBit, file.PixelRepresentation = 7, 0
        file.LossyImageCompression = "01"
        measures, shared, path_of_light = Dataset(), Dataset(), Dataset()
        measures.PixelSpacing = [um * 2**number / 1000] * 2
        measures.SliceThickness = 0.001
        shared.PixelMeasuresSequence = [measures]
        file.SharedFunctionalGroupsSequence = [shared]
        path_of_light.OpticalPathIdentifier = "1"
        file.OpticalPathSequence = [path_of_light]
        file.NumberOfOpticalPaths = file.TotalPixelMatrixFocalPlanes = 1
        file.PixelData = encapsulate(frames)
        file["PixelData"].is_undefined_length = True
        name = path if number == 0 else path.with_name(f"{path.stem}-{number}.dcm")
        dcmwrite(name, file, enforce_file_format=True)


Make = Callable[[Path, Levels], None]
# The name of a file, what writes it, what it is called, and its pixel size.
VENDORS: dict[str, tuple[Make, str, float]] = {
    "generic.tiff": (generic, "tiled TIFF", 0.5),
    "aperio.svs": (aperio, "Aperio SVS", 0.499),
    "philips.tiff": (philips, "Philips TIFF", 0.5),
    "leica.scn": (leica, "Leica SCN", 0.5),
    "ventana.bif": (ventana, "Ventana BIF", 0.465),
    "trestle.tif": (trestle, "Trestle", 0.5),
    "mirax.mrxs": (mirax, "3DHISTECH MIRAX", 0.5),
    "pyramid.ome.tif": (ome, "OME-TIFF", 0.5),
    "slide.dcm": (dicom, "DICOM", 0.5),
}
