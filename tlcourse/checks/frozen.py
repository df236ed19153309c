"""Is a backbone really frozen: its weights, and what its BatchNorm layers remember and do?"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tlcourse.checks.base import CheckFailed
from tlcourse.checks.expect import expect

Answer = Callable[..., Any]
LOOP = "a training loop of 4 steps that calls model.train() before each, as real loops do"


class SmallNet(nn.Module):
    """A `backbone` with three BatchNorm layers, one of them nested and one for rows, and a `head` with dropout.

    Its statistics and scales are those of other data than `batch` draws, as if it had been pre-trained elsewhere.
    """

    def __init__(self) -> None:
        super().__init__()
        block = nn.Sequential(nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        layers = {
            "stem": nn.Conv2d(2, 6, 3, padding=1),
            "norm": nn.BatchNorm2d(6),
            "block": nn.Sequential(nn.ReLU(), block),
            "pool": nn.AdaptiveAvgPool2d(1),
            "flat": nn.Flatten(),
            "conv_head": nn.Linear(8, 8),
            "last_norm": nn.BatchNorm1d(8),
        }
        self.backbone = nn.Sequential(OrderedDict(layers))
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 3))
        for norm in _norms(self.backbone):
            for value in (norm.running_mean, norm.bias.data):
                nn.init.normal_(value)  # type: ignore[arg-type]
            for value in (norm.running_var, norm.weight.data):
                nn.init.uniform_(value, 0.5, 2)  # type: ignore[arg-type]

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits of pixels (n, 2, height, width)."""
        return self.head(self.backbone(pixels))


def batch(n: int = 24) -> Tensor:
    """New pixels from the target's distribution."""
    return 2 + 3 * torch.randn(n, 2, 6, 6)


def check_frozen(answer: Answer) -> None:
    """CheckFailed unless answer(model) leaves `model.head` alone and holds `model.backbone` for good."""
    for training in (True, False):
        _check_model(answer, training)


def _check_model(answer: Answer, training: bool) -> None:
    model, pixels = SmallNet(), batch()
    before = _features(model.eval(), pixels)
    model.train(training)
    kept = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    result = answer(model)
    asleep = training and not any(norm.training for norm in _norms(model.backbone))
    _check_object(model, result)
    _check_function(model, pixels, before, kept)
    _check_gradients(model)
    head = [weight.detach().clone() for weight in model.head.parameters()]
    _train(model)
    _check_statistics(model, kept, asleep=asleep)
    _mode(model, True)
    gap = float((_features(model, pixels) - before).abs().max())
    expect(
        gap < 1e-4,
        tried="the backbone's output for a batch: in evaluation mode before, after model.train() now",
        got=f"they differ by up to {gap:.2g}, although no weight and no statistic has moved",
        misconception="Whether its statistics move or not, in training mode BatchNorm normalises by the batch at hand. "
        "Only evaluation mode uses what pre-training has stored.",
    )
    moved = any(not torch.equal(a, b) for a, b in zip(head, model.head.parameters(), strict=True))
    expect(moved, tried=LOOP, got="the head has not moved", misconception="The head should go on learning.")
    _check_modes(model)


def _norms(module: nn.Module) -> list[_BatchNorm]:
    return [part for part in module.modules() if isinstance(part, _BatchNorm)]


@torch.no_grad()
def _features(model: SmallNet, pixels: Tensor) -> Tensor:
    """What the backbone puts out when the whole model is called, so that hooks on the model have their effect."""
    seen: list[Tensor] = []
    hook = model.backbone.register_forward_hook(lambda module, inputs, output: seen.append(output))
    model(pixels)
    hook.remove()
    return seen[0] if seen else model.backbone(pixels)


def _mode(model: nn.Module, training: bool) -> object:
    """What model.train() or model.eval() returns."""
    try:
        return model.train() if training else model.eval()
    except TypeError as error:
        raise CheckFailed(
            tried=f"model.{'train' if training else 'eval'}(), which calls train(mode) on every part",
            got=f"TypeError: {error}",
            misconception="A `train` of your own has to take the mode: `def train(mode=True)`. eval() is train(False).",
        ) from None


def _check_object(model: SmallNet, result: object) -> None:
    expect(
        not isinstance(result, SmallNet) or result is model,
        tried="freeze_backbone(model), and what it returns",
        got="another model, a copy",
        misconception="Whoever calls this goes on with the model they gave. Change that one, in place.",
    )
    expect(
        all(parameter.requires_grad for parameter in model.head.parameters()),
        tried="freeze_backbone(model), then the weights of model.head",
        got="requires_grad=False",
        misconception="The head is new, and the only part that is to learn. Go through model.backbone, not model.",
    )


