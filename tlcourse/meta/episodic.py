"""Train on episodes, as the test will be (Vinyals et al. 2016, arXiv:1606.04080, Section 2.2), and measure on episodes
of classes that were never seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from tlcourse import training
from tlcourse.meta.comparison import Comparison
from tlcourse.meta.episodes import Episodes, sample_episodes
from tlcourse.training.evaluation import evaluating


def train_episodic(
    method: Comparison,
    items: Shaped[Tensor, "n ..."],
    labels: Int[Tensor, " n"],
    *,
    steps: int,
    n_way: int,
    k_shot: int = 1,
    n_query: int = 3,
    tasks: int = 1,
    lr: float = 1e-3,
    change: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    seed: int = 0,
) -> list[float]:
    """Teach `method`, in place, on `steps` batches of `tasks` episodes with Adam; returns the loss of each step.

    The learning rate falls to 0 along a cosine. `change` draws a variation of a batch of items, the same one for
    nobody: each picture gets its own, in the support and in the query.
    Raises ValueError for steps or lr that are not above 0, what `sample_episodes` raises, and FloatingPointError when
    the loss is not finite.
    """
    if steps < 1 or not lr > 0:
        raise ValueError(f"steps is {steps} and lr {lr}; give 1 or more, and a number above 0")
    device, generator = training.device(), torch.Generator().manual_seed(seed)
    method.to(device).train()
    items = items.to(device)
    optimizer = torch.optim.Adam(method.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    losses = []
    for _ in range(steps):
        episodes = sample_episodes(
            items, labels, tasks=tasks, n_way=n_way, k_shot=k_shot, n_query=n_query, generator=generator
        )
        if change is not None:
            episodes = _changed(episodes, change, generator)
        losses.append(training.update(method, optimizer, method.loss(episodes)))
        schedule.step()
    method.eval()
    return losses


def _changed(
    episodes: Episodes, change: Callable[[Tensor, torch.Generator], Tensor], generator: torch.Generator
) -> Episodes:
    support, query = (
        change(part.flatten(0, 1), generator).unflatten(0, part.shape[:2])
        for part in (episodes.support, episodes.query)
    )
    return replace(episodes, support=support, query=query)


@dataclass(frozen=True, eq=False)
class FewShot:
    """`accuracy` of each episode, and their mean with its 95 % interval, str() of which is "0.912 ± 0.006"."""

    accuracy: Float[Tensor, " episodes"]

    @property
    def interval(self) -> training.Interval:
        """Mean over the episodes; what another draw of episodes would change, not another training."""
        return training.interval(self.accuracy)


@torch.no_grad()
def evaluate_episodes(
    method: Comparison,
    items: Shaped[Tensor, "n ..."],
    labels: Int[Tensor, " n"],
    *,
    episodes: int = 600,
    n_way: int = 5,
    k_shot: int = 1,
    n_query: int = 3,
    seed: int = 0,
    at_once: int = 50,
) -> FewShot:
    """Accuracy in `episodes` new episodes, in evaluation mode. The same seed draws the same episodes for every method.

    Each item is embedded once, not once for each episode that it is in: batch norm's statistics are fixed, so that is
    the same. Raises ValueError for fewer than two episodes, and what `sample_episodes` raises.
    """
    if episodes < 2 or at_once < 1:
        raise ValueError(f"episodes is {episodes} and at_once {at_once}; give 2 or more, and 1 or more")
    generator = torch.Generator().manual_seed(seed)
    found: list[Tensor] = []
    with evaluating(method.to(training.device())):
        features = embed_all(method.embed, items)
        while len(found) * at_once < episodes:
            drawn = sample_episodes(
                features, labels, tasks=at_once, n_way=n_way, k_shot=k_shot, n_query=n_query, generator=generator
            )
            right = method.compare(drawn).argmax(dim=-1) == drawn.query_labels
            found.append(right.double().mean(dim=1).cpu())
    return FewShot(torch.cat(found)[:episodes])


@torch.no_grad()
def embed_all(embed: nn.Module, items: Shaped[Tensor, "n ..."], *, batch_size: int = 256) -> Shaped[Tensor, "n ..."]:
    """What `embed` makes of every item, in its present mode, on `training.device()`."""
    device = training.device()
    return torch.cat([embed(part.to(device)) for part in items.split(batch_size)])
