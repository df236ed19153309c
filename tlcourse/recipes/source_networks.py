"""Lesson 02: ten small networks, each trained on another source task, for choosing one to transfer (about 5 minutes).

All are Conv4 on 32 × 32 colour pictures, trained for the same number of steps from the same first weights. One of them
learned random labels, and one was not trained at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tlcourse import data, models, training
from tlcourse.concepts.few_label import shift_and_flip

SIZE, WIDTH, STEPS, BATCH = 32, 32, 400, 64
STYLES = ("noto", "twemoji", "openmoji")
SOURCES = (
    "digits",
    "letters",
    "textiles",
    "emoji category",
    "emoji subgroup",
    "emoji concept",
    "emoji style",
    "emoji quarter turn",
    "random labels",
    "untrained",
)


def settings() -> dict[str, Any]:
    """What the networks depend on."""
    return {"size": SIZE, "width": WIDTH, "steps": STEPS, "batch": BATCH, "styles": STYLES, "sources": SOURCES}


def jobs() -> list[dict[str, Any]]:
    """One network a source."""
    return [{"source": source} for source in SOURCES]


def work(job: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Train one network; its weights go to a file beside the log."""
    task = source_task(job["source"])
    model = network(task.n_classes)
    last_loss = None
    if job["source"] != "untrained":
        augment = None if job["source"] in ("digits", "letters", "emoji quarter turn") else shift_and_flip
        schedule = training.cosine
        history = training.fit(
            model, task, steps=STEPS, batch_size=BATCH, lr=3e-3, schedule=schedule, augment=augment, seed=0
        )
        last_loss = round(sum(history.losses[-20:]) / 20, 4)
    _part(job["source"]).parent.mkdir(exist_ok=True)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, _part(job["source"]))
    return {"classes": task.n_classes, "examples": len(task), "last_loss": last_loss}


def finish(rows: list[dict[str, Any]], folder: Path) -> None:
    """All weights in one file, as half-precision numbers."""
    tensors = {}
    for source in SOURCES:
        for name, value in load_file(_part(source)).items():
            tensors[f"{source}/{name}"] = value.half() if value.is_floating_point() else value
    save_file(tensors, folder / "source_networks.safetensors")
    for source in SOURCES:
        _part(source).unlink()
    _part(SOURCES[0]).parent.rmdir()


def network(n_classes: int) -> models.Classifier:
    """The architecture that all share."""
    return models.Classifier(models.Conv4(3, WIDTH, seed=0), n_classes, seed=0)


def load_network(source: str) -> models.Classifier:
    """One of the trained networks with its source head, in evaluation mode. Raises KeyError for an unknown source."""
    if source not in SOURCES:
        raise KeyError(f"source {source!r} is unknown; choose from: {', '.join(SOURCES)}")
    weights = {
        name.split("/", 1)[1]: value.float() if value.is_floating_point() else value
        for name, value in _weights().items()
        if name.startswith(f"{source}/")
    }
    model = network(len(weights["head.bias"]))
    model.load_state_dict(weights)
    return model.eval()


@lru_cache(maxsize=1)
def _weights() -> dict[str, torch.Tensor]:
    return load_file(Path(__file__).parent / "results" / "source_networks.safetensors")


def source_task(source: str) -> data.Images:
    """The training set of a source task, 32 × 32 in colour. Target tasks use other pictures."""
    if source == "digits":
        return colour(data.mnist("train"))
    if source == "letters":
        return colour(data.glyphs(part="train"))
    if source == "textiles":
        return colour(data.textiles(size=SIZE, part="train"))
    label = {"emoji category": "category", "emoji subgroup": "subgroup"}.get(source, "name")
    emoji = data.emoji(STYLES, size=SIZE, part="train", label=label)
    if source == "emoji style":
        return emoji.relabel("style")
    if source == "emoji quarter turn":
        return quarter_turns(emoji)
    if source in ("random labels", "untrained"):
        generator = torch.Generator().manual_seed(0)
        labels = torch.randint(0, 10, (len(emoji),), generator=generator)
        return replace(emoji, labels=labels, classes=tuple("0123456789"))
    return emoji


def colour(images: data.Images) -> data.Images:
    """Three channels at 32 × 32."""
    return replace(images, pixels=images.resized(SIZE).pixels.expand(-1, 3, -1, -1).contiguous())


def quarter_turns(images: data.Images) -> data.Images:
    """Each picture turned by 0, 90, 180 or 270 degrees; the turn is the label (Gidaris et al. 2018)."""
    turns = torch.arange(len(images)) % 4
    pixels = torch.stack([torch.rot90(p, int(t), (-2, -1)) for p, t in zip(images.pixels, turns, strict=True)])
    return replace(images, pixels=pixels, labels=turns, classes=("0°", "90°", "180°", "270°"))


def _part(source: str) -> Path:
    return Path(__file__).parent / "results" / "source_networks.part" / f"{source}.safetensors"
