"""H-score (Bao, Li, Huang, Zhang, Zheng, Zamir and Guibas 2019, ICIP, "An information-theoretic approach to
transferability in task transfer learning")."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tlcourse.concepts.inputs import centred, checked_features, checked_labels


def h_score(features: Float[Tensor, "n dim"], labels: Int[Tensor, " n"], *, shrinkage: float | None = None) -> float:
    """tr(cov(f)⁻¹ · cov(E[f | y])) (Definition 2): the variance between classes, in units of the whole variance.

    With fewer examples than dimensions the covariance has no inverse, and the plain score says little. The covariance
    is therefore shrunk towards a multiple of the identity with the optimal amount of Ledoit and Wolf (2004), as
    Ibrahim, Ponomareva and Mazumder propose (2021, arXiv:2110.06893). `shrinkage` fixes the amount, 0 … 1; 0 gives
    the paper's score, with a pseudo-inverse.

    Between 0 and classes − 1 without shrinkage. Raises ValueError for bad features, labels or shrinkage.
    """
    from sklearn.covariance import ledoit_wolf, shrunk_covariance

    x = centred(checked_features(features))
    y = checked_labels(labels, len(x))
    if shrinkage is not None and not 0 <= shrinkage <= 1:
        raise ValueError(f"shrinkage is {shrinkage}; give a share between 0 and 1, or None for Ledoit and Wolf's")
    counts = torch.bincount(y).double()
    means = torch.zeros(len(counts), x.shape[1], dtype=x.dtype).index_add_(0, y, x) / counts[:, None]
    between = means.T @ (means * (counts / len(x))[:, None])
    amount = ledoit_wolf(x.numpy(), assume_centered=True)[1] if shrinkage is None else shrinkage
    whole = torch.from_numpy(shrunk_covariance((x.T @ x / len(x)).numpy(), shrinkage=amount))
    # The means hold the same noise as the covariance, so both are shrunk.
    return float(torch.trace(torch.linalg.pinv(whole, hermitian=True) @ between) * (1 - amount))
