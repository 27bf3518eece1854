"""Training: the same seed gives the same result, also after a kill; it learns; processes share the work."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from dala.data import breakhis
from dala.data.pixels import load_pixels
from dala.nets.dala_resnet50 import DALAResNet50
from dala.nets.imagenet import Backbone
from dala.preprocess.views import network_input
from dala.stats.groups import group_weights
from dala.training import features as kept
from dala.training import fine_tune as training
from dala.training.features import TrunkFeatures, apply_to_view, imagenet_resnet50, trunk_features
from dala.training.fine_tune import fine_tune
from dala.training.recipe import Recipe
from tests.helpers.starts import slim_resnets, torchvisions_slim_resnet

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def backbone() -> Iterator[Backbone]:
    with slim_resnets() as start:
        yield start


@pytest.fixture(scope="module")
def dataset(tree: Path) -> breakhis.Dataset:
    return breakhis.load(tree, 200)


@pytest.fixture(scope="module")
def features(
    dataset: breakhis.Dataset,
    backbone: Backbone,
    recipe: Recipe,
    tmp_path_factory: pytest.TempPathFactory,
) -> TrunkFeatures:
    return trunk_features(load_pixels(dataset.records), backbone, recipe, tmp_path_factory.mktemp("features"))


def run(
    dataset: breakhis.Dataset,
    features: TrunkFeatures,
    backbone: Backbone,
    recipe: Recipe,
    folder: Path,
) -> DALAResNet50:
    everything = np.arange(len(dataset.labels))
    net = imagenet_resnet50(backbone, 2, recipe.dropout, 7)
    return fine_tune(net, features, dataset.labels, dataset.groups, everything, recipe, 7, folder)


def same(one: DALAResNet50, other: DALAResNet50) -> bool:
    return all(torch.equal(value, other.state_dict()[key]) for key, value in one.state_dict().items())


def test_trunk_features_are_the_trunks(
    dataset: breakhis.Dataset, features: TrunkFeatures, backbone: Backbone, recipe: Recipe
) -> None:
    net = DALAResNet50()
    net.load_imagenet(backbone)
    pixels = load_pixels(dataset.records)
    with torch.no_grad():
        expected = net.eval().trunk(network_input(pixels[4:5], recipe.enlarged))
    found = features.batch(["plain"], np.array([4]), torch.device("cpu")).float()
    assert found.shape == (1, 1024, 2, 2)
    assert (found - expected).norm() / expected.norm() < 0.02  # bfloat16
    mirrored = features.batch(["mirrored"], np.array([4]), torch.device("cpu")).float()
    with torch.no_grad():
        flipped = net.trunk(network_input(pixels[4:5, :, ::-1].copy(), recipe.enlarged))
    assert (mirrored - flipped).norm() / flipped.norm() < 0.02


def test_another_start_has_features_of_its_own(
    dataset: breakhis.Dataset, backbone: Backbone, recipe: Recipe, tmp_path: Path
) -> None:
    few = load_pixels(dataset.records[:2])
    one = dataclasses.replace(recipe, teacher=0, geometric_views=0, stained_views=0)
    other = Backbone({key: 0.9 * value for key, value in backbone.state.items()}, "other")
    first, second, again = (trunk_features(few, start, one, tmp_path) for start in (backbone, other, backbone))
    assert not np.array_equal(first.views["plain"], second.views["plain"])
    assert np.array_equal(first.views["plain"], again.views["plain"])
    assert sorted(place.name for place in tmp_path.iterdir()) == ["features-other", "features-random"]


@pytest.mark.parametrize("units", [["AMX"], []], ids=["bfloat16", "float32"])
def test_it_learns_logs_and_freezes_the_trunk(
    dataset: breakhis.Dataset,
    features: TrunkFeatures,
    backbone: Backbone,
    tmp_path: Path,
    recipe: Recipe,
    units: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On processors with bfloat16 and on those without."""
    monkeypatch.setattr(kept, "bfloat16_units", lambda: units)
    # On labels alone and from a start that knows next to nothing the loss falls; else it has little to fall.
    blank = dataclasses.replace(recipe, teacher=0, logistic_c=1e-7)
    eager = dataclasses.replace(blank, distillation=0.0, lr=1e-4, head_lr=3e-4, dropout=0.0)
    net = run(dataset, features, backbone, eager, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 14))  # 33 images in batches of 8, 3 epochs
    assert np.mean([line["loss"] for line in lines[-4:]]) < 0.9 * np.mean([line["loss"] for line in lines[:4]])
    assert not list(tmp_path.glob("checkpoint*"))
    module = torch.nn.Sequential(net.layer4, net.head, torch.nn.Softmax(1))
    malignant = apply_to_view(module, features, "plain", np.arange(33))[:, 1]
    assert malignant[dataset.labels == 1].mean() > malignant[dataset.labels == 0].mean()
    for key, value in net.trunk.state_dict().items():
        if "num_batches" not in key:
            assert torch.equal(value, backbone.state[key]), key
    statistics = net.layer4.get_submodule("blocks.0.bn1").running_mean
    assert not torch.equal(statistics, backbone.state["layer4.0.bn1.running_mean"])
    assert not net.training


