"""The report on paper: the page's own pixels and numbers, nothing cut off or covered, the same bytes again."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from io import BytesIO

import cv2
import numpy as np
import pytest
from pypdf import PdfReader
from reportlab.pdfbase.ttfonts import TTFontFace

from dala.export.pdf import pdf, round_length
from dala.export.report import LONGEST_COMMENT, Remarks, report
from dala.export.typeset import drawable
from dala.gate import Gate
from dala.gate.checks import Reason
from dala.intake.pixel_size import PixelSize
from dala.opinion import Explanation, Opinion, explain, opinion_of
from dala.runtime.card import Card
from tests.helpers.reports import DAY, curve_of, page_text


@pytest.mark.slow
def test_pdf_is_one_page_with_the_pixels_of_the_screen(opinion: Opinion, explanation: Explanation) -> None:
    content = pdf(opinion, explanation, Remarks("Kerne", "benign", True), DAY)
    reader = PdfReader(BytesIO(content))
    assert len(reader.pages) == 1
    found = [np.asarray(image.image.convert("RGB")) for image in reader.pages[0].images]
    parts = explanation.panels
    for wanted in (parts.patch, parts.gradcam, parts.dt, parts.bar):
        assert any(one.shape == wanted.shape and (one == wanted).all() for one in found)
    text = page_text(content)
    regions = explanation.regions
    for said in (
        "2026-03-14",
        "For research and teaching only, not for diagnosis.",
        f"{regions.threshold:.3g} (raw map units)",
        "Mean + k standard deviations, k = 0.5",
        f"{100 * regions.kept_area:.1f} % of the image",
        "Own read Benign The model I agree Comment Kerne",
        "Passed. 42 % of the true patches of new patients are at least as far",
        "Protocol: grouped cross-validation by accession number",
        f"AUC {opinion.model.card.fields['metrics']['values']['auc']['value']:.3f}",
        str(opinion.model.card.fields["sha256"]),
        opinion.patch.sha256,
        opinion.seen,
    ):
        assert said in text
    assert "utside the model" not in text and "replacement alone" not in text


@pytest.mark.slow
def test_pdf_tells_the_verdict_of_the_page(opinion: Opinion, explanation: Explanation) -> None:
    calibration = opinion.prediction.calibration
    assert calibration is not None
    words, day = Remarks(), DAY
    for p, said in (
        (0.995, "Benign Calibrated probability over 99 %. In cross"),
        (0.79, "Benign Calibrated probability 79 %. In cross-validation by accession group "
               "on BreakHis 200X: balanced accuracy"),
        (0.6, "Not sure The model leans towards benign, calibrated probability 60 %. In cross"),
    ):  # fmt: skip
        thresholds = {0.1: (0.65, 0.65), 0.05: (0.05, 0.05)}
        prediction = replace(
            opinion.prediction,
            probabilities=np.array([p, 1 - p]),
            calibration=replace(calibration, thresholds=thresholds),
        )
        assert said in page_text(pdf(replace(opinion, prediction=prediction), explanation, words, day))
    plain = replace(opinion.prediction, calibration=None, probabilities=np.array([0.25, 0.75]))
    text = page_text(pdf(replace(opinion, prediction=plain), explanation, words, day))
    assert "Malignant Model probability 75 %, not calibrated." in text


@pytest.mark.slow
def test_pdf_draws_the_effect_curve(opinion: Opinion, explanation: Explanation) -> None:
    text = page_text(pdf(opinion, explanation, Remarks(), DAY, curve_of()))
    assert "Probability of malignant, replacement: white glass" in text and "replacement alone" in text
    assert "The smallest marked part that alone keeps the verdict is 25 % of the image" in text
    assert "without it the probability is 40 %" in text
    text = page_text(pdf(opinion, explanation, Remarks(), DAY, curve_of(suggested=None)))
    assert "No threshold is suggested. The baseline alone already gives this verdict." in text


@pytest.mark.slow
def test_threads_write_the_same_bytes(opinion: Opinion, explanation: Explanation) -> None:
    comments = ["κύτταρο", "клетка", "Zelle", "cellule"]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda comment: pdf(opinion, explanation, Remarks(comment), DAY), comments))
    assert found == [pdf(opinion, explanation, Remarks(comment), DAY) for comment in comments]


@pytest.mark.slow
def test_fonts_are_cut_by_one_thread_at_a_time(
    opinion: Opinion, explanation: Explanation, monkeypatch: pytest.MonkeyPatch
) -> None:
    # TTFontFace reads its file at one place, which belongs to all documents: two at once took each other's glyphs.
    inside, most, cut = [0], [0], TTFontFace.makeSubset

    def watched(face: TTFontFace, subset: list[int]) -> bytes:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        time.sleep(0.05)
        try:
            return bytes(cut(face, subset))
        finally:
            inside[0] -= 1

    monkeypatch.setattr(TTFontFace, "makeSubset", watched)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: pdf(opinion, explanation, Remarks("Zelle"), DAY), range(3)))
    assert most == [1]


def test_what_the_font_lacks() -> None:
    assert drawable("Größe κύτταρο клетка č ≥") == "Größe κύτταρο клетка č ≥"
    assert drawable("Ko\u0308rner") == "K\u00f6rner"  # an accent of its own is joined
    assert drawable("a\u200db\u202ec\x07d\te\u2003f\ng") == "abcd e f\ng"  # what is not seen
    assert drawable("中 🙂 \u0628") == "? ? ?"


# Where everything stands on the page, from the page itself.


def placed(content: bytes) -> tuple[list[tuple[float, float, float, float]], list[tuple[float, float, float, str]]]:
    """Images as (left, bottom, right, top), upright lines of text as (x, y, size, text); in points."""
    images: list[tuple[float, float, float, float]] = []
    lines: list[tuple[float, float, float, str]] = []

    def drawn(operator: bytes, _: object, cm: list[float], __: list[float]) -> None:
        if operator == b"Do":
            images.append((cm[4], cm[5], cm[4] + cm[0], cm[5] + cm[3]))

    def said(text: str, cm: list[float], tm: list[float], _: object, size: float) -> None:
        if text.strip() and cm[1] == 0:
            lines.append((tm[4] + cm[4], tm[5] + cm[5], size, text.strip()))

    page = PdfReader(BytesIO(content)).pages[0]
    page.extract_text(visitor_operand_before=drawn, visitor_text=said)
    return images, lines


SHAPES = {"wide": (60, 450), "landscape": (184, 280), "square": (112, 112), "portrait": (279, 186), "tall": (450, 60)}
COMMENTS = {
    "none": "",
    "words": "wide words " * 90,
    "letters": "W" * LONGEST_COMMENT,
    "lines": "a\n" * (LONGEST_COMMENT // 2),
    "scripts": "中文字 " * 250,
}


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_is_cut_off_or_covered(opinion: Opinion, shape: str) -> None:
    height, width = SHAPES[shape]
    pixels = cv2.resize(opinion.patch.pixels, (width, height), interpolation=cv2.INTER_AREA)
    patch = replace(opinion.patch, pixels=pixels, name="n" * 240 + ".png")
    fields = opinion.model.card.fields
    quick = replace(opinion.model, card=Card({**fields, "input": {**fields["input"], "enlarged": 160}}))
    other = replace(opinion_of(patch, quick), gate=opinion.gate)
    strange = replace(other, gate=Gate(Reason("unfamiliar", "This image is strange. " * 6), 9.0, 0.0))
    many = explain(other, "malignant", "percentile", 60.0)
    for name, comment in COMMENTS.items():
        for one, curve in ((other, None), (strange, curve_of())):
            words = Remarks(comment, "not sure", False, with_name=True)
            content = pdf(one, many, words, DAY, curve)
            assert len(PdfReader(BytesIO(content)).pages) == 1
            images, lines = placed(content)
            assert len(images) == 4, name
            for number, (left, bottom, right, top) in enumerate(images):
                assert 41 < left < right < 554 and 46 < bottom < top < 800
                assert min(right - left, top - bottom) > 15 and max(right - left, top - bottom) > 90
                for a, b, c, d in images[:number]:
                    assert right <= a + 0.01 or c <= left + 0.01 or top <= b + 0.01 or d <= bottom + 0.01
                # The letters of the images' own captions and numbers are below or beside them.
                assert not any(left < x < right and bottom < y < top for x, y, _, _ in lines)
            for x, y, size, text in lines:
                # Nothing is written over, and nothing into the margins.
                assert 41 < x < 554 and 24 < y < 810
                below = [0.75 * other + 0.2 * size > y - q > 0 for p, q, other, _ in lines if abs(x - p) < 1]
                assert not any(below), (name, text)
            where = {text: y for x, y, _, text in lines if x < 43}
            floor = where["Measured"]
            words_below = [y for x, y, _, _ in lines if x > 100 and y < where["Own read"] and y > floor]
            assert where["Own read"] > floor and all(y > floor + 8 for y in words_below)
            # The comment is there to its last letter.
            told = "".join(text for x, y, _, text in lines if floor < y < where["The model"] - 1 and x > 100)
            kept = comment.replace("\n", "").replace(" ", "").replace("中文字", "???")
            assert told.replace(" ", "").replace("/", "").startswith(kept), name


def strokes(content: bytes) -> list[float]:
    """The lengths of all level lines, in points."""
    found: list[float] = []
    start = [0.0, 0.0]

    def drawn(operator: bytes, operands: list[float], _: object, __: object) -> None:
        if operator == b"m":
            start[:] = [float(one) for one in operands]
        elif operator == b"l" and float(operands[1]) == start[1]:
            found.append(float(operands[0]) - start[0])

    PdfReader(BytesIO(content)).pages[0].extract_text(visitor_operand_before=drawn)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "words", "um"),
    [
        (PixelSize(0.5, 0.25, "user"), "50 um", 50),
        (PixelSize(70.0, 70.0, "file"), "10 mm", 10_000),
        (PixelSize(0.5, 0.5, "assumed"), None, 0),
        (None, None, 0),
    ],
    ids=["tissue", "film", "assumed", "none"],
)
def test_the_patch_has_a_scale_bar_where_its_scale_is_known(
    opinion: Opinion, explanation: Explanation, size: PixelSize | None, words: str | None, um: float
) -> None:
    """700 px wide: 175 um or 49 mm, of which the bar is at most .3; it is as long as the image is drawn large."""
    assert opinion.patch.width == 700
    content = pdf(replace(opinion, patch=replace(opinion.patch, pixel_size=size)), explanation, Remarks(), DAY)
    said = [text for _, _, _, text in placed(content)[1]]
    if words is None:
        assert not any(text.endswith((" um", " mm")) for text in said)
        return
    assert size is not None and words in said
    wide = max(right - left for left, _, right, _ in placed(content)[0][:1])
    assert any(one == pytest.approx(um / (700 * size.columns) * wide, abs=0.01) for one in strokes(content))


def test_lengths_are_round() -> None:
    assert [round_length(one) for one in (1, 1.9, 2, 4.99, 5, 9.9, 52.5, 147, 14_700, 0.7)] == [
        *(1, 1, 2, 2, 5, 5, 50, 100, 10_000, 0.5),
    ]


@pytest.mark.slow
def test_same_opinion_same_bytes(opinion: Opinion, explanation: Explanation) -> None:
    words = Remarks("once more", None, None)
    assert pdf(opinion, explanation, words, DAY) == pdf(opinion, explanation, words, DAY)
    other = pdf(opinion, explanation, words, date(2027, 1, 1))
    assert page_text(other) == page_text(pdf(opinion, explanation, words, DAY)).replace("2026-03-14", "2027-01-01")
    one, two = (report(opinion, explanation, words, day).content for day in (DAY, date(2027, 1, 1)))
    assert {**one, "date": ""} == {**two, "date": ""}


def test_outside_the_competence_there_is_no_verdict(opinion: Opinion, explanation: Explanation) -> None:
    strange = replace(opinion, gate=Gate(Reason("unfamiliar", "This image is strange."), 9.0, 0.0))
    text = page_text(pdf(strange, explanation, Remarks(), DAY))
    assert "gives no verdict" in text and "This image is strange." in text and "robability of" not in text
    assert text.count("Outside the model's competence") == 2  # the heading, and across the page
    assert "Not passed (unfamiliar). Less than 1 %" in text


@pytest.mark.slow
def test_what_a_person_writes_is_text(opinion: Opinion, explanation: Explanation) -> None:
    text = page_text(pdf(opinion, explanation, Remarks("<b>fett</b> & größer < кл. κύτ 中文\nzweite Zeile"), DAY))
    assert "<b>fett</b> & größer < кл. κύτ ?? zweite Zeile ? stands for a character that this page's font" in text
    assert "stands for a character" not in page_text(pdf(opinion, explanation, Remarks("sure?"), DAY))
