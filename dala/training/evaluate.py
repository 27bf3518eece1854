"""How good are weights on a tree: every image scored by the very path that serves users."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dala.data.pixels import Progress
from dala.errors import DataError, IntakeError
from dala.intake.image import read_image
from dala.runtime.predict import Model
from dala.training.task import Floats, Task, pooled


def evaluate(task: Task[Any], model: Model, progress: Progress | None = None) -> dict[str, Any]:
    """Score weights on the images of a task, one by one, without the gate; ready for JSON.

    `protocol` says by how many groups, and whether the weights have seen any of them in training. Raises DataError for
    an image that cannot be read, or weights of other classes or of another modality.
    """
    if model.card.input.preprocess != task.preprocess:
        raise DataError(
            f"The weights {model.name} are for {model.card.modality}, which is prepared in another way than this data."
        )
    if model.card.classes != task.classes:
        raise DataError(f"The weights {model.name} know {model.card.classes}, the data set {task.classes}.")
    found: dict[str, list[Floats]] = {}
    for done, record in enumerate(task.records):
        try:
            patch = read_image(record.path)
        except IntakeError as error:
            raise DataError(f"{record.path.name} cannot be scored: {error}") from error
        for vote, probabilities in task.answers(patch, model).items():
            found.setdefault(vote, []).append(probabilities)
        if progress is not None:
            progress(done + 1, len(task.records))
    return {
        "protocol": f"{task.evaluated_on(model)}; {known_groups(task.groups, model)}",
        "weights": model.name,
        **task.evaluated(model, {vote: pooled([np.stack(rows)]) for vote, rows in found.items()}),
    }


def known_groups(groups: NDArray[np.str_], model: Model) -> str:
    """Half a sentence: how many of the images' groups the weights have seen in training."""
    seen = np.isin(groups, sorted(model.card.training_groups))
    count, known = len(set(groups)), len(set(groups[seen]))
    if known == 0:
        return "none of these groups was in the weights' training data"
    share = "all" if known == count else f"{known} of the {count}"
    return (
        f"{share} groups ({int(seen.sum())} of {len(seen)} images) were in the weights' training data, so this is "
        "the fit to known patients and no estimate for new ones"
    )