def test_same_seed_same_result_also_after_a_kill(
    dataset: breakhis.Dataset,
    features: TrunkFeatures,
    backbone: Backbone,
    recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    straight = run(dataset, features, backbone, recipe, tmp_path / "straight")
    monkeypatch.setattr(training, "CHECKPOINT_STEPS", 4)
    save, saved = training._save, []

    def save_and_die(*arguments: object) -> None:
        save(*arguments)  # type: ignore[arg-type]
        saved.append(arguments[-1])
        if len(saved) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "_save", save_and_die)
    with pytest.raises(KeyboardInterrupt):
        run(dataset, features, backbone, recipe, tmp_path / "killed")
    assert saved == [4, 8]
    resumed = run(dataset, features, backbone, recipe, tmp_path / "killed")
    steps = [json.loads(line)["step"] for line in (tmp_path / "killed" / "log.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 14))  # nothing was done twice
    assert same(straight, resumed)


def test_the_teacher_sees_layer2_at_its_own_scale(
    dataset: breakhis.Dataset, features: TrunkFeatures, backbone: Backbone, recipe: Recipe
) -> None:
    net = torchvisions_slim_resnet().eval()
    net.load_state_dict(backbone.state, strict=False)
    x = network_input(torch.from_numpy(load_pixels(dataset.records)[4:5]), recipe.teacher)
    with torch.no_grad():
        stem = net.maxpool(net.relu(net.bn1(net.conv1(x))))
        expected = net.layer2(net.layer1(stem)).mean((2, 3))[0]
    assert features.teacher is not None and features.teacher.shape == (33, 512)
    found = torch.from_numpy(features.teacher[4])
    assert (found - expected).norm() / expected.norm() < 0.02  # bfloat16


def test_the_head_begins_with_the_teachers_answers(
    dataset: breakhis.Dataset,
    features: TrunkFeatures,
    backbone: Backbone,
    recipe: Recipe,
    tmp_path: Path,
) -> None:
    # Hardly any ridge, more features than images and no step worth the name: the pupil repeats the teacher, whose
    # answers scikit-learn gives.
    net = run(dataset, features, backbone, dataclasses.replace(recipe, ridge_alpha=1e-3, lr=0, head_lr=0), tmp_path)
    pupil = apply_to_view(torch.nn.Sequential(net.layer4, net.head), features, "plain", np.arange(33))
    weights = group_weights(dataset.labels, dataset.groups)
    assert features.teacher is not None
    z = StandardScaler().fit_transform(features.teacher.astype(np.float64))
    teacher = LogisticRegression(C=recipe.logistic_c, max_iter=2000).fit(
        z, dataset.labels, weights * 33 / weights.sum()
    )
    expected = teacher.decision_function(z)
    assert np.abs(pupil[:, 1] - pupil[:, 0] - expected).max() < 0.1 * expected.std()


def test_a_teacher_needs_its_features(
    dataset: breakhis.Dataset,
    features: TrunkFeatures,
    backbone: Backbone,
    recipe: Recipe,
    tmp_path: Path,
) -> None:
    with pytest.raises(ValueError, match="without what it sees"):
        run(dataset, dataclasses.replace(features, teacher=None), backbone, recipe, tmp_path)


def test_without_a_teacher_the_head_begins_as_its_own_regression(
    dataset: breakhis.Dataset,
    features: TrunkFeatures,
    backbone: Backbone,
    recipe: Recipe,
    tmp_path: Path,
) -> None:
    alone = dataclasses.replace(recipe, teacher=0, stained_views=0, lr=0, head_lr=0)
    views = dataclasses.replace(features, teacher=None, training=alone.training_views)
    net = run(dataset, views, backbone, alone, tmp_path)
    pooled = torch.nn.Sequential(net.layer4, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    x = np.concatenate([apply_to_view(pooled, features, name, np.arange(33)) for name in ("plain", "mirrored")])
    weights = np.tile(group_weights(dataset.labels, dataset.groups), 2)
    scaler = StandardScaler().fit(x)
    model = LogisticRegression(C=alone.logistic_c, max_iter=2000).fit(
        scaler.transform(x), np.tile(dataset.labels, 2), weights * 33 / weights.sum()
    )
    expected = model.decision_function(scaler.transform(x[:33]))
    found = apply_to_view(torch.nn.Sequential(net.layer4, net.head), features, "plain", np.arange(33))
    assert np.abs(found[:, 1] - found[:, 0] - expected).max() < 0.1 * expected.std()


def test_the_start_weighs_its_views() -> None:
    recipe = Recipe(geometric_views=2, stained_views=2, stained_share=0.1)
    assert recipe.training_views == ("plain", "mirrored", "geometric0", "geometric1", "stained0", "stained1")
    assert recipe.start_views == pytest.approx({"plain": 0.45, "mirrored": 0.45, "stained0": 0.05, "stained1": 0.05})
    assert Recipe(stained_views=0).start_views == {"plain": 0.5, "mirrored": 0.5}


def share(
    number: int, dataset: breakhis.Dataset, backbone: Backbone, recipe: Recipe, features: Path, out: Path
) -> None:
    """What each of two processes does, as torchrun would have it."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{out}/met", rank=number, world_size=2)
    views = trunk_features(load_pixels(dataset.records), backbone, recipe, features)
    net = imagenet_resnet50(backbone, 2, recipe.dropout, 3)
    net = fine_tune(net, views, dataset.labels, dataset.groups, np.arange(33), recipe, 3, out / "both")
    save_file({key: value.contiguous() for key, value in net.state_dict().items()}, out / f"{number}.safetensors")
    torch.distributed.destroy_process_group()


def test_two_processes_do_one_run(
    dataset: breakhis.Dataset, features: TrunkFeatures, backbone: Backbone, recipe: Recipe, tmp_path: Path
) -> None:
    """Without dropout the averaged gradients of two half batches are those of the whole batch."""
    recipe = dataclasses.replace(recipe, epochs=1, dropout=0.0)
    arguments = (features, dataset.labels, dataset.groups, np.arange(33), recipe, 3)
    start = imagenet_resnet50(backbone, 2, recipe.dropout, 3)
    alone = fine_tune(start, *arguments, tmp_path / "alone").state_dict()
    forks = multiprocessing.get_context("fork")  # of this process, which has all that they import
    given = (dataset, backbone, recipe, tmp_path / "features", tmp_path)
    processes = [forks.Process(target=share, args=(number, *given)) for number in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
    ended = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    assert ended == [0, 0]
    both = [load_file(tmp_path / f"{rank}.safetensors") for rank in (0, 1)]
    answers = []
    for state in (alone, both[0]):
        net = DALAResNet50()
        net.load_state_dict(state)
        module = torch.nn.Sequential(net.layer4, net.head, torch.nn.Softmax(1)).eval()
        answers.append(apply_to_view(module, features, "plain", np.arange(33))[:, 1])
    assert all(torch.equal(both[0][key], both[1][key]) for key in alone)
    np.testing.assert_allclose(answers[0], answers[1], atol=0.02)
    assert np.ptp(answers[0]) > 0.05  # they do tell images apart
