"""Training episodes a second of the metric methods against easyfsl: `python -m benchmarks metric_episodes`.

Conv4 of width 64 at 28 px, 5-way 5-shot with 15 queries a class, forward, backward and Adam's step, no data loading.
Runs of two sides alternate; medians.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks._clock import medians
from tlcourse import meta, models

Row = tuple[str, str, str, float, str]
AIM = 1.3
WAY, SHOT, QUERY, WIDTH, SIDE, STEPS, ROUNDS = 5, 5, 15, 64, 28, 5, 5


def drawn() -> meta.Episodes:
    generator = torch.Generator().manual_seed(0)
    support, query = (torch.rand(1, WAY * n, 1, SIDE, SIDE, generator=generator) for n in (SHOT, QUERY))
    way = torch.arange(WAY)
    return meta.Episodes(
        support, way.repeat_interleave(SHOT)[None], query, way.repeat_interleave(QUERY)[None], way[None]
    )


class Maps(nn.Module):
    """easyfsl brings no Conv4: plain layers, the last two blocks without pooling."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(4):
            layers += [nn.Conv2d(WIDTH if i else 1, WIDTH, 3, padding=1), nn.BatchNorm2d(WIDTH), nn.ReLU()]
            layers += [nn.MaxPool2d(2)] if i < 2 else []
        self.layers = nn.Sequential(*layers)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.layers(pictures)


def row(name: str, method: meta.Comparison, peer: nn.Module, peer_loss: object, episodes: meta.Episodes) -> Row:
    """Both sides on the same pictures."""

    def ours() -> None:
        optimizer = torch.optim.Adam(method.parameters(), lr=1e-3)
        for _ in range(STEPS):
            optimizer.zero_grad()
            method.loss(episodes).backward()
            optimizer.step()

    def theirs() -> None:
        optimizer = torch.optim.Adam(peer.parameters(), lr=1e-3)
        for _ in range(STEPS):
            optimizer.zero_grad()
            peer.process_support_set(episodes.support[0], episodes.support_labels[0])  # type: ignore
            peer_loss(peer(episodes.query[0]), episodes.query_labels[0]).backward()  # type: ignore
            optimizer.step()

    method.train()
    peer.train()
    mine, other = (STEPS / seconds for seconds in medians(ours, theirs, rounds=ROUNDS))
    setting = f"easyfsl, Conv4-{WIDTH} at {SIDE} px, {WAY}-way {SHOT}-shot, {QUERY} queries"
    return name, f"{mine:.1f} episodes/s", f"{other:.1f} episodes/s", mine / other, setting


def main() -> list[Row]:
    """One row for each method."""
    from easyfsl.methods import MatchingNetworks, PrototypicalNetworks, RelationNetworks

    episodes = drawn()

    def squared(scores: Tensor, labels: Tensor) -> Tensor:
        return F.mse_loss(scores, F.one_hot(labels, WAY).float())

    return [
        row(
            "ProtoNet",
            meta.PrototypicalNetwork(meta.Conv4(width=WIDTH)),
            PrototypicalNetworks(models.Conv4(width=WIDTH)),
            F.cross_entropy,
            episodes,
        ),
        row(
            "Matching in context",
            meta.MatchingNetwork(meta.Conv4(width=WIDTH), context=meta.FullContext(WIDTH)),
            MatchingNetworks(models.Conv4(width=WIDTH), feature_dimension=WIDTH),
            F.nll_loss,
            episodes,
        ),
        row(
            "Relation",
            meta.RelationNetwork(meta.ConvMaps(width=WIDTH), meta.RelationModule(WIDTH)),
            RelationNetworks(Maps(), feature_dimension=WIDTH),
            squared,
            episodes,
        ),
    ]


def failures(rows: list[Row]) -> list[str]:
    """Methods that are slower than aimed at."""
    return [f"{name}: {ratio:.2f} of easyfsl's speed, at least {AIM}" for name, _, _, ratio, _ in rows if ratio < AIM]
