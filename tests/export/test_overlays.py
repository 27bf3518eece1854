"""The overlays of a batch: those of the page, named or not, and nothing of what has changed."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator

import pytest

from dala.batch import analyse
from dala.explanation.render import encode_png
from dala.export import overlays as export_overlays
from dala.export.overlays import overlays
from dala.intake.archive import Item
from dala.opinion import NOTICE, explain, second_opinion
from dala.phantoms.tissue import PHANTOMS, draw
from dala.runtime import predict as runtime
from dala.runtime.predict import Model

IMAGE = encode_png(draw(PHANTOMS[0]).pixels[:230, :350])


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    """These images are drawn, and the gate knows drawings from tissue: without its statistics they pass."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "load_familiarity", lambda *_: None)
        yield runtime.load_model("breakhis")


@pytest.mark.slow
@pytest.mark.usefixtures("weights_stay_loaded")
def test_overlays_are_those_of_the_page(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [
        Item("dir/=odd näme.png", lambda: IMAGE),
        Item("no.png", lambda: b"none"),
        Item("two.png", lambda: IMAGE),
        Item("three.png", lambda: IMAGE),
    ]
    records = [result.record for result in analyse(items, model)]
    records[2]["sha256"] = "that of a file which has changed since"
    steps: list[tuple[int, int]] = []
    monkeypatch.setattr(export_overlays, "MAXIMUM_OVERLAYS", 2)
    data = overlays(list(zip(items, records, strict=True)), model, lambda *step: steps.append(step))
    target = records[0]["prediction"]
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        name = f"0001-_odd_n_me-{target}-dt.png"
        assert archive.namelist() == [name, "index.csv"]
        assert archive.read(name) == encode_png(explain(second_opinion(IMAGE, model), target).panels.dt)
        (row,) = csv.DictReader(io.StringIO(archive.read("index.csv").decode(), newline=""))
    assert (row["overlay"], row["file"], row["notice"]) == (name, "dir/=odd näme.png", NOTICE)
    assert steps == [(1, 2), (2, 2)]
