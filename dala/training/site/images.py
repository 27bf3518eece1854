"""A laboratory's own images: a folder a class, whose patients they are of, and what the network's stages make of them.

Whatever would make the figures of a site worthless is refused here in one sentence: a class that is missing, too few
patients, an image that is there twice, one that cannot be read, one of unknown scale, and what the gate calls no
histology.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

import numpy as np
from numpy.typing import NDArray

from dala.errors import DataError, IntakeError
from dala.gate.checks import CHECKS
from dala.gate.modality import recognise
from dala.intake.archive import Item, members
from dala.intake.image import read_image, who_is
from dala.intake.patch import Patch
from dala.intake.pixel_size import GivenSize
from dala.preprocess.physical import views_at_scale
from dala.preprocess.scale import Scale, scale_of
from dala.preprocess.views import network_input
from dala.runtime.predict import Model, counted_views
from dala.training.laboratories.samples import PARTS, stage_means
from dala.words import counted

CLASSES = ("benign", "malignant")
LEAST_PATIENTS = 5  # of a class
NAMED = 20  # of the images that a sentence speaks of

BY_TABLE, BY_PATTERN, BY_IMAGE = "table", "pattern", "image"
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Listed:
    """The images of a folder that has not been read yet: items, labels (0 benign, 1 malignant) and patients, and by
    what the patients are known, one of `BY_TABLE`, `BY_PATTERN` and `BY_IMAGE`."""

    items: tuple[Item, ...]
    labels: tuple[int, ...]
    patients: tuple[str, ...]
    patients_by: str


@dataclass(frozen=True, eq=False)
class SiteImages:
    """N images of a site: `views`, of each (V, 3584) what the head pools of every view that counts, as
    `dala.training.laboratories.samples.PARTS` has them; labels (N,), groups (N,) its patients; `um_per_pixel` of the
    finest and the coarsest, and by what the patients are known."""

    views: tuple[NDArray[np.float32], ...]
    labels: NDArray[np.int64]
    groups: NDArray[np.str_]
    um_per_pixel: tuple[float, float]
    patients_by: str

    @property
    def features(self) -> NDArray[np.float32]:
        """(N, 3584): the mean of every image's views."""
        return np.stack([one.mean(0) for one in self.views])

    @property
    def pooled(self) -> tuple[NDArray[np.float32], ...]:
        """Of every image (V, 1024): what the gate sees of it."""
        return tuple(one[:, PARTS["layer3"]] for one in self.views)

    def of(self, chosen: Sequence[int] | NDArray[np.integer]) -> SiteImages:
        """Some of the images."""
        return SiteImages(
            tuple(self.views[k] for k in chosen), self.labels[chosen], self.groups[chosen], self.um_per_pixel,
            self.patients_by,
        )  # fmt: skip


# What is there


def list_site(root: Path, table: str | None = None, pattern: str | None = None) -> Listed:
    """The images below `root`/benign and `root`/malignant, and their patients: by a CSV `table` with the columns file
    and patient, by a regular expression on the file's name (its first group, or all that it matches), or else every
    image its own.

    Raises DataError for a folder that makes no site.
    """
    if not root.is_dir():
        raise DataError(f"The folder {root} does not exist.")
    items: list[Item] = []
    labels: list[int] = []
    for label, name in enumerate(CLASSES):
        inside = members([root / name]) if (root / name).is_dir() else ()
        found = [Item(f"{name}/{one.name}", one.load) for one in inside]
        items += found
        labels += [label] * len(found)
    missing = [name for label, name in enumerate(CLASSES) if label not in labels]
    if missing:
        raise DataError(
            f"{root} holds no images in {' and in '.join(f'{name}/' for name in missing)}: a site needs benign and "
            "malignant ones, each in a folder of its own."
        )
    names = [item.name for item in items]
    if table is not None:
        patients, by = _by_table(names, table), BY_TABLE
    elif pattern is not None:
        patients, by = _by_pattern(names, pattern), BY_PATTERN
    else:
        patients, by = names, BY_IMAGE
    for label, name in enumerate(CLASSES):
        number = len({patient for patient, one in zip(patients, labels, strict=True) if one == label})
        if number < LEAST_PATIENTS:
            raise DataError(
                f"A site needs images of {LEAST_PATIENTS} patients of each class; {name}/ has those of {number}."
            )
    return Listed(tuple(items), tuple(labels), tuple(patients), by)


