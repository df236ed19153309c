"""Memory as it is: bytes that a forward pass keeps, and the most that is held during a step."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def saved_bytes(model: nn.Module, forward: Callable[[], Any]) -> int:
    """Bytes that `forward()` keeps for the backward pass, shared memory once, and the model's own tensors not.

    A slice counts as the whole tensor that it is a slice of, because that is what stays in memory.
    """
    own = {_key(tensor) for tensor in chain(model.parameters(), model.buffers())}
    kept: dict[int, Tensor] = {}

    def note(tensor: Tensor) -> Tensor:
        tensor = tensor.detach()  # an output would hold the graph that holds it, and neither would ever be freed
        if _key(tensor) not in own:
            kept[_key(tensor)] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = forward()
    total = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    del result
    return total


def peak_bytes(step: Callable[[], Any], model: nn.Module, *, optimizer: Optimizer | None = None) -> int:
    """The most bytes of tensors that are alive at once while `step()` runs, those of the model and optimizer included.

    On a CUDA device this is what its allocator reports. Elsewhere every operation is watched, which is slow, and
    memory inside an operation does not show.
    """
    device = next(model.parameters()).device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        step()
        return torch.cuda.max_memory_allocated(device)
    states = optimizer.state.values() if optimizer is not None else []
    before = chain(
        model.parameters(),
        model.buffers(),
        (parameter.grad for parameter in model.parameters() if parameter.grad is not None),
        (value for state in states for value in state.values() if isinstance(value, Tensor)),
    )
    with _Watch(before) as watch:
        step()
    return watch.peak


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


class _Watch(TorchDispatchMode):
    """Adds up the memory of tensors as they come and go."""

    def __init__(self, before: Iterable[Tensor]) -> None:
        super().__init__()
        self.alive: dict[int, int] = {}
        self.now = self.peak = 0
        for tensor in before:
            self.see(tensor)

    def see(self, tensor: Tensor) -> None:
        """Count the memory of a tensor until it is freed."""
        storage, key = tensor.untyped_storage(), _key(tensor)
        if key in self.alive:
            return
        self.alive[key] = storage.nbytes()
        self.now += self.alive[key]
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self.forget, key)

    def forget(self, key: int) -> None:
        """Uncount memory that was freed."""
        self.now -= self.alive.pop(key)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.see(leaf)
        return result
