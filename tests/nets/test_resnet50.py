"""The backbone is torchvision's: names, start, numbers; and serving imports no more than it needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from dala.nets.resnet50 import resnet50_parts

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_torchvisions_network_from_the_same_seed() -> None:
    from torchvision.models import resnet50

    torch.manual_seed(3)
    theirs = resnet50(weights=None).eval()
    after = torch.rand(1)
    torch.manual_seed(3)
    ours = nn.Sequential(resnet50_parts()).eval()
    assert torch.equal(torch.rand(1), after)
    wanted = {name: value for name, value in theirs.state_dict().items() if not name.startswith("fc.")}
    found = ours.state_dict()
    assert list(found) == list(wanted)
    assert all(torch.equal(found[name], value) for name, value in wanted.items())
    theirs.avgpool = theirs.fc = nn.Identity()
    x = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(ours(x).flatten(1), theirs(x))


@pytest.mark.slow
def test_serving_waits_for_no_library_that_it_does_not_need() -> None:
    """torchvision, and torch's compiler with sympy, take longer than everything else of a start but torch."""
    program = """
import sys
import dala.opinion, dala.inquiry, dala.batch
from dala.runtime.predict import load_model
load_model(engine="torch")
print([name for name in ("torchvision", "torch._dynamo", "torch._inductor", "sympy", "sklearn") if name in sys.modules])
"""
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
