"""LEEP, the log expected empirical prediction (Nguyen, Hassner, Seeger and Archambeau 2020, arXiv:2002.12462)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tlcourse.concepts.inputs import checked_features, checked_labels


def leep(source_probabilities: Float[Tensor, "n source"], labels: Int[Tensor, " n"]) -> float:
    """Mean log-likelihood of the target labels under the best guess that knows the source model's answers only.

    `source_probabilities`: softmax outputs θ(x) of the source model's own head, one row for each target example.
    1. joint distribution  P(y, z) = 1/n Σ_i [y_i = y] θ(x_i)_z                    (step 2 of Section 3.1)
    2. conditional         P(y | z) = P(y, z) / Σ_y P(y, z)
    3. LEEP = 1/n Σ_i log Σ_z P(y_i | z) θ(x_i)_z                                  (Eq. 2)

    At most 0; higher is better. Raises ValueError unless the rows are probability distributions.
    """
    theta = checked_features(source_probabilities, "source_probabilities")
    if (theta < 0).any() or not torch.allclose(theta.sum(dim=1), torch.ones(len(theta)).double(), atol=1e-4):
        raise ValueError("source_probabilities must be rows that sum to 1; apply softmax to the source head's logits")
    y = checked_labels(labels, len(theta))
    joint = torch.zeros(int(y.max()) + 1, theta.shape[1], dtype=theta.dtype).index_add_(0, y, theta) / len(theta)
    conditional = joint / joint.sum(dim=0).clamp(min=torch.finfo(theta.dtype).tiny)
    return float((theta * conditional[y]).sum(dim=1).log().mean())
