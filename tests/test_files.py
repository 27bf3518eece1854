"""A file is whole or as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from dala.files import replacing, write_json


def test_a_file_appears_whole_in_a_folder_that_is_made(tmp_path: Path) -> None:
    write_json(tmp_path / "new" / "record.json", {"µm": [1, None]})
    assert (tmp_path / "new" / "record.json").read_text(encoding="utf-8") == '{\n  "µm": [\n    1,\n    null\n  ]\n}\n'


def test_an_error_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "record.npy"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as partial:
        assert partial.suffix == ".npy"
        partial.write_bytes(b"ne")
        raise KeyboardInterrupt
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("record.npy", b"old")]


def test_what_is_no_json_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    with pytest.raises(ValueError):
        write_json(path, {"value": float("nan")})
    assert not list(tmp_path.iterdir())
