"""Weights on disk: NAME.safetensors (float16) beside NAME.json, a card that is checked before anything is served."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save_file

from dala.errors import WeightsError
from dala.nets.dala_resnet50 import DALAResNet50
from dala.runtime.card import WEIGHTS_DIR, Card, read_card, write_card


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
        net = DALAResNet50(len(card.classes), stages=card.stages)
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
