"""How often is an image read as the wrong kind? The rule of `dala.gate.modality` on real patches and films."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dala.errors import DataError
from dala.gate.checks import HISTOLOGY, MAMMOGRAM
from dala.gate.modality import GREY, SMOOTH, recognise
from dala.intake.image import IMAGE_SUFFIXES, read_image
from dala.intake.patch import Patch

PROTOCOL = (
    "every image of each folder, read as an upload is and recognised by its pixels alone; the rule's two limits were "
    "set on these same images, so its errors on others may be more"
)
COMMAND = "python -m dala modality --data DIR"
KINDS = {
    "breakhis_200x_224": HISTOLOGY,
    "breakhis_originals": HISTOLOGY,
    "tissue_tiles_150": HISTOLOGY,
    "bach_part_b": HISTOLOGY,
    "camelyon_tiles": HISTOLOGY,
    "mini_ddsm": MAMMOGRAM,
}
GREYED = "breakhis_200x_224"


def measure(root: Path, progress: Callable[[str], Callable[[int, int], None]] | None = None) -> dict[str, Any]:
    """How the images of every folder of `KINDS` below `root` are read; DataError if none of the folders is there."""
    rows = []
    for folder, modality in KINDS.items():
        files = _images(root / folder)
        for grey in (False, True) if folder == GREYED else (False,):
            if not files:
                continue
            update = progress(folder) if progress is not None else None
            wrong = []
            for done, path in enumerate(files, start=1):
                patch = read_image(path)
                if recognise(_without_colour(patch) if grey else patch).modality != modality:
                    wrong.append(path.name)
                if update is not None:
                    update(done, len(files))
            name = f"{folder}, colour taken out" if grey else folder
            row = {"folder": name, "modality": modality, "pictures": len(files), "wrong": len(wrong)}
            rows.append(row | {"wrong_files": sorted(wrong)[:20]})
    if not rows:
        raise DataError(f"{root} holds none of the folders {', '.join(KINDS)}.")
    return {"protocol": PROTOCOL, "command": COMMAND, "rule": {"grey": GREY, "smooth": SMOOTH}, "kinds": rows}


def _images(folder: Path) -> list[Path]:
    def found() -> Iterator[Path]:
        for path in folder.rglob("*"):
            if path.suffix.lower() in IMAGE_SUFFIXES and not path.stem.endswith("_mask"):
                yield path

    return sorted(found())


def _without_colour(patch: Patch) -> Patch:
    grey = np.rint(patch.pixels @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    return replace(patch, pixels=np.repeat(grey[..., None], 3, axis=2))
