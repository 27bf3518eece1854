"""The same matrix over all nine networks, and each against the published network that it was cut from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dala.errors import BackboneError
from dala.nets.dala_resnet50 import DALAResNet50, ResNet50
from dala.nets.imagenet import Backbone
from dala.nets.staged import StagedNetwork
from dala.studies.benchmark import cost_of
from dala.training import baselines
from dala.training.baselines import Settings
from dala.training.registry import ENTRIES, NETWORKS, Entry
from tests.helpers.starts import slim_resnets

SIDE = 32  # from which on the network's smallest side is taken; Swin's last attention needs more than one place
# Logits of two images by networks with drawn weights, as this test first saw them.
GOLDEN = {
    "dala_resnet50": [[2.58777, -1.7021], [1.8609, -1.17952]],
    "resnet50": [[-11.58381, -1.9988], [-11.68226, -1.38035]],
    "se_resnet50": [[1.14738, -0.23435], [-0.00471, 0.07379]],
    "densenet121": [[0.12254, 0.31515], [0.11043, 0.2462]],
    "vgg16": [[0.37219, 0.0415], [0.35312, 0.02033]],
    "vgg16_inception": [[-0.45957, -0.16254], [-0.45392, -0.16418]],
    "vit": [[0.77966, 2.09408], [1.7901, 1.20452]],
    "swin": [[-1.10551, 1.85031], [-0.73153, 1.88587]],
    "dinov2": [[1.39725, -0.69698], [1.33603, 0.04781]],
}


@contextmanager
def unset() -> Iterator[None]:
    """Networks are made without the first weights of their libraries, which take seconds and are replaced."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("kaiming_uniform_", "kaiming_normal_", "trunc_normal_", "uniform_", "normal_"):
            patch.setattr(nn.init, name, lambda tensor, *_, **__: tensor)
        yield


STOCK = torch.from_numpy(np.random.default_rng(2).uniform(-0.05, 0.05, 6_000_000).astype(np.float32))


@contextmanager
def from_stock() -> Iterator[None]:
    """First weights are pieces of a stock of random numbers, chosen by torch's seed: to draw them all takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("kaiming_uniform_", "kaiming_normal_", "trunc_normal_", "uniform_", "normal_"):
            patch.setattr(nn.init, name, _take)
        patch.setattr("timm.layers.weight_init._trunc_normal_", _take)
        yield


def _take(tensor: Tensor, *_: object, **__: object) -> Tensor:
    start = int(torch.randint(len(STOCK) // 2, ()))
    with torch.no_grad():
        for part in tensor.view(-1).split(len(STOCK) - start):  # from the front again where it does not suffice
            part.copy_(STOCK[start : start + len(part)])
    return tensor


def draw_weights(net: nn.Module, seed: int) -> None:
    """Weights from numpy, so that they depend on no library's initialisation: nothing is zero or closed at first."""
    random = np.random.default_rng(seed)
    with torch.no_grad():
        for name, value in net.named_parameters():
            drawn = torch.from_numpy(random.standard_normal(value.numel(), dtype=np.float32)).view(value.shape)
            if value.ndim > 1 and name.split(".")[-1] == "weight":
                value.copy_(drawn * (1.5 / value[0].numel()) ** 0.5)
            else:
                value.copy_(0.1 * drawn + (1.0 if name.endswith(("weight", "gamma")) else 0.0))


def images(side: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(1).standard_normal((2, 3, side, side), dtype=np.float32))


# The two that take longest have a like among the others: the same layers of VGG16, and ViT.
long = pytest.mark.exhaustive(instead="training/test_registry.py::test_shape_finite_and_golden")
LONG = ("vgg16", "dinov2")


