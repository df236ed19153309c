"""What metric methods share: they embed every example, then compare queries with the support set."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tlcourse.meta.episodes import Episodes


class Comparison(nn.Module):
    """A network `embed` for single examples, and `compare`, which a method defines.

    Nothing here depends on which classes there are, or how many: that is why new classes need no training.
    """

    def __init__(self, embed: nn.Module) -> None:
        super().__init__()
        self.embed = embed

    def forward(self, episodes: Episodes) -> Float[Tensor, "tasks queries way"]:
        """The score of each class for each query: log-probabilities, unless the method says otherwise."""
        return self.compare(embedded(self.embed, episodes))

    def compare(self, features: Episodes) -> Float[Tensor, "tasks queries way"]:
        """The same for episodes whose support and query are embedded already."""
        raise NotImplementedError("compare is what a method defines; take PrototypicalNetwork or one of the others")

    def loss(self, episodes: Episodes) -> Float[Tensor, ""]:
        """Mean of −log p(right class) over all queries of all episodes (nats)."""
        return F.nll_loss(self(episodes).flatten(0, 1), episodes.query_labels.flatten())


def embedded(embed: nn.Module, episodes: Episodes) -> Episodes:
    """Episodes of features: support and query of all episodes in one pass, which shares batch norm's statistics."""
    shots = episodes.support.shape[1]
    features = embed(torch.cat([episodes.support, episodes.query], dim=1))
    return replace(episodes, support=features[:, :shots], query=features[:, shots:])
