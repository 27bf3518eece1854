"""The report of a scan on paper: one A4 page with the map, the numbers, the regions, and what they are worth."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from PIL import Image
from reportlab import rl_config
from reportlab.lib.pagesizes import A4
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, Spacer, Table

from dala.export.typeset import (
    FAINT,
    FOOT,
    MARGIN,
    PAGE_HEIGHT,
    PLAIN,
    WARNING,
    WIDTH,
    close,
    divider,
    height_of,
    labelled,
    letters,
    text,
    write,
)
from dala.opinion import NOTICE
from dala.slides.tiled import Pixels

TITLE = "DALA scan of a slide"
MOST_REGIONS = 8  # rows of the table; JSON and GeoJSON have all

rl_config.useA85 = 0


def report_pdf(content: dict[str, Any], drawn: Pixels) -> bytes:
    """One page from the content of the report and its map."""
    letters()
    file = BytesIO()
    canvas = Canvas(file, pagesize=A4, invariant=1)
    canvas.setTitle(TITLE)
    canvas.setAuthor("DALAResNet50")
    canvas.setSubject(NOTICE)
    above = [
        text(TITLE, 15, strong=True),
        text(f"{NOTICE} {content['date']}.", 8.5, FAINT),
        *divider(5),
        *(_sentences(content)),
    ]
    end = [*divider(4), *_regions(content), *_provenance(content)]
    top = write(canvas, above, PAGE_HEIGHT - MARGIN) - 6
    floor = FOOT + height_of(canvas, end)
    write(canvas, end, floor)
    height, width = drawn.shape[:2]
    scale = min(WIDTH / width, max(40.0, top - floor - 6) / height)
    left = MARGIN + (WIDTH - scale * width) / 2
    canvas.drawImage(ImageReader(Image.fromarray(drawn)), left, top - scale * height, scale * width, scale * height)
    close(canvas, f"{NOTICE} DALAResNet50 (arXiv 2308.13150).")
    return file.getvalue()


def _sentences(content: dict[str, Any]) -> list[Flowable]:
    warned = not content["complete"], content["mostly_outside"] is not None
    told: list[Flowable] = []
    for number, sentence in enumerate(content["sentences"]):
        first = number < sum(warned)
        told.append(text(sentence, 10, WARNING, strong=True) if first else text(sentence, 10))
        told.append(Spacer(0, 2))
    return told


def _regions(content: dict[str, Any]) -> list[Flowable]:
    groups, singles = content["regions"], len(content["single_fields"])
    more = f"{singles} malignant fields stand alone. " if singles != 1 else "1 malignant field stands alone. "
    if not groups:
        return [text(f"No two malignant fields touch each other. {more if singles else ''}", 8.5), Spacer(0, 3)]
    head = ("Region", "Fields", "Area", "Highest", "Mean", "Box: left, top, right, bottom (px of the slide)")
    rows = [[text(one, 8, FAINT) for one in head]]
    for one in groups[:MOST_REGIONS]:
        box = ", ".join(str(edge) for edge in one["box"])
        cells = (
            f"{one['number']}",
            f"{len(one['fields'])}",
            f"{one['mm2']:.2f} mm2",
            *map(_percent, (one["highest"], one["mean"])),
            box,
        )
        rows.append([text(cell, 8.5) for cell in cells])
    hidden = len(groups) - MOST_REGIONS
    told = more + (f"{hidden} more regions are in the JSON and the GeoJSON." if hidden > 0 else "")
    return [Table(rows, colWidths=[44, 44, 60, 54, 54, WIDTH - 256], style=PLAIN), text(told, 8, FAINT), Spacer(0, 3)]


def _provenance(content: dict[str, Any]) -> list[Flowable]:
    slide, weights, um = content["slide"], content["weights"], content["slide"]["um"]
    size = f"{um['columns']:g}" if um["rows"] == um["columns"] else f"{um['columns']:g} x {um['rows']:g}"
    tissue = "" if slide["tissue_mm2"] is None else f"; {slide['tissue_mm2']:.1f} mm2 of tissue"
    rows = [
        ("Slide", f"{slide['format']}, {slide['width']:,} x {slide['height']:,} px at {size} um per pixel "
                  f"({'given by the user' if um['told'] else 'stated by the file'}){tissue}\n"
                  f"fingerprint {slide['fingerprint']}"),
        ("Fields", f"{slide['fields']:,} of 245 x 161 um with tissue on a tenth of them or more; probabilities are "
                   "calibrated on single images of other patients, not on fields of slides."),
        ("Weights", f"{weights['weights']}, run by {weights['engine']}\nsha256 {weights['weights_sha256']}"),
        *([("Site", f"{weights['site']['name']}, sha256 {weights['site']['sha256']}")] if weights["site"] else []),
    ]  # fmt: skip
    return [labelled(rows, 8)]


def _percent(p: float) -> str:
    """Never 100 %: rounding must not make a model certain."""
    return "over 99 %" if p > 0.99 else f"{100 * p:.0f} %"
