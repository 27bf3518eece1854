"""Held-out predictions of drawn miniatures, stored before the engines of three data sets became one.

The engine gave these to the last of six decimals with two threads; the ones here are of one thread, which adds up in
another order, and those of Mini-DDSM of smaller views. They were trained in bfloat16, which every kind of processor
rounds at other places: those of a second kind are of the engine that gave the first kind's on that.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

STORED = json.loads((Path(__file__).parent / "held_out.json").read_text(encoding="utf-8"))


ELSEWHERE = 0.05  # the middle, the median, of how far the two kinds are apart is at most 0.014


def processor() -> str:
    """Its kind, as far as it decides how training is rounded."""
    cores = Path("/proc/cpuinfo")
    told = cores.read_text() if cores.is_file() else ""
    maker = re.search(r"vendor_id\s*:\s*(\S+)", told)
    words = [torch.backends.cpu.get_cpu_capability(), *([maker[1]] if maker else [])]
    return " ".join([*words, *(["AMX"] if " amx_bf16" in told else [])])


def assert_as_stored(name: str, record: dict[str, Any]) -> None:
    """A cross-validation's predictions and scores are those of the old engine, to the last of six decimals. On a kind
    of processor of which none are stored most predictions are near them: a few choices fall the other way there."""
    known = STORED.get(processor())
    stored = (known or next(iter(STORED.values())))[name]
    assert list(record["predictions"]["probabilities"]) == list(stored["probabilities"])
    for model, p in record["predictions"]["probabilities"].items():
        before = np.array(stored["probabilities"][model], float)
        if known is None:
            assert np.shape(p) == before.shape and np.median(np.abs(np.array(p, float) - before)) <= ELSEWHERE, model
            continue
        np.testing.assert_allclose(p, before, rtol=0, atol=1.5e-6, err_msg=model)
        values = np.array([metric["value"] for metric in record["scores"][model].values()], float)
        np.testing.assert_allclose(values, np.array(stored["values"][model], float), rtol=0, atol=1.5e-6)
