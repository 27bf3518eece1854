"""An opinion to keep: PDF of one page, JSON that reads back, PNG panels, GeoJSON of the regions for QuPath.

Everything is taken from one `Explanation`, so what is exported is what is on the screen. No patient data is asked for,
and the picture's file name is left out unless the person says otherwise. But for the date, the same opinion with the
same words gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from jsonschema import Draft202012Validator
from numpy.typing import NDArray
from PIL import Image
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Paragraph

from dala.explain.render import encode_png
from dala.explain.threshold import RULES
from dala.opinion import NOTICE, Explanation, Opinion, explanation_record

SCHEMA = Path(__file__).with_suffix(".schema.json")
VERSION = 1
LONGEST_COMMENT = 1000
MOST_REGIONS = 6  # rows of the table in the PDF; JSON and GeoJSON have all
OwnRead = Literal["benign", "malignant", "not sure"]
OWN_READS: tuple[OwnRead, ...] = ("benign", "malignant", "not sure")
MARGIN, GAP = 40.0, 12.0
REGULAR, STRONG = "SourceSansPro-Regular", "SourceSansPro-Semibold"
INK, FAINT, RULE, WARNING = (HexColor(value) for value in ("#1f2328", "#62676d", "#d0d4d9", "#9a3412"))


class ReportError(ValueError):
    """A comment that is too long, or a file that is no report of this tool: one sentence for the user."""


@dataclass(frozen=True)
class Words:
    """What the person adds: their own call, whether they agree with the model's (None: not said), and a comment."""

    comment: str = ""
    own_read: OwnRead | None = None
    agree: bool | None = None
    with_name: bool = False


