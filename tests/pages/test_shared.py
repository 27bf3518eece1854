"""What pages share: names that tell a group of the training data, opinions that are kept by their weights."""

from __future__ import annotations

import pytest

from dala.explanation.render import encode_png
from dala.phantoms.tissue import draw
from dala.runtime.predict import load_model
from pages.parts.second_opinion.examples import opinion_of
from pages.parts.shared import known_group


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("SOB_M_DC-14-2523-200-001.png", "14-2523"),
        ("SOB_M_DC-14-99999-200-001.png", None),
        ("ytma10_010704_benign1_ccd.tif", "ytma10_010704_benign1"),
        ("YTMA10_010704_benign1.TIF", "ytma10_010704_benign1"),
        ("ytma10_010704_benign12_ccd.tif", None),
        ("TCGA-A7-A13D-01Z-00-DX1_2.png", "TCGA-A7-A13D"),
        ("TCGA-A7-A13DX.png", None),
        ("14-2523 biopsy.png", None),  # another hospital numbers like this too
        ("patch.png", None),
    ],
)
def test_a_name_tells_the_group_in_every_data_set_of_the_training(name: str, group: str | None) -> None:
    assert known_group(name, load_model("breast")) == group


def test_every_laboratory_s_groups_can_be_found_by_name() -> None:
    model = load_model("breast")
    named = [one for one in model.card.training_groups if one[:1].isalpha()]
    assert {one[:4] for one in named} == {"TCGA", "ytma"} and len(named) < len(model.card.training_groups)
    assert all(known_group(f"{one}_x.png", model) == one for one in named)


@pytest.mark.slow
def test_an_opinion_is_kept_for_its_weights_alone() -> None:
    """Teaching shows one drawing by two models; the second page was shown the first one's opinion."""
    data = encode_png(draw("solid_sheets").pixels)
    breakhis, breast = load_model("breakhis"), load_model("breast")
    for model in (breakhis, breast, breakhis):
        found = opinion_of(data, "solid sheets", model)
        assert found.model is model
    assert opinion_of(data, "solid sheets", breast) is opinion_of(data, "solid sheets", breast)
