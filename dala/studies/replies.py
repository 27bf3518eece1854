"""What users are told of an image, in a word, and how often of many: what several studies count."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dala.studies.record import IMAGES, Record
from dala.words import share

if TYPE_CHECKING:
    from dala.intake.image import Source
    from dala.intake.pixel_size import GivenSize
    from dala.runtime.predict import Model

BENIGN, MALIGNANT, NOT_SURE, OUTSIDE = "benign", "malignant", "not sure", "outside"


@dataclass(frozen=True)
class Reply:
    """What is said of an image: one of the four words, the `reason` of the gate if it is outside, the probability of
    malignant, 0..1, which is told only where it is not, the laboratory that the image is taken for, None for an unknown
    one, and the word that would be said without a gate."""

    said: str
    reason: str
    malignant: float
    laboratory: str | None = None
    ungated: str = NOT_SURE


@dataclass(frozen=True, kw_only=True)
class Counts(Record):
    """How many images are told what."""

    images: int = field(metadata=IMAGES)
    benign: int
    malignant: int
    not_sure: int
    outside: int

    @classmethod
    def of(cls, replies: Iterable[Reply]) -> Counts:
        """The counts of these replies."""
        said = [reply.said for reply in replies]
        benign, malignant, not_sure, outside = map(said.count, (BENIGN, MALIGNANT, NOT_SURE, OUTSIDE))
        return cls(images=len(said), benign=benign, malignant=malignant, not_sure=not_sure, outside=outside)

    @property
    def answered(self) -> int:
        return self.benign + self.malignant

    def share(self, count: int) -> str:
        """So many of the images, in words."""
        return share(count / self.images) if self.images else "none"


def reply_to(source: Source, model: Model, pixel_size_um: GivenSize | None = None) -> Reply:
    """What the path that serves users says of an image; a refusal of its size is "outside", too."""
    from dala.errors import TooLarge
    from dala.opinion import second_opinion

    try:
        opinion = second_opinion(source, model, pixel_size_um=pixel_size_um)
    except TooLarge:
        return Reply(OUTSIDE, "too_large", float("nan"))
    reason, probabilities = opinion.gate.reason, opinion.prediction.probabilities
    malignant = float(probabilities[opinion.prediction.classes.index(MALIGNANT)])
    said = opinion.verdict.answer or NOT_SURE
    laboratory = opinion.gate.laboratory
    return (
        Reply(OUTSIDE, reason.name, malignant, laboratory, said)
        if reason
        else Reply(said, "", malignant, laboratory, said)
    )


def counts_row(counts: Counts) -> dict[str, Any]:
    """The columns of a table that show counts."""
    return {
        "Images": f"{counts.images:,}",
        "Malignant": str(counts.malignant),
        "Benign": str(counts.benign),
        "Not sure": str(counts.not_sure),
        "Outside": str(counts.outside),
    }
