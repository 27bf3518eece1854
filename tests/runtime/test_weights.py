"""Weights and cards: what is loaded is what was described, or there is a clear error and no network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from dala.errors import WeightsError
from dala.nets.dala_resnet50 import DALAResNet50
from dala.runtime.card import WEIGHTS_DIR, available, read_card
from dala.runtime.weights import load_weights, save_weights, sha256_of


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one pair of weights of a seeded network, and the shipped card's other fields."""
    folder = tmp_path_factory.mktemp("weights")
    fields = json.loads((WEIGHTS_DIR / "breakhis.json").read_text())
    torch.manual_seed(0)
    save_weights(DALAResNet50(), folder / "breakhis.safetensors", fields)
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    for file in saved.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def change_card(folder: Path, **fields: Any) -> None:
    card = json.loads((folder / "breakhis.json").read_text())
    (folder / "breakhis.json").write_text(json.dumps(card | fields))


@pytest.mark.slow
def test_round_trip_is_float16_rounding(saved: Path) -> None:
    torch.manual_seed(0)
    original = DALAResNet50().state_dict()
    net, card = load_weights("breakhis", saved)
    assert not net.training
    assert not any(p.requires_grad for p in net.parameters())
    for key, value in net.state_dict().items():
        if "num_batches" not in key:
            assert value.dtype == torch.float32
            assert torch.equal(value, original[key].half().float()), key
    assert card.classes == ("benign", "malignant")
    assert available(saved) == ("breakhis",)


def test_missing(copy: Path) -> None:
    with pytest.raises(WeightsError, match=r"no model card other\.json.*breakhis"):
        load_weights("other", copy)
    (copy / "breakhis.safetensors").unlink()
    with pytest.raises(WeightsError, match="missing beside their card"):
        load_weights("breakhis", copy)


@pytest.mark.parametrize("change", ["truncated", "one bit", "empty", "another file"])
def test_altered_bytes_are_refused(copy: Path, change: str) -> None:
    path = copy / "breakhis.safetensors"
    blob = bytearray(path.read_bytes())
    if change == "truncated":
        blob = blob[: len(blob) // 2]
    elif change == "one bit":
        blob[len(blob) // 2] ^= 1
    elif change == "empty":
        blob = bytearray()
    else:
        blob = bytearray(b"\x80\x04N.")  # a pickle
    path.write_bytes(blob)
    with pytest.raises(WeightsError, match="sha256 differs"):
        load_weights("breakhis", copy)


def test_a_pickle_with_a_matching_sha_is_not_loaded(copy: Path) -> None:
    path = copy / "breakhis.safetensors"
    torch.save({"fc.weight": torch.zeros(2)}, path)
    change_card(copy, sha256=sha256_of(path))
    with pytest.raises(WeightsError, match="not a readable safetensors"):
        load_weights("breakhis", copy)


@pytest.mark.parametrize("fault", ["missing", "unknown", "shape", "nan"])
def test_another_network_is_refused(copy: Path, fault: str) -> None:
    path = copy / "breakhis.safetensors"
    state = load_file(path)
    if fault == "missing":
        del state["head.fc1.weight"]
    elif fault == "unknown":
        state["fc.weight"] = torch.zeros(1)
    elif fault == "shape":
        state["head.classifier.weight"] = torch.zeros(3, 128).half()
    else:
        state["head.fc1.bias"][0] = torch.nan
    save_file(state, path)
    change_card(copy, sha256=sha256_of(path))
    with pytest.raises(WeightsError, match="not finite" if fault == "nan" else "does not hold a DALAResNet50"):
        load_weights("breakhis", copy)


@pytest.mark.parametrize(
    ("field", "value"), [("classes", ["one"]), ("sha256", "xyz"), ("use", "diagnosis"), ("extra", 1), ("metrics", {})]
)
def test_card_schema(copy: Path, field: str, value: object) -> None:
    change_card(copy, **{field: value})
    with pytest.raises(WeightsError, match="not valid at"):
        read_card("breakhis", copy)


@pytest.mark.parametrize(
    "fault",
    [
        {"temperature": 0},
        {"thresholds": {"ten": {"benign": 0.5, "malignant": 0.5}}},
        {"thresholds": {"0.10": {"benign": 1.5, "malignant": 0.5}}},
        {"bias": {"benign": 0.0, "cancer": 0.0}},
        {"unknown": 1},
    ],
)
def test_a_calibration_that_cannot_be_served_is_refused(copy: Path, fault: dict[str, Any]) -> None:
    good = {
        "temperature": 1.5,
        "bias": {"benign": 0.0, "malignant": 0.0},
        "thresholds": {"0.10": {"benign": 0.5, "malignant": 0.5}},
        "groups": {"benign": 8, "malignant": 29},
        "protocol": "p",
        "guarantee": "g",
        "command": "c",
        "measured": {"expected_calibration_error": {"value": 0.1, "low": None, "high": None}},
    }
    change_card(copy, calibration=good)
    card, _ = read_card("breakhis", copy)
    assert card.calibration is not None
    assert card.calibration.temperature == 1.5
    change_card(copy, calibration=good | fault)
    with pytest.raises(WeightsError, match="not valid at"):
        read_card("breakhis", copy)


@pytest.mark.parametrize("text", ["![x](http://198.51.100.7/a.png)", "<img src=x>", "[y](http://198.51.100.7)"])
@pytest.mark.parametrize("place", ["title", "limits", "training_data"])
def test_a_card_with_markup_is_refused(copy: Path, text: str, place: str) -> None:
    fields = json.loads((copy / "breakhis.json").read_text(encoding="utf-8"))
    values = {"title": text, "limits": [text], "training_data": fields["training_data"] | {"name": text}}
    change_card(copy, **{place: values[place]})
    with pytest.raises(WeightsError, match="it holds markup"):
        read_card("breakhis", copy)


def test_card_that_is_no_json(copy: Path) -> None:
    (copy / "breakhis.json").write_text("{")
    with pytest.raises(WeightsError, match="not readable JSON"):
        read_card("breakhis", copy)


@pytest.mark.slow
def test_float16_overflow_is_refused(saved: Path, tmp_path: Path) -> None:
    net = DALAResNet50()
    with torch.no_grad():
        net.head.fc1.bias[0] = 1e6
    fields = json.loads((saved / "breakhis.json").read_text())
    with pytest.raises(WeightsError, match="float16 cannot hold"):
        save_weights(net, tmp_path / "x.safetensors", fields)


def test_shipped_weights() -> None:
    """The repository's own weights load, are float16 and small enough, and their card names every training group."""
    path = WEIGHTS_DIR / "breakhis.safetensors"
    _, card = load_weights()
    assert {value.dtype for value in load_file(path).values()} == {torch.float16}
    assert path.stat().st_size < 55e6
    assert len(card.training_groups) == 37
    assert card.fields["training_data"]["pictures"] == sum(card.fields["training_data"]["per_class"].values())
    assert card.fields["metrics"]["values"]["auc"]["value"] > 0.5
