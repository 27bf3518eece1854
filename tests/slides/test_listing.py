"""How long a scan would take: as many batches at once as it has the network work on."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import pytest
from torch import Tensor

from dala.slides.listing import seconds_per_field
from tests.helpers.scans import Quick, quick_model


@dataclass(frozen=True)
class Slow(Quick):
    """Takes .2 s more for a batch of four, whatever it is and however many ask."""

    def trunk(self, x: Tensor) -> Tensor:
        time.sleep(0.2)
        return super().trunk(x)


@pytest.mark.slow
def test_the_time_of_a_field_is_that_of_all_streams_together() -> None:
    alone, together = (seconds_per_field(replace(quick_model(), engine=Slow(streams=n))) for n in (1, 4))
    assert alone >= 0.2 / 4 and 0.2 / 16 <= together < alone / 2
