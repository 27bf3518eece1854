"""The typesetting of a report: its page, fonts and colours, and text, tables and rules as they stand on it."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from reportlab.lib.colors import Color, HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, HRFlowable, Paragraph, Spacer, Table, TableStyle

# In points: 1/72 inch.
PAGE_WIDTH, PAGE_HEIGHT = A4
MARGIN, FOOT = 42.0, 46.0
WIDTH = PAGE_WIDTH - 2 * MARGIN
LABELS = 62.0  # the column of labels

REGULAR, STRONG = "SourceSansPro-Regular", "SourceSansPro-Semibold"
INK, FAINT, LINE, WARNING = (HexColor(value) for value in ("#1f2328", "#5c6168", "#d0d4d9", "#9a3412"))

_CUTTING = Lock()
_REGISTERING = Lock()  # a font that is registered twice would change under a page that another thread is writing

PLAIN = TableStyle(
    [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), 0),
        ("TOPPADDING", (0, 0), (-1, -1), 0),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 1.5),
    ]
)


def drawable(words: str) -> str:
    """Words as the page shows them: what its font (Latin, Greek, Cyrillic) lacks becomes a question mark.

    Accents are joined to their letters; signs that are not seen (joiners, directions, control characters) are left out.
    """
    known = letters()
    shown = []
    for one in unicodedata.normalize("NFC", words):
        kind = unicodedata.category(one)
        if one == "\n" or (ord(one) in known and kind[0] != "C"):
            shown.append(one)
        elif kind[0] == "Z" or one in "\t\r":
            shown.append(" ")
        elif kind not in ("Cc", "Cf", "Mn"):
            shown.append("?")
    return "".join(shown)


def text(words: str, size: float, colour: Color = INK, strong: bool = False) -> Paragraph:
    """A paragraph of plain text: no markup in it is read."""
    shown = drawable(words).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", "<br/>")
    font = STRONG if strong else REGULAR
    return Paragraph(shown, ParagraphStyle("", fontName=font, fontSize=size, leading=1.28 * size, textColor=colour))


def labelled(rows: list[tuple[str, str]], size: float) -> Table:
    cells = [[text(label, size, FAINT), text(value, size)] for label, value in rows]
    return Table(cells, colWidths=[LABELS, WIDTH - LABELS], style=PLAIN)


def divider(space: float) -> list[Flowable]:
    return [Spacer(0, space), HRFlowable(WIDTH, 0.6, color=LINE, spaceBefore=0, spaceAfter=0), Spacer(0, space + 1)]


def height_of(canvas: Canvas, flowables: list[Flowable]) -> float:
    return sum(one.wrapOn(canvas, WIDTH, PAGE_HEIGHT)[1] for one in flowables)


def write(canvas: Canvas, flowables: list[Flowable], top: float, left: float = MARGIN, width: float = WIDTH) -> float:
    """Write one below the other from `top` on; returns where the last one ends."""
    for one in flowables:
        _, tall = one.wrapOn(canvas, width, PAGE_HEIGHT)
        top -= tall
        one.drawOn(canvas, left, top)
    return top


def letters() -> frozenset[int]:
    """The code points that the fonts can draw; registers them first."""
    with _REGISTERING:
        return _registered()


@lru_cache(maxsize=1)
def _registered() -> frozenset[int]:
    import font_source_sans_pro

    folder = Path(font_source_sans_pro.__file__).parent / "files"
    for name in (REGULAR, STRONG):
        pdfmetrics.registerFont(TTFont(name, folder / f"{name}.ttf"))
    font: Any = pdfmetrics.getFont(REGULAR)
    return frozenset(font.face.charToGlyph)


def close(canvas: Canvas, notice: str) -> None:
    """The notice below everything else, and the end of the last page."""
    canvas.setFont(REGULAR, 8)
    canvas.setFillColor(FAINT)
    canvas.drawString(MARGIN, FOOT - 20, notice)
    canvas.showPage()
    # Every document's subset of a font is cut out of one reader of the font's file, which has one place in it.
    with _CUTTING:
        canvas.save()
