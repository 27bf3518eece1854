"""The report on paper: one A4 page, its images as large as the words leave room for."""

from __future__ import annotations

from datetime import date
from io import BytesIO
from math import floor, log10
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from reportlab import rl_config
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, Spacer, Table

from dala.explanation.effect import EffectCurve
from dala.explanation.render import Panels
from dala.explanation.threshold import RULES
from dala.export.report import Remarks, report
from dala.export.typeset import (
    FAINT,
    FOOT,
    INK,
    LINE,
    MARGIN,
    PAGE_HEIGHT,
    PAGE_WIDTH,
    PLAIN,
    REGULAR,
    STRONG,
    WARNING,
    WIDTH,
    close,
    divider,
    drawable,
    height_of,
    labelled,
    letters,
    text,
    write,
)
from dala.export.worth import leaning_in_words, probability_in_words
from dala.opinion import NOTICE, Explanation, Opinion
from dala.preprocess.scale import ASSUMED
from dala.words import share

Pixels = NDArray[np.uint8]

# In points: 1/72 inch.
GAP = 12.0
HALF = (WIDTH - 2 * GAP) / 2
LINE_OF_CAPTION = 13.0
NUMBERS = 122.0  # the height of the numbers beside the colour bar
BAR_WIDTH, BAR_HEIGHT = 66.0, 190.0  # what the colour bar fits into
CURVE = 96.0
PART_OF_BAR, LEAST_FOR_BAR = 0.3, 120.0  # of the patch's width at most; the width that caption and scale bar need
LEAST_ROOM = 200.0  # for the images and the numbers beside them

MOST_REGIONS = 6  # rows of the table; JSON and GeoJSON have all
MOST_LINES = 12  # of a comment; the breaks of a longer one are written as strokes
COMMENT_SIZES = (9.5, 8.5, 7.5, 6.5)  # a long comment is set smaller, so that the images stay large
LARGE_ENOUGH = 0.8  # of what they would be with the smallest comment
CLEARLY_LARGER = 1.15
TITLE = "DALA second opinion"
OUTSIDE = "Outside the model's competence"
SHOWN, REMOVED = HexColor("#0072B2"), HexColor("#D55E00")  # the page's own colours of the two curves
REPLACEMENTS = {"blurred": "the image, blurred", "glass": "white glass"}
UNKNOWN_SCALE = "The answer hangs on how large a pixel is. "
LACKING = "? stands for a character that this page's font does not have; the JSON holds it."

rl_config.useA85 = 0  # images as bytes: written as text they take nine tenths of the time and a quarter more space


def pdf(
    opinion: Opinion, explanation: Explanation, remarks: Remarks, day: date, effect: EffectCurve | None = None
) -> bytes:
    """One A4 page; raises as `report` does.

    The images are embedded without loss, pixel by pixel those of the page. Any number of threads may write at once.
    """
    content = report(opinion, explanation, remarks, day, effect).content
    record = content["opinion"]
    outside = record["status"] != "ok"
    letters()
    file = BytesIO()
    canvas = Canvas(file, pagesize=A4, invariant=1)
    canvas.setTitle(TITLE)
    canvas.setAuthor("DALAResNet50 and DT Grad-CAM")
    canvas.setSubject(NOTICE)
    above = [*_heading(content), *(_refusal(record) if outside else _verdict(content))]
    end = _provenance(opinion, content)
    # From both ends of the page; what is left between them is for the images.
    top = write(canvas, above, PAGE_HEIGHT - MARGIN)
    floor = FOOT + height_of(canvas, end)
    write(canvas, end, floor)
    images = _Images(canvas, explanation.panels, record)
    choices = [[*_findings(content), *_said(content["person"], size)] for size in COMMENT_SIZES]
    rooms = [top - floor - height_of(canvas, choice) for choice in choices]
    least = LARGE_ENOUGH * images.plan(rooms[-1])[1]
    fits = (room >= LEAST_ROOM and images.plan(room)[1] >= least for room in rooms)
    chosen = next((number for number, fit in enumerate(fits) if fit), len(rooms) - 1)
    below = choices[chosen]
    used = images.draw(top, rooms[chosen])
    write(canvas, below, top - used)
    if outside:
        _mark(canvas)
    close(canvas, f"{NOTICE} DALAResNet50 and DT Grad-CAM (arXiv 2308.13150).")
    return file.getvalue()


