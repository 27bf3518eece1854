"""What has been measured: reads the JSON under evidence/ and weights/, says what is out of date, prepares its tables.

Nothing here knows a figure. Tables are rows of ready text, curves are numbers; both come from the files alone, and
from the held-out predictions among them. A file counts as measured earlier if it names another recipe, or other
weights, than the model card that it belongs to.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dala.errors import DataError, EvidenceError, WeightsError
from dala.runtime.calibration import DEFAULT_ALPHA
from dala.runtime.card import WEIGHTS_DIR, Card, read_card
from dala.stats.metrics import paired_difference
from dala.studies.calibration import Cohort, resampled_groups

EVIDENCE_DIR = WEIGHTS_DIR.parent / "evidence"

METRICS = {
    "auc": "AUC",
    "balanced_accuracy": "Balanced accuracy",
    "accuracy": "Accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "f1": "F1",
    "gmean": "GMean",
    "iba": "IBA",
    "brier": "Brier (less is better)",
}
MODELS = {
    "dala_resnet50": "DALAResNet50",
    "linear_probe": "Linear probe",
    "colour_only": "Colour alone",
    "teacher": "Its teacher alone",
    "dala_resnet50_stain_shift": "Stain changed",
}
SPLITS = {
    "by_image": "By image",
    "official_folds": "Official folds",
    "by_slide": "By slide",
    "by_group": "By accession group",
}
MEMORISING = "dala_resnet50_memorising"
LEAKY, HONEST = "by_image", "by_group"
NETWORK, PROBE, COLOUR, TEACHER = "dala_resnet50", "linear_probe", "colour_only", "teacher"
DECISIVE = f"{DEFAULT_ALPHA:.2f}"
FILM_MODELS = {
    "dala_resnet50": "DALAResNet50, breast alone",
    "teacher": "Its teacher alone, breast alone",
    "linear_probe": "Linear probe, breast alone",
    "grey_levels": "Three grey levels, whole film",
    "masked_out_probe": "Linear probe, breast masked out",
    "background_trees": "Trees on the background's grey levels",
    "whole_film_probe": "Linear probe, whole film",
    "whole_film_dala_resnet50": "DALAResNet50, whole film",
}
FILM_BASELINES = ("dala_resnet50", "linear_probe", "grey_levels", "masked_out_probe")
CUT = 0.5  # from this probability on an image is called malignant, in every table here
HARMLESS = 0.01  # a loss of AUC below it is called hardly any
CLEAR = 0.05  # a corrected p value below it is called a clear difference
SMALL_P = 0.001
NO_BREAK, MINUS = "\N{NO-BREAK SPACE}", "\N{MINUS SIGN}"
GRID = 101  # points of a ROC curve

Floats = NDArray[np.float64]
Record = dict[str, Any]
Row = dict[str, str]
T = TypeVar("T")


@dataclass(frozen=True)
class File:
    """A result file: its name in the evidence folder, the weights that it is about, and the command that writes it."""

    name: str
    weights: str
    command: str


FILES = {
    "headline": File("breakhis_200x.json", "breakhis", "python -m dala crossvalidate breakhis --data ROOT"),
    "predictions": File(
        "breakhis_200x_predictions.json", "breakhis", "python -m dala crossvalidate breakhis --data ROOT"
    ),
    "protocols": File("protocols_breakhis_200x.json", "breakhis", "python -m dala protocols breakhis --data ROOT"),
    "calibration": File("calibration_breakhis_200x.json", "breakhis", "python -m dala calibrate breakhis"),
    "gate": File("gate_breakhis.json", "breakhis", "python -m dala gate breakhis --data ROOT --others DIR"),
    "robustness": File("robustness_breakhis_200x.json", "breakhis", "python -m dala robustness breakhis --data ROOT"),
    "ablation": File("ablation_breakhis_200x.json", "breakhis", "python -m dala ablation breakhis --data ROOT"),
    "ablation_by_labels": File(
        "ablation_by_labels_breakhis_200x.json", "breakhis", "python -m dala ablation breakhis --data ROOT --by labels"
    ),
    "benchmark": File("benchmark_breakhis_200x.json", "breakhis", "python -m dala benchmark breakhis --data ROOT"),
    "localisation": File(
        "localisation_breakhis.json", "breakhis", "PYTHONPATH=. python benchmarks/localisation.py --data DIR"
    ),
    "faithfulness": File(
        "faithfulness_breakhis_200x.json", "breakhis", "PYTHONPATH=. python benchmarks/faithfulness.py --data ROOT"
    ),
    "engines": File("engines_breakhis.json", "breakhis", "python -m dala engines breakhis --data ROOT"),
    "speed": File("engines_speed.json", "breakhis", "PYTHONPATH=. python benchmarks/engines.py"),
    "load": File("load.json", "breakhis", "PYTHONPATH=. python benchmarks/load.py --images DIR"),
    "mini_ddsm": File("mini_ddsm.json", "mini_ddsm", "python -m dala crossvalidate mini_ddsm --data ROOT"),
    "mini_ddsm_calibration": File("calibration_mini_ddsm.json", "mini_ddsm", "python -m dala calibrate mini_ddsm"),
}
BACH_COMMANDS = ("python -m dala crossvalidate bach --data ROOT", "python -m dala train bach --data ROOT")


@dataclass(frozen=True, eq=False)
class Source:
    """A result file that has been read; `earlier` if it was measured with another recipe than its weights'. `stamp`
    changes with the file."""

    file: File
    record: Record
    earlier: bool
    stamp: str

    @property
    def path(self) -> str:
        """Where the file lies in the repository."""
        return f"evidence/{self.file.name}"

    def take(self, prepare: Callable[[Record], T]) -> T:
        """What `prepare` makes of the record; EvidenceError if the record is not what the command writes."""
        try:
            return prepare(self.record)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, DataError) as error:
            message = f"{self.path} does not hold what `{self.file.command}` writes; run it again."
            raise EvidenceError(message) from error


@dataclass(frozen=True)
class Provenance:
    """How a figure was measured, in words: protocol, number of patients and images, intervals, command, file."""

    protocol: str
    patients: str | None
    intervals: str | None
    command: str
    file: str


@dataclass(frozen=True)
class Line:
    """A curve, with its 95 % band where it has one."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Point:
    """A measured value with its interval; `place` is a name, or a number on the other axis."""

    place: str | float
    value: float
    low: float | None
    high: float | None


