"""Commands for one's own images: predict, explain, report; and doctor, which checks the installation."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from dala.cli import Command
from dala.errors import DalaError
from dala.terminal import WrongCall, complain, progress
from dala.words import counted, printable

if TYPE_CHECKING:
    from dala.batch import Sizes
    from dala.export.records import Record
    from dala.intake.archive import Item
    from dala.opinion import Opinion
    from dala.runtime.predict import Model

OUTSIDE = "outside the model's competence"
ANYWAY = "also show what the model says of an image outside its competence, marked so"
ENGINE = "what runs the network, such as torch or openvino-f32 (default: DALA_ENGINE, or the best of this machine)"

PIXEL_SIZE = "micrometres per pixel, or a CSV file with the columns file and um (default: what files and names tell)"
SITE = "a site file that `dala adapt` wrote, or its name in DALA_SITES or sites (default: none)"
WEIGHTS = "the weights for every image (default: those for what an image is, an H&E patch or a mammogram)"


def add(command: Command) -> None:
    """Add predict, explain, report and doctor."""
    sub = command("predict", _predict, "benign, malignant or not sure for every image, with probabilities")
    sub.add_argument("paths", nargs="+", metavar="PATH", help="an image, a folder of them or a ZIP")
    sub.add_argument("--csv", type=Path, default=None, metavar="OUT", help="write a table, with a progress bar")
    sub.add_argument("--json", action="store_true", help="JSON lines instead of a readable table")
    sub.add_argument("--weights", default=None, metavar="NAME", help=WEIGHTS)
    sub.add_argument("--engine", default=None, metavar="NAME", help=ENGINE)
    sub.add_argument("--anyway", action="store_true", help=ANYWAY)
    sub.add_argument("--pixel-size", default=None, metavar="UM|CSV", help=PIXEL_SIZE)
    sub.add_argument("--site", default=None, metavar="FILE|NAME", help=SITE)

    sub = command("explain", _explain, "write map.npy, overlay.png, dt_overlay.png and explanation.json")
    _add_explained(sub)

    sub = command("report", _report, "write an opinion to keep: PDF, JSON, GeoJSON of the regions and PNG panels")
    _add_explained(sub)
    sub.add_argument("--comment", default="", metavar="TEXT", help="written into PDF and JSON")
    sub.add_argument("--own-read", choices=("benign", "malignant", "not sure"), default=None, help="your own call")
    sub.add_argument(
        "--agree", action=argparse.BooleanOptionalAction, default=None, help="whether you agree with the model's answer"
    )
    sub.add_argument("--with-name", action="store_true", help="write the name of the file, which is left out otherwise")
    sub.add_argument(
        "--effect", choices=("blurred", "glass"), default=None, help="measure the effect curve with this replacement"
    )
    sub.add_argument("--date", type=date.fromisoformat, default=None, metavar="YYYY-MM-DD", help="default: today")

    command("doctor", _doctor, "PASS, WARN or FAIL for every part of this installation")
    command("licences", _licences, "every installed package and its licence")


def _add_explained(sub: argparse.ArgumentParser) -> None:
    """The options of a command that explains one image."""
    sub.add_argument("file", metavar="FILE")
    sub.add_argument("--out", type=Path, required=True, metavar="DIR")
    sub.add_argument("--weights", default=None, metavar="NAME", help=WEIGHTS)
    sub.add_argument("--engine", default=None, metavar="NAME", help=ENGINE)
    sub.add_argument("--anyway", action="store_true", help=ANYWAY)
    sub.add_argument("--pixel-size", default=None, metavar="UM|CSV", help=PIXEL_SIZE)
    sub.add_argument("--site", default=None, metavar="FILE|NAME", help=SITE)
    sub.add_argument("--target", default=None, metavar="CLASS", help="a class of the weights (default: the prediction)")
    sub.add_argument("--rule", default="mean_std", help="mean_std, evidence, otsu, percentile or fixed")
    sub.add_argument("--k", "--parameter", dest="parameter", type=float, default=None, help="the rule's parameter")


def _models(options: argparse.Namespace) -> Callable[[str], Model]:
    """The model of a name, loaded when it is first asked for; that of the site's weights with the site."""
    from dala.runtime.predict import served
    from dala.sites import find_site, with_site

    site = None if options.site is None else find_site(options.site)
    usual = options.weights or usual_weights()

    def load(name: str) -> Model:
        model = served(name, options.engine)
        # A mammogram has weights of its own, which no site is of.
        return model if site is None or name != usual else with_site(model, site)

    return cache(load)


