"""Lesson 15: what a network that learned to compare is worth (ten minutes on one core).

Glyphs: every method is trained on letters of some scripts and tested on scripts that it has never seen; every picture
is turned, moved and scaled a little. The control is a classifier of the training letters with the same network, as many
pictures and as many steps, used with prototypes or fine-tuned on each support set. The learning rate and the steps of
the fine-tuning come from a trial on training letters. Emoji: `metric_emoji`.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tlcourse import data, meta, models, training
from tlcourse.recipes.pieces import halved, widened

WIDTH, WAY, QUERIES = 32, 20, 3
STEPS, RATE = 600, 2e-3
EPISODES = 600
SEEDS = (0, 1, 2)
METHODS = ("prototypical", "matching", "matching, sharpness 1", "matching, in context", "relation")
TUNING_STEPS, TUNING_RATE = 20, 1e-3
ENLARGED = 64  # what the network from ImageNet is given


def settings() -> dict[str, Any]:
    """What the numbers depend on."""
    return {
        "width": WIDTH,
        "parameters": {m: sum(p.numel() for p in untrained(m, 0).parameters()) for m in METHODS},
        "steps": STEPS,
        "rate": RATE,
        "way": WAY,
        "queries": QUERIES,
        "episodes": EPISODES,
        "seeds": SEEDS,
        "tuning": {"steps": TUNING_STEPS, "rate": TUNING_RATE},
    }


def jobs() -> list[dict[str, Any]]:
    """What needs no training, then each method and the control, then the control fine-tuned."""
    plain = [{"part": "glyphs", "method": m, "seed": 0} for m in ("pixels", "ImageNet")]
    plain += [{"part": "glyphs", "method": "untrained", "seed": seed} for seed in SEEDS]
    learned = [{"part": "glyphs", "method": m, "seed": seed} for m in (*METHODS, "classifier") for seed in SEEDS]
    tuned = [{"part": "tuning", "method": "fine-tuned classifier", "seed": seed} for seed in SEEDS]
    return plain + learned + tuned


def work(job: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Train where there is something to train, and measure; the first seed's networks are kept for `finish`."""
    method, seed = job["method"], job["seed"]
    pictures, labels = test_glyphs()
    if job["part"] == "tuning":
        network = classifier(seed)
        return both(lambda shots: fine_tuned(network, pictures, labels, k_shot=shots))
    found: dict[str, Any] = {}
    if method == "pixels":
        compare: meta.Comparison = meta.PrototypicalNetwork(nn.Flatten())
    elif method == "ImageNet":
        compare, pictures = meta.PrototypicalNetwork(nn.Identity()), frozen_glyphs()
    elif method == "classifier":
        compare, pictures = meta.PrototypicalNetwork(nn.Identity()), classifier_features(seed, pictures)
    elif method == "untrained":
        compare = meta.PrototypicalNetwork(meta.Conv4(width=WIDTH, seed=seed))
    else:
        compare, losses = trained(method, seed)
        found["loss"] = round(sum(losses[-50:]) / len(losses[-50:]), 4)
        if seed == SEEDS[0]:
            kept[method] = compare.state_dict()
    return found | both(lambda shots: accuracy(compare, pictures, labels, shots))


kept: dict[str, dict[str, Tensor]] = {}


def both(measure: Any) -> dict[str, float]:
    """Mean accuracy of 5-way episodes with one and three examples of each class, and half of its 95 % interval."""
    found = {}  # type: dict[str, float]
    for shots, name in ((1, "one"), (3, "three")):
        interval = measure(shots).interval
        found |= {name: round(interval.mean, 5), f"{name}_half": round(interval.high - interval.mean, 5)}
    return found


def accuracy(compare: meta.Comparison, items: Tensor, labels: Tensor, shots: int) -> meta.FewShot:
    """In 600 episodes. A class has four pictures at least, so three examples leave one query."""
    n_query = QUERIES if shots == 1 else 1
    return meta.evaluate_episodes(compare, items, labels, episodes=EPISODES, k_shot=shots, n_query=n_query)


def untrained(method: str, seed: int, *, in_channels: int = 1) -> meta.Comparison:
    """A method's networks before training."""
    if method == "relation":
        maps = meta.ConvMaps(in_channels, WIDTH, seed=seed)
        return meta.RelationNetwork(maps, meta.RelationModule(WIDTH, seed=seed))
    embed = meta.Conv4(in_channels, WIDTH, seed=seed)
    if method == "prototypical":
        return meta.PrototypicalNetwork(embed)
    context = meta.FullContext(WIDTH, steps=5, seed=seed) if method == "matching, in context" else None
    return meta.MatchingNetwork(embed, context=context, sharpness=1.0 if "sharpness 1" in method else 10.0)


def trained(method: str, seed: int, *, steps: int | None = None) -> tuple[meta.Comparison, list[float]]:
    """A method after training on letters of the training scripts, and its losses."""
    compare = untrained(method, seed)
    pictures, labels = train_glyphs()
    losses = meta.train_episodic(
        compare,
        pictures,
        labels,
        steps=steps or STEPS,
        n_way=WAY,
        n_query=QUERIES,
        lr=RATE,
        change=meta.small_changes,
        seed=seed,
    )
    return compare, losses


