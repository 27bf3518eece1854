"""Commands about BACH's microscopy images: validate, crossvalidate, train, evaluate, all of four classes."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dala.cli import Command, progress, table

if TYPE_CHECKING:
    from dala.data.bach import Dataset

ROOT_HELP = "the folder that holds ICIAR2018_BACH_Challenge (part A, Photos)"
# 689 BreakHis images take 41 s a view and 40 s a fold on two quiet cores; BACH has 5,200 tiles in five views.
EXTRAPOLATED = "Extrapolated from BreakHis and never run on BACH: on two cores"
DISK = "and 21 GB under --runs; resumes."
NO_WEIGHTS = "No weights for BACH are shipped, for the project's copy of the data has no part A: train them first."


def add(command: Command) -> None:
    """Add the four verbs for BACH."""
    for name, run, help_ in (
        ("validate", _validate, "compare BACH's microscopy images on disk with their official counts, 100 a class"),
        (
            "crossvalidate",
            _crossvalidate,
            f"score the recipe by patient, tiles vote; writes evidence/bach.json. {EXTRAPOLATED} 2 hours {DISK}",
        ),
        (
            "train",
            _train,
            f"train on every image and write four-class weights with their card. {EXTRAPOLATED} 40 minutes {DISK}",
        ),
        ("evaluate", _evaluate, f"score four-class weights on a tree, by three votes of its tiles. {NO_WEIGHTS}"),
    ):
        sub = command(name, run, help_, "bach")
        sub.add_argument("--data", type=Path, required=True, metavar="ROOT", help=ROOT_HELP)
        if name in ("crossvalidate", "train"):
            sub.add_argument("--backbone", default="auto", metavar="torchvision|npm|FILE")
            sub.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="features and checkpoints")
            sub.add_argument("--evidence", type=Path, default=None, metavar="FILE", help="the cross-validation's JSON")
        if name == "crossvalidate":
            sub.add_argument("--folds", type=int, default=5)
            sub.add_argument("--repeats", type=int, default=3)
        if name == "train":
            sub.add_argument("--seed", type=int, default=0)
            sub.add_argument("--out", type=Path, default=None, metavar="FILE.safetensors")
        if name == "evaluate":
            sub.add_argument("--weights", default="bach", metavar="NAME|FILE.safetensors", help=NO_WEIGHTS)
            sub.add_argument("--json", action="store_true", help="one JSON object instead of a readable table")


def _validate(options: argparse.Namespace) -> int:
    from dala.data import bach

    report = bach.validate(options.data, progress("reading"))
    print(report.text())
    return 0 if report.complete else 1


def _crossvalidate(options: argparse.Namespace) -> int:
    from dala.nets.imagenet import load_backbone
    from dala.training.evaluate import write_evidence
    from dala.training.recipe import Recipe
    from dala.training.tasks.bach import cross_validate, run_folder

    dataset, recipe = _loaded(options.data), Recipe()
    record = cross_validate(
        dataset,
        load_backbone(options.backbone),
        recipe,
        run_folder(options.runs, dataset, recipe),
        options.folds,
        options.repeats,
        progress("reading"),
    )
    path = options.evidence or Path("evidence") / "bach.json"
    write_evidence(path, record)
    print(f"{record['protocol']}\n{table(record['scores'])}\nwritten to {path}")
    return 0


def _train(options: argparse.Namespace) -> int:
    from dala.nets.imagenet import load_backbone
    from dala.runtime.card import WEIGHTS_DIR
    from dala.training.recipe import Recipe
    from dala.training.tasks.bach import run_folder, train

    dataset, recipe = _loaded(options.data), Recipe()
    card = train(
        dataset,
        load_backbone(options.backbone),
        recipe,
        run_folder(options.runs, dataset, recipe),
        options.evidence or Path("evidence") / "bach.json",
        options.out or WEIGHTS_DIR / "bach.safetensors",
        options.seed,
        progress("reading"),
    )
    print(f"weights {card.name}: {card.fields['bytes']} bytes, sha256 {card.fields['sha256']}")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from dala.runtime.predict import load_model
    from dala.training.tasks.bach import evaluate

    record = evaluate(_loaded(options.data), load_model(options.weights), progress("scoring"))
    if options.json:
        print(json.dumps(record, ensure_ascii=False))
    else:
        print(f"{record['protocol']}\n{table(record['votes'])}")
    return 0


def _loaded(root: Path) -> Dataset:
    """The data set, with what was left out of it said on standard error."""
    from dala.data import bach

    dataset = bach.load(root)
    for note in dataset.notes:
        print(note, file=sys.stderr)
    return dataset
