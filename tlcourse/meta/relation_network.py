"""Relation networks (Sung, Yang, Zhang, Xiang, Torr and Hospedales 2018, arXiv:1711.06025): the comparison is learned
too."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tlcourse.meta.comparison import Comparison
from tlcourse.meta.episodes import Episodes
from tlcourse.meta.prototypical import prototypes
from tlcourse.models.drawing import drawn_by


class RelationNetwork(Comparison):
    """A second network says how well a query's maps go with a class's maps. `embed` gives maps, as `ConvMaps` does.

    `relation` has the score of a pair, 0 (unrelated) to 1.
    """

    def __init__(self, embed: nn.Module, relation: RelationModule) -> None:
        super().__init__(embed)
        self.relation = relation

    def compare(self, features: Episodes) -> Float[Tensor, "tasks queries way"]:
        """Relation scores r (Eq. 1): no log-probabilities, they need not add up to 1.

        A class of several examples is the mean of their maps. (The paper sums them; the mean keeps the scale, so that
        a network trained with one example can be used with five.)
        """
        size = features.support.shape[2:]
        means = prototypes(features.support.flatten(2), features.support_labels, features.n_way)
        return self.relation(means.unflatten(2, size), features.query)

    def loss(self, episodes: Episodes) -> Float[Tensor, ""]:
        """Mean squared error of the scores: 1 for the right class, 0 for every other one (Eq. 2)."""
        scores = self(episodes)
        return F.mse_loss(scores, F.one_hot(episodes.query_labels, episodes.n_way).to(scores.dtype))


class RelationModule(nn.Module):
    """Two convolution blocks on the two maps side by side, then two linear layers and a sigmoid (Figure 3)."""

    def __init__(self, width: int = 64, hidden: int = 8, *, seed: int = 0) -> None:
        super().__init__()
        with drawn_by(seed):
            self.pair = nn.Conv2d(2 * width, width, 3, padding=1)
            self.first = nn.Sequential(nn.BatchNorm2d(width), nn.MaxPool2d(2), nn.ReLU())
            second = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.MaxPool2d(2), nn.ReLU()
            self.second = nn.Sequential(*second)
            self.score = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 1), nn.Sigmoid())
        self.to(memory_format=torch.channels_last)

    def forward(
        self, means: Float[Tensor, "tasks way c h w"], query: Float[Tensor, "tasks queries c h w"]
    ) -> Float[Tensor, "tasks queries way"]:
        """The score of every pair of a query and a class of its episode.

        A convolution is linear: over [class, query] it is one over the class plus one over the query. So the first
        layer runs once for each map, not once for each pair. Raises ValueError for maps smaller than 4x4.
        """
        if min(query.shape[-2:]) < 4:
            raise ValueError(f"query has maps of {tuple(query.shape[-2:])}; expected 4x4 or more: pool less in `embed`")
        of_class, of_query = self.pair.weight.chunk(2, dim=1)
        left = F.conv2d(means.flatten(0, 1), of_class, self.pair.bias, padding=1).unflatten(0, means.shape[:2])
        right = F.conv2d(query.flatten(0, 1), of_query, padding=1).unflatten(0, query.shape[:2])
        pairs = (right[:, :, None] + left[:, None]).flatten(0, 2)
        maps = self.second(self.first(pairs.contiguous(memory_format=torch.channels_last)))
        return self.score(maps.mean(dim=(2, 3))).view(*query.shape[:2], means.shape[1])
