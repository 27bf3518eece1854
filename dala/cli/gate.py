"""The command that fits the gate's statistics and measures what it keeps out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dala.cli import DEFAULT_WEIGHTS, Command, progress


def add(command: Command) -> None:
    """Add gate."""
    sub = command(
        "gate",
        _gate,
        "fit the gate's statistics beside the weights and measure it on everything else (15 minutes on two cores at "
        "320 pixels; what is done is kept)",
        "breakhis",
    )
    sub.add_argument("--data", type=Path, required=True, metavar="ROOT")
    sub.add_argument("--others", type=Path, default=None, metavar="DIR", help="holds mini_ddsm, tissue_tiles_150, ...")
    sub.add_argument("--weights", default=DEFAULT_WEIGHTS, metavar="NAME")
    sub.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="features, kept for the next run")
    sub.add_argument("--out", type=Path, default=None, metavar="FILE", help="the JSON of all figures")


def _gate(options: argparse.Namespace) -> int:
    from dala.studies.gate import fit_and_measure, write_statistics
    from dala.training.evaluate import write_json

    familiarity, model, record = fit_and_measure(
        options.data, options.others, options.weights, options.runs, progress=progress
    )
    out = options.out or Path("evidence") / f"gate_{model.name}.json"
    write_json(out, record)
    path = write_statistics(model, options.weights, familiarity)
    print(f"{record['protocol']}\n{_table(record)}\nwritten to {out} and {path.name}")
    return 0


def _table(record: dict[str, Any]) -> str:
    lines = [_line("true patches", "accept", record["true_patches"])]
    lines += [_line(kind["name"], kind["expected"], kind, kind["auc"]) for kind in record["kinds"]]
    lines += [_line(name, "", family) for name, family in record["families"].items()]
    return "\n".join(lines)


def _line(name: str, expected: str, row: dict[str, Any], auc: float | None = None) -> str:
    share = row["share"]
    said = f"{name[:36]:36s}  {expected:7s} {row['refused']:4d} of {row['pictures']:4d} refused"
    said += f"  {share['value']:.3f} [{share['low']:.3f}, {share['high']:.3f}]"
    if auc is not None:
        said += f"  AUC {auc:.3f}"
    return said + "  " + ", ".join(f"{check} {count}" for check, count in row.get("by_check", {}).items())
