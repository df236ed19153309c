"""Regression in a prompt: baselines against scikit-learn, a causal network, and learning over tasks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
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
