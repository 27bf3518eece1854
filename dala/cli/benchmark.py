"""Commands that compare networks: nine of them on the same folds, and the parts of DALAResNet50 one by one."""

from __future__ import annotations

import argparse
from pathlib import Path

from dala.cli import Command, WrongCall, complain, table


def add(command: Command) -> None:
    """Add benchmark and ablation."""
    sub = command(
        "benchmark",
        _benchmark,
        "nine networks by one recipe on the same grouped folds, a row a network in evidence/benchmark_*.json; resumes",
        "breakhis",
    )
    _common(sub)
    sub.add_argument("--networks", default="all", metavar="all|NAME,NAME", help="names of the registry")
    sub.add_argument(
        "--budget",
        choices=["full", "check"],
        default="full",
        help="full: pretrained start, all folds; check: random start, small images, one fold, no comparison",
    )

    sub = command(
        "ablation",
        _ablation,
        "ResNet50 with and without each part of DALAResNet50, same start and folds, paired tests by accession group; "
        "writes evidence/ablation_*.json; resumes; about 10 minutes a repeat by the teacher, an hour by labels",
        "breakhis",
    )
    _common(sub)
    sub.add_argument(
        "--by",
        choices=["teacher", "labels"],
        default="teacher",
        help="teacher: the shipped recipe; labels: fine-tuning on the labels alone, where the parts have room to help",
    )


def _common(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--data", type=Path, required=True, metavar="ROOT")
    sub.add_argument("--magnification", type=int, choices=[40, 100, 200, 400], default=200)
    sub.add_argument("--folds", type=int, default=5)
    sub.add_argument("--repeats", type=int, default=3)
    sub.add_argument("--backbone", default="auto", metavar="torchvision|npm|FILE")
    sub.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="features, folds and checkpoints")
    sub.add_argument("--evidence", type=Path, default=None, metavar="FILE", help="where the figures go")


def _benchmark(options: argparse.Namespace) -> int:
    import json

    from dala.data import breakhis
    from dala.nets.registry import NETWORKS
    from dala.studies.benchmark import benchmark
    from dala.training.recipe import Recipe

    names = tuple(NETWORKS) if options.networks == "all" else tuple(options.networks.split(","))
    unknown = [name for name in names if name not in NETWORKS]
    if unknown:
        raise WrongCall(f"--networks knows {', '.join(NETWORKS)}, not {unknown[0]}.")
    recipe, data = Recipe(), f"breakhis_{options.magnification}x"
    path = options.evidence or Path("evidence") / f"benchmark_{data}.json"
    refused = benchmark(
        breakhis.load(options.data, options.magnification),
        names,
        options.backbone,
        recipe,
        options.runs / f"{data}-{recipe.fingerprint}",
        path,
        options.folds,
        options.repeats,
        options.budget,
    )
    for name, reason in refused.items():
        complain(f"{name} was left out. {reason}")
    if len(refused) < len(names):
        rows = json.loads(path.read_text(encoding="utf-8"))["networks"]
        print(table({name: rows[name]["scores"] for name in rows if name in names}))
        for name in names:
            if name in rows:
                cost = rows[name]["cost"]
                print(
                    f"{name}: {rows[name]['budget']}, {rows[name]['initialisation']}; {cost['parameters']:,} "
                    f"parameters, {cost['gflops']} GFLOPs, {cost['milliseconds']} ms at {cost['side']} px"
                )
        print(f"written to {path}")
    return 1 if refused else 0


def _ablation(options: argparse.Namespace) -> int:
    from dala.data import breakhis
    from dala.nets.imagenet import load_backbone
    from dala.studies.ablation import ablation
    from dala.training.recipe import Recipe

    recipe, data = Recipe(), f"breakhis_{options.magnification}x"
    trained = recipe if options.by == "teacher" else recipe.memorising
    name = f"ablation_{data}.json" if options.by == "teacher" else f"ablation_by_labels_{data}.json"
    path = options.evidence or Path("evidence") / name
    record = ablation(
        breakhis.load(options.data, options.magnification),
        load_backbone(options.backbone),
        recipe,
        options.runs / f"{data}-{trained.fingerprint}",
        path,
        options.folds,
        options.repeats,
        options.by,
    )
    print(record["protocol"])
    print(table({name: variant["scores"] for name, variant in record["variants"].items()}))
    for row in record["comparisons"]:
        tests = ", ".join(
            f"{measure} {test['difference']:+.4f} (p {test['p']:.3f}, corrected {test['p_holm']:.3f})"
            for measure, test in row["tests"].items()
        )
        auc = row["metrics"]["auc"]
        print(f"{row['variant']} against {row['against']}: {tests}; AUC {auc['value']:+.4f} "
              f"[{auc['low']:+.4f}, {auc['high']:+.4f}]")  # fmt: skip
    print(f"written to {path}")
    return 0
