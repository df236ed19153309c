"""Matching networks (Vinyals, Blundell, Lillicrap, Kavukcuoglu and Wierstra 2016, arXiv:1606.04080): a soft nearest
neighbour that is trained end to end."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from tlcourse.meta.comparison import Comparison
from tlcourse.meta.episodes import Episodes, one_hot
from tlcourse.models.drawing import drawn_by


class MatchingNetwork(Comparison):
    """Attention over the support examples.

    context:    full context embeddings, or None for features that do not see the rest of the support set
    sharpness:  what the cosine is multiplied by before the softmax. The paper has 1, and then no guess is sure: with
                five support examples none gets more than e² / (e² + 4) = 65 % of the attention
    """

    def __init__(self, embed: nn.Module, *, context: FullContext | None = None, sharpness: float = 10.0) -> None:
        super().__init__(embed)
        if not sharpness > 0:
            raise ValueError(f"sharpness is {sharpness}; give a number above 0")
        self.context, self.sharpness = context, sharpness

    def compare(self, features: Episodes) -> Float[Tensor, "tasks queries way"]:
        """log p(class | query): the log of the attention that the class's examples get together (Eq. 1)."""
        support, query = features.support, features.query
        if self.context is not None:
            support, query = self.context(support, query)
        attention = attention_kernel(query, support, sharpness=self.sharpness)
        return vote(attention, features.support_labels, features.n_way).clamp(min=1e-6).log()


def attention_kernel(
    query: Float[Tensor, "tasks queries dim"], support: Float[Tensor, "tasks shots dim"], *, sharpness: float = 1.0
) -> Float[Tensor, "tasks queries shots"]:
    """Softmax over the support examples of their cosine with the query (Section 2.1.1)."""
    cosine = F.normalize(query, dim=-1) @ F.normalize(support, dim=-1).mT
    return (sharpness * cosine).softmax(dim=-1)


def vote(
    attention: Float[Tensor, "tasks queries shots"], labels: Int[Tensor, "tasks shots"], n_way: int
) -> Float[Tensor, "tasks queries way"]:
    """Σ a(query, xᵢ) yᵢ (Eq. 1), with yᵢ the one-hot label: probabilities that add up to 1.

    Raises ValueError when a class has no support example, or a label is not 0 … n_way − 1.
    """
    return attention @ one_hot(labels, n_way).to(attention.dtype)


class FullContext(nn.Module):
    """Embeddings of examples that depend on the whole support set (Section 2.1.2 and Appendix A).

    `steps`: how often a query reads the support set; None for as often as there are support examples.
    """

    def __init__(self, dim: int, *, steps: int | None = None, seed: int = 0) -> None:
        super().__init__()
        if steps is not None and steps < 1:
            raise ValueError(f"steps is {steps}; give 1 or more, or None")
        self.steps = steps
        with drawn_by(seed):
            self.both_ways = nn.LSTM(dim, dim, batch_first=True, bidirectional=True)
            self.reader = nn.LSTMCell(2 * dim, dim)

    def forward(
        self, support: Float[Tensor, "tasks shots dim"], query: Float[Tensor, "tasks queries dim"]
    ) -> tuple[Float[Tensor, "tasks shots dim"], Float[Tensor, "tasks queries dim"]]:
        """Both in context: g(xᵢ, S) and f(x̂, S)."""
        support = self.of_support(support)
        return support, self.of_query(query, support)

    def of_support(self, support: Float[Tensor, "tasks shots dim"]) -> Float[Tensor, "tasks shots dim"]:
        """The feature plus both states of a bidirectional LSTM that walks through the support set (Appendix A.2)."""
        forth, back = self.both_ways(support)[0].chunk(2, dim=-1)
        return support + forth + back

    def of_query(
        self, query: Float[Tensor, "tasks queries dim"], support: Float[Tensor, "tasks shots dim"]
    ) -> Float[Tensor, "tasks queries dim"]:
        """An LSTM that reads the support set by attention, again and again (Eqs. 2 to 6 of Appendix A.1)."""
        hidden, cell = query, query.new_zeros(query.shape)
        for _ in range(self.steps or support.shape[1]):
            read = (hidden @ support.mT).softmax(dim=-1) @ support
            inputs = torch.cat([query, read], dim=-1).flatten(0, 1)
            new, cell = self.reader(inputs, (hidden.flatten(0, 1), cell.view(len(inputs), -1)))
            hidden = query + new.view_as(query)
        return hidden
