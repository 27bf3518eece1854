"""The command that measures how often an image is read as the wrong kind."""

from __future__ import annotations

import argparse
from pathlib import Path

from dala.cli import Command, progress


def add(command: Command) -> None:
    """Add modality."""
    sub = command("modality", _modality, "how often is a patch read as a mammogram, or the other way round (2 minutes)")
    sub.add_argument("--data", type=Path, required=True, metavar="DIR", help="holds breakhis_200x_224, mini_ddsm, ...")
    sub.add_argument("--out", type=Path, default=Path("evidence") / "modality.json", metavar="FILE")


def _modality(options: argparse.Namespace) -> int:
    from dala.studies.modality import measure
    from dala.training.evaluate import write_json

    record = measure(options.data, progress)
    write_json(options.out, record)
    for row in record["kinds"]:
        print(f"{row['folder']:40s} {row['wrong']:4d} of {row['pictures']:5d} not read as {row['modality']}")
    print(f"{record['protocol']}\nwritten to {options.out}")
    return 0
