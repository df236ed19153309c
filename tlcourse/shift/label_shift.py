"""The classes have other shares in the target, and look as they did: find the shares, then correct for them.

Black box shift estimation (BBSE; Lipton, Wang and Smola 2018, arXiv:1802.03916), and the EM algorithm with the
correction of Saerens, Latinne and Decaestecker 2002, Neural Computation 14.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tlcourse.shift.inputs import shares, whole_numbers


@dataclass(frozen=True, eq=False)
class Priors:
    """`target`: estimated shares of the classes there; `weights` = target / source, for the rows of each class."""

    target: Float[Tensor, " classes"]
    weights: Float[Tensor, " classes"]


def joint_confusion(
    predictions: Int[Tensor, " n"], labels: Int[Tensor, " n"], *, n_classes: int
) -> Float[Tensor, "classes classes"]:
    """C[i, j] = share of all rows that are predicted i and are j. Rows are predictions: transposed, BBSE goes wrong.

    Raises ValueError for classes that are not 0 … n_classes − 1, or counts that differ.
    """
    guesses = whole_numbers(predictions, len(predictions), "predictions")
    truths = whole_numbers(labels, len(predictions), "labels")
    for name, values in (("predictions", guesses), ("labels", truths)):
        if len(values) == 0 or int(values.max()) >= n_classes:
            raise ValueError(
                f"{name} must be class numbers from 0 to {n_classes - 1}, at least one; n_classes counts all"
            )
    counts = torch.bincount(guesses * n_classes + truths, minlength=n_classes**2)
    return counts.reshape(n_classes, n_classes).double() / len(guesses)


def bbse(confusion: Float[Tensor, "classes classes"], target_predictions: Float[Tensor, " classes"]) -> Priors:
    """w = C⁻¹ μ: the weights for which the source's confusion explains what is predicted in the target.

    `confusion`: `joint_confusion` of source rows that the classifier has not learned from; `target_predictions`: how
    large a share of the target is predicted as each class. Noise can make a weight negative: it becomes 0. The shares
    are w · p_S(y), divided by their sum.
    Raises ValueError when C has no inverse in practice, as with a class that is absent or never predicted.
    """
    c, mu = confusion.double(), target_predictions.double()
    if c.shape != (len(mu), len(mu)):
        raise ValueError(f"confusion is {tuple(c.shape)} and target_predictions {len(mu)} long; both count the classes")
    source = c.sum(dim=0)
    absent = (source <= 0).nonzero().flatten().tolist()
    if absent:
        raise ValueError(f"class {absent[0]} has no labelled source row, so its share cannot be found; add rows of it")
    values = torch.linalg.svdvals(c)
    if values[-1] < 1e-3 * values[0]:
        raise ValueError(
            f"the confusion matrix is singular (singular values {float(values[-1]):.1e} to {float(values[0]):.1e}): "
            "the classifier does not tell some classes apart, or never predicts one; use a better one, or merge classes"
        )
    weights = torch.linalg.solve(c, mu).clamp(min=0)
    target = weights * source / (weights * source).sum()
    return Priors(target=target, weights=target / source)


def em_priors(
    probabilities: Float[Tensor, "m classes"],
    source_priors: Float[Tensor, " classes"] | Sequence[float],
    *,
    tolerance: float = 1e-8,
    most: int = 10_000,
) -> Priors:
    """Target shares of the greatest likelihood, by EM (Saerens et al., Eq. 2.9): correct the probabilities for the
    shares, take their mean as the new shares, and so on.

    `probabilities`: p_S(y | x) of the target's rows. They must be calibrated; BBSE needs no probabilities at all.
    Raises ValueError for rows that are no probabilities, or source shares that are not above 0.
    """
    p, before = _probabilities(probabilities), shares(torch.as_tensor(source_priors), "source_priors")
    priors = before
    for _ in range(most):
        updated = correct(p, before, priors).mean(dim=0)
        change = float((updated - priors).abs().max())
        priors = updated
        if change < tolerance:
            break
    return Priors(target=priors, weights=priors / before)


def correct(
    probabilities: Float[Tensor, "m classes"],
    source_priors: Float[Tensor, " classes"] | Sequence[float],
    target_priors: Float[Tensor, " classes"] | Sequence[float],
) -> Float[Tensor, "m classes"]:
    """p_T(y | x) ∝ p_S(y | x) · p_T(y) / p_S(y) (Saerens et al., Eq. 2.4): the classifier's probabilities for a world
    with other shares, without training anything.

    Raises ValueError for rows that are no probabilities, source shares that are not above 0, or counts that differ.
    """
    p, before = _probabilities(probabilities), shares(torch.as_tensor(source_priors), "source_priors")
    after = torch.as_tensor(target_priors).detach().cpu().double()
    if not p.shape[1] == len(before) == len(after):
        raise ValueError(
            f"{p.shape[1]} probabilities a row, {len(before)} source and {len(after)} target shares; one each"
        )
    moved = p * after / before
    return moved / moved.sum(dim=1, keepdim=True).clamp(min=1e-300)


def moved_threshold(source_prior: float, target_prior: float) -> float:
    """Where to cut p_S(y = 1 | x) instead of at ½, when class 1 has the share `target_prior` (Elkan 2001, Theorem 2).

    Raises ValueError for shares that are not between 0 and 1.
    """
    for name, share in (("source_prior", source_prior), ("target_prior", target_prior)):
        if not 0 < share < 1:
            raise ValueError(f"{name} is {share}; give the share of class 1, above 0 and below 1")
    odds = (target_prior / source_prior) / ((1 - target_prior) / (1 - source_prior))
    return 1 / (1 + odds)


def _probabilities(values: Tensor) -> Tensor:
    p = values.detach().cpu().double()
    if p.ndim != 2 or len(p) == 0 or not torch.isfinite(p).all():
        raise ValueError(f"probabilities have shape {tuple(p.shape)}; expected finite (n, classes)")
    if (p < 0).any() or ((p.sum(dim=1) - 1).abs() > 1e-3).any():
        raise ValueError("probabilities must be 0 or more and add up to 1 in each row; take logits.softmax(dim=1)")
    return p
