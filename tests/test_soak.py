"""The soak test: a few seconds of it, and what must not be is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import soak
from tests.helpers.browser import serving
from tests.soak import Client, Found, Image, Server

IMAGE = Image(b"x", "digest", {"benign": 0.25, "malignant": 0.75})


@pytest.mark.slow
def test_a_few_seconds_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "IMAGES", 2)
    monkeypatch.setattr(soak, "GROWTH", 1000)  # within seconds nothing has settled
    monkeypatch.setattr(soak, "serving", lambda *given, cold, **told: serving(*given, **told))  # it starts at once
    found = soak.run(0.06, 3, tmp_path)
    assert found.failures == []
    assert found.counts["good"] > 3
    assert found.waits[soak.CALM_OPINION] and min(found.memory) > 100 and found.both_models > 100


@pytest.mark.parametrize(
    ("kind", "answer", "said"),
    [
        ("good", (200, {"opinion": {"sha256": "other", "probabilities": IMAGE.probabilities}}), "of another image"),
        ("good", (200, {"opinion": {"sha256": "digest", "probabilities": {"benign": 0.3, "malignant": 0.7}}}), "other"),
        ("hostile", (500, {"detail": "A fault."}), "500"),
        ("hostile", (400, {"detail": "no sentence"}), "400"),
        ("keep", (200, {"id": "a"}), "id"),
    ],
)
def test_what_must_not_be_is_found(kind: str, answer: Any, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Server, "ask", lambda *given, **told: answer)
    monkeypatch.setattr(soak, "SHARES", tuple(float(one == kind) for one in soak.KINDS))
    found, turns = Found(), iter([0.0, 0.0, 99.0])
    monkeypatch.setattr("tests.soak.time.monotonic", lambda: next(turns))
    Client(0, Server("http://localhost:1"), [IMAGE], {"png": b"some bytes"}, found).run(1.0, 0.0)
    (failure,) = found.failures
    assert said in failure


def test_a_case_that_says_something_else_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {"title": "mine", "comment": "", "images": [{"sha256": "digest"}]}
    client = Client(0, Server("http://localhost:1"), [IMAGE], {}, Found(), {"a": ("mine", "", IMAGE)})
    monkeypatch.setattr(Server, "ask", lambda *given, **told: (200, kept))
    client.check("a")
    for change in ({"title": "another's"}, {"images": [{"sha256": "another"}]}):
        monkeypatch.setattr(Server, "ask", lambda *given, change=change, **told: (200, kept | change))
        with pytest.raises(AssertionError):
            client.check("a")
