"""How often is an image read as the wrong kind? The rule of `dala.gate.modality` on real patches and films.

dala modality --data DIR
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dala.errors import DataError, IntakeError
from dala.studies.record import IMAGES, Record, Result
from dala.studies.study import Study, Verb
from dala.terminal import Progress, complain, progress
from dala.words import counted

if TYPE_CHECKING:
    from dala.intake.patch import Patch

GREYED = "breakhis_200x_224"  # read a second time with its colour taken out
PATCHES = (GREYED, "breakhis_originals", "tissue_tiles_150", "bach_part_b", "camelyon_tiles")
FILMS = ("mini_ddsm",)
LISTED = 20  # names of wrong files that the record holds


@dataclass(frozen=True, kw_only=True)
class Folder(Record):
    """A folder of images of one modality: how many are read as another, and some of their names.

    `unreadable`: the files in it that are no image or a damaged one, which are not among its images.
    """

    folder: str
    modality: str
    images: int = field(metadata=IMAGES)
    wrong: int
    wrong_files: tuple[str, ...]
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Modality(Result):
    """Every folder, and the two limits of the rule."""

    rule: dict[str, float]
    kinds: tuple[Folder, ...]

    def is_current(self, card: object) -> bool:
        """It is of no weights, but of two limits in the code."""
        return self.rule == limits()


def limits() -> dict[str, float]:
    """The two limits of the rule."""
    from dala.gate.modality import GREY, SMOOTH

    return {"grey": GREY, "smooth": SMOOTH}


def kinds() -> dict[str, str]:
    """The modality of the images of every folder."""
    from dala.gate.checks import HISTOLOGY, MAMMOGRAM

    return dict.fromkeys(PATCHES, HISTOLOGY) | dict.fromkeys(FILMS, MAMMOGRAM)


def measure(root: Path, bars: Callable[[str], Progress] = lambda name: lambda done, total: None) -> Modality:
    """How the images of every folder of `kinds` below `root` are read; what cannot be read is named and left out.

    Raises DataError if none of the folders holds an image that can be read.
    """
    from dala.gate.modality import recognise
    from dala.intake.image import read_image

    rows = []
    for folder, modality in kinds().items():
        files = _images(root / folder)
        for grey in (False, True) if folder == GREYED else (False,):
            if not files:
                continue
            update, wrong, unreadable = bars(folder), [], []
            for done, path in enumerate(files, start=1):
                try:
                    patch = read_image(path)
                    if recognise(_without_colour(patch) if grey else patch).modality != modality:
                        wrong.append(path.name)
                except IntakeError:
                    unreadable.append(path.name)
                update(done, len(files))
            rows.append(
                Folder(
                    folder=f"{folder}, colour taken out" if grey else folder,
                    modality=modality,
                    images=len(files) - len(unreadable),
                    wrong=len(wrong),
                    wrong_files=tuple(sorted(wrong)[:LISTED]),
                    unreadable=tuple(unreadable),
                )
            )
    if not rows:
        raise DataError(f"{root} holds none of the folders {', '.join(kinds())}.")
    if not any(row.images for row in rows):
        raise DataError(f"None of the images in {root} can be read.")
    return Modality(
        protocol="every image of each folder, read as an upload is and recognised by its pixels alone; the rule's two "
        "limits were set on these same images, so its errors on others may be more",
        command=STUDY.command,
        rule=limits(),
        kinds=tuple(rows),
    )


def _images(folder: Path) -> list[Path]:
    from dala.intake.image import IMAGE_SUFFIXES

    return sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and not path.stem.endswith("_mask")
    )


def _without_colour(patch: Patch) -> Patch:
    grey = np.rint(patch.pixels @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    return replace(patch, pixels=np.repeat(grey[..., None], 3, axis=2))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="holds breakhis_200x_224, mini_ddsm, ..."
    )
    parser.add_argument("--out", type=Path, default=Path(STUDY.path), metavar="FILE")


def run(options: argparse.Namespace) -> int:
    record = measure(options.data, progress)
    STUDY.write(record, options.out)
    for row in record.kinds:
        print(f"{row.folder:40s} {row.wrong:4d} of {row.images:5d} not read as {row.modality}")
        if row.unreadable:
            files = counted(len(row.unreadable), "file")
            complain(f"{files} left out of {row.folder}, unreadable: {', '.join(row.unreadable[:LISTED])}.")
    print(f"{record.protocol}\nwritten to {options.out}")
    return 0


STUDY = Study(
    "modality",
    "modality.json",
    Modality,
    None,
    "dala modality --data DIR",
    verb=Verb(
        "modality",
        None,
        "how often is a patch read as a mammogram, or the other way round (2 minutes)",
        add_arguments,
        run,
    ),
)
