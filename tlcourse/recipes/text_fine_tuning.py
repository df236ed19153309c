"""Lesson 04: MiniLM on film reviews, how steady it is over seeds and what it forgets (about 25 minutes on one core).

"steady": two ways to fine-tune × three rates × six seeds. "forget": five ways × four seeds, with the accuracy on an
older task (where is a text from?) before and after. Nothing is chosen here: every setting that was run is a row.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from tlcourse import data, finetuning, models, training

LABELS, STEPS, BATCH, LENGTH = 50, 50, 8, 32
RATES = (1e-4, 3e-4, 1e-3)
SEEDS = (0, 1, 2, 3, 4, 5)
STEADY = ("plain", "warm-up and decay")
DECAY, WARMUP = 0.8, 0.2
FORGET_RATE = 3e-4
FORGET = ("one rate", "layer-wise decay", "L2-SP 0.1", "L2-SP 1", "rehearsal")
SHARE = 0.25  # of old texts, in rehearsal


def settings() -> dict[str, Any]:
    """What the numbers depend on."""
    return {
        "labels": LABELS,
        "steps": STEPS,
        "batch": BATCH,
        "length": LENGTH,
        "rates": RATES,
        "decay": DECAY,
        "warmup": WARMUP,
        "forget_rate": FORGET_RATE,
        "share": SHARE,
    }


def jobs() -> list[dict[str, Any]]:
    """Both experiments, seed by seed."""
    steady = [
        {"part": "steady", "arm": arm, "rate": rate, "seed": seed} for seed in SEEDS for rate in RATES for arm in STEADY
    ]
    forget = [{"part": "forget", "arm": arm, "rate": FORGET_RATE, "seed": seed} for seed in SEEDS[:4] for arm in FORGET]
    return steady + forget


def work(job: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One run."""
    return steady(job) if job["part"] == "steady" else forget(job)


def steady(job: Mapping[str, Any]) -> dict[str, float]:
    """Balanced accuracy on held-out reviews, and the mean loss of the last steps."""
    model = models.Classifier(backbone(), 2, seed=job["seed"])
    decays = job["arm"] == "warm-up and decay"
    optimizer = torch.optim.AdamW(finetuning.layer_decay_groups(model, lr=job["rate"], decay=DECAY)) if decays else None
    history = training.fit(
        model,
        reviews("train").few(LABELS, job["seed"]),
        steps=STEPS,
        batch_size=BATCH,
        lr=job["rate"],
        optimizer=optimizer,
        schedule=training.warmup(WARMUP) if decays else None,
        clip=1.0,
        seed=job["seed"],
    )
    last = sum(history.losses[-10:]) / 10
    return {
        "balanced_accuracy": training.evaluate(model, reviews("test")).balanced_accuracy,
        "last_loss": round(last, 4),
    }


def forget(job: Mapping[str, Any]) -> dict[str, float]:
    """Balanced accuracy on reviews, and what became of the old task. All arms have a warm-up."""
    model = two_tasks(job["seed"])
    few = reviews("train").few(LABELS, job["seed"])
    before = old_predictions(model)
    optimizer: torch.optim.Optimizer | None = None
    loss: Any = finetuning.per_task_loss(2)
    if job["arm"] == "layer-wise decay":
        optimizer = torch.optim.AdamW(finetuning.layer_decay_groups(model, lr=job["rate"], decay=DECAY))
    if job["arm"].startswith("L2-SP"):
        optimizer = torch.optim.AdamW(model.parameters(), lr=job["rate"], weight_decay=0.0)
        loss = with_penalty(loss, finetuning.L2SP(model, alpha=float(job["arm"].split()[1]), beta=0.0))
    task = finetuning.mix(few, origins("train"), share=SHARE) if job["arm"] == "rehearsal" else six_classes(few)
    training.fit(
        model,
        task,
        steps=STEPS,
        batch_size=BATCH,
        lr=job["rate"],
        optimizer=optimizer,
        schedule=training.warmup(WARMUP),
        loss=loss,
        clip=1.0,
        seed=job["seed"],
    )
    old = finetuning.forgetting(before, old_predictions(model), origins("test").labels)
    return {
        "balanced_accuracy": review_accuracy(model),
        "old_before": old.before,
        "old_after": old.after,
        "forgotten": old.forgotten,
    }


def with_penalty(loss: Any, penalty: finetuning.L2SP) -> Any:
    """A loss plus the penalty of L2-SP."""
    return lambda outputs, labels: loss(outputs, labels) + penalty.penalty()


def two_tasks(seed: int) -> models.Classifier:
    """MiniLM with six outputs: two new ones for reviews, and a probe's four for the old task."""
    model = models.Classifier(backbone(), 6, seed=seed)
    probe = old_probe()
    weight = probe.weight / probe.scale
    with torch.no_grad():
        model.head.weight[2:] = weight
        model.head.bias[2:] = probe.bias - weight @ probe.mean
    return model


def old_predictions(model: models.Classifier) -> torch.Tensor:
    """Where the network believes the held-out texts of the old task to be from."""
    with torch.no_grad():
        features = training.features(model.backbone, origins("test"), cache=False).to(model.head.weight)
        return model.head(features)[:, 2:].argmax(dim=1).cpu()


def review_accuracy(model: models.Classifier) -> float:
    """Balanced accuracy on held-out reviews by the first two outputs."""
    exam = reviews("test")
    with torch.no_grad():
        features = training.features(model.backbone, exam, cache=False).to(model.head.weight)
        predicted = model.head(features)[:, :2].argmax(dim=1).cpu()
    return training.evaluation.balanced_accuracy(predicted, exam.labels)


def six_classes(texts: data.Texts) -> data.Texts:
    """The reviews, with the classes of the old task named but empty."""
    return replace(texts, classes=(*texts.classes, *origins("train").classes))


def backbone() -> models.TextBackbone:
    """A fresh copy of MiniLM that reads the first LENGTH tokens of a text."""
    return copy.deepcopy(_minilm())


@lru_cache(maxsize=1)
def _minilm() -> models.TextBackbone:
    minilm = models.text()
    minilm.max_length = LENGTH
    return minilm


@lru_cache(maxsize=1)
def old_probe() -> training.Probe:
    """The old task's classifier: a linear probe on MiniLM as it came."""
    return training.probe(training.features(_minilm(), origins("train")), origins("train").labels, l2=10.0)


@lru_cache(maxsize=2)
def reviews(part: str) -> data.Texts:
    """Film reviews; 150 of each class to test on."""
    texts = data.sentiment("movies", part=part)
    return texts if part == "train" else texts.few(150, seed=0)


@lru_cache(maxsize=2)
def origins(part: str) -> data.Texts:
    """The old task: is a text a tweet, from an editorial, a product review or a film review?"""
    return data.text_sources(part=part, each=200 if part == "train" else 75)


def finish(rows: list[dict[str, Any]], folder: Path) -> None:
    """Nothing to add: the rows are the result."""
