"""Pixel sizes of a batch: by a table, by the command line; and an image that shows too much for one answer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dala.batch import analyse, sizes_of_table
from dala.cli.main import main
from dala.errors import DataError
from dala.explanation.render import encode_png
from dala.intake.archive import Item
from dala.phantoms.tissue import draw
from dala.runtime.predict import load_model
from tests.helpers.physical import at_scale

IMAGE = encode_png(draw("solid_sheets").pixels[:64, :96])


def test_a_table_by_whole_names_and_by_the_last_part() -> None:
    text = "\N{BYTE ORDER MARK}file,um,who\na/1.png,0.25,x\nb/1.png,0.5,\n2.png, 0.35 ,\n3.png,,\n"
    of = sizes_of_table(text)
    names = ("a/1.png", "b/1.png", "1.png", "c/1.png", "2.png", "zip.zip/d\\2.png", "3.png", "4.png")
    assert [of(name) for name in names] == [0.25, 0.5, None, None, 0.35, 0.35, None, None]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "columns file and um"),
        ("file,um\n", "columns file and um"),
        ("name,um\na,1\n", "columns file and um"),
        ("file,um\na,0.5\nb,many\n", "Line 3 "),
        ("file,um\na,500\n", "Line 2 "),
        ("file,um\na,nan\n", "Line 2 "),
        ("file,um\na,0.5\na,0.4\n", "two for 'a'"),
    ],
)
def test_a_table_that_is_none_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence) as caught:
        sizes_of_table(text)
    assert str(caught.value).endswith(".")


@pytest.mark.slow
def test_the_size_is_carried_and_a_table_names_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(IMAGE)
    table = tmp_path / "sizes.csv"
    table.write_text("file,um\nb.png,0.25\n")
    paths = [str(tmp_path / name) for name in ("a.png", "b.png")]
    main(["predict", *paths, "--json", "--pixel-size", str(table)])
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first["pixel_size"]["source"] == "assumed"
    assert second["pixel_size"] == {"rows": 0.25, "columns": 0.25, "source": "user", "told": ""}
    out = tmp_path / "out"
    assert main(["explain", paths[0], "--out", str(out), "--anyway", "--pixel-size", "0.5"]) == 0
    assert json.loads((out / "explanation.json").read_text())["pixel_size"]["rows"] == 0.5


@pytest.mark.parametrize("given", ["0", "many", "1e9", "nan"])
def test_what_is_no_size_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str], given: str) -> None:
    (tmp_path / "a.png").write_bytes(IMAGE)
    assert main(["explain", str(tmp_path / "a.png"), "--out", str(tmp_path), "--pixel-size", given]) in (1, 2)
    told = capsys.readouterr().err.strip()
    assert told.endswith(".") and "Traceback" not in told and len(told.splitlines()) == 1


@pytest.mark.slow
def test_an_image_of_too_many_fields_is_a_refusal_in_its_place() -> None:
    model = at_scale(load_model("breakhis"))
    wide = encode_png(np.full((1000, 4000, 3), 200, np.uint8))
    items = [Item("wide.png", lambda: wide), Item("small.png", lambda: IMAGE)]
    refused, good = (one.record for one in analyse(items, model, anyway=True, sizes=lambda name: 2.0))
    assert (refused["status"], refused["verdict"], len(refused["sha256"])) == ("refused", None, 64)
    assert "fields of view" in refused["reason"]
    assert list(refused) == list(good)
    assert good["pixel_size"]["source"] == "user"
