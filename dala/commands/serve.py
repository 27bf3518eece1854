"""Commands for one's own pictures: predict, explain; and doctor, which checks the installation."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from dala.commands import DEFAULT_WEIGHTS, Command

OUTSIDE = "outside the model's competence"
ANYWAY = "also show what the model says of a picture outside its competence, marked so"


def add(command: Command) -> None:
    """Add predict, explain and doctor."""
    sub = command("predict", _predict, "one JSON line a file: benign, malignant or not sure, with probabilities")
    sub.add_argument("files", nargs="+", metavar="FILE")
    sub.add_argument("--json", action="store_true", help="JSON lines instead of a readable table")
    sub.add_argument("--weights", default=DEFAULT_WEIGHTS, metavar="NAME")
    sub.add_argument("--anyway", action="store_true", help=ANYWAY)

    sub = command("explain", _explain, "write map.npy, overlay.png, dt_overlay.png and explanation.json")
    sub.add_argument("file", metavar="FILE")
    sub.add_argument("--out", type=Path, required=True, metavar="DIR")
    sub.add_argument("--weights", default=DEFAULT_WEIGHTS, metavar="NAME")
    sub.add_argument("--anyway", action="store_true", help=ANYWAY)
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
            record = prediction_record(second_opinion(Path(file), model), options.anyway)
        except IntakeError as error:
            record = refusal_record(file, error, model)
        refused |= record["prediction"] is None
        record["file"] = file
        print(json.dumps(record, ensure_ascii=False) if options.json else f"{file}: {_in_words(record)}", flush=True)
    return 1 if refused else 0


def _in_words(record: dict[str, Any]) -> str:
    outside = record["status"] == "outside"
    if (shares := record["probabilities"]) is None:
        return f"{OUTSIDE if outside else 'refused'}. {record['reason']}"
    listed = ", ".join(f"{name} {p:.3f}" for name, p in shares.items())
    verdict = f"not sure, leaning to {record['prediction']}" if record["not_sure"] else record["prediction"]
    verdict = f"{verdict} ({listed}; {'' if record['calibrated'] else 'not '}calibrated)"
    return f"{OUTSIDE}. {record['reason']} Asked anyway: {verdict}" if outside else verdict


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
    reason = opinion.gate.reason
    if reason is not None and not options.anyway:
        print(f"dala: {options.file} is {OUTSIDE}. {reason.sentence} --anyway shows it marked so.", file=sys.stderr)
        return 1
    record = export_explanation(
        opinion, options.target or opinion.prediction.label, options.rule, options.parameter, options.out
    )
    outside = "" if reason is None else f"{OUTSIDE}; "
    print(f"{options.file}: {outside}{record['prediction']}; map towards {record['target']} written to {options.out}")
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from dala.doctor import main as doctor

    return doctor()
