"""The command that shows what the leak between patients is worth."""

from __future__ import annotations

import argparse
from pathlib import Path

from dala.cli import Command, table


def add(command: Command) -> None:
    """Add protocols."""
    sub = command(
        "protocols",
        _protocols,
        "score by image, by official folds, by slide and by accession group side by side (25 minutes on two cores "
        "after crossvalidate; resumes fold by fold)",
        "breakhis",
    )
    sub.add_argument("--data", type=Path, required=True, metavar="ROOT")
    sub.add_argument("--magnification", type=int, choices=[40, 100, 200, 400], default=200)
    sub.add_argument("--folds-file", type=Path, default=None, metavar="DIR", help="holds dsfold1.txt to dsfold5.txt")
    sub.add_argument("--backbone", default="auto", metavar="torchvision|npm|FILE")
    sub.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="features and predictions")
    sub.add_argument("--evidence", type=Path, default=Path("evidence"), metavar="DIR")


def _protocols(options: argparse.Namespace) -> int:
    from dala.data import breakhis
    from dala.nets.imagenet import load_backbone
    from dala.studies.protocols import compare_protocols
    from dala.training.recipe import Recipe

    recipe = Recipe()
    name = f"breakhis_{options.magnification}x"
    path = options.evidence / f"protocols_{name}.json"
    record = compare_protocols(
        breakhis.load(options.data, options.magnification),
        load_backbone(options.backbone),
        recipe,
        options.runs / f"{name}-{recipe.fingerprint}",
        path,
        options.evidence / f"{name}_predictions.json",
        options.folds_file,
    )
    for column, entry in record["columns"].items():
        print(f"\n{column}: {entry.get('not_measured') or entry['leakage']}")
        if "scores" in entry:
            print(table(entry["scores"]))
    print(f"\nwritten to {path}")
    return 0
