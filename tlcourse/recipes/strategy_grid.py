"""Lesson 03: every fine-tuning strategy × labels × similarity of the target × seeds (under 30 minutes on two cores).

Two targets: emoji ("near": drawings of things that photographs show) and textiles ("far": woven texture, no things).
Rates are chosen first, at five labels, on examples held out of the *training* parts. The test parts are looked at
once a run, at its end. On emoji the test is in the style of the training and in the three other styles.
"""

import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from tlcourse import data, finetuning, models, training
from tlcourse.concepts.few_label import shift_and_flip
from tlcourse.recipes.learning_curves import CATEGORIES

SIZE, STEPS, SHORT = 96, 40, 10
TARGETS = ("near", "far")
LABELS = (1, 5, 20)
SEEDS = (0, 1, 2)
RATES = (1e-4, 3e-4, 1e-3, 3e-3)
# Strategies that start from the same random head and move the same weights share the rate that was chosen for "full".
TUNED = ("last block", "full", "LP-FT", "layer-wise decay")
OTHER_STYLES = ("twemoji", "openmoji", "fluent")
ARMS = (*((strategy, STEPS) for strategy in finetuning.STRATEGIES), ("full", SHORT))


def settings() -> dict[str, Any]:
    """What the numbers depend on."""
    return {
        "size": SIZE,
        "steps": STEPS,
        "short": SHORT,
        "labels": LABELS,
        "seeds": SEEDS,
        "rates": RATES,
        "decay": finetuning.strategies.DECAY,
        "alpha": finetuning.strategies.ALPHA,
    }


def jobs() -> list[dict[str, Any]]:
    """The choice of the rates, the grid, and two ways with each other's rate."""
    choice = [
        {"phase": "choose", "target": target, "strategy": strategy, "rate": rate, "labels": 5, "seed": seed}
        for target in TARGETS
        for strategy in TUNED
        for rate in RATES
        for seed in SEEDS[:2]
    ]
    grid = [
        {"phase": "grid", "target": target, "strategy": strategy, "steps": steps, "labels": k, "seed": seed}
        for seed in SEEDS
        for k in LABELS
        for target in TARGETS
        for strategy, steps in ARMS
    ]
    swapped = [
        {"phase": "swapped rates", "target": "near", "strategy": one, "rate_of": other, "labels": k, "seed": seed}
        for seed in SEEDS
        for k in LABELS
        for one, other in (("full", "LP-FT"), ("LP-FT", "full"))
    ]
    return choice + grid + swapped


def work(job: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One run. `rows`: what came out of the jobs before."""
    train = part(job["target"], "train")
    if job["phase"] == "choose":
        fitting, held_out = train.split(0.5, seed=0)
        model, _ = tuned(fitting, job, rate=job["rate"], steps=STEPS)
        held_out = held_out.few(40, seed=0, exact=False)
        return {"balanced_accuracy": training.evaluate(model, held_out).balanced_accuracy}
    rate = best_rate(rows, job["target"], job.get("rate_of", job["strategy"]))
    model, seconds = tuned(train, job, rate=rate, steps=job.get("steps", STEPS))
    return {"rate": rate, "cpu_seconds": round(seconds, 2), **measured(model, job["target"])}


def tuned(train: data.Images, job: Mapping[str, Any], *, rate: float, steps: int) -> tuple[models.Classifier, float]:
    """A network fine-tuned as the job says, and the processor seconds that it took."""
    model = models.Classifier(models.vision(), train.n_classes, seed=job["seed"])
    run = finetuning.Run(steps=steps, lr=rate, seed=job["seed"], augment=shift_and_flip)
    begun = time.process_time()
    finetuning.fine_tune(model, train.few(job["labels"], job["seed"]), strategy=job["strategy"], run=run)
    return model, time.process_time() - begun


def measured(model: models.Classifier, target: str) -> dict[str, float]:
    """Balanced accuracy on the test part, drift of its features, and for "near" the accuracy in the other styles."""
    test = part(target, "test")
    features = training.features(model.backbone, test, cache=False)
    with torch.no_grad():
        predicted = model.head(features.to(model.head.weight)).argmax(dim=1).cpu()
    result = {
        "balanced_accuracy": training.evaluation.balanced_accuracy(predicted, test.labels),
        "drift": round(finetuning.feature_drift(before(target), features), 4),
    }
    if target == "near":
        others = [training.evaluate(model, part(target, "test", style)).balanced_accuracy for style in OTHER_STYLES]
        result["other_styles"] = sum(others) / len(others)
    return result


def best_rate(rows: Sequence[Mapping[str, Any]], target: str, strategy: str) -> float:
    """The rate with the best mean accuracy on what was held out of training; see TUNED."""
    like = strategy if strategy in TUNED else "full"
    tried = [r for r in rows if (r["phase"], r["target"], r["strategy"]) == ("choose", target, like)]
    return max(RATES, key=lambda rate: sum(r["balanced_accuracy"] for r in tried if r["rate"] == rate))


def finish(rows: list[dict[str, Any]], folder: Path) -> None:
    """Nothing to add: the rows are the result."""


@lru_cache(maxsize=2)
def before(target: str) -> torch.Tensor:
    """Features of the test part as the pre-trained network has them."""
    return training.features(models.vision(), part(target, "test"))


@lru_cache(maxsize=8)
def part(target: str, side: str, style: str = "noto") -> data.Images:
    """Training or test part of a target; test parts are cut to 40 or, in other styles, 30 pictures a class."""
    if target == "far":
        cloth = data.textiles(size=SIZE, part=side)
        return cloth if side == "train" else cloth.few(100, seed=0)
    emoji = data.emoji(style, size=SIZE, part=side).only(CATEGORIES)
    return emoji if side == "train" else emoji.few(40 if style == "noto" else 30, seed=0)