@dataclass(frozen=True)
class Report:
    """A report's content, ready for JSON and equal to what is read back from it."""

    content: dict[str, Any]

    def json(self) -> str:
        return json.dumps(self.content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def report(opinion: Opinion, explanation: Explanation, words: Words, day: date) -> Report:
    """The content of a report; raises ReportError for a comment of more than `LONGEST_COMMENT` characters."""
    if len(words.comment) > LONGEST_COMMENT:
        raise ReportError(f"The comment may hold at most {LONGEST_COMMENT} characters, not {len(words.comment)}.")
    card = opinion.model.card
    record = explanation_record(opinion, explanation)
    record.pop("ms")  # another run of the same opinion takes another time
    if not words.with_name:
        record["file"] = None
    values = opinion.maps[explanation.target].values
    return Report(
        {
            "schema": VERSION,
            "date": day.isoformat(),
            "opinion": {**record, "map": {**record["map"], "values": values.tolist()}},  # type: ignore[dict-item]
            "model": {
                "title": card.fields["title"],
                "trained_on": card.fields["training_data"]["name"],
                "protocol": card.fields["metrics"]["protocol"],
                "measured": {
                    key: card.fields["metrics"]["values"][key]
                    for key in ("auc", "balanced_accuracy")
                    if key in card.fields["metrics"]["values"]
                },
            },
            "person": {"comment": words.comment, "own_read": words.own_read, "agree": words.agree},
        }
    )


def read_report(text: str) -> Report:
    """A report from its JSON; raises ReportError for anything that the published schema does not allow."""
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ReportError("This is not a report: it is not JSON.") from error
    problem = next(iter(Draft202012Validator(json.loads(SCHEMA.read_text())).iter_errors(content)), None)
    if problem is not None:
        place = "/".join(str(part) for part in problem.absolute_path) or "the whole"
        raise ReportError(f"This is not a report of version {VERSION}: {place} is not as the schema wants it.")
    return Report(content)


# Regions as polygons


def polygons(region: NDArray[np.bool_], scale: tuple[float, float]) -> list[list[list[list[float]]]]:
    """The outlines of a mask (H, W) along its pixels' edges, as GeoJSON's MultiPolygon coordinates.

    scale: patch pixels per mask pixel (y, x). Each part that hangs together by edges is a polygon, its outer ring first
    and then its holes; parts that touch at a corner only are polygons of their own, so that every ring is simple. The
    shoelace area of all rings is the mask's area times the scale, exactly.
    """
    count, parts = cv2.connectedComponents(region.astype(np.uint8), connectivity=4)
    padded = np.pad(parts, 1)
    inside = padded[1:-1, 1:-1] > 0
    found: dict[int, list[list[list[float]]]] = {label: [] for label in range(1, count)}
    # Directed edges with the region at their right hand, as seen with y downwards: clockwise around a part.
    following: dict[tuple[int, int, int], list[tuple[int, int]]] = {}
    for rows, columns, start, end in (
        (slice(0, -2), slice(1, -1), (0, 0), (1, 0)),  # nothing above: along the top, to the right
        (slice(1, -1), slice(2, None), (1, 0), (1, 1)),  # nothing right of it: down
        (slice(2, None), slice(1, -1), (1, 1), (0, 1)),  # nothing below: to the left
        (slice(1, -1), slice(0, -2), (0, 1), (0, 0)),  # nothing left of it: up
    ):
        for y, x in np.argwhere(inside & (padded[rows, columns] == 0)).tolist():
            key = (int(parts[y, x]), x + start[0], y + start[1])
            following.setdefault(key, []).append((x + end[0], y + end[1]))
    while following:
        label, x, y = next(iter(following))
        ring, direction = [(x, y)], (0, 0)
        while True:
            ends = following[(label, *ring[-1])]
            # Where a part meets itself at a corner, turn left: that keeps to the same gap, and every ring simple.
            here = ring[-1]
            end = max(ends, key=lambda to: _turn(direction, (to[0] - here[0], to[1] - here[1])))
            ends.remove(end)
            if not ends:
                del following[(label, *here)]
            direction = (end[0] - here[0], end[1] - here[1])
            if end == ring[0]:
                break
            ring.append(end)
        corners = [
            point
            for before, point, after in zip([ring[-1], *ring[:-1]], ring, [*ring[1:], ring[0]], strict=True)
            if (point[0] - before[0]) * (after[1] - point[1]) != (point[1] - before[1]) * (after[0] - point[0])
        ]
        scaled = [[x * scale[1], y * scale[0]] for x, y in [*corners, corners[0]]]
        # A part's first edge in reading order is on its outer ring, which therefore comes first.
        found[label].append(scaled)
    return [rings for rings in found.values()]


def _turn(coming: tuple[int, int], going: tuple[int, int]) -> int:
    """0 for a right turn as seen with y downwards, 1 straight on, 2 left."""
    return 1 - (coming[0] * going[1] - coming[1] * going[0])


def ring_area(ring: list[list[float]]) -> float:
    """Shoelace area of a closed ring, positive if it runs clockwise as seen with y downwards."""
    x, y = np.array(ring).T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)


def geojson(opinion: Opinion, explanation: Explanation) -> str:
    """The regions as a FeatureCollection in pixels of the picture, as QuPath opens it: a Feature a region."""
    height, width = explanation.field.shape
    scale = (opinion.patch.height / height, opinion.patch.width / width)
    _, labels = cv2.connectedComponents(explanation.regions.mask.astype(np.uint8), connectivity=8)
    features = []
    for number, region in enumerate(explanation.regions.regions, start=1):
        x, y = region.contours[0][0]
        features.append(
            {
                "type": "Feature",
                "geometry": {"type": "MultiPolygon", "coordinates": polygons(labels == labels[y, x], scale)},
                "properties": {
                    "objectType": "annotation",
                    "name": f"{number}: towards {explanation.target}",
                    "classification": {"name": f"DT Grad-CAM {explanation.target}", "color": [0, 114, 178]},
                    "measurements": {
                        "Area (% of the picture)": 100 * region.area,
                        "Evidence (% of the positive)": 100 * region.evidence,
                        "Threshold (raw map units)": explanation.regions.threshold,
                    },
                },
            }
        )
    return json.dumps({"type": "FeatureCollection", "features": features}, allow_nan=False) + "\n"


# Pictures


