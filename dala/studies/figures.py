"""The README's figures, written from the cross-validation's record so that nobody types them."""

from __future__ import annotations

import re
from pathlib import Path

from dala.studies.headline import STUDY, Headline
from dala.studies.names import METRICS, MODELS
from dala.words import NO_BREAK, figure

ROOT = Path(__file__).resolve().parents[2]
START, END = "<!-- figures: dala figures -->", "<!-- /figures -->"
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


def with_figures(readme: str, evidence: Path = ROOT / STUDY.path) -> str:
    """The README's text with the block between the two marks made anew."""
    block = f"{START}\n{markdown(STUDY.load(evidence))}\n{END}"
    return re.sub(f"{re.escape(START)}.*?{re.escape(END)}", lambda _: block, readme, flags=re.DOTALL)
