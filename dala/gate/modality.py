"""Which kind of image is this: an H&E patch or a mammogram? By its pixels, and by a DICOM file's own word.

One rule, which a person can check by eye: a mammogram is grey and its shades are smooth; everything else is taken for
histology, whose checks then say what is wrong with it. A DICOM file that says "mammogram" or "microscopy" is believed.
`dala modality --data DIR` measures the rule on real images (evidence/modality.json). A person can correct
it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from dala.gate.checks import HISTOLOGY, MAMMOGRAM, Reason, measure_film
from dala.intake.patch import Patch

SIDE = 224  # pixels, the scale at which the gate measures
GREY = 5.0  # mean difference of the largest and the smallest channel, in grey levels: as the gate's checks have it
SMOOTH = 0.22  # detail of 1 to 6 px over the contrast; measured: films up to 0.22, H&E patches without colour from 0.24

WORDS = {HISTOLOGY: "H&E patch", MAMMOGRAM: "Mammogram"}
SENTENCE = {HISTOLOGY: "an H&E patch", MAMMOGRAM: "a mammogram"}
STATED = {"a mammogram": MAMMOGRAM, "a digital mammogram": MAMMOGRAM, "microscopy": HISTOLOGY}


@dataclass(frozen=True)
class Recognised:
    """A modality, one of `dala.gate.checks.HISTOLOGY` and `MAMMOGRAM`, and in a few words why."""

    modality: str
    because: str


def recognise(patch: Patch) -> Recognised:
    """What an image is taken for; there is always an answer, and the gate of that modality assesses it."""
    if patch.stated in STATED:
        return Recognised(STATED[patch.stated], f"the DICOM file says that it is {patch.stated}")
    size = (SIDE, SIDE)
    small = np.asarray(Image.fromarray(patch.pixels).resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0))
    measured = measure_film(small)
    if measured.chroma > GREY:
        return Recognised(HISTOLOGY, "it has colours")
    if measured.texture > SMOOTH:
        return Recognised(HISTOLOGY, "it is grey, but does not have the smooth shades of a film")
    return Recognised(MAMMOGRAM, "it is grey with smooth shades")


def corrected(patch: Patch, modality: str) -> Patch:
    """The patch as a person reads it: the same, with a note where that is not what it is `recognise`d as."""
    found = recognise(patch)
    if modality == found.modality:
        return patch
    note = (
        f"By its content this was taken for {SENTENCE[found.modality]}; a person has read it as {SENTENCE[modality]}."
    )
    return replace(patch, notes=(note, *patch.notes))


def stated_reason(stated: str | None, modality: str) -> Reason | None:
    """Why what a file has `stated` it is (`Patch.stated`) keeps a model of this modality from analysing it, or None."""
    if stated is not None and stated not in STATED:
        return Reason(
            "other_modality", f"The file says that this is {stated}: neither a mammogram nor a patch of tissue."
        )
    if stated == "a digital mammogram" and modality == MAMMOGRAM:
        return Reason(
            "digital", "The file says that this is a digital mammogram: the model has seen digitised films only."
        )
    return None
