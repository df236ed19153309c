"""L2-SP: stay near the starting point (Li, Grandvalet and Davoine 2018, arXiv:1802.01483)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tlcourse.finetuning.heads import head_of


class L2SP:
    """Cross-entropy plus a penalty on the way from the pre-trained weights; a `loss` for `training.fit`.

    Ω(w) = α/2 · ‖w_S − w⁰_S‖² + β/2 · ‖w_N‖²   (Eq. 2). w_S are the weights that exist before, w⁰_S their values at
    the time when this object is made, w_N the new ones: the head, which has no starting point worth keeping.
    Plain weight decay pulls to zero, away from what pre-training has learned; give the optimizer none.

    `start`: other weights to stay near, by name, where the model is not at its starting point now.
    Raises ValueError for a negative α or β, or weights that do not fit the model.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        alpha: float = 0.1,
        beta: float = 0.01,
        head: str | None = None,
        start: dict[str, Tensor] | None = None,
    ) -> None:
        if alpha < 0 or beta < 0:
            raise ValueError(f"alpha is {alpha} and beta {beta}; a penalty below 0 would push the weights away")
        name, _ = head_of(model, path=head)
        old = {n: p for n, p in model.named_parameters() if p.requires_grad and not n.startswith(f"{name}.")}
        given = start if start is not None else old
        for n, parameter in old.items():
            if n not in given or given[n].shape != parameter.shape:
                raise ValueError(f"start has no weights for {n!r} of shape {tuple(parameter.shape)}; give all, by name")
        self.alpha, self.beta = alpha, beta
        self.old = list(old.values())
        self.start = [given[n].detach().clone() for n in old]
        self.new = [p for n, p in model.named_parameters() if p.requires_grad and n.startswith(f"{name}.")]

    def penalty(self) -> Float[Tensor, ""]:
        """Ω of the weights as they are now."""
        if self.old and self.start[0].device != self.old[0].device:
            self.start = [value.to(parameter) for value, parameter in zip(self.start, self.old, strict=True)]
        moved = sum(((w - w0).square().sum() for w, w0 in zip(self.old, self.start, strict=True)), torch.zeros(()))
        new = sum((w.square().sum() for w in self.new), torch.zeros(()))
        return self.alpha / 2 * moved + self.beta / 2 * new

    def __call__(self, outputs: Float[Tensor, "n classes"], labels: Tensor) -> Float[Tensor, ""]:
        """Mean cross-entropy plus the penalty."""
        return F.cross_entropy(outputs, labels) + self.penalty()
