"""An opinion to keep, as files: a PDF of one page, JSON that reads back, PNG panels, GeoJSON of the regions for QuPath.

Everything is taken from one `Explanation`, so what is exported is what is on the screen. No patient data is asked for,
and the image's file name is left out unless the reader says otherwise. But for the date, the same opinion with the
same remarks gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dala.explanation.effect import EffectCurve
from dala.explanation.render import encode_png
from dala.export.geojson import geojson
from dala.export.pdf import pdf
from dala.export.records import explanation_record
from dala.export.report import Remarks, report
from dala.files import json_text, write_bytes
from dala.opinion import Explanation, Opinion, explain

LONGEST_STEM = 120  # bytes of a name; with what follows it, less than the 255 that file systems allow
SHEET_GAP = 8  # pixels
MANIFEST = "explanation.json"


def stem(opinion: Opinion, explanation: Explanation, remarks: Remarks) -> str:
    """How the files of a report begin: the image's fingerprint, or its name where that may be written."""
    named = remarks.with_name and opinion.patch.name
    image = _short(Path(opinion.patch.name).stem) if named else opinion.patch.sha256[:12]
    return f"{image}-{explanation.target}"


def _short(name: str) -> str:
    """Cut between two letters: one may take four bytes, and a name of Chinese ones three times its length."""
    return name.encode("utf-8", "replace")[:LONGEST_STEM].decode("utf-8", "ignore")


def files(
    opinion: Opinion, explanation: Explanation, remarks: Remarks, day: date, effect: EffectCurve | None = None
) -> Iterator[tuple[str, bytes]]:
    """Every export with its file name, the JSON last; raises ReportError as `report` does."""
    name = stem(opinion, explanation, remarks)
    yield f"{name}.pdf", pdf(opinion, explanation, remarks, day, effect)
    yield f"{name}.geojson", geojson(opinion, explanation).encode()
    for panel, content in png_panels(explanation).items():
        yield f"{name}-{panel}.png", content
    yield f"{name}.json", report(opinion, explanation, remarks, day, effect).json().encode()


def export(
    opinion: Opinion,
    explanation: Explanation,
    remarks: Remarks,
    day: date,
    folder: Path,
    effect: EffectCurve | None = None,
) -> list[Path]:
    """Write every file into `folder`, the JSON last: where it lies, the report is complete.

    Raises ReportError as `report` does, OSError if the folder cannot be written.
    """
    manifest = f"{stem(opinion, explanation, remarks)}.json"
    return _write(folder, manifest, files(opinion, explanation, remarks, day, effect))


def export_explanation(
    opinion: Opinion, target: str, rule: str, parameter: float | None, folder: Path
) -> dict[str, object]:
    """Write map.npy, overlay.png, dt_overlay.png and, last, explanation.json; returns what the JSON holds.

    `map.npy` is the raw signed map (h, w) float32 at layer resolution; the images are the page's own, byte for byte.
    Raises RuleError as `explain` does, OSError if the folder cannot be written.
    """
    explanation = explain(opinion, target, rule, parameter)
    record = explanation_record(opinion, explanation)
    raw = BytesIO()
    np.save(raw, opinion.maps[target].values)
    contents = {
        "map.npy": raw.getvalue(),
        "overlay.png": encode_png(explanation.panels.gradcam),
        "dt_overlay.png": encode_png(explanation.panels.dt),
        MANIFEST: json_text(record).encode(),
    }
    _write(folder, MANIFEST, contents.items())
    return record


def _write(folder: Path, manifest: str, contents: Iterable[tuple[str, bytes]]) -> list[Path]:
    """Write the contents, of which the manifest is the last: an old one goes first, so that none lies beside a part."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / manifest).unlink(missing_ok=True)
    written = []
    for name, content in contents:
        write_bytes(folder / name, content)
        written.append(folder / name)
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
