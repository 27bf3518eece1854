"""The drawing of the rooms is that of the code, and the document names every room."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.architecture import DRAWING, ROOT, drawing, levels, reduced, rooms

DOCUMENT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_committed_drawing_is_what_the_script_makes_and_the_document_has_a_sentence_for_every_room() -> None:
    graph = rooms()
    assert DRAWING.read_text(encoding="utf-8") == drawing(graph), "run python docs/architecture.py"
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", DOCUMENT, re.MULTILINE)
    assert {room for room, _ in rows} == graph.keys()
    assert len(rows) == len(graph) and all(sentence.endswith(".") for _, sentence in rows)


def test_rooms_of_a_small_house(tmp_path: Path) -> None:
    (tmp_path / "dala" / "attic").mkdir(parents=True)
    (tmp_path / "pages").mkdir()
    (tmp_path / "dala" / "__init__.py").write_text("from dala.hall import door\n")
    (tmp_path / "dala" / "attic" / "__init__.py").write_text("")
    (tmp_path / "dala" / "attic" / "box.py").write_text(
        "import json\ndef f():\n    from dala import hall\n    from dala.attic import g\n"
    )
    (tmp_path / "dala" / "hall.py").write_text("import dala.errors\n")
    (tmp_path / "dala" / "errors.py").write_text("")
    (tmp_path / "pages" / "frame.py").write_text("from dala.attic.box import f\nfrom dala.hall import door\n")
    graph = rooms(tmp_path)
    assert graph == {"attic": {"hall"}, "hall": {"errors"}, "errors": set(), "pages": {"attic", "hall"}}
    assert levels(graph) == {"pages": 3, "attic": 2, "hall": 1, "errors": 0}
    assert reduced(graph) == [("attic", "hall"), ("hall", "errors"), ("pages", "attic")]
    assert "pages imports attic" in drawing(graph) and "pages imports hall" not in drawing(graph)


def test_a_circle_is_named() -> None:
    with pytest.raises(ValueError, match="a -> b -> a"):
        levels({"a": {"b"}, "b": {"a"}})
