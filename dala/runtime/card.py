"""The model card beside the weights, checked against its schema before anything is served."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import jsonschema
from jsonschema.exceptions import best_match
from jsonschema.validators import validator_for

from dala.errors import WeightsError
from dala.files import shipped, write_json
from dala.gate.checks import HISTOLOGY, MAMMOGRAM
from dala.nets.dala_resnet50 import LAST
from dala.preprocess.views import Input
from dala.runtime.calibration import Calibration
from dala.runtime.pooling import Pooling

WEIGHTS_DIR = shipped("weights")
# The weights that analyse an image of each modality where nobody names others.
SERVED = {HISTOLOGY: "breast", MAMMOGRAM: "mini_ddsm"}
SCHEMA: dict[str, Any] = json.loads((Path(__file__).parent / "card.schema.json").read_text(encoding="utf-8"))
VALIDATOR = validator_for(SCHEMA)(SCHEMA)  # made once, which takes longer than to check a card

# A card is shown on the pages: an address of an image in it would make them ask a foreign host.
MARKUP = re.compile(r"\]\s*[(\[]|<[\w/!]|[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True)
class Card:
    """A model card that satisfies `card.schema.json`; `fields` is the whole of it."""

    fields: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.fields["name"])

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.fields["classes"])

    @property
    def stages(self) -> tuple[str, ...]:
        """What the network's head sees, as `dala.nets.dala_resnet50.ResNet50` has it."""
        return tuple(self.fields.get("stages", LAST))

    @property
    def input(self) -> Input:
        """What the network was trained to see."""
        given = self.fields["input"]
        width, height = given["frame"]
        told = given["size"], given["enlarged"], (width, height), given.get("preprocess", "none")
        if "um_per_pixel" not in given:
            return Input(*told)
        wide, high = given["field_um"]
        return Input(*told, given["um_per_pixel"], (wide, high))

    @property
    def pooling(self) -> Pooling:
        """How the answers for the fields of an image at a physical scale become one."""
        return Pooling.of_card(self.fields)

    @property
    def magnification(self) -> str:
        return str(self.fields["input"]["magnification"])

    @property
    def modality(self) -> str:
        """What the model may analyse; a key of `dala.gate.checks.CHECKS`."""
        return str(self.fields["input"]["modality"])

    @property
    def group_word(self) -> str:
        """What one of the groups of patients is called by which training and test images were kept apart."""
        if self.modality == MAMMOGRAM:
            return "case"
        return "patient" if "laboratories" in self.fields else "accession group"

    @property
    def training_groups(self) -> frozenset[str]:
        """Accession groups or cases whose images the weights have seen."""
        return frozenset(self.fields["training_data"]["groups"])

    @property
    def calibration(self) -> Calibration | None:
        """How logits become calibrated probabilities and sets; None for weights that have not been calibrated."""
        return Calibration.of_card(self.fields)


def available(folder: Path = WEIGHTS_DIR) -> tuple[str, ...]:
    """Names of the weights that have a card, sorted."""
    return tuple(sorted(path.stem for path in folder.glob("*.json")))


def read_card(name: str | Path, folder: Path = WEIGHTS_DIR) -> tuple[Card, Path]:
    """The checked card of `name` (a name in `folder`, or a path to a .safetensors file) and the path of its weights."""
    path = Path(name) if str(name).endswith(".safetensors") else folder / f"{name}.safetensors"
    card_path = path.with_suffix(".json")
    if not card_path.is_file():
        known = ", ".join(available(folder)) or "none"
        raise WeightsError(f"There is no model card {card_path.name}; weights with a card here: {known}.")
    try:
        text = card_path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise WeightsError(f"The model card {card_path.name} is not readable JSON.") from error
    _check(text, card_path.name)
    return Card(json.loads(text)), path


@lru_cache(maxsize=32)
def _check(text: str, file: str) -> None:
    """Raises WeightsError unless this is the text of a card; once for each text, for a page reads dozens."""
    try:
        fields = json.loads(text, parse_constant=_no_number)
        _satisfies(fields)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"The model card {file} is not readable JSON.") from error
    except jsonschema.ValidationError as error:
        place = "/".join(str(part) for part in error.absolute_path) or "top level"
        message = f"The model card {file} is not valid at {place}: {error.message[:200]}."
        raise WeightsError(message) from error
    for one in _texts(fields):
        if MARKUP.search(one):
            raise WeightsError(f"The model card {file} is not valid: it holds markup, {one[:40]!r}.")
    try:
        Calibration.of_card(fields)
    except ValueError as error:
        raise WeightsError(f"The model card {file} is not valid at calibration: {error}.") from error
    try:
        Pooling.of_card(fields)
    except ValueError as error:
        raise WeightsError(f"The model card {file} is not valid at input/pooling: {error}.") from error


def _satisfies(fields: Any) -> None:
    """As jsonschema.validate does."""
    error = best_match(VALIDATOR.iter_errors(fields))
    if error is not None:
        raise error


def _no_number(name: str) -> float:
    """NaN and Infinity are no JSON (RFC 8259, 6), though Python reads and writes them."""
    raise ValueError(f"{name} is no number")


def _texts(value: Any) -> Iterator[str]:
    """Every text of a card, names too."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list):
            waiting += one


def write_card(path: Path, fields: dict[str, Any]) -> Card:
    """Write the card of the weights at `path` if it satisfies the schema; jsonschema.ValidationError otherwise."""
    _satisfies(fields)
    write_json(path.with_suffix(".json"), fields)
    return Card(fields)