# Reading


def read(key: str, evidence: Path | None = None, weights: Path | None = None) -> Source | None:
    """One of the FILES, or None if it has not been written yet.

    Raises EvidenceError for a file that cannot be read, or that does not say what it was measured with or how.
    """
    file = FILES[key]
    path = (evidence or EVIDENCE_DIR) / file.name
    if not path.is_file():
        return None
    try:
        content = path.read_bytes()
        record = json.loads(content)
        named = isinstance(record["protocol"], str) and isinstance(record["command"], str) and made_with(record)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EvidenceError(f"evidence/{file.name} is not a result file; `{file.command}` writes it anew.") from error
    if not named:
        raise EvidenceError(
            f"evidence/{file.name} does not name its protocol, its command and its recipe; `{file.command}` writes it "
            "anew."
        )
    return Source(file, record, is_earlier(record, card_of(file.weights, weights)), hashlib.sha256(content).hexdigest())


def card_of(name: str, weights: Path | None = None) -> Card | None:
    """The model card of these weights, or None if there is none; EvidenceError for one that is not valid."""
    folder = weights or WEIGHTS_DIR
    if not (folder / f"{name}.json").is_file():
        return None
    try:
        return read_card(name, folder)[0]
    except WeightsError as error:
        raise EvidenceError(str(error)) from error


def made_with(record: Record) -> list[tuple[str, Any]]:
    """What a record was measured with: ("weights_sha256", text) and ("recipe", dict), its own or its source's."""
    found = []
    for place in (record, record.get("source", {})):
        found += [(key, place[key]) for key in ("weights_sha256", "recipe") if key in place]
    return found


def is_earlier(record: Record, card: Card | None) -> bool:
    """Whether a record is of another recipe or other weights than the card; so is every record without a card."""
    if card is None:
        return True
    current = {
        "weights_sha256": card.fields["sha256"],
        "recipe": {key: value for key, value in card.fields["recipe"].items() if key != "seed"},
    }
    return any(_without_seed(value) != current[key] for key, value in made_with(record))


def _without_seed(value: Any) -> Any:
    return {key: inner for key, inner in value.items() if key != "seed"} if isinstance(value, dict) else value


def provenance(source: Source) -> Provenance:
    """How the figures of a source were measured."""
    protocol, _, intervals = source.record["protocol"].partition("95 % intervals: ")
    return Provenance(
        protocol=sentence(protocol),
        patients=patients_of(source.record.get("data") or source.record.get("source", {}).get("data") or {}),
        intervals=f"95 %, {intervals.rstrip('. ')}." if intervals else None,
        command=source.record["command"],
        file=source.path,
    )


