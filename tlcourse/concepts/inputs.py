"""The checks that every score of this part makes of its arguments."""

import torch
from torch import Tensor


def checked_features(features: Tensor, name: str = "features") -> Tensor:
    """Features as float64. Raises ValueError unless they are (n ≥ 2, dim), floating point and finite."""
    if features.ndim != 2 or len(features) < 2 or features.shape[1] == 0 or not features.is_floating_point():
        raise ValueError(
            f"{name} are {features.dtype} of shape {tuple(features.shape)}; expected floats (n, dim) with n ≥ 2"
        )
    if not torch.isfinite(features).all():
        raise ValueError(f"{name} hold NaN or infinity; look for a network that diverged")
    return features.detach().cpu().double()


def centred(features: Tensor, name: str = "features") -> Tensor:
    """Features minus their mean over the examples. Raises ValueError when they are the same for every example."""
    result = features - features.mean(dim=0)
    if result.norm() <= 1e-12 * features.norm():  # the rest is rounding
        raise ValueError(f"{name} are the same for every example; nothing can be compared without variation")
    return result


def paired_features(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Both checked; raises ValueError when they are not about the same n examples."""
    pair = checked_features(first, "first"), checked_features(second, "second")
    if len(first) != len(second):
        raise ValueError(f"first has {len(first)} rows and second {len(second)}; give features of the same examples")
    return pair


def checked_labels(labels: Tensor, n: int) -> Tensor:
    """Labels renumbered 0 … classes − 1.

    Raises ValueError unless they are n whole numbers of at least two classes.
    """
    if labels.ndim != 1 or len(labels) != n or labels.is_floating_point():
        raise ValueError(f"labels are {labels.dtype} of shape {tuple(labels.shape)}; expected {n} whole numbers")
    classes, renumbered = torch.unique(labels.detach().cpu(), return_inverse=True)
    if len(classes) < 2:
        raise ValueError("labels hold a single class; a score needs at least two")
    return renumbered
