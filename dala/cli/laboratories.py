"""The verbs of the weights for several laboratories: the tissue stage, and what is measured, trained and shipped."""

from __future__ import annotations

import argparse
from pathlib import Path

from dala.cli import Command
from dala.terminal import at_least


def add(command: Command) -> None:
    """Add `laboratories` and `tissue`."""
    sub = command(
        "laboratories",
        _laboratories,
        "leave patients and laboratories out, train on all of them, write weights/breast.* and "
        "evidence/laboratories.json (6 minutes)",
    )
    _common(sub, "the folder that holds breakhis_200x_224, ucsb, brca_m2c, tissue_tiles_150, tnbc and bach_part_b")
    sub.add_argument("--folds", type=at_least(2), default=5)
    sub.add_argument("--repeats", type=at_least(1), default=3)
    sub.add_argument("--out", type=Path, default=None, metavar="FILE.safetensors")
    sub.add_argument("--evidence", type=Path, default=None, metavar="FILE")

    sub = command(
        "tissue",
        _tissue,
        "fine-tune half a network on twelve kinds of tissue, the first stage that was tried (10 minutes; resumes)",
    )
    _common(sub, "the folder that holds a folder a tissue")


def _common(sub: argparse.ArgumentParser, root: str) -> None:
    sub.add_argument("--data", type=Path, required=True, metavar="ROOT", help=root)
    sub.add_argument("--backbone", default="auto", metavar="torchvision|npm|FILE")
    sub.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="features and checkpoints")


def _laboratories(options: argparse.Namespace) -> int:
    from dala.errors import DataError
    from dala.runtime.card import WEIGHTS_DIR
    from dala.training.backbone import load_backbone
    from dala.training.laboratories.release import NAME, release

    if not options.data.is_dir():
        raise DataError(f"The folder {options.data} does not exist.")
    out = options.out or WEIGHTS_DIR / f"{NAME}.safetensors"
    evidence = options.evidence or Path("evidence") / "laboratories.json"
    card = release(
        options.data, load_backbone(options.backbone), options.runs, out, evidence, options.folds, options.repeats
    )
    print(f"weights {card.name}: {card.fields['bytes']} bytes, sha256 {card.fields['sha256']}; written to {evidence}")
    return 0


def _tissue(options: argparse.Namespace) -> int:
    from dala.data.tissue import load
    from dala.training.backbone import load_backbone
    from dala.training.tissue import TissueRecipe, train_on_tissue

    tiles = load(options.data)
    record = train_on_tissue(tiles, load_backbone(options.backbone), TissueRecipe(), options.runs)
    print(f"{record['protocol']}: accuracy {record['accuracy']:.3f}, balanced {record['balanced_accuracy']:.3f}")
    return 0
