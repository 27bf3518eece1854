"""Files that are whole or absent, written beside their place and moved into it; and where those that we ship lie."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def shipped(folder: str) -> Path:
    """The folder `weights` or `evidence` that comes with the code: the installed package's own, else the checkout's."""
    package = Path(__file__).resolve().parent
    inside = package / "shipped" / folder
    return inside if inside.is_dir() else package.parent / folder


def cache_dir() -> Path:
    """Folder of what can be made again, converted weights above all: `$DALA_CACHE`, else `~/.cache/dala`."""
    return Path(os.environ.get("DALA_CACHE") or Path.home() / ".cache" / "dala")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to, in the folder of `path` and with its suffix; at the end of the block it becomes `path`.

    Whoever reads `path` sees the old content or the new one, never a part. After an error in the block, `path` is as it
    was and the unfinished file is gone. The folder is made where it is missing. Raises OSError as writing does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all."""
    with replacing(path) as partial:
        partial.write_bytes(content)


def write_json(path: Path, record: Any) -> None:
    """Write JSON, whole or not at all; ValueError as `json_text` raises."""
    write_text(path, json_text(record))


def json_text(record: Any) -> str:
    """JSON, readable and stable under version control; ValueError for NaN and infinity, which are no JSON."""
    return json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