def patients_of(data: Record) -> str | None:
    """How many patient groups and images, as far as a record says it."""
    if "groups" not in data:
        return None
    text = f"{data['groups']} groups"
    if "benign_groups" in data:
        text += f", {data['benign_groups']} of them benign"
    if "pictures" in data:
        text += f", {data['pictures']:,} images"
    return text


def sentence(text: str) -> str:
    """A protocol's words with a capital and a full stop."""
    text = text.strip(" ;,.")
    return text[:1].upper() + text[1:] + "." if text else ""


# Words for numbers


def figure(interval: Record, *, percent: bool = False, signed: bool = False) -> str:
    """A score with its interval: "0.929 (0.850 to 0.996)", "92.9 % (85.0 to 99.6)"; "undefined" without a value.

    A line may break between the two and nowhere else.
    """
    value, low, high = (interval[key] for key in ("value", "low", "high"))
    if value is None:
        return "undefined"
    text = partial(_number, percent=percent, signed=signed)
    shown = text(value) + (f"{NO_BREAK}%" if percent else "")
    return shown if low is None or high is None else f"{shown} ({text(low)}{NO_BREAK}to{NO_BREAK}{text(high)})"


def _number(value: float, percent: bool, signed: bool) -> str:
    shown = f"{100 * value:.1f}" if percent else f"{value:.3f}"
    if float(shown) == 0:
        return shown.removeprefix("-")
    return f"+{shown}" if signed and value > 0 else shown.replace("-", MINUS)


def chance(p: float | None) -> str:
    """A p value."""
    if p is None:
        return "undefined"
    return f"under {SMALL_P}" if p < SMALL_P else f"{p:.3f}"


def share(value: float) -> str:
    """A share of one in per cent."""
    return f"{100 * value:.1f}{NO_BREAK}%"


# The weights


