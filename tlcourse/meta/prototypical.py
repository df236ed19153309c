"""Prototypical networks (Snell, Swersky and Zemel 2017, arXiv:1703.05175): a class is the mean of its examples."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from tlcourse.meta.comparison import Comparison
from tlcourse.meta.episodes import Episodes, one_hot


class PrototypicalNetwork(Comparison):
    """An embedding and nothing else: queries go to the nearest prototype. `embed` gives feature vectors."""

    def compare(self, features: Episodes) -> Float[Tensor, "tasks queries way"]:
        """log p(class | query) (Eq. 2): the softmax over minus the squared distances."""
        means = prototypes(features.support, features.support_labels, features.n_way)
        return F.log_softmax(-squared_distances(features.query, means), dim=-1)


def prototypes(
    support: Float[Tensor, "tasks shots dim"], labels: Int[Tensor, "tasks shots"], n_way: int
) -> Float[Tensor, "tasks way dim"]:
    """Mean feature of each class, in each of the episodes (Eq. 1).

    Raises ValueError when a class has no support example, or a label is not 0 … n_way − 1.
    """
    member = one_hot(labels, n_way).to(support.dtype)
    return member.mT @ support / member.sum(dim=1)[:, :, None]


def squared_distances(
    query: Float[Tensor, "tasks queries dim"], means: Float[Tensor, "tasks way dim"]
) -> Float[Tensor, "tasks queries way"]:
    """‖query − prototype‖², the squared Euclidean distance: a Bregman divergence, for which the mean is the best
    representative of a class (Section 2.3). Without the square it is not.
    """
    return (query[:, :, None] - means[:, None]).square().sum(dim=-1)


def centred(features: Float[Tensor, "n dim"], mean: Float[Tensor, " dim"]) -> Float[Tensor, "n dim"]:
    """Features less a mean, brought to length 1: CL2N of SimpleShot (Wang, Chao, Weinberger and van der Maaten 2019,
    arXiv:1911.04623). On these the nearest prototype of a frozen backbone is a strong baseline.

    `mean`: of features of the training classes; the mean of the test classes would be a look at them.
    """
    return F.normalize(features - mean, dim=-1)
