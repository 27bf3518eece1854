"""The weights on the evidence page: the card of each, its recipe, and the model that nobody could train here."""

from __future__ import annotations

import streamlit as st

from dala.errors import EvidenceError
from dala.runtime.card import Card, available
from dala.studies.blocks import Row, bullets, choices, plain_cell
from dala.studies.study import card_of
from pages.parts.evidence.blocks import table

BACH_COMMANDS = ("dala crossvalidate bach --data ROOT", "python -m dala train bach --data ROOT")


def model_cards() -> None:
    st.subheader("The weights", anchor="weights")
    st.markdown("*What is this model, what has it seen, and what does it take for granted?*")
    for name in available():
        try:
            card = card_of(name)
        except EvidenceError as error:
            st.error(str(error))
            continue
        if card is None:
            continue
        st.markdown(f"#### {plain_cell(card.fields['title'])}")
        with st.expander(f"The card of {name}"):
            table(card_table(card), f"Model card {name}", header=False)
        with st.expander(f"The recipe of {name}"):
            table(choices(card.fields["recipe"]), f"Recipe of {name}")
        with st.expander(f"Assumptions and limits of {name}"):
            for title, key in (("Assumptions", "assumptions"), ("Limits", "limits")):
                st.caption(f"**{title}**\n\n{bullets(plain_cell(line) for line in card.fields[key])}")
            st.caption(f"**File** `weights/{name}.json`\n\n**Fingerprint of the weights** `{card.fields['sha256']}`")


def card_table(card: Card) -> list[Row]:
    """What a card says of its weights, a line a fact."""
    fields, data = card.fields, card.fields["training_data"]
    classes = ", ".join(f"{count:,} {name}" for name, count in data["per_class"].items())
    facts = {
        "Network": f"{fields['network']}, {fields['bytes'] / 1e6:.0f} MB",
        "Analyses": f"{fields['input']['modality']}, {fields['input']['magnification']}",
        "Classes": ", ".join(card.classes),
        "Image": f"{card.input.size} x {card.input.size} px; {fields['input']['resize']}",
        "Start": fields["imagenet"],
        "Trained on": f"{data['name']}: {data['pictures']:,} images ({classes}) of {len(data['groups'])} patient "
        "groups",
        "Source": data["source"],
        "Terms": data["terms"],
        "Split": fields["split"],
        "Made": fields["created"],
    }
    return [{"": name, "Says": plain_cell(str(value))} for name, value in facts.items()]


def bach() -> None:
    st.subheader("BACH, four classes", anchor="bach")
    st.markdown("*Is there a model for normal, benign, in situ and invasive?*")
    st.markdown(
        "Not here: no weights are shipped, because the images with labels (part A) are not in this project's data. "
        "Whoever has them:"
    )
    for command in BACH_COMMANDS:
        st.caption(f"`{command}`")
