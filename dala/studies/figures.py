"""The figures in README and docs/breakhis.md, written from the records of the studies: nobody types them."""

from __future__ import annotations

from pathlib import Path

from dala.studies import laboratories
from dala.studies.headline import STUDY, Headline
from dala.studies.laboratories import Laboratories
from dala.studies.names import COLOUR, METRICS, MODELS, NETWORK
from dala.words import NO_BREAK, figure

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = (ROOT / "README.md", ROOT / "docs" / "breakhis.md")
START, END = "<!-- figures: dala figures -->", "<!-- /figures -->"
BY_LABORATORY, END_LABORATORY = "<!-- laboratories: dala figures -->", "<!-- /laboratories -->"
COLUMNS = MODELS | {"dala_resnet50_stain_shift": "DALAResNet50, strong stain change"}
ROWS = METRICS | {"brier": "Brier"}


def markdown(record: Headline) -> str:
    """Protocol and table of a cross-validation, as Markdown."""
    data, scales = record.data, "/".join(f"{at}X" for at in record.data.magnifications)
    lines = [
        f"BreakHis {scales}, {data.images} images ({data.benign} benign, {data.malignant} malignant) of "
        f"{data.groups} accession groups ({data.benign_groups} benign). Protocol: {record.protocol}. "
        f"Command: `{record.command}`. ImageNet start: {record.imagenet}.",
        "",
        "| | " + " | ".join(COLUMNS.values()) + " |",
        "|---|" + "---|" * len(COLUMNS),
    ]
    for metric, label in ROWS.items():
        cells = [figure(record.scores[column][metric]).replace(NO_BREAK, " ") for column in COLUMNS]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def markdown_by_laboratory(record: Laboratories) -> str:
    """Protocol and table of the laboratories, known and left out, as Markdown."""
    rows: dict[str, list[str]] = {}
    for one in record.laboratories.values():
        for label, told in {
            "Images, patients": f"{one.images} ({one.benign} benign), {one.groups}",
            "AUC, patients left out": figure(one.known[NETWORK]["auc"]),
            "Balanced accuracy": figure(one.known[NETWORK]["balanced_accuracy"]),
            "F1": figure(one.known[NETWORK]["f1"]),
            "GMean": figure(one.known[NETWORK]["gmean"]),
            "IBA": figure(one.known[NETWORK]["iba"]),
            "AUC of colour alone": figure(one.known[COLOUR]["auc"]),
            "Answered": figure(one.answered.share, percent=True),
            "of these wrong": figure(one.answered.wrong, percent=True),
            "AUC, laboratory left out": figure(one.left_out[NETWORK]["auc"]),
            "Balanced accuracy there, at even odds": figure(one.left_out[NETWORK]["balanced_accuracy"]),
            "Answered there": figure(one.answered_left_out.share, percent=True),
            "of those wrong": figure(one.answered_left_out.wrong, percent=True),
        }.items():
            rows.setdefault(label, []).append(told.replace(NO_BREAK, " "))
    return "\n".join(
        [
            f"Protocol: {record.protocol}. Command: `{record.command}`. ImageNet start: {record.imagenet}.",
            "",
            "| | " + " | ".join(record.laboratories) + " |",
            "|---|" + "---|" * len(record.laboratories),
            *(f"| {label} | " + " | ".join(cells) + " |" for label, cells in rows.items()),
        ]
    )


def with_figures(document: str, evidence: Path = ROOT / STUDY.path) -> str:
    """A document's text with the blocks between the marks made anew."""
    several = laboratories.STUDY.load(evidence.with_name(laboratories.STUDY.file))
    for start, end, text in (
        (START, END, markdown(STUDY.load(evidence))),
        (BY_LABORATORY, END_LABORATORY, markdown_by_laboratory(several)),
    ):
        before, _, rest = document.partition(start)
        document = f"{before}{start}\n{text}\n{end}{rest.partition(end)[2]}" if rest else document
    return document