def _heading(content: dict[str, Any]) -> list[Flowable]:
    name = content["opinion"]["file"]
    told = f"{NOTICE} {content['date']}." + (f" File: {name}" if name else "")
    return [text(TITLE, 15, strong=True), text(told, 8.5, FAINT), *divider(5)]


def _verdict(content: dict[str, Any]) -> list[Flowable]:
    """The answer and its probability, and in the same size what is known against it."""
    record = content["opinion"]
    label, calibrated = record["prediction"], record["calibrated"]
    p = _percent(record["probabilities"][label])
    if record["not_sure"]:
        unknown = record["verdict_reason"] == "scale"
        title = "Not sure: the scale is unknown" if unknown else "Not sure"
        first = f"{UNKNOWN_SCALE if unknown else ''}{leaning_in_words(label, p, calibrated)}"
    else:
        title, first = label.capitalize(), probability_in_words(p, calibrated, elsewhere=bool(record["sets"]))
    return [text(title, 18, strong=True), text(first, 10), text(content["model"]["worth"], 10), Spacer(0, 8)]


def _refusal(record: dict[str, Any]) -> list[Flowable]:
    told = f"{record['reason']} The model gives no verdict on it. What follows was asked for all the same; none of the "
    return [
        text(OUTSIDE, 16, WARNING, strong=True),
        text(f"{told}model's figures hold for images like this one.", 10),
        Spacer(0, 8),
    ]


def _findings(content: dict[str, Any]) -> list[Flowable]:
    """The regions, and beside them the effect curve where one was measured."""
    record, effect = content["opinion"], content["effect"]
    rows = record["regions"][:MOST_REGIONS]
    hidden = len(record["regions"]) - len(rows)
    more = f"{hidden} more in the JSON and the GeoJSON." if hidden else ""
    parts: list[list[Flowable]]
    if effect is not None:
        parts = [[*_regions(rows, HALF), text(more, 8, FAINT)], _effect(effect, record, HALF)]
    elif rows:
        cut = (len(rows) + 1) // 2
        parts = [[*_regions(part, HALF)] for part in (rows[:cut], rows[cut:])]
        if more:
            parts[1].append(text(more, 8, FAINT))
    else:
        return []
    columns = Table([parts], colWidths=[HALF + 2 * GAP, HALF], style=PLAIN)
    return [*divider(4), columns]


def _regions(rows: list[dict[str, Any]], width: float) -> list[Flowable]:
    if not rows:
        return []
    head = ("Region", "Area", "Evidence", "Box: left, top, right, bottom (px)")
    table = [[text(one, 8, FAINT) for one in head]]
    for row in rows:
        box = ", ".join(str(edge) for edge in row["box"])
        cells = (f"{row['number']}", share(row["area"]), f"{100 * row['evidence']:.0f} %", box)
        table.append([text(one, 8.5) for one in cells])
    return [Table(table, colWidths=[38, 38, 46, width - 122], style=PLAIN)]


def _effect(effect: dict[str, Any], record: dict[str, Any], width: float) -> list[Flowable]:
    suggested = effect["suggested"]
    if suggested is None:
        told = f"No threshold is suggested. {effect['reason']}"
    else:
        told = (
            f"The smallest marked part that alone keeps the verdict is {100 * effect['kept_area'][suggested]:.0f} % of "
            f"the image; without it the probability is {_percent(effect['removed'][suggested])}."
        )
    title = f"Probability of {record['target']}, replacement: "
    return [
        text(title + REPLACEMENTS[effect["baseline"]], 8, FAINT),
        _Curve(effect, record["kept_area"], width),
        text(told, 8),
    ]


