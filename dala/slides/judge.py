"""What the model says of fields of a slide, several at once: the patches and the functions of a click."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dala.errors import SlideError
from dala.intake.patch import Patch
from dala.opinion import gate_of
from dala.preprocess.physical import views_at_scale
from dala.preprocess.scale import Scale, scale_of
from dala.preprocess.views import Views, network_input
from dala.runtime.predict import Looked, Model, look_together, prediction_of
from dala.runtime.verdict import verdict_of
from dala.slides.grid import Box
from dala.slides.plan import Spot
from dala.slides.reader import Slide
from dala.slides.rows import NOT_SURE, OUTSIDE, UNREADABLE, Row

BATCH = 4  # fields of one pass, and rows of one write


@dataclass(frozen=True, eq=False)
class Seen:
    """A field as the network sees it: its views, the input (3, h, w) float32, its scale."""

    views: Views
    values: NDArray[np.float32]
    scale: Scale


class Judge:
    """A model that judges fields; any number of threads may share it.

    Raises SlideError ("weights") for weights that do not see at a physical scale.
    """

    def __init__(self, model: Model) -> None:
        if model.card.input.um_per_pixel is None:
            raise SlideError(
                "weights", f"The weights {model.name} do not see at a physical scale: no slide can be scanned."
            )
        self.model = model
        self._positive = model.card.classes.index(str(model.card.fields["positive"]))
        # What `network_input` makes of each value of each channel: looking it up takes a tenth of the time.
        ramp = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1)[None, None]
        self._table = np.ascontiguousarray(network_input(ramp, None)[0, :, 0].numpy())

    def see(self, slide: Slide, spot: Spot) -> Seen | None:
        """Read a field and make of it what the network sees; None where it cannot be read."""
        try:
            patch = slide.read_field(spot.column, spot.row)
        except SlideError as error:
            if error.name != "damaged":
                raise
            return None
        return self.seen(patch)

    def seen(self, patch: Patch) -> Seen:
        """A patch that shows one field, as the network sees it."""
        scale = scale_of(patch)
        views = views_at_scale(patch.pixels, scale, self.model.card.input)
        planes = cv2.split(views.for_network[0])
        values = np.stack([cv2.LUT(plane, table) for plane, table in zip(planes, self._table, strict=True)])
        return Seen(views, values, scale)

    def look(self, seen: Sequence[Seen]) -> list[Looked]:
        """One pass over fields of one size."""
        x = torch.from_numpy(np.stack([one.values for one in seen]))
        return look_together([one.views for one in seen], x, self.model)

    def row(self, spot: Spot, box: Box, seen: Seen | None, looked: Looked | None) -> Row:
        """What is said of a field."""
        if seen is None or looked is None:
            return Row(spot.column, spot.row, box, spot.tissue, UNREADABLE)
        prediction = prediction_of(looked, self.model, seen.scale)
        gate = gate_of(prediction, self.model)
        verdict = verdict_of(prediction, gate.laboratory)
        return Row(
            spot.column,
            spot.row,
            box,
            spot.tissue,
            OUTSIDE if gate.reason is not None else verdict.answer or NOT_SURE,
            round(float(prediction.probabilities[self._positive]), 5) if gate.inside else None,
            None if gate.reason is None else gate.reason.name,
            None if gate.score is None else round(gate.score, 3),
            gate.laboratory,
        )