def png_panels(explanation: Explanation) -> dict[str, bytes]:
    """The pictures of the page by name: patch, gradcam, dt, bar, and `sheet` with all of them side by side."""
    parts = explanation.panels
    pictures = {"patch": parts.patch, "gradcam": parts.gradcam, "dt": parts.dt, "bar": parts.bar}
    return {name: encode_png(pixels) for name, pixels in {**pictures, "sheet": _sheet(list(pictures.values()))}.items()}


def _sheet(pictures: list[NDArray[np.uint8]], gap: int = 8) -> NDArray[np.uint8]:
    height = max(one.shape[0] for one in pictures)
    sheet = np.full((height, sum(one.shape[1] + gap for one in pictures) - gap, 3), 255, dtype=np.uint8)
    left = 0
    for one in pictures:
        sheet[: one.shape[0], left : left + one.shape[1]] = one
        left += one.shape[1] + gap
    return sheet


# PDF


@lru_cache(maxsize=1)
def _letters() -> frozenset[int]:
    """Register the fonts once; the code points that they can draw."""
    import font_source_sans_pro

    folder = Path(font_source_sans_pro.__file__).parent / "files"
    for name in (REGULAR, STRONG):
        pdfmetrics.registerFont(TTFont(name, folder / f"{name}.ttf"))
    font: Any = pdfmetrics.getFont(REGULAR)
    return frozenset(font.face.charToGlyph)


def drawable(text: str) -> str:
    """Text as the PDF shows it: what its font (Latin, Greek, Cyrillic) lacks becomes a question mark."""
    letters = _letters()
    return "".join(one if one == "\n" or ord(one) in letters else "?" for one in text)


def _markup(text: str) -> str:
    """Text for a Paragraph, whose own markup must not be read into what a person has written."""
    safe = drawable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return safe.replace("\n", "<br/>")


def pdf(opinion: Opinion, explanation: Explanation, words: Words, day: date) -> bytes:
    """One A4 page; raises ReportError as `report` does.

    The pictures are embedded without loss, pixel by pixel those of the page.
    """
    content = report(opinion, explanation, words, day).content
    _letters()
    file = BytesIO()
    canvas = Canvas(file, pagesize=A4, invariant=1)
    canvas.setTitle("DALA second opinion")
    canvas.setSubject(NOTICE)
    page = _Page(canvas)
    outside = content["opinion"]["status"] != "ok"
    page.heading(day, content["opinion"]["file"])
    page.verdict(opinion, content["opinion"], outside)
    page.pictures(explanation, content["opinion"])
    page.facts(opinion, content)
    if outside:
        page.mark()
    page.foot()
    canvas.showPage()
    canvas.save()
    return file.getvalue()


