"""Datasets by name, with the larger counterpart from the hub where one exists."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from tlcourse.data import hub
from tlcourse.data.choices import one_of
from tlcourse.data.containers import Dataset
from tlcourse.data.digits import mnist, optdigits
from tlcourse.data.emoji import emoji
from tlcourse.data.glyphs import glyphs
from tlcourse.data.relations import relations
from tlcourse.data.sentiment import DOMAINS, sentiment
from tlcourse.data.tables import breast_cancer
from tlcourse.data.textiles import textiles

SOURCES = ("builtin", "hub")
COUNTERPARTS = {"emoji": "cifar10", "textiles": "pneumonia_mnist", "movies": "sst2", "nyt": "ag_news"}

Loader = Callable[..., Dataset]


def _domain(name: str) -> Loader:
    return lambda *, part: sentiment(name, part=part)


HUB: dict[str, Loader] = {
    "cifar10": hub.cifar10,
    "flowers102": hub.flowers102,
    "eurosat": hub.eurosat,
    "pneumonia_mnist": hub.pneumonia_mnist,
    "sst2": hub.sst2,
    "ag_news": hub.ag_news,
}
LOADERS: dict[str, Loader] = {
    "emoji": emoji,
    "textiles": textiles,
    "glyphs": glyphs,
    "mnist": mnist,
    "optdigits": optdigits,
    "breast_cancer": breast_cancer,
    "relations": relations,
    **{domain: _domain(domain) for domain in DOMAINS},
    **HUB,
}
SIZED = {"emoji", "textiles", "glyphs", "cifar10", "flowers102", "eurosat", "pneumonia_mnist"}


def load(name: str, *, source: str | None = None, part: str = "train", size: int | None = None) -> Dataset:
    """A dataset by its name, with its usual settings.

    name:   a key of `LOADERS`, such as "emoji", "movies" or "cifar10"
    source: "hub" takes the counterpart (`COUNTERPARTS`: "emoji" becomes "cifar10"); None follows the environment
            variable TLCOURSE_SOURCE, and stays with the built-in set where there is no counterpart
    size:   pixels a side, for sets of pictures that come in several sizes; None leaves it to the loader
    Raises KeyError for an unknown name, part or source, or a set without counterpart; ValueError for a needless size.
    """
    one_of("name", name, LOADERS)
    wanted = one_of("source", source or os.environ.get("TLCOURSE_SOURCE", "builtin"), SOURCES)
    if wanted == "hub" and name not in HUB:
        if source is not None and name not in COUNTERPARTS:
            raise KeyError(f"name={name!r} has no counterpart on the hub; these have one: {', '.join(COUNTERPARTS)}.")
        name = COUNTERPARTS.get(name, name)
    arguments: dict[str, Any] = {"part": part}
    if size is not None:
        if name not in SIZED:
            raise ValueError(f"size={size}: {name!r} has no choice of sizes; leave it out")
        arguments["size"] = size
    return LOADERS[name](**arguments)
