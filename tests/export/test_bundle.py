"""All files of a report: nobody's name, and the panels of the screen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from dala.export import bundle as reports
from dala.export.report import Remarks
from dala.opinion import Explanation, Opinion
from tests.helpers.reports import DAY, NAME, page_text


@pytest.mark.slow
def test_no_name_unless_asked_for(opinion: Opinion, explanation: Explanation) -> None:
    for with_name in (False, True):
        found = dict(reports.files(opinion, explanation, Remarks(with_name=with_name), DAY))
        assert len(found) == 8
        said = [*found, *(page_text(c) for n, c in found.items() if n.endswith(".pdf"))]
        said += [content.decode() for name, content in found.items() if name.endswith("json")]
        raw = b"".join(found.values())
        assert any(NAME in text for text in said) == with_name
        if not with_name:
            assert b"Mustermann" not in raw


@pytest.mark.parametrize("name", ["\u4e73" * 255, "\U0001f52c" * 255, "\u00e4" * 255, "a" * 255], ids=ascii)
def test_a_long_name_in_any_letters_is_one_that_file_systems_take(
    name: str, opinion: Opinion, explanation: Explanation, tmp_path: Path
) -> None:
    named = replace(opinion, patch=replace(opinion.patch, name=f"{name}.png"))
    written = reports.export(named, explanation, Remarks(with_name=True), DAY, tmp_path)
    assert len(written) == 8
    assert all(path.is_file() and path.name.startswith(name[:30]) for path in written)


def test_panels_are_the_screens(explanation: Explanation) -> None:
    found = reports.png_panels(explanation)
    for name in ("patch", "gradcam", "dt", "bar"):
        pixels = cv2.cvtColor(cv2.imdecode(np.frombuffer(found[name], np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        np.testing.assert_array_equal(pixels, getattr(explanation.panels, name))
    sheet = cv2.imdecode(np.frombuffer(found["sheet"], np.uint8), cv2.IMREAD_COLOR)
    assert sheet.shape[1] == 3 * explanation.panels.patch.shape[1] + explanation.panels.bar.shape[1] + 24