def _said(person: dict[str, Any], size: float) -> list[Flowable]:
    rows = []
    first = person.get("read_first")
    if first is not None:
        sure = "" if first["confidence"] is None else f", {100 * first['confidence']:.0f} % sure"
        rows.append(("Read first", f"{first['call'].capitalize()}{sure}; recorded before the model's answer was seen"))
    if person["own_read"] is not None:
        rows.append(("Own read", person["own_read"].capitalize()))
    if person["agree"] is not None:
        rows.append(("The model", "I agree" if person["agree"] else "I disagree"))
    comment = person["comment"].strip()
    if comment:
        lines = comment.splitlines()
        if len(lines) > MOST_LINES:
            comment = " / ".join(line.strip() for line in lines if line.strip())
        if drawable(comment).count("?") > comment.count("?"):
            comment += f"\n{LACKING}"
    said: list[Flowable] = [labelled(rows, COMMENT_SIZES[0])] if rows else []
    if comment:
        said.append(labelled([("Comment", comment)], size))
    return [*divider(4), *said] if said else []


def _provenance(opinion: Opinion, content: dict[str, Any]) -> list[Flowable]:
    """By what, from what and how well: what makes the opinion checkable."""
    record, model, gate = content["opinion"], content["model"], content["opinion"]["gate"]
    passed = "Passed." if gate["reason"] is None else f"Not passed ({gate['reason']})."
    if gate["rarer"] is not None:
        rarer = "Less than 1" if gate["rarer"] < 0.01 else f"{100 * gate['rarer']:.0f}"
        passed += f" {rarer} % of the true patches of new patients are at least as far from the training images."
    views = "the mean of eight symmetries and four shifts" if opinion.augmented else "of the image as it is"
    cells = f"{record['map']['height']} x {record['map']['width']} cells"
    figures = f"{model['worth']} " if gate["reason"] is not None else ""
    rows = [
        ("Measured", f"{figures}Protocol: {model['protocol']}."),
        ("Gate", passed),
        ("Seen", " ".join([record["seen"], *record["picture"]["notes"]])),
        ("Map", f"{cells}, {views}. It shows what moved this model, not where a lesion is."),
        (
            "Weights",
            f"{record['weights']} ({model['title']}; images: {record['magnification']}), run by {record['engine']}\n"
            f"sha256 {record['weights_sha256']}",
        ),
        *([("Site", f"{record['site']['name']}, sha256 {record['site']['sha256']}")] if record.get("site") else []),
        (
            "Image",
            f"{record['picture']['width']} x {record['picture']['height']} px, sha256 {record['sha256']}",
        ),
    ]
    return [*divider(4), labelled(rows, 8)]


def _mark(canvas: Canvas) -> None:
    """Across the page, so that it stays with what is cut out or copied."""
    canvas.saveState()
    canvas.translate(PAGE_WIDTH / 2, PAGE_HEIGHT / 2)
    canvas.rotate(52)
    canvas.setFillColor(WARNING, alpha=0.22)
    canvas.setFont(STRONG, 46)
    canvas.drawCentredString(0, 0, OUTSIDE)
    canvas.restoreState()


def round_length(longest: float) -> float:
    """The longest of 1, 2 or 5 times a power of ten that is no longer, in the same unit."""
    power: float = 10.0 ** floor(log10(longest))
    return power * next(times for times in (5, 2, 1) if times * power <= longest or times == 1)


