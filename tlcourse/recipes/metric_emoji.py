"""Lesson 15: learning to compare emoji, and what a leaky split hides (under half an hour on one core).

Concepts are the classes, their four styles the examples. Held out are whole Unicode subgroups (honest), or concepts at
random, whose near-duplicates stay in training (leaky). Width, steps, learning rates and controls are those of
`metric_family`; nothing was chosen on emoji.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tlcourse import data, meta, models, training
from tlcourse.recipes import metric_family as family

SIDE, HELD_OUT = 32, 0.33  # pixels, share of the families
SPLITS, SEEDS = ("subgroups", "random"), family.SEEDS
METHODS = ("prototypical", "matching", "matching, in context", "relation")
CONTROLS = ("pixels", "ImageNet", "classifier", "fine-tuned classifier")


def settings() -> dict[str, Any]:
    """What the numbers depend on."""
    return {**family.settings(), "side": SIDE, "held_out": HELD_OUT}


def jobs() -> list[dict[str, Any]]:
    """Every control and method on each split, but fine-tuning on the honest one only: it takes the longest.

    Each seed has its own held-out concepts.
    """
    ways = [(split, method) for split in SPLITS for method in (*CONTROLS, *METHODS)]
    ways.remove(("random", "fine-tuned classifier"))
    return [{"split": split, "method": method, "seed": seed} for split, method in ways for seed in SEEDS]


def work(job: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Train where there is something to train, and measure with one and with three examples of five concepts."""
    method, seed = job["method"], job["seed"]
    emoji, test = concepts(SIDE), held_out(seed, honest=job["split"] == "subgroups")
    items: Tensor = emoji.pixels.float() / 255
    held = {"held_out": len(emoji.labels[test].unique())}
    if method == "fine-tuned classifier":
        network = classifier(job["split"], seed)
        return held | family.both(
            lambda shots: family.fine_tuned(network, items[test], emoji.labels[test], k_shot=shots)
        )
    compare: meta.Comparison = meta.PrototypicalNetwork(nn.Identity())
    if method in METHODS:
        compare = family.untrained(method, seed, in_channels=3)
        meta.train_episodic(
            compare,
            items[~test],
            emoji.labels[~test],
            steps=family.STEPS,
            n_way=family.WAY,
            n_query=family.QUERIES,
            lr=family.RATE,
            seed=seed,
        )
    elif method == "pixels":
        items = items.flatten(1)
    elif method == "ImageNet":
        items = centred(frozen(family.ENLARGED), test)
    else:
        items = centred(meta.embed_all(classifier(job["split"], seed), items).cpu(), test)
    return held | family.both(lambda shots: family.accuracy(compare, items[test], emoji.labels[test], shots))


@lru_cache(maxsize=3)
def classifier(split: str, seed: int) -> nn.Module:
    """The control: the same network as an ordinary classifier of the training concepts."""
    emoji, test = concepts(SIDE), held_out(seed, honest=split == "subgroups")
    numbered = emoji.labels[~test].unique(return_inverse=True)[1]
    return family.fitted_classifier(emoji.pixels[~test].float() / 255, numbered, seed=seed)


def held_out(seed: int, *, honest: bool) -> Bool[Tensor, " n"]:
    """True for the held-out pictures: whole subgroups of Unicode, or concepts at random."""
    emoji = concepts(SIDE)
    generator = torch.Generator().manual_seed(seed)
    families = emoji.groups if honest else None
    return meta.split_classes(emoji.labels, held_out=HELD_OUT, groups=families, generator=generator)


def centred(features: Float[Tensor, "n dim"], test: Bool[Tensor, " n"]) -> Float[Tensor, "n dim"]:
    """Features less the mean of the training concepts', brought to length 1."""
    return meta.centred(features, features[~test].mean(dim=0))


@lru_cache(maxsize=2)
def concepts(size: int) -> data.Images:
    """Every concept in four styles; the concept is the class."""
    return data.emoji(("noto", "twemoji", "openmoji", "fluent"), size=size, label="name")


@lru_cache(maxsize=2)
def frozen(size: int) -> Float[Tensor, "n dim"]:
    """Features of all emoji at a size, from the network of lesson 01, cached on disk."""
    return training.features(models.vision(), concepts(size))


def finish(rows: list[dict[str, Any]], folder: Path) -> None:
    """Nothing to add: the rows are the result."""
