"""A kept case in words: what was said then, as the first page says it, from the record alone."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dala.cases.kept import KeptCase, KeptImage
from dala.explanation.threshold import RULES
from dala.export.worth import leaning_in_words, probability_in_words
from dala.preprocess.scale import ASSUMED
from dala.runtime.verdict import SCALE
from pages.parts.batch.table import OUTSIDE_SHORT
from pages.parts.second_opinion.scale import AS_DRAWN, FROM
from pages.parts.shared import NOT_SURE, OUTSIDE, SCALE_UNKNOWN, called, percent, plain

POSITIVE = "malignant"
UNNAMED = "Untitled case"
AGREEMENT = {True: "Agrees", False: "Disagrees", None: ""}


def short(answer: str) -> str:
    """An answer with its sign, as it is listed and filtered."""
    if answer == "outside":
        return OUTSIDE_SHORT
    return NOT_SURE if answer == "not sure" else called(answer, POSITIVE)


def title_of(case_title: str, created: datetime) -> str:
    """The title, or the day where there is none; not escaped."""
    return case_title or f"{UNNAMED}, {day(created)}"


def day(when: datetime) -> str:
    """Such as "29 Nov 2026", in the time of the server."""
    return f"{when.astimezone():%-d %b %Y}"


def moment(when: datetime) -> str:
    return f"{when.astimezone():%-d %b %Y, %H:%M}"


def headline(record: dict[str, Any]) -> str:
    """The answer as the heading of the first page has it."""
    if record.get("status") != "ok":
        return OUTSIDE
    if record.get("verdict_reason") == SCALE:
        return SCALE_UNKNOWN
    if record.get("verdict") is None:
        return NOT_SURE
    return called(str(record["verdict"]), str(record.get("positive", POSITIVE)))


def share_of(record: dict[str, Any]) -> float | None:
    """The probability of the class that the model leans towards."""
    found = (record.get("probabilities") or {}).get(record.get("prediction"))
    return float(found) if isinstance(found, (int, float)) else None


def below_headline(record: dict[str, Any]) -> str:
    """The probability in a sentence, in Markdown."""
    share, label = share_of(record), record.get("prediction")
    if record.get("status") != "ok":
        said = plain(str(record.get("reason") or ""))
        if share is not None:
            said += f" The model computed {plain(str(label))} at {percent(share)}, which is not a verdict."
        return said
    if share is None:
        return ""
    calibrated, shown = bool(record.get("calibrated")), f"**{percent(share)}**"
    if record.get("verdict") is None:
        return leaning_in_words(f"**{plain(str(label))}**", shown, calibrated)
    return probability_in_words(shown, calibrated, elsewhere=bool(record.get("sets")))


def in_one_line(record: dict[str, Any]) -> str:
    """The answer and its probability in a line of plain text."""
    share = share_of(record)
    if record.get("status") != "ok":
        return f"{OUTSIDE}: no verdict"
    if share is None or record.get("verdict_reason") == SCALE:
        return headline(record)
    if record.get("verdict") is not None:
        return f"{headline(record)}, {percent(share)}"
    shown = f", {percent(share)}" if record.get("calibrated") else ""
    return f"{headline(record)}, leaning towards {record.get('prediction')}{shown}"


def scale_in_words(record: dict[str, Any]) -> str:
    """At which pixel size the image was judged, and who said so; empty by weights without a scale."""
    size, um = record.get("pixel_size"), record.get("um_per_pixel")
    if um is None or not size:
        return ""
    if size["source"] == ASSUMED:
        return f"Seen at {um:g} um/px; pixel size unknown, {size['columns']:.3g} um assumed."
    told = ": ".join([FROM.get(size["source"], size["source"]), *([size["told"]] if size["told"] else [])])
    told = AS_DRAWN if size["told"] == AS_DRAWN else told
    return f"Seen at {um:g} um/px; pixel size {size['columns']:.3g} um ({plain(told)})."


def weights_in_words(image: KeptImage) -> str:
    """Which weights, site and version said it."""
    record = image.opinion
    site = record.get("site")
    parts = [
        f"Weights {plain(str(record.get('weights')))}, fingerprint {plain(str(record.get('weights_sha256'))[:12])}",
        *([f"site {plain(str(site.get('name')))}"] if isinstance(site, dict) else []),
        f"version {plain(image.version)}",
    ]
    return ", ".join(parts) + "."


def settings_in_words(settings: dict[str, Any]) -> str:
    """How the maps were looked at; empty where a record of it is none."""
    try:
        rule, limit = RULES[settings["rule"]], settings.get("limit")
        fixed = f", last colour fixed at {limit:g}" if settings.get("fixed") and limit is not None else ""
        return plain(
            f"Maps towards {settings['target']}, {rule.label}, {rule.parameter} = {settings['parameter']:g}, opacity "
            f"{settings['opacity']:g}, colours {settings['colour_map']}{fixed}."
        )
    except (KeyError, TypeError, ValueError):
        return ""


def read_in_words(read: dict[str, Any] | None) -> str:
    """An own read with how sure it was."""
    if read is None:
        return "none"
    sure = read.get("confidence")
    return short(read["call"]) + (f", {100 * sure:.0f} % sure" if isinstance(sure, (int, float)) else "")


def about(case: KeptCase, with_owner: bool) -> str:
    """Who kept it and when, in Markdown."""
    parts = [f"Kept on {moment(case.created)}"]
    if with_owner:
        parts.append(f"read by {plain(case.reader[1])}")
        parts.append("shared with everybody who logs in" if case.shared else "private")
    if case.patient:
        parts.append(f"patient or case **{plain(case.patient)}**")
    if case.changed != case.created:
        parts.append(f"changed on {moment(case.changed)}")
    return ", ".join(parts) + "."