@pytest.fixture(
    scope="module", params=[pytest.param(one, marks=long if one.name in LONG else (), id=one.name) for one in ENTRIES]
)
def drawn(request: pytest.FixtureRequest) -> Iterator[tuple[Entry, StagedNetwork, Tensor]]:
    """A network with drawn weights and two images; a module's fixture, so that each is made once."""
    entry: Entry = request.param
    side = 64 if entry.name == "swin" else entry.side(SIDE)
    with unset():
        net, words = entry.start(Settings(side=side))
    assert words == "random"
    draw_weights(net, 0)
    yield entry, net, images(side)


@pytest.mark.slow
def test_shape_finite_and_golden(drawn: tuple[Entry, StagedNetwork, Tensor]) -> None:
    entry, net, x = drawn
    with torch.no_grad():
        logits = net(x)
    assert logits.shape == (2, 2)
    assert torch.isfinite(logits).all()
    np.testing.assert_allclose(logits.numpy(), GOLDEN[entry.name], rtol=1e-3, atol=5e-4)


@pytest.mark.slow
def test_every_parameter_gets_a_gradient_and_two_steps_reduce_the_loss(
    drawn: tuple[Entry, StagedNetwork, Tensor],
) -> None:
    """The last test of a network, as it changes its weights."""
    _, net, x = drawn
    target = torch.tensor([0, 1])
    losses = []
    optimiser = torch.optim.SGD(net.parameters(), lr=1.0)
    for _ in range(2):
        loss = F.cross_entropy(net(x), target)
        optimiser.zero_grad()
        loss.backward()
        lacking = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
        assert lacking == []
        losses.append(loss.item())
        # A step against the gradient that should take off a tenth of the loss if the loss were linear.
        square = sum(float(p.grad.square().sum()) for p in net.parameters() if p.grad is not None)
        optimiser.param_groups[0]["lr"] = 0.1 * loss.item() / square
        optimiser.step()
    with torch.no_grad():
        losses.append(F.cross_entropy(net(x), target).item())
    assert losses[0] > losses[1] > losses[2]
    assert np.isfinite(losses).all()


def test_nine_names_and_their_sides() -> None:
    assert list(NETWORKS) == [
        "dala_resnet50", "resnet50", "se_resnet50", "densenet121", "vgg16", "vgg16_inception", "vit", "swin", "dinov2",
    ]  # fmt: skip
    assert [entry.side(320) for entry in ENTRIES] == [320] * 8 + [322]
    assert [entry.side(112) for entry in ENTRIES] == [112] * 7 + [128, 112]


other_costs = pytest.mark.exhaustive(instead="training/test_registry.py::test_cost_is_the_published_one")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("resnet50", "ResNet50_Weights.IMAGENET1K_V2"),
        ("densenet121", "DenseNet121_Weights.IMAGENET1K_V1"),
        pytest.param("vgg16", "VGG16_Weights.IMAGENET1K_V1", marks=other_costs),
        pytest.param("vit", "ViT_B_16_Weights.IMAGENET1K_V1", marks=other_costs),
        ("swin", "Swin_T_Weights.IMAGENET1K_V1"),
    ],
)
def test_cost_is_the_published_one(name: str, weights: str) -> None:
    """torchvision states operations and parameters of its networks with 1000 classes; ours have 2."""
    from torchvision import models

    stated = models.get_weight(weights).meta
    with unset():
        cost = cost_of(NETWORKS[name], 224, runs=1)
    assert cost.gflops == pytest.approx(stated["_ops"], abs=0.01)
    width = {"resnet50": 2048, "densenet121": 1024, "vgg16": 4096, "vit": 768, "swin": 768}[name]
    assert cost.parameters == stated["num_params"] - 998 * (width + 1)
    assert cost.milliseconds > 0


