"""The verb `adapt`: the model fitted to one's own laboratory, from a folder of its images to a site file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dala.cli import Command
from dala.terminal import WrongCall, progress
from dala.words import counted, figure

if TYPE_CHECKING:
    from dala.intake.pixel_size import PixelSize

FEW = 20  # patients of the rarer class below which the figures are called rough
ROWS = {
    "auc": "AUC",
    "balanced_accuracy": "balanced accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "share": "answered",
    "wrong": "of these wrong",
}


def add(command: Command) -> None:
    """Add `adapt`."""
    sub = command(
        "adapt",
        _adapt,
        "fit the model to your own laboratory's labelled images, say what that is worth, write a site file (2 minutes "
        "for 100 images)",
    )
    sub.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="it holds the folders benign and malignant",
    )
    sub.add_argument("--name", required=True, metavar="LAB", help="what the site is called on pages and in exports")
    sub.add_argument(
        "--pixel-size", type=float, default=None, metavar="UM", help="micrometres per pixel (default: what files tell)"
    )
    whose = sub.add_mutually_exclusive_group()
    whose.add_argument("--patients", default=None, metavar="CSV", help="a table with the columns file and patient")
    whose.add_argument(
        "--patient-pattern",
        default=None,
        metavar="REGEX",
        help="what of a file's name is the patient: its first group, or all that it matches (default: every image is a "
        "patient of its own)",
    )
    sub.add_argument(
        "--out", type=Path, default=None, metavar="FILE", help="default: LAB.site.safetensors in DALA_SITES or sites"
    )


def _adapt(options: argparse.Namespace) -> int:
    from dala.gate.checks import HISTOLOGY
    from dala.intake.pixel_size import given
    from dala.runtime.card import SERVED, read_card
    from dala.runtime.predict import load_model
    from dala.sites import SUFFIX, file_of, fit_name, save_site
    from dala.training.laboratories.release import load_samples
    from dala.training.site.fit import adapt
    from dala.training.site.images import list_site, look_at

    size: PixelSize | None = given(options.pixel_size)
    out = options.out
    if out is not None and not out.name.endswith(SUFFIX):
        raise WrongCall(f"--out is a file whose name ends with {SUFFIX}, not {out.name}.")
    card, weights = read_card(SERVED[HISTOLOGY])
    fit_name(options.name, tuple(card.fields.get("laboratories", ())))
    listed = list_site(options.data, _text(options.patients), options.patient_pattern)
    model = load_model(card.name, engine="torch")
    images = look_at(listed, model, options.pixel_size if size else None, progress("what the network sees"))
    samples = load_samples(weights)
    fitted = adapt(images, options.name, model, samples, print)
    path = out or file_of(options.name)
    save_site(path, fitted.facts, fitted.head.state_dict(), fitted.mean)
    print("\n".join(report(fitted.facts)))
    print(f"written to {path}")
    return 0


def _text(path: str | None) -> str | None:
    if path is None:
        return None
    file = Path(path)
    if not file.is_file():
        raise WrongCall(f"--patients is a CSV file; {path!r} is none.")
    return file.read_text(encoding="utf-8", errors="replace")


def report(facts: dict[str, Any]) -> list[str]:
    """What was measured, in lines of text."""
    rarer = min(facts["benign"], facts["malignant"])
    lines = [
        f"{counted(facts['images'], 'image')} of {counted(facts['groups'], 'patient')}: {facts['benign']} benign, "
        f"{facts['malignant']} malignant; {facts['protocol']}",
        f"{'':20s}{'before':28s}after",
    ]
    for key, words in ROWS.items():
        part = "answered" if key in ("share", "wrong") else "scores"
        before, after = (figure(facts[of][part][key], percent=part == "answered") for of in ("before", "after"))
        lines.append(f"{words:20s}{before:28s}{after}")
    if facts["patients_by"] == "image":
        lines.append(
            "Every image was taken for a patient of its own: if there are several of one, these figures are too good; "
            "name the patients with --patients or --patient-pattern."
        )
    if rarer < FEW:
        lines.append(
            f"With {counted(rarer, 'image')} of the rarer class these figures are rough: believe the intervals, not "
            "the values."
        )
    if facts["unfamiliar"]:
        lines.append(
            f"{counted(facts['unfamiliar'], 'image')} would not have been analysed before, being unlike those that "
            "the model learnt from; check that they are H&E of the breast."
        )
    return [*lines, facts["guarantee"]]
