"""Records and their JSON: what is shipped survives reading and writing, anything else is a sentence."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from dala.errors import EvidenceError
from dala.stats.bootstrap import Interval
from dala.studies.record import Record
from dala.studies.registry import STUDIES
from dala.studies.study import EVIDENCE_DIR, Study


@dataclass(frozen=True, kw_only=True)
class Inner(Record):
    count: int = field(metadata={"key": "number of"})


@dataclass(frozen=True, kw_only=True)
class Other(Record):
    reason: str


@dataclass(frozen=True, kw_only=True)
class Outer(Record):
    name: str
    share: float
    score: Interval
    places: tuple[tuple[float, float], ...] = ()
    parts: dict[str, Inner | Other] = field(default_factory=dict)
    kind: Literal["a", "b"] = "a"
    told: str | None
    anything: Any = None


LEAST = {"name": "x", "share": 1, "score": {"value": 0.5, "low": None, "high": None}, "told": None}
WHOLE = LEAST | {
    "places": [[0, 0.5], [1, 1.0]],
    "parts": {"one": {"number of": 3}, "two": {"reason": "none"}},
    "kind": "b",
    "told": "so",
    "anything": [{"x": 1}],
}


@pytest.mark.parametrize("told", [LEAST, WHOLE])
def test_a_record_writes_what_it_read(told: dict[str, Any]) -> None:
    record = Outer.from_json(told)
    assert record.to_json() == told
    assert Outer.from_json(json.loads(json.dumps(record.to_json()))) == record


def test_fields_are_typed() -> None:
    record = Outer.from_json(WHOLE)
    assert record.parts["one"] == Inner(count=3)
    assert record.parts["two"] == Other(reason="none")
    assert record.places == ((0, 0.5), (1, 1.0))
    assert record.score["value"] == 0.5
    # A number stays as it is written: 1 is not made 1.0.
    assert type(record.share) is int


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ([], "the record is no object"),
        (LEAST | {"nmae": "x"}, "unknown key 'nmae'"),
        ({key: value for key, value in LEAST.items() if key != "share"}, "has no 'share'"),
        (LEAST | {"share": "1"}, "share is no float"),
        (LEAST | {"share": True}, "share is no float"),
        (LEAST | {"name": None}, "name is no str"),
        (LEAST | {"score": {"value": 0.5, "low": None}}, "score is no Interval"),
        (LEAST | {"score": {"value": "0.5", "low": None, "high": None}}, "score, value is no"),
        (LEAST | {"places": [[0, 1, 2]]}, "places does not hold 2 values"),
        (LEAST | {"places": 3}, "places is no list"),
        (LEAST | {"parts": {"one": {"count": 3}}}, "parts, one has an unknown key 'count'"),
        (LEAST | {"parts": {"one": {"number of": 0.5}}}, "parts, one"),
        (LEAST | {"kind": "c"}, "kind is none of a, b"),
    ],
)
def test_anything_else_is_one_sentence(told: Any, said: str) -> None:
    with pytest.raises(EvidenceError) as caught:
        Outer.from_json(told)
    assert said in str(caught.value)
    assert str(caught.value).endswith(".") and str(caught.value).count(".") == 1


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.key)
def test_every_shipped_file_is_read_and_written_alike(study: Study[Any]) -> None:
    told = json.loads((EVIDENCE_DIR / study.file).read_text(encoding="utf-8"))
    assert study.record.from_json(told).to_json() == told


def test_every_shipped_file_is_of_one_study() -> None:
    assert sorted(study.file for study in STUDIES) == sorted(path.name for path in EVIDENCE_DIR.glob("*.json"))
