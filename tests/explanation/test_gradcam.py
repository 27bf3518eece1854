from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dala.explanation.gradcam import SignedMap, signed_maps, stitch
from tests.helpers.oracle import torchcam_rectified, torchcam_signed

BENIGN, MALIGNANT, MARGIN = [1.0, 0.0], [0.0, 1.0], [-1.0, 1.0]


def linear_head() -> nn.Sequential:
    """Pool and linear; benign = -2 a1, malignant = 4 a1 - 8 a2 (+ biases, which no map may depend on)."""
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    with torch.no_grad():
        head[2].weight.copy_(torch.tensor([[-2.0, 0.0], [4.0, -8.0]]))
        head[2].bias.copy_(torch.tensor([7.0, -3.0]))
    return head.eval()


def two_channels() -> Tensor:
    return torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[4.0, 0.0], [0.0, 0.0]]]])


def dual_head(channels: int = 6, classes: int = 2, dropout: float = 0.5) -> nn.Sequential:
    """Pool and a head with LeakyReLU and ReLU, as in DALAResNet50 but small."""
    torch.manual_seed(4)
    head = nn.Sequential(
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels, 16),
        nn.LeakyReLU(0.01),
        nn.Dropout(dropout),
        nn.Linear(16, 8),
        nn.ReLU(),
        nn.Linear(8, classes),
    )
    return head.eval()


def activations(views: int = 3, channels: int = 6, seed: int = 0) -> Tensor:
    return torch.randn(views, channels, 5, 7, generator=torch.Generator().manual_seed(seed))


def relative(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


def test_golden_2x2_by_hand() -> None:
    # The pool divides by 4: d(malignant)/dA1 = 4/4 = 1 and d/dA2 = -8/4 = -2 everywhere, so M = A1 - 2 A2:
    #   [[1 - 8, 2], [3, 4]]. Its sum, 2, is the logit without bias: 4 * 2.5 - 8 * 1.
    # d(benign)/dA1 = -2/4, d/dA2 = 0: M = -A1 / 2. The margin's map is the difference of the two.
    maps = signed_maps(linear_head(), two_channels(), torch.tensor([MALIGNANT, BENIGN, MARGIN]))
    expected = [[[-7.0, 2.0], [3.0, 4.0]], [[-0.5, -1.0], [-1.5, -2.0]], [[-6.5, 3.0], [4.5, 6.0]]]
    assert maps.dtype == torch.float32
    assert maps.tolist() == [[one] for one in expected]


def test_weights_are_the_spatial_mean_of_the_gradient() -> None:
    # No pool: the gradient is (1, 2, 3, 6) over space, its mean 3, so M = 3 A (HiResCAM would give 1, 4, 9, 24).
    head = nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False))
    with torch.no_grad():
        head[1].weight.copy_(torch.tensor([[1.0, 2.0, 3.0, 6.0]]))
    maps = signed_maps(head, torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), torch.ones(1, 1))
    assert maps.tolist() == [[[[3.0, 6.0], [9.0, 12.0]]]]


def test_equals_hirescam_where_only_pool_and_head_follow() -> None:
    # HiResCAM = sum_k dt/dA_k * A_k, element by element. The factor between the two is 1, because alpha is the mean of
    # the gradient over space (it would be h * w for a sum).
    head, leaf = dual_head(), activations().requires_grad_()
    margin = (head(leaf) @ torch.tensor(MARGIN)).sum()
    hires = (torch.autograd.grad(margin, leaf)[0] * leaf).sum(1).detach()
    assert hires.abs().max() > 1e-3
    assert relative(signed_maps(head, activations(), torch.tensor([MARGIN]))[0], hires) < 1e-5


def test_softmax_maps_are_mirrors_and_scale_with_the_margin() -> None:
    head, leaf = dual_head(), activations().requires_grad_()
    probabilities = head(leaf).softmax(1)
    towards = []
    for index in (0, 1):
        (gradient,) = torch.autograd.grad(probabilities[:, index].sum(), leaf, retain_graph=True)
        towards.append((gradient.mean((2, 3))[:, :, None, None] * leaf).sum(1).detach())
    assert relative(-towards[0], towards[1]) < 1e-5
    # d softmax_m = p (1 - p) d margin, so the margin shows what the probability would, free of saturation.
    p = probabilities[:, 1].detach()[:, None, None]
    margin = signed_maps(head, activations(), torch.tensor([MARGIN]))[0]
    assert relative(p * (1 - p) * margin, towards[1]) < 1e-5


