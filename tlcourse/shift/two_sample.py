"""Do two sets of examples come from one distribution? Three tests that look at the inputs alone.

MMD with permutations (Gretton et al. 2012, JMLR 13), a classifier (Lopez-Paz and Oquab 2017, arXiv:1610.06545), and one
Kolmogorov-Smirnov test for each feature (Rabanser, Günnemann and Lipton 2019, arXiv:1810.11953).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tlcourse import training
from tlcourse.shift.corrections import holm
from tlcourse.shift.inputs import domains
from tlcourse.shift.kernels import gaussian_kernel, median_bandwidth


@dataclass(frozen=True)
class TwoSample:
    """`p_value`: how often chance alone brings as large a `statistic`."""

    statistic: float
    p_value: float

    def rejects(self, level: float = 0.05) -> bool:
        """Whether the two sets differ by more than chance, at this share of false alarms."""
        return self.p_value <= level


def mmd_test(
    source: Float[Tensor, "n dim"],
    target: Float[Tensor, "m dim"],
    *,
    permutations: int = 500,
    bandwidth: float | None = None,
    seed: int = 0,
) -> TwoSample:
    """Unbiased MMD² (`statistic`) against its values when everybody's domain is drawn anew.

    If there is no shift the true assignment is one of `permutations` + 1 equally likely ones, so that the level holds
    exactly. `bandwidth`: the median distance of all rows, which no permutation changes.
    Raises ValueError for domains of different widths, fewer than two rows, or fewer than 19 permutations.
    """
    x, y = domains(source, target)
    if permutations < 19:
        raise ValueError(f"permutations is {permutations}; with fewer than 19 no p-value can reach 0.05")
    rows = torch.cat([x, y])
    kernel = gaussian_kernel(rows, rows, bandwidth or median_bandwidth(rows)).fill_diagonal_(0)
    statistics = permuted_mmd2(kernel, _assignments(len(x), len(y), permutations, seed))
    as_large = int((statistics[1:] >= statistics[0] - 1e-12).sum())
    return TwoSample(float(statistics[0]), (1 + as_large) / (1 + permutations))


def permuted_mmd2(kernel: Float[Tensor, "n n"], assignment: Float[Tensor, "n k"]) -> Float[Tensor, " k"]:
    """Unbiased MMD² for k assignments at once; a column has 1 where a row of the kernel is source, 0 for target.

    `kernel` has zeros on its diagonal. With a for a column, aᵀKa is the sum within the source, and aᵀK1 that of the
    source with everybody: the sums within the target and between both follow, from one product of matrices.
    """
    n = assignment.sum(dim=0)
    m = len(assignment) - n
    within_source = (assignment * (kernel @ assignment)).sum(dim=0)
    with_everybody = kernel.sum(dim=0) @ assignment
    between = with_everybody - within_source
    within_target = kernel.sum() - with_everybody - between
    return within_source / (n * (n - 1)) + within_target / (m * (m - 1)) - 2 * between / (n * m)


def classifier_test(
    source: Float[Tensor, "n dim"], target: Float[Tensor, "m dim"], *, l2: float = 10.0, seed: int = 0
) -> TwoSample:
    """A linear classifier learns the domains on one half of each; can it rank the other half? `statistic`: its AUC.

    ½: it cannot tell; 1: without error. The paper counts right answers; ranks do not depend on how large each domain
    is. The p-value is that of Mann and Whitney's test of the scores of rows that the classifier has not seen, which is
    exact about false alarms because they are all new to it; cross-validated scores are not independent, and alarm too
    often. Raises ValueError for domains of different widths, or fewer than four rows of one.
    """
    from scipy.stats import mannwhitneyu

    x, y = domains(source, target, least=4)
    generator = torch.Generator().manual_seed(seed)
    x, y = (rows[torch.randperm(len(rows), generator=generator)] for rows in (x, y))
    (x_fit, x_new), (y_fit, y_new) = ((rows[: len(rows) // 2], rows[len(rows) // 2 :]) for rows in (x, y))
    labels = torch.tensor([0] * len(x_fit) + [1] * len(y_fit))
    probe = training.probe(torch.cat([x_fit, y_fit]), labels, l2=l2)
    scores = [probe.scores(rows).diff(dim=1).flatten().numpy() for rows in (y_new, x_new)]
    found = mannwhitneyu(*scores, alternative="greater")
    return TwoSample(float(found.statistic) / (len(y_new) * len(x_new)), float(found.pvalue))


@dataclass(frozen=True, eq=False)
class PerFeature:
    """For each feature the largest gap between the two distribution functions, its p-value, and the corrected one."""

    statistics: Float[Tensor, " dim"]
    p_values: Float[Tensor, " dim"]
    corrected: Float[Tensor, " dim"]

    @property
    def p_value(self) -> float:
        """The smallest corrected p-value: that of the whole."""
        return float(self.corrected.min())

    def rejects(self, level: float = 0.05) -> bool:
        """Whether any feature differs by more than chance."""
        return self.p_value <= level

    def features(self, level: float = 0.05) -> list[int]:
        """The features that differ, the surest first."""
        order = self.corrected.argsort(stable=True).tolist()
        return [i for i in order if self.corrected[i] <= level]


def feature_tests(
    source: Float[Tensor, "n dim"],
    target: Float[Tensor, "m dim"],
    *,
    correction: Callable[[Tensor], Tensor] = holm,
) -> PerFeature:
    """Kolmogorov and Smirnov's test of every feature by itself. `correction`: `holm`, or `bonferroni` as the paper.

    Blind to what changes only between features, such as a correlation.
    Raises ValueError for domains of different widths, or fewer than two rows.
    """
    from scipy.stats import ks_2samp

    x, y = domains(source, target)
    found = ks_2samp(x.numpy(), y.numpy(), axis=0)
    p_values = torch.from_numpy(found.pvalue)
    return PerFeature(torch.from_numpy(found.statistic), p_values, correction(p_values))


def _assignments(n: int, m: int, permutations: int, seed: int) -> Tensor:
    """The true assignment, then random ones: (n + m, 1 + permutations) with 1 for source."""
    generator = torch.Generator().manual_seed(seed)
    true = torch.arange(n + m) < n
    columns = [true, *(true[torch.randperm(n + m, generator=generator)] for _ in range(permutations))]
    return torch.stack(columns, dim=1).double()