def card_table(card: Card) -> list[Row]:
    """What a card says of its weights, a line a fact."""
    fields, data = card.fields, card.fields["training_data"]
    classes = ", ".join(f"{count:,} {name}" for name, count in data["per_class"].items())
    facts = {
        "Network": f"{fields['network']}, {fields['bytes'] / 1e6:.0f} MB",
        "Judges": f"{fields['input']['modality']}, {fields['input']['magnification']}",
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


def choices(recipe: Record) -> list[Row]:
    """A recipe's choices, a line each."""
    rows = []
    for name, value in recipe.items():
        text = ", ".join(f"{key} {inner}" for key, inner in value.items()) if isinstance(value, dict) else str(value)
        rows.append({"Choice": name, "Value": text})
    return rows


def plain_cell(text: str) -> str:
    """Text for a table cell whose Markdown signs are only signs."""
    return re.sub(r"([\\`*_\[\]<>~|$])", r"\\\1", text)


# How often is it wrong


def headline_sentence(record: Record) -> str:
    """The first answer of the page."""
    scores = record["scores"]
    return (
        f"On patients it has not seen ({patients_of(record['data'])}) it reaches an AUC of "
        f"**{figure(scores[NETWORK]['auc'])}** and a balanced accuracy of "
        f"**{figure(scores[NETWORK]['balanced_accuracy'])}**. A linear probe reaches an AUC of "
        f"{figure(scores[PROBE]['auc'])}, colour alone {figure(scores[COLOUR]['auc'])}; its own teacher, a classifier "
        f"half-way up the network, {figure(scores[TEACHER]['auc'])}."
    )


def headline_table(record: Record) -> list[Row]:
    """A row a metric, a column a model."""
    scores = record["scores"]
    return [
        {"": label, **{title: figure(scores[name][metric]) for name, title in MODELS.items()}}
        for metric, label in METRICS.items()
    ]


def models_explained(record: Record) -> list[str]:
    """What each column of the headline table is."""
    return [f"**{title}**: {record['explained'][name]}" for name, title in MODELS.items()]


def cohort_of(record: Record) -> tuple[Cohort, dict[str, Floats]]:
    """Labels and groups of the held-out predictions, and each model's probabilities of malignant (R, N)."""
    probabilities = {name: np.asarray(record["probabilities"][name], dtype=np.float64) for name in MODELS}
    return Cohort.of(record["labels"], record["groups"], probabilities[NETWORK]), probabilities


def roc_lines(record: Record) -> list[Line]:
    """The ROC curve of each model with its band."""
    cohort, probabilities = cohort_of(record)
    return [roc_band(cohort, probabilities[name], title) for name, title in MODELS.items()]


def roc_band(cohort: Cohort, probabilities: Floats, name: str) -> Line:
    """Sensitivity over the share of benign images called malignant, with a pointwise 95 % band over patient groups.

    Each repeat's curve, (R, N) probabilities, is read off at the same false alarms and averaged. Groups are redrawn
    whole, as many of each class as there are.
    """
    wanted = np.linspace(0, 1, GRID)
    draws = np.concatenate([np.ones((1, len(cohort.names))), resampled_groups(cohort)])
    curves = np.mean([_curves(cohort, one, draws, wanted) for one in probabilities], axis=0)
    low, high = np.quantile(curves[1:], [0.025, 0.975], axis=0)
    # Every curve starts at the origin, though it may rise there at once.
    return Line(
        name,
        (0.0, *wanted.tolist()),
        (0.0, *curves[0].tolist()),
        (0.0, *low.tolist()),
        (0.0, *high.tolist()),
    )


def _curves(cohort: Cohort, probability: Floats, draws: Floats, wanted: Floats) -> Floats:
    """Sensitivity at each wanted share of false alarms, for each draw of groups (B, G): (B, wanted)."""
    limits = np.unique(probability)[::-1]
    # Of each group, how many of each class lie at or above each limit: (G, T).
    counts = []
    for label in (0, 1):
        table = np.zeros((len(cohort.names), limits.size))
        inside = cohort.labels == label
        np.add.at(table, (cohort.order[inside], np.searchsorted(-limits, -probability[inside])), 1)
        counts.append(np.cumsum(table, axis=1))
    false_alarms, found = (draws @ table for table in counts)
    false_alarms, found = (np.pad(part / part[:, -1:], ((0, 0), (1, 0))) for part in (false_alarms, found))
    return np.stack([np.interp(wanted, x, y) for x, y in zip(false_alarms, found, strict=True)])


def confusion_table(record: Record) -> list[Row]:
    """What each model calls benign and malignant images; counts are means over the repeats."""
    cohort, probabilities = cohort_of(record)
    rows = []
    for name, title in MODELS.items():
        called = probabilities[name] >= CUT
        for label, truth in enumerate(("benign", "malignant")):
            inside = called[:, cohort.labels == label]
            malignant, total = float(inside.sum() / len(called)), inside.shape[1]
            rows.append(
                {
                    "Model": title if label == 0 else "",
                    "Truth": f"{total} {truth}",
                    "called benign": _counted(total - malignant, total),
                    "called malignant": _counted(malignant, total),
                }
            )
    return rows


def _counted(count: float, total: int) -> str:
    return f"{count:.1f}{NO_BREAK}({share(count / total)})"


@dataclass(frozen=True)
class Patient:
    """One accession group: its class, images, share of them called right and mean probability of malignant."""

    name: str
    malignant: bool
    images: int
    right: float
    probability: float


def patients(record: Record) -> list[Patient]:
    """Every accession group under the network that had not seen it, the worst first."""
    cohort, probabilities = cohort_of(record)
    network = probabilities[NETWORK]
    rows = []
    for number, name in enumerate(cohort.names):
        inside = cohort.order == number
        right = (network[:, inside] >= CUT) == cohort.labels[inside]
        rows.append(
            Patient(
                str(name),
                bool(cohort.labels[inside].any()),
                int(inside.sum()),
                float(right.mean()),
                float(network[:, inside].mean()),
            )
        )
    return sorted(rows, key=lambda patient: (patient.right, patient.name))


def patient_table(rows: list[Patient]) -> list[Row]:
    """The table of `patients`."""
    return [
        {
            "Group": row.name,
            "Class": "malignant" if row.malignant else "benign",
            "Images": str(row.images),
            "Called right": share(row.right),
            "Mean probability of malignant": f"{row.probability:.3f}",
        }
        for row in rows
    ]


def worst_patients(rows: list[Patient]) -> str:
    """One sentence on the groups of which most images are called wrong."""
    wrong = [row for row in rows if row.right < CUT]
    if not wrong:
        return "No group has most of its images called wrong."
    named = ", ".join(f"{row.name} ({'malignant' if row.malignant else 'benign'})" for row in wrong)
    return f"Most images are called wrong of {len(wrong)} of {len(rows)} groups: {named}."


def against_probe(record: Record) -> str:
    """One sentence: how far the network is from the linear probe on the same images."""
    cohort, probabilities = cohort_of(record)
    difference = paired_difference(
        cohort.labels, probabilities[PROBE], probabilities[NETWORK], cohort.groups, metric="auc"
    )
    interval = {"value": difference["difference"], "low": difference["low"], "high": difference["high"]}
    return (
        f"{MODELS[NETWORK]} against the {MODELS[PROBE].lower()}, patient by patient: AUC "
        f"{figure(interval, signed=True)}, p {chance(difference['p'])} (groups swapped at random between the two)."
    )


# What a leak is worth


def protocols_table(record: Record) -> list[Row]:
    """A row for each way of splitting and model; what was not measured has a row that says why."""
    rows = []
    for name, title in SPLITS.items():
        column = record["columns"].get(name)
        if column is None:
            continue
        if "not_measured" in column:
            rows.append({"Split": title, "Model": f"not measured: {plain_cell(column['not_measured'])}"} | _BLANK)
            continue
        known = share(column["leakage"]["share_of_test_pictures"])
        for model, scores in column["scores"].items():
            rows.append(
                {
                    "Split": title,
                    "Model": "DALAResNet50, memorising" if model == MEMORISING else MODELS[model],
                    "Patient known": known,
                    **{METRICS[metric]: figure(scores[metric]) for metric in ("accuracy", "balanced_accuracy", "auc")},
                }
            )
    return rows


_BLANK = {"Patient known": "", "Accuracy": "", "Balanced accuracy": "", "AUC": ""}


def protocols_explained(record: Record) -> list[str]:
    """What each way of splitting is."""
    return [f"**{title}**: {record['explained'][name]}" for name, title in SPLITS.items()]


def leak_sentence(record: Record) -> str:
    """What the leaky split would have claimed, beside what is left of it for new patients."""
    columns = record["columns"]
    if not all("scores" in columns.get(name, {}) for name in (LEAKY, HONEST)):
        return "The comparison is not complete yet."
    leaky, honest = columns[LEAKY]["scores"], columns[HONEST]["scores"][NETWORK]["accuracy"]
    claim = f"Split by image, {MODELS[NETWORK]} would have claimed an accuracy of "
    claim += figure(leaky[NETWORK]["accuracy"], percent=True)
    if MEMORISING in leaky:
        claim += f", and {figure(leaky[MEMORISING]['accuracy'], percent=True)} if trained to memorise"
    return f"{claim}; on new patients it reaches {figure(honest, percent=True)}."


# What is a probability worth


def reliability_points(record: Record, when: str) -> list[Point]:
    """Bins of equal mass, "before" or "after" calibration: share malignant at the mean probability."""
    return [Point(row["mean_probability"], **row["malignant"]) for row in record["reliability"][when]["equal_mass"]]


def reliability_table(record: Record, when: str) -> list[Row]:
    """The numbers of the diagram."""
    return [
        {
            "Probability": f"{row['low']:.3f} to {row['high']:.3f}",
            "Mean": f"{row['mean_probability']:.3f}",
            "Malignant": figure(row["malignant"], percent=True),
            "Images": f"{row['pictures']:.0f}",
            "Groups": str(row["groups"]),
        }
        for row in record["reliability"][when]["equal_mass"]
    ]


def sets_sentence(record: Record) -> str:
    """How often the answer is not sure, and how often the others are right, at the promise that decides the verdict."""
    sets = record["sets"][DECISIVE]
    unsure, right = (figure(sets[name]["by_picture"], percent=True) for name in ("not_sure", "right_when_sure"))
    return (
        f"At its promise of {promise(DECISIVE)} it says *not sure* of {unsure} of such patients' images, and is "
        f"right in {right} of the others."
    )


def scaling_kept(record: Record) -> str:
    """One sentence: whether calibration changed anything."""
    chosen = record["chosen"]
    if chosen == "none":
        return (
            "Before and after are the same here: neither a temperature nor a bias lowered the loss on patients left "
            "out, so none is used."
        )
    fitted = record["candidates"][chosen]
    return f"Kept: {chosen} (temperature {fitted['temperature']:.3f}, bias {fitted['bias']:.3f})."


def candidates_table(record: Record) -> list[Row]:
    """Calibration error, Brier score and log loss of every candidate scaling on groups left out."""
    return [
        {
            "Scaling": f"{name} (kept)" if name == record["chosen"] else name,
            "Calibration error (ECE)": figure(candidate["held_out"]["by_picture"]["ece_equal_width"]),
            "Brier": figure(candidate["held_out"]["by_picture"]["brier"]),
            "Log loss, classes balanced": figure(candidate["held_out"]["balanced"]["log_loss"]),
        }
        for name, candidate in record["candidates"].items()
    ]


PARTS = {"by_picture": "All images", "benign": "Benign patients", "malignant": "Malignant patients"}


def sets_table(sets: Record) -> list[Row]:
    """Coverage and share of "not sure" by promise and kind of patient; share right of the sets of one class, by what
    they say."""
    rows = []
    for alpha, measured in sets.items():
        for part, title in PARTS.items():
            right = measured["right_when_sure"]
            if part == "by_picture":
                sure = figure(right[part], percent=True)
            else:
                sure = f"said {part}: {figure(right[f'when_{part}'], percent=True)}"
            rows.append(
                {
                    "Promise": promise(alpha) if part == "by_picture" else "",
                    "Of": title,
                    "True class in the set": figure(measured["coverage"][part], percent=True),
                    "Not sure": figure(measured["not_sure"][part], percent=True),
                    "Right when sure": sure,
                }
            )
    return rows


def promise(alpha: str) -> str:
    """How a level is called: "90 %" for alpha "0.10"."""
    return f"{100 * (1 - float(alpha)):.0f} %"


# The gate

VERDICTS = {"refuse": "should be refused", "accept": "should pass", "report": "is reported apart"}
KIND, REFUSED = "Images", "Refused"


def gate_table(record: Record, expected: str) -> list[Row]:
    """A row a kind of image of which the same is expected."""
    rows = []
    for kind in record["kinds"]:
        if kind["expected"] == expected:
            reasons = ", ".join(f"{name} {count}" for name, count in kind["by_check"].items())
            rows.append(
                {
                    KIND: plain_cell(f"{kind['name']}: {kind['about']}"),
                    REFUSED: f"{kind['refused']} of {kind['pictures']}",
                    "Share": figure(kind["share"], percent=True),
                    "AUC": f"{kind['auc']:.3f}",
                    "By which check": plain_cell(reasons) or "none",
                    "By distance alone": f"{kind['by_distance_alone']} of {kind['pictures']}",
                }
            )
    return rows


def gate_families(record: Record) -> list[Point]:
    """Share refused: the true patches of patients held out, then every family of other images."""
    rows = [("true patches (accept)", record["true_patches"]), *record["families"].items()]
    return [Point(name, **row["share"]) for name, row in rows]


def gate_lines(record: Record) -> list[Line]:
    """ROC curves of the kinds that should be refused, the hardest first: x true patches refused, y the kind refused."""
    kinds = sorted((kind for kind in record["kinds"] if kind["expected"] == "refuse"), key=lambda kind: kind["auc"])
    return [Line(kind["name"], *(tuple(axis) for axis in zip(*kind["roc"], strict=True))) for kind in kinds]


def gate_sentence(record: Record) -> str:
    """What the gate costs and what it keeps out."""
    true = record["true_patches"]
    said = f"Of true patches of patients held out it refuses {_refused(true)}"
    for family, words in (("no histology", "images that are no histology"), ("not H&E", "patches in other colours")):
        row = record["families"].get(f"{family} (refuse)")
        if row is not None:
            kinds = [kind for kind in record["kinds"] if kind["name"] in row["kinds"]]
            alone = sum(kind["by_distance_alone"] for kind in kinds)
            said += f"; of {words} {_refused(row)} (the distance without the checks: {alone:,})"
    return said + ". The checks were chosen with these images in view."


def _refused(row: Record) -> str:
    return f"{row['refused']:,} of {row['pictures']:,}, {figure(row['share'], percent=True)}"


# Changed images


def robustness_lines(record: Record) -> list[Line]:
    """AUC of the network over the strength of each change, the one that costs most first.

    `changes` holds by name {"unit": text, "levels": [{"level": number, "auc": interval, "balanced_accuracy": interval,
    "shift": interval}]}, levels ascending, and in each level the same for every other of `models` under its name; shift
    is the mean change of the probability of the true class.
    """
    lines = [_auc_line(name, change["levels"]) for name, change in record["changes"].items()]
    return sorted(lines, key=lambda line: min(line.y))


def robustness_beside(record: Record, name: str) -> list[Line]:
    """AUC of the baselines over the strength of one change, without bands."""
    rows = record["changes"][name]["levels"]
    lines = [
        _auc_line(MODELS[model], [{"level": row["level"], **row[model]} for row in rows])
        for model in record["models"][1:]
    ]
    return [replace(line, low=None, high=None) for line in lines]


def _auc_line(name: str, rows: list[Record]) -> Line:
    levels = [row for row in rows if None not in (row["auc"][key] for key in ("value", "low", "high"))]
    axes = [tuple(row["auc"][key] for row in levels) for key in ("value", "low", "high")]
    return Line(name, tuple(row["level"] for row in levels), *axes)


def robustness_sentence(record: Record) -> str:
    """The change that costs most, and those that hardly cost anything, in a sentence."""
    whole = record["unchanged"][NETWORK]["auc"]
    worst = {}
    for name, change in record["changes"].items():
        rows = [row for row in change["levels"] if row["auc"]["value"] is not None]
        worst[name] = min(rows, key=lambda row: row["auc"]["value"])
    name = min(worst, key=lambda one: worst[one]["auc"]["value"])
    row, unit = worst[name], record["changes"][name]["unit"]
    harmless = [one for one, found in worst.items() if found["auc"]["value"] >= whole["value"] - HARMLESS]
    said = (
        f"Of {len(worst)} kinds of change of the image, **{name}** costs most: at {row['level']:g} {unit} the AUC is "
        f"**{figure(row['auc'])}** instead of {figure(whole)}."
    )
    return f"{said} Hardly any at the strengths tried: {', '.join(harmless)}." if harmless else said


def robustness_words(record: Record, name: str) -> tuple[str, str]:
    """What the strength of a change is measured in, and what is changed."""
    change = record["changes"][name]
    return str(change["unit"]), str(change["about"])


def robustness_table(record: Record) -> list[Row]:
    """Every change and strength with its scores and the shift of the probability."""
    return [
        {
            "Change": plain_cell(name),
            "Strength": f"{row['level']:g} {change['unit']}",
            **{METRICS[metric]: figure(row[metric]) for metric in ("auc", "balanced_accuracy")},
            "Shift of the probability": figure(row["shift"], signed=True),
            **{f"AUC, {MODELS[model].lower()}": figure(row[model]["auc"]) for model in record["models"][1:]},
        }
        for name, change in record["changes"].items()
        for row in change["levels"]
    ]


def originals_table(record: Record) -> list[Row]:
    """The published images at every magnification: how many each model calls right, and its AUC where defined."""

    def cell(found: Record, images: int) -> str:
        auc = "" if found["auc"] is None else f", AUC {found['auc']:.3f}"
        return f"{found['right']} of {images}{auc}"

    return [
        {
            "Magnification": f"{row['magnification']}X",
            "Images, patients": f"{row['pictures']} of {row['groups']}, {row['benign']} benign",
            **{f"{MODELS[model]}, right": cell(row[model], row["pictures"]) for model in record["models"]},
        }
        for row in record["originals"]
    ]


# Networks side by side


def variants_table(record: Record) -> list[Row]:
    """Every variant of the ablation with its scores."""
    return [
        {
            "Network": row["title"],
            **{METRICS[metric]: figure(row["scores"][metric]) for metric in ("auc", "balanced_accuracy", "brier")},
        }
        for row in record["variants"].values()
    ]


def comparisons_table(record: Record) -> list[Row]:
    """Every paired comparison of the ablation: differences with intervals, p values corrected for their number."""
    titles = {name: row["title"] for name, row in record["variants"].items()}
    return [
        {
            "Network": titles[row["variant"]],
            "against": titles[row["against"]],
            "AUC": figure(row["metrics"]["auc"], signed=True),
            "Balanced accuracy": figure(row["metrics"]["balanced_accuracy"], signed=True),
            "p, images right": chance(row["tests"]["correct"]["p_holm"]),
            "p, Brier": chance(row["tests"]["brier"]["p_holm"]),
        }
        for row in record["comparisons"]
    ]


def comparison_points(record: Record) -> list[Point]:
    """AUC differences of the paired comparisons."""
    titles = {name: row["title"] for name, row in record["variants"].items()}
    return [
        Point(f"{titles[row['variant']]} {MINUS} {titles[row['against']]}", **row["metrics"]["auc"])
        for row in record["comparisons"]
    ]


def parts_verdict(record: Record) -> str:
    """One sentence: which comparisons differ clearly, by the smaller corrected p value of the two tests."""
    titles = {name: row["title"] for name, row in record["variants"].items()}
    if not record["comparisons"]:
        return "No two networks have been compared yet."
    clear = []
    smallest = min(test["p_holm"] for row in record["comparisons"] for test in row["tests"].values())
    for row in record["comparisons"]:
        for measure, words in (("correct", "images called right"), ("brier", "squared error")):
            test = row["tests"][measure]
            if test["p_holm"] < CLEAR:
                better = (test["difference"] > 0) == (measure == "correct")
                clear.append(
                    f"{titles[row['variant']]} is {'better' if better else 'worse'} than {titles[row['against']]} in "
                    f"{words} (p {chance(test['p_holm'])})"
                )
    if not clear:
        return (
            "No part makes a difference that these patients could show: the smallest corrected p value is "
            f"{chance(smallest)}."
        )
    return "; ".join(clear) + f". The other comparisons show no clear difference (corrected p at least {CLEAR})."


def full_networks(record: Record) -> dict[str, Record]:
    """The rows of the benchmark that were measured in full and may be compared."""
    return {name: row for name, row in record["networks"].items() if row["budget"] == "full"}


def checked_networks(record: Record) -> dict[str, Record]:
    """The rows that only prove that the pipeline runs."""
    return {name: row for name, row in record["networks"].items() if row["budget"] != "full"}


def networks_table(rows: dict[str, Record]) -> list[Row]:
    """Start and cost of the networks of a benchmark."""
    table = []
    for row in rows.values():
        cost = row["cost"]
        table.append(
            {
                "Network": row["title"],
                "Start": row["initialisation"],
                "Parameters": f"{cost['parameters'] / 1e6:.1f} M",
                "GFLOPs": f"{cost['gflops']:.1f}",
                "ms an image": f"{cost['milliseconds']:.0f} at {cost['side']} px",
            }
        )
    return table


def network_scores(rows: dict[str, Record]) -> list[Row]:
    """Every metric of the networks of a benchmark."""
    return [
        {"Network": row["title"], **{label: figure(row["scores"][metric]) for metric, label in METRICS.items()}}
        for row in rows.values()
    ]


def network_points(rows: dict[str, Record]) -> list[Point]:
    """AUC of each network."""
    return [
        Point(row["title"], **row["scores"]["auc"])
        for row in rows.values()
        if row["scores"]["auc"]["value"] is not None
    ]


# Mammograms


def letters_table(record: Record) -> list[Row]:
    """AUC of every model over all films, by scanner letter and by case."""
    columns = {"All": record["scores"]}
    columns |= {f"Scanner {letter}": scores for letter, scores in record["scores_by_letter"].items()}
    columns["By case"] = record["scores_by_case"]
    return [
        {"AUC of": film_title(name), **{title: figure(scores[name]["auc"]) for title, scores in columns.items()}}
        for name in record["scores"]
    ]


def film_points(record: Record) -> list[Point]:
    """AUC of every model over all films."""
    return [Point(film_title(name), **scores["auc"]) for name, scores in record["scores"].items()]


def films_table(record: Record) -> list[Row]:
    """Every metric of the network and its three baselines, over all films."""
    names = [name for name in FILM_BASELINES if name in record["scores"]]
    return [
        {"": label, **{film_title(name): figure(record["scores"][name][metric]) for name in names}}
        for metric, label in METRICS.items()
    ]


def films_explained(record: Record) -> list[str]:
    """What each row of the table is."""
    return [f"**{film_title(name)}**: {words}" for name, words in record["explained"].items()]


def film_title(name: str) -> str:
    """A model of the mammograms in words."""
    return FILM_MODELS.get(name, name.replace("_", " "))


def naive_table(record: Record) -> list[Row]:
    """What naive splits into three classes would have claimed, and what is left of it."""
    return [
        {
            "The model sees": row["input"],
            "Scanners": row["letters"],
            "Split": row["split"],
            "Accuracy": share(row["accuracy"]),
            "Largest class": share(row["largest_class"]),
            "AUC": figure({"value": row["auc"], "low": None, "high": None}),
            "Images": f"{row['pictures']:,}",
        }
        for row in record["naive_three_classes"]["table"]
    ]


# Charts as tables


def points_table(
    points: list[Point], name: str, value: str, *, percent: bool = False, signed: bool = False
) -> list[Row]:
    """The numbers of a chart of points."""
    return [
        {
            name: plain_cell(str(point.place)),
            value: figure({"value": point.value, "low": point.low, "high": point.high}, percent=percent, signed=signed),
        }
        for point in points
    ]


def lines_table(lines: list[Line], x: str, steps: int = 10) -> list[Row]:
    """The numbers of a chart of curves at some of their places; every place if there are no more than `steps`."""
    places = sorted(set(chain.from_iterable(line.x for line in lines)))
    if len(places) > steps:
        places = np.linspace(places[0], places[-1], steps + 1).tolist()
    rows = []
    for place in places:
        row = {x: f"{place:g}"}
        for line in lines:
            row[line.name] = figure(
                {
                    "value": float(np.interp(place, line.x, line.y)),
                    "low": None if line.low is None else float(np.interp(place, line.x, line.low)),
                    "high": None if line.high is None else float(np.interp(place, line.x, line.high)),
                }
            )
        rows.append(row)
    return rows
