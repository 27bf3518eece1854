"""Do the faster engines give the same verdicts? Every engine beside torch on images of held-out patients.

dala engines breakhis --data ROOT [--unserved]
dala engines breast --data ROOT
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dala.errors import EngineError
from dala.studies.blocks import Block, Row, Table
from dala.studies.options import add_runs
from dala.studies.record import IMAGES, Data, Record, Result
from dala.studies.study import Study, Verb
from dala.terminal import Progress, progress

if TYPE_CHECKING:
    from dala.runtime.predict import Model, Prediction
    from dala.training.tasks.breakhis import BreakHis


@dataclass(frozen=True, kw_only=True)
class Differences(Record):
    """Absolute differences of the probability from torch's."""

    mean: float
    percentile_99: float
    largest: float


@dataclass(frozen=True, kw_only=True)
class Changed(Record):
    """How many images have another label, another set, another gate than with torch."""

    label: int
    set: int
    gate: int


@dataclass(frozen=True, kw_only=True)
class Correlation(Record):
    """Correlation of the maps with torch's, image by image."""

    smallest: float
    median: float


@dataclass(frozen=True, kw_only=True)
class Compared(Record):
    """One engine beside torch."""

    images: int = field(metadata=IMAGES)
    probability: Differences
    changed: Changed
    map_correlation: Correlation


@dataclass(frozen=True, kw_only=True)
class Limits(Record):
    """What an engine that is served must keep: differences at most, correlation of the maps at least."""

    largest: float
    percentile_99: float
    map_correlation: float


@dataclass(frozen=True, kw_only=True)
class Parity(Result):
    """Every engine beside torch in float32, and those that could not run here, with the reason."""

    weights_sha256: str
    recipe: dict[str, Any]
    data: Data
    limits: Limits
    engines: dict[str, Compared]
    left_out: dict[str, str]


OF_A_LABORATORY = 40
LIMITS = Limits(largest=0.01, percentile_99=0.02, map_correlation=0.99)

# Measuring


@dataclass(frozen=True, eq=False)
class Answer:
    """What an engine said of one image: probability of malignant, the default set, the gate and the map."""

    probability: float
    left: tuple[str, ...]
    inside: bool
    map: NDArray[np.float32]


def measure(
    task: BreakHis,
    model: Model,
    runs: Path,
    names: Sequence[str],
    update: Progress = lambda done, total: None,
) -> Parity:
    """Analyse every image by the network of the fold that has not seen its patient, on torch and on every engine.

    `model` gives card, calibration and gate. An engine that cannot run on this machine is left out, with its reason.
    """
    from dala.intake.image import read_image
    from dala.runtime.engines import Engine, choose_engine
    from dala.runtime.predict import Model, predict
    from dala.studies.held_out import FOLDS
    from dala.studies.unserved import INT8, PLAIN16, quantised, rounded, shown
    from dala.training.cross_validation import kept_networks
    from dala.training.task import folds_of

    reference: dict[int, Answer] = {}
    found: dict[str, dict[int, Answer]] = {name: {} for name in names}
    left_out: dict[str, str] = {}
    done, paths = 0, [record.path for record in task.records]
    for net, fold in zip(kept_networks(task, runs, FOLDS), folds_of(task, FOLDS, 1), strict=True):
        engines: dict[str, Engine] = {"torch": choose_engine(net, None, "torch")}
        for name in names:
            try:
                if name == INT8:
                    engines[name] = quantised(net, shown([paths[one] for one in fold.training], model.card))
                else:
                    engines[name] = rounded(net) if name == PLAIN16 else choose_engine(net, None, name)
            except EngineError as error:
                left_out[name] = str(error)
        for index in fold.test.tolist():
            patch = read_image(paths[index])
            for name, engine in engines.items():
                said = answer(predict(patch, Model(net, model.card, model.familiarity, engine)), model)
                (reference if name == "torch" else found[name])[index] = said
            done += 1
            update(done, len(paths))
    return Parity(
        protocol=f"every image analysed by the network of the fold ({FOLDS} folds by accession number, the first "
        "repeat of the cross-validation) that has not seen its patient, with the card's calibration and gate, on torch "
        "in float32 and on each engine; differences are engine minus torch",
        command=STUDY.command + (" --unserved" if INT8 in names else ""),
        weights_sha256=model.card.fields["sha256"],
        recipe=task.recipe.record,
        data=Data.from_json(task.described()),
        limits=LIMITS,
        engines={name: compared(reference, rows) for name, rows in found.items() if rows},
        left_out=left_out,
    )


