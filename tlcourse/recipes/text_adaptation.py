"""Lesson 13: adapting a classifier of sentiment to texts of another kind, on frozen features (about ten minutes).

"pairs": every source and target, each way. "priors": two pairs, with a source whose classes are as frequent as each
other, and a target whose share of positives we set. A draw takes 70 % of the source, of the target's training texts and
of its test texts. Penalties of probes are chosen on source texts that are left over. The target's labels are read by
the oracle in training, for the class shares of "shares known", to make the worlds of "priors", and to measure on test
texts; they choose nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from tlcourse import data, models, shift, training
from tlcourse.data.sentiment import CLASSES
from tlcourse.shift.adapt import Penalty

DOMAINS = ("tweets", "nyt", "amazon")
IN_PRIORS = ("source only", "standardised", "standardised, shares known", "CORAL", "network", "DANN")
DRAWS = tuple(range(6))
SHARE = 0.7
L2 = (10.0, 100.0, 1000.0, 10_000.0)
CLOSER = (("nyt", "tweets"), ("amazon", "nyt"))  # pairs that are looked at more closely
POSITIVE, EACH, TESTED, MASKED_STEPS = (0.2, 0.35, 0.5, 0.65, 0.8), 500, 250, 200
HIDDEN, STEPS, BATCH, RATE = 64, 300, 64, 1e-3
EPSILON = 1e-3  # of the typical spread, as in `standardise`


@dataclass(frozen=True)
class World:
    """Features and labels: source to learn from and to choose on, target without labels and to test on."""

    source: Float[Tensor, "n dim"]
    labels: Int64[Tensor, " n"]
    choice: Float[Tensor, "k dim"]
    choice_labels: Int64[Tensor, " k"]
    target: Float[Tensor, "m dim"]
    target_labels: Int64[Tensor, " m"]
    test: Float[Tensor, "t dim"]
    test_labels: Int64[Tensor, " t"]


def settings() -> dict[str, Any]:
    """What the numbers depend on. texts, positive: number of each domain, and their share of positives."""
    return {
        "draws": len(DRAWS),
        "share": SHARE,
        "l2": L2,
        "masked_steps": MASKED_STEPS,
        "network": {"hidden": HIDDEN, "steps": STEPS, "batch": BATCH, "rate": RATE},
        "each": (EACH, TESTED),
        "texts": {name: len(data.sentiment(name)) for name in DOMAINS},
        "positive": {name: round(float(data.sentiment(name).labels.double().mean()), 4) for name in DOMAINS},
    }


def jobs() -> list[dict[str, Any]]:
    """All pairs, then the share of positives; one row for each draw and method."""
    pairs = [
        {"part": "pairs", "source": source, "target": target, "draw": draw, "method": method}
        for source, target in permutations(DOMAINS, 2)
        for draw in DRAWS
        for method in METHODS
        if method != "target pre-training" or (source, target) in CLOSER
    ]
    priors = [
        {"part": "priors", "source": source, "target": target, "positive": p, "draw": draw, "method": method}
        for source, target in CLOSER
        for p in POSITIVE
        for draw in DRAWS
        for method in IN_PRIORS
    ]
    return pairs + priors


def work(job: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What one method makes of one draw, on the target's test texts."""
    further = job["target"] if job["method"] == "target pre-training" else None
    world = drawn(job["source"], job["target"], job["draw"], job.get("positive"), further)
    guesses, l2 = METHODS[job["method"]](world, job["draw"])
    found = {
        "balanced_accuracy": round(training.evaluation.balanced_accuracy(guesses, world.test_labels), 5),
        "accuracy": round(training.evaluation.accuracy(guesses, world.test_labels), 5),
        "guessed_positive": round(float(guesses.double().mean()), 5),
        "l2": l2,
    }
    if job["method"] == "source only":
        shares = {"source": world.labels, "target": world.target_labels}
        found |= {f"{name}_positive": round(float(shares_of(labels)[1]), 5) for name, labels in shares.items()}
        found["estimated_positive"] = round(float(estimated(world).target[1]), 5)
    return found


