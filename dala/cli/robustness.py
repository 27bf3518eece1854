"""The command that changes images and watches what the verdicts do."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dala.cli import Command, progress


def add(command: Command) -> None:
    """Add robustness."""
    sub = command(
        "robustness",
        _robustness,
        "judge images of held-out patients under other stain, light, focus, compression and framing (15 minutes on "
        "two cores after crossvalidate; what is done is kept)",
        "breakhis",
    )
    sub.add_argument("--data", type=Path, required=True, metavar="ROOT")
    sub.add_argument("--originals", type=Path, default=None, metavar="DIR", help="a tree with 40X, 100X and 400X too")
    sub.add_argument("--each", type=int, default=6, metavar="N", help="images of an accession group, at most")
    sub.add_argument("--backbone", default="auto", metavar="torchvision|npm|FILE")
    sub.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="fold networks and answers")
    sub.add_argument("--evidence", type=Path, default=Path("evidence"), metavar="DIR")


def _robustness(options: argparse.Namespace) -> int:
    from dala.data import breakhis
    from dala.nets.imagenet import load_backbone
    from dala.studies.robustness import robustness
    from dala.training.recipe import Recipe

    recipe = Recipe()
    path = options.evidence / "robustness_breakhis_200x.json"
    record = robustness(
        breakhis.load(options.data, 200),
        load_backbone(options.backbone),
        recipe,
        options.runs / f"breakhis_200x-{recipe.fingerprint}",
        path,
        options.each,
        breakhis.load(options.originals) if options.originals else None,
        progress=progress,
    )
    print(f"{record['protocol']}\n{'':24s}" + "".join(f"{model:>15s}" for model in record["models"]))
    print(_line("unchanged", [record["unchanged"][model] for model in record["models"]]))
    for name, change in record["changes"].items():
        for row in change["levels"]:
            cells = [row, *(row[model] for model in record["models"][1:])]
            print(_line(f"{name} {row['level']:g} {change['unit']}", cells))
    print(f"AUC; written to {path}")
    return 0


def _line(name: str, cells: list[dict[str, Any]]) -> str:
    values = [cell["auc"]["value"] for cell in cells]
    return f"{name:24s}" + "".join(f"{'-' if value is None else f'{value:.3f}':>15s}" for value in values)
