"""ZIP archives in memory, and the items inside them."""

from __future__ import annotations

import io
import zipfile

from dala.intake.archive import Item, Upload, members


def zipped(entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return out.getvalue()


def inside(data: bytes, name: str = "a.zip") -> list[Item]:
    return list(members([Upload(name, io.BytesIO(data))]))
