"""Maximum mean discrepancy (Gretton, Borgwardt, Rasch, Schölkopf and Smola 2012, JMLR 13), and deep adaptation
networks, which make it small (Long, Cao, Wang and Jordan 2015, arXiv:1502.02791)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from tlcourse.shift.inputs import same_width
from tlcourse.shift.kernels import gaussian_kernel, median_bandwidth, squared_distances

WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Bandwidths of the mixed kernel, in median distances."""


def mmd2(
    source: Float[Tensor, "n dim"], target: Float[Tensor, "m dim"], *, bandwidth: float | None = None
) -> Float[Tensor, ""]:
    """The unbiased estimate of MMD² (Eq. 3): alikeness within the domains, less that between them.

    No example is compared with itself, so that the mean is 0 without a shift; a single estimate can then be negative.
    `bandwidth` of the Gaussian kernel: the median distance of all rows by default.
    Raises ValueError for domains of different widths, or fewer than two examples of one.
    """
    same_width(source, target)
    sigma = bandwidth or median_bandwidth(torch.cat([source, target]))
    within = [_mean_of_others(gaussian_kernel(rows, rows, sigma)) for rows in (source, target)]
    return sum(within) - 2 * gaussian_kernel(source, target, sigma).mean()


def linear_mmd2(
    source: Float[Tensor, "n dim"], target: Float[Tensor, "n dim"], *, bandwidth: float | None = None
) -> Float[Tensor, ""]:
    """The estimate from neighbouring pairs alone (Lemma 14): unbiased too, noisier, and in linear time.

    Raises ValueError for counts that differ, and for fewer than two examples.
    """
    same_width(source, target)
    if len(source) != len(target):
        raise ValueError(f"{len(source)} examples of source and {len(target)} of target; pairs need as many of both")
    sigma = bandwidth or median_bandwidth(torch.cat([source, target]))
    even = len(source) // 2 * 2
    (x1, x2), (y1, y2) = ((rows[:even:2], rows[1:even:2]) for rows in (source, target))

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return torch.exp(-(a - b).square().sum(dim=1) / (2 * sigma**2))

    return (kernel(x1, x2) + kernel(y1, y2) - kernel(x1, y2) - kernel(x2, y1)).mean()


def mmd_loss(source: Float[Tensor, "n dim"], target: Float[Tensor, "m dim"]) -> Float[Tensor, ""]:
    """MMD² under the mean of five Gaussian kernels, the multi-kernel of DAN (Section 3); a penalty for `adapt`.

    Bandwidths follow the median distance of this batch, and no gradient goes through them: otherwise features could
    make the loss small by growing. Raises ValueError for domains of different widths, or fewer than two of one.
    """
    same_width(source, target)
    both = torch.cat([source, target])
    sigma = median_bandwidth(both)
    distances = squared_distances(both, both)
    kernel = torch.stack([torch.exp(-distances / (2 * (width * sigma) ** 2)) for width in WIDTHS]).mean(dim=0)
    n = len(source)
    return _mean_of_others(kernel[:n, :n]) + _mean_of_others(kernel[n:, n:]) - 2 * kernel[:n, n:].mean()


def _mean_of_others(kernel: Tensor) -> Tensor:
    """Mean without the diagonal."""
    n = len(kernel)
    return (kernel.sum() - kernel.diagonal().sum()) / (n * (n - 1))