class _Images:
    """Patch, Grad-CAM and DT Grad-CAM at one scale, with the colour bar and the numbers of the threshold."""

    def __init__(self, canvas: Canvas, parts: Panels, record: dict[str, Any]) -> None:
        self.canvas, self.parts, self.record = canvas, parts, record
        self.images = (
            (parts.patch, "Patch"),
            (parts.gradcam, f"Grad-CAM towards {record['target']}"),
            (parts.dt, "DT Grad-CAM: above the threshold"),
        )

    def plan(self, room: float) -> tuple[int, float]:
        """In how many columns and at what scale (points a pixel) the images fit into a height of `room` points.

        Two rows of two, the fourth cell for bar and numbers if these fit into it; a row of three with the bar at its
        side where that makes the images larger, as for tall ones; a column of three where it makes them clearly
        larger, as for very wide ones.
        """
        height, width = self.parts.patch.shape[:2]
        scales = {columns: min(self._cell(columns, room) / (width, height)) for columns in (1, 2, 3)}
        preferred = {3: scales[3], 1: scales[1] / CLEARLY_LARGER}
        if room >= 2 * NUMBERS:
            preferred[2] = scales[2]
        columns = max(preferred, key=preferred.__getitem__)
        return columns, float(scales[columns])

    def draw(self, top: float, room: float) -> float:
        """Draw into the full width and at most `room` points below `top`; returns the height that is used."""
        columns, scale = self.plan(room)
        cell = float(self._cell(columns, room)[0])
        pitch = cell + 2 * GAP if columns == 2 else cell + GAP
        tall, wide = (scale * side for side in self.parts.patch.shape[:2])
        bottoms: list[float] = []
        for number, (pixels, caption) in enumerate(self.images):
            row, column = divmod(number, columns)
            left = MARGIN + column * pitch
            upper = bottoms[-columns] if row else top
            self.canvas.drawImage(_embedded(pixels), left, upper - tall, wide, tall)
            if not number:
                self._scale_bar(left, left + wide, upper - tall - 12)
            bottoms.append(write(self.canvas, [text(caption, 8.5, FAINT)], upper - tall - 2, left, cell) - 4)
        if columns == 2:
            readings = self._readings(MARGIN + pitch, bottoms[1], room - (top - bottoms[1]), under=False)
        else:
            under = self._numbers_under(room)
            readings = self._readings(MARGIN + WIDTH - self._side(room), top, room, under)
        return top - min(*bottoms, readings)

    def _scale_bar(self, left: float, right: float, y: float) -> None:
        """Under the right end of the patch, between `left` and `right`: a round length on the specimen, where its scale
        is known. Beside the image, so that none of its pixels is covered."""
        size = self.record["pixel_size"]
        if size is None or size["source"] == ASSUMED or right - left < LEAST_FOR_BAR:
            return
        um = size["columns"] * self.record["picture"]["width"] / (right - left)  # of a point
        length = round_length(um * (right - left) * PART_OF_BAR)
        words = f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} um"
        start, canvas = right - length / um, self.canvas
        canvas.saveState()
        canvas.setStrokeColor(INK)
        canvas.lines([(start, y, right, y), (start, y, start, y + 4), (right, y, right, y + 4)])
        canvas.setFont(REGULAR, 8.5)
        canvas.setFillColor(FAINT)
        canvas.drawRightString(start - 4, y, words)
        canvas.restoreState()

    def _cell(self, columns: int, room: float) -> NDArray[np.float64]:
        """Width and height that one image may have."""
        beside = WIDTH - self._side(room) - GAP
        rows = {1: 3, 2: 2, 3: 1}[columns]
        lines = 2 if columns == 3 else 1
        wide = {1: beside, 2: HALF, 3: (beside - 2 * GAP) / 3}[columns]
        return np.array([wide, max(1.0, room / rows - lines * LINE_OF_CAPTION - 4)])

    def _side(self, room: float) -> float:
        """The width of the column of the colour bar."""
        return 2 * BAR_WIDTH if self._numbers_under(room) else 3 * BAR_WIDTH

    def _numbers_under(self, room: float) -> bool:
        return room >= self._bar(room)[1] + NUMBERS

    def _bar(self, room: float) -> tuple[float, float]:
        """Width and height of the colour bar, which is no higher than `room`."""
        tall, wide = self.parts.bar.shape[:2]
        scale = min(BAR_WIDTH / wide, min(BAR_HEIGHT, room) / tall)
        return scale * wide, scale * tall

    def _readings(self, left: float, top: float, room: float, under: bool) -> float:
        """The colour bar, and right of it or `under` it the numbers; returns where both end."""
        wide, tall = self._bar(room)
        self.canvas.drawImage(_embedded(self.parts.bar), left, top - tall, wide, tall)
        x, y = (left, top - tall - 4) if under else (left + wide + GAP, top)
        written: list[Flowable] = []
        for label, value in self._numbers():
            written += [text(label, 8, FAINT), text(value, 9.5), Spacer(0, 1)]
        if self.record["no_evidence"]:
            written.append(text(self.record["no_evidence"], 8.5))
        return min(top - tall, write(self.canvas, written, y, x, MARGIN + WIDTH - x))

    def _numbers(self) -> list[tuple[str, str]]:
        record = self.record
        rule, limit, dropped = RULES[record["rule"]], record["threshold"], record["regions_dropped"]
        return [
            ("Threshold", "none" if limit is None else f"{limit:.3g} (raw map units)"),
            ("Rule", f"{rule.label}, {rule.parameter} = {record['parameter']:g}"),
            ("Kept area", f"{share(record['kept_area'])} of the image"),
            ("Share of the evidence", f"{100 * record['kept_evidence']:.0f} %"),
            ("Regions", f"{len(record['regions'])}" + (f" ({dropped} tiny dropped)" if dropped else "")),
        ]


