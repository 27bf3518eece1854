"""The command that fits the colour-only judge beside the weights."""

from __future__ import annotations

import argparse
from pathlib import Path

from dala.cli import Command


def add(command: Command) -> None:
    """Add colour."""
    sub = command(
        "colour",
        _colour,
        "fit the judge that knows colours alone, for the teaching page, beside the weights (a few seconds; train does "
        "it too)",
        "breakhis",
    )
    sub.add_argument("--data", type=Path, required=True, metavar="ROOT")
    sub.add_argument("--magnification", type=int, default=200)
    sub.add_argument(
        "--weights", type=Path, default=None, metavar="FILE.safetensors", help="beside which (default: the shipped)"
    )


def _colour(options: argparse.Namespace) -> int:
    from dala.runtime.card import WEIGHTS_DIR
    from dala.studies.colour import ship_colour_only

    weights = options.weights or WEIGHTS_DIR / "breakhis.safetensors"
    print(f"written to {ship_colour_only(options.data, options.magnification, weights)}")
    return 0
