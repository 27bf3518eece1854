"""Would another network do better? Nine networks by one recipe on the same grouped folds; a row as it gets done.

    dala benchmark breakhis --data ROOT                   a machine with internet, best with a GPU
    dala benchmark breakhis --data ROOT --budget check    anywhere: random starts, one fold

The recipe is that of the shipped weights, read for any network: trunk frozen, last stage fine-tuned slowly, head begun
as a linear classifier; the ResNet50 family's is the student of its teacher, which is half a ResNet50. A network of
another make might do better by a recipe of its own; that is not measured here.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dala.errors import BackboneError
from dala.stats.bootstrap import Interval
from dala.stats.metrics import binary_intervals
from dala.studies.blocks import Block, Box, Caption, Point, Row, Table, Text, interval_chart, numbers, point, sentence
from dala.studies.names import METRICS
from dala.studies.options import add_training
from dala.studies.record import Data, Record, Result
from dala.studies.study import Study, Verb
from dala.terminal import WrongCall, complain, table
from dala.words import counted, figure

if TYPE_CHECKING:
    from dala.data.pixels import Images
    from dala.nets.staged import StagedNetwork
    from dala.training.registry import Entry
    from dala.training.tasks.breakhis import BreakHis

Budget = Literal["full", "check"]
CHECK = "pipeline check, no comparison"
CHECK_SIDE = 112

COMPARED = (
    "every network by the same recipe (trunk frozen, last stage fine-tuned, head begun as a linear classifier, in the "
    "ResNet50 family as its teacher's student) on the same folds by accession number; 95 % intervals: bootstrap over "
    "accession groups"
)


@dataclass(frozen=True, kw_only=True)
class Cost(Record):
    """Of one image of `side` pixels: parameters, billions of multiply-adds, and median milliseconds on a device."""

    side: int
    parameters: int
    gflops: float
    milliseconds: float
    device: str
    threads: int


@dataclass(frozen=True, kw_only=True)
class Network(Record):
    """One network: how it was started, trained and tested, what it costs, and what it scores."""

    title: str
    budget: str
    protocol: str
    command: str
    initialisation: str
    side: int
    cost: Cost
    minutes: float
    scores: dict[str, Interval]

    @property
    def full(self) -> bool:
        """Whether it was measured in full and may be compared."""
        return self.budget == "full"


@dataclass(frozen=True, kw_only=True)
class Benchmark(Result):
    """The networks that are done, by their names in the registry."""

    data: Data
    recipe: dict[str, Any]
    explained: dict[str, str]
    networks: dict[str, Network]


# Measuring


def measure(
    task: BreakHis,
    names: Sequence[str],
    backbone_source: str,
    runs: Path,
    path: Path,
    folds: int,
    repeats: int,
    budget: Budget,
) -> dict[str, str]:
    """Write a row for each named network into `path`; returns what could not be started, with the reason.

    `budget` "full": pretrained start, every fold. "check": random start, images of 112 pixels, the first fold only;
    such a row is marked, and never replaces a full one. Rows of another recipe or other images are dropped.
    """
    from dala.training.registry import ENTRIES, NETWORKS

    record = Benchmark(
        protocol=COMPARED,
        command=f"{STUDY.command} --networks all",
        data=Data.from_json(task.described()),
        recipe=task.recipe.record,
        explained={
            "initialisation": "what the network started from",
            "gflops": "billions of multiply-adds of one image at `cost.side`, which papers call GFLOPs",
            "milliseconds": "one image at `cost.side`, float32, median; on the named device",
            "minutes": "training and testing of all folds, features of the trunk not counted",
        },
        networks={},
    )
    if path.is_file():
        earlier = STUDY.load(path)
        if (earlier.data, earlier.recipe) == (record.data, record.recipe):
            record = replace(record, networks=earlier.networks)
    images = task.tiles().pixels
    refused = {}
    for name in names:
        kept = record.networks.get(name)
        if budget == "check" and kept is not None and kept.full:
            continue
        try:
            row = row_of(NETWORKS[name], task, images, backbone_source, runs, folds, repeats, full=budget == "full")
        except BackboneError as error:
            refused[name] = str(error)
            continue
        rows = record.networks | {name: row}
        record = replace(record, networks={entry.name: rows[entry.name] for entry in ENTRIES if entry.name in rows})
        STUDY.write(record, path)
    return refused


def row_of(
    entry: Entry, task: BreakHis, images: Images, source: str, runs: Path, folds: int, repeats: int, *, full: bool
) -> Network:
    """Train and score one network. Raises BackboneError where its weights cannot be had."""
    import torch

    from dala.training.backbone import load_backbone
    from dala.training.baselines import Settings
    from dala.training.cross_validation import held_out, network_folder
    from dala.training.features import trunk_features, views_through
    from dala.training.task import folds_of

    recipe, folder = task.recipe, task.folder(runs)
    splits = folds_of(task, folds, repeats if full else 1)
    splits = splits if full else splits[:1]
    used = recipe if full else dataclasses.replace(recipe, enlarged=CHECK_SIDE, geometric_views=0, stained_views=0)
    if not (full and entry.family):  # the teacher is half a ResNet50, no part of another network
        used = dataclasses.replace(used, teacher=0)
    used = dataclasses.replace(used, enlarged=entry.side(used.enlarged))
    backbone = load_backbone(source) if full and entry.family else None
    settings = Settings(len(task.classes), used.enlarged, recipe.dropout, full)
    words = entry.pretrained if full else "random"

    def make(seed: int) -> StagedNetwork:
        # The trunk of a random start must be the one that made the features, whatever the fold.
        torch.manual_seed(seed if full else 0)
        return entry.start(settings, backbone)[0]

    if backbone is not None:
        words, place = f"{words}, from {backbone.source}", network_folder(folder, backbone, entry.name)
        features = trunk_features(images, backbone, recipe, folder)
    else:
        place = folder / f"{entry.name}-{'pretrained' if full else 'random'}-{used.fingerprint}"
        features = views_through(make(0).trunk, images, used, used.training_views, place)
    found = held_out(make, features, task, used, place, splits)
    tested = np.isfinite(found.probabilities).all(0)
    labels, groups = task.labels[tested], task.groups[tested]
    divided = f"{counted(folds, 'fold')}, {counted(repeats, 'repeat')}"
    return Network(
        title=entry.title,
        budget="full" if full else CHECK,
        protocol=f"grouped cross-validation by accession number, {divided}"
        if full
        else f"{CHECK}: random start, {used.enlarged} pixels, trained on the first of {folds} grouped folds, tested "
        f"on its {counted(int(tested.sum()), 'image')} of {counted(len(set(groups)), 'accession group')}",
        command=f"{STUDY.command} --networks {entry.name} --folds {folds} "
        + (f"--repeats {repeats}" if full else "--budget check"),
        initialisation=words,
        side=used.enlarged,
        cost=cost_of(entry, entry.side(recipe.enlarged)),
        minutes=round(found.minutes, 1),
        scores=binary_intervals(labels, found.probabilities[:, tested], groups),
    )


# The command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_training(parser)
    parser.add_argument("--networks", default="all", metavar="all|NAME,NAME", help="names of the registry")
    parser.add_argument(
        "--budget",
        choices=["full", "check"],
        default="full",
        help="full: pretrained start, all folds; check: random start, small images, one fold, no comparison",
    )


def run(options: argparse.Namespace) -> int:
    from dala.training.registry import NETWORKS
    from dala.training.tasks import breakhis

    names = tuple(NETWORKS) if options.networks == "all" else tuple(options.networks.split(","))
    unknown = [name for name in names if name not in NETWORKS]
    if unknown:
        raise WrongCall(f"--networks knows {', '.join(NETWORKS)}, not {unknown[0]}.")
    task = breakhis.load(options.data, options.magnification)
    path = options.evidence or Path("evidence") / f"benchmark_{task.name}.json"
    refused = measure(task, names, options.backbone, options.runs, path, options.folds, options.repeats, options.budget)
    for name, reason in refused.items():
        complain(f"{name} was left out. {reason}")
    if len(refused) < len(names):
        rows = {name: row for name, row in STUDY.load(path).networks.items() if name in names}
        print(table({name: row.scores for name, row in rows.items()}))
        for name, row in rows.items():
            print(
                f"{name}: {row.budget}, {row.initialisation}; {row.cost.parameters:,} parameters, "
                f"{row.cost.gflops} GFLOPs, {row.cost.milliseconds} ms at {row.cost.side} px"
            )
        print(f"written to {path}")
    return 1 if refused else 0


# The page


def networks_table(rows: Sequence[Network]) -> list[Row]:
    """Start and cost of networks."""
    return [
        {
            "Network": row.title,
            "Start": row.initialisation,
            "Parameters": f"{row.cost.parameters / 1e6:.1f} M",
            "GFLOPs": f"{row.cost.gflops:.1f}",
            "ms an image": f"{row.cost.milliseconds:.0f} at {row.cost.side} px",
        }
        for row in rows
    ]


def scores_table(rows: Sequence[Network]) -> list[Row]:
    """Every metric of networks."""
    return [
        {"Network": row.title, **{label: figure(row.scores[metric]) for metric, label in METRICS.items()}}
        for row in rows
    ]


def points(rows: Sequence[Network]) -> list[Point]:
    """AUC of each network."""
    return [point(row.title, row.scores["auc"]) for row in rows if row.scores["auc"]["value"] is not None]


def section(record: Benchmark) -> list[Block]:
    """The networks that may be compared, and apart from them those that only prove that the pipeline runs."""
    full, checked = ([row for row in record.networks.values() if row.full is whole] for whole in (True, False))
    blocks: list[Block] = []
    if full:
        blocks += [
            interval_chart(points(full), "AUC", "benchmark"),
            Text("Where two intervals overlap, nothing is said of which network is better."),
            Table(networks_table(full), "Networks measured in full"),
            numbers("Every score of these networks", scores_table(full)),
        ]
    if checked:
        blocks.append(
            Box(
                (
                    Text(
                        "**Pipeline check, no comparison.** These networks started at random and saw small images and "
                        "one fold: the rows prove that the code runs, and say nothing of how good the networks are."
                    ),
                    Table(networks_table(checked), "Pipeline checks"),
                    numbers("What the check scored, which compares nothing", scores_table(checked)),
                    *(Caption(sentence(told)) for told in sorted({row.protocol for row in checked})),
                    Caption(f"In full, where pretrained weights can be had: `{STUDY.command} --networks all`"),
                )
            )
        )
    return blocks


STUDY = Study(
    "benchmark",
    "benchmark_breakhis_200x.json",
    Benchmark,
    "breakhis",
    "dala benchmark breakhis --data ROOT",
    part="Networks and parts",
    title="Other networks",
    question="Would another network do better on the same folds?",
    section=section,
    verb=Verb(
        "benchmark",
        "breakhis",
        "nine networks by one recipe on the same grouped folds, a row a network in evidence/benchmark_*.json; resumes",
        add_arguments,
        run,
    ),
)


def cost_of(entry: Entry, side: int, runs: int = 7) -> Cost:
    """Measure a network with two classes at one side: a forward pass of one image in float32, median of `runs`.

    Multiply-adds are those of convolutions and matrix products, as torch's counter counts them, each as two. It does
    not see into fused attention, which is therefore taken apart while it counts.
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from dala.training.baselines import Settings

    net, _ = entry.start(Settings(side=side))
    x = torch.zeros(1, 3, side, side)
    with torch.no_grad():
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            net(x)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        net, x = net.to(device), x.to(device)
        net(x)
        seconds = []
        for _ in range(runs):
            started = time.perf_counter()
            net(x).cpu()
            seconds.append(time.perf_counter() - started)
    return Cost(
        side=side,
        parameters=sum(parameter.numel() for parameter in net.parameters()),
        gflops=round(counter.get_total_flops() / 2e9, 3),
        milliseconds=round(1000 * statistics.median(seconds), 1),
        device=torch.cuda.get_device_name() if device.type == "cuda" else "CPU",
        threads=torch.get_num_threads(),
    )
