"""What an image is, on the first page: recognised, shown, corrected by a person; and the opinion of its own model."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dala.gate.checks import HISTOLOGY
from dala.gate.modality import WORDS, corrected, recognise
from dala.intake.image import read_image
from dala.intake.patch import Patch
from dala.intake.pixel_size import NAME, PixelSize
from dala.opinion import Opinion, opinion_of
from dala.phantoms.sheet import UM_PER_PIXEL
from dala.runtime.calibration import DEFAULT_ALPHA
from dala.runtime.card import SERVED
from dala.runtime.predict import Model
from pages.parts.second_opinion.choice import Chosen
from pages.parts.second_opinion.scale import AS_DRAWN, key_of, sized
from pages.parts.shared import plain
from pages.parts.sites import model_in_use

WEAK_BELOW = 0.75  # AUC; below it the page says first how often such a model is wrong


# Bytes and name are the key, so that a rerun of the page reads nothing again. Few are kept, for one may hold the 48
# megapixels that intake lets through; an opinion shares the pixels of its patch.
@st.cache_resource(show_spinner="The image is read …", max_entries=8)
def patch_of(data: bytes, name: str) -> Patch:
    return read_image(data, name)


# `at` is the pixel size, `site` the digest of a site: another one is another opinion.
@st.cache_resource(show_spinner="The model looks at the image …", max_entries=8)
def judged(sha256: str, name: str, modality: str, at: str, site: str, _patch: Patch, _model: Model) -> Opinion:
    return opinion_of(corrected(_patch, modality), _model)


def image_and_model(chosen: Chosen) -> tuple[Patch, str, Model]:
    """The image as it is read, what it is read as, and the model for that; a drawn one is what it was drawn as.

    Raises IntakeError.
    """
    patch, drawn = patch_of(chosen.data, chosen.name), chosen.drawn is not None
    modality = recognise(patch).modality if drawn else chosen_modality(patch, chosen.row)
    if drawn and modality == HISTOLOGY:
        patch = replace(patch, pixel_size=PixelSize(UM_PER_PIXEL, UM_PER_PIXEL, NAME, AS_DRAWN))
    return patch, modality, model_in_use(SERVED[modality])


def opinion_at_scale(patch: Patch, modality: str, model: Model) -> Opinion:
    """The opinion at the scale that was chosen, or else the image's own. Raises TooLarge for too many fields."""
    at = sized(patch)
    site = "" if model.site is None else model.site.sha256
    return judged(patch.sha256, patch.name, modality, key_of(at), site, at, model)


def chosen_modality(patch: Patch, row: DeltaGenerator) -> str:
    """What the image is taken for and why, with the choice to say otherwise."""
    recognised = recognise(patch)
    row.markdown("Read as", width="content")
    modality = row.segmented_control(
        "Read as",
        list(WORDS),
        default=recognised.modality,
        format_func=WORDS.__getitem__,
        key=f"modality-{patch.sha256[:12]}",
        label_visibility="collapsed",
        required=True,
        width="content",
    )
    why = f"because {plain(recognised.because)}" if modality == recognised.modality else "as you chose"
    row.caption(f"{why}; each kind has its own model", width="content")
    return str(modality)


def show_worth(model: Model) -> None:
    """That a model is hardly better than guessing, from its card, and what its card says of its limits."""
    fields = model.card.fields
    auc = fields["metrics"]["values"].get("auc") or {}
    if auc.get("value") is None or auc["value"] >= WEAK_BELOW:
        return
    said = (
        f"**Hardly better than guessing.** Of one {model.card.classes[0]} and one {fields['positive']} image, this "
        f"model ranks the {fields['positive']} one higher in {100 * auc['value']:.0f} % of the pairs (AUC "
        f"{auc['value']:.3f}); chance is 50 %."
    )
    unsure = (fields.get("calibration") or {}).get("measured", {}).get(f"not_sure_{DEFAULT_ALPHA:.2f}") or {}
    if unsure.get("value") is not None:
        said += f" It answers “not sure” for {100 * unsure['value']:.0f} % of the images."
    st.warning(said)
    with st.popover("What its card says about its limits", type="tertiary"):
        st.markdown("\n".join(f"- {plain(limit)}" for limit in fields["limits"]))
