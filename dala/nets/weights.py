"""Weights on disk: NAME.safetensors (float16) beside NAME.json, a card that is checked before anything is served."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save_file

from dala.intake.gate import HISTOLOGY, MAMMOGRAM
from dala.nets.calibration import Calibration
from dala.nets.dala_resnet50 import DALAResNet50

WEIGHTS_DIR = Path(__file__).resolve().parents[2] / "weights"
# The weights that judge a picture of each modality where nobody names others.
SERVED = {HISTOLOGY: "breakhis", MAMMOGRAM: "mini_ddsm"}
SCHEMA: dict[str, Any] = json.loads((Path(__file__).parent / "card.schema.json").read_text(encoding="utf-8"))


class WeightsError(RuntimeError):
    """The weights or their card are missing, damaged, altered or of another network; the message says which."""


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
    def size(self) -> int:
        """Side in pixels of the square to which every view is resized, as the training pictures were."""
        return int(self.fields["input"]["size"])

    @property
    def enlarged(self) -> int:
        """Side in pixels to which that square is enlarged before it enters the network."""
        return int(self.fields["input"]["enlarged"])

    @property
    def magnification(self) -> str:
        return str(self.fields["input"]["magnification"])

    @property
    def preprocess(self) -> str:
        """What is done to a picture before it is squeezed: "none", "mammogram" (`dala.intake.mammogram`) or "fields"
        (cut into tiles, `dala.nets.fields`)."""
        return str(self.fields["input"].get("preprocess", "none"))

    @property
    def modality(self) -> str:
        """What the model may judge; a key of `dala.intake.gate.CHECKS`."""
        return str(self.fields["input"]["modality"])

    @property
    def group_word(self) -> str:
        """What one of the groups of patients is called by which training and test pictures were kept apart."""
        return "case" if self.modality == MAMMOGRAM else "accession group"

    @property
    def training_groups(self) -> frozenset[str]:
        """Accession groups or cases whose pictures the weights have seen."""
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
        fields = json.loads(card_path.read_text(encoding="utf-8"))
        jsonschema.validate(fields, SCHEMA)
    except (OSError, ValueError) as error:
        raise WeightsError(f"The model card {card_path.name} is not readable JSON.") from error
    except jsonschema.ValidationError as error:
        place = "/".join(str(part) for part in error.absolute_path) or "top level"
        message = f"The model card {card_path.name} is not valid at {place}: {error.message[:200]}."
        raise WeightsError(message) from error
    try:
        Calibration.of_card(fields)
    except ValueError as error:
        raise WeightsError(f"The model card {card_path.name} is not valid at calibration: {error}.") from error
    return Card(fields), path


def sha256_of(path: Path) -> str:
    """Hexadecimal sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_weights(name: str | Path = "breakhis", folder: Path = WEIGHTS_DIR) -> tuple[DALAResNet50, Card]:
    """The network in evaluation mode (float32, no parameter asks for a gradient) and its card.

    The file's sha256, every name and every shape are checked; nothing is unpickled. Raises `WeightsError`.
    """
    card, path = read_card(name, folder)
    if not path.is_file():
        raise WeightsError(f"The weights {path.name} are missing beside their card.")
    blob = path.read_bytes()
    # The very bytes that were hashed are parsed: the file cannot change in between.
    if hashlib.sha256(blob).hexdigest() != card.fields["sha256"]:
        raise WeightsError(f"{path.name} is not the file that its card describes (sha256 differs): damaged or altered.")
    try:
        state = load_safetensors(blob)
    except SafetensorError as error:
        raise WeightsError(f"{path.name} is not a readable safetensors file.") from error
    with torch.device("meta"):
        net = DALAResNet50(len(card.classes))
    expected = {key: value for key, value in net.state_dict().items() if not key.endswith("num_batches_tracked")}
    for key in sorted(expected.keys() | state.keys()):
        if key not in state or key not in expected or state[key].shape != expected[key].shape:
            what = f"{key} is missing, unknown or of another shape"
            raise WeightsError(f"{path.name} does not hold a DALAResNet50: {what}.")
        # A float32 sum of float16 values is finite if and only if they all are; asking each of them takes far longer.
        if not state[key].sum(dtype=torch.float32).isfinite():
            raise WeightsError(f"{path.name} holds values that are not finite in {key}.")
    full = {key: value.to(torch.float32) for key, value in state.items()}
    counters = {key: torch.tensor(0) for key in net.state_dict() if key.endswith("num_batches_tracked")}
    net.load_state_dict(full | counters, strict=True, assign=True)
    return net.eval().requires_grad_(False).to(memory_format=torch.channels_last), card


def save_weights(net: DALAResNet50, path: Path, fields: dict[str, Any]) -> Card:
    """Write float16 safetensors and the card with the file's sha256 and size; returns the checked card.

    Raises `WeightsError` for values that float16 cannot hold or a card that does not satisfy the schema.
    """
    state = {}
    for key, value in net.state_dict().items():
        if key.endswith("num_batches_tracked"):
            continue
        state[key] = value.detach().to("cpu", torch.float16).contiguous()
        if not torch.isfinite(state[key]).all():
            raise WeightsError(f"{key} has values that float16 cannot hold.")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, path)
    path.chmod(0o644)
    return write_card(path, fields | {"sha256": sha256_of(path), "bytes": path.stat().st_size})


def write_card(path: Path, fields: dict[str, Any]) -> Card:
    """Write the card of the weights at `path` if it satisfies the schema; jsonschema.ValidationError otherwise."""
    jsonschema.validate(fields, SCHEMA)
    path.with_suffix(".json").write_text(json.dumps(fields, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return Card(fields)
