"""Answers by magnification, counted by hand, and on a drawn tree by the path that serves users."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dala.errors import DataError
from dala.phantoms.tissue import draw
from dala.runtime.predict import load_model
from dala.studies import magnification
from dala.studies.blocks import Table, Text
from dala.studies.magnification import Magnification, part_of, parts_of
from dala.studies.replies import Counts, Reply, counts_row, reply_to
from tests.helpers.records import cells, partly

REPLIES = [
    Reply("benign", "", 0.1, "BreakHis"),
    Reply("malignant", "", 0.9, "BreakHis"),
    Reply("outside", "out_of_focus", 0.7),
    Reply("not sure", "", 0.6),
    Reply("benign", "", 0.3, "BreakHis"),
    Reply("outside", "unfamiliar", 0.8),
]
LABELS, GROUPS = [0, 0, 0, 1, 1, 1], ["a", "a", "b", "c", "c", "d"]


def test_a_part_counts_what_each_class_is_told() -> None:
    part = part_of(LABELS, GROUPS, REPLIES)
    assert part.groups == 4
    assert part.benign == Counts(images=3, benign=1, malignant=1, not_sure=0, outside=1)
    assert part.malignant == Counts(images=3, benign=1, malignant=0, not_sure=1, outside=1)
    assert part.all == Counts(images=6, benign=2, malignant=1, not_sure=1, outside=2)
    assert (part.wrong, part.all.answered) == (2, 3)
    assert part.outside == {"out_of_focus": 1, "unfamiliar": 1}
    assert part.taken_for == {"BreakHis": 3, "an unknown laboratory": 1}
    assert part.above_even == (2, 2)
    # Malignant .6, .3, .8 against benign .1, .9, .7: 4 of 9 pairs in order.
    assert part.auc is not None and part.auc["value"] == pytest.approx(4 / 9, abs=1e-4)
    assert part_of(LABELS[:3], GROUPS[:3], REPLIES[:3]).auc is None


def test_a_magnification_without_images_has_no_part() -> None:
    images: Any = [
        SimpleNamespace(magnification=magnification, label=label, accession=group)
        for magnification, label, group in zip([40, 40, 40, 400, 400, 400], LABELS, GROUPS, strict=True)
    ]
    parts = parts_of(images, REPLIES)
    assert list(parts) == ["40X", "400X", "all"]
    assert (parts["40X"].malignant.images, parts["400X"].benign.images) == (0, 0)
    assert parts_of([], []) == {}


def test_the_section_tells_unseen_patients_apart() -> None:
    part = part_of(LABELS, GROUPS, REPLIES)
    record = partly(
        Magnification,
        by_magnification={"40X": part, "all": part},
        unseen={"all": part_of(LABELS[:3], GROUPS[:3], REPLIES[:3])},
        wrong=(magnification.Wrong(file="one.png", said="malignant", probability_malignant=0.9, trained_on=False),),
    )
    assert magnification.summary(record) == (
        "Of 6 originals of BreakHis at all magnifications 3 are answered, 2 of these wrongly; of the 3 originals of "
        "2 patients that were not trained on 2 are answered, 1 of these wrongly."
    )
    known, _, new, wrong, *_ = magnification.section(record)
    assert isinstance(known, Table) and isinstance(new, Table) and isinstance(wrong, Text)
    assert cells(list(known.rows))[0] == ["40X", "4", "6", "1", "2", "1", "2", "2 of 3", "0.444 (0.000 to 1.000)"]
    assert cells(list(new.rows)) == [["all", "2", "3", "1", "1", "0", "1", "1 of 2", "one class"]]
    assert "one.png: malignant, probability of malignant 0.90; not trained on" in wrong.markdown
    assert cells(magnification.by_class(record.unseen)) == [["all", "benign", "3", "1", "1", "0", "1", "2"]]
    assert cells(magnification.why(record.by_magnification))[0] == [
        "40X", r"out\_of\_focus 1, unfamiliar 1", "BreakHis 3, an unknown laboratory 1",
    ]  # fmt: skip
    assert "unseen" not in magnification.summary(partly(Magnification, by_magnification={"all": part}, unseen={}))


def test_an_empty_count_has_no_share() -> None:
    nobody = Counts.of([])
    assert nobody.share(0) == "none" and counts_row(nobody)["Images"] == "0"


@pytest.mark.slow
@pytest.mark.usefixtures("weights_stay_loaded")
def test_a_drawn_tree_at_its_true_scale(tmp_path: Path) -> None:
    """Two patients of whom one is in the training data; the pixel size follows from name and size."""
    pixels = draw("regular_ducts").pixels
    for seed, slide, magnification_ in ((0, "14-22549AB", 200), (1, "14-21978AB", 100)):
        folder = tmp_path / f"BreaKHis_v1/histology_slides/breast/benign/SOB/adenosis/SOB_B_A_{slide}/{magnification_}X"
        folder.mkdir(parents=True)
        Image.fromarray(draw("regular_ducts", seed).pixels).save(folder / f"SOB_B_A-{slide}-{magnification_}-001.png")
    model = load_model("breast")
    record = magnification.measure(tmp_path, model)
    assert (record.data.images, record.data.groups, record.unseen_groups) == (2, 2, ("14-22549",))
    assert {name: part.all.images for name, part in record.by_magnification.items()} == {
        "100X": 1, "200X": 1, "all": 2,
    }  # fmt: skip
    assert list(record.unseen) == ["200X", "all"]
    # By hand: 700 px are 245 um at 200X, so that the array at 0.35 um says the same.
    alone = reply_to(np.array(pixels), model, 0.35)
    told = record.unseen["all"].benign
    assert getattr(told, alone.said.replace(" ", "_")) == 1
    assert Magnification.from_json(record.to_json()) == record


def test_a_tree_without_originals_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="BreakHis"):
        magnification.measure(tmp_path, partly(object))  # type: ignore[arg-type]
