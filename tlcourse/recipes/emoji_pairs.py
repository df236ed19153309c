"""Emoji and their captions as features, for `emoji_contrastive` and its lesson."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from tlcourse import data, models, training
from tlcourse.foundation import Pairs

STYLES, UNSEEN = ("noto", "twemoji", "openmoji"), "fluent"
SIZE, COPIES = 224, 4
MAP = (192, 7, 7)  # what the trunk gives for a picture of this size
KINDS = {
    "person-role": "a person at work",
    "transport-ground": "a vehicle on the road or rails",
    "geometric": "a geometric shape",
    "face-concerned": "a sad or worried face",
    "household": "a thing in the household",
    "av-symbol": "a button of a media player",
    "person-fantasy": "a fantasy creature",
    "event": "a celebration",
    "animal-bird": "a bird",
    "drink": "a drink",
    "face-neutral-skeptical": "a sceptical face",
    "plant-other": "a plant",
    "light-video": "a camera or a lamp",
    "food-sweet": "a sweet dessert",
    "computer": "a computer or a disk",
    "mail": "a letter or a letterbox",
    "religion": "a religious symbol",
    "plant-flower": "a flower",
}
"""Held-out subgroups with twelve concepts or more, and words for them."""


class Trunk(nn.Module):
    """EfficientNet up to its last blocks, which `tail` has; feature maps, flattened."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = vision()

    def forward(self, pixels: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n dim"]:
        """What the last blocks take."""
        net = self.backbone.net
        return net.blocks[:-1](net.bn1(net.conv_stem(self.backbone.normalise(pixels)))).flatten(1)  # type: ignore[operator, index]

    def fingerprint(self) -> str:
        """The exact weights, for caches."""
        return f"trunk-{self.backbone.fingerprint()}"


def tail() -> nn.Sequential:
    """The last blocks of EfficientNet, as they came: from the trunk's maps to the features of a picture."""
    net = models.vision().net
    last: list[nn.Module] = [net.blocks[-1], net.conv_head, net.bn2]  # type: ignore[index, list-item]
    return nn.Sequential(nn.Unflatten(1, MAP), *last, nn.AdaptiveAvgPool2d(1), nn.Flatten())


@lru_cache(maxsize=1)
def vision() -> models.VisionBackbone:
    """EfficientNet as it came."""
    return models.vision()


@lru_cache(maxsize=1)
def trunk() -> Trunk:
    """The one trunk, with its weights as they came."""
    return Trunk().eval()


def pictures(style: str, part: str, size: int | None = None) -> data.Images:
    """One style, in Unicode order of the concepts, size × size pixels; SIZE unless told."""
    return data.emoji(style, size=size or SIZE, part=part, label="name")


@lru_cache(maxsize=8)
def held_out(style: str, *, maps: bool) -> Float[Tensor, "n dim"]:
    """The held-out concepts in one style: the trunk's maps, or what EfficientNet makes of them."""
    found = training.features(trunk(), pictures(style, "test"))
    return found if maps else through_tail(found)


@torch.no_grad()
def through_tail(maps: Float[Tensor, "n dim"]) -> Float[Tensor, "n dim2"]:
    """The features of EfficientNet, from the trunk's maps."""
    last = tail().eval()
    return torch.cat([last(part.float()) for part in maps.split(256)])


@lru_cache(maxsize=4)
def training_pairs(*, tags: bool, augmented: bool, maps: bool) -> Pairs:
    """The training concepts: each in all training styles, and with all its captions.

    tags: captions with the tags as well as the name. augmented: COPIES more views of each picture. maps: views are the
    trunk's maps, in half precision, and not the features of EfficientNet.
    """
    views = training_views(augmented)
    shown = views if maps else through_tail(views.flatten(0, 1)).unflatten(0, views.shape[:2])
    texts = captions("train", tags=tags)
    embedded = embed([text for several in texts for text in several])
    return Pairs(shown, tuple(embedded.split([len(several) for several in texts])))


@lru_cache(maxsize=2)
def training_views(augmented: bool) -> Float[Tensor, "concepts views dim"]:
    """Maps of every view of the training concepts."""
    views = []
    for style in STYLES:
        plain = pictures(style, "train")
        views.append(training.features(trunk(), plain).half())
        for copy in range(COPIES if augmented else 0):
            changed = replace(plain, pixels=moved_and_tinted(plain.pixels, seed=copy))
            views.append(training.features(trunk(), changed, cache=False).half())
    return torch.stack(views, dim=1)


class Unseen(NamedTuple):
    """Concepts that a random split holds out: their pictures in each style as features, and what they are called."""

    pictures: dict[str, Tensor]
    names: list[str]
    descriptions: list[str]


def split_at_random(n: int, seed: int) -> tuple[Pairs, Unseen]:
    """All concepts but n at random as pairs in the training styles, and those n in every style."""
    order = torch.randperm(len(_numbered(("train", "test"))), generator=torch.Generator().manual_seed(seed)).tolist()
    return _split(("train", "test"), set(order[:n]))


def split_for_choice(size: int | None = None) -> tuple[Pairs, Unseen]:
    """The training concepts without every fifth subgroup, and the concepts of these: settings are chosen on them."""
    subgroups = pictures(STYLES[0], "train").meta["subgroup"]
    out = sorted(set(subgroups))[::5]
    return _split(("train",), {row for row, subgroup in enumerate(subgroups) if subgroup in out}, size)


def _numbered(parts: Sequence[str]) -> list[list[str]]:
    return [several for part in parts for several in captions(part, tags=True)]


def _split(parts: Sequence[str], out: set[int], size: int | None = None) -> tuple[Pairs, Unseen]:
    texts = _numbered(parts)
    every = {
        style: torch.cat([training.features(vision(), pictures(style, part, size)) for part in parts])
        for style in (*STYLES, UNSEEN)
    }
    held, kept = sorted(out), [row for row in range(len(texts)) if row not in out]
    pairs = Pairs(torch.stack([every[style] for style in STYLES], dim=1)[kept], tuple(embed(texts[i]) for i in kept))
    shown = {style: features[held] for style, features in every.items()}
    return pairs, Unseen(shown, [texts[i][0] for i in held], [texts[i][min(1, len(texts[i]) - 1)] for i in held])


def moved_and_tinted(pixels: UInt8[Tensor, "n 3 h w"], *, seed: int) -> UInt8[Tensor, "n 3 h w"]:
    """Each picture turned by up to 15°, made 0.75 to 1.1 times as large, moved, and its colours changed a little."""
    generator = torch.Generator().manual_seed(seed)
    n = len(pixels)

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=generator)

    angle, scale = draw(-0.26, 0.26), draw(0.75, 1.1)
    turn = torch.stack([angle.cos(), -angle.sin(), draw(-0.15, 0.15), angle.sin(), angle.cos(), draw(-0.15, 0.15)], 1)
    tint = 1 + 0.2 * (2 * torch.rand(n, 3, 1, 1, generator=generator) - 1)
    colour = draw(0.5, 1.3)[:, None, None, None]
    parts = (pixels, turn.view(n, 2, 3) / scale[:, None, None], tint, colour)
    return torch.cat([_changed(*several) for several in zip(*(part.split(128) for part in parts), strict=True)])


