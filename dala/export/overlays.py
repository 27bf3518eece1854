"""The DT Grad-CAM overlays of a batch as a ZIP, with an index that says which is whose."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import PureWindowsPath

from dala.errors import IntakeError
from dala.explanation.render import encode_png
from dala.export.records import Record
from dala.export.table import harmless
from dala.intake.archive import Item
from dala.intake.image import read_image
from dala.intake.patch import Patch
from dala.intake.pixel_size import USER
from dala.opinion import NOTICE, explain, opinion_of
from dala.runtime.predict import Model

MAXIMUM_OVERLAYS = 200  # an overlay takes up to a megabyte


def overlays(
    pairs: Sequence[tuple[Item, Record]],
    model: Model,
    progress: Callable[[int, int], None] | None = None,
    choose: Callable[[Patch], Model] | None = None,
    *,
    with_names: bool = True,
) -> bytes:
    """A ZIP with the DT Grad-CAM of every image that has a verdict, towards its prediction, by the default rule.

    The images are read and looked at again, for no map is kept; at most `MAXIMUM_OVERLAYS`, in order. `index.csv`
    says which overlay is whose, by name if `with_names` and by sha256. A file that has gone or changed since then is
    left out.
    """
    accepted = [(item, record) for item, record in pairs if record["prediction"] is not None][:MAXIMUM_OVERLAYS]
    out, index = io.BytesIO(), io.StringIO(newline="")
    writer = csv.writer(index)
    writer.writerow(["overlay", "file", "towards", "sha256", "notice"])
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:  # PNG is compressed already
        for number, (item, record) in enumerate(accepted, start=1):
            with suppress(IntakeError):
                size = record["pixel_size"] or {}
                given = (size["rows"], size["columns"]) if size.get("source") == USER else None
                patch = read_image(item.load(), item.name, given)
                opinion = opinion_of(patch, model if choose is None else choose(patch))
                if opinion.patch.sha256 == record["sha256"]:
                    target = str(record["prediction"])
                    name, stem = (item.name, f"-{_stem(item.name)}") if with_names else ("", "")
                    overlay = f"{number:04}{stem}-{target}-dt.png"
                    archive.writestr(overlay, encode_png(explain(opinion, target).panels.dt))
                    writer.writerow(harmless(cell) for cell in (overlay, name, target, record["sha256"], NOTICE))
            if progress is not None:
                progress(number, len(accepted))
        archive.writestr("index.csv", index.getvalue())
    return out.getvalue()


def _stem(name: str) -> str:
    """A file's name without folders and suffix, of letters, digits and - _ only, short enough for any system."""
    stem = PureWindowsPath(name).stem
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "-_") else "_" for sign in stem)[:80]
