"""Lesson 01: learning curves of EfficientNet-Lite0 on emoji, fine-tuned and from scratch (about 15 minutes).

The control's learning rate is chosen first, on whole Unicode subgroups taken out of the *training* part. The test part
is looked at once a run, at its end.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from tlcourse import concepts, data
from tlcourse.concepts.few_label import STEPS

SIZE = 96
LABELS = (1, 2, 5, 10, 20)
SEEDS = (0, 1, 2, 3)
RATES = (1e-3, 3e-3, 1e-2)
# The seven categories with 100 concepts or more; "Activities" and "Flags" are too few to give 20 labels and a test set.
CATEGORIES = (
    "Smileys & Emotion",
    "People & Body",
    "Animals & Nature",
    "Food & Drink",
    "Travel & Places",
    "Objects",
    "Symbols",
)


def settings() -> dict[str, Any]:
    """What the numbers depend on."""
    return {"size": SIZE, "labels": LABELS, "seeds": SEEDS, "rates": RATES, "steps": STEPS, "categories": CATEGORIES}


def jobs() -> list[dict[str, Any]]:
    """The choice of the control's rate, then every arm, seed by seed."""
    choice = [{"arm": "choose rate", "rate": rate, "labels": 5, "seed": seed} for seed in SEEDS[:2] for rate in RATES]
    arms = ("from scratch", "fine-tuned")
    return choice + [{"arm": arm, "labels": k, "seed": s} for s in SEEDS for k in LABELS for arm in arms]


def work(job: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Balanced accuracy of one run. `rows`: what came out of the jobs before."""
    k, seed = job["labels"], job["seed"]
    if job["arm"] == "choose rate":
        fitting, validating = emoji("train").split(0.5, seed=0)
        return {"balanced_accuracy": concepts.from_scratch(fitting.few(k, seed), validating, seed=seed, lr=job["rate"])}
    train = emoji("train").few(k, seed)
    if job["arm"] == "fine-tuned":
        return {"balanced_accuracy": concepts.fine_tuned(train, emoji("test"), seed=seed)}
    rate = best_rate(rows)
    return {"balanced_accuracy": concepts.from_scratch(train, emoji("test"), seed=seed, lr=rate), "rate": rate}


def best_rate(rows: Sequence[Mapping[str, Any]]) -> float:
    """The control's rate with the best mean accuracy on the subgroups held out of training."""
    tried = [row for row in rows if row["arm"] == "choose rate"]
    return max(RATES, key=lambda rate: sum(row["balanced_accuracy"] for row in tried if row["rate"] == rate))


def finish(rows: list[dict[str, Any]], folder: Path) -> None:
    """Nothing to add: the rows are the result."""


@lru_cache(maxsize=2)
def emoji(part: str) -> data.Images:
    """Noto's drawings of the seven categories."""
    return data.emoji("noto", size=SIZE, part=part).only(CATEGORIES)
