"""The penalty against its formula, and the weights that it pulls to."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse import training
from tlcourse.finetuning import L2SP, freeze


def moved(model: nn.Module, *, seed: int = 1) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(parameter)
    return model


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def by_hand(model: nn.Module, start: dict[str, Tensor], alpha: float, beta: float) -> Tensor:
    """Eq. 2, weight by weight."""
    total = torch.zeros((), dtype=torch.float64)
    for name, w in model.named_parameters():
        if name in ("head.weight", "head.bias"):
            total = total + beta / 2 * (w**2).sum()
        else:
            total = total + alpha / 2 * ((w - start[name]) ** 2).sum()
    return total


@pytest.mark.parametrize(("alpha", "beta"), [(0.1, 0.01), (0.7, 0.0), (0.0, 0.3), (2.0, 5.0)])
def test_value_and_gradient_are_those_of_the_formula(classifier, pictures, alpha: float, beta: float):
    model, data = classifier(3).double(), pictures(n_classes=3)
    start = weights(model)
    loss = L2SP(model, alpha=alpha, beta=beta)
    moved(model)
    logits = model.head(model.backbone.blocks(model.backbone.stem(data.pixels.double() / 255)).mean(dim=(2, 3)))
    expected_penalty = by_hand(model, start, alpha, beta)
    expected = F.cross_entropy(logits, data.labels) + expected_penalty
    found = loss(logits, data.labels)
    assert loss.penalty().item() == pytest.approx(expected_penalty.item(), rel=1e-6)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    assert expected_penalty.item() > 1e-3
    slopes = [torch.autograd.grad(value, list(model.parameters()), retain_graph=True) for value in (found, expected)]
    for ours, theirs in zip(*slopes, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


def test_defaults(classifier):
    model = classifier()
    loss, start = L2SP(model), weights(model)
    moved(model)
    expected = by_hand(model.double(), {n: w.double() for n, w in start.items()}, alpha=0.1, beta=0.01)
    assert loss.penalty().item() == pytest.approx(expected.item(), rel=1e-5)


def test_at_the_start_only_the_head_is_pulled(classifier):
    model = classifier()
    loss = L2SP(model, alpha=0.5, beta=0.2)
    loss.penalty().backward()
    for name, parameter in model.named_parameters():
        expected = 0.2 * parameter.detach() if name.startswith("head.") else torch.zeros_like(parameter)
        torch.testing.assert_close(parameter.grad, expected, msg=name)


def test_the_start_does_not_move_with_the_training(classifier, pictures):
    model = classifier()
    start = weights(model)
    loss = L2SP(model, beta=0.0)
    assert loss.penalty().item() == 0
    training.fit(model, pictures(), steps=3, lr=0.05)
    assert loss.penalty().item() == pytest.approx(by_hand(model, start, 0.1, 0.0).item(), rel=1e-5)
    assert loss.penalty().item() > 1e-3


@pytest.mark.parametrize("aliased", [lambda model: dict(model.named_parameters()), lambda model: model.state_dict()])
def test_nor_does_a_start_that_was_handed_over(classifier, aliased):
    model = classifier()
    start = weights(model)
    loss = L2SP(model, beta=0.0, start=aliased(model))
    moved(model)
    assert loss.penalty().item() == pytest.approx(by_hand(model, start, 0.1, 0.0).item(), rel=1e-5)


def test_another_start(classifier):
    model, before = classifier(seed=1), weights(classifier(seed=0))
    loss = L2SP(model, alpha=0.3, beta=0.0, start={**before, "head.weight": torch.zeros(9, 9)})
    assert loss.penalty().item() == pytest.approx(by_hand(model, before, 0.3, 0.0).item(), rel=1e-5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(100):
        optimizer.zero_grad()
        loss.penalty().backward()
        optimizer.step()
    for name, parameter in model.backbone.named_parameters():
        torch.testing.assert_close(parameter.detach(), before[f"backbone.{name}"], atol=1e-4, rtol=0)


def test_in_training_the_network_stays_near_and_the_head_goes_to_zero(classifier, pictures):
    def distance(alpha: float, beta: float) -> tuple[float, float]:
        model = classifier()
        start, loss = weights(model), L2SP(model, alpha=alpha, beta=beta)
        sgd = torch.optim.SGD(model.parameters(), lr=0.02)
        training.fit(model, pictures(), steps=30, optimizer=sgd, loss=loss)
        gone = [(p - start[f"backbone.{name}"]).square().sum().item() for name, p in model.backbone.named_parameters()]
        return sum(gone), model.head.weight.norm().item()

    free, held = distance(0.0, 0.0), distance(10.0, 10.0)
    assert held[0] < 0.1 * free[0]
    assert held[1] < 0.05 < free[1]


@pytest.mark.parametrize("n", [24, 13])
def test_accumulation_changes_nothing(classifier, pictures, n: int):
    once, twice = classifier(), classifier()
    for model, size, accumulate in ((once, 8, 1), (twice, 4, 2)):
        loss = L2SP(model, alpha=1.0, beta=1.0)
        moved(model)
        sgd = torch.optim.SGD(model.parameters(), lr=0.05)
        training.fit(
            model,
            pictures(n),
            epochs=2,
            batch_size=size,
            accumulate=accumulate,
            optimizer=sgd,
            loss=loss,
            train_mode=False,
        )
    for name, tensor in once.state_dict().items():
        torch.testing.assert_close(twice.state_dict()[name], tensor, atol=1e-6, rtol=1e-5, msg=name)


def test_frozen_weights_are_no_matter(classifier):
    model = classifier()
    freeze(model, ["backbone.stem", "head.bias"])
    loss = L2SP(model, alpha=0.5, beta=0.5)
    before = loss.penalty().item()
    with torch.no_grad():
        model.backbone.stem[0].weight += 1
        model.head.bias += 1
    assert loss.penalty().item() == before
    model.requires_grad_(False)
    assert L2SP(model).penalty().item() == 0


def test_a_head_at_another_path():
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    with pytest.raises(ValueError, match="no linear layer at head or"):
        L2SP(model)
    loss = L2SP(model, alpha=0.0, beta=2.0, head="2")
    expected = model[2].weight.square().sum() + model[2].bias.square().sum()
    assert loss.penalty().item() == pytest.approx(expected.item(), rel=1e-6)


def test_a_name_that_begins_like_the_head_is_not_the_head():
    model = nn.Module()
    model.headline, model.head = nn.Linear(2, 2), nn.Linear(2, 2)
    assert L2SP(model, alpha=1.0, beta=0.0).penalty().item() == 0
    assert len(L2SP(model).old) == len(L2SP(model).new) == 2


@pytest.mark.parametrize(("alpha", "beta"), [(-0.1, 0.0), (0.1, -1.0)])
def test_penalties_below_zero(classifier, alpha: float, beta: float):
    with pytest.raises(ValueError, match=f"alpha is {alpha} and beta {beta}; a penalty below 0 would push"):
        L2SP(classifier(), alpha=alpha, beta=beta)


def test_a_start_that_does_not_fit(classifier):
    model = classifier()
    start = weights(model)
    wrong = {**start, "backbone.stem.0.weight": torch.zeros(2)}
    message = r"start has no weights for 'backbone\.stem\.0\.weight' of shape \(8, 3, 3, 3\); give all, by name"
    with pytest.raises(ValueError, match=message):
        L2SP(model, start=wrong)
    del start["backbone.stem.0.weight"]
    with pytest.raises(ValueError, match=message):
        L2SP(model, start=start)
    only = {name: w for name, w in weights(copy.deepcopy(model)).items() if name.startswith("backbone.")}
    L2SP(model, start=only)
