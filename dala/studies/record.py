"""Typed records that read and write their own JSON: a missing key, an unknown one or a wrong type is an error."""

from __future__ import annotations

from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Self, Union, get_args, get_origin, get_type_hints, is_typeddict

from dala.errors import EvidenceError

if TYPE_CHECKING:
    from dala.runtime.card import Card

IMAGES = {"key": "pictures"}  # metadata of a field that the files call by its older name
PLAIN: dict[type, tuple[type, ...]] = {
    str: (str,),
    bool: (bool,),
    int: (int,),
    float: (int, float),
    NoneType: (NoneType,),
}


@dataclass(frozen=True, kw_only=True)
class Record:
    """A piece of a result: one JSON object, a field a key (its name, or metadata `key` where the file has another).

    Fields may be plain values, other records, tuples, dicts by text, typed dicts such as `Interval`, unions of these,
    or Any. A field with a default may be missing, and is left out of the JSON while it has that default.
    """

    @classmethod
    def from_json(cls, value: Any, place: str = "the record") -> Self:
        """The record that a JSON object holds; EvidenceError says where it is not one."""
        _expect(isinstance(value, dict), place, "is no object")
        known, kinds = {_key(one): one for one in fields(cls)}, _hints(cls)
        for key in value.keys() - known.keys():
            raise EvidenceError(f"{place} has an unknown key {key!r}.")
        for key, one in known.items():
            _expect(key in value or _default(one) is not MISSING, place, f"has no {key!r}")
        names = {key: known[key].name for key in value}
        return cls(**{name: decode(kinds[name], value[key], f"{place}, {key}") for key, name in names.items()})

    def to_json(self) -> dict[str, Any]:
        """The JSON object that `from_json` reads."""
        told = [(one, getattr(self, one.name)) for one in fields(self)]
        return {_key(one): encode(value) for one, value in told if value != _default(one)}


def _key(one: Field[Any]) -> str:
    return str(one.metadata.get("key", one.name))


def _default(one: Field[Any]) -> Any:
    """The value of a field that is not told; MISSING where it must be."""
    return one.default if one.default_factory is MISSING else one.default_factory()


def _hints(kind: type) -> dict[str, Any]:
    """The types of a class's fields, by name."""
    return _cached_hints(kind)


_cached_hints = cache(get_type_hints)


def decode(kind: Any, value: Any, place: str) -> Any:
    """A value of a field's type from its JSON; EvidenceError where it has another. Numbers stay as they are written."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, UnionType):
        return _first_of(inner, value, place)
    if origin is Literal:
        _expect(value in inner, place, f"is none of {', '.join(map(str, inner))}")
        return value
    if origin is tuple:
        _expect(isinstance(value, list), place, "is no list")
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else inner
        _expect(len(kinds) == len(value), place, f"does not hold {len(kinds)} values")
        return tuple(decode(one, part, place) for one, part in zip(kinds, value, strict=True))
    if origin is dict:
        _expect(isinstance(value, dict), place, "is no object")
        return {key: decode(inner[1], part, f"{place}, {key}") for key, part in value.items()}
    if is_typeddict(kind):
        _expect(isinstance(value, dict) and value.keys() == _hints(kind).keys(), place, f"is no {kind.__name__}")
        return {key: decode(one, value[key], f"{place}, {key}") for key, one in _hints(kind).items()}
    if is_dataclass(kind):
        return kind.from_json(value, place)  # type: ignore[union-attr]
    # True is an int to Python and no number here.
    _expect(type(value) in PLAIN[kind], place, f"is no {kind.__name__}")
    return value


def _first_of(kinds: tuple[Any, ...], value: Any, place: str) -> Any:
    for kind in kinds[:-1]:
        try:
            return decode(kind, value, place)
        except EvidenceError:
            continue
    return decode(kinds[-1], value, place)


def _expect(holds: bool, place: str, otherwise: str) -> None:
    if not holds:
        raise EvidenceError(f"{place} {otherwise}.")


def encode(value: Any) -> Any:
    """JSON of a field's value."""
    if isinstance(value, Record):
        return value.to_json()
    if isinstance(value, dict):
        return {key: encode(inner) for key, inner in value.items()}
    return [encode(inner) for inner in value] if isinstance(value, list | tuple) else value


@dataclass(frozen=True, kw_only=True)
class Data(Record):
    """What a result was computed on, as far as it says so; BreakHis tells magnifications, Mini-DDSM scanner letters."""

    name: str | None = None
    magnification: int | None = None
    magnifications: tuple[int, ...] = ()
    letters: tuple[str, ...] = ()
    images: int = field(metadata=IMAGES)
    benign: int | None = None
    malignant: int | None = None
    groups: int
    benign_groups: int | None = None
    slides: int | None = None
    by_letter: dict[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Result(Record):
    """What every file under evidence/ says of itself: how and by which command it was measured, with what, on whom."""

    protocol: str
    command: str
    recipe: dict[str, Any] | None = None
    weights_sha256: str | None = None

    @property
    def made_with(self) -> list[tuple[str, Any]]:
        """The recipes and the fingerprint of the weights that it was measured with, by the name of the card's field."""
        told = [("recipe", self.recipe), ("sha256", self.weights_sha256)]
        return [(name, value) for name, value in told if value is not None]

    @property
    def measured_on(self) -> Data | None:
        """The images, where the record tells them."""
        return getattr(self, "data", None)

    def is_current(self, card: Card | None) -> bool:
        """Whether it is of the recipe and the weights of a card, seeds apart; without a card, whether it is of none."""
        if card is None:
            return not self.made_with
        return all(_without_seed(value) == _without_seed(card.fields[key]) for key, value in self.made_with)


def _without_seed(value: Any) -> Any:
    return {key: inner for key, inner in value.items() if key != "seed"} if isinstance(value, dict) else value
