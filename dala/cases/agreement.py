"""How often a model and its readers agreed over kept cases, and how often either was right, with intervals by patient.

Only cases in which both said benign or malignant are counted; who was not sure, and images that the model does not
judge, are counted apart. Intervals are 95 % by the percentile bootstrap over patients, drawn whole and with replacement
among those with the same classes, as in `dala.stats.bootstrap`; a case without a patient is a patient of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dala.cases.kept import DIAGNOSES, AgreementRow
from dala.stats.agreement import wilson
from dala.stats.bootstrap import RESAMPLES, Interval, interval

Rater = Literal["model", "before", "after", "diagnosis"]
Key = Literal["reader", "laboratory", "month"]
Floats = NDArray[np.float64]
Figure = Callable[[Floats], Floats]  # of four counts, (B, 4), as `_by_patient` has them


@dataclass(frozen=True)
class Agreement:
    """What one rater says held against what another says.

    cases: those of which both said something; patients: of these. table: how many by (what is held against, what is
    said). decided: cases in which both said benign or malignant. same: the share of these with the same class. kappa:
    Cohen's (Educational and Psychological Measurement 20, 1960). sensitivity: the share of those held to be malignant
    that are called so; specificity: of those held to be benign.
    """

    cases: int
    patients: int
    table: dict[tuple[str, str], int]
    decided: int
    same: Interval
    kappa: Interval
    sensitivity: Interval
    specificity: Interval


def said_by(row: AgreementRow, rater: Rater) -> str | None:
    """What a rater says of a case: the model's answer, the reader's call before or after it, the final diagnosis."""
    if rater == "model":
        return row.answer
    if rater == "diagnosis":
        return row.diagnosis
    return row.before if rater == "before" else row.after


def agreement(rows: Sequence[AgreementRow], rater: Rater, against: Rater) -> Agreement:
    """What `rater` says held against what `against` says, over the cases of which both say something."""
    pairs = [
        (row.patient or f"case {row.id}", truth, said)
        for row in rows
        if (truth := said_by(row, against)) is not None and (said := said_by(row, rater)) is not None
    ]
    counts = _by_patient([pair for pair in pairs if pair[1] in DIAGNOSES and pair[2] in DIAGNOSES])
    total, drawn = counts.sum(axis=0), _drawn(counts)
    return Agreement(
        len(pairs),
        len({patient for patient, _, _ in pairs}),
        dict(Counter((truth, said) for _, truth, said in pairs)),
        int(total.sum()),
        *(_figure(part, total, drawn, counts) for part in (_same, _kappa, _sensitivity, _specificity)),
    )


def disagreements(rows: Sequence[AgreementRow], rater: Rater, against: Rater) -> list[AgreementRow]:
    """The cases in which one said benign and the other malignant, in the order of the rows."""
    return [
        row
        for row in rows
        if (said := said_by(row, rater)) in DIAGNOSES
        and (truth := said_by(row, against)) in DIAGNOSES
        and said != truth
    ]


def parts(rows: Sequence[AgreementRow], key: Key) -> dict[str | None, list[AgreementRow]]:
    """The rows by reader's id, by laboratory (None: one that the model does not know) or by month ("2026-11", in UTC):
    months in their order, the others by how many cases they have."""
    found: dict[str | None, list[AgreementRow]] = {}
    for row in rows:
        name = {"reader": row.reader[0], "laboratory": row.laboratory, "month": f"{row.created:%Y-%m}"}[key]
        found.setdefault(name, []).append(row)
    if key == "month":
        return dict(sorted(found.items(), key=lambda item: str(item[0])))
    return dict(sorted(found.items(), key=lambda item: (-len(item[1]), str(item[0]))))


def _by_patient(pairs: Sequence[tuple[str, str, str]]) -> NDArray[np.int64]:
    """How many cases of each patient, (patients, 4): held to be benign and called benign, malignant; then held to be
    malignant and called so."""
    numbers = {patient: number for number, patient in enumerate(sorted({pair[0] for pair in pairs}))}
    counts = np.zeros((len(numbers), 4), np.int64)
    for patient, truth, said in pairs:
        counts[numbers[patient], 2 * DIAGNOSES.index(truth) + DIAGNOSES.index(said)] += 1
    return counts


def _drawn(counts: NDArray[np.int64]) -> Floats:
    """The sums of the counts over patients that were drawn anew, (RESAMPLES, 4).

    Patients with the same counts are drawn together: how often each kind comes is multinomial, too, so that thousands
    of patients take no more room than some dozen kinds.
    """
    drawn = np.zeros((RESAMPLES, 4))
    if len(counts) < 2:
        return drawn
    random = np.random.default_rng(0)
    holds = np.stack([counts[:, :2].any(axis=1), counts[:, 2:].any(axis=1)], axis=1)
    _, kind, sizes = np.unique(holds, axis=0, return_inverse=True, return_counts=True)
    largest = np.flatnonzero(sizes == sizes.max())[-1]
    kind = np.where(sizes[kind] == 1, largest, kind)  # a patient unlike all others would always be drawn
    for one in np.unique(kind):
        alike, often = np.unique(counts[kind == one], axis=0, return_counts=True)
        drawn += random.multinomial(often.sum(), often / often.sum(), RESAMPLES) @ alike
    return drawn


def _figure(part: Figure, total: NDArray[np.int64], drawn: Floats, counts: NDArray[np.int64]) -> Interval:
    """A figure of four counts with its interval: none where fewer than two patients count in it or where every draw is
    the same; of a share of none or all then Wilson's, with as many trials as patients count in it."""
    with np.errstate(invalid="ignore", divide="ignore"):
        value, resampled = float(part(total[None].astype(np.float64))[0]), part(drawn)
        counted = len(counts) if part is _kappa else int(np.isfinite(part(counts.astype(np.float64))).sum())
    known = resampled[np.isfinite(resampled)]
    if counted > 1 and known.size and known.min() < known.max():
        return interval(value, resampled)
    if counted > 1 and part is not _kappa and value in (0.0, 1.0):
        low, high = wilson(value, counted)
        return {"value": value, "low": low, "high": high}
    return interval(value, None)


def _same(counts: Floats) -> Floats:
    found: Floats = (counts[:, 0] + counts[:, 3]) / counts.sum(axis=1)
    return found


def _sensitivity(counts: Floats) -> Floats:
    found: Floats = counts[:, 3] / counts[:, 2:].sum(axis=1)
    return found


def _specificity(counts: Floats) -> Floats:
    found: Floats = counts[:, 0] / counts[:, :2].sum(axis=1)
    return found


def _kappa(counts: Floats) -> Floats:
    """NaN where both only ever use the same class."""
    all_of = counts.sum(axis=1)
    held, called = counts[:, 2:].sum(axis=1) / all_of, counts[:, 1::2].sum(axis=1) / all_of
    chance = held * called + (1 - held) * (1 - called)
    found: Floats = (_same(counts) - chance) / (1 - chance)
    return found
