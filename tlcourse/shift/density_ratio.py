"""How much likelier is this input in the target? A classifier of domains knows (Bickel, Brückner and Scheffer 2007,
ICML, "Discriminative learning for differing training and test distributions")."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tlcourse import training
from tlcourse.shift.inputs import domains


@dataclass(frozen=True, eq=False)
class DensityRatio:
    """w(x) = p_T(x) / p_S(x). `probe` tells target (1) from source (0); `odds` = n_S / n_T of what it learned from."""

    probe: training.Probe
    odds: float

    def __call__(self, features: Float[Tensor, "n dim"]) -> Float[Tensor, " n"]:
        """p(T | x) / p(S | x) · n_S / n_T: the odds of the classifier, without the part that only counts rows."""
        return torch.exp(self.probe.scores(features.double()).diff(dim=1).flatten()).double() * self.odds


def density_ratio(source: Float[Tensor, "n dim"], target: Float[Tensor, "m dim"], *, l2: float = 1.0) -> DensityRatio:
    """The ratio of the densities from a logistic regression between the domains; no label is needed.

    Its logarithm is linear in the features. It is exact for two Gaussians of one covariance; for anything bent give
    more features, such as squares. With nearly as many features as rows the classifier learns the rows by heart, and
    the ratio of its own source rows comes out too small: raise `l2`, or use `out_of_fold_ratio`.
    Raises ValueError for domains of different widths, or fewer than two rows.
    """
    x, y = domains(source, target)
    labels = torch.tensor([0] * len(x) + [1] * len(y))
    return DensityRatio(training.probe(torch.cat([x, y]), labels, l2=l2), len(x) / len(y))


def out_of_fold_ratio(
    source: Float[Tensor, "n dim"], target: Float[Tensor, "m dim"], *, folds: int = 5, l2: float = 1.0, seed: int = 0
) -> Float[Tensor, " n"]:
    """The ratio at each source row, by a classifier that has not learned from that row.

    Raises ValueError unless 2 ≤ folds, and each fold has two rows of both domains.
    """
    x, y = domains(source, target)
    if not 2 <= folds <= min(len(x), len(y)) // 2:
        raise ValueError(
            f"folds is {folds}; give 2 to {min(len(x), len(y)) // 2}, so that each has rows of both domains"
        )
    generator = torch.Generator().manual_seed(seed)
    x_fold, y_fold = (torch.randperm(len(rows), generator=generator) % folds for rows in (x, y))
    weights = torch.empty(len(x), dtype=torch.float64)
    for fold in range(folds):
        ratio = density_ratio(x[x_fold != fold], y[y_fold != fold], l2=l2)
        weights[x_fold == fold] = ratio(x[x_fold == fold])
    return weights
