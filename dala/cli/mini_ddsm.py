"""Commands about Mini-DDSM: validate, crossvalidate, train, evaluate."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from dala.cli import Command, progress, table

NAME = "mini_ddsm"


def add(command: Command) -> None:
    """Add what reads, cross-validates, trains on and scores mammograms."""
    for name, run, help_ in (
        ("validate", _validate, "compare Mini-DDSM on disk with its published counts (10 seconds)"),
        (
            "crossvalidate",
            _crossvalidate,
            "score the mammography recipe by grouped cross-validation and write evidence/mini_ddsm.json "
            "(some hours on two cores; resumable)",
        ),
        (
            "train",
            _train,
            "train the mammography weights on every case and write them with their card (some minutes after that)",
        ),
        ("evaluate", _evaluate, "score weights on a Mini-DDSM tree, over all and per scanner (8 minutes)"),
    ):
        sub = command(name, run, help_, NAME)
        sub.add_argument("--data", type=Path, required=True, metavar="ROOT")
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
            sub.add_argument("--weights", default=NAME, metavar="NAME")
            sub.add_argument("--json", action="store_true", help="one JSON object instead of a readable table")


def _validate(options: argparse.Namespace) -> int:
    from dala.data import mini_ddsm

    report = mini_ddsm.validate(options.data, progress("reading"))
    print(report.text())
    return 0 if report.complete else 1


def _crossvalidate(options: argparse.Namespace) -> int:
    from dala.nets.imagenet import load_backbone
    from dala.training.evaluate import write_evidence
    from dala.training.tasks import mini_ddsm

    dataset, everything = mini_ddsm.load_all(options.data)
    backbone = load_backbone(options.backbone)
    record = mini_ddsm.cross_validate(
        dataset, everything, backbone, mini_ddsm.RECIPE, options.runs / NAME, options.folds, options.repeats
    )
    path = options.evidence or Path("evidence") / f"{NAME}.json"
    write_evidence(path, record)
    print(f"{record['protocol']}\n")
    for title, scores in (
        ("all", record["scores"]),
        *((f"scanner {letter}", scores) for letter, scores in record["scores_by_letter"].items()),
        ("by case", record["scores_by_case"]),
    ):
        print(f"{title}\n{_transposed(scores)}\n")
    print(f"{record['site_effect']}\n\n{record['naive_three_classes']['verdict']}\nwritten to {path}")
    return 0


def _transposed(scores: dict[str, dict[str, Any]]) -> str:
    """A row a model: there are more models than a terminal has columns for."""
    shown = ("auc", "balanced_accuracy", "sensitivity", "specificity")
    return table({metric: {name: row[metric] for name, row in scores.items()} for metric in shown})


def _train(options: argparse.Namespace) -> int:
    from dala.training.release_mini_ddsm import train_mini_ddsm

    card = train_mini_ddsm(options.data, options.backbone, options.runs, options.evidence, options.seed, options.out)
    print(f"weights {card.name}: {card.fields['bytes']} bytes, sha256 {card.fields['sha256']}")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from dala.data import mini_ddsm
    from dala.runtime.predict import load_model
    from dala.training.tasks.mini_ddsm import evaluate

    record = evaluate(mini_ddsm.load(options.data), load_model(options.weights), progress("scoring"))
    if options.json:
        print(json.dumps(record, ensure_ascii=False))
    else:
        print(f"{record['protocol']}\n{table(record['scores'])}")
    return 0
