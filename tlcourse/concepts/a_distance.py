"""Proxy A-distance between two domains (Ben-David, Blitzer, Crammer and Pereira 2007, NeurIPS)."""

import torch
from jaxtyping import Float
from torch import Tensor

from tlcourse import training
from tlcourse.concepts.inputs import checked_features


def proxy_a_distance(
    source: Float[Tensor, "n1 dim"], target: Float[Tensor, "n2 dim"], *, seed: int = 0, l2: float = 10.0
) -> float:
    """2 (1 − 2 ε), where ε is the error of a linear classifier that tells the domains apart on examples it never saw.

    0: no better than a coin (alike as far as a linear classifier sees); 2: told apart without error. The larger domain
    is cut to the size of the smaller, half of each trains the classifier, half tests it, then they swap roles.
    Chance can bring ε above ½; the distance is then 0.

    Raises ValueError for features of different widths, or fewer than four examples in a domain.
    """
    a, b = checked_features(source, "source"), checked_features(target, "target")
    n = min(len(a), len(b)) // 2 * 2
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"source is {a.shape[1]} wide and target {b.shape[1]}; take both from the same backbone")
    if n < 4:
        raise ValueError(f"domains of {len(a)} and {len(b)} examples; each needs at least four")
    generator = torch.Generator().manual_seed(seed)
    a, b = (domain[torch.randperm(len(domain), generator=generator)[:n]] for domain in (a, b))
    labels = torch.arange(2).repeat_interleave(n // 2)
    halves = [torch.cat([a[: n // 2], b[: n // 2]]), torch.cat([a[n // 2 :], b[n // 2 :]])]
    errors = [
        1 - training.probe(fit_on, labels, l2=l2).accuracy(test_on, labels)
        for fit_on, test_on in (halves, halves[::-1])
    ]
    return max(0.0, 2 * (1 - 2 * sum(errors) / 2))
