"""The README says what the evaluation wrote, and the card says the same."""

from __future__ import annotations

import json
from pathlib import Path

from dala.runtime.card import read_card
from dala.studies.figures import EVIDENCE, ROOT, markdown, with_figures


def test_the_readme_is_up_to_date() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert with_figures(readme) == readme


def test_the_card_carries_the_same_figures() -> None:
    record = json.loads(EVIDENCE.read_text(encoding="utf-8"))
    card, _ = read_card("breakhis")
    assert card.fields["metrics"]["values"] == record["scores"]["dala_resnet50"]
    assert card.fields["metrics"]["protocol"] == record["protocol"]


def test_markdown_by_hand(tmp_path: Path) -> None:
    interval = {"value": 0.5, "low": 0.25, "high": None}
    full = {"value": 0.9, "low": 0.8, "high": 1.0}
    metrics = ["auc", "balanced_accuracy", "accuracy", "sensitivity", "specificity", "f1", "gmean", "iba", "brier"]
    scores = dict.fromkeys(metrics, full) | {"brier": interval, "iba": {"value": None, "low": None, "high": None}}
    names = ["dala_resnet50", "linear_probe", "colour_only", "teacher", "dala_resnet50_stain_shift"]
    data = {"magnifications": [200], "pictures": 3, "benign": 1, "malignant": 2, "groups": 2, "benign_groups": 1}
    record = {
        "data": data,
        "scores": dict.fromkeys(names, scores),
        "protocol": "P",
        "command": "C",
        "imagenet": "npm",
    }
    text = markdown(record)
    assert "3 images (1 benign, 2 malignant) of 2 accession groups (1 benign). Protocol: P." in text
    assert "| AUC | " + " | ".join(["0.900 (0.800 to 1.000)"] * 5) + " |" in text
    assert "| Brier | " + " | ".join(["0.500"] * 5) + " |" in text
    assert "| IBA | " + " | ".join(["undefined"] * 5) + " |" in text


def test_the_speed_in_the_readme_is_what_was_measured() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    speed = json.loads((ROOT / "evidence" / "engines_speed.json").read_text())
    load = json.loads((ROOT / "evidence" / "load.json").read_text())
    for program, words in {
        "openvino-bf16": "**dala**, OpenVINO, bfloat16 (the default here)",
        "openvino-f32": "dala, OpenVINO, float32",
        "torch": "dala, torch",
        "pytorch-grad-cam": "pytorch-grad-cam, as documented (trainable weights, a call a class)",
        "torch-cam": "torch-cam",
    }.items():
        row = speed["maps"][program]
        assert f"| {words} | {row['milliseconds']:.0f} | {row['of pytorch-grad-cam']:.2f} |" in readme
    batches, start = speed["batches"]["openvino-bf16"], speed["start_seconds"]["openvino-bf16"]
    told = " ".join(readme.split())
    assert f"{batches['pictures_per_second']:.1f} images a second, {batches['of torch']:.1f} times torch's" in told
    assert f"first whole opinion: {start['first_answer']:.1f} s" in told
    assert f"a verdict in {load['seconds']['median']:.1f} s (median), none mixed up" in told and load["mixed_up"] == 0
