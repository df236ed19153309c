"""Adapting in use, from inputs alone: statistics of BatchNorm (AdaBN, Li, Wang, Shi, Liu and Hou 2016,
arXiv:1603.04779), and TENT (Wang, Shelhamer, Liu, Olshausen and Darrell 2021, arXiv:2006.10726)."""

from __future__ import annotations

import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tlcourse import training
from tlcourse.training.batches import Examples, prepare


def batch_norms(model: nn.Module) -> list[_BatchNorm]:
    """The BatchNorm layers that keep statistics."""
    return [m for m in model.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]


@torch.no_grad()
def adapt_batch_norm(model: nn.Module, dataset: Any, *, batch_size: int = 256) -> None:
    """Replace the statistics of every BatchNorm by those of these inputs (AdaBN, Algorithm 1); no weight is trained.

    The means over batches of about `batch_size`, in an order drawn once and for all: where the data are sorted by class
    a batch of neighbours would miss the spread between the classes. Labels are not read. A model without BatchNorm is
    left alone. The model ends in evaluation mode.
    Raises ValueError for fewer than two examples.
    """
    norms = batch_norms(model)
    if not norms:
        return
    examples = Examples(dataset)
    if examples.n < 2:
        raise ValueError("dataset has one example; statistics need two or more")
    home = training.device()
    momenta = [norm.momentum for norm in norms]
    model.to(home).eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over the batches
        nn.Module.train(norm)  # a frozen layer's own train() would keep it in evaluation mode
    try:
        order = torch.randperm(examples.n, generator=torch.Generator().manual_seed(0))
        for indices in order.tensor_split(max(1, examples.n // batch_size)):
            model(prepare(examples.inputs(indices), model, home))
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        model.eval()


def entropy(logits: Float[Tensor, "n classes"]) -> Float[Tensor, " n"]:
    """−Σ p log p of each row (nats): 0 when sure, log(classes) when it could be any."""
    return -(logits.softmax(dim=1) * logits.log_softmax(dim=1)).sum(dim=1)


class Tent(nn.Module):
    """A copy of the model that learns from every batch that it predicts, by making its own predictions surer.

    Only the scale and shift of BatchNorm train, and every batch is normalised by its own statistics: the running ones
    of the source are dropped (Section 3.2 and Algorithm 1). The logits are those from before the update, so that one
    forward pass serves both. Over many steps predictions can collapse into one class: `reset` starts again.
    Raises ValueError for a model without BatchNorm.
    """

    def __init__(self, model: nn.Module, *, lr: float = 1e-3) -> None:
        super().__init__()
        if not batch_norms(model):
            raise ValueError(f"{type(model).__name__} has no BatchNorm with statistics; TENT trains nothing else")
        self.model = copy.deepcopy(model).to(training.device()).eval().requires_grad_(False)
        for norm in batch_norms(self.model):
            norm.requires_grad_(True)
            norm.track_running_stats = False
            norm.running_mean = norm.running_var = None
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        self.lr = lr
        self.start = copy.deepcopy(self.model.state_dict())
        self.reset()

    def reset(self) -> None:
        """Forget everything that was learned at test time."""
        self.model.load_state_dict(self.start)
        self.optimizer = torch.optim.Adam(self.trained, lr=self.lr)

    @torch.enable_grad()
    def forward(self, inputs: Any) -> Float[Tensor, "n classes"]:
        """Logits of a batch, and then one step down their mean entropy.

        Raises ValueError for a single example, whose statistics would be its own.
        """
        batch = prepare(inputs, self.model, training.device())
        if isinstance(batch, Tensor) and len(batch) < 2:
            raise ValueError("a batch of one example; TENT needs the statistics of a batch, so give two or more")
        logits = self.model(batch)
        training.update(self.model, self.optimizer, entropy(logits).mean())
        return logits.detach()
