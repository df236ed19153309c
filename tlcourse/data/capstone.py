"""The capstone's problem: forty labelled emoji by one team, and noisy ones by another team to sort.

Who wants to cheat can: the pictures come from the emoji of this course, whose groups are public. The rules of lesson 18
forbid it, and the scorer sees the common ways of doing so.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from tlcourse.data.containers import Images
from tlcourse.data.emoji import emoji

KINDS = {
    "animal": "animal-mammal animal-bird animal-amphibian animal-reptile animal-marine animal-bug",
    "clothing": "clothing",
    "device": "computer phone light-video sound",
    "face": "face-smiling face-affection face-tongue face-hand face-neutral-skeptical face-sleepy face-unwell face-hat "
    "face-glasses face-concerned face-negative",
    "food": "food-fruit food-vegetable food-prepared food-asian food-sweet",
    "hand": "hand-fingers-open hand-fingers-partial hand-single-finger hand-fingers-closed hands hand-prop",
    "person": "person person-role person-activity person-gesture person-fantasy",
    "sky": "sky-weather",
    "sport": "sport game",
    "vehicle": "transport-ground transport-air transport-water",
}
CLASSES = tuple(KINDS)
SHOTS = 4  # labelled pictures of each class
TESTED = 28  # test pictures of each class
MOST_SHOTS = 8  # what a deal can label; the unlabelled pictures come after these
UNLABELLED = 30  # other target pictures of each class, at most: small classes have fewer
SIZE = 128
NOISE = 0.18  # standard deviation, of values from 0 to 1
OFFICIAL = "capstone 2026"


@dataclass(frozen=True, eq=False)
class Capstone:
    """What a participant gets; no label of `target` or `test` is in here.

    train:  forty pictures with labels, four of each class
    target: pictures in the style of the test, without labels; the shares of the classes are not known
    test:   the pictures to sort, with `meta["id"]`; as many of each class
    The labels of `target` and `test` are zeros of a class "hidden", so that every function takes these sets.
    """

    train: Images
    target: Images
    test: Images

    @property
    def classes(self) -> tuple[str, ...]:
        """The ten classes, in the order of the labels' numbers."""
        return self.train.classes

    @property
    def ids(self) -> tuple[str, ...]:
        """The names of the test pictures, in their order."""
        return self.test.meta["id"]


def capstone() -> Capstone:
    """The problem of lesson 18, the same on every machine."""
    train, target, test = deal(OFFICIAL)
    train = replace(train, meta={}, groups=torch.arange(len(train)))  # names would say what a subgroup is
    return Capstone(train=train, target=_hidden(target, "u"), test=_hidden(test, "t"))


def deal(seed: str, *, shots: int = SHOTS, noise: float = NOISE) -> tuple[Images, Images, Images]:
    """Train, target and test of one deal, WITH all labels: for making the answers and measuring the references.

    Participants call `capstone`. No concept is in two of the parts. Target and test of a deal do not depend on `shots`,
    and the labelled pictures are nested. Raises ValueError for shots outside 1 … 8, or noise below 0.
    """
    if not 1 <= shots <= MOST_SHOTS:
        raise ValueError(f"shots is {shots}; give 1 to {MOST_SHOTS} labelled pictures of each class")
    if not noise >= 0:
        raise ValueError(f"noise is {noise}; give a standard deviation, 0 or more")
    clean, other = _style("noto"), _style("twemoji")
    order = _shuffled(clean.meta["name"], seed)
    parts: tuple[list[int], ...] = ([], [], [])
    for label in range(len(CLASSES)):
        members = [i for i in order if int(clean.labels[i]) == label]
        parts[2].extend(members[:TESTED])
        parts[0].extend(members[TESTED : TESTED + shots])
        parts[1].extend(members[TESTED + MOST_SHOTS : TESTED + MOST_SHOTS + UNLABELLED])
    place = {position: rank for rank, position in enumerate(_shuffled(clean.meta["name"], f"{seed}, again"))}
    target, test = (_noisy(other.take(sorted(part, key=place.__getitem__)), noise, seed) for part in parts[1:])
    return clean.take(parts[0]), target, test


def _style(style: str) -> Images:
    pictures = emoji(style, size=SIZE, label="subgroup")
    kind = {subgroup: label for label, name in enumerate(CLASSES) for subgroup in KINDS[name].split()}
    kept = pictures.where(torch.tensor([subgroup in kind for subgroup in pictures.meta["subgroup"]]))
    labels = torch.tensor([kind[subgroup] for subgroup in kept.meta["subgroup"]])
    return replace(kept, name=f"capstone-{style}", labels=labels, classes=CLASSES)


def _shuffled(names: tuple[str, ...], seed: str) -> list[int]:
    """Positions in the order of a hash: the same with every version of every library."""
    return sorted(range(len(names)), key=lambda i: hashlib.sha256(f"{seed}|{names[i]}".encode()).digest())


def _noisy(pictures: Images, noise: float, seed: str) -> Images:
    digest = hashlib.sha256(f"{seed}|noise".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:4], "little"))
    values = pictures.pixels / 255 + noise * torch.randn(pictures.pixels.shape, generator=generator)
    return replace(pictures, pixels=_bytes(values))


def _bytes(values: Tensor) -> UInt8[Tensor, "n c h w"]:
    return (255 * values.clamp(0, 1)).round().to(torch.uint8)


def _hidden(pictures: Images, letter: str) -> Images:
    """The bare pictures: no label, no name, no group."""
    labels: Int64[Tensor, " n"] = torch.zeros(len(pictures), dtype=torch.int64)
    ids = numbered(letter, len(pictures))
    return Images(
        name=f"capstone-{letter}", pixels=pictures.pixels, labels=labels, classes=("hidden",), meta={"id": ids}
    )


def numbered(letter: str, n: int) -> tuple[str, ...]:
    """Ids of n pictures: t000, t001, …; "t" are the test pictures."""
    return tuple(f"{letter}{number:03}" for number in range(n))
