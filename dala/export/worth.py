"""What is known against an answer: how often the model was wrong where the image comes from, as its card has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dala.opinion import Opinion
from dala.runtime.calibration import Calibration
from dala.runtime.card import Card
from dala.words import counted, figure, share

UNKNOWN = "a laboratory that the model does not know"
SCORES = {"balanced_accuracy": "balanced accuracy", "auc": "AUC"}


def laboratory_in_words(laboratory: str | None) -> str:
    """The laboratory that an image is taken for, None an unknown one."""
    return UNKNOWN if laboratory is None else laboratory


def worth(card: Card, laboratory: str | None) -> str:
    """How often the model is wrong on images of this laboratory, None an unknown one, in two or three sentences.

    Every figure is of that laboratory's own patients or, where it is unknown, of each laboratory that was left out of
    the training. Weights whose card tells laboratories apart in nothing have figures of their one source, named so.
    """
    fields = card.fields
    if "laboratories" not in fields:
        return _of_one_source(card)
    taken = _taken(card, laboratory)
    if laboratory is None and "left_out" in fields:
        return f"{taken} {each_left_out(card)}"
    measured = _measured(card, laboratory)
    if not measured:
        return f"{taken} Nobody has measured how often the model is wrong there."
    where = "patients it had not seen there"
    if laboratory is None:  # its figures are of another laboratory, and say so
        where = f"{measured.get('name', 'another')}, left out of its training"
    told = _scores(measured["scores"])
    if answered := measured.get("answered"):
        told.insert(
            0, f"{_shown(answered['wrong'])} of its answers were wrong, {_shown(answered['share'])} were answered"
        )
    return f"{taken} On {where}: {'; '.join(told)}."


def each_left_out(card: Card) -> str:
    """What the model answered in every laboratory that was left out of its training, in a sentence."""
    each = (
        f"{name} {share(one['answered']['share']['value'])}, of that wrong {_shown(one['answered']['wrong'])}"
        for name, one in card.fields["left_out"].items()
    )
    return f"Of laboratories that were left out of its training it answered: {'; '.join(each)}."


def all_left_out(card: Card) -> str:
    """From the least to the most of what `each_left_out` says."""
    found = [one["answered"] for one in card.fields["left_out"].values()]
    shares = [one["share"]["value"] for one in found]
    # Where nothing was answered nothing of it was wrong, and nothing is known.
    wrong = [one["wrong"] for one in found if one["wrong"]["value"] is not None]
    least, most = share(min(shares)), share(max(shares))
    told = f"{counted(len(found), 'laboratory', 'laboratories')} left out of its training it answered "
    told += f"{most if least == most else f'{least} to {most}'} of the images"
    if not wrong:
        return f"In {told}."
    value, high = (share(max(one[part] for one in wrong)) for part in ("value", "high"))
    return f"In {told}; at most {value} of the answers were wrong (by the intervals up to {high})."


def has_probability(record: Mapping[str, Any]) -> bool:
    """`Verdict.has_probability` of a record: whether a person may be shown a probability beside its answer."""
    return bool(record["calibrated"]) or not record["not_sure"]


def probability_in_words(p: str, calibrated: bool, elsewhere: bool) -> str:
    """The probability `p` in a sentence, and on what it is calibrated: on the laboratory that the image is taken for,
    only `elsewhere`, or on nothing."""
    if calibrated:
        return f"Calibrated probability {p}."
    return f"Model probability {p}, {'calibrated on other laboratories only' if elsewhere else 'not calibrated'}."


def leaning_in_words(label: str, p: str, calibrated: bool) -> str:
    """Towards which class the model leans without answering; how much, only where its probability is calibrated."""
    said = f"calibrated probability {p}" if calibrated else "no probability holds for its laboratory"
    return f"The model leans towards {label}{',' if calibrated else ';'} {said}."


def site_in_words(opinion: Opinion) -> str:
    """Which site is in use, and whether the image is taken for one of it; empty without one."""
    site = opinion.model.site
    if site is None:
        return ""
    if opinion.gate.laboratory == site.name:
        return f"Site in use: {site.name}."
    return f"Site in use: {site.name}, but this image is not taken for one of it; its figures do not hold here."


def beside_the_verdict(opinion: Opinion) -> str:
    """The site in use, and what is known against the answer."""
    told = worth(opinion.model.card, opinion.gate.laboratory)
    return " ".join(part for part in (site_in_words(opinion), told) if part)


def at_a_glance(opinion: Opinion) -> tuple[str, str]:
    """As `beside_the_verdict`, in fewer figures where the laboratory is unknown; and what it leaves out."""
    card, laboratory = opinion.model.card, opinion.gate.laboratory
    if laboratory is not None or "left_out" not in card.fields:
        return beside_the_verdict(opinion), ""
    told = (site_in_words(opinion), _taken(card, None), all_left_out(card))
    return " ".join(part for part in told if part), each_left_out(card)


def scores_of(card: Card, laboratory: str | None) -> Mapping[str, Any]:
    """The scores that the sentence is about, each with its interval; empty where nothing was measured."""
    fields = card.fields
    if "laboratories" not in fields:
        found: Mapping[str, Any] = fields["metrics"]["values"]
    else:
        found = (_measured(card, laboratory) or {}).get("scores", {})
    return found


def basis(card: Card, laboratory: str | None) -> str:
    """By which protocol, and on how many images and patients, the figures of `worth` were measured."""
    measured = _measured(card, laboratory)
    if not measured:
        return "not measured" if "laboratories" in card.fields else str(card.fields["metrics"]["protocol"])
    left_out = card.fields.get("left_out", {}) if laboratory is None else {}
    of = "; ".join(
        f"{f'{name}, ' if name else ''}{counted(one['images'], 'image')} of {counted(one['groups'], card.group_word)}"
        for name, one in (left_out or {"": measured}).items()
    )
    return f"{of}: {measured['protocol']}"


def _measured(card: Card, laboratory: str | None) -> Mapping[str, Any] | None:
    fields = card.fields
    found: Mapping[str, Any] | None = (
        fields.get("unknown_laboratory") if laboratory is None else fields.get("laboratories", {}).get(laboratory)
    )
    return found


def _taken(card: Card, laboratory: str | None) -> str:
    never = _never(card.calibration) if laboratory is None and card.calibration is not None else ""
    return f"{'From' if laboratory is None else 'Taken for an image of'} {laboratory_in_words(laboratory)}{never}."


def _never(calibration: Calibration) -> str:
    """Which classes are never answered in an unknown laboratory: a threshold of 0 keeps another one in every set."""
    limits = dict(zip(calibration.classes, calibration.thresholds[calibration.decides], strict=True))
    never = [name for name in limits if any(limit == 0 for other, limit in limits.items() if other != name)]
    return f", where it never answers {' or '.join(never)}" if never else ""


def _of_one_source(card: Card) -> str:
    scores = _scores(card.fields["metrics"]["values"])
    if not scores:
        return "How often the model is wrong has not been measured for these weights."
    source = card.fields["training_data"]["name"]
    return (
        f"In cross-validation by {card.group_word} on {source}: {'; '.join(scores)}. Nobody has measured "
        "how often it is wrong on images from elsewhere, and it cannot tell where this one comes from."
    )


def _scores(scores: Mapping[str, Any]) -> list[str]:
    known = {name: found for key, name in SCORES.items() if (found := scores.get(key) or {}).get("value") is not None}
    return [f"{name} {figure(found)}" for name, found in known.items()]


def _shown(value: float | Mapping[str, Any]) -> str:
    return figure(value, percent=True) if isinstance(value, Mapping) else share(value)
