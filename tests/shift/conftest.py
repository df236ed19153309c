"""Gaussian domains, a small network with BatchNorm, and the errors as a reader sees them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tlcourse import models
from tlcourse.data import Images, Table


@pytest.fixture
def gaussian() -> Callable[..., Tensor]:
    """gaussian(n, shift, seed=…, dim=…): unit normal rows, the first column moved by `shift`."""

    def draw(n: int, shift: float = 0.0, *, seed: int = 0, dim: int = 4) -> Tensor:
        rows = torch.randn(n, dim, generator=torch.Generator().manual_seed(seed))
        rows[:, 0] += shift
        return rows

    return draw


@pytest.fixture
def table() -> Callable[..., Table]:
    """table(features, labels): two classes or as many as there are."""

    def make(features: Tensor, labels: Tensor, classes: tuple[str, ...] = ("a", "b")) -> Table:
        columns = tuple(f"x{i}" for i in range(features.shape[1]))
        return Table(name="toy", features=features, columns=columns, labels=labels, classes=classes)

    return make


class Toy(nn.Module):
    """One convolution with BatchNorm: 4 features of a picture."""

    dim = 4

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.norm(self.conv(pixels.float() / 255)).relu().mean(dim=(2, 3))


@pytest.fixture
def classifier() -> Callable[..., models.Classifier]:
    """classifier(n_classes, seed=…): a new head on a new `Toy`, in evaluation mode."""
    return lambda n_classes=2, seed=0: models.Classifier(Toy(seed), n_classes, seed=seed).eval()


@pytest.fixture
def pictures() -> Callable[..., Images]:
    """pictures(n, bright=…, seed=…): 8 × 8 grey levels; the class is whether the left or the right half is lighter."""

    def make(n: int = 64, *, bright: float = 0.0, contrast: float = 1.0, seed: int = 0) -> Images:
        generator = torch.Generator().manual_seed(seed)
        labels = torch.arange(n) % 2
        pixels = 60 + 30 * torch.rand(n, 1, 8, 8, generator=generator)
        half = torch.arange(8) < 4
        side = torch.where(labels[:, None] == 0, half, ~half)
        pixels += 40 * side[:, None, None, :]
        pixels = (contrast * pixels + bright).round().clamp(0, 255).to(torch.uint8)
        return Images(name="toy", pixels=pixels, labels=labels, classes=("left", "right"))

    return make
