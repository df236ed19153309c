"""Domain-adversarial training (Ganin, Ustinova, Ajakan, Germain, Larochelle, Laviolette, Marchand and Lempitsky 2016,
arXiv:1505.07818): features from which nobody can tell the domain."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tlcourse.models import MLP
from tlcourse.shift.inputs import same_width


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradients[0], None


def reverse_gradient(features: Float[Tensor, "*shape"], strength: float) -> Float[Tensor, "*shape"]:
    """The features themselves on the way forward; on the way back, −strength times the gradient (Eqs. 16 and 17).

    What comes after goes downhill on its loss, what comes before uphill on the same loss, in one backward pass.
    """
    return _Reversal.apply(features, strength)


def ramp(progress: float, *, gamma: float = 10.0) -> float:
    """2 / (1 + exp(−γ p)) − 1 (Section 5.2.2): from 0 at the start of the training (p = 0) to nearly 1 at its end.

    At first the domain classifier knows nothing, and its gradients are noise. Raises ValueError unless 0 ≤ p ≤ 1.
    """
    if not 0 <= progress <= 1:
        raise ValueError(f"progress is {progress}; give the share of the training that is over, 0 to 1")
    return 2 / (1 + math.exp(-gamma * progress)) - 1


class Adversary(nn.Module):
    """A small network that guesses the domain of features; a penalty for `adapt`.

    `dim` features, one hidden layer. It always learns at full strength: `strength` acts on the features alone.
    """

    def __init__(self, dim: int, *, hidden: int = 64, seed: int = 0) -> None:
        super().__init__()
        self.net = MLP([dim, hidden, 1], seed=seed)

    def forward(
        self, source: Float[Tensor, "n dim"], target: Float[Tensor, "m dim"], strength: float
    ) -> Float[Tensor, ""]:
        """Mean cross-entropy of the guesses (nats), each domain counting for half: log 2 when it cannot tell.

        Raises ValueError for domains of different widths, or fewer than two examples of one.
        """
        same_width(source, target)
        losses = [
            F.softplus(-sign * self.net(reverse_gradient(rows, strength))).mean()
            for rows, sign in ((source, -1.0), (target, 1.0))
        ]
        return (losses[0] + losses[1]) / 2