def test_linear_in_the_targets() -> None:
    head = dual_head(classes=3)
    one, two, mixed = signed_maps(
        head, activations(), torch.tensor([[1.0, 0.0, 0.0], [0.0, -1.0, 2.0], [3.0, 0.5, -1.0]])
    )
    assert relative(3 * one - 0.5 * two, mixed) < 1e-5


def test_views_do_not_mix() -> None:
    head, batch = dual_head(), activations()
    together = signed_maps(head, batch, torch.tensor([MARGIN]))[0]
    for index in range(3):
        alone = signed_maps(head, batch[index : index + 1], torch.tensor([MARGIN]))[0, 0]
        assert relative(together[index], alone) < 1e-5


def test_eight_threads_give_the_single_thread_answer() -> None:
    head, targets = dual_head(), torch.tensor([MALIGNANT, MARGIN])
    inputs = [activations(seed=seed) for seed in range(64)]
    alone = [signed_maps(head, one, targets) for one in inputs]
    with ThreadPoolExecutor(8) as pool:
        shared = list(pool.map(lambda one: signed_maps(head, one, targets), inputs))
    assert all(relative(many, one) < 1e-6 for many, one in zip(shared, alone, strict=True))


class Raises(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("the head broke")


HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def state(head: nn.Module) -> list[object]:
    """Everything a careless explanation changes: modes, hooks, requires_grad, gradients, values."""
    modules = [(m.training, *(len(getattr(m, hooks)) for hooks in HOOKS)) for m in head.modules()]
    parameters = [
        (p.requires_grad, None if p.grad is None else p.grad.tolist(), p.detach().tolist()) for p in head.parameters()
    ]
    return [modules, parameters, torch.is_grad_enabled()]


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_left_behind(fails: bool) -> None:
    head = dual_head()
    if fails:
        head.append(Raises())
    head[3].train()  # A mixed state on purpose: it has to stay mixed.
    head[2].weight.requires_grad_(False)
    head[5].weight.grad = torch.full_like(head[5].weight, 0.25)
    given = activations()
    kept, before = given.clone(), state(head)
    with pytest.raises(RuntimeError, match="the head broke") if fails else nullcontext():
        signed_maps(head, given, torch.tensor([MARGIN, MALIGNANT]))
    assert state(head) == before
    assert torch.equal(given, kept) and given.grad is None and not given.requires_grad


def test_the_map_has_no_graph() -> None:
    assert not signed_maps(dual_head(), activations(), torch.tensor([MARGIN])).requires_grad


@pytest.mark.parametrize(
    "context",
    [torch.no_grad(), torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16)],
    ids=["no_grad", "inference_mode", "autocast"],
)
def test_same_answer_inside_other_contexts(context: torch.no_grad) -> None:
    head, targets = dual_head(), torch.tensor([MARGIN])
    expected = signed_maps(head, activations(), targets)
    with context:
        inside = signed_maps(head, activations(), targets)
    assert torch.equal(inside.clone(), expected)


def test_activations_born_in_inference_mode_or_with_a_graph() -> None:
    head, targets = dual_head(), torch.tensor([MARGIN])
    expected = signed_maps(head, activations(), targets)
    with torch.inference_mode():
        born = activations() * 1
    assert torch.equal(signed_maps(head, born, targets), expected)
    assert torch.equal(signed_maps(head, activations().requires_grad_() * 1, targets), expected)


def test_dropout_in_training_mode_is_refused() -> None:
    head = dual_head().train()
    with pytest.raises(ValueError, match=r"call eval\(\)"):
        signed_maps(head, activations(), torch.tensor([MARGIN]))


@pytest.mark.parametrize(
    ("given", "targets", "message"),
    [
        (activations()[0], torch.tensor([MARGIN]), "views, channels, height, width"),
        (activations(), torch.tensor(MARGIN), "targets, classes"),
        (activations(), torch.ones(1, 3), "weigh 3 classes"),
    ],
)
def test_shapes_that_do_not_fit(given: Tensor, targets: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        signed_maps(dual_head(), given, targets)


def test_equals_torchcam_on_a_small_network() -> None:
    torch.manual_seed(1)
    backbone = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 6, 3))
    model = nn.Sequential(backbone, dual_head()).eval()
    x = torch.randn(2, 3, 32, 40)
    with torch.no_grad():
        features = model[0](x)
    ours = signed_maps(model[1], features, torch.tensor([BENIGN, MALIGNANT]))
    for index in (0, 1):
        theirs = torchcam_signed(model, "0", x, index)
        assert theirs.min() < 0 < theirs.max()
        assert relative(ours[index], theirs) < 1e-4
        assert relative(ours[index].clamp(min=0), torchcam_rectified(model, "0", x, index)) < 1e-4


