"""What the tests of reports share: a day, a name, an effect curve, and the text of a PDF."""

from __future__ import annotations

from datetime import date
from io import BytesIO

import numpy as np
from pypdf import PdfReader

from dala.explanation.effect import EffectCurve

DAY = date(2026, 3, 14)
NAME = "Erika Mustermann 1961"


def curve_of(target: str = "malignant", suggested: int | None = 1) -> EffectCurve:
    shares = np.array([0.05, 0.25, 0.5])
    shown, removed = np.array([0.3, 0.875, 0.9]), np.array([0.85, 0.4, 0.2])
    reason = None if suggested is not None else "The baseline alone already gives this verdict."
    return EffectCurve(
        target, "glass", np.array([0.03, 0.02, 0.01]), shares, shown, removed, 0.95, 0.1, suggested, reason
    )


def page_text(content: bytes) -> str:
    return " ".join(PdfReader(BytesIO(content)).pages[0].extract_text().split())
