"""Options that the commands of several studies have in common."""

from __future__ import annotations

import argparse
from pathlib import Path

from dala.terminal import at_least


def add_training(parser: argparse.ArgumentParser) -> None:
    """What it takes to train on BreakHis again, fold by fold."""
    parser.add_argument("--data", type=Path, required=True, metavar="ROOT")
    parser.add_argument("--magnification", type=int, choices=[40, 100, 200, 400], default=200)
    parser.add_argument("--folds", type=at_least(2), default=5)
    parser.add_argument("--repeats", type=at_least(1), default=3)
    add_backbone(parser)
    add_runs(parser, "features, folds and checkpoints")
    parser.add_argument("--evidence", type=Path, default=None, metavar="FILE", help="where the figures go")


def add_backbone(parser: argparse.ArgumentParser) -> None:
    """The ImageNet start, which the folds' networks are filed under."""
    parser.add_argument("--backbone", default="auto", metavar="torchvision|npm|FILE")


def add_runs(parser: argparse.ArgumentParser, holds: str) -> None:
    """Where unfinished work is kept."""
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help=holds)