def _check_function(model: SmallNet, pixels: Tensor, before: Tensor, kept: dict[str, Tensor]) -> None:
    """Freezing is no training: in evaluation mode the backbone computes what it did."""
    _mode(model, False)
    gap = float((_features(model, pixels) - before).abs().max())
    now = model.backbone.state_dict()
    changed = [name for name, value in kept.items() if name in now and not torch.equal(now[name], value)]
    if any("running" in name for name in changed):
        why = "Statistics were reset or moved. They belong to what pre-training has learned: hold them as they are."
    elif changed:
        why = "Weights have other values now. To freeze is to keep them, not to set them to something."
    else:
        why = "Weights, statistics, scale and shift of BatchNorm are all part of what it computes. Keep them all."
    expect(
        gap < 1e-4,
        tried="the backbone's output for a batch, before and directly after freeze_backbone(model)",
        got=f"they differ by up to {gap:.2g}",
        misconception=why,
    )


def _check_gradients(model: SmallNet) -> None:
    """No weight of the backbone asks for a gradient, and the head's get one."""
    _mode(model, True)
    weights = dict(model.backbone.named_parameters())
    left = [name for name, weight in weights.items() if weight.requires_grad]
    loss = _loss(model)
    expect(
        loss.requires_grad,
        tried="one forward pass after freeze_backbone(model)",
        got="a loss without any gradient",
        misconception="The whole model runs without gradients now, and its head with it. Only the backbone should.",
    )
    loss.backward()
    if all(weight.grad is None for weight in weights.values()):
        why = "No gradient arrives there, but optimizers and everyone who counts trainable weights go by requires_grad."
    elif len(left) == len(weights) and not any(norm.training for norm in _norms(model.backbone)):
        why = "Evaluation mode holds statistics, and no weights: set requires_grad of each weight to False."
    elif len(left) == len(weights):
        why = (
            "A block of `torch.no_grad()` ends with its last line, and `detach()` makes another tensor: neither "
            "changes the weights. Set requires_grad of each to False."
        )
    elif all("norm" in name or "block.1.1" in name for name in left):
        why = "BatchNorm has a weight and a bias of its own, and they learn too."
    elif all(name.endswith("bias") for name in left):
        why = "The biases still learn. Go through all of model.backbone.parameters(), whatever they are called."
    else:
        why = "Some parts were left out. `backbone.parameters()` goes through all of them, nested ones too."
    expect(
        not left,
        tried="freeze_backbone(model), then requires_grad of the backbone's weights",
        got=f"still True for {len(left)} of {len(weights)}: {', '.join(left[:4])}{' …' if len(left) > 4 else ''}",
        misconception=why,
    )


def _loss(model: SmallNet) -> Tensor:
    pixels = batch()
    return F.cross_entropy(model(pixels), torch.randint(3, (len(pixels),)))


def _train(model: SmallNet) -> None:
    """SGD on all parameters that get a gradient, in training mode."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(4):
        _mode(model, True)
        optimizer.zero_grad()
        _loss(model).backward()
        optimizer.step()


def _check_statistics(model: SmallNet, kept: dict[str, Tensor], *, asleep: bool) -> None:
    """The running statistics are still those of pre-training."""
    now = model.backbone.state_dict()
    moved = [n for n, value in kept.items() if "running_mean" in n and n in now and not torch.equal(now[n], value)]
    if len(moved) == 3 and asleep:
        why = (
            "`eval()` holds until the next `model.train()`, which wakes every part again. It has to stay off for good."
        )
    elif len(moved) == 3:
        why = (
            "requires_grad=False holds weights. Statistics are no weights: every forward pass in training mode moves "
            "them. The backbone has to stay in evaluation mode."
        )
    elif moved == ["last_norm.running_mean"]:
        why = "This one is a BatchNorm1d. There are BatchNorm layers of several kinds, and all keep statistics."
    elif moved == ["block.1.1.running_mean"]:
        why = "This one lies inside a block. `children()` looks at the first level only, `modules()` at all of them."
    else:
        why = "Some BatchNorm layers are still in training mode. All parts of the backbone have to stay out of it."
    expect(
        not moved,
        tried=f"freeze_backbone(model), then {LOOP}",
        got=f"the statistics of {len(moved)} of 3 BatchNorm layers have moved: {', '.join(moved)}",
        misconception=why,
    )


def _check_modes(model: SmallNet) -> None:
    """The rest of the model still follows train() and eval(), which return the model."""
    for training in (True, False):
        name, back = f"model.{'train' if training else 'eval'}()", _mode(model, training)
        expect(
            model.head.training == training and model.head[0].training == training,
            tried=f"{name} after freeze_backbone(model)",
            got=f"model.head.training is {model.head.training}",
            misconception="The call no longer reaches the head, so that its dropout is on or off at the wrong time. "
            "Hold the backbone only.",
        )
        expect(
            back is model,
            tried=f"{name} after freeze_backbone(model), and what it returns",
            got=type(back).__name__,
            misconception="`model = model.eval()` is a line that many write. A `train` of your own returns its module.",
        )
