"""Linear probe: logistic regression on frozen features (Alain and Bengio 2017, arXiv:1610.01644)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from tlcourse.training import evaluation

_EPSILON = 1e-6
_TOLERANCE = 1e-4  # largest gradient entry at which L-BFGS stops


@dataclass(frozen=True, eq=False)
class Probe:
    """A fitted linear classifier: scores = ((features - mean) / scale) · weightᵀ + bias.

    `classes` are the labels it was fitted on, one for each row of `weight`.
    """

    weight: Float[Tensor, "classes dim"]
    bias: Float[Tensor, " classes"]
    mean: Float[Tensor, " dim"]
    scale: Float[Tensor, " dim"]
    classes: Int64[Tensor, " classes"]

    def scores(self, features: Float[Tensor, "n dim"]) -> Float[Tensor, "n classes"]:
        """Logits, one column for each of `classes`.

        Raises ValueError for features of another width, or with NaN.
        """
        x = check_features(features).to(self.weight.dtype)
        if x.shape[1] != len(self.mean):
            raise ValueError(f"features are {x.shape[1]} wide; this probe was fitted on {len(self.mean)}")
        return ((x - self.mean) / self.scale) @ self.weight.T + self.bias

    def predict(self, features: Float[Tensor, "n dim"]) -> Int64[Tensor, " n"]:
        """The label with the highest score."""
        return self.classes[self.scores(features).argmax(dim=1)]

    def accuracy(self, features: Float[Tensor, "n dim"], labels: Int[Tensor, " n"]) -> float:
        """Share of right predictions."""
        return evaluation.accuracy(self.predict(features), check_labels(labels, len(features)))

    def balanced_accuracy(self, features: Float[Tensor, "n dim"], labels: Int[Tensor, " n"]) -> float:
        """Mean recall of the classes in `labels`."""
        return evaluation.balanced_accuracy(self.predict(features), check_labels(labels, len(features)))


def probe(
    features: Float[Tensor, "n dim"],
    labels: Int[Tensor, " n"],
    *,
    l2: float = 1.0,
    weights: Float[Tensor, " n"] | None = None,
    scaling: str = "each",
) -> Probe:
    """Fit a multinomial logistic regression on standardised features with scikit-learn (L-BFGS).

    It minimises Σ weight · cross-entropy + l2/2 · ‖coefficients‖², which has one minimum, so there is no seed.
    `weights`: what each example counts, 1 by default.
    `scaling`: "each" divides every dimension by its own spread; columns in different units need it. "common" divides
    all by one number; learned features do better with it when examples are few, because the spread of one dimension
    over a handful of examples is mostly noise. A dimension that hardly varies is not blown up: its scale is 1.

    With far fewer examples than dimensions the fit runs in the span of the examples (n numbers each instead of `dim`),
    where the best weights lie: the same minimum, sooner. About 10 ms for 50 examples of 1,280 features.

    Raises ValueError for NaN, other shapes, fewer than two classes, features without any variation, l2 <= 0, or weights
    that are not n finite numbers above 0.
    """
    x = check_features(features).double()
    y = check_labels(labels, len(x))
    classes = torch.unique(y)
    if len(classes) < 2:
        raise ValueError(f"labels hold {len(classes)} class; a probe needs at least two")
    if not l2 > 0:
        raise ValueError(f"l2 is {l2}; give a positive penalty, for example 1.0")
    if scaling not in ("each", "common"):
        raise ValueError(f"scaling is {scaling!r}; choose 'each' (columns in different units) or 'common' (features)")
    counts = _check_weights(weights, len(x))
    mean, scale = x.mean(dim=0), x.std(dim=0, correction=0)
    if not (scale > _EPSILON * (1 + mean.abs())).any():
        raise ValueError("features are the same for every example; there is nothing to tell the classes apart by")
    if scaling == "common":
        scale = scale.square().mean().sqrt().expand_as(scale)
    scale = torch.where(scale > _EPSILON * (1 + mean.abs()), scale, torch.ones_like(scale))
    with _one_thread():
        weight, bias = _logistic_regression(((x - mean) / scale).numpy(), y.numpy(), l2, counts)
    return Probe(
        weight=torch.from_numpy(weight).float(),
        bias=torch.from_numpy(bias).float(),
        mean=mean.float(),
        scale=scale.float(),
        classes=classes,
    )


def _logistic_regression(
    x: np.ndarray, y: np.ndarray, l2: float, counts: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Weights and biases, one row for each class."""
    from sklearn.linear_model import LogisticRegression

    span = _span(x) if 2 * len(x) < x.shape[1] else None
    # For two classes scikit-learn fits one vector of log-odds, the difference of our two rows: half the penalty.
    two = len(np.unique(y)) == 2
    model = LogisticRegression(C=(2 if two else 1) / l2, max_iter=2000, tol=_TOLERANCE)
    model.fit(x if span is None else x @ span, y, sample_weight=counts)
    weight, bias = model.coef_, model.intercept_
    if two:
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return (weight if span is None else weight @ span.T), bias


def _span(x: np.ndarray) -> np.ndarray:
    """Orthonormal directions that the rows of `x` span, from the eigenvectors of the small matrix x·xᵀ."""
    eigenvalues, vectors = np.linalg.eigh(x @ x.T)
    kept = eigenvalues > 1e-10 * eigenvalues[-1]
    return x.T @ (vectors[:, kept] / np.sqrt(eigenvalues[kept]))


def _check_weights(weights: Tensor | None, n: int) -> np.ndarray | None:
    if weights is None:
        return None
    if weights.shape != (n,) or not (torch.isfinite(weights) & (weights > 0)).all():
        raise ValueError(
            f"weights have shape {tuple(weights.shape)}; expected {n} finite numbers above 0, and leave examples out "
            "rather than weigh them 0"
        )
    return weights.detach().cpu().double().numpy()


def check_features(features: Tensor) -> Tensor:
    """Features on the CPU. Raises ValueError unless they are (n, dim), floating point and finite."""
    if features.ndim != 2 or 0 in features.shape or not features.is_floating_point():
        raise ValueError(
            f"features are {features.dtype} of shape {tuple(features.shape)}; expected floats (n, dim), not empty"
        )
    if not torch.isfinite(features).all():
        raise ValueError("features hold NaN or infinity; look for a training run that diverged")
    return features.detach().cpu()


def check_labels(labels: Tensor, n: int) -> Tensor:
    """Labels on the CPU. Raises ValueError unless they are n whole numbers."""
    if labels.ndim != 1 or len(labels) != n or labels.is_floating_point():
        raise ValueError(
            f"labels are {labels.dtype} of shape {tuple(labels.shape)}; expected {n} whole numbers, one a row"
        )
    return labels.detach().cpu().long()


@lru_cache(maxsize=1)
def _controller() -> Any:
    import sklearn.linear_model  # noqa: F401  (loads the BLAS that has to be held back)
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _one_thread() -> Any:
    """One BLAS thread: these matrices are small, and threads that fight for the cores made fits 1,000 times slower."""
    return _controller().limit(limits=1)
