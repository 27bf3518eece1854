"""What an image is, on the first page: recognised, shown, corrected by a person; and the opinion of its own model."""

from __future__ import annotations

import streamlit as st

from dala.gate.modality import WORDS, corrected, recognise
from dala.intake.image import read_image
from dala.intake.patch import Patch
from dala.opinion import Opinion, opinion_of
from dala.runtime.calibration import DEFAULT_ALPHA
from dala.runtime.card import SERVED
from dala.runtime.predict import Model
from pages.parts.shared import model_or_stop, plain

WEAK_BELOW = 0.75  # AUC; below it the page says first how often such a model is wrong


# Bytes and name are the key, so that a rerun of the page reads nothing again. Few are kept, for one may hold the 48
# megapixels that intake lets through; an opinion shares the pixels of its patch.
@st.cache_resource(show_spinner="The image is read …", max_entries=8)
def patch_of(data: bytes, name: str) -> Patch:
    return read_image(data, name)


@st.cache_resource(show_spinner="The model looks at the image …", max_entries=8)
def judged(sha256: str, name: str, modality: str, _patch: Patch, _model: Model) -> Opinion:
    return opinion_of(corrected(_patch, modality), _model)


def opinion_by_modality(data: bytes, name: str, drawn: bool) -> Opinion:
    """The opinion of the model for what the image is; a drawn one is what it was drawn as. Raises IntakeError."""
    patch = patch_of(data, name)
    modality = recognise(patch).modality if drawn else chosen_modality(patch)
    return judged(patch.sha256, name, modality, patch, model_or_stop(SERVED[modality]))


def chosen_modality(patch: Patch) -> str:
    """What the image is taken for and why, with the choice to say otherwise."""
    recognised = recognise(patch)
    row = st.container(horizontal=True, vertical_alignment="center", gap="small")
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