@pytest.mark.slow
def test_staged_networks_compute_what_the_published_ones_do() -> None:
    """Pooled features of the cut network equal those of timm's or torchvision's own forward pass, same weights."""
    import timm
    from torchvision import models

    for name, side in (("vit", 48), ("swin", 64), ("densenet121", 32), ("vgg16_inception", 32)):
        torch.manual_seed(0)
        with from_stock():
            net, _ = NETWORKS[name].start(Settings(side=side))
        torch.manual_seed(0)
        x = images(side)
        with torch.no_grad(), from_stock():
            found = nn.Sequential(net.trunk, net.tail, net.head.pool, net.head.flatten)(x)
            if name == "densenet121":
                theirs = models.densenet121().eval()
                theirs.classifier = nn.Identity()
                expected = theirs(x)
            elif name == "vgg16_inception":
                theirs = models.vgg16().features.eval()
                block = net.fresh[0]
                expected = block(theirs(x)).mean((2, 3))
            else:
                tag = {
                    "vit": "vit_base_patch16_224.augreg2_in21k_ft_in1k",
                    "swin": "swin_tiny_patch4_window7_224.ms_in1k",
                }[name]
                theirs = timm.create_model(tag, img_size=side, num_classes=0).eval()
                if name == "vit":  # it was trained with mean and deviation 0.5 and not with ImageNet's
                    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
                    expected = theirs((x * std + mean - 0.5) / 0.5)
                else:
                    expected = theirs(x)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_inception_by_hand() -> None:
    # Four branches, all weights 1, 2 input channels of ones, BatchNorm a near identity, 3 x 3 places. Middle place:
    # 1x1: 2. 3x3: 128 channels of 2 at 9 places: 2304. 5x5: 32 channels of 2 at 9 places (the rest is padding): 576.
    # Pool: maximum 1 in both channels: 2. Corner: 4 places for both larger kernels (5x5 reaches all 9).
    block = baselines.Inception(2).eval()
    with torch.no_grad():
        for module in block.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.fill_(1.0)
        y = block(torch.ones(1, 2, 3, 3))
    assert y.shape == (1, 512, 3, 3)
    expected = {0: (2, 2), 128: (2304, 1024), 384: (576, 576), 448: (2, 2)}
    for channel, (middle, corner) in expected.items():
        assert y[0, channel, 1, 1].item() == pytest.approx(middle, rel=1e-4)
        assert y[0, channel, 0, 0].item() == pytest.approx(corner, rel=1e-4)
    torch.testing.assert_close(y[0, 129], y[0, 128])


@pytest.fixture
def slim() -> Iterator[None]:
    with slim_resnets():
        yield


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    from torchvision import models

    torch.manual_seed(3)
    with unset():
        net = models.resnet50()
    draw_weights(net, 3)
    return Backbone({k: v.clone() for k, v in net.state_dict().items() if "num_batches" not in k}, "drawn")


@pytest.mark.slow
def test_the_family_starts_from_one_trunk(backbone: Backbone) -> None:
    """With the same backbone all trunks agree bit for bit, the SE gates being exactly open, so features are shared."""
    from torchvision import models

    x = images(64)
    with unset():
        theirs = models.resnet50().eval()
    theirs.load_state_dict(backbone.state, strict=False)
    with torch.no_grad():
        reference = nn.Sequential(*list(theirs.children())[:7])(x)
        for name in ("dala_resnet50", "resnet50", "se_resnet50"):
            net, words = NETWORKS[name].start(Settings(pretrained=True), backbone)
            assert words.endswith("from drawn")
            assert torch.equal(net.trunk(x), reference), name
            scale = {"dala_resnet50": 1 / (1 + np.exp(-4)), "resnet50": 1.0}.get(name)
            if scale is not None:
                torch.testing.assert_close(net.tail(reference), theirs.layer4(reference) * scale)
    se = NETWORKS["se_resnet50"].start(Settings(pretrained=True), backbone)[0]
    assert isinstance(se, baselines.SEResNet50)
    ones = torch.ones(1, 2048, 2, 2)
    with torch.no_grad():
        torch.testing.assert_close(se.fresh[0](ones), ones / (1 + np.exp(-4)))
    assert len(se.fresh) == 3


