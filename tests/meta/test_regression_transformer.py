"""Regression in a prompt: baselines against scikit-learn, a causal network, and learning over tasks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LinearRegression, Ridge

from tlcourse.meta.regression_transformer import (
    RegressionTasks,
    RegressionTransformer,
    errors_by_examples,
    least_squares,
    regression_loss,
    ridge,
    sample_regression_tasks,
    train_regression,
)


def drawn(n: int = 3, examples: int = 8, *, noise: float = 0.5, seed: int = 0, scale: float = 1.0) -> RegressionTasks:
    generator = torch.Generator().manual_seed(seed)
    return sample_regression_tasks(n, examples, dim=3, noise=noise, generator=generator, scale=scale)


@pytest.mark.parametrize(("predict", "peer"), [(least_squares, LinearRegression(fit_intercept=False)), (None, Ridge)])
def test_baselines_are_those_of_scikit_learn(predict, peer):
    tasks = drawn()
    peer = Ridge(alpha=0.25, fit_intercept=False) if predict is None else peer
    found = ridge(tasks, 0.25) if predict is None else predict(tasks)
    assert torch.equal(found[:, 0], torch.zeros(3))
    for task in range(3):
        x, y = tasks.inputs[task].double().numpy(), tasks.targets[task].double().numpy()
        wanted = [peer.fit(x[:k], y[:k]).predict(x[k : k + 1])[0] for k in range(1, 8)]
        np.testing.assert_allclose(found[task, 1:], wanted, rtol=1e-3, atol=1e-4)


def test_tasks_have_the_noise_and_scale_that_were_asked_for():
    tasks = drawn(4000, 5, noise=0.5, scale=2.0)
    assert tasks.inputs.std().item() == pytest.approx(2.0, rel=0.03)
    assert tasks.targets.var().item() == pytest.approx(3 * 4 + 0.25, rel=0.06)
    exact = drawn(50, 8, noise=0.0)
    assert errors_by_examples(least_squares(exact), exact)[3:].max() < 1e-4
    assert torch.equal(drawn().inputs, drawn().inputs)


def test_ridge_with_the_noise_as_penalty_beats_least_squares_at_every_length():
    tasks = drawn(4000, 8)
    both = [errors_by_examples(found, tasks) for found in (ridge(tasks, 0.25), least_squares(tasks))]
    assert (both[0][1:] < both[1][1:]).all()
    assert both[0][-1] > 0.25  # no predictor gets below the noise


def test_a_prediction_sees_its_own_input_and_the_past_only():
    model, tasks = RegressionTransformer(3, 8, seed=0).eval(), drawn()
    before = model(tasks)
    targets, inputs = tasks.targets.clone(), tasks.inputs.clone()
    targets[:, 4:] += 5
    inputs[:, 5:] += 5
    after = model(RegressionTasks(inputs, targets))
    torch.testing.assert_close(after[:, :5], before[:, :5])
    assert (after[:, 5:] - before[:, 5:]).abs().min() > 1e-6
    inputs[:, 4] += 1
    assert not torch.allclose(model(RegressionTasks(inputs, targets))[:, 4], before[:, 4])


def test_training_over_tasks_lowers_the_error_on_new_tasks():
    model = RegressionTransformer(3, 6, width=32, layers=2, seed=0)
    test = drawn(500, 6, seed=1)
    before = regression_loss(model, test).item()
    losses = train_regression(model, steps=80, batch=32, noise=0.5, lr=3e-3)
    after = regression_loss(model, test).item()
    assert len(losses) == 80
    assert after < 0.95 * before


def test_the_seed_draws_all_weights():
    first, same, other = (RegressionTransformer(3, 4, seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["read_in.weight"], other["read_in.weight"])
    weights = [first[f"layers.layers.{i}.linear1.weight"] for i in (0, 1)]
    assert not torch.equal(*weights)


def test_bad_arguments():
    generator = torch.Generator()
    with pytest.raises(ValueError, match="1 or more of each"):
        sample_regression_tasks(0, 3, dim=2, noise=0.1, generator=generator)
    with pytest.raises(ValueError, match="noise is -1"):
        sample_regression_tasks(1, 3, dim=2, noise=-1.0, generator=generator)
    with pytest.raises(ValueError, match="use least_squares"):
        ridge(drawn(), 0.0)
    with pytest.raises(ValueError, match="heads divide"):
        RegressionTransformer(3, 4, width=10, heads=4)
    model = RegressionTransformer(3, 4)
    with pytest.raises(ValueError, match="reads at most 4 of 3"):
        model(drawn(1, 5))
    with pytest.raises(ValueError, match="steps is 0"):
        train_regression(model, steps=0, batch=2, noise=0.1)


def test_a_draw_written_out():
    """Inputs, then weights, then noise, from one generator; y = w·x + noise · ε."""
    found = sample_regression_tasks(2, 3, dim=4, noise=0.5, generator=torch.Generator().manual_seed(7))
    generator = torch.Generator().manual_seed(7)
    inputs, weights, errors = (torch.randn(shape, generator=generator) for shape in ((2, 3, 4), (2, 4), (2, 3)))
    torch.testing.assert_close(found.inputs, inputs)
    for task in range(2):
        for k in range(3):
            wanted = sum(weights[task, i] * inputs[task, k, i] for i in range(4)) + 0.5 * errors[task, k]
            torch.testing.assert_close(found.targets[task, k], wanted)


def test_a_single_task_with_a_single_example_of_one_number():
    tasks = sample_regression_tasks(1, 1, dim=1, noise=0.0, generator=torch.Generator().manual_seed(0))
    assert tasks.inputs.shape == (1, 1, 1)
    assert least_squares(tasks).tolist() == ridge(tasks, 0.5).tolist() == [[0.0]]
    model = RegressionTransformer(1, 1, width=1, layers=1, heads=1)
    assert model(tasks).shape == (1, 1)
    assert len(train_regression(model, steps=1, batch=1, noise=0.0)) == 1


@pytest.mark.parametrize("name", ["dim", "longest", "width", "layers", "heads"])
def test_none_of_the_network_s_numbers_may_be_0(name):
    numbers = {"dim": 2, "longest": 2, "width": 4, "layers": 1, "heads": 1, name: 0}
    with pytest.raises(ValueError, match="give 1 or more of each"):
        RegressionTransformer(**numbers)


@pytest.mark.parametrize("name", ["n", "examples", "dim"])
def test_none_of_the_draw_s_numbers_may_be_0(name):
    numbers = {"n": 2, "examples": 2, "dim": 2, name: 0}
    with pytest.raises(ValueError, match="give 1 or more of each"):
        sample_regression_tasks(**numbers, noise=0.1, generator=torch.Generator())


def test_the_layout_of_the_network():
    """Four layers, 64 wide and four times that inside (Vaswani et al. 2017), and a place for each x and each y."""
    model = RegressionTransformer(3, 6)
    assert model.read_in.weight.shape == (64, 3 + 1)  # the numbers of x and the one of y
    assert model.places.shape == (2 * 6, 64)
    assert model.read_out.weight.shape == (1, 64)
    assert len(model.layers.layers) == 4
    for layer in model.layers.layers:
        assert layer.self_attn.num_heads == 4
        assert layer.linear1.weight.shape == (4 * 64, 64)
    places = RegressionTransformer(1, 500).places
    assert (places.mean().item(), places.std().item()) == pytest.approx((0, 0.02), abs=0.001)  # as GPT-2 begins


def test_the_network_written_out():
    """Against attention, layer norm and GELU in plain tensors: norms first, no dropout, x alone and y alone."""
    model, tasks = RegressionTransformer(3, 6, width=8, layers=2, heads=2, seed=1).train(), drawn(2, 4)
    rows = []
    for x, y in zip(tasks.inputs.unbind(1), tasks.targets.unbind(1), strict=True):
        rows += [torch.cat([x, torch.zeros(2, 1)], dim=1), torch.cat([torch.zeros(2, 3), y[:, None]], dim=1)]
    hidden = model.read_in(torch.stack(rows, dim=1)) + model.places[:8]
    for layer in model.layers.layers:
        attention = layer.self_attn
        read = F.linear(layer.norm1(hidden), attention.in_proj_weight, attention.in_proj_bias)
        heads = []
        for q, k, v in zip(*(part.split(4, dim=-1) for part in read.split(8, dim=-1)), strict=True):
            scores = (q @ k.mT / math.sqrt(4)).masked_fill(~torch.ones(8, 8).tril().bool(), -math.inf)
            heads.append(scores.softmax(dim=-1) @ v)
        hidden = hidden + attention.out_proj(torch.cat(heads, dim=-1))
        hidden = hidden + layer.linear2(F.gelu(layer.linear1(layer.norm2(hidden))))
    wanted = model.read_out(model.layers.norm(hidden))[:, [0, 2, 4, 6], 0]
    torch.testing.assert_close(model(tasks), wanted, rtol=1e-4, atol=1e-5)
    with torch.no_grad():  # PyTorch has a kernel of its own for a layer that does not learn
        torch.testing.assert_close(model.eval()(tasks), wanted, rtol=1e-4, atol=1e-5)


def test_the_loss_is_the_mean_over_all_places():
    model, tasks = RegressionTransformer(3, 4, width=4, layers=1, heads=1), drawn(2, 4)
    found = model(tasks)
    squares = [(found[i, k] - tasks.targets[i, k]).item() ** 2 for i in range(2) for k in range(4)]
    assert regression_loss(model, tasks).item() == pytest.approx(sum(squares) / 8, rel=1e-5)
    by_place = errors_by_examples(found, tasks)
    assert by_place.tolist() == pytest.approx([(squares[k] + squares[4 + k]) / 2 for k in range(4)], rel=1e-5)
    assert found.requires_grad
    assert not by_place.requires_grad


def test_training_is_adam_along_a_cosine_with_gradients_of_length_one_at_most():
    ours, theirs = (RegressionTransformer(1, 2, width=8, layers=1, heads=2) for _ in range(2))
    losses = train_regression(ours, steps=8, batch=2, noise=0.5)
    generator, optimizer = torch.Generator().manual_seed(0), torch.optim.Adam(theirs.parameters())
    norms = []
    for step in range(8):
        optimizer.param_groups[0]["lr"] = 1e-3 * (1 + math.cos(math.pi * step / 8)) / 2
        tasks = sample_regression_tasks(2, 2, dim=1, noise=0.5, generator=generator, scale=1.0)
        optimizer.zero_grad()
        loss = F.mse_loss(theirs(tasks), tasks.targets)
        assert losses[step] == pytest.approx(loss.item(), rel=1e-5)
        loss.backward()
        gradients = [parameter.grad for parameter in theirs.parameters()]
        norms.append(math.sqrt(sum(float((part**2).sum()) for part in gradients)))
        for part in gradients:
            part /= max(1.0, norms[-1])
        optimizer.step()
    assert min(norms) < 1 < 2 < max(norms)  # some are cut, some are not
    for (name, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        if "in_proj_bias" not in name:  # the keys' bias has no effect, and Adam makes steps of rounding errors
            torch.testing.assert_close(mine, other, rtol=1e-4, atol=2e-6)


def test_inputs_of_another_width_are_refused():
    with pytest.raises(ValueError, match="8 examples of 3 numbers; this network reads at most 8 of 2"):
        RegressionTransformer(2, 8)(drawn())