def _changed(pixels: Tensor, turn: Tensor, tint: Tensor, colour: Tensor) -> Tensor:
    grid = F.affine_grid(turn, list(pixels.shape), align_corners=False)
    ink = F.grid_sample(255 - pixels.float(), grid, align_corners=False)  # outside is white
    grey = ink.mean(dim=1, keepdim=True)
    return (255 - tint * (grey + colour * (ink - grey))).round().clamp(0, 255).to(torch.uint8)


def captions(part: str, *, tags: bool) -> list[list[str]]:
    """The captions of each concept: its name, and with `tags` also the name with its tags, and the tags alone."""
    shown = pictures(STYLES[0], part)
    if not tags:
        return [[name] for name in shown.meta["name"]]
    both = zip(shown.meta["name"], shown.meta["tags"], strict=True)
    return [[name, f"{name}: {words}", words] if words else [name] for name, words in both]


def descriptions(part: str) -> list[str]:
    """Name and tags of each concept."""
    return [several[1] if len(several) > 1 else several[0] for several in captions(part, tags=True)]


def kinds() -> tuple[Tensor, Tensor]:
    """Rows of the held-out concepts that belong to one of KINDS, and which one."""
    subgroups = pictures(STYLES[0], "test").meta["subgroup"]
    number = {name: i for i, name in enumerate(KINDS)}
    rows = [i for i, name in enumerate(subgroups) if name in number]
    return torch.tensor(rows), torch.tensor([number[subgroups[i]] for i in rows])


def embed(texts: Sequence[str]) -> Float[Tensor, "n dim"]:
    """MiniLM's features of texts; each is computed once and kept in memory."""
    fresh = [text for text in dict.fromkeys(texts) if text not in _known]
    for start in range(0, len(fresh), 64):
        part = fresh[start : start + 64]
        with torch.no_grad():
            found = minilm()(minilm().collate(part))
        _known.update(zip(part, found, strict=True))
    return torch.stack([_known[text] for text in texts])


@lru_cache(maxsize=1)
def minilm() -> models.TextBackbone:
    """MiniLM as it came."""
    return models.text()


_known: dict[str, Tensor] = {}
