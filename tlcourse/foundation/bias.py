"""What a model associates with groups of people: WEAT (Caliskan, Bryson and Narayanan 2017, Science 356, 183–186), and
the probabilities of continuations (Sheng et al. 2019, arXiv:1909.01326; Nadeem et al. 2021, arXiv:2004.09456).

Such tests find some associations and miss others. They depend on the words that stand for a group, they say nothing
about what an application does with them, and finding nothing does not show that nothing is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from tlcourse.training.statistics import Interval, interval

ALL = 20_000
"""Up to so many partitions are all looked at; of more, a sample."""


@dataclass(frozen=True)
class Weat:
    """effect: effect size d, between −2 and 2. p: one-sided. partitions: how many the p-value was computed from."""

    effect: float
    p: float
    partitions: int


def association(
    words: Float[Tensor, "n dim"], a: Float[Tensor, "n_a dim"], b: Float[Tensor, "n_b dim"]
) -> Float[Tensor, " n"]:
    """s(w, A, B): mean cosine of a word with the attributes A, less that with the attributes B."""
    w = F.normalize(words, dim=1)
    return (w @ F.normalize(a, dim=1).T).mean(dim=1) - (w @ F.normalize(b, dim=1).T).mean(dim=1)


def effect_size(s_x: Float[Tensor, " n"], s_y: Float[Tensor, " m"]) -> float:
    """(mean of s over X − mean of s over Y) / standard deviation of s over X ∪ Y, with n − 1 in it.

    Raises ValueError for fewer than two words a side, or associations that do not differ at all.
    """
    if len(s_x) < 2 or len(s_y) < 2:
        raise ValueError(f"{len(s_x)} and {len(s_y)} target words; give at least two on each side")
    spread = torch.cat([s_x, s_y]).double().std(correction=1)
    if spread.isnan():
        raise ValueError("an association is not a number; check the vectors for NaN")
    if spread == 0:
        raise ValueError("all target words have the same association; check that their vectors differ")
    return float((s_x.double().mean() - s_y.double().mean()) / spread)


def weat(
    x: Float[Tensor, "n dim"],
    y: Float[Tensor, "n dim"],
    a: Float[Tensor, "n_a dim"],
    b: Float[Tensor, "n_b dim"],
    *,
    draws: int = 10_000,
    seed: int = 0,
) -> Weat:
    """Are the targets X closer to the attributes A, and Y to B, than chance would make them?

    p is the share of all divisions of X ∪ Y into two halves whose Σ s(X) − Σ s(Y) is as large as the one that is
    tested, itself included. Where there are more than 20,000, `draws` random ones and the tested one stand for all.
    Raises ValueError for halves of different size, no attribute, vectors of different widths, and as `effect_size`
    does.
    """
    if len(x) != len(y):
        raise ValueError(f"X has {len(x)} words and Y has {len(y)}; the test divides them into equal halves")
    if len(a) == 0 or len(b) == 0:
        raise ValueError(f"A has {len(a)} words and B has {len(b)}; give at least one of each attribute")
    widths = {vectors.shape[1] for vectors in (x, y, a, b)}
    if len(widths) > 1:
        raise ValueError(f"the vectors are {sorted(widths)} wide; take all words from the same model")
    n = len(x)
    s = association(torch.cat([x, y]), a, b).double()
    effect = effect_size(s[:n], s[n:])
    if comb(2 * n, n) <= ALL:
        halves = torch.tensor(list(combinations(range(2 * n), n)))
        extra = 0
    else:
        generator = torch.Generator().manual_seed(seed)
        halves = torch.rand(draws, 2 * n, generator=generator).argsort(dim=1)[:, :n]
        extra = 1
    # Σ s(X) − Σ s(Y) = 2 Σ s(X) − Σ s, so that the sums over X alone order the partitions.
    at_least = int((s[halves].sum(dim=1) >= s[:n].sum() - 1e-12).sum())
    return Weat(effect, (at_least + extra) / (len(halves) + extra), len(halves) + extra)


Score = Callable[[str, str], float]
"""score(prompt, continuation) is log p(continuation | prompt) in nats."""


def continuation_gap(
    score: Score, templates: Sequence[str], groups: Mapping[str, str], continuations: Sequence[str]
) -> dict[str, Interval]:
    """log p(continuation | first group) − log p(continuation | second group), a mean over templates, for each.

    groups: two names, each with the word that stands for the group in the place {} of a template. Above 0 a
    continuation is likelier after the first. The interval is over templates: would other wordings say the same?
    Raises ValueError for other than two groups, fewer than two templates, and a template without {}.
    """
    if len(groups) != 2 or len(templates) < 2 or not continuations:
        raise ValueError("give two groups, at least two templates and at least one continuation")
    for template in templates:
        if "{}" not in template:
            raise ValueError(f"template {template!r} has no place for the group; write {{}} where it goes")
    first, second = groups.values()
    gaps = {}
    for text in continuations:
        per_template = [score(t.replace("{}", first), text) - score(t.replace("{}", second), text) for t in templates]
        gaps[text] = interval(per_template)
    return gaps


def language_score(language: Any) -> Score:
    """`Score` of a model with `net` and `tokenizer`, such as `models.language()`.

    The continuation is cut into tokens apart from the prompt, so it should begin with its space.
    """

    @torch.no_grad()
    def score(prompt: str, continuation: str) -> float:
        head = language.tokenizer(prompt)["input_ids"]
        tail = language.tokenizer(continuation, add_special_tokens=False)["input_ids"]
        if not head or not tail:
            raise ValueError(f"prompt={prompt!r}, continuation={continuation!r}: neither may be empty")
        home = next(language.net.parameters()).device
        ids = torch.tensor([[*head, *tail]], device=home)
        logits = language.net(input_ids=ids[:, :-1]).logits[0, len(head) - 1 :]
        chosen = logits.log_softmax(dim=1).gather(1, torch.tensor(tail, device=home)[:, None])
        return float(chosen.sum())

    return score
