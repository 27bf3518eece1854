"""The README's figures, written from the evaluation's JSON so that nobody types them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
EVIDENCE = ROOT / "evidence" / "breakhis_200x.json"
START, END = "<!-- figures: dala figures -->", "<!-- /figures -->"
COLUMNS = {
    "dala_resnet50": "DALAResNet50",
    "linear_probe": "linear probe",
    "colour_only": "colour alone",
    "teacher": "its teacher",
    "dala_resnet50_stain_shift": "DALAResNet50, strong stain change",
}
ROWS = {
    "auc": "AUC",
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "f1": "F1",
    "gmean": "GMean",
    "iba": "IBA",
    "brier": "Brier",
}


def markdown(record: dict[str, Any]) -> str:
    """Protocol and table of one cross-validation record, as Markdown."""
    data, scores = record["data"], record["scores"]
    scales = "/".join(f"{m}X" for m in data["magnifications"])
    lines = [
        f"BreakHis {scales}, {data['pictures']} images ({data['benign']} benign, {data['malignant']} malignant) of "
        f"{data['groups']} accession groups ({data['benign_groups']} benign). Protocol: {record['protocol']}. "
        f"Command: `{record['command'].removeprefix('python -m ')}`. ImageNet start: {record['imagenet']}.",
        "",
        "| | " + " | ".join(COLUMNS.values()) + " |",
        "|---|" + "---|" * len(COLUMNS),
    ]
    for metric, label in ROWS.items():
        cells = [_cell(scores[column][metric]) for column in COLUMNS]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(interval: dict[str, float | None]) -> str:
    if interval["value"] is None:
        return "undefined"
    if interval["low"] is None or interval["high"] is None:
        return f"{interval['value']:.3f}"
    return f"{interval['value']:.3f} ({interval['low']:.3f} to {interval['high']:.3f})"


def with_figures(readme: str, evidence: Path = EVIDENCE) -> str:
    """The README's text with the block between the two marks made anew."""
    block = f"{START}\n{markdown(json.loads(evidence.read_text(encoding='utf-8')))}\n{END}"
    return re.sub(f"{re.escape(START)}.*?{re.escape(END)}", lambda _: block, readme, flags=re.DOTALL)
