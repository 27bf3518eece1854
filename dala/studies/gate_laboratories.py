"""Whose image is it, and may it be analysed? A gate that knows laboratories, patients and laboratories held out.

dala gate breast --data ROOT
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dala.stats.bootstrap import Interval
from dala.studies.blocks import Block, Row, Table, Text, numbers
from dala.studies.options import add_runs
from dala.studies.record import IMAGES, Record, Result
from dala.studies.study import Study, Verb
from dala.terminal import progress
from dala.words import counted, figure, share

if TYPE_CHECKING:
    from dala.gate.familiarity import Familiarity
    from dala.runtime.predict import Model
    from dala.studies.gate_laboratories_fit import Fields


@dataclass(frozen=True, kw_only=True)
class Fate(Record):
    """What becomes of true fields: how many a check of the pixels refuses, and how many are taken for tissue that looks
    like carcinoma (`lookalike`); the share that passes all; and how many are taken for which laboratory."""

    images: int = field(metadata=IMAGES)
    by_check: dict[str, int]
    lookalike: int
    passes: Interval
    taken_for: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Strange(Record):
    """A kind of image that should be refused: by a check of the pixels, as unfamiliar, as tissue that looks like
    carcinoma, or not at all."""

    family: str
    images: int = field(metadata=IMAGES)
    by_check: int
    unfamiliar: int
    lookalike: int
    passed: int


@dataclass(frozen=True, kw_only=True)
class Family(Record):
    """Kinds of strange images together, and the share of them that is refused."""

    images: int = field(metadata=IMAGES)
    refused: int
    share: float

    @classmethod
    def of(cls, kinds: Iterable[Strange]) -> Family:
        """All of these kinds together."""
        every = list(kinds)
        images, refused = sum(one.images for one in every), sum(one.images - one.passed for one in every)
        return cls(images=images, refused=refused, share=round(refused / images, 4))


@dataclass(frozen=True, kw_only=True)
class Laboratories(Result):
    """Fields of patients held out, of laboratories left out, of laboratories that are never trained on, and strange
    images by kind."""

    limit: float
    known: dict[str, Fate]
    left_out: dict[str, Fate]
    never_trained: dict[str, Fate]
    strange: dict[str, Strange]
    families: dict[str, Family]


# Measuring


def measure(root: Path, model: Model, runs: Path) -> tuple[Familiarity, Laboratories]:
    """The statistics for a model and what they do; what its trunk sees is kept under `runs`."""
    from dala.runtime.card import read_card
    from dala.studies import gate_laboratories_fit as fit
    from dala.training.laboratories.release import load_samples

    kept = fit.folder_of(runs, model)
    bar = progress("strange images")
    trained, tested = fit.trained_fields(root, model, kept), fit.tested_fields(root, model, kept)
    tissue = fit.tissue_of(load_samples(read_card(model.name)[1]))
    found = fit.held_out(trained, tissue)
    familiarity = fit.statistics(trained, found, tissue)
    known, lookalike = familiarity.laboratories, familiarity.lookalike
    assert known is not None and lookalike is not None

    def fate(fields: Fields, distances: fit.Floats, like: NDArray[np.bool_], taken: dict[str, int]) -> Fate:
        near = (fields.failed == "") & (distances <= familiarity.limit)
        passes = near & ~like
        names, counts = np.unique(fields.failed[fields.failed != ""], return_counts=True)
        return Fate(
            images=len(fields.failed),
            by_check={str(name): int(count) for name, count in zip(names, counts, strict=True)},
            lookalike=int((near & like).sum()),
            passes=_interval(fit.share(passes, fields.groups)),
            taken_for=taken,
        )

    of_known, of_left_out = {}, {}
    for number, name in enumerate(found.names):
        own = found.fields.laboratories == name
        fields = found.fields.of(own)
        of_known[name] = fate(fields, found.familiar[own], found.like[own], fit.counted(known, found.apart[own]))
        # The others' limits and margins are those with this laboratory in: what a fit without it would give is near.
        keep = [k for k in range(len(found.names)) if k != number]
        rest = type(known)(tuple(found.names[k] for k in keep), known.gaussian, known.limits[keep], known.margins[keep])
        taken = fit.counted(rest, found.others[own])
        of_left_out[name] = fate(fields, found.strange[own], found.strange_like[own], taken)
    never = {}
    for name in dict.fromkeys(map(str, tested.laboratories)):
        fields = tested.of(tested.laboratories == name)
        distances = familiarity.gaussian.distances(fields.pooled)
        like = lookalike.recognised(fields.pooled)
        never[name] = fate(fields, distances, like, fit.taken(known, fields.pooled))
    strange, kinds = {}, fit.strange_kinds(root)
    for number, kind in enumerate(kinds):
        fields = fit.kind_fields(kind, model, kept)
        looked = fields.pooled[fields.failed == ""]
        far = familiarity.gaussian.distances(looked) > familiarity.limit if len(looked) else np.zeros(0, bool)
        like = lookalike.recognised(looked) & ~far
        strange[kind.name] = Strange(
            family=kind.family,
            images=len(fields.failed),
            by_check=len(fields.failed) - len(looked),
            unfamiliar=int(far.sum()),
            lookalike=int(like.sum()),
            passed=int((~far & ~like).sum()),
        )
        bar(number + 1, len(kinds))
    return familiarity, Laboratories(
        protocol="familiarity and laboratory by Gaussians of pooled layer3 features, a mean for each laboratory; "
        f"known: patients held out in {fit.FOLDS} grouped folds; left out: fits without the laboratory; the limit lets "
        f"{fit.ACCEPTED:.0%} of the fields of laboratories left out through, and was chosen on these figures, as were "
        "the lines of the checks of the pixels; crowded lymphocytes and apocrine cells, which the model takes for "
        "carcinoma, by a linear classifier of the same features, fitted on the tiles of tissue that the weights were "
        "trained with, by the same folds. 95 % intervals: bootstrap over patients",
        command=STUDY.command,
        weights_sha256=model.card.fields["sha256"],
        limit=round(familiarity.limit, 4),
        known=of_known,
        left_out=of_left_out,
        never_trained=never,
        strange=strange,
        families={
            name: Family.of(one for one in strange.values() if one.family == name)
            for name in dict.fromkeys(kind.family for kind in kinds)
        },
    )  # fmt: skip


def _interval(of: Mapping[str, float]) -> Interval:
    return {"value": of["value"], "low": of["low"], "high": of["high"]}


# The command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="ROOT", help="the folder of `dala laboratories`")
    add_runs(parser, "features, kept for the next run")
    parser.add_argument("--evidence", type=Path, default=Path("evidence"), metavar="DIR")


def run(options: argparse.Namespace) -> int:
    from dala.gate.familiarity import SUFFIX, save_familiarity, trunk_identity
    from dala.runtime.card import read_card
    from dala.runtime.predict import load_model

    model = load_model("breast")
    familiarity, record = measure(options.data, model, options.runs)
    path = read_card("breast")[1].with_suffix(SUFFIX)
    save_familiarity(path, familiarity, trunk_identity(model.net.trunk), model.card.input.upsampled)
    STUDY.write(record, options.evidence / STUDY.file)
    print(record.protocol)
    for title, rows in (("known", record.known), ("left out", record.left_out), ("never", record.never_trained)):
        for name, one in rows.items():
            print(f"{title:9s}{name:14s}{one.images:4d} fields, {figure(one.passes)} pass; taken for {one.taken_for}")
    for name, kind in record.strange.items():
        print(f"{name[:40]:40s}{kind.passed:4d} of {kind.images:4d} pass")
    print(f"written to {STUDY.path} and {path.name}")
    return 0


# The page


def fates(rows: Mapping[str, Fate]) -> list[Row]:
    """A row a laboratory."""
    return [
        {
            "Laboratory": name,
            "Fields": f"{one.images:,}",
            "Looks like carcinoma and is none": str(one.lookalike),
            "Pass": figure(one.passes, percent=True),
            "Taken for": ", ".join(f"{lab} {number}" for lab, number in one.taken_for.items()) or "none of them",
        }
        for name, one in rows.items()
    ]


def section(record: Laboratories) -> list[Block]:
    """What passes, for whom it is taken, and what is refused."""
    told = "; ".join(
        f"of {counted(one.images, 'image')} of the family {name!r} {share(one.share)}"
        for name, one in record.families.items()
    )
    return [
        Text(
            "An image is taken for a laboratory that the model knows, and its figures shown beside the answer, only if "
            "it lies as near to it as nearly all images of new patients there do, and clearly nearer than to any other."
        ),
        Table(fates(record.known), "Patients held out, of laboratories that it knows"),
        Table(fates(record.left_out), "Laboratories left out: every one of them unknown then"),
        Table(fates(record.never_trained), "Laboratories that are never trained on"),
        Text(f"Refused, of what is no H&E of the breast or spoilt: {told}."),
        numbers(
            "Every kind of them",
            [
                {
                    "Kind": name,
                    "Images": f"{one.images:,}",
                    "By a check": str(one.by_check),
                    "Unfamiliar": str(one.unfamiliar),
                    "A lookalike": str(one.lookalike),
                    "Passed": str(one.passed),
                }
                for name, one in record.strange.items()
            ],
        ),
    ]


STUDY = Study(
    "gate_laboratories",
    "gate_laboratories.json",
    Laboratories,
    "breast",
    "dala gate breast --data ROOT",
    part="Laboratories",
    title="Whose image is it",
    question="Does it know a laboratory that it has learnt from, and turn away what it cannot assess?",
    section=section,
    verb=Verb(
        "gate",
        "breast",
        "fit the gate of the weights of several laboratories, beside them, and measure it (6 minutes; what is done is "
        "kept)",
        add_arguments,
        run,
    ),
)