class _Page:
    """A page that is written from top to bottom; `y` is where the next line goes."""

    def __init__(self, canvas: Canvas) -> None:
        self.canvas = canvas
        self.width, self.height = A4
        self.y = self.height - MARGIN
        self.inner = self.width - 2 * MARGIN

    def text(
        self, words: str, size: float = 9, strong: bool = False, colour: Any = INK, left: float = MARGIN,
        width: float | None = None, lead: float = 1.3,
    ) -> None:  # fmt: skip
        """A paragraph of safe markup at `y`, which moves below it."""
        style = ParagraphStyle(
            "x", fontName=STRONG if strong else REGULAR, fontSize=size, leading=lead * size, textColor=colour
        )
        paragraph = Paragraph(words, style)
        _, tall = paragraph.wrapOn(self.canvas, width or self.inner, self.height)
        paragraph.drawOn(self.canvas, left, self.y - tall)
        self.y -= tall

    def line(self) -> None:
        self.y -= 5
        self.canvas.setStrokeColor(RULE)
        self.canvas.setLineWidth(0.6)
        self.canvas.line(MARGIN, self.y, self.width - MARGIN, self.y)
        self.y -= 5

    def heading(self, day: date, name: str | None) -> None:
        self.text("DALA second opinion", 15, strong=True)
        told = f"{NOTICE} {day.isoformat()}." + (f" File: {name}" if name else "")
        self.text(_markup(told), 8.5, colour=FAINT)
        self.line()

    def verdict(self, opinion: Opinion, record: dict[str, Any], outside: bool) -> None:
        prediction = opinion.prediction
        best = prediction.label
        p = record["probabilities"][best]
        shown = "over 99 %" if p > 0.99 else f"{100 * p:.0f} %"
        if outside:
            self.text("Outside the model's competence: no verdict", 13, strong=True, colour=WARNING)
            self.text(_markup(str(record["reason"])), 9)
        else:
            self.text("Not sure" if record["not_sure"] else best.capitalize(), 17, strong=True)
            kind = "calibrated probability" if record["calibrated"] else "probability, not calibrated"
            sets = [
                f"with {100 * (1 - float(alpha)):.0f} % confidence: {' or '.join(left)}"
                for alpha, left in sorted(record["sets"].items(), reverse=True)
            ]
            self.text(_markup("; ".join([f"{kind} of {best} {shown}", *sets]) + "."), 9.5)
        self.text(_markup(record["seen"]), 8.5, colour=FAINT)
        self.y -= 6

    def pictures(self, explanation: Explanation, record: dict[str, Any]) -> None:
        """Patch and DT Grad-CAM above, Grad-CAM and the colour bar with the numbers below."""
        parts = explanation.panels
        box = ((self.inner - GAP) / 2, 172.0)
        right = MARGIN + box[0] + GAP
        target = record["target"]
        tall = self._row([(parts.patch, "Patch", MARGIN), (parts.dt, "DT Grad-CAM: above the threshold", right)], box)
        top = self.y
        tall = self._row([(parts.gradcam, f"Grad-CAM towards {target}", MARGIN)], box)
        bottom = self.y
        bar_width = min(box[0] / 3, tall * parts.bar.shape[1] / parts.bar.shape[0])
        self._picture(parts.bar, right, top, (bar_width, tall))
        self.y = top
        left = right + bar_width + GAP
        rule = RULES[record["rule"]]
        limit = record["threshold"]
        for label, value in (
            ("Threshold", "none" if limit is None else f"{limit:.3g} (raw map units)"),
            ("Rule", f"{rule.label}, {rule.parameter} = {record['parameter']:g}"),
            ("Kept area", f"{100 * record['kept_area']:.1f} % of the picture"),
            ("Share of the evidence kept", f"{100 * record['kept_evidence']:.0f} %"),
            ("Regions", f"{len(record['regions'])}"),
            ("Map", f"{record['map']['height']} x {record['map']['width']} cells"),
        ):
            self.text(_markup(label), 7.5, colour=FAINT, left=left, width=self.width - MARGIN - left, lead=1.15)
            self.text(_markup(value), 9, left=left, width=self.width - MARGIN - left, lead=1.25)
            self.y -= 2.5
        if record["no_evidence"]:
            self.text(_markup(record["no_evidence"]), 8, left=left, width=self.width - MARGIN - left)
        self.y = min(self.y, bottom)

    def _row(self, row: list[tuple[NDArray[np.uint8], str, float]], box: tuple[float, float]) -> float:
        tall = max(self._size(pixels, box)[1] for pixels, _, _ in row)
        for pixels, caption, left in row:
            self._picture(pixels, left, self.y, box)
            self.canvas.setFont(REGULAR, 8)
            self.canvas.setFillColor(FAINT)
            self.canvas.drawString(left, self.y - tall - 10, drawable(caption))
        self.y -= tall + 20
        return tall

    def _size(self, pixels: NDArray[np.uint8], box: tuple[float, float]) -> tuple[float, float]:
        height, width = pixels.shape[:2]
        scale = min(box[0] / width, box[1] / height)
        return scale * width, scale * height

    def _picture(self, pixels: NDArray[np.uint8], left: float, top: float, box: tuple[float, float]) -> None:
        width, tall = self._size(pixels, box)
        self.canvas.drawImage(ImageReader(Image.fromarray(pixels)), left, top - tall, width, tall)

    def facts(self, opinion: Opinion, content: dict[str, Any]) -> None:
        record, model, person = content["opinion"], content["model"], content["person"]
        self.line()
        rows = record["regions"][:MOST_REGIONS]
        if rows:
            told = [
                f"{row['number']}: {100 * row['area']:.1f} % of the picture, {100 * row['evidence']:.0f} % of the "
                f"evidence, px {row['box'][0]}, {row['box'][1]} to {row['box'][2]}, {row['box'][3]}"
                for row in rows
            ]
            more = len(record["regions"]) - len(rows)
            half = (len(told) + 1) // 2
            top = self.y
            self.text("<br/>".join(_markup(line) for line in told[:half]), 8, width=self.inner / 2 - GAP)
            bottom, self.y = self.y, top
            self.text(
                "<br/>".join(_markup(line) for line in told[half:] + ([f"and {more} more"] if more else [])),
                8,
                left=MARGIN + self.inner / 2,
                width=self.inner / 2,
            )
            self.y = min(bottom, self.y)
            self.line()
        said = []
        if person["own_read"] is not None:
            said.append(f"Own read: {person['own_read']}.")
        if person["agree"] is not None:
            said.append("Agrees with the model." if person["agree"] else "Disagrees with the model.")
        if said or person["comment"]:
            self.text("Comment", 9, strong=True)
            if said:
                self.text(_markup(" ".join(said)), 9)
            if person["comment"]:
                self.text(_markup(person["comment"]), 9)
            self.line()
        self.text(f"<b>Evidence.</b> {_markup(evidence_line(model))}", 8)
        gate = record["gate"]
        rarer = (
            "" if gate["rarer"] is None else f" {100 * gate['rarer']:.0f} % of true patches were at least as far away."
        )
        passed = "passed" if gate["reason"] is None else f"not passed ({gate['reason']})"
        maps = "averaged over eight symmetries and four shifts" if opinion.steadied else "of one view"
        self.text(
            _markup(
                f"Gate {passed}.{rarer} Weights {record['weights']} ({model['title']}), sha256 "
                f"{record['weights_sha256'][:16]}, engine {record['engine']}. Picture sha256 {record['sha256'][:16]}, "
                f"{record['picture']['width']} x {record['picture']['height']} px. Map {maps}; it shows what moved "
                "this model, not where a lesion is."
            ),
            8,
            colour=FAINT,
        )

    def mark(self) -> None:
        """The sentence across the page that nobody overlooks when it is cut out or copied."""
        self.canvas.saveState()
        self.canvas.translate(self.width / 2, self.height / 2)
        self.canvas.rotate(52)
        self.canvas.setFillColor(WARNING, alpha=0.16)
        self.canvas.setFont(STRONG, 44)
        self.canvas.drawCentredString(0, 0, "outside the model's competence")
        self.canvas.restoreState()

    def foot(self) -> None:
        self.canvas.setFont(REGULAR, 7.5)
        self.canvas.setFillColor(FAINT)
        self.canvas.drawString(MARGIN, 24, f"{NOTICE} DALAResNet50 and DT Grad-CAM (arXiv 2308.13150).")


