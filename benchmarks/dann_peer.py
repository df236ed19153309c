"""A step of DANN against pytorch-adapt on rotated moons: `python -m benchmarks dann_peer`.

1,000 points in either domain, turned by 35°, batches of 128, one hidden layer of 32 in the backbone and the adversary.
pytorch-adapt 0.0.83 is not among the dependencies, as it needs an old setuptools. Without it there is no row; for one:
pip install "setuptools<81" pytorch-adapt
"""

from __future__ import annotations

import math
import warnings

import torch
from sklearn.datasets import make_moons
from torch import nn

from benchmarks._clock import medians
from tlcourse import data, models, shift

Row = tuple[str, str, str, float, str]
STEPS, BATCH, HIDDEN, ROUNDS, AIM = 400, 128, 32, 5, 0.6


def moons(degrees: float, seed: int) -> data.Table:
    """Two half-moons, turned."""
    points, labels = make_moons(1000, noise=0.1, random_state=seed)
    angle = math.radians(degrees)
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    turned = torch.tensor(points, dtype=torch.float32) @ turn.T
    return data.Table(
        name="moons", labels=torch.tensor(labels), classes=("upper", "lower"), features=turned, columns=("x", "y")
    )


def ours(source: data.Table, target: data.Table) -> None:
    """All that a reader gets: the ramp, the losses of each step, statistics at the end."""
    model = models.Classifier(models.MLP([2, HIDDEN], seed=0), 2, seed=0)
    penalty = shift.Adversary(HIDDEN, hidden=HIDDEN)
    shift.adapt(model, source, target, penalty=penalty, steps=STEPS, batch_size=BATCH)


def theirs(source: data.Table, target: data.Table) -> None:
    """The same networks and batches through pytorch-adapt's DANNHook, which has no ramp."""
    from pytorch_adapt.containers import Models, Optimizers
    from pytorch_adapt.hooks import DANNHook

    networks = Models(
        {
            "G": models.MLP([2, HIDDEN], seed=0),
            "C": nn.Linear(HIDDEN, 2),
            "D": nn.Sequential(models.MLP([HIDDEN, HIDDEN, 1], seed=0), nn.Flatten(0)),
        }
    )
    rules = Optimizers((torch.optim.Adam, {"lr": 1e-3, "fused": True}))
    rules.create_with(networks)
    hook = DANNHook(opts=list(rules.values()))
    generator = torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        mine, others = (torch.randint(len(source), (BATCH,), generator=generator) for _ in range(2))
        batch = {
            "src_imgs": source.features[mine],
            "src_labels": source.labels[mine],
            "src_domain": torch.zeros(BATCH),
            "target_imgs": target.features[others],
            "target_domain": torch.ones(BATCH),
        }
        hook({**networks, **batch})


def main() -> list[Row]:
    """One row, or none without the peer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import pytorch_adapt  # noqa: F401
        except ImportError:
            return []
        source, target = moons(0, seed=0), moons(35, seed=1)
        seconds = medians(lambda: ours(source, target), lambda: theirs(source, target), rounds=ROUNDS)
    one, other = (1e3 * value / STEPS for value in seconds)
    setting = f"moons turned by 35°, batch {BATCH}, hidden {HIDDEN}, pytorch-adapt"
    return [("DANN, one step", f"{one:.2f} ms", f"{other:.2f} ms", one / other, setting)]


def failures(rows: list[Row]) -> list[str]:
    """The bar, where it was missed."""
    return [f"{name}: {ratio:.2f} of the peer, at most {AIM:.2f}" for name, _, _, ratio, _ in rows if ratio > AIM]
