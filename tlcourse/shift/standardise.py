"""Each domain by its own mean and spread: the plainest alignment, and often enough."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from tlcourse.shift.inputs import domain


def standardise(features: Float[Tensor, "n dim"], *, epsilon: float = 1e-3) -> Float[Tensor, "n dim"]:
    """(x − mean) / (standard deviation + epsilon · typical deviation), both of these very rows; no label is needed.

    Call it on source and target apart. A dimension that hardly varies would be blown up into noise without `epsilon`,
    which is in units of the root mean square deviation of all dimensions. What it assumes: that the domains would
    have the same means if their inputs meant the same. With other class shares they would not.
    Raises ValueError for fewer than two rows, an epsilon of 0 or less, or features that never vary.
    """
    x = domain(features, "features")
    if not epsilon > 0:
        raise ValueError(f"epsilon is {epsilon}; give a small number above 0, for constant dimensions")
    deviation = x.std(dim=0, correction=0)
    typical = deviation.square().mean().sqrt()
    if not typical > 0:
        raise ValueError("features are the same for every row; there is no spread to divide by")
    return ((x - x.mean(dim=0)) / (deviation + epsilon * typical)).to(features.dtype)
