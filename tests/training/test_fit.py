"""training.fit: what it computes, in what order, and what it refuses."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from tlcourse import models, training


@dataclass(frozen=True, eq=False)
class Points:
    """The smallest thing that has inputs and labels."""

    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


def points(n: int = 96, *, seed: int = 0) -> Points:
    x = torch.randn(n, 8, generator=torch.Generator().manual_seed(seed))
    return Points(x, (x[:, 0] > 0).long() + (x[:, 1] > 0).long())


def network(seed: int = 0) -> nn.Module:
    return models.MLP([8, 16, 3], seed=seed)


class WithDropout(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def weights(model: nn.Module) -> Tensor:
    return torch.cat([tensor.detach().flatten().float() for tensor in model.state_dict().values()])


def bare_loop(model: nn.Module, data: Points, *, steps: int, batch_size: int, seed: int) -> list[float]:
    """The same training without the package: AdamW, shuffled epochs, cross-entropy."""
    rule = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.01, fused=True)
    order = torch.Generator().manual_seed(seed)
    losses: list[float] = []
    while True:
        for batch in torch.randperm(len(data), generator=order).split(batch_size):
            loss = F.cross_entropy(model(data.inputs[batch]), data.labels[batch])
            rule.zero_grad()
            loss.backward()
            rule.step()
            losses.append(loss.item())
            if len(losses) == steps:
                return losses


def test_equals_a_bare_pytorch_loop():
    ours, bare, data = network(), network(), points(100)
    history = training.fit(ours, data, steps=13, batch_size=32, lr=1e-2, seed=5)
    losses = bare_loop(bare, data, steps=13, batch_size=32, seed=5)
    assert torch.equal(weights(ours), weights(bare))
    assert history.losses == pytest.approx(losses, abs=0)
    assert history.steps == history.best_step == 13
    assert history.examples == 3 * 100 + 32
    assert not history.stopped_early
    assert history.seconds > 0


def test_epochs_count_passes_over_the_data():
    history = training.fit(network(), points(70), epochs=3, batch_size=32)
    assert (history.steps, history.examples) == (9, 210)


def test_same_seed_same_weights_even_with_dropout_and_augmentation():
    def jitter(inputs: Tensor) -> Tensor:
        return inputs + torch.randn_like(inputs)

    def run(seed: int) -> Tensor:
        model = WithDropout()
        torch.seed()
        training.fit(model, points(), epochs=2, augment=jitter, seed=seed)
        return weights(model)

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))


def test_global_random_state_is_left_alone():
    model = WithDropout()
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    training.fit(model, points(), steps=2, seed=3)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("n", [96, 77])
def test_accumulated_small_batches_equal_one_large_batch(n: int):
    small, large, data = network(), network(), points(n)
    sgd = lambda parameters: torch.optim.SGD(parameters, lr=0.1)  # noqa: E731
    few = training.fit(small, data, epochs=2, batch_size=8, accumulate=4, optimizer=sgd)
    many = training.fit(large, data, epochs=2, batch_size=32, optimizer=sgd)
    torch.testing.assert_close(weights(small), weights(large), atol=1e-6, rtol=1e-5)
    assert few.losses == pytest.approx(many.losses, abs=1e-6)
    assert (few.steps, few.examples) == (many.steps, many.examples)


def test_early_stopping_puts_the_best_weights_back():
    model, data, held_out = network(), points(24), points(300, seed=1)
    history = training.fit(
        model, data, epochs=200, batch_size=8, lr=0.05, weight_decay=0.0, validation=held_out, patience=4
    )
    losses = [result.loss for result in history.validation]
    best = losses.index(min(losses))
    assert history.stopped_early
    assert len(losses) == best + 1 + 4
    assert history.best_step == history.validation_steps[best] < history.steps
    assert training.evaluate(model, held_out).loss == pytest.approx(min(losses), abs=1e-6)


def test_best_weights_come_back_when_the_budget_ends_first():
    model, data, held_out = network(), points(24), points(300, seed=1)
    history = training.fit(model, data, epochs=30, batch_size=8, lr=0.1, validation=held_out, patience=1000)
    losses = [result.loss for result in history.validation]
    assert not history.stopped_early
    assert losses.index(min(losses)) < len(losses) - 1, "this run must overfit for the test to say anything"
    assert training.evaluate(model, held_out).loss == pytest.approx(min(losses), abs=1e-6)


def test_validation_alone_changes_nothing():
    watched, alone, data = WithDropout(), WithDropout(), points()
    history = training.fit(watched, data, steps=7, validation=points(50, seed=1))
    training.fit(alone, data, steps=7)
    assert torch.equal(weights(watched), weights(alone))
    assert history.validation_steps == (3, 6, 7)
    assert history.best_step == 7


def test_train_mode_false_freezes_batch_norm_statistics_and_dropout():
    frozen, moving, data = WithDropout(), WithDropout(), points()
    before = copy.deepcopy(frozen.state_dict())
    first = training.fit(frozen, data, steps=3, seed=1, train_mode=False)
    again = WithDropout()
    second = training.fit(again, data, steps=3, seed=1, train_mode=False)
    training.fit(moving, data, steps=3, seed=1)
    assert torch.equal(frozen.state_dict()["net.1.running_mean"], before["net.1.running_mean"])
    assert not torch.equal(frozen.state_dict()["net.4.weight"], before["net.4.weight"])
    assert not torch.equal(moving.state_dict()["net.1.running_mean"], before["net.1.running_mean"])
    assert first.losses == second.losses


def test_only_parameters_that_require_gradients_move():
    model = network()
    model.layers[0].requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    training.fit(model, points(), steps=3)
    assert torch.equal(model.state_dict()["layers.0.weight"], before["layers.0.weight"])
    assert not torch.equal(model.state_dict()["layers.2.weight"], before["layers.2.weight"])


def test_schedule_scales_every_learning_rate():
    model = network()
    groups = [{"params": model.layers[0].parameters(), "lr": 1.0}, {"params": model.layers[2].parameters()}]
    rule = torch.optim.SGD(groups, lr=0.1)
    seen: list[list[float]] = []
    rule.register_step_pre_hook(lambda *_: seen.append([group["lr"] for group in rule.param_groups]))
    training.fit(model, points(), steps=4, optimizer=rule, schedule=lambda step, steps: 1 - step / steps)
    assert seen == [pytest.approx([scale, 0.1 * scale]) for scale in (1.0, 0.75, 0.5, 0.25)]
    assert [group["lr"] for group in rule.param_groups] == [1.0, 0.1], "the optimizer is as it was"


def test_schedules():
    assert [training.cosine(step, 4) for step in range(4)] == pytest.approx([1, 0.8535534, 0.5, 0.1464466])
    factor = training.warmup(0.4)
    assert [factor(step, 5) for step in range(5)] == pytest.approx([1 / 3, 2 / 3, 1, 2 / 3, 1 / 3])
    with pytest.raises(ValueError, match="share"):
        training.warmup(1.0)


def test_clip_limits_the_gradient():
    model, data = network(), points()
    before = weights(model)
    training.fit(model, data, steps=1, clip=1e-3, optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1.0))
    assert (weights(model) - before).norm() == pytest.approx(1e-3, rel=1e-3)


def test_bf16_computes_in_bf16_and_keeps_32_bit_weights():
    full, half, data = network(), network(), points()
    seen: list[torch.dtype] = []
    half.layers[0].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    training.fit(full, data, epochs=2)
    training.fit(half, data, epochs=2, precision="bf16")
    assert seen[0] == torch.bfloat16
    assert {tensor.dtype for tensor in half.state_dict().values()} == {torch.float32}
    torch.testing.assert_close(weights(half), weights(full), atol=2e-2, rtol=0)
    assert not torch.equal(weights(half), weights(full))


def test_precision_does_not_stick_to_the_model_or_the_process():
    once, model, data = network(), network(), points()
    training.fit(model, data, steps=2, precision="bf16")
    model.load_state_dict(once.state_dict())
    training.fit(model, data, steps=2)
    training.fit(once, data, steps=2)
    assert torch.equal(weights(model), weights(once))
    assert model(data.inputs).dtype == torch.float32
    assert "forward" not in vars(model)


def test_precision_counts_for_a_model_that_was_trained_before():
    model, data = network(), points()
    training.fit(model, data, steps=1)
    seen: list[torch.dtype] = []
    model.layers[0].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    training.fit(model, data, steps=1, precision="bf16")
    assert seen == [torch.bfloat16]


def test_a_dataset_of_pairs_trains_the_same():
    container, pairs, data = network(), network(), points(50)
    training.fit(container, data, epochs=2)
    training.fit(pairs, TensorDataset(data.inputs, data.labels), epochs=2)
    assert torch.equal(weights(container), weights(pairs))


def test_a_model_that_collates_gets_lists():
    class Lengths(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(1, 2)

        def collate(self, texts: list[str]) -> dict[str, Tensor]:
            return {"lengths": torch.tensor([[float(len(text))] for text in texts])}

        def forward(self, batch: dict[str, Tensor]) -> Tensor:
            return self.layer(batch["lengths"] - 3)

    @dataclass(frozen=True)
    class Words:
        inputs: tuple[str, ...] = ("a", "bb", "cccc", "ddddd") * 8
        labels: Tensor = field(default_factory=lambda: torch.tensor([0, 0, 1, 1] * 8))

        def __len__(self) -> int:
            return len(self.inputs)

    model, doubled = Lengths(), Lengths()
    training.fit(model, Words(), epochs=30, lr=0.1)
    assert training.evaluate(model, Words()).accuracy == 1.0
    history = training.fit(doubled, Words(), steps=1, lr=0.0001, augment=lambda texts: [text * 100 for text in texts])
    assert history.losses[0] > 1.0, "augmentation sees texts before collate"


def test_a_custom_loss_is_used():
    model, data = network(), points()
    history = training.fit(model, data, steps=1, loss=lambda outputs, labels: (outputs**2).mean() + 100)
    assert history.losses[0] == pytest.approx(100, abs=5)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_the_weights_are_lost(bad: float):
    data = points(32)
    data.inputs[3, 2] = bad
    model = network()
    before = weights(model)
    with pytest.raises(FloatingPointError, match="Lower lr"):
        training.fit(model, data, steps=1)
    assert torch.equal(weights(model), before)
    assert not model.training


def test_the_model_ends_in_evaluation_mode():
    model = WithDropout().train()
    training.fit(model, points(), steps=1)
    assert not model.training


def test_progress_is_silent_unless_asked(capsys: pytest.CaptureFixture[str]):
    training.fit(network(), points(), steps=2)
    assert capsys.readouterr() == ("", "")
    training.fit(network(), points(), steps=2, progress=True)
    assert "training" in capsys.readouterr().err


BAD = {
    "neither": ({}, "epochs"),
    "both": ({"epochs": 1, "steps": 1}, "not both"),
    "no epochs": ({"epochs": 0}, "at least 1"),
    "batch_size": ({"epochs": 1, "batch_size": 0}, "batch_size"),
    "accumulate": ({"epochs": 1, "accumulate": 0}, "accumulate"),
    "lr": ({"epochs": 1, "lr": -1.0}, "lr is -1.0"),
    "clip": ({"epochs": 1, "clip": 0.0}, "clip"),
    "patience alone": ({"epochs": 1, "patience": 1}, "validation"),
    "seed": ({"epochs": 1, "seed": -1}, "seed"),
    "precision": ({"epochs": 1, "precision": "half"}, "bf16"),
    "fp16 on a CPU": ({"epochs": 1, "precision": "fp16"}, "CUDA"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_name_themselves(case: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TLCOURSE_DEVICE", "cpu")
    arguments, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        training.fit(network(), points(), **arguments)


def test_bad_data_says_what_to_do():
    data = points()
    with pytest.raises(ValueError, match="empty"):
        training.fit(network(), Points(data.inputs[:0], data.labels[:0]), epochs=1)
    with pytest.raises(ValueError, match="one output for each class"):
        training.fit(network(), Points(data.inputs, data.labels + 1), epochs=1)
    with pytest.raises(ValueError, match="each input needs one"):
        training.fit(network(), Points(data.inputs[:5], data.labels), epochs=1)
    with pytest.raises(TypeError, match=r"torch\.utils\.data\.Dataset"):
        training.fit(network(), 3, epochs=1)
    with pytest.raises(TypeError, match="pair"):
        training.fit(network(), TensorDataset(data.inputs), epochs=1)
    frozen = network().requires_grad_(False)
    with pytest.raises(ValueError, match="unfreeze"):
        training.fit(frozen, data, epochs=1)


def test_gradients_from_before_do_not_count():
    fresh, used = network(), network()
    used(points().inputs).sum().backward()
    for model in (fresh, used):
        training.fit(model, points(), steps=2, batch_size=4, lr=0.1)
    assert torch.equal(weights(used), weights(fresh))


def test_clipping_does_not_count_what_is_not_trained():
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 3))
    training.fit(model, points(), steps=3, optimizer=torch.optim.SGD(model[1].parameters(), lr=0.1), clip=1.0)
    assert all(p.grad is None for p in model.parameters())
