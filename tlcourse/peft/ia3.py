"""(IA)³: learned scales of activations (Liu, Tam, Muqeeth, Mohta, Huang, Bansal and Raffel 2022, arXiv:2205.05638)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tlcourse.peft.inject import AdapterLayer, Targets, find, inject
from tlcourse.peft.linear import features, parameter, weight_of, with_weight
from tlcourse.peft.shelf import Recipe, bare


class IA3Linear(AdapterLayer):
    """l ⊙ (W x + b) for keys and values, W (l ⊙ x) + b for a feed-forward layer (Section 3.3).

    The scales l start at one, so that the layer starts as its base.
    """

    def __init__(self, base: nn.Module, *, feedforward: bool) -> None:
        super().__init__(base)
        inputs, outputs = features(base)
        self.feedforward = feedforward
        self.scales = parameter(torch.ones(inputs if feedforward else outputs), like=base)

    def forward(self, x: Float[Tensor, "*n in"]) -> Float[Tensor, "*n out"]:
        """The base between the scales, in the base's type of number."""
        if self.feedforward:
            return self.base((self.scales * x).to(x.dtype))
        output = self.base(x)
        return (self.scales * output).to(output.dtype)

    def merged(self) -> nn.Module:
        """One linear layer with the scales in its columns (feed-forward), or in its rows and its bias."""
        weight, bias = weight_of(self.base), self.base.bias
        if self.feedforward:
            return with_weight(self.base, weight * self.scales, bias)
        return with_weight(self.base, weight * self.scales[:, None], None if bias is None else bias * self.scales)


def inject_ia3(
    model: nn.Module, targets: Targets, *, feedforward: Targets | None = None, name: str = "default"
) -> nn.Module:
    """Freeze the model and put an `IA3Linear` in the place of every linear layer that matches `targets` (see `find`).

    Those that match `feedforward` too have their inputs scaled, the others their outputs. The paper takes keys, values
    and the second layer of the feed-forward network; in GPT-2, targets=("c_attn", "mlp.c_proj") with
    feedforward="mlp.c_proj".

    Returns the model. Raises ValueError for a pattern that matches nothing, or a feed-forward layer that is no target.
    """
    with bare(model, name):
        scaled = {spot.path for spot in find(model, targets)}
        inputs = set() if feedforward is None else {spot.path for spot in find(model, feedforward)}
    if outside := sorted(inputs - scaled):
        raise ValueError(f"feedforward matches {outside[0]!r}, which targets does not; name it in targets too")
    return inject(
        model,
        targets,
        lambda path, layer: IA3Linear(layer, feedforward=path in inputs),
        recipe=Recipe("ia3", {}),
        name=name,
    )
