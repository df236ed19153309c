"""Why fine-tuning can distort good features: the linear case of Kumar et al. 2022 (arXiv:2202.10054, Section 3).

A network of two linear layers, f(x) = vᵀ B x, with features B (k × d) and head v (k). The truth is f* = v*ᵀ B* x.
Pre-training has found features B₀ close to B*. The training inputs span only m of the d directions (k < m < d − k):
what the network does in the others is never tested in training, and that is "out of distribution" here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

METHODS = ("probe", "fine-tuning", "LP-FT")


@dataclass(frozen=True, eq=False)
class Problem:
    """One linear problem for each seed. `truth` is v*ᵀ B*; `seen` spans the directions of the training inputs."""

    truth: Float[Tensor, "seeds d"]
    features: Float[Tensor, "seeds k d"]
    seen: Float[Tensor, "seeds m d"]
    head: Float[Tensor, "seeds k"]


@dataclass(frozen=True, eq=False)
class Errors:
    """Squared error of f, expected over inputs drawn from the seen directions, and over those of all directions."""

    seen: Float[Tensor, " seeds"]
    everywhere: Float[Tensor, " seeds"]
    moved: Float[Tensor, " seeds"]


def problem(*, distance: float, seeds: int = 10, d: int = 40, k: int = 3, m: int = 20, seed: int = 0) -> Problem:
    """Random problems whose pre-trained features are `distance` away from the true ones.

    The rows of B* are orthonormal, and B₀ = B* + distance · noise with its rows made orthonormal again; rows of noise
    have a length of about 1. distance 0: perfect features; large: features that know nothing. The head starts at
    N(0, 1/k).
    Raises ValueError unless 0 < k < m < d − k, distance >= 0 and seeds >= 1.
    """
    if not (0 < k < m < d - k and distance >= 0 and seeds >= 1):
        raise ValueError(
            f"distance={distance}, seeds={seeds}, k={k}, m={m}, d={d}: expected distance >= 0, seeds >= 1 and "
            "0 < k < m < d − k"
        )
    draw = torch.Generator().manual_seed(seed)
    best = _orthonormal(torch.randn(seeds, k, d, generator=draw))
    noise = torch.randn(seeds, k, d, generator=draw) / d**0.5
    weights = torch.randn(seeds, k, generator=draw)
    weights = weights / weights.norm(dim=1, keepdim=True)
    return Problem(
        truth=torch.einsum("sk,skd->sd", weights, best),
        features=_orthonormal(best + distance * noise),
        seen=_orthonormal(torch.randn(seeds, m, d, generator=draw)),
        head=torch.randn(seeds, k, generator=draw) / k**0.5,
    )


def train(problem: Problem, method: str, *, steps: int = 1000, lr: float = 0.2) -> Errors:
    """Gradient descent on the expected squared error over the seen directions, all seeds at once.

    "probe": the best head for the features as they are, in closed form. "fine-tuning": head and features learn, from
    the random head. "LP-FT": they learn, from the probe's head. Raises KeyError for another method.
    """
    if method not in METHODS:
        raise KeyError(f"method {method!r} is unknown; choose from: {', '.join(METHODS)}")
    truth, seen = problem.truth, problem.seen
    head, features = problem.head.clone(), problem.features.clone()
    if method != "fine-tuning":
        inside = features @ seen.mT  # what the features see of the seen directions
        wanted = seen @ truth[..., None]
        head = torch.linalg.lstsq(inside.mT, wanted).solution[..., 0]
    if method != "probe":
        project = seen.mT @ seen  # only what is seen gives a gradient
        row, goal = head[:, None, :], truth[:, None, :]
        for _ in range(steps):
            error = (row @ features - goal) @ project
            row, features = row - lr * error @ features.mT, features - lr * row.mT @ error
        head = row[:, 0]
    error = torch.einsum("sk,skd->sd", head, features) - truth
    return Errors(
        seen=torch.einsum("smd,sd->sm", seen, error).square().sum(dim=1),
        everywhere=error.square().sum(dim=1),
        moved=(features - problem.features).flatten(1).norm(dim=1),
    )


def _orthonormal(rows: Float[Tensor, "seeds k d"]) -> Float[Tensor, "seeds k d"]:
    return torch.linalg.qr(rows.mT)[0].mT
