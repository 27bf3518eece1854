"""The gate's figures on cases worked out by hand, and the whole command on a drawn tree with a random network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from dala.data.perturb import jpeg, restain
from dala.errors import DataError
from dala.gate.familiarity import Gaussian, fit_gaussian, load_familiarity
from dala.runtime.predict import load_model
from dala.runtime.weights import sha256_of
from dala.stats.agreement import wilson
from dala.stats.roc import auc
from dala.studies import gate_fit as gate
from dala.studies.gate import GateRecord
from dala.studies.gate_fit import Seen
from dala.studies.gate_images import Item, Kind, all_kinds, from_patches
from tests.helpers.trees import draw_tree


def seen(levels: list[float], failed: list[str], image: list[int], groups: list[str]) -> Seen:
    """Views whose distance in the flat Gaussian is their level."""
    pooled = np.repeat(np.array(levels, np.float32)[:, None], 4, axis=1)
    names = np.array([f"source {number}" for number in range(len(groups))])
    return Seen(pooled, np.array(failed), np.array(image), names, np.array(groups))


def flat(scale: float = 1.0) -> Gaussian:
    return Gaussian(np.zeros(4), np.full(4, scale), np.zeros((1, 4)), np.ones(1), 1.0)


def test_a_known_group_is_judged_by_its_fold_and_others_by_the_mean() -> None:
    gaussians, fold_of = [flat(1.0), flat(0.5)], {"a": 0, "b": 1}
    one = seen([1, 1, 1], ["", "", ""], [0, 1, 2], ["a", "b", ""])
    np.testing.assert_allclose(gate.score(one, gaussians, fold_of), [1, 2, 1.5])


def test_half_of_the_views_must_pass_and_a_failed_check_is_no_distance() -> None:
    two = seen([1, 3, 1, 2, 3, 1, 9], ["", "", "", "", "", "grey", ""], [0, 0, 1, 1, 1, 2, 2], ["", "", ""])
    np.testing.assert_allclose(gate.score(two, [flat()], {}), [1, 2, 9])
    np.testing.assert_allclose(gate.distance(two, [flat()], {}), [2, 2, 5])
    all_failed = seen([1, 1], ["grey", "grey"], [0, 0], [""])
    assert np.isinf(gate.score(all_failed, [flat()], {})).all()
    assert gate.reasons(two, np.array([True, False, True])) == {"unfamiliar": 1, "grey": 1}


def test_few_images_have_fewer_axes() -> None:
    random = np.random.default_rng(0)
    pooled = random.normal(size=(20, 100)).astype(np.float32)
    groups = [str(number) for number in range(20)]
    few = Seen(pooled, np.full(20, ""), np.arange(20), np.array(groups), np.array(groups))
    fitted = gate._fit([few], set(groups) - {"0", "1"})
    assert len(fitted.axes) == 9 and fitted.rest > 0
    assert np.isfinite(fitted.distances(pooled)).all()
    with pytest.raises(ValueError, match="18 images of 100 features do not carry 17 axes and a rest"):
        fit_gaussian(pooled[2:], np.ones(18), 17)


def test_the_limit_is_the_least_that_accepts_the_share() -> None:
    scores = np.arange(1, 101, dtype=float)
    assert gate.limit_of(scores) == 95
    assert (scores <= gate.limit_of(scores, 0.901)).sum() == 91
    scores[:6] = np.inf
    with pytest.raises(DataError, match="more than 5%"):
        gate.limit_of(scores)


def test_roc_against_sklearn() -> None:
    random = np.random.default_rng(0)
    true, kind = random.normal(0, 1, 80).round(1), random.normal(1, 1, 60).round(1)
    kind[:10] = np.inf
    finite = np.where(np.isinf(kind), 99, kind)
    labels, values = np.repeat([0, 1], [80, 60]), np.concatenate([true, finite])
    assert round(auc(*gate._against(true, kind)), 4) == pytest.approx(roc_auc_score(labels, values), abs=1e-4)
    points = np.array(gate._curve(true, kind))
    x, y, _ = roc_curve(labels, values)
    assert (np.interp(x[1:-1], points[:, 0], points[:, 1]) >= y[1:-1] - 0.03).all()
    assert points[0].tolist() == [0, 0]
    assert points[-1].tolist() == [1, 1]
    assert (np.diff(points, axis=0) >= 0).all()
    assert np.trapezoid(points[:, 1], points[:, 0]) == pytest.approx(roc_auc_score(labels, values), abs=5e-3)


# The images


@pytest.fixture(scope="module")
def patches() -> list[Item]:
    random = np.random.default_rng(0)
    return [Item(random.integers(0, 256, (64, 64, 3), dtype=np.uint8), "14-1", "14-1") for _ in range(3)]


def test_changed_images_keep_their_patient_and_their_seed(patches: list[Item]) -> None:
    make = from_patches(patches, lambda p, r: np.clip(p + r.integers(0, 9, p.shape), 0, 255).astype(np.uint8))
    first, again = list(make()), list(make())
    assert [item.group for item in first] == ["14-1"] * 3
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)
    assert (first[0].pixels != first[1].pixels).any()


def test_restaining_by_one_changes_nothing_and_by_two_doubles_a_density() -> None:
    from dala.data.perturb import HED

    eosin = np.exp(-0.4 * HED[1])
    image = np.full((4, 4, 3), 255 * eosin).round().astype(np.uint8)
    assert np.abs(restain(image, np.ones(3)).astype(int) - image).max() <= 1
    doubled = restain(image, np.array([1.0, 2.0, 1.0]))
    np.testing.assert_allclose(doubled[0, 0], 255 * eosin**2, atol=3)
    assert jpeg(image, 90).shape == image.shape


@pytest.mark.slow
def test_kinds_are_named_once_and_those_without_a_data_set_are_made_here(tree: Path) -> None:
    from dala.data import breakhis

    dataset = breakhis.load(tree, 200)
    pixels = np.zeros((len(dataset.records), 64, 64, 3), np.uint8)
    kinds = all_kinds(dataset, pixels, None)
    names = [kind.name for kind in kinds]
    assert len(names) == len(set(names))
    assert {"IHC", "text", "blank glass", "drawn examples"} <= set(names)
    assert not any("tile" in name for name in names)
    glass = next(kind for kind in kinds if kind.name == "blank glass")
    items = list(glass.items())
    assert len(items) == len({item.source for item in items}) == 60
    assert all(item.group is None for item in items)


# The whole command


@pytest.mark.slow
def test_the_command_from_tree_to_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patches: list[Item]) -> None:
    slides = {"A": tuple(str(n) for n in range(101, 107)), "DC": tuple(str(n) for n in range(201, 209))}
    tree = draw_tree(tmp_path, slides, images=3)
    # The shipped network at a side at which it is quick; its card says so, and its statistics do not fit any more.
    model = load_model("breakhis")
    fields = {**model.card.fields, "input": {**model.card.fields["input"], "enlarged": 32}}
    small = replace(model, card=replace(model.card, fields=fields), familiarity=None)
    monkeypatch.setattr(gate, "load_model", lambda name: small)
    monkeypatch.setattr(gate, "AXES", 4)
    monkeypatch.setattr(gate, "CHECKS", {small.card.modality: lambda view: None})
    black = [Item(np.zeros((64, 64, 3), np.uint8), f"black {number}") for number in range(5)]
    long = Item(np.zeros((40, 160, 3), np.uint8), "long")
    kinds = [
        Kind("black", "no histology", "refuse", "black", lambda: iter(black)),
        Kind("long", "near misses", "report", "several views", lambda: iter([long])),
    ]
    monkeypatch.setattr(gate, "all_kinds", lambda *_: kinds)
    said: list[str] = []
    familiarity, same, record = gate.fit_and_measure(tree, None, "breakhis", tmp_path / "runs", said.append)
    assert same is small
    assert "limit" in said[0]
    assert record["weights_sha256"] == sha256_of(Path(__file__).parents[2] / "weights" / "breakhis.safetensors")
    assert record["true_patches"]["pictures"] == 42
    assert record["true_patches"]["refused"] == 2  # 95 % of 42 is 39.9: 40 pass
    assert sum(refused for refused, _ in record["true_patches"]["by_group"].values()) == 2
    black_line, long_line = record["kinds"]
    assert (black_line["refused"], black_line["auc"], black_line["by_check"]) == (5, 1.0, {"unfamiliar": 5})
    assert black_line["share"] == {"value": 1.0, "low": round(wilson(1.0, 5)[0], 4), "high": 1.0}
    assert long_line["refused"] == 1
    assert [line["by_distance_alone"] for line in record["kinds"]] == [5, 1]
    assert record["families"]["no histology (refuse)"]["refused"] == 5
    told = json.loads(json.dumps(record, allow_nan=False))
    assert GateRecord.from_json(told).to_json() == told
    monkeypatch.setattr(gate, "pooled_features", lambda *_: pytest.fail("features were kept"))
    assert gate.fit_and_measure(tree, None, "breakhis", tmp_path / "runs", said.append)[2] == record

    monkeypatch.setattr(gate, "read_card", lambda name: (small.card, tmp_path / "breakhis.safetensors"))
    path = gate.write_statistics(small, "breakhis", familiarity)
    loaded = load_familiarity(tmp_path / "breakhis.safetensors", small.net.trunk, 32)
    assert path.stat().st_size < 2_000_000
    assert loaded is not None
    assert loaded.limit == familiarity.limit == record["limit"]
    assert load_familiarity(tmp_path / "breakhis.safetensors", small.net.trunk, 320) is None


def test_the_evidence_is_of_the_statistics_that_are_shipped() -> None:
    record = json.loads((Path(__file__).parents[2] / "evidence" / "gate_breakhis.json").read_text(encoding="utf-8"))
    model = load_model("breakhis")
    assert model.familiarity is not None
    assert record["limit"] == model.familiarity.limit
    assert record["enlarged"] == model.card.input.upsampled
    assert record["true_patches"]["share"]["value"] == pytest.approx(0.05, abs=0.002)
    assert record["families"]["no histology (refuse)"]["share"]["value"] >= 0.99
    assert record["families"]["true patches, changed (accept)"]["share"]["value"] <= 0.1
    assert {"protocol", "command", "weights_sha256"} <= set(record)