@lru_cache(maxsize=1)
def drawn(source: str, target: str, draw: int, positive: float | None, further: str | None) -> World:
    """A draw of the pair. `positive`: this share of the target, and half of the source. `further`: see `backbone`."""
    mine, rest = rows_of(source, "all", draw)
    theirs, _ = rows_of(target, "train", draw)
    test, _ = rows_of(target, "test", draw)
    if positive is not None:
        mine = with_share(source, mine, 0.5, EACH, draw)
        theirs = with_share(target, theirs, positive, EACH, draw)
        test = with_share(target, test, positive, TESTED, draw)
    (x, y), (u, v) = embedded(source, further), embedded(target, further)
    return World(x[mine], y[mine], x[rest], y[rest], u[theirs], v[theirs], u[test], v[test])


def rows_of(name: str, part: str, draw: int) -> tuple[Tensor, Tensor]:
    """Positions of SHARE of this part, and of the rest; no editorial or review is in both."""
    whole = data.sentiment(name)
    place = {text: i for i, text in enumerate(whole.texts)}
    first, rest = data.sentiment(name, part=part).split(SHARE, draw)
    return torch.tensor([place[text] for text in first.texts]), torch.tensor([place[text] for text in rest.texts])


def with_share(name: str, rows: Tensor, positive: float, n: int, draw: int) -> Tensor:
    """n of these rows, with this share of positives."""
    labels = embedded(name)[1][rows]
    generator = torch.Generator().manual_seed(draw)
    chosen = []
    for label, share in ((0, 1 - positive), (1, positive)):
        mine = rows[labels == label]
        chosen.append(mine[torch.randperm(len(mine), generator=generator)[: round(share * n)]])
    return torch.cat(chosen)


@lru_cache(maxsize=8)
def embedded(name: str, further: str | None = None) -> tuple[Float[Tensor, "n dim"], Int64[Tensor, " n"]]:
    """MiniLM's features of all texts of a domain, and their labels."""
    texts = data.sentiment(name)
    return training.features(backbone(further), texts, cache=further is None), texts.labels


@lru_cache(maxsize=2)
def backbone(further: str | None) -> models.TextBackbone:
    """MiniLM; pre-trained further on the training texts of a domain, of which no label is read."""
    model = models.text()
    if further is not None:
        shift.pretrain_on_texts(model, data.sentiment(further, part="train").texts, steps=MASKED_STEPS)
    return model


def best_probe(x: Tensor, labels: Tensor, choice: Tensor, choice_labels: Tensor) -> tuple[training.Probe, float]:
    """The probe whose penalty does best on texts of the same domain that it did not learn from, and that penalty."""
    probes = {l2: training.probe(x, labels, l2=l2, scaling="common") for l2 in L2}
    best = max(L2, key=lambda l2: probes[l2].balanced_accuracy(choice, choice_labels))
    return probes[best], best


def estimated(world: World) -> shift.Priors:
    """The target's shares of the classes as BBSE sees them, from source texts that are left over."""
    probe, _ = best_probe(world.source, world.labels, world.choice, world.choice_labels)
    confusion = shift.joint_confusion(probe.predict(world.choice), world.choice_labels, n_classes=2)
    return shift.bbse(confusion, torch.bincount(probe.predict(world.target), minlength=2) / len(world.target))


