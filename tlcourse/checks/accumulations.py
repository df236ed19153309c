"""Does an answer take one step with the gradient of a whole batch, of which only a part is in memory at a time?"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse.checks.expect import expect, number

Answer = Callable[..., Any]
FEATURES, CLASSES, RATE = 5, 3, 0.1


class Watched(torch.optim.SGD):
    """Plain gradient descent that notes when it is called, and the gradients it finds."""

    def __init__(self, model: nn.Module, events: list[Any]) -> None:
        super().__init__(model.parameters(), lr=RATE)
        self.events = events
        self.found: Tensor | None = None

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Note it, then do it."""
        self.events.append("zero")
        super().zero_grad(set_to_none)

    def step(self, closure: Any = None) -> Any:
        """Note the gradients, then do it."""
        self.events.append("step")
        grads = [p.grad for group in self.param_groups for p in group["params"]]
        self.found = torch.cat([torch.zeros(0) if g is None else g.flatten() for g in grads])
        return super().step(closure)


def check_accumulation(answer: Answer) -> None:
    """CheckFailed unless answer(model, optimizer, inputs, labels, size) is one step with the whole batch's gradient."""
    for n, size in ((10, 4), (12, 4), (7, 3), (5, 8)):
        Batch(n, size).put(answer)


class Batch:
    """A model with old gradients, a batch, and what has happened to them."""

    def __init__(self, n: int, size: int) -> None:
        self.n, self.size = n, size
        self.x, self.y = torch.randn(n, FEATURES), torch.randint(CLASSES, (n,))
        self.model = nn.Sequential(nn.Linear(FEATURES, 6), nn.Tanh(), nn.Linear(6, CLASSES))
        weights = list(self.model.parameters())
        self.parts = [self._gradient(slice(i, i + size)) for i in range(0, n, size)]
        self.whole = self._gradient(slice(None))
        self.stale = torch.randn(len(self.whole))
        for weight, old in zip(weights, self.stale.split([w.numel() for w in weights]), strict=True):
            weight.grad = old.view_as(weight).clone()
        self.start = torch.cat([w.detach().flatten() for w in weights])
        self.counts = [min(size, n - i) for i in range(0, n, size)]
        with torch.no_grad():
            self.losses = F.cross_entropy(self.model(self.x), self.y, reduction="none")
        self.events: list[Any] = []
        self.model.register_forward_hook(lambda module, given, output: self.events.append(len(output)))
        weights[-1].register_post_accumulate_grad_hook(lambda weight: self.events.append("backward"))
        self.optimizer = Watched(self.model, self.events)
        counts = " + ".join(map(str, self.counts))
        self.tried = f"accumulated_step on {n} examples with size={size}, so parts of {counts}"

    def _gradient(self, part: slice) -> Tensor:
        loss = F.cross_entropy(self.model(self.x[part]), self.y[part])
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(self.model.parameters()))])

    def put(self, answer: Answer) -> None:
        """Ask, and judge."""
        result = answer(self.model, self.optimizer, self.x, self.y, self.size)
        self._check_parts()
        self._check_order()
        self._check_gradient()
        self._check_step()
        self._check_loss(result)

    def _check_parts(self) -> None:
        sizes = [event for event in self.events if isinstance(event, int)]
        got = f"forward passes of {' + '.join(map(str, sizes)) or 'no'} examples"
        whole = "The whole batch went through at once. Its activations are what does not fit: take `size` at a time."
        left = "The last examples, too few for a full part, were left out. They belong to the batch."
        twice = "Some examples go through more than once. One forward pass for each part is enough."
        large = "A part is larger than `size`. It is what fits in memory."
        for holds, why in (
            (not (self.n > self.size and max(sizes, default=0) == self.n), whole),
            (sum(sizes) >= self.n, left),
            (sum(sizes) <= self.n, twice),
            (max(sizes) <= self.size, large),
        ):
            expect(holds, tried=self.tried, got=got, misconception=why)

    def _check_order(self) -> None:
        words = " ".join("forward" if isinstance(event, int) else event for event in self.events)
        steps = self.events.count("step")
        none = "Nothing has moved. When all gradients are there, call optimizer.step()."
        many = "A step after each part is training with small batches. Take one step, after the loop."
        expect(steps > 0, tried=self.tried, got=words, misconception=none)
        expect(steps == 1, tried=self.tried, got=words, misconception=many)
        passes = [event for event in self.events if isinstance(event, int) or event == "backward"]
        expect("backward" in passes, tried=self.tried, got=words, misconception="backward() is missing.")
        together = any(isinstance(a, int) and isinstance(b, int) for a, b in itertools.pairwise(passes))
        why = (
            "Several forward passes before a backward pass: the activations of all these parts are kept meanwhile, "
            "and nothing is saved. Call backward() for each part, inside the loop."
        )
        expect(not together, tried=self.tried, got=words, misconception=why)
        after = self.events[: self.events.index("step")]
        late = "backward" in after and "zero" in after[after.index("backward") :]
        wiped = "zero_grad() inside the loop wipes out what the parts before have added. Call it once, before the loop."
        expect(not (late and len(self.counts) > 1), tried=self.tried, got=words, misconception=wiped)
        early = "The step comes before the last backward pass, so that a part is missing in it."
        expect(
            "backward" not in self.events[self.events.index("step") :], tried=self.tried, got=words, misconception=early
        )

    def _check_gradient(self) -> None:
        found = self.optimizer.found
        tried = f"{self.tried}: the gradient at the step"
        assert found is not None
        shares = torch.tensor(self.counts) / self.n
        parts = torch.stack(self.parts)
        total, mean = parts.sum(dim=0), parts.mean(dim=0)
        undivided = "The losses were not divided. Each part's loss is a mean already; added up they are too large, by "
        undivided += "the number of parts. Weigh each by its share of the batch."
        uneven = "The last, smaller part counts as much as a full one. Weigh each part by its share, len(part) / n."
        known = [
            (total, undivided),
            (mean, uneven),
            (
                total / (self.n / self.size),
                "Divided by n / size, which is no whole number here. Weigh each part by its share, len(part) / n.",
            ),
            (total / max(self.n // self.size, 1), "Divided by the number of full parts. Weigh each part by its share."),
            (self.n * self.whole, "This is the gradient of the summed loss. Asked is that of the mean."),
            (
                total / self.n,
                "Divided by the number of examples, though each loss is a mean already. Weigh it by its share.",
            ),
            (total / self.size, "Divided by `size`. Weigh each part by its share of the batch, len(part) / n."),
            (
                self.whole / len(self.parts),
                "Weighed by the share, and divided by the number of parts too. Once is enough.",
            ),
            (parts[-1], "Only the last part is in it."),
            (parts[-1] * shares[-1], "Only the last part is in it."),
            (self.whole / self.n, "Divided by the number of examples twice."),
        ]
        stale = "The gradients of the step before are still in it. Call zero_grad() once, before the loop."
        known += [(wrong + self.stale, stale) for wrong in (self.whole, total, mean, total / self.n)]
        why = next((why for wrong, why in known if torch.allclose(found, wrong, atol=1e-5)), "")
        why = why or "Each part adds the gradient of its mean loss, times its share of the batch."
        size = float(found.norm() / self.whole.norm())
        right = len(found) == len(self.whole) and torch.allclose(found, self.whole, atol=1e-5)
        got = f"not that of the whole batch; it is {size:.2f} times as long"
        expect(right, tried=tried, got=got, misconception=why)

    def _check_step(self) -> None:
        now = torch.cat([w.detach().flatten() for w in self.model.parameters()])
        moved = torch.allclose(now, self.start - RATE * self.whole, atol=1e-5)
        why = "optimizer.step() does it all. Leave the weights alone otherwise."
        expect(moved, tried=f"{self.tried}: the weights afterwards", got="not those of one step", misconception=why)

    def _check_loss(self, result: Any) -> None:
        tried = f"{self.tried}: what it returns"
        graph = "The tensor holds on to what it came from. A report is a plain number: loss.item()."
        attached = isinstance(result, Tensor) and result.requires_grad
        expect(not attached, tried=tried, got="a tensor with a gradient", misconception=graph)
        value, right = number(result, tried=tried), float(self.losses.mean())
        means = [float(part.mean()) for part in self.losses.split(self.counts)]
        known = [
            (sum(means), "This is the sum of the parts' losses. Asked is the mean over all examples."),
            (
                sum(means) / len(means),
                "The mean of the parts' means: a small part counts too much. Weigh it by its share.",
            ),
            (means[-1], "This is the loss of the last part alone."),
            (means[-1] * self.counts[-1] / self.n, "This is the weighed loss of the last part alone. Add them up."),
            (self.n * right, "This is the sum over all examples. Asked is the mean."),
        ]
        why = next((why for wrong, why in known if abs(wrong - value) < 1e-5), "Asked is the mean over all examples.")
        expect(abs(value - right) < 1e-4, tried=tried, got=f"{value:.5f}, not {right:.5f}", misconception=why)
