"""Commands for one's own pictures: predict, explain; and doctor, which checks the installation."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from dala.commands import DEFAULT_WEIGHTS, Command


def add(command: Command) -> None:
    """Add predict, explain and doctor."""
    sub = command("predict", _predict, "one JSON line a file: benign, malignant or not sure, with probabilities")
    sub.add_argument("files", nargs="+", metavar="FILE")
    sub.add_argument("--json", action="store_true", help="JSON lines instead of a readable table")
    sub.add_argument("--weights", default=DEFAULT_WEIGHTS, metavar="NAME")

    sub = command("explain", _explain, "write map.npy, overlay.png, dt_overlay.png and explanation.json")
    sub.add_argument("file", metavar="FILE")
    sub.add_argument("--out", type=Path, required=True, metavar="DIR")
    sub.add_argument("--weights", default=DEFAULT_WEIGHTS, metavar="NAME")
    sub.add_argument("--target", default=None, metavar="CLASS", help="a class of the weights (default: the prediction)")
    sub.add_argument("--rule", default="mean_std", help="mean_std, evidence, otsu, percentile or fixed")
    sub.add_argument("--k", "--parameter", dest="parameter", type=float, default=None, help="the rule's parameter")

    command("doctor", _doctor, "PASS, WARN or FAIL for every part of this installation")


def _predict(options: argparse.Namespace) -> int:
    from dala.intake.image import IntakeError
    from dala.nets.runtime import load_model
    from dala.opinion import prediction_record, refusal_record, second_opinion

    model = load_model(options.weights)
    refused = False
    for file in options.files:
        try:
            record = prediction_record(second_opinion(Path(file), model))
        except IntakeError as error:
            refused = True
            record = refusal_record(file, error, model)
        record["file"] = file
        if options.json:
            print(json.dumps(record, ensure_ascii=False), flush=True)
        elif isinstance(shares := record["probabilities"], dict):
            listed = ", ".join(f"{name} {p:.3f}" for name, p in shares.items())
            verdict = f"not sure, leaning to {record['prediction']}" if record["not_sure"] else record["prediction"]
            print(f"{file}: {verdict} ({listed}; {'' if record['calibrated'] else 'not '}calibrated)", flush=True)
        else:
            print(f"{file}: refused. {record['reason']}", flush=True)
    return 1 if refused else 0


def _explain(options: argparse.Namespace) -> int:
    from dala.intake.image import IntakeError
    from dala.nets.runtime import load_model
    from dala.opinion import export_explanation, second_opinion

    model = load_model(options.weights)
    if options.target is not None and options.target not in model.card.classes:
        print(f"dala: --target is one of {', '.join(model.card.classes)}, not {options.target}.", file=sys.stderr)
        return 2
    try:
        opinion = second_opinion(Path(options.file), model)
    except IntakeError as error:
        print(f"dala: {error}", file=sys.stderr)
        return 1
    record = export_explanation(
        opinion, options.target or opinion.prediction.label, options.rule, options.parameter, options.out
    )
    print(f"{options.file}: {record['prediction']}; map towards {record['target']} written to {options.out}")
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from dala.doctor import main as doctor

    return doctor()