class _Curve(Flowable):
    """The effect curve: probability 0..1 over the marked area, and the threshold that is set."""

    def __init__(self, effect: dict[str, Any], area: float, width: float) -> None:
        super().__init__()
        self.effect, self.area = effect, area
        self.width, self.height = width, CURVE

    def wrap(self, available_width: float, available_height: float) -> tuple[float, float]:
        return self.width, self.height

    def draw(self) -> None:
        canvas, effect = self.canv, self.effect
        left, bottom, right, top = 22.0, 20.0, self.width - 92, self.height - 8
        areas = effect["kept_area"]
        most = max(*areas, self.area)

        def at(area: float, p: float) -> tuple[float, float]:
            return left + area / most * (right - left), bottom + p * (top - bottom)

        canvas.setFont(REGULAR, 7)
        canvas.setLineWidth(0.5)
        for p in (0, 0.5, 1):
            canvas.setStrokeColor(LINE)
            canvas.line(*at(0, p), *at(most, p))
            canvas.setFillColor(FAINT)
            canvas.drawRightString(left - 4, at(0, p)[1] - 2.5, f"{p:g}")
        for area in (0, most / 2, most):
            canvas.drawCentredString(at(area, 0)[0], bottom - 9, f"{100 * area:.0f} %")
        canvas.drawCentredString((left + right) / 2, bottom - 18, "marked area")
        if self.area > 0:
            canvas.setStrokeColor(FAINT)
            canvas.line(*at(self.area, 0), *at(self.area, 1))
            canvas.drawCentredString(at(self.area, 1)[0], top + 2, "your threshold")
        lines = (
            ("whole image", FAINT, 0.8, (), [(0, effect["whole"]), (most, effect["whole"])]),
            ("replacement alone", FAINT, 0.8, (1, 2), [(0, effect["nothing"]), (most, effect["nothing"])]),
            ("only this shown", SHOWN, 1.5, (), list(zip(areas, effect["shown"], strict=True))),
            ("only this removed", REMOVED, 1.5, (4, 2), list(zip(areas, effect["removed"], strict=True))),
        )
        for number, (name, colour, weight, dashes, points) in enumerate(lines):
            canvas.setStrokeColor(colour)
            canvas.setLineWidth(weight)
            canvas.setDash(*dashes)
            path = canvas.beginPath()
            path.moveTo(*at(*points[0]))
            for point in points[1:]:
                path.lineTo(*at(*point))
            canvas.drawPath(path)
            y = top - 6 - 13 * number
            canvas.line(right + 8, y, right + 24, y)
            canvas.setDash()
            canvas.drawString(right + 28, y - 2.5, name)


def _percent(p: float) -> str:
    """Never 100 %: rounding must not make a model certain."""
    return "over 99 %" if p > 0.99 else f"{100 * p:.0f} %"


def _embedded(pixels: Pixels) -> ImageReader:
    return ImageReader(Image.fromarray(pixels))