def measure_shipped(
    root: Path, model: Model, names: Sequence[str], update: Progress = lambda done, total: None
) -> Parity:
    """Analyse images of every laboratory by the shipped weights at their physical scale, on torch and every engine.

    At most `OF_A_LABORATORY` images of a laboratory, evenly among its files.
    """
    from dala.intake.image import read_image
    from dala.runtime.engines import Engine, choose_engine
    from dala.runtime.predict import Model, predict
    from dala.training.laboratories.sources import TESTED, TRAINED, items_of

    items = []
    for source in (*TRAINED, *TESTED):
        own = items_of(root, [source])
        items += [own[k] for k in np.unique(np.linspace(0, len(own) - 1, OF_A_LABORATORY).astype(int))]
    engines: dict[str, Engine] = {"torch": choose_engine(model.net, None, "torch")}
    left_out: dict[str, str] = {}
    for name in names:
        try:
            engines[name] = choose_engine(model.net, None, name)
        except EngineError as error:
            left_out[name] = str(error)
    found: dict[str, dict[int, Answer]] = {name: {} for name in engines}
    for index, item in enumerate(items):
        bare = read_image(item.path)
        patch = read_image(item.path, pixel_size_um=item.pixel_size(item.record, bare.width, bare.height))
        for name, engine in engines.items():
            said = predict(patch, Model(model.net, model.card, model.familiarity, engine))
            found[name][index] = answer(said, model)
        update(index + 1, len(items))
    reference = found.pop("torch")
    return Parity(
        protocol=f"at most {OF_A_LABORATORY} images of each laboratory at its physical scale, by the shipped weights, "
        "which have seen most of them: about arithmetic, not about patients; differences are engine minus torch in "
        "float32",
        command=BREAST.command,
        weights_sha256=model.card.fields["sha256"],
        recipe=model.card.fields["recipe"],
        data=Data(images=len(items), groups=len({item.group for item in items})),
        limits=LIMITS,
        engines={name: compared(reference, rows) for name, rows in found.items()},
        left_out=left_out,
    )


def answer(prediction: Prediction, model: Model) -> Answer:
    """The part of a prediction that engines must agree in."""
    from dala.gate import assess
    from dala.opinion import evidence_maps

    gate = assess(prediction.views.for_gate, prediction.pooled, model.card.modality, model.familiarity)
    known = prediction.calibration
    left: tuple[str, ...] = (prediction.label,)
    if known is not None:
        left = known.set_of(prediction.probabilities, laboratory=gate.laboratory).classes
    positive = prediction.classes[1]
    return Answer(float(prediction.probabilities[1]), left, gate.inside, evidence_maps(prediction)[positive].values)


def compared(reference: Mapping[int, Answer], rows: Mapping[int, Answer]) -> Compared:
    """Differences in probability, changed verdicts, sets and gates, and correlations of the maps."""
    pairs = [(reference[place], rows[place]) for place in sorted(reference)]
    change = np.abs([b.probability - a.probability for a, b in pairs])
    correlation = np.array([np.corrcoef(a.map.ravel(), b.map.ravel())[0, 1] for a, b in pairs])

    def changed(what: Callable[[Answer], object]) -> int:
        return sum(what(a) != what(b) for a, b in pairs)

    return Compared(
        images=len(pairs),
        probability=Differences(
            mean=float(change.mean()),
            percentile_99=float(np.percentile(change, 99)),
            largest=float(change.max()),
        ),
        changed=Changed(
            label=changed(lambda said: said.probability >= 0.5),
            set=changed(lambda said: said.left),
            gate=changed(lambda said: said.inside),
        ),
        map_correlation=Correlation(smallest=float(correlation.min()), median=float(np.median(correlation))),
    )


