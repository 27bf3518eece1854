"""Every study, in the order of the evidence page; a new one is a line here."""

from __future__ import annotations

from typing import Any

from dala.studies import (
    ablation,
    adaptation,
    benchmark,
    calibration,
    changes,
    engines,
    faithfulness,
    gate,
    gate_films,
    gate_laboratories,
    headline,
    laboratories,
    load,
    localisation,
    magnification,
    mini_ddsm,
    modality,
    mosaics,
    nothing,
    nuclear_scale,
    pointing,
    predictions,
    protocols,
    robustness,
    speed,
)
from dala.studies.study import Study

# The parts of the evidence page, in their order; a study names one of them.
PARTS = (
    "In short",
    "Laboratories",
    "Patients and leaks",
    "Not sure, or refused",
    "Changed images",
    "Networks and parts",
    "Heat maps",
    "Speed and load",
    "Mammograms",
)
STUDIES: list[Study[Any]] = [
    headline.STUDY,
    laboratories.STUDY,
    gate_laboratories.STUDY,
    adaptation.STUDY,
    magnification.STUDY,
    nuclear_scale.STUDY,
    predictions.STUDY,
    protocols.STUDY,
    calibration.STUDY,
    gate.STUDY,
    nothing.STUDY,
    mosaics.STUDY,
    changes.STUDY,
    robustness.STUDY,
    ablation.STUDY,
    ablation.BY_LABELS,
    benchmark.STUDY,
    localisation.STUDY,
    pointing.STUDY,
    faithfulness.STUDY,
    engines.STUDY,
    engines.BREAST,
    speed.STUDY,
    load.STUDY,
    mini_ddsm.STUDY,
    calibration.MINI_DDSM,
    gate_films.STUDY,
    modality.STUDY,
    predictions.MINI_DDSM,
]
