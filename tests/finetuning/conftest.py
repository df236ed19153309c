"""A small network with stages and BatchNorm, pictures that it can learn, and the errors as a reader sees them."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from tlcourse import models
from tlcourse.data import Images


class Toy(nn.Module):
    """Four stages, each with BatchNorm that has seen pictures: 8 features of a picture of any size."""

    dim = 8
    stage_modules: ClassVar = {"stem": "stem", **{f"blocks.{i}": f"blocks.{i}" for i in range(3)}}

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.stem = _block(3, 8)
            self.blocks = nn.Sequential(*(_block(8, 8) for _ in range(3)))
            pixels = torch.randint(0, 256, (64, 1, 1, 1)) + torch.randint(-40, 40, (64, 3, 8, 8))
        norms = [module for module in self.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = 1.0
        with torch.no_grad():
            self.train()(pixels)
        for norm in norms:
            norm.momentum = 0.1

    def forward(self, pixels: Tensor) -> Tensor:
        return self.blocks(self.stem(pixels.float() / 127.5 - 1)).mean(dim=(2, 3))


def _block(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, padding=1), nn.BatchNorm2d(n_out), nn.ReLU())


@pytest.fixture
def classifier() -> Callable[..., models.Classifier]:
    """classifier(n_classes, seed=…): a new one over a new `Toy`, in evaluation mode."""
    return lambda n_classes=2, seed=0: models.Classifier(Toy(seed), n_classes, seed=seed).eval()


@pytest.fixture
def pictures() -> Callable[..., Images]:
    """pictures(n, n_classes, seed=…): 8 × 8 pixels; each class is brighter than the one before."""

    def make(n: int = 24, n_classes: int = 2, seed: int = 0) -> Images:
        labels = torch.arange(n) % n_classes
        noise = torch.randint(0, 80, (n, 3, 8, 8), generator=torch.Generator().manual_seed(seed))
        pixels = (noise + labels[:, None, None, None] * (170 // n_classes)).to(torch.uint8)
        return Images(name="toy", labels=labels, classes=tuple(f"c{i}" for i in range(n_classes)), pixels=pixels)

    return make
