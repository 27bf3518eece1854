"""The README says what the evaluation wrote, and the card says the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from dala.runtime.card import read_card
from dala.studies import headline, load, speed
from dala.studies.figures import DOCUMENTS, ROOT, markdown, with_figures
from dala.studies.headline import Headline
from dala.studies.record import Data
from tests.helpers.records import interval, partly


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_are_up_to_date(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert text.count(": dala figures -->") == 1
    assert with_figures(text) == text


def test_the_card_carries_the_same_figures() -> None:
    record = headline.STUDY.load(ROOT / headline.STUDY.path)
    card, _ = read_card("breakhis")
    assert card.fields["metrics"]["values"] == record.scores["dala_resnet50"]
    assert card.fields["metrics"]["protocol"] == record.protocol


def test_markdown_by_hand() -> None:
    metrics = ["auc", "balanced_accuracy", "accuracy", "sensitivity", "specificity", "f1", "gmean", "iba", "brier"]
    scores = dict.fromkeys(metrics, interval(0.9, 0.8, 1.0))
    scores |= {"brier": interval(0.5, 0.25), "iba": interval(None)}
    names = ["dala_resnet50", "linear_probe", "colour_only", "teacher", "dala_resnet50_stain_shift"]
    record = partly(
        Headline,
        data=Data(magnifications=(200,), images=3, benign=1, malignant=2, groups=2, benign_groups=1),
        scores=dict.fromkeys(names, scores),
        protocol="P",
        command="C",
        imagenet="npm",
    )
    text = markdown(record)
    assert "3 images (1 benign, 2 malignant) of 2 accession groups (1 benign). Protocol: P." in text
    assert "| AUC | " + " | ".join(["0.900 (0.800 to 1.000)"] * 5) + " |" in text
    assert "| Brier | " + " | ".join(["0.500"] * 5) + " |" in text
    assert "| IBA | " + " | ".join(["undefined"] * 5) + " |" in text


def test_the_speed_in_the_readme_is_what_was_measured() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    measured = speed.STUDY.load(ROOT / speed.STUDY.path)
    crowd = load.STUDY.load(ROOT / load.STUDY.path)
    for program, words in {
        "openvino-bf16": "**dala**, OpenVINO, bfloat16 (the default here)",
        "openvino-f32": "dala, OpenVINO, float32",
        "torch": "dala, torch",
        "pytorch-grad-cam": "pytorch-grad-cam, as documented (trainable weights, a call a class)",
        "torch-cam": "torch-cam",
    }.items():
        row = measured.maps[program]
        assert f"| {words} | {row.milliseconds:.0f} | {row.of_pgc:.2f} |" in readme
    batches, start = measured.batches["openvino-bf16"], measured.start_seconds["openvino-bf16"]
    told = " ".join(readme.split())
    assert f"{batches.images_per_second:.1f} images a second, {batches.of_torch:.1f} times torch's" in told
    assert f"first whole opinion: {start.first_answer:.1f} s" in told
    assert f"a verdict in {crowd.seconds.median:.1f} s (median), none mixed up" in told and crowd.mixed_up == 0
