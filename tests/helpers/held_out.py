"""Held-out predictions of drawn miniatures, stored before the engines of three data sets became one.

The engine gave these to the last of six decimals with two threads; the ones here are of one thread, which adds up in
another order, and those of Mini-DDSM of smaller views.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

STORED = json.loads((Path(__file__).parent / "held_out.json").read_text(encoding="utf-8"))


def assert_as_stored(name: str, record: dict[str, Any]) -> None:
    """A cross-validation's predictions and scores are those of the old engine, to the last of six decimals."""
    stored = STORED[name]
    # Another kind of CPU rounds bfloat16 at other places.
    near = 1.5e-6 if torch.backends.cpu.get_cpu_capability() == STORED["cpu"] else 0.02
    assert list(record["predictions"]["probabilities"]) == list(stored["probabilities"])
    for model, p in record["predictions"]["probabilities"].items():
        np.testing.assert_allclose(p, stored["probabilities"][model], rtol=0, atol=near, err_msg=model)
        if near < 1e-3:
            values = np.array([metric["value"] for metric in record["scores"][model].values()], float)
            np.testing.assert_allclose(values, np.array(stored["values"][model], float), rtol=0, atol=near)
