"""How it works: feature maps, their weights, the weighted sum, the ReLU and the threshold of the chosen image."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from dala.explanation.render import dt_overlay, overlay
from dala.explanation.threshold import RULES, threshold
from dala.opinion import Opinion
from dala.runtime.predict import Model
from dala.teaching.draw import activation_cells, signed_cells
from dala.teaching.unfold import Channel, Unfolded, unfold
from dala.words import counted
from pages.parts.shared import show_image
from pages.parts.teaching.lesson_image import lesson_opinion

TOWARDS, AGAINST = "#D55E00", "#0072B2"
THUMBNAILS = 4  # in a row
RULE = next(iter(RULES.values()))
UNIT = 0.001  # of weights and products, which are small
WEIGHT, PRODUCT = "Weight (0.001)", "Product (0.001)"


def show_unfolding(model: Model) -> None:
    opinion = lesson_opinion(model)
    if opinion is None:
        return
    target = st.segmented_control(
        "Take apart the map towards",
        opinion.prediction.classes,
        default=opinion.prediction.label,
        required=True,
        key=f"unfold-target-{opinion.patch.sha256[:12]}",
    )
    steps = unfold(opinion, target)
    image = part_of(opinion, steps)
    show_three_steps(opinion, target)
    show_input(opinion, steps, image)
    show_activations(steps, image)
    show_weights(steps)
    show_sum(opinion, steps, image)
    show_relu(steps, image)
    show_rules(opinion, target)


def show_three_steps(opinion: Opinion, target: str) -> None:
    """The whole of it before the details: image, map, threshold."""
    found = opinion.maps[target]
    field = found.upsampled(*opinion.image.shape[:2])
    three = [(opinion.image, "1. The network looks at the image")]
    if found.has_evidence:
        limit = float(field.max())
        regions = threshold(field, RULE.name, RULE.default)
        three += [
            (overlay(opinion.image, field, limit), f"2. Every place is coloured by how much it speaks for {target}"),
            (dt_overlay(opinion.image, field, regions, limit), "3. A threshold keeps what stands out"),
        ]
    st.subheader("In three steps", anchor=False)
    images(three, 3)
    st.markdown("The rest of this page is the same once more, with every number.")


def part_of(opinion: Opinion, steps: Unfolded) -> np.ndarray:
    """The view's part of the displayed image."""
    height, width = opinion.image.shape[:2]
    across, down = width / opinion.patch.width, height / opinion.patch.height
    left, top, right, bottom = steps.view.box
    return np.ascontiguousarray(
        opinion.image[round(top * down) : round(bottom * down), round(left * across) : round(right * across)]
    )


def step(number: int, title: str, text: str) -> None:
    st.subheader(f"{number}. {title}", anchor=False)
    st.markdown(text)


def images(images: list[tuple[np.ndarray, str]], columns: int) -> None:
    """Images with captions in rows of so many."""
    for start in range(0, len(images), columns):
        for place, (image, caption) in zip(
            st.columns(columns, gap="small"), images[start : start + columns], strict=False
        ):
            show_image(place, image, caption)


def show_input(opinion: Opinion, steps: Unfolded, image: np.ndarray) -> None:
    side = opinion.model.card.input.size
    rows, columns = steps.total.shape
    tile = f" Shown is tile {steps.number + 1}, which holds most evidence." if steps.views > 1 else ""
    step(
        1,
        "The patch becomes feature maps",
        f"{opinion.seen}{tile} Four stages of convolutions turn those {side} x {side} pixels into "
        f"**{len(steps.weights):,} feature maps of {rows} x {columns} cells** (the maps $A_k$), which the attention "
        "module has scaled, each by its own gate. Each map says where in the image a pattern is that the network has "
        "learnt to look for; nobody chose which.",
    )


def show_activations(steps: Unfolded, image: np.ndarray) -> None:
    limit = max(float(channel.activation.max()) for channel in steps.strongest)
    st.markdown(
        f"The {len(steps.strongest)} that matter most for this map, strongest first; dark is 0, yellow is {limit:.2f}, "
        "the same scale for all."
    )
    images(
        [
            (
                activation_cells(image, channel.activation, limit),
                f"Map {channel.number}: up to {channel.activation.max():.2f}",
            )
            for channel in steps.strongest
        ],
        THUMBNAILS,
    )


def show_weights(steps: Unfolded) -> None:
    positive = int((steps.weights > 0).sum())
    step(
        2,
        "Each map gets a weight",
        f"If map $A_k$ grew a little everywhere, how much would the score for **{steps.target}** grow? That slope, the "
        r"mean gradient of the score towards the map, is its weight $\alpha_k$. Here "
        f"{positive:,} of {len(steps.weights):,} weights are positive: these patterns speak for {steps.target}, the "
        "others against it.",
    )
    names = [f"map {channel.number}" for channel in steps.strongest]
    values = [channel.weight / UNIT for channel in steps.strongest]
    figure = go.Figure(
        go.Bar(
            x=names,
            y=values,
            marker={"color": [TOWARDS if value > 0 else AGAINST for value in values]},
            text=[f"{value:+.3f}" for value in values],
            textposition="auto",
            hovertemplate="%{x}: %{y:+.3f}<extra></extra>",
        )
    )
    figure.update_layout(
        height=230,
        margin={"l": 0, "r": 0, "t": 10, "b": 0},
        yaxis={"title": "weight (0.001)", "fixedrange": True},
        xaxis={"fixedrange": True},
    )
    st.plotly_chart(figure, config={"displayModeBar": False})


