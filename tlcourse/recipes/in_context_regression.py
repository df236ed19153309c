"""Lesson 17: transformers that learn linear regression in their prompt, one for each seed (arXiv:2208.01066).

Every row holds the mean squared error after 0, 1, 2, … examples on new tasks: of the network, of least squares and of
ridge with the best penalty, on inputs like those of the training and on inputs three times as large. The first seed's
network is shipped.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tlcourse.meta import regression_transformer as meta

DIM, EXAMPLES, NOISE = 3, 12, 0.5
STEPS, BATCH, RATE = 3000, 64, 1.5e-3
SEEDS = (0, 1, 2)
TESTS = 4000
FAR = 3.0  # factor on the inputs
FILE = Path(__file__).parent / "results" / "in_context_regression.safetensors"


def settings() -> dict[str, Any]:
    """What the numbers depend on."""
    return {
        "dim": DIM,
        "examples": EXAMPLES,
        "noise": NOISE,
        "steps": STEPS,
        "batch": BATCH,
        "rate": RATE,
        "tests": TESTS,
        "far": FAR,
    }


def jobs() -> list[dict[str, Any]]:
    """One training for each seed."""
    return [{"seed": seed} for seed in SEEDS]


def work(job: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Train, and test on tasks that no training had."""
    model = network(job["seed"])
    losses = meta.train_regression(model, steps=STEPS, batch=BATCH, noise=NOISE, lr=RATE, seed=1 + job["seed"])
    if job["seed"] == SEEDS[0]:
        save_file(model.state_dict(), FILE.with_suffix(".part"))
    piece = max(1, len(losses) // 30)
    curve = [sum(losses[i : i + piece]) / len(losses[i : i + piece]) for i in range(0, len(losses), piece)]
    return {"loss": rounded(curve), "near": errors(model, 1.0), "far": errors(model, FAR)}


def network(seed: int) -> meta.RegressionTransformer:
    """The network before its training."""
    return meta.RegressionTransformer(DIM, EXAMPLES, seed=seed)


def tasks(n: int, *, seed: int, scale: float = 1.0) -> meta.RegressionTasks:
    """Tasks as in the training; each generator of a training begins at a seed below 100."""
    generator = torch.Generator().manual_seed(seed)
    return meta.sample_regression_tasks(n, EXAMPLES, dim=DIM, noise=NOISE, generator=generator, scale=scale)


@torch.no_grad()
def errors(model: meta.RegressionTransformer, scale: float) -> dict[str, list[float]]:
    """Mean squared error by the number of examples, of each way to predict."""
    test = tasks(TESTS, seed=100, scale=scale)
    ways = {
        "network": model(test),
        "least squares": meta.least_squares(test),
        "ridge": meta.ridge(test, NOISE**2),
    }
    return {name: rounded(meta.errors_by_examples(found, test).tolist()) for name, found in ways.items()}


def rounded(values: Sequence[float]) -> list[float]:
    """Four digits after the point, for a file."""
    return [round(value, 4) for value in values]


@lru_cache(maxsize=1)
def load() -> meta.RegressionTransformer:
    """The shipped network."""
    model = network(SEEDS[0])
    model.load_state_dict(load_file(FILE))
    return model.eval()


def finish(rows: list[dict[str, Any]], folder: Path) -> None:
    """Ship the first seed's network."""
    FILE.with_suffix(".part").replace(folder / FILE.name)