def side_by_side(world: World) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Each domain by its own mean and spread: source, choice, target, test. Texts of the test count, labels do not."""
    mine = shift.standardise(torch.cat([world.source, world.choice]))
    theirs = shift.standardise(torch.cat([world.target, world.test]))
    n, m = len(world.source), len(world.target)
    return mine[:n], mine[n:], theirs[:m], theirs[m:]


def source_only(world: World, seed: int) -> tuple[Tensor, float]:
    """A probe on the source as it is."""
    probe, l2 = best_probe(world.source, world.labels, world.choice, world.choice_labels)
    return probe.predict(world.test), l2


def standardised(world: World, seed: int) -> tuple[Tensor, float]:
    """Each domain by its own mean and spread."""
    mine, choice, _, test = side_by_side(world)
    probe, l2 = best_probe(mine, world.labels, choice, world.choice_labels)
    return probe.predict(test), l2


def matched(world: World, shares: Float[Tensor, " classes"]) -> tuple[Tensor, float]:
    """Standardised, with mean and spread of the source as they would be if its classes had these shares.

    The probe learns from the same texts as before: only what is subtracted and divided by differs.
    """
    rows, labels = torch.cat([world.source, world.choice]).double(), torch.cat([world.labels, world.choice_labels])
    weights = (shares.double() / shares_of(labels))[labels]
    weights = weights / weights.sum()
    centre = rows - weights @ rows
    spread = (weights @ centre.square()).sqrt()
    mine = (centre / (spread + EPSILON * spread.square().mean().sqrt())).float()
    n = len(world.source)
    probe, l2 = best_probe(mine[:n], world.labels, mine[n:], world.choice_labels)
    return probe.predict(side_by_side(world)[3]), l2


def shares_of(labels: Int64[Tensor, " n"]) -> Float[Tensor, " classes"]:
    """Shares of both classes."""
    return torch.bincount(labels, minlength=2).double() / len(labels)


def correlated(world: World, seed: int) -> tuple[Tensor, float]:
    """CORAL on standardised features."""
    mine, choice, target, test = side_by_side(world)
    moved = shift.coral(torch.cat([mine, choice]), target)
    probe, l2 = best_probe(moved[: len(mine)], world.labels, moved[len(mine) :], world.choice_labels)
    return probe.predict(test), l2


def pseudo_labelled(world: World, seed: int) -> tuple[Tensor, float]:
    """Self-training, with the penalty of "source only"."""
    _, l2 = best_probe(world.source, world.labels, world.choice, world.choice_labels)
    found = shift.self_train(world.source, world.labels, world.target, l2=l2, scaling="common")
    return found.probe.predict(world.test), l2


def trained(world: World, penalty: Penalty | None, seed: int) -> Tensor:
    """Guesses of a network with a hidden layer on the features, which are divided by one number, from the source."""
    scale = world.source.std(dim=0).square().mean().sqrt()
    model = models.Classifier(models.MLP([world.source.shape[1], HIDDEN], seed=seed), 2, seed=seed)
    source, target = table(world.source / scale, world.labels), table(world.target / scale, world.target_labels)
    shift.adapt(model, source, target, penalty=penalty, steps=STEPS, batch_size=BATCH, lr=RATE, seed=seed)
    return training.evaluate(model, table(world.test / scale, world.test_labels)).predictions


def table(features: Tensor, labels: Tensor) -> data.Table:
    """Features as a dataset."""
    columns = tuple(map(str, range(features.shape[1])))
    return data.Table(name="features", features=features, labels=labels, classes=CLASSES, columns=columns)


def oracle(world: World, seed: int) -> tuple[Tensor, float]:
    """A probe on the target's training texts with their labels; the source's texts choose nothing here."""
    learn, choice = table(world.target, world.target_labels).split(SHARE, seed)
    _, l2 = best_probe(learn.features, learn.labels, choice.features, choice.labels)
    probe = training.probe(world.target, world.target_labels, l2=l2, scaling="common")
    return probe.predict(world.test), l2


METHODS = {
    "source only": source_only,
    "standardised": standardised,
    "standardised, shares estimated": lambda world, seed: matched(world, estimated(world).target),
    "standardised, shares known": lambda world, seed: matched(world, shares_of(world.target_labels)),
    "CORAL": correlated,
    "pseudo-labels": pseudo_labelled,
    "target pre-training": source_only,
    "network": lambda world, seed: (trained(world, None, seed), None),
    "DANN": lambda world, seed: (trained(world, shift.Adversary(HIDDEN, seed=seed), seed), None),
    "oracle": oracle,
}


def finish(rows: list[dict[str, Any]], folder: Path) -> None:
    """Nothing to add: the rows are the result."""
