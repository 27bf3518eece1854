"""Random views of H&E images, drawn for a whole batch at once: symmetries, framing, stain, colour, focus."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dala.data.perturb import HED


@dataclass(frozen=True)
class Augmentation:
    """Strengths of the random view; zero switches a part off (1 for crop and aspect)."""

    crop: float = 0.6  # smallest share of the area that a random frame may keep
    aspect: float = 1.5  # largest factor by which height : width is stretched or squeezed
    stain: float = 0.25  # log-amount of each dye, drawn apart for haematoxylin, eosin and residual
    stain_mix: float = 0.05  # leak of each dye's colour into the other channels (other batches, other scanners)
    gain: float = 0.06  # log-brightness of the lamp per colour channel (white balance)
    gamma: float = 0.15  # log-exponent of the camera
    grey: float = 0.1  # probability of an image without any colour
    blur: float = 0.3  # probability of a Gaussian blur with sigma up to 1.2 pixels of the input
    symmetries: bool = True  # all eight flips and rotations, equally likely


def random_views(images: Tensor, size: int, how: Augmentation, seed: int) -> Tensor:
    """One random view of each image.

    `images`: (N, H, W, 3) uint8. Returns (N, 3, size, size) float32 in 0..1. The same seed gives the same views.
    """
    draw = torch.Generator().manual_seed(seed)
    x = images.permute(0, 3, 1, 2).to(torch.float32).div_(255)
    x = _frame(x, size, how, draw)
    x = _stain(x, how, draw)
    return _focus(x, how, draw).clamp_(0, 1)


def _uniform(n: int, low: float, high: float, draw: torch.Generator) -> Tensor:
    return torch.rand(n, generator=draw) * (high - low) + low


def _frame(x: Tensor, size: int, how: Augmentation, draw: torch.Generator) -> Tensor:
    """A random frame (share of the area, stretch, place), flipped and turned, sampled bilinearly at `size`."""
    n = len(x)
    area = _uniform(n, how.crop, 1.0, draw)
    log_stretch = torch.log(torch.tensor(how.aspect)) * _uniform(n, -1, 1, draw)
    height = (area * torch.exp(log_stretch)).sqrt().clamp(max=1)
    width = (area * torch.exp(-log_stretch)).sqrt().clamp(max=1)
    centre_x = _uniform(n, -1, 1, draw) * (1 - width)
    centre_y = _uniform(n, -1, 1, draw) * (1 - height)
    flip_x = torch.randint(0, 2, (n,), generator=draw) * 2.0 - 1
    flip_y = torch.randint(0, 2, (n,), generator=draw) * 2.0 - 1
    turn = torch.randint(0, 2, (n,), generator=draw).bool()
    if not how.symmetries:
        flip_x, flip_y, turn = torch.ones(n), torch.ones(n), torch.zeros(n, dtype=torch.bool)
    zero = torch.zeros(n)
    row_x = torch.stack([width * flip_x, zero, centre_x], 1)
    row_y = torch.stack([zero, height * flip_y, centre_y], 1)
    swapped_x = torch.stack([zero, width * flip_x, centre_x], 1)
    swapped_y = torch.stack([height * flip_y, zero, centre_y], 1)
    theta = torch.where(turn[:, None, None], torch.stack([swapped_x, swapped_y], 1), torch.stack([row_x, row_y], 1))
    grid = F.affine_grid(theta, [n, 3, size, size], align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _stain(x: Tensor, how: Augmentation, draw: torch.Generator) -> Tensor:
    """Beer-Lambert: scale and mix the dyes in optical density, then lamp gain, camera gamma and rare greys."""
    n = len(x)
    density = -torch.log(x.clamp(min=1 / 255)).flatten(2)  # (N, 3, pixels), natural logarithm
    amounts = torch.exp(how.stain * torch.randn(n, 3, generator=draw))
    mix = how.stain_mix * torch.randn(n, 3, 3, generator=draw)
    to_density = torch.from_numpy(HED).T
    to_dyes = torch.linalg.inv(to_density)
    change = to_density @ (torch.diag_embed(amounts) + mix) @ to_dyes
    gain = how.gain * torch.randn(n, 3, generator=draw)
    gamma = torch.exp(how.gamma * torch.randn(n, 1, 1, generator=draw))
    x = torch.exp(-(change @ density - gain[..., None]) * gamma).clamp(0, 1).view_as(x)
    grey = x.mean(1, keepdim=True).expand_as(x)
    colourless = torch.rand(n, generator=draw) < how.grey
    return torch.where(colourless[:, None, None, None], grey, x)


def _focus(x: Tensor, how: Augmentation, draw: torch.Generator) -> Tensor:
    """A Gaussian blur of random width for some of the images."""
    n = len(x)
    sigma = torch.where(torch.rand(n, generator=draw) < how.blur, _uniform(n, 0.4, 1.2, draw), torch.full((n,), 1e-3))
    steps = torch.arange(-3, 4, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (steps[None] / sigma[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, 0)
    flat = F.pad(x.reshape(1, 3 * n, *x.shape[2:]), (3, 3, 3, 3), mode="reflect")
    flat = F.conv2d(flat, kernel[:, None, None, :], groups=3 * n)
    flat = F.conv2d(flat, kernel[:, None, :, None], groups=3 * n)
    return flat.view_as(x)
