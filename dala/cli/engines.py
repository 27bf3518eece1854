"""The command that compares engines: do the faster ones give the same verdicts?"""

from __future__ import annotations

import argparse
from pathlib import Path

from dala.cli import Command, progress


def add(command: Command) -> None:
    """Add engines."""
    sub = command(
        "engines",
        _engines,
        "judge images of held-out patients on every engine of this machine beside torch: probabilities, verdicts, "
        "sets, gate and maps (8 minutes on two cores after crossvalidate)",
        "breakhis",
    )
    sub.add_argument("--data", type=Path, required=True, metavar="ROOT")
    sub.add_argument(
        "--unserved",
        action="store_true",
        help="also what is measured only and not served: bfloat16 throughout, and eight bits, which needs NNCF",
    )
    sub.add_argument(
        "--runs", type=Path, default=Path("runs"), metavar="DIR", help="where crossvalidate kept the folds"
    )
    sub.add_argument("--evidence", type=Path, default=Path("evidence"), metavar="DIR")


def _engines(options: argparse.Namespace) -> int:
    from dala.data import breakhis
    from dala.runtime.engines import ENGINES
    from dala.runtime.predict import load_model
    from dala.studies.engines import UNSERVED, parity
    from dala.training.evaluate import write_json
    from dala.training.recipe import Recipe

    recipe = Recipe()
    names = tuple(name for name in ENGINES if name != "torch") + (UNSERVED if options.unserved else ())
    record = parity(
        breakhis.load(options.data, 200),
        load_model(),
        recipe,
        options.runs / f"breakhis_200x-{recipe.fingerprint}",
        names,
        progress("engines"),
    )
    path = options.evidence / "engines_breakhis.json"
    write_json(path, record)
    print(record["protocol"])
    for name, row in record["engines"].items():
        p, changed, maps = row["probability"], row["changed"], row["map_correlation"]
        print(
            f"{name:24s} |dp| mean {p['mean']:.5f}, 99th percentile {p['percentile_99']:.4f}, largest "
            f"{p['largest']:.4f}; of {row['pictures']}: {changed['label']} labels, {changed['set']} sets, "
            f"{changed['gate']} gates changed; map correlation at least {maps['smallest']:.4f}"
        )
    for name, reason in record["left_out"].items():
        print(f"{name} was left out. {reason}")
    print(f"written to {path}")
    return 0
