"""The command that calibrates: held-out predictions become a temperature, prediction sets and what they are worth."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dala.cli import Command
from dala.words import figure


def add(command: Command) -> None:
    """Add calibrate."""
    for name, predictions, weights in (
        ("breakhis", "breakhis_200x_predictions.json", "breakhis"),
        ("mini_ddsm", "mini_ddsm_predictions.json", "mini_ddsm"),
    ):
        sub = command(
            "calibrate",
            _calibrate,
            "calibrate weights from the predictions that crossvalidate wrote (a minute at most); the weights stay as "
            "they are",
            name,
        )
        sub.add_argument("--predictions", type=Path, default=Path("evidence") / predictions, metavar="FILE")
        sub.add_argument(
            "--weights",
            type=Path,
            default=None,
            metavar="FILE.safetensors",
            help=f"whose card is written to (default: the shipped {weights})",
        )
        sub.add_argument("--out", type=Path, default=None, metavar="FILE", help="the JSON of all figures")
        sub.set_defaults(shipped=weights)


def _calibrate(options: argparse.Namespace) -> int:
    from dala.runtime.card import WEIGHTS_DIR
    from dala.studies.calibration import calibrate_weights

    stem = options.predictions.stem.removesuffix("_predictions")
    out = options.out or Path("evidence") / f"calibration_{stem}.json"
    weights = options.weights or WEIGHTS_DIR / f"{options.shipped}.safetensors"
    print(f"{_summary(calibrate_weights(options.predictions, weights, out))}\nwritten to {out} and {weights.stem}.json")
    return 0


def _summary(record: dict[str, Any]) -> str:
    chosen = record["calibration"]
    lines = [record["protocol"], f"scaling kept: {record['chosen']} (temperature {chosen['temperature']:.3f})"]
    for name, candidate in record["candidates"].items():
        held_out = candidate["held_out"]
        figures = ", ".join(
            f"{label} {figure(held_out[weighting][key])}"
            for label, weighting, key in (
                ("balanced log loss", "balanced", "log_loss"),
                ("Brier", "by_picture", "brier"),
                ("ECE", "by_picture", "ece_equal_width"),
            )
        )
        lines.append(f"  {name}: {figures}")
    for alpha, sets in record["sets"].items():
        figures = ", ".join(
            f"{label} {figure(sets[key]['by_picture'])}"
            for label, key in (
                ("coverage", "coverage"),
                ("not sure", "not_sure"),
                ("right when sure", "right_when_sure"),
            )
        )
        lines.append(f"  sets at alpha {alpha}: {figures}")
    return "\n".join(lines)
