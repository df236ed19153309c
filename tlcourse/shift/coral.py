"""CORAL: give the source the second moments of the target (Sun, Feng and Saenko 2016, arXiv:1511.05547), or train a
network until they agree (Deep CORAL, Sun and Saenko 2016, arXiv:1607.01719)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from tlcourse.shift.inputs import domains, same_width


def coral_loss(source: Float[Tensor, "n dim"], target: Float[Tensor, "m dim"]) -> Float[Tensor, ""]:
    """‖C_S − C_T‖²_F / (4 d²) (Deep CORAL, Eq. 1), with covariances that divide by n − 1; means have no say.

    A penalty for `adapt`. Raises ValueError for domains of different widths, or fewer than two examples of one.
    """
    same_width(source, target)
    return (covariance(source) - covariance(target)).square().sum() / (4 * source.shape[1] ** 2)


def covariance(features: Float[Tensor, "n dim"]) -> Float[Tensor, "dim dim"]:
    """Σ (x − mean)(x − mean)ᵀ / (n − 1) (Deep CORAL, Eqs. 2 and 3)."""
    centred = features - features.mean(dim=0)
    return centred.T @ centred / (len(features) - 1)


def coral(
    source: Float[Tensor, "n dim"], target: Float[Tensor, "m dim"], *, ridge: float = 1.0
) -> Float[Tensor, "n dim"]:
    """Source features, whitened, then coloured as the target: x · C_S^(−1/2) · C_T^(1/2) with C + ridge · I (CORAL,
    Algorithm 1; its ridge is 1). Train a classifier on them; the target's features stay as they are.

    The means stay what they were: features should be centred in each domain beforehand (`standardise` does that).
    Raises ValueError for domains of different widths, or a ridge that is not above 0.
    """
    a, b = domains(source, target)
    if not ridge > 0:
        raise ValueError(f"ridge is {ridge}; give a number above 0, without which small variances would be blown up")
    identity = torch.eye(a.shape[1], dtype=a.dtype)
    whiten = _power(covariance(a) + ridge * identity, -0.5)
    colour = _power(covariance(b) + ridge * identity, 0.5)
    return (a @ whiten @ colour).to(source.dtype)


def _power(matrix: Tensor, exponent: float) -> Tensor:
    """A power of a symmetric matrix with eigenvalues above 0."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values**exponent @ vectors.T