def _by_table(names: Sequence[str], text: str) -> list[str]:
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\N{BYTE ORDER MARK}"), newline="")))
    if not rows or not {"file", "patient"} <= rows[0].keys():
        raise DataError("A table of patients has the columns file and patient, and at least one row.")
    known: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):
        file, patient = (str(row[key] or "").strip() for key in ("file", "patient"))
        if not file or not patient:
            raise DataError(f"Line {number} of the table of patients lacks a file or a patient.")
        if known.setdefault(file, patient) != patient:
            raise DataError(f"The table of patients gives two for {who_is(file)}.")
    last: dict[str, set[str]] = {}
    for file, patient in known.items():
        last.setdefault(PureWindowsPath(file).name, set()).add(patient)

    def patient_of(name: str) -> str | None:
        if name in known:
            return known[name]
        found = last.get(PureWindowsPath(name).name, set())
        return next(iter(found)) if len(found) == 1 else None

    found = [patient_of(name) for name in names]
    without = [name for name, patient in zip(names, found, strict=True) if patient is None]
    if without:
        raise DataError(f"The table of patients does not say whose {_some(without)} is.")
    return [str(patient) for patient in found]


def _by_pattern(names: Sequence[str], pattern: str) -> list[str]:
    try:
        rule = re.compile(pattern)
    except re.error as error:
        raise DataError(f"The pattern of patients is no regular expression: {error}.") from error
    found = [rule.search(PureWindowsPath(name).name) for name in names]
    without = [name for name, match in zip(names, found, strict=True) if match is None]
    if without:
        raise DataError(f"The pattern of patients does not match {_some(without)}.")
    return [str(match.group(1 if rule.groups else 0)) for match in found if match is not None]


def _some(names: Sequence[str]) -> str:
    """How many images, and the first of them by name."""
    shown = ", ".join(who_is("".join(sign for sign in name if sign.isprintable())) for name in names[:NAMED])
    return f"{counted(len(names), 'image')} ({shown}{', …' if len(names) > NAMED else ''})"


# What the network sees of it


def look_at(
    listed: Listed, model: Model, pixel_size_um: GivenSize | None = None, progress: Progress | None = None
) -> SiteImages:
    """Read every image and let the frozen stages of a model look at it, at its physical scale.

    Raises DataError that counts and names the images which cannot be used.
    """
    unread: list[str] = []
    unscaled: list[str] = []
    foreign: dict[str, str] = {}
    seen: dict[str, str] = {}
    views, sizes = [], []
    for number, item in enumerate(listed.items):
        try:
            patch = read_image(item.load(), item.name, pixel_size_um)
        except (IntakeError, OSError):
            unread.append(item.name)
            continue
        if patch.sha256 in seen:
            raise DataError(f"{_some([item.name])} is the same as {who_is(seen[patch.sha256])}: it counts once.")
        seen[patch.sha256] = item.name
        scale = scale_of(patch)
        if not scale.known:
            unscaled.append(item.name)
        else:
            # What the network sees takes time, and is worth nothing once one image is refused.
            look = not (unread or unscaled or foreign)
            try:
                found, reason = _views_of(patch, scale, model, look)
            except IntakeError:
                unread.append(item.name)
                continue
            if reason is None:
                views.append(found)
                sizes += list(scale.um_per_pixel)
            else:
                foreign[item.name] = reason
        if progress is not None:
            progress(number + 1, len(listed.items))
    if unread:
        raise DataError(f"{_some(unread)} cannot be read, or shows too much for one image.")
    if unscaled:
        raise DataError(
            f"How large a pixel is on the specimen is not known of {_some(unscaled)}; say it with --pixel-size."
        )
    if foreign:
        raise DataError(f"The gate calls {_some(list(foreign))} no usable histology: {next(iter(foreign.values()))}")
    labels, groups = np.array(listed.labels, np.int64), np.array(listed.patients)
    return SiteImages(tuple(views), labels, groups, (min(sizes), max(sizes)), listed.patients_by)


def _views_of(patch: Patch, scale: Scale, model: Model, look: bool) -> tuple[NDArray[np.float32], str | None]:
    """What the stages make of the views that count, (V, 3584), if they are to look, or the sentence of the gate that
    speaks against the image."""
    asked = model.card.input
    views = views_at_scale(patch.pixels, scale, asked)
    counts = np.flatnonzero(counted_views(views, model))
    reasons = [CHECKS[model.card.modality](views.for_gate[k]) for k in counts]
    failed = [reason for reason in reasons if reason is not None]
    nothing = np.zeros((0, 0), np.float32)
    if recognise(patch).modality != model.card.modality:
        return nothing, "It looks like an image of another kind."
    if 2 * len(failed) > len(reasons):
        return nothing, failed[0].sentence
    if not look:
        return nothing, None
    parts = [stage_means(model.net, network_input(views.for_network[k][None], asked.side)) for k in counts]
    return np.concatenate(parts), None