@pytest.mark.slow
def test_family_needs_a_backbone_that_fits(backbone: Backbone) -> None:
    with pytest.raises(ValueError, match="not given"):
        NETWORKS["resnet50"].start(Settings(pretrained=True))
    short = Backbone({k: v for k, v in backbone.state.items() if k != "layer4.1.conv2.weight"}, "short")
    for name in ("resnet50", "se_resnet50"):
        with pytest.raises(ValueError, match=r"does not fit: layer4\.(blocks\.)?1\.conv2\.weight"):
            NETWORKS[name].start(Settings(pretrained=True), short)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["densenet121", "swin"])
def test_pretrained_weights_that_cannot_be_had_are_one_sentence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:

    def offline(*arguments: object, **options: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr("torchvision._internally_replaced_utils.load_state_dict_from_url", offline)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", offline)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_url", offline)
    monkeypatch.setattr("timm.models._builder.load_pretrained", offline)
    with pytest.raises(BackboneError, match=r"cannot be had here \(\w+\).*needs the internet"):
        NETWORKS[name].start(Settings(side=64, pretrained=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dinov2", "swin", "densenet121", "vgg16_inception"])
def test_pretrained_weights_arrive_where_they_belong(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would be downloaded is a published network at its own side with its classifier; ours is smaller, without."""
    import timm
    from torchvision import models

    tags = {"dinov2": "vit_base_patch14_dinov2.lvd142m", "swin": "swin_tiny_patch4_window7_224.ms_in1k"}
    with from_stock():
        if name in tags:
            theirs = timm.create_model(tags[name])
        else:
            theirs = models.densenet121() if name == "densenet121" else models.vgg16()
    downloads = []

    def download(*arguments: object, **options: object) -> dict[str, Tensor]:
        downloads.append(arguments[0])
        return theirs.state_dict()

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", download)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", download)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_url", download)
    side = NETWORKS[name].side(224)
    with from_stock():
        net, words = NETWORKS[name].start(Settings(side=side, pretrained=True))
    assert len(downloads) == 1
    assert words == NETWORKS[name].pretrained
    published: dict[tuple[int, ...], list[Tensor]] = {}
    for value in theirs.state_dict().values():
        published.setdefault(tuple(value.shape), []).append(value)
    fresh = {id(parameter) for part in net.fresh for parameter in part.parameters()}
    for place, parameter in net.named_parameters():
        # Names differ after the cut, so a weight is known by its content. Positions are resampled to the smaller side.
        if parameter.ndim in (2, 4) and not place.startswith("head.") and id(parameter) not in fresh:
            assert any(torch.equal(parameter, value) for value in published.get(tuple(parameter.shape), [])), place


@pytest.mark.slow
@pytest.mark.usefixtures("slim")
def test_parts_of_the_ablation() -> None:
    """Which part a variant has, and that DALAResNet50 is the one with both."""
    names = {
        variant: {name.split(".")[1] for name, _ in net.named_parameters() if name.startswith(("head", "layer4.att"))}
        for variant, net in (
            ("plain", ResNet50()),
            ("attention", ResNet50(attention=True)),
            ("dual", ResNet50(dual_activated=True)),
            ("dala", DALAResNet50()),
        )
    }
    dual = {"fc1", "fc2", "classifier"}
    assert names == {
        "plain": {"classifier"}, "attention": {"classifier", "attention"}, "dual": dual, "dala": dual | {"attention"},
    }  # fmt: skip
    torch.manual_seed(0)
    one = DALAResNet50().state_dict()
    torch.manual_seed(0)
    other = ResNet50(attention=True, dual_activated=True).state_dict()
    assert all(torch.equal(value, other[key]) for key, value in one.items())
    relu = ResNet50(dual_activated=True, leak=0.0).head
    assert relu.leaky(torch.tensor([-2.0])).item() == 0
