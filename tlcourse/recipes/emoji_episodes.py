"""Episodes of emoji, and the network that learns from them: what the runs behind lesson 16 have in common."""

from collections.abc import Callable
from functools import lru_cache, partial

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.func import replace_all_batch_norm_modules_

from tlcourse import data, meta

WAY, QUERIES, WIDTH, SIZE, SHIFT = 5, 3, 32, 32, 3


class StridedNet(nn.Module):
    """Four convolutions with stride 2, batch norm and ReLU: the network of MAML's Omniglot experiment, with fewer
    filters. Batch norm keeps running statistics when `running`, otherwise it has those of the batch only."""

    def __init__(self, *, seed: int, running: bool) -> None:
        super().__init__()
        self.dim = WIDTH * (SIZE // 16) ** 2
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            blocks = [_block(3 if i == 0 else WIDTH) for i in range(4)]
        self.blocks = nn.Sequential(*blocks)
        if not running:
            replace_all_batch_norm_modules_(self)

    def forward(self, pixels: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n dim"]:
        """Features, which keep their places."""
        return self.blocks(pixels.float() / 255).flatten(1)


def _block(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, WIDTH, 3, stride=2, padding=1), nn.BatchNorm2d(WIDTH), nn.ReLU())


def episodes(part: str, n: int, generator: torch.Generator) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Support and query of n episodes, five ways and one shot; those to train on are shifted."""
    held = pictures(part)
    drawn = meta.sample_episodes(
        held.pixels, held.labels, tasks=n, n_way=WAY, k_shot=1, n_query=QUERIES, generator=generator
    )
    move: Callable[[Tensor], Tensor] = partial(_shifted_tasks, generator=generator) if part == "fit" else lambda x: x
    return (move(drawn.support), drawn.support_labels), (move(drawn.query), drawn.query_labels)


def _shifted_tasks(pixels: Tensor, generator: torch.Generator) -> Tensor:
    return shifted(pixels.flatten(0, 1), generator).unflatten(0, pixels.shape[:2])


def shifted(pixels: UInt8[Tensor, "n c h w"], generator: torch.Generator) -> UInt8[Tensor, "n c h w"]:
    """Each picture moved by up to three pixels either way, white coming in."""
    n, channels, height, width = pixels.shape
    framed = F.pad(pixels, (SHIFT,) * 4, value=255)
    down, right = torch.randint(2 * SHIFT + 1, (2, n, 1), generator=generator)
    rows, columns = down + torch.arange(height), right + torch.arange(width)
    every, channel = torch.arange(n).reshape(-1, 1, 1, 1), torch.arange(channels).reshape(1, -1, 1, 1)
    return framed[every, channel, rows[:, None, :, None], columns[:, None, None, :]]


@lru_cache(maxsize=3)
def pictures(part: str) -> data.Images:
    """Emoji of all four styles by concept: "fit" to train on, "choose" to set rates, "test"; no subgroup in common."""
    styles = ("noto", "twemoji", "openmoji", "fluent")
    held = data.emoji(styles, size=SIZE, label="name", part="test" if part == "test" else "train")
    if part == "test":
        return held
    generator = torch.Generator().manual_seed(0)
    aside = meta.split_classes(held.labels, groups=held.groups, held_out=0.2, generator=generator)
    mine = held.where(~aside if part == "fit" else aside)
    return mine.only(sorted({held.classes[i] for i in mine.labels.tolist()}))