def _analysed(options: argparse.Namespace, items: Iterable[Item]) -> Iterator[Record]:
    """A record for every item, by the weights that were named or by those for what it is."""
    from dala.batch import analyse
    from dala.opinion import model_for

    load, sizes = _models(options), _sizes(options)
    if options.weights is not None:
        results = analyse(items, load(options.weights), options.anyway, sizes=sizes)
    else:
        usual = load(usual_weights())
        results = analyse(items, usual, options.anyway, lambda patch: model_for(patch, load), sizes)
    return (result.record for result in results)


def usual_weights() -> str:
    from dala.gate.checks import HISTOLOGY
    from dala.runtime.card import SERVED

    return SERVED[HISTOLOGY]


def sizes_told(told: str | None, option: str, check: Callable[[float], object]) -> Sizes:
    """The pixel size of every file: the number that was given for all, which `check` may refuse, or by a table.

    `told` is what stands behind the `option`. Raises WrongCall for what is neither.
    """
    from dala.batch import sizes_of_table

    if told is None:
        return lambda name: None
    try:
        um = float(told)
    except ValueError:
        path = Path(told)
        if not path.is_file():
            raise WrongCall(f"{option} is a number of micrometres or a CSV file; {told!r} is neither.") from None
        return sizes_of_table(path.read_text(encoding="utf-8", errors="replace"))
    check(um)
    return lambda name: um


def _sizes(options: argparse.Namespace) -> Sizes:
    from dala.intake.pixel_size import given

    return sizes_told(options.pixel_size, "--pixel-size", given)


def _predict(options: argparse.Namespace) -> int:
    from dala.intake.archive import members

    if options.csv is not None:
        return _predict_table(options)
    verdicts = []
    for record in _analysed(options, members(options.paths, complain)):
        verdicts.append(record["prediction"] is not None)
        _print(record, options.json)
    if all(verdicts):
        return 0
    complain(f"No verdict on {verdicts.count(False)} of {counted(len(verdicts), 'image')}.")
    return 1


def _predict_table(options: argparse.Namespace) -> int:
    """The rows go into OUT.partial as they come, which becomes OUT when it is complete."""
    from dala.export.table import write_csv
    from dala.intake.archive import members
    from dala.runtime.card import read_card

    items = list(members(options.paths, complain))
    analysed = _analysed(options, items)
    # Whichever weights are chosen, the classes are benign and malignant.
    classes = read_card(options.weights or usual_weights())[0].classes
    update = progress("predict")
    answers: Counter[str] = Counter()
    without = 0

    def records() -> Iterator[Record]:
        nonlocal without
        for done, record in enumerate(analysed, start=1):
            answers[_answer(record)] += 1
            without += record["prediction"] is None
            if options.json:
                _print(record, True)
            yield record
            update(done, len(items))

    partial = options.csv.with_name(f"{options.csv.name}.partial")
    # A name that is no text in any encoding must not end the run.
    with partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        write_csv(records(), classes, file)
    partial.replace(options.csv)
    summary = ", ".join(f"{number} {answer}" for answer, number in sorted(answers.items()))
    print(f"{counted(len(items), 'image')}: {summary}. Written to {options.csv}.", file=sys.stderr)
    return 1 if without else 0


def _print(record: Record, as_json: bool) -> None:
    line = json.dumps(record, ensure_ascii=False) if as_json else f"{record['file']}: {_in_words(record)}"
    print(line, flush=True)


