"""Do the maps lie on lesions? Every map and rule against masks: lymph nodes, BACH part B, drawn phantoms.

    dala localisation --data DIR [--score-cam N]

DIR holds `camelyon_tiles` and `bach_part_b`, images NAME.jpg beside NAME_mask.png (0: unmarked). Every map is the
shipped network's, towards malignant, whatever the verdict, brought to 320 x 320 (the network's input) and compared with
the mask there. pytorch-grad-cam's methods are used as it documents them; beside them stand maps that ask no network.
The rules' parameters are chosen on every second image and scored on the others. ScoreCAM takes some two minutes an
image and is run on N of each set of tissue, evenly spread; its maps are kept, so that a stopped run goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from dala.stats.bootstrap import Interval
from dala.studies.blocks import Block, Chart, Line, Point, Row, Table, Text, interval_chart, numbers, point
from dala.studies.maps import GRADCAM, METHODS, RANDOM, SCORE_CAM, STAIN, STEADY, in_order, only
from dala.studies.options import add_runs
from dala.studies.record import IMAGES, Record, Result
from dala.studies.study import Study, Verb
from dala.terminal import at_least
from dala.words import counted, figure, share

SETS = {
    "bach_part_b": "Breast: BACH part B, one slide",
    "camelyon": "Lymph node: CAMELYON",
    "phantoms": "Drawn phantoms",
}
BREAST = "bach_part_b"
RULES = {
    "mean_std": "Mean + k standard deviations",
    "evidence": "Share of the evidence",
    "otsu": "Otsu",
    "percentile": "Percentile of the image",
    "fixed": "Fraction of the maximum",
}


@dataclass(frozen=True, kw_only=True)
class Setting(Record):
    """A rule at one parameter, mean over the images: overlap, share of the kept on the lesion, share kept."""

    parameter: float
    iou: float
    precision: float
    kept: float


@dataclass(frozen=True, kw_only=True)
class Rule(Record):
    """A rule at its default, and at the parameter that every second image chose, on the others."""

    default: float
    iou_at_default: Interval
    precision_at_default: Interval
    kept_at_default: float
    chosen: float
    iou_at_chosen: Interval
    curve: tuple[Setting, ...]


@dataclass(frozen=True, kw_only=True)
class Method(Record):
    """A map against the masks; ScoreCAM, of a part of the images, beside Grad-CAM on the same."""

    images: int = field(metadata=IMAGES)
    pointing_game: Interval
    precision_recall: Interval
    rules: dict[str, Rule]
    gradcam_on_the_same: Interval | None = None
    more_than_gradcam: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class Masked(Record):
    """A set of images with masks, the whole images that they were cut from, and every map on them."""

    images: int = field(metadata=IMAGES)
    parents: int
    called_malignant: float
    mask_cover: float
    methods: dict[str, Method]
    everything_marked: Interval


@dataclass(frozen=True, kw_only=True)
class Localisation(Result):
    """The sets that are done, and on which engine ScoreCAM's passes ran."""

    score_cam_on: tuple[str, ...]
    weights_sha256: str
    sets: dict[str, Masked]


# The command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="holds camelyon_tiles and bach_part_b")
    parser.add_argument(
        "--score-cam", type=at_least(0), default=0, metavar="N", help="images of each set that ScoreCAM is run on"
    )
    add_runs(parser, "ScoreCAM's maps, which take two minutes each")
    parser.add_argument("--evidence", type=Path, default=Path(STUDY.path), metavar="FILE")


def run(options: argparse.Namespace) -> int:
    from dala.runtime.predict import load_model
    from dala.studies.lesions import COVER, CROP, Case, cases, drawn, masked

    model = load_model("breakhis")
    sets: dict[str, Callable[[], list[Case]]] = {
        "camelyon": lambda: cases(options.data / "camelyon_tiles", None),
        "bach_part_b": lambda: cases(options.data / "bach_part_b", CROP),
        "phantoms": drawn,
    }
    key = str(model.card.fields["sha256"])
    record = Localisation(
        protocol="raw signed maps of the shipped weights towards malignant against masks at 320 x 320; "
        f"images whose mask covers {COVER[0]:.0%} to {COVER[1]:.0%}; a rule's parameter is chosen on every second "
        "image and scored on the others; 95 % intervals: bootstrap over the images that crops were cut from",
        command=STUDY.command + (f" --score-cam {options.score_cam}" if options.score_cam else ""),
        score_cam_on=(model.runs_on.name,) if options.score_cam else (),
        weights_sha256=key,
        sets={},
    )
    for name, make in sets.items():
        found = masked(name, make(), model, options.score_cam, options.runs / f"score-cam-{key[:8]}")
        record = replace(record, sets=record.sets | {name: found})
        STUDY.write(record, options.evidence)
        for method, row in found.methods.items():
            print(
                f"{name:12s} {method:28s} pointing {figure(row.pointing_game)}",
                f"  precision {figure(row.precision_recall)}",
                *(f"  {rule} {figure(one.iou_at_default)}" for rule, one in row.rules.items()),
            )
    print(f"written to {options.evidence}")
    return 0


# The page


def table(record: Localisation) -> list[Row]:
    """A row a method: pointing game and average precision on every set."""
    rows = []
    for method in in_order({name: name for one in record.sets.values() for name in one.methods}):
        row = {"Map": METHODS[method]}
        for name, title in SETS.items():
            found = record.sets[name].methods.get(method)
            told = "" if found is None else only(found.images, record.sets[name].images)
            row[f"{title}: strongest point"] = "" if found is None else figure(found.pointing_game) + told
            row[f"{title}: precision"] = "" if found is None else figure(found.precision_recall) + told
        rows.append(row)
    return rows


