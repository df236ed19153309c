"""LogME, the log of the maximum evidence (You, Liu, Wang and Long 2021, arXiv:2102.11005)."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tlcourse.concepts.inputs import checked_features, checked_labels

_ROUNDS = 5000  # it stops when it has settled: most sets need ten, wide features with a common mean hundreds
_TOLERANCE = 1e-4


def log_me(features: Float[Tensor, "n dim"], labels: Int[Tensor, " n"]) -> float:
    """Evidence for a linear model from frozen features to labels, per example; higher is better.

    Each class against the rest is a Bayesian linear regression: weights from N(0, 1/α), labels from N(wᵀf, 1/β). Their
    evidence p(y | F, α, β) integrates over all weights, so a feature set that fits only by luck scores low without a
    validation set. α and β are chosen to maximise it (Algorithm 3, the fixed point in the singular basis of F).

    Mean over classes of (log evidence) / n. Raises ValueError for bad features or labels.
    """
    x = checked_features(features)
    y = checked_labels(labels, len(x))
    if not x.any():
        raise ValueError("features are all 0; no model can be made of them")
    u, s, _ = torch.linalg.svd(x, full_matrices=False)
    targets = torch.nn.functional.one_hot(y).to(x.dtype)
    scores = [_log_evidence(u, s.square(), targets[:, k], x.shape[1]) for k in range(targets.shape[1])]
    return sum(scores) / len(scores)


def _log_evidence(u: Tensor, sigma: Tensor, target: Tensor, dim: int) -> float:
    """Maximum over α and β of log p(target | F, α, β) / n (Eq. 2). `sigma`: squared singular values of F."""
    n = len(target)
    z2 = (u.T @ target).square()
    outside = float(target.square().sum() - z2.sum())  # what no linear model can explain
    alpha, beta = 1.0, 1.0
    for _ in range(_ROUNDS):
        shrink = alpha / (alpha + beta * sigma)
        residual = float((shrink.square() * z2).sum()) + outside
        weights = float((sigma * z2 / (sigma + alpha / beta).square()).sum())
        gamma = float((beta * sigma / (alpha + beta * sigma)).sum())
        ratio = alpha / beta
        alpha, beta = gamma / max(weights, 1e-12), (n - gamma) / max(residual, 1e-12)
        if abs(alpha / beta - ratio) <= _TOLERANCE * ratio:
            break
    shrink = alpha / (alpha + beta * sigma)
    residual = float((shrink.square() * z2).sum()) + outside
    weights = float((sigma * z2 / (sigma + alpha / beta).square()).sum())
    determinant = float((alpha + beta * sigma).log().sum()) + (dim - len(sigma)) * math.log(alpha)
    evidence = dim * math.log(alpha) + n * math.log(beta) - n * math.log(2 * math.pi) - determinant
    return (evidence - beta * residual - alpha * weights) / (2 * n)