# The command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_common(parser)
    parser.add_argument(
        "--unserved",
        action="store_true",
        help="also what is measured only and not served: bfloat16 throughout, and eight bits, which needs NNCF",
    )
    add_runs(parser, "where crossvalidate kept the folds")


def add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="ROOT")
    parser.add_argument("--evidence", type=Path, default=Path("evidence"), metavar="DIR")


def run(options: argparse.Namespace) -> int:
    from dala.runtime.engines import ENGINES
    from dala.runtime.predict import load_model
    from dala.studies.unserved import UNSERVED
    from dala.training.tasks import breakhis

    names = tuple(name for name in ENGINES if name != "torch") + (UNSERVED if options.unserved else ())
    record = measure(breakhis.load(options.data), load_model("breakhis"), options.runs, names, progress("engines"))
    return _written(STUDY, record, options.evidence)


def run_breast(options: argparse.Namespace) -> int:
    from dala.runtime.engines import ENGINES
    from dala.runtime.predict import load_model

    names = tuple(name for name in ENGINES if name != "torch")
    record = measure_shipped(options.data, load_model("breast"), names, progress("engines"))
    return _written(BREAST, record, options.evidence)


def _written(study: Study[Parity], record: Parity, folder: Path) -> int:
    path = folder / study.file
    study.write(record, path)
    print(record.protocol)
    for name, row in record.engines.items():
        moved, changed = row.probability, row.changed
        print(
            f"{name:24s} |dp| mean {moved.mean:.5f}, 99th percentile {moved.percentile_99:.4f}, largest "
            f"{moved.largest:.4f}; of {row.images}: {changed.label} labels, {changed.set} sets, {changed.gate} gates "
            f"changed; map correlation at least {row.map_correlation.smallest:.4f}"
        )
    for name, reason in record.left_out.items():
        print(f"{name} was left out. {reason}")
    print(f"written to {path}")
    return 0


# The page


def table(record: Parity) -> list[Row]:
    """A row an engine: differences from torch."""
    return [
        {
            "Engine": name,
            "Probability moves by, mean": f"{one.probability.mean:.3f}",
            "at most": f"{one.probability.largest:.3f}",
            "Labels changed": f"{one.changed.label} of {one.images}",
            "Sets changed": str(one.changed.set),
            "Gate changed": str(one.changed.gate),
            "Map correlation, smallest": f"{one.map_correlation.smallest:.3f}",
        }
        for name, one in record.engines.items()
    ]


def section(record: Parity) -> list[Block]:
    """The table of all engines."""
    return [Table(table(record), "Engines beside torch in full precision")]


STUDY = Study(
    "engines",
    "engines_breakhis.json",
    Parity,
    "breakhis",
    "dala engines breakhis --data ROOT",
    part="Speed and load",
    title="Engines",
    question="Does the faster arithmetic of this machine give the same verdicts as the exact one?",
    section=section,
    verb=Verb(
        "engines",
        "breakhis",
        "analyse images of held-out patients on every engine of this machine beside torch: probabilities, verdicts, "
        "sets, gate and maps (8 minutes on two cores after crossvalidate)",
        add_arguments,
        run,
    ),
)
BREAST = Study(
    "engines_breast",
    "engines_breast.json",
    Parity,
    "breast",
    "dala engines breast --data ROOT",
    part="Speed and load",
    title="Engines at physical scale",
    question="And for the weights of several laboratories, whose images differ in size?",
    section=section,
    verb=Verb(
        "engines",
        "breast",
        "analyse images of every laboratory on every engine of this machine beside torch (4 minutes)",
        add_common,
        run_breast,
    ),
)
