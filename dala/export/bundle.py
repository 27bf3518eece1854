"""An opinion to keep: PDF of one page, JSON that reads back, PNG panels, GeoJSON of the regions for QuPath.

Everything is taken from one `Explanation`, so what is exported is what is on the screen. No patient data is asked for,
and the image's file name is left out unless the person says otherwise. But for the date, the same opinion with the
same words gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dala.errors import ReportError
from dala.explanation.effect import EffectCurve
from dala.explanation.render import encode_png
from dala.export.geojson import geojson, polygons, ring_area
from dala.export.pdf import drawable, pdf
from dala.export.report import (
    LONGEST_COMMENT,
    OWN_READS,
    SCHEMA,
    FirstRead,
    OwnRead,
    Report,
    Words,
    read_report,
    report,
)
from dala.opinion import Explanation, Opinion

__all__ = [
    "LONGEST_COMMENT",
    "OWN_READS",
    "SCHEMA",
    "FirstRead",
    "OwnRead",
    "Report",
    "ReportError",
    "Words",
    "drawable",
    "export",
    "files",
    "geojson",
    "pdf",
    "png_panels",
    "polygons",
    "read_report",
    "report",
    "ring_area",
    "stem",
]

LONGEST_STEM = 80
SHEET_GAP = 8  # pixels


def stem(opinion: Opinion, explanation: Explanation, words: Words) -> str:
    """How the files of a report begin: the image's fingerprint, or its name where that may be written."""
    named = words.with_name and opinion.patch.name
    image = Path(opinion.patch.name).stem[:LONGEST_STEM] if named else opinion.patch.sha256[:12]
    return f"{image}-{explanation.target}"


def files(
    opinion: Opinion, explanation: Explanation, words: Words, day: date, effect: EffectCurve | None = None
) -> Iterator[tuple[str, bytes]]:
    """Every export with its file name, the JSON last; raises ReportError as `report` does."""
    name = stem(opinion, explanation, words)
    yield f"{name}.pdf", pdf(opinion, explanation, words, day, effect)
    yield f"{name}.geojson", geojson(opinion, explanation).encode()
    for panel, content in png_panels(explanation).items():
        yield f"{name}-{panel}.png", content
    yield f"{name}.json", report(opinion, explanation, words, day, effect).json().encode()


def export(
    opinion: Opinion,
    explanation: Explanation,
    words: Words,
    day: date,
    folder: Path,
    effect: EffectCurve | None = None,
) -> list[Path]:
    """Write every file into `folder`, the JSON last: where it lies, the report is complete.

    Raises ReportError as `report` does, OSError if the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{stem(opinion, explanation, words)}.json").unlink(missing_ok=True)
    written = []
    for name, content in files(opinion, explanation, words, day, effect):
        partial = folder / f"{name}.partial"
        partial.write_bytes(content)
        written.append(partial.replace(folder / name))
    return written


def png_panels(explanation: Explanation) -> dict[str, bytes]:
    """The images of the page by name: patch, gradcam, dt, bar, and `sheet` with all of them side by side."""
    parts = explanation.panels
    images = {"patch": parts.patch, "gradcam": parts.gradcam, "dt": parts.dt, "bar": parts.bar}
    return {name: encode_png(pixels) for name, pixels in {**images, "sheet": _sheet(list(images.values()))}.items()}


def _sheet(images: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    height = max(one.shape[0] for one in images)
    width = sum(one.shape[1] + SHEET_GAP for one in images) - SHEET_GAP
    sheet = np.full((height, width, 3), 255, dtype=np.uint8)
    left = 0
    for one in images:
        sheet[: one.shape[0], left : left + one.shape[1]] = one
        left += one.shape[1] + SHEET_GAP
    return sheet
