"""ZIP archives in memory, and the items inside them."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dala.intake.archive import Item, Upload, members


def zipped(entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return out.getvalue()


def inside(data: bytes, name: str = "a.zip") -> list[Item]:
    return list(members([Upload(name, io.BytesIO(data))]))


def changed(path: Path, name: str, change: Callable[[Any], object]) -> bytes:
    """The archive with one member, which is JSON, changed in place by a function."""
    with zipfile.ZipFile(path) as archive:
        entries = {one: archive.read(one) for one in archive.namelist()}
    record = json.loads(entries[name])
    change(record)
    return zipped({**entries, name: json.dumps(record).encode()})