def test_a_head_that_pools_first_is_asked_about_the_mean_alone() -> None:
    """The same layers behind a pool that is not recognised are differentiated at every place, with the same answer."""

    class Pool(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean((2, 3))

    given, targets = activations(), torch.tensor([MARGIN, [0.3, 0.7]])
    rest = nn.Sequential(nn.Linear(6, 5), nn.LeakyReLU(), nn.Linear(5, 2))
    quick = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), *rest)
    full = nn.Sequential(Pool(), *rest)
    torch.testing.assert_close(signed_maps(quick, given, targets), signed_maps(full, given, targets))


def test_stitch_lays_views_row_by_row() -> None:
    # Six 1 x 2 maps in two rows of three.
    maps = np.arange(12, dtype=np.float32).reshape(6, 1, 2)
    assert stitch(maps, (2, 3)).tolist() == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]
    tall = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    assert stitch(tall, (1, 2)).tolist() == [[0, 1, 4, 5], [2, 3, 6, 7]]
    with pytest.raises(ValueError, match="2 x 2 views"):
        stitch(maps, (2, 2))


def test_signed_map_by_hand() -> None:
    one = SignedMap(np.array([[1.0, -3.0], [0.0, 2.0]]), "malignant")
    assert one.values.dtype == np.float32
    assert one.maximum == 2.0
    assert one.positive.tolist() == [[1, 0], [0, 2]]
    mirror = SignedMap(-one.values, "benign", one.box)
    assert mirror.target == "benign"
    assert mirror.values.tolist() == [[-1, 3], [0, -2]]
    assert mirror.maximum == 3.0


def test_signed_map_keeps_a_read_only_copy() -> None:
    mine = np.ones((2, 2), dtype=np.float32)
    one = SignedMap(mine, "malignant")
    mine[0, 0] = 9
    assert one.values[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        one.values[0, 0] = 5


@pytest.mark.parametrize("values", [np.ones(3), np.ones((0, 2)), np.array([[np.nan]]), np.array([[np.inf]])])
def test_signed_map_refuses(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="map"):
        SignedMap(values, "malignant")


def test_enlarged_has_half_pixel_centres() -> None:
    # Two values 0 and 8 on four pixels: centres at -0.25, 0.25, 0.75, 1.25 of the small grid, borders repeated.
    one = SignedMap(np.array([[0.0, 8.0]]), "malignant")
    assert one.upsampled(1, 4).tolist() == [[0, 2, 6, 8]]
    assert one.upsampled(2, 4).tolist() == [[0, 2, 6, 8]] * 2
    assert SignedMap(-one.values, "benign").upsampled(1, 4).tolist() == [[0, -2, -6, -8]]


def test_enlarged_equals_torch() -> None:
    values = np.random.default_rng(0).normal(size=(7, 7)).astype(np.float32)
    theirs = nn.functional.interpolate(torch.from_numpy(values)[None, None], (460, 700), mode="bilinear")[0, 0]
    np.testing.assert_allclose(SignedMap(values, "malignant").upsampled(460, 700), theirs.numpy(), atol=2e-6)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[-1.0, -2.0]], False),
        ([[0.0, 0.0]], False),
        ([[-1.0, 1e-7]], False),  # One float32 rounding step of the largest value.
        ([[-1e-20, 1e-27]], False),  # The same in other units.
        ([[-1.0, 1e-4]], True),
        ([[-1e-20, 1e-24]], True),
        ([[1e-20, 0.0]], True),
    ],
)
def test_evidence_is_judged_on_the_maps_own_scale(values: list[list[float]], expected: bool) -> None:
    assert SignedMap(np.array(values), "malignant").has_evidence is expected


def test_a_map_of_a_part_of_the_image_is_zero_elsewhere() -> None:
    values = np.array([[1, -2], [3, 4]], dtype=np.float32)
    part = SignedMap(values, "cancer", box=(0.5, 0.25, 1.0, 0.75))
    field = part.upsampled(4, 4)
    assert field.tolist() == [[0, 0, 0, 0], [0, 0, 1, -2], [0, 0, 3, 4], [0, 0, 0, 0]]
    assert SignedMap(-part.values, "benign", part.box).upsampled(4, 4).tolist() == (-field).tolist()
    # A part too thin to be seen at a small size leaves nothing.
    assert not SignedMap(values, "cancer", box=(0.5, 0.0, 0.6, 1.0)).upsampled(2, 2).any()