def evidence_line(model: dict[str, Any]) -> str:
    """How often the model was right and how that was measured, from its card."""
    names = {"auc": "AUC", "balanced_accuracy": "balanced accuracy"}
    told = []
    for key, figure in model["measured"].items():
        if figure["value"] is not None:
            interval = "" if figure["low"] is None else f" ({figure['low']:.3f} to {figure['high']:.3f})"
            told.append(f"{names[key]} {figure['value']:.3f}{interval}")
    if not told:
        return f"How often the model is right has not been measured for these weights. {model['protocol']}"
    return f"{', '.join(told)} on {model['trained_on']}. Protocol: {model['protocol']}."


def files(opinion: Opinion, explanation: Explanation, words: Words, day: date) -> Iterator[tuple[str, bytes]]:
    """Every export with its file name, which tells the picture by its sha256 unless its name may be written."""
    stem = Path(opinion.patch.name).stem if words.with_name and opinion.patch.name else opinion.patch.sha256[:12]
    stem = f"{stem}-{explanation.target}"
    yield f"{stem}.pdf", pdf(opinion, explanation, words, day)
    yield f"{stem}.json", report(opinion, explanation, words, day).json().encode()
    yield f"{stem}.geojson", geojson(opinion, explanation).encode()
    for name, content in png_panels(explanation).items():
        yield f"{stem}-{name}.png", content