@lru_cache(maxsize=1)
def train_glyphs() -> tuple[Tensor, Tensor]:
    """Letters of the training scripts; each quarter turn of a letter is a class."""
    glyphs = data.glyphs(part="train")
    return meta.quarter_turns(glyphs.pixels, glyphs.labels)


@lru_cache(maxsize=1)
def test_glyphs() -> tuple[Tensor, Tensor]:
    """Letters of the held-out scripts, each picture turned, scaled and moved a little, once for all methods."""
    glyphs = data.glyphs(part="test")
    return meta.small_changes(glyphs.pixels, torch.Generator().manual_seed(0)), glyphs.labels


def frozen_glyphs() -> Float[Tensor, "n dim"]:
    """Features of the test letters from the network of lesson 01, less the mean of 2,000 training letters' features."""
    pictures, _ = train_glyphs()
    generator = torch.Generator().manual_seed(1)
    few = pictures[torch.randperm(len(pictures), generator=generator)[:2000]]
    parts = meta.small_changes(few, generator), test_glyphs()[0]
    centre, features = (_through_imagenet(part) for part in parts)
    return meta.centred(features, centre.mean(dim=0))


def _through_imagenet(pictures: Tensor) -> Tensor:
    large = F.interpolate(pictures, (ENLARGED, ENLARGED), mode="bilinear", antialias=True)
    images = (255 * large).round().to(torch.uint8)
    return meta.embed_all(models.vision().to(training.device()).eval(), images, batch_size=64)


@lru_cache(maxsize=4)
def classifier(seed: int) -> nn.Module:
    """The same network as an ordinary classifier of the training letters: as many pictures, as many steps."""
    return fitted_classifier(*train_glyphs(), seed=seed, change=meta.small_changes)


def fitted_classifier(
    pictures: Tensor, labels: Tensor, *, seed: int, change: Callable[[Tensor, torch.Generator], Tensor] | None = None
) -> nn.Module:
    """The backbone of a classifier, trained on as many pictures in as many steps as the methods, in evaluation mode."""
    device, generator = training.device(), torch.Generator().manual_seed(seed)
    embed = meta.Conv4(pictures.shape[1], WIDTH, seed=seed)
    model = models.Classifier(embed, int(labels.max()) + 1, seed=seed).to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        rows = torch.randint(len(labels), (WAY * (1 + QUERIES),), generator=generator)
        drawn = (change(pictures[rows], generator) if change else pictures[rows]).to(device)
        loss = F.cross_entropy(model(drawn), labels[rows].to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.backbone.eval()


def classifier_features(seed: int, pictures: Tensor) -> Tensor:
    """Features of the control, centred as those of ImageNet are."""
    few, generator = train_glyphs()[0], torch.Generator().manual_seed(1)
    few = meta.small_changes(few[torch.randperm(len(few), generator=generator)[:2000]], generator)
    centre, features = (meta.embed_all(classifier(seed), part) for part in (few, pictures))
    return meta.centred(features, centre.mean(dim=0))


def fine_tuned(
    network: nn.Module,
    pictures: Tensor,
    labels: Tensor,
    *,
    k_shot: int,
    steps: int = TUNING_STEPS,
    rate: float = TUNING_RATE,
    episodes: int | None = None,
) -> meta.FewShot:
    """For each episode a copy of the network with a new head, all of it trained on the support set.

    Batch norm keeps its statistics: those of five pictures would be noise.
    """
    generator, n_query = torch.Generator().manual_seed(0), QUERIES if k_shot == 1 else 1
    drawn = meta.sample_episodes(
        pictures, labels, tasks=episodes or EPISODES, n_way=5, k_shot=k_shot, n_query=n_query, generator=generator
    )
    right = []
    for i in range(len(drawn)):
        model = models.Classifier(copy.deepcopy(network), 5, seed=0).to(training.device()).eval()
        optimizer = torch.optim.Adam(model.parameters(), lr=rate)
        for _ in range(steps):
            loss = F.cross_entropy(model(drawn.support[i]), drawn.support_labels[i])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            hits = model(drawn.query[i]).argmax(dim=1) == drawn.query_labels[i]
        right.append(hits.double().mean().cpu())
    return meta.FewShot(torch.stack(right))


def load(method: str) -> meta.Comparison:
    """A network of the shipped checkpoint: a method of `METHODS`, trained on glyphs with the first seed.

    Raises KeyError for a method that is not there.
    """
    from safetensors.torch import load_file

    from tlcourse.recipes import results

    if method not in METHODS:
        raise KeyError(f"method {method!r} is unknown; choose from: {'; '.join(METHODS)}")
    stored = load_file(results.FOLDER / "metric_family.safetensors")
    compare = untrained(method, SEEDS[0])
    ours = {k.removeprefix(f"{method}/"): v for k, v in stored.items() if k.startswith(f"{method}/")}
    compare.load_state_dict(widened(ours))
    return compare.eval()


def finish(rows: list[dict[str, Any]], folder: Path) -> None:
    """Write the first seed's networks in half precision; those of an interrupted run are trained again."""
    from safetensors.torch import save_file

    tensors = {}  # type: dict[str, Tensor]
    for method in METHODS:
        state = kept[method] if method in kept else trained(method, SEEDS[0])[0].state_dict()
        tensors |= {f"{method}/{name}": value for name, value in halved(state).items()}
    save_file(tensors, folder / "metric_family.safetensors")
