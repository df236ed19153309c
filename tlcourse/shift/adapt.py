"""One loop for every method that learns from labelled source and unlabelled target examples side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tlcourse import models, training
from tlcourse.shift.batches import endless
from tlcourse.shift.dann import ramp
from tlcourse.shift.inputs import same_classes
from tlcourse.shift.test_time import adapt_batch_norm
from tlcourse.training.batches import Examples, prepare

Penalty = Callable[[Tensor, Tensor, float], Tensor]
"""penalty(source features, target features, strength) is a loss that shrinks as the domains become alike."""
Distance = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Adaptation:
    """`losses`: cross-entropy on the source, and `penalties`, each step (nats, or in the penalty's own unit); wall time
    in `seconds`."""

    losses: tuple[float, ...]
    penalties: tuple[float, ...]
    seconds: float


def weighted(distance: Distance) -> Penalty:
    """A distance between features as a penalty: strength · distance(source, target).

    adapt(model, source, target, penalty=weighted(coral_loss), steps=500)
    """

    def penalty(source: Float[Tensor, "n dim"], target: Float[Tensor, "m dim"], strength: float) -> Float[Tensor, ""]:
        return strength * distance(source, target)

    return penalty


def adapt(
    model: models.Classifier,
    source: Any,
    target: Any,
    *,
    penalty: Penalty | None,
    steps: int,
    weight: float = 1.0,
    batch_size: int = 64,
    lr: float = 1e-3,
    optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer] | None = None,
    seed: int = 0,
) -> Adaptation:
    """Train a backbone and a head in place: cross-entropy on the source, plus a penalty on the features of both.

    `source`, `target`: tlcourse.data containers with the same classes. The target's labels are never read.
    `penalty`: `Adversary(dim)`, `weighted(coral_loss)`, `weighted(mmd_loss)`; None trains on the source only, with the
    same batches. Its strength is weight · ramp(share of the steps that are over).
    Adam(lr) by default. A penalty with parameters of its own learns along.

    Each domain passes through the network by itself, so that every BatchNorm has statistics of one domain at a time;
    at the end they are those of the whole target (of the source without a penalty). Give `adapt_batch_norm` another
    domain before you measure there. The model ends in evaluation mode; the same seed gives the same weights.

    Raises ValueError for classes that differ, fewer than two examples or steps that make no sense; FloatingPointError
    when the loss is not finite.
    """
    same_classes(source, target)
    if steps < 1 or batch_size < 2 or min(len(source), len(target)) < 2:
        raise ValueError(
            f"steps is {steps}, batch_size {batch_size}, and the domains have {len(source)} and {len(target)} examples"
            "; give 1 step or more, and 2 or more of the others"
        )
    home = training.device()
    extra = penalty if isinstance(penalty, nn.Module) else nn.Identity()
    both = nn.ModuleList([model, extra]).to(home)
    parameters = [p for p in both.parameters() if p.requires_grad]
    rule = optimizer(parameters) if optimizer else torch.optim.Adam(parameters, lr=lr, fused=True)
    batches = _batches(model, source, None if penalty is None else target, batch_size, home, seed)
    losses, penalties = [], []
    both.train()
    begun = time.perf_counter()
    with torch.random.fork_rng(devices=[home] if home.type == "cuda" else []):
        torch.manual_seed(seed)
        for step in range(steps):
            inputs, labels, others = next(batches)
            features = model.backbone(inputs)
            loss = F.cross_entropy(model.head(features), labels)
            losses.append(loss.item())
            if penalty is not None:
                gap = penalty(features, model.backbone(others), weight * ramp(step / steps))
                penalties.append(gap.item())
                loss = loss + gap
            training.update(both, rule, loss)
    both.eval()
    adapt_batch_norm(model, source if penalty is None else target)
    return Adaptation(tuple(losses), tuple(penalties), time.perf_counter() - begun)


def _batches(
    model: models.Classifier, source: Any, target: Any | None, size: int, home: torch.device, seed: int
) -> Iterator[tuple[Any, Tensor, Any]]:
    """Source inputs and labels, target inputs. Both have generators of their own: the source batches stay the same
    whether there is a target or not."""
    examples = Examples(source, argument="source")
    examples.check_labels(torch.as_tensor(source.labels), model.head.out_features)
    others = Examples(target, argument="target") if target is not None else None
    mine, theirs = (torch.Generator().manual_seed(s) for s in (seed, seed + 1))
    walk = endless(others.n, size, theirs) if others is not None else None
    for indices in endless(examples.n, size, mine):
        inputs, labels = examples.batch(indices)
        other = prepare(others.inputs(next(walk)), model, home) if others is not None and walk is not None else None
        yield prepare(inputs, model, home), labels.to(home), other
