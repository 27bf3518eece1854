"""The fuzzer: its seeds are read, it alters them, and what must not be is found and kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dala.decoders.process import answer
from dala.decoders.refusal import Bounds
from tests import fuzz
from tests.helpers.seeds import SEEDS


@pytest.mark.parametrize("kind", [kind for kind in SEEDS if kind != "zip"])
def test_every_seed_is_an_image_of_the_drawn_size(kind: str) -> None:
    told, _ = answer(SEEDS[kind](), Bounds())
    assert told.get("shape", told)[:2] in ((44, 52), (52, 44))


def test_changes_follow_from_the_seed_and_differ() -> None:
    data = SEEDS["png"]()
    made = [fuzz.alter(data, [data], np.random.default_rng(number)) for number in range(50)]
    assert made == [fuzz.alter(data, [data], np.random.default_rng(number)) for number in range(50)]
    assert len(set(made)) > 45 and data not in made[:40]


@pytest.mark.slow
def test_a_few_seconds_of_it(tmp_path: Path) -> None:
    found = fuzz.run(0.025, 1, tmp_path / "failures")
    assert found.failures == [] and found.outcomes.total() >= 20
    assert not (tmp_path / "failures").exists()


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["raises", "speaks", "waits"])
def test_what_must_not_be_is_found_and_kept(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty(data: bytes) -> Any:
        if fault == "raises":
            raise KeyError("x")
        if fault == "speaks":
            raise fuzz.IntakeError("two\nlines")
        monkeypatch.setattr(fuzz, "SLOWEST", -1.0)
        raise fuzz.IntakeError("A sentence.")

    monkeypatch.setattr(fuzz, "read_image", faulty)
    found = fuzz.Found()
    fuzz.attempt("png", b"some bytes", found, tmp_path)
    (failure,) = found.failures
    assert {"raises": "KeyError", "speaks": "two", "waits": "took"}[fault] in failure
    (kept,) = tmp_path.iterdir()
    assert kept.read_bytes() == b"some bytes" and kept.name.startswith("png-")
