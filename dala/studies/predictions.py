"""On whose patients is it wrong? Every held-out prediction of the cross-validation: curves, counts, patient by patient.

    dala crossvalidate breakhis --data ROOT
    dala crossvalidate mini_ddsm --data ROOT

`dala.training` writes the predictions beside the figures of each cross-validation; `dala calibrate` reads them too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dala.stats import roc
from dala.stats.conformal import Cohort
from dala.stats.paired import paired_difference
from dala.studies.blocks import Block, Chart, Choice, Guide, Line, Point, Row, Table, Text, lines_table, numbers
from dala.studies.names import CROSSVALIDATE, CUT, MODELS, NETWORK, PROBE
from dala.studies.record import Data, Result
from dala.studies.study import Study
from dala.words import NO_BREAK, chance, figure, share

ROC_X, ROC_Y = "Benign images called malignant", "Malignant images found"

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Predictions(Result):
    """Of N images file, label (0 benign, 1 malignant) and group, and (R, N) probabilities of malignant by model."""

    data: Data
    imagenet: str
    recipe: dict[str, Any]
    files: tuple[str, ...]
    labels: tuple[int, ...]
    groups: tuple[str, ...]
    probabilities: dict[str, tuple[tuple[float, ...], ...]]

    @property
    def cohort(self) -> Cohort:
        """Labels and groups with the network's predictions."""
        return Cohort.of(self.labels, self.groups, self.probabilities[NETWORK])

    @property
    def by_model(self) -> dict[str, Floats]:
        """The probabilities (R, N) of every model that the page compares."""
        return {name: np.asarray(self.probabilities[name], dtype=np.float64) for name in MODELS}


def roc_lines(record: Predictions) -> list[Line]:
    """The ROC curve of each model with its band."""
    return [roc_band(record.cohort, values, MODELS[name]) for name, values in record.by_model.items()]


def roc_band(cohort: Cohort, probabilities: Floats, name: str) -> Line:
    """Sensitivity over the share of benign images called malignant, with a pointwise 95 % band over patient groups."""
    band = roc.roc_band(cohort.labels == 1, probabilities, cohort.order, cohort.draws)
    return Line.through(name, list(zip(band.x, band.y, band.low, band.high, strict=True)))


def against_probe(record: Predictions) -> str:
    """One sentence: how far the network is from the linear probe on the same images."""
    labels, probe, network = record.cohort.labels, record.by_model[PROBE], record.by_model[NETWORK]
    difference = paired_difference(labels, probe, network, record.cohort.groups, metric="auc")
    interval = {"value": difference["difference"], "low": difference["low"], "high": difference["high"]}
    return (
        f"{MODELS[NETWORK]} against the {MODELS[PROBE].lower()}, patient by patient: AUC "
        f"{figure(interval, signed=True)}, p {chance(difference['p'])} (the ranks of whole groups swapped at random)."
    )


def confusion_table(record: Predictions) -> list[Row]:
    """What each model calls benign and malignant images; counts are means over the repeats."""
    rows = []
    for name, probabilities in record.by_model.items():
        called = probabilities >= CUT
        for label, truth in enumerate(("benign", "malignant")):
            inside = called[:, record.cohort.labels == label]
            malignant, total = float(inside.sum() / len(called)), inside.shape[1]
            rows.append(
                {
                    "Model": MODELS[name] if label == 0 else "",
                    "Truth": f"{total} {truth}",
                    "called benign": _of(total - malignant, total),
                    "called malignant": _of(malignant, total),
                }
            )
    return rows


def _of(count: float, total: int) -> str:
    return f"{count:.1f}{NO_BREAK}({share(count / total)})"


@dataclass(frozen=True)
class Patient:
    """One accession group: its class, images, share of them called right and mean probability of malignant."""

    name: str
    malignant: bool
    images: int
    right: float
    probability: float

    @property
    def truth(self) -> str:
        """The class in words."""
        return "malignant" if self.malignant else "benign"


def patients(record: Predictions) -> list[Patient]:
    """Every accession group under the network that had not seen it, the worst first."""
    cohort, network = record.cohort, record.by_model[NETWORK]
    rows = []
    for number, name in enumerate(cohort.names):
        inside = cohort.order == number
        own, labels = network[:, inside], cohort.labels[inside]
        right = float(((own >= CUT) == labels).mean())
        rows.append(Patient(str(name), bool(labels.any()), int(inside.sum()), right, float(own.mean())))
    return sorted(rows, key=lambda patient: (patient.right, patient.name))


def patient_table(rows: Sequence[Patient]) -> list[Row]:
    """The table of `patients`."""
    return [
        {
            "Group": row.name,
            "Class": row.truth,
            "Images": str(row.images),
            "Called right": share(row.right),
            "Mean probability of malignant": f"{row.probability:.3f}",
        }
        for row in rows
    ]


def patient_chart(rows: Sequence[Patient]) -> Chart:
    """Every group on a row of its own, those of a class together."""
    points = {
        truth: [Point(row.name, row.probability) for row in rows if row.truth == truth]
        for truth in ("benign", "malignant")
    }
    return Chart(
        "patients",
        "Mean probability of malignant for every accession group",
        "Mean probability of malignant",
        series=points,
        guides=(Guide("x", CUT),),
        rows=True,
        rows_in_order=[row.name for row in sorted(rows, key=lambda row: (row.malignant, row.probability))],
        unit=True,
    )


def worst_patients(rows: Sequence[Patient]) -> str:
    """One sentence on the groups of which most images are called wrong."""
    wrong = [row for row in rows if row.right < CUT]
    if not wrong:
        return "No group has most of its images called wrong."
    named = ", ".join(f"{row.name} ({row.truth})" for row in wrong)
    return f"Most images are called wrong of {len(wrong)} of {len(rows)} groups: {named}."


def section(record: Predictions) -> list[Block]:
    """Curves with the band of one model, what is called what, and every patient group."""
    lines, rows = roc_lines(record), patients(record)

    def banded(name: str) -> list[Block]:
        shown = [line if line.name == name else replace(line, low=None, high=None) for line in lines]
        alt = "ROC curves of the network and three comparisons"
        return [Chart("roc", alt, ROC_X, ROC_Y, lines=shown, square=True)]

    return [
        Choice("Band of", [line.name for line in lines], "band", banded, buttons=True),
        Text(
            "The higher the curve the better; the dotted diagonal is guessing; the band is where the curve may lie for "
            "other patients like these. " + against_probe(record)
        ),
        numbers("The numbers of the curves", lines_table(lines, ROC_X)),
        Text("#### What is called what"),
        Table(confusion_table(record), "Confusion matrices"),
        Text("Counts are means over the repeats; a good row is full on the side of its own class."),
        Text("#### Patient by patient"),
        patient_chart(rows),
        Text(
            "Malignant groups (▲) belong to the right of the line, benign ones (●) to the left. " + worst_patients(rows)
        ),
        numbers("The numbers of every patient", patient_table(rows)),
    ]


STUDY = Study(
    "predictions",
    "breakhis_200x_predictions.json",
    Predictions,
    "breakhis",
    CROSSVALIDATE,
    part="Patients and leaks",
    title="On whose patients",
    question="What does it miss, at which price in false alarms, and whose images are they?",
    section=section,
)
MINI_DDSM = Study(
    "mini_ddsm_predictions",
    "mini_ddsm_predictions.json",
    Predictions,
    "mini_ddsm",
    "dala crossvalidate mini_ddsm --data ROOT",
)