def _answer(record: Record) -> str:
    """The one word under which a summary counts it."""
    if record["status"] != "ok":
        return "outside" if record["status"] == "outside" else "refused"
    return "not sure" if record["not_sure"] else str(record["prediction"])


def _in_words(record: Record) -> str:
    from dala.export.worth import has_probability

    outside = record["status"] == "outside"
    if (shares := record["probabilities"]) is None:
        return f"{OUTSIDE if outside else 'refused'}. {record['reason']}"
    unsure = "not sure: the scale is unknown" if record["verdict_reason"] == "scale" else "not sure"
    verdict = f"{unsure}, leaning to {record['prediction']}" if record["not_sure"] else record["prediction"]
    if has_probability(record):
        calibrated = (
            "calibrated" if record["calibrated"] else "calibrated elsewhere" if record["sets"] else "not calibrated"
        )
        listed = "; ".join([", ".join(f"{name} {p:.3f}" for name, p in shares.items()), calibrated])
    else:
        listed = "no probability holds for its laboratory"
    if record["um_per_pixel"] is not None:
        size = record["pixel_size"]
        listed += f"; at {size['rows']:.3g} um per pixel, {size['told'] or size['source']}"
    if record["site"] is not None:
        listed += f"; site {record['site']['name']} in use"
    if len(record["fields"]) > 1:
        listed += f"; {len(record['fields'])} fields"
    if (record["gate"] or {}).get("laboratory"):
        listed += f"; taken for {record['gate']['laboratory']}"
    verdict = f"{verdict} ({listed})"
    return f"{OUTSIDE}. {record['reason']} Asked anyway: {verdict}" if outside else verdict


def _opinion_of(options: argparse.Namespace) -> Opinion:
    """The opinion of the one image; raises DalaError with the sentence why there is none."""
    from dala.intake.image import read_image
    from dala.opinion import model_for, opinion_of

    load = _models(options)
    patch = read_image(Path(options.file), pixel_size_um=_sizes(options)(options.file))
    model = model_for(patch, load) if options.weights is None else load(options.weights)
    if options.target is not None and options.target not in model.card.classes:
        raise WrongCall(f"--target is one of {', '.join(model.card.classes)}, not {options.target}.")
    opinion = opinion_of(patch, model)
    reason = opinion.gate.reason
    if reason is not None and not options.anyway:
        raise DalaError(f"{printable(options.file)} is {OUTSIDE}. {reason.sentence} --anyway shows it marked so.")
    return opinion


def _explain(options: argparse.Namespace) -> int:
    from dala.export.bundle import export_explanation

    opinion = _opinion_of(options)
    record = export_explanation(
        opinion, options.target or opinion.prediction.label, options.rule, options.parameter, options.out
    )
    outside = "" if opinion.gate.inside else f"{OUTSIDE}; "
    answer = f"{outside}{record['prediction']}; map towards {record['target']}"
    print(f"{printable(options.file)}: {answer} written to {options.out}")
    return 0


def _report(options: argparse.Namespace) -> int:
    from dala import inquiry
    from dala.export.bundle import export
    from dala.export.report import Remarks
    from dala.opinion import explain

    opinion = _opinion_of(options)
    target = options.target or opinion.prediction.label
    explanation = explain(opinion, target, options.rule, options.parameter)
    effect = None
    if options.effect is not None and opinion.maps[target].has_evidence:
        effect = inquiry.effect(opinion, target, options.effect, progress("effect"))
    remarks = Remarks(options.comment, options.own_read, options.agree, options.with_name)
    written = export(opinion, explanation, remarks, options.date or date.today(), options.out, effect)
    print("\n".join(str(path) for path in written))
    return 0


def _licences(options: argparse.Namespace) -> int:
    from dala.doctor import requirements_of
    from dala.licences import main as licences

    return licences(requirements_of())


def _doctor(options: argparse.Namespace) -> int:
    from dala.doctor import main as doctor

    return doctor()
