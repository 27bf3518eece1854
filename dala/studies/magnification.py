"""Does the answer hold at every magnification? Originals of BreakHis, 40X to 400X, at their true scale.

dala magnification --data ROOT
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dala.stats.bootstrap import Interval
from dala.studies.blocks import Block, Row, Table, Text, bullets, numbers, plain_cell
from dala.studies.record import Data, Record, Result
from dala.studies.replies import BENIGN, MALIGNANT, OUTSIDE, Counts, Reply, counts_row, reply_to
from dala.studies.study import Study, Verb
from dala.terminal import Progress, progress
from dala.words import counted, figure

if TYPE_CHECKING:
    from dala.data.breakhis import Record as Image
    from dala.runtime.predict import Model

PART = "Laboratories"
FOLDER = "breakhis_originals"
TRUE = (BENIGN, MALIGNANT)  # by label
UNKNOWN = "an unknown laboratory"


@dataclass(frozen=True, kw_only=True)
class Part(Record):
    """Images of one magnification, or of all: those of each class and what they are told, how many answers are wrong,
    why some are outside, and for which laboratory the others are taken. `above_even`: how many benign and malignant
    images have a probability of malignant above one half, and `auc` that of the probability, None for images of one
    class; both of all images, those outside among them."""

    groups: int
    benign: Counts
    malignant: Counts
    wrong: int
    outside: dict[str, int]
    taken_for: dict[str, int]
    above_even: tuple[int, int]
    auc: Interval | None

    @property
    def all(self) -> Counts:
        """Both classes together."""
        names = ("images", "benign", "malignant", "not_sure", "outside")
        return Counts(**{name: getattr(self.benign, name) + getattr(self.malignant, name) for name in names})


@dataclass(frozen=True, kw_only=True)
class Wrong(Record):
    """An image that was answered wrongly, and the probability of malignant that was shown."""

    file: str
    said: str
    probability_malignant: float
    trained_on: bool


@dataclass(frozen=True, kw_only=True)
class Magnification(Result):
    """Every magnification and all of them: all patients, and those that the weights have not seen at any."""

    data: Data
    by_magnification: dict[str, Part]
    unseen: dict[str, Part]
    unseen_groups: tuple[str, ...]
    wrong: tuple[Wrong, ...]


# Measuring


def part_of(labels: Sequence[int], groups: Sequence[str], replies: Sequence[Reply]) -> Part:
    """The figures of images (N,), label 0 benign, 1 malignant."""
    from dala.stats.metrics import binary_intervals
    from dala.training.laboratories.validation import told

    by_class = [[reply for label, reply in zip(labels, replies, strict=True) if label == one] for one in (0, 1)]
    benign, malignant = map(Counts.of, by_class)
    values = [reply.malignant for reply in replies]
    return Part(
        groups=len(set(groups)),
        benign=benign,
        malignant=malignant,
        wrong=benign.malignant + malignant.benign,
        outside=dict(Counter(reply.reason for reply in replies if reply.said == OUTSIDE).most_common()),
        taken_for=dict(
            Counter(reply.laboratory or UNKNOWN for reply in replies if reply.said != OUTSIDE).most_common()
        ),
        above_even=(sum(one.malignant > 0.5 for one in by_class[0]), sum(one.malignant > 0.5 for one in by_class[1])),
        auc=told(binary_intervals(labels, values, groups))["auc"] if len(set(labels)) == 2 else None,
    )


def parts_of(images: Sequence[Image], replies: Sequence[Reply]) -> dict[str, Part]:
    """A part for each magnification, and "all"."""
    from dala.data.breakhis import MAGNIFICATIONS

    found = {}
    for name, magnification in [*((f"{one}X", one) for one in MAGNIFICATIONS), ("all", None)]:
        own = [index for index, image in enumerate(images) if magnification in (None, image.magnification)]
        if own:
            labels, groups = [images[index].label for index in own], [images[index].accession for index in own]
            found[name] = part_of(labels, groups, [replies[index] for index in own])
    return found


def measure(root: Path, model: Model, bar: Progress = lambda done, total: None) -> Magnification:
    """What the model says of every original below `root`. DataError where there is none or one cannot be read."""
    from dala.data import breakhis
    from dala.errors import DataError, IntakeError

    images = sorted(
        breakhis.load(root / FOLDER if (root / FOLDER).is_dir() else root).records,
        key=lambda one: (one.magnification, one.name),
    )
    replies = []
    for done, image in enumerate(images, start=1):
        try:
            replies.append(reply_to(image.path, model))
        except IntakeError as error:
            raise DataError(f"{image.name} cannot be read: {error}") from error
        bar(done, len(images))
    trained = set(model.card.fields["training_data"]["groups"])
    new = [index for index, image in enumerate(images) if image.accession not in trained]
    groups = {image.accession for image in images}
    benign = sum(image.label == 0 for image in images)
    unseen = tuple(sorted(groups - trained))
    return Magnification(
        protocol="originals of BreakHis as an upload, at the pixel size that name and size of the file tell, by the "
        f"path that serves users; the weights are trained on 200X images of {len(groups & trained)} of these "
        f"{counted(len(groups), 'accession group')}, so most of these images show tissue, or its neighbourhood, that "
        f"they have seen; not in their training: {', '.join(unseen) or 'none'}, counted apart. What is wrong is an "
        "answer of the other class; outside and not sure are no answers; the AUC is that of the probability of all "
        "images, those outside among them. 95 % intervals: bootstrap over accession "
        "groups",
        command=STUDY.command,
        weights_sha256=str(model.card.fields["sha256"]),
        data=Data(
            name="BreakHis originals",
            magnifications=tuple(sorted({image.magnification for image in images})),
            images=len(images),
            benign=benign,
            malignant=len(images) - benign,
            groups=len(groups),
            benign_groups=len({image.accession for image in images if image.label == 0}),
        ),
        by_magnification=parts_of(images, replies),
        unseen=parts_of([images[index] for index in new], [replies[index] for index in new]),
        unseen_groups=unseen,
        wrong=tuple(
            Wrong(
                file=image.name,
                said=reply.said,
                probability_malignant=round(reply.malignant, 4),
                trained_on=image.accession in trained,
            )
            for image, reply in zip(images, replies, strict=True)
            if reply.said in TRUE and reply.said != TRUE[image.label]
        ),
    )


# The page


def table(parts: dict[str, Part]) -> list[Row]:
    """A row a magnification."""
    return [
        {
            "Magnification": name,
            "Patients": str(part.groups),
            **counts_row(part.all),
            "Wrong, of the answers": f"{part.wrong} of {part.all.answered}",
            "AUC, of all images": "one class" if part.auc is None else figure(part.auc),
        }
        for name, part in parts.items()
    ]


def why(parts: dict[str, Part]) -> list[Row]:
    """A row a magnification: why images are outside, and for which laboratory the others are taken."""

    def listed(of: dict[str, int]) -> str:
        return ", ".join(f"{plain_cell(name)} {count}" for name, count in of.items()) or "none"

    return [
        {"Magnification": name, "Outside": listed(part.outside), "Taken for": listed(part.taken_for)}
        for name, part in parts.items()
    ]


def by_class(parts: dict[str, Part]) -> list[Row]:
    """A row a magnification and class: what its images are told."""
    return [
        {"Magnification": name, "True class": title, **counts_row(counts), "Above even odds": str(above)}
        for name, part in parts.items()
        for title, counts, above in (
            ("benign", part.benign, part.above_even[0]),
            ("malignant", part.malignant, part.above_even[1]),
        )
        if counts.images
    ]


def summary(record: Magnification) -> str:
    """Answers and wrong ones over all magnifications, and on patients that were not trained on."""
    whole = record.by_magnification["all"]
    told = (
        f"Of {counted(whole.all.images, 'original')} of BreakHis at all magnifications {whole.all.answered} are "
        f"answered, {whole.wrong} of these wrongly"
    )
    if "all" in record.unseen:
        new = record.unseen["all"]
        told += (
            f"; of the {counted(new.all.images, 'original')} of {counted(new.groups, 'patient')} that were not trained "
            f"on {new.all.answered} are answered, {new.wrong} of these wrongly"
        )
    return f"{told}."


def section(record: Magnification) -> list[Block]:
    """Answers by magnification, of all patients and of those that the weights have not seen, and the wrong ones."""
    known = "The weights have seen most of these patients at another magnification, so these figures are kinder than "
    blocks: list[Block] = [
        Table(table(record.by_magnification), "Answers by magnification"),
        Text(f"{summary(record)} {known}those of new ones."),
    ]
    if record.unseen:
        blocks.append(Table(table(record.unseen), "Answers on patients that the weights were not trained on"))
    if record.wrong:
        wrong = (
            f"{one.file}: {one.said}, probability of malignant {one.probability_malignant:.2f}"
            + ("" if one.trained_on else "; not trained on")
            for one in record.wrong
        )
        blocks.append(Text(f"Answered wrongly:\n\n{bullets(wrong)}"))
    return [
        *blocks,
        numbers("Answers by magnification and true class", by_class(record.by_magnification)),
        numbers("Why images are outside, and for which laboratory the others are taken", why(record.by_magnification)),
    ]


# The command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="ROOT", help=f"holds {FOLDER}, or is such a tree")
    parser.add_argument("--out", type=Path, default=Path(STUDY.path), metavar="FILE")


def run(options: argparse.Namespace) -> int:
    from dala.runtime.predict import load_model

    record = measure(options.data, load_model(STUDY.weights or ""), progress("originals"))
    STUDY.write(record, options.out)
    for title, parts in (("", record.by_magnification), ("not trained on, ", record.unseen)):
        for name, part in parts.items():
            found, auc = part.all, "" if part.auc is None else f", AUC {figure(part.auc)}"
            print(
                f"{title + name:20s} {found.images:3d} of {counted(part.groups, 'patient')}: {found.benign} benign, "
                f"{found.malignant} malignant, {found.not_sure} not sure, {found.outside} outside; {part.wrong} wrong"
                f"{auc}; above even odds {part.above_even[0]} of {part.benign.images} benign, {part.above_even[1]} of "
                f"{part.malignant.images} malignant; outside {part.outside}; taken for {part.taken_for}"
            )
    print(f"{record.protocol}\nwritten to {options.out}")
    return 0


STUDY = Study(
    "magnification",
    "magnification.json",
    Magnification,
    "breast",
    "dala magnification --data ROOT",
    part=PART,
    title="By magnification",
    question="Does the answer hold from the lowest to the highest magnification?",
    section=section,
    summary=summary,
    verb=Verb(
        "magnification",
        None,
        "originals of BreakHis at every magnification, through the path that serves users (1 minute)",
        add_arguments,
        run,
    ),
)