def slow_sentence(record: Localisation) -> str:
    """What ScoreCAM reaches beside Grad-CAM on the same images; nothing where it was not run."""
    lines = []
    for name, title in SETS.items():
        one = record.sets[name].methods.get(SCORE_CAM)
        if one is not None and one.gradcam_on_the_same is not None and one.more_than_gradcam is not None:
            lines.append(
                f"- {title}: on {counted(one.images, 'image')} its average precision is "
                f"{figure(one.precision_recall)}, Grad-CAM's on the same {figure(one.gradcam_on_the_same)}; image by "
                f"image {figure(one.more_than_gradcam, signed=True)}."
            )
    if not lines:
        return ""
    head = "ScoreCAM shows the network a masked image for each of its feature maps, so it was run on a few:"
    return "\n".join([head, "", *lines])


def points(record: Localisation, name: str) -> list[Point]:
    """Average precision of every map that all images of one set have."""
    found = record.sets[name]
    whole = {method: one for method, one in found.methods.items() if one.images == found.images}
    return [point(METHODS[method], one.precision_recall) for method, one in in_order(whole).items()]


def told_by_set(record: Localisation) -> list[str]:
    """What the masks say of the maps, a sentence a set, beside maps that ask no network."""
    return [_told(title, record.sets[name]) for name, title in SETS.items()]


def _told(title: str, one: Masked) -> str:
    own, steady, random, stain = (one.methods[name].precision_recall for name in (GRADCAM, STEADY, RANDOM, STAIN))
    if ends(steady)[0] > ends(random)[1]:
        verdict = "better than a random map"
    elif ends(steady)[1] < ends(random)[0]:
        verdict = "worse than a random map"
    else:
        verdict = "not clearly different from a random map"
    best = max(value(own), value(steady))
    beside = "and not better than where the stain is dense" if value(stain) >= best else "and better than stain"
    return (
        f"**{title}** ({counted(one.images, 'image')}, {share(one.called_malignant)} of them called malignant): "
        f"average precision {figure(own)}, of the steadier map {figure(steady)}, of a random map {figure(random)}, of "
        f"the amount of stain {figure(stain)}. The steadier map is {verdict}, {beside}."
    )


def value(interval: Interval) -> float:
    """The value of an interval that has one."""
    return point("", interval).value


def ends(interval: Interval) -> tuple[float, float]:
    """The ends of an interval; its value where it has none."""
    low, high = interval["low"], interval["high"]
    return (value(interval),) * 2 if low is None or high is None else (low, high)


def rules_table(record: Localisation, name: str) -> list[Row]:
    """A row a rule: overlap at its default and at the parameter that other images chose, and how pure the kept is."""
    return [
        {
            "Rule": RULES[rule],
            "Default": f"{one.default:g}",
            "Kept": share(one.kept_at_default),
            "Of it on the lesion": figure(one.precision_at_default, percent=True),
            "Overlap (IoU)": figure(one.iou_at_default),
            "Best overlap": f"{figure(one.iou_at_chosen)} at {one.chosen:g}",
        }
        for rule, one in record.sets[name].methods[GRADCAM].rules.items()
    ]


def purity_lines(record: Localisation, name: str) -> list[Line]:
    """Share of the kept that lies on the lesion over the share of the image that is kept, a line a rule."""
    lines = []
    for rule, one in record.sets[name].methods[GRADCAM].rules.items():
        places = sorted((setting.kept, setting.precision) for setting in one.curve)
        lines.append(Line(RULES[rule], tuple(x for x, _ in places), tuple(y for _, y in places)))
    return lines


def section(record: Localisation) -> list[Block]:
    """Every map on breast tissue, what the masks say of each set, and the rules."""
    slow = slow_sentence(record)
    return [
        interval_chart(points(record, BREAST), "Average precision on breast tissue", "localisation"),
        *(Text(told) for told in told_by_set(record)),
        Text(
            "A map shows what moved the model. Only some structures are marked on these images, so what lies beside a "
            "mark is not always wrong; and where stain alone does as well, the map has found nuclei and not disease."
        ),
        numbers("Every map on every set", table(record)),
        *([Text(slow)] if slow else []),
        Text("How pure is what a rule keeps, and how much of the lesion does it cover? On breast tissue:"),
        Chart(
            "purity",
            "Purity of what each rule keeps, over its area; the numbers are in the file",
            "Share of the image that is kept",
            "Share of the kept on the lesion",
            lines=purity_lines(record, BREAST),
            percent="xy",
        ),
        Text(
            "At the same area the rules are equally pure, so none is better at finding lesions. Overlap alone would "
            "always keep everything positive; the default stands where keeping less makes the rest hardly purer."
        ),
        Table(rules_table(record, BREAST), "Rules against masks"),
    ]


STUDY = Study(
    "localisation",
    "localisation_breakhis.json",
    Localisation,
    "breakhis",
    "dala localisation --data DIR",
    part="Heat maps",
    title="Where the maps lie",
    question="Does the heat map lie on what a pathologist has marked? Which map and which rule do so best?",
    section=section,
    summary=lambda record: f"Heat maps. {told_by_set(record)[0]}",
    verb=Verb(
        "localisation",
        None,
        "every map and rule against masks of lesions (6 minutes on two cores without ScoreCAM, whose maps are kept)",
        add_arguments,
        run,
    ),
)
