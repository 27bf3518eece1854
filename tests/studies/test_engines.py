"""Comparison of engines: counts and differences worked out by hand, and the shipped default within its limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from dala.nets.dala_resnet50 import DALAResNet50
from dala.runtime.card import read_card
from dala.studies.engines import LIMITS, STUDY, Answer, Changed, Correlation, compared
from dala.studies.unserved import rounded

MAP = np.array([[1, 2], [3, 5]], np.float32)


def test_differences_by_hand() -> None:
    base = Answer(0.6, ("malignant",), True, MAP)
    reference = {3: base, 7: base, 9: replace(base, probability=0.505)}
    rows = {
        3: base,
        7: Answer(0.59, ("benign", "malignant"), False, -MAP),
        9: replace(base, probability=0.495),
    }
    found = compared(reference, rows)
    assert found.images == 3
    assert found.probability.mean == pytest.approx(0.02 / 3)
    assert found.probability.largest == pytest.approx(0.01)
    assert found.probability.percentile_99 == pytest.approx(0.01)
    assert found.changed == Changed(label=1, set=1, gate=1)
    assert found.map_correlation == Correlation(smallest=pytest.approx(-1), median=pytest.approx(1))


@pytest.mark.parametrize("name", ["openvino-bf16", "openvino-f32"])
def test_the_engines_that_are_chosen_by_themselves_keep_the_verdicts(name: str) -> None:
    """What the repository measured of the engines that `auto` takes; stale or too bad figures fail here."""
    source = STUDY.read()
    assert source is not None
    assert source.record.weights_sha256 == read_card("breakhis")[0].fields["sha256"]
    row = source.record.engines[name]
    assert row.images == 689
    assert row.changed == Changed(label=0, set=0, gate=0)
    assert row.probability.largest <= LIMITS.largest
    assert row.map_correlation.smallest >= LIMITS.map_correlation


@pytest.mark.slow
def test_throughout_sixteen_bits_are_close_but_not_the_same() -> None:
    torch.manual_seed(0)
    net = DALAResNet50().eval().requires_grad_(False)
    x = torch.randn(1, 3, 64, 64)
    wanted, engine = net.features(x), rounded(net)
    error = float((engine.tail(engine.trunk(x)) - wanted).abs().max() / wanted.abs().max())
    assert 0 < error < 0.05