def show_sum(opinion: Opinion, steps: Unfolded, image: np.ndarray) -> None:
    few, others = len(steps.strongest), len(steps.weights) - len(steps.strongest)
    limit = max(float(np.abs(channel.contribution).max()) for channel in steps.strongest)
    whole = max(float(np.abs(steps.total).max()), float(np.abs(steps.few).max()))
    step(
        3,
        "Weight times map, summed up",
        r"Each map is multiplied by its weight and all products are added: $M = \sum_k \alpha_k A_k$. Vermilion speaks "
        "for "
        f"{steps.target}, blue against it; full colour is ±{limit / UNIT:.2f} for the products and "
        f"±{whole / UNIT:.1f} for the sums, in units of 0.001.",
    )
    images(
        [
            (
                signed_cells(image, channel.contribution, limit),
                f"{channel.weight / UNIT:+.3f} x map {channel.number}: {strongest_value(channel) / UNIT:+.2f}",
            )
            for channel in steps.strongest
        ],
        THUMBNAILS,
    )
    likeness = (
        "" if steps.likeness is None else f" Over the cells it correlates with the whole at r = {steps.likeness:.2f}."
    )
    images(
        [
            (signed_cells(image, steps.few, whole), f"These {few} alone"),
            (signed_cells(image, steps.total - steps.few, whole), f"The other {others:,} together"),
            (signed_cells(image, steps.total, whole), f"All {len(steps.weights):,}: the raw map"),
        ],
        3,
    )
    st.markdown(
        f"The {few} strongest hold {100 * steps.share:.0f} % of everything that is added and subtracted.{likeness}"
    )
    row, column = steps.place
    st.markdown(f"**At one place, with a pencil:** row {row + 1}, column {column + 1}, where the map is largest.")
    st.table(
        [*(at_place(channel, steps.place) for channel in steps.strongest), *rest_at_place(steps)],
        hide_index=True,
        width="content",
    )


def strongest_value(channel: Channel) -> float:
    """The contribution of the largest size, with its sign."""
    values = channel.contribution.ravel()
    return float(values[np.abs(values).argmax()])


def at_place(channel: Channel, place: tuple[int, int]) -> dict[str, str]:
    return {
        "Map": str(channel.number),
        WEIGHT: f"{channel.weight / UNIT:+.3f}",
        "Map there": f"{channel.activation[place]:.3f}",
        PRODUCT: f"{channel.contribution[place] / UNIT:+.3f}",
    }


def rest_at_place(steps: Unfolded) -> list[dict[str, str]]:
    total, few = float(steps.total[steps.place]), float(steps.few[steps.place])
    others = len(steps.weights) - len(steps.strongest)
    return [
        {"Map": f"the other {others:,}", WEIGHT: "", "Map there": "", PRODUCT: f"{(total - few) / UNIT:+.3f}"},
        {"Map": "**sum: the raw map there**", WEIGHT: "", "Map there": "", PRODUCT: f"**{total / UNIT:+.3f}**"},
    ]


def show_relu(steps: Unfolded, image: np.ndarray) -> None:
    limit = max(float(np.abs(steps.total).max()), 1e-12)
    against = int((steps.total < 0).sum())
    step(
        4,
        "ReLU: what speaks against it is dropped",
        f"Grad-CAM keeps what is positive and sets the rest to 0: here {against} of {steps.total.size} cells. So an "
        "empty place on a heat map may be a place that speaks against the class. This tool keeps the sign: switch the "
        "target above, and the blue cells turn vermilion.",
    )
    images(
        [
            (signed_cells(image, steps.total, limit), "Before: the raw signed map"),
            (activation_cells(image, steps.positive, float(steps.positive.max())), "After: Grad-CAM, cell by cell"),
        ],
        2,
    )


def show_rules(opinion: Opinion, target: str) -> None:
    height, width = opinion.image.shape[:2]
    field = opinion.maps[target].upsampled(height, width)
    step(
        5,
        "The dynamic threshold",
        "The cells are enlarged to the image, and what stays above a threshold is DT Grad-CAM. *Dynamic* means that "
        "the threshold follows from this map's own values by a rule. Compare the rules on the same map: the map never "
        "changes, only what is called marked.",
    )
    if not opinion.maps[target].has_evidence:
        st.info(f"Nothing in this image speaks for {target}, so there is nothing to mark.")
        return
    limit = float(field.max())
    places = st.columns(3, gap="medium")
    show_image(places[0], overlay(opinion.image, field, limit), "Grad-CAM without a threshold")
    for number, rule in enumerate(RULES.values(), start=1):
        if number % 3 == 0:
            places = st.columns(3, gap="medium")
        with places[number % 3]:
            image = st.container()
            parameter = st.slider(
                f"{rule.label}: {rule.parameter} ({rule.unit})",
                rule.minimum,
                rule.maximum,
                rule.default,
                rule.step,
                key=f"rule-{rule.name}",
                help=rule.help,
            )
            regions = threshold(field, rule.name, parameter)
            show_image(
                image,
                dt_overlay(opinion.image, field, regions, limit),
                f"Threshold {regions.threshold:.3g}; marked {100 * regions.kept_area:.1f} % of the image, "
                f"{100 * regions.kept_evidence:.0f} % of the evidence, {counted(len(regions.regions), 'region')}",
            )
