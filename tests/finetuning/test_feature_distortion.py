"""The linear case of Kumar et al.: what is exact, what is not, and gradient descent against autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tlcourse.finetuning import feature_distortion as linear


def double(problem: linear.Problem) -> linear.Problem:
    return linear.Problem(**{name: value.double() for name, value in vars(problem).items()})


@pytest.fixture(scope="module")
def perfect() -> dict[str, linear.Errors]:
    """What each method leaves, from perfect features."""
    given = double(linear.problem(distance=0.0, seeds=5))
    return {method: linear.train(given, method) for method in linear.METHODS}


@pytest.fixture(scope="module")
def near() -> dict[str, linear.Errors]:
    """And from features near the true ones."""
    given = double(linear.problem(distance=0.1, seeds=12))
    return {method: linear.train(given, method) for method in linear.METHODS}


@pytest.mark.parametrize("method", ["probe", "LP-FT"])
def test_from_perfect_features_the_probe_is_exact_everywhere(perfect: dict[str, linear.Errors], method: str):
    assert perfect[method].everywhere.max() < 1e-6
    assert perfect[method].seen.max() < 1e-6
    assert perfect[method].moved.max() < 1e-6


def test_from_perfect_features_fine_tuning_is_not(perfect: dict[str, linear.Errors]):
    assert perfect["fine-tuning"].everywhere.min() > 1e-3
    assert perfect["fine-tuning"].seen.max() < 1e-6, "and nothing that is seen in training tells"
    assert perfect["fine-tuning"].moved.min() > 0.1


def test_near_them_both_fit_what_is_seen_and_fine_tuning_distorts_more(near: dict[str, linear.Errors]):
    assert near["fine-tuning"].seen.max() < 1e-6
    assert near["LP-FT"].seen.max() < 1e-6
    assert near["probe"].seen.min() > 1e-5, "features that are not quite right cannot fit all that is seen"
    assert near["LP-FT"].everywhere.mean() < 0.5 * near["fine-tuning"].everywhere.mean()
    assert near["LP-FT"].moved.mean() < 0.5 * near["fine-tuning"].moved.mean()
    assert near["probe"].moved.max() == 0


def test_the_usual_steps_are_enough():
    found = linear.train(double(linear.problem(distance=0.5, seeds=3, d=12, k=2, m=5)), "fine-tuning")
    assert found.seen.max() < 1e-12


def test_far_from_them_the_probe_fits_worst():
    given = double(linear.problem(distance=5.0, seeds=12))
    probe, tuned = (linear.train(given, method, steps=500, lr=0.2) for method in ("probe", "fine-tuning"))
    assert probe.seen.mean() > 0.05 > tuned.seen.mean()


@pytest.mark.parametrize("method", ["fine-tuning", "LP-FT"])
@pytest.mark.parametrize("steps", [1, 3])
def test_steps_are_those_of_autograd(method: str, steps: int):
    given = double(linear.problem(distance=0.8, seeds=4, d=12, k=2, m=5))
    found = linear.train(given, method, steps=steps, lr=0.3)
    for i in range(4):
        truth, seen = given.truth[i], given.seen[i]
        features = given.features[i].clone().requires_grad_()
        if method == "LP-FT":
            design = seen @ given.features[i].T
            head = torch.linalg.solve(design.T @ design, design.T @ (seen @ truth)).requires_grad_()
        else:
            head = given.head[i].clone().requires_grad_()
        for _ in range(steps):
            loss = 0.5 * (seen @ (head @ features - truth)).square().sum()
            slopes = torch.autograd.grad(loss, [head, features])
            with torch.no_grad():
                head -= 0.3 * slopes[0]
                features -= 0.3 * slopes[1]
        error = (head @ features - truth).detach()
        assert float(found.seen[i]) == pytest.approx(float((seen @ error).square().sum()), abs=1e-6, rel=1e-6)
        assert float(found.everywhere[i]) == pytest.approx(float(error.square().sum()), abs=1e-6, rel=1e-6)
        assert float(found.moved[i]) == pytest.approx((features - given.features[i]).norm().item(), abs=1e-6, rel=1e-6)
        assert found.moved[i] > 1e-3


def test_the_probe_is_least_squares_over_what_is_seen():
    given = double(linear.problem(distance=0.8, seeds=4))
    found = linear.train(given, "probe")
    for i in range(4):
        design, goal = (given.seen[i] @ given.features[i].T).numpy(), (given.seen[i] @ given.truth[i]).numpy()
        best = torch.from_numpy(np.linalg.lstsq(design, goal, rcond=None)[0])
        error = best @ given.features[i] - given.truth[i]
        assert float(found.seen[i]) == pytest.approx(float((given.seen[i] @ error).square().sum()), rel=1e-9)
        assert float(found.everywhere[i]) == pytest.approx(float(error.square().sum()), rel=1e-9)


def test_everywhere_is_an_expectation_over_inputs():
    given = double(linear.problem(distance=0.5, seeds=2))
    found = linear.train(given, "fine-tuning", steps=0)
    x = torch.randn(100_000, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for i in range(2):
        error = given.head[i] @ given.features[i] - given.truth[i]
        assert float((x @ error).square().mean()) == pytest.approx(float(found.everywhere[i]), rel=0.02)
        inside = x @ given.seen[i].T @ given.seen[i]
        assert float((inside @ error).square().mean()) == pytest.approx(float(found.seen[i]), rel=0.02)


def test_problems_are_what_they_say():
    given = linear.problem(distance=0.3, seeds=6, d=30, k=4, m=12)
    for rows in (given.features, given.seen):
        torch.testing.assert_close(rows @ rows.mT, torch.eye(rows.shape[1]).expand(6, -1, -1), atol=1e-5, rtol=0)
    torch.testing.assert_close(given.truth.norm(dim=1), torch.ones(6), atol=1e-5, rtol=0)
    assert (given.features.shape, given.seen.shape, given.head.shape) == ((6, 4, 30), (6, 12, 30), (6, 4))
    many = linear.problem(distance=0.3, seeds=2000, d=30, k=4, m=12)
    assert float(many.head.square().sum(dim=1).mean()) == pytest.approx(1, abs=0.1), "N(0, 1/k)"


def test_distance_moves_the_features_away_from_the_truth():
    def outside(distance: float) -> float:
        given = double(linear.problem(distance=distance, seeds=20))
        inside = torch.einsum("skd,sd->sk", given.features, given.truth)
        return float((1 - inside.square().sum(dim=1)).mean())

    amounts = [outside(distance) for distance in (0.0, 0.1, 0.5, 2.0)]
    assert amounts == sorted(amounts)
    assert amounts[0] < 1e-6
    for distance, amount in zip((0.1, 0.5, 2.0), amounts[1:], strict=True):  # rows of noise have a length of about 1
        assert amount == pytest.approx(distance**2 / (1 + distance**2), rel=0.2)


def test_the_same_seed_gives_the_same_problem_but_for_the_distance():
    one, same, other = (linear.problem(distance=0.2, seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(value, vars(same)[name]) for name, value in vars(one).items())
    assert not torch.equal(one.seen, other.seen)
    further = linear.problem(distance=0.4, seed=1)
    assert torch.equal(one.truth, further.truth)
    assert torch.equal(one.seen, further.seen)
    assert not torch.equal(one.features, further.features)


def test_training_leaves_the_problem_alone():
    given = linear.problem(distance=0.2, seeds=2)
    before = {name: value.clone() for name, value in vars(given).items()}
    for method in linear.METHODS:
        linear.train(given, method, steps=2)
    assert all(torch.equal(value, vars(given)[name]) for name, value in before.items())


@pytest.mark.parametrize(
    "wrong",
    [
        {"distance": -0.1},
        {"distance": float("nan")},
        {"seeds": 0},
        {"k": 0},
        {"k": 20},
        {"m": 3},
        {"m": 37},
        {"d": 23},
    ],
)
def test_problems_that_make_no_sense(wrong: dict[str, float]):
    name, value = next(iter(wrong.items()))
    with pytest.raises(ValueError, match=rf"{name}={value}.*expected distance >= 0, seeds >= 1 and 0 < k < m < d − k"):
        linear.problem(**{"distance": 0.1, **wrong})


def test_the_smallest_that_make_sense():
    assert linear.problem(distance=0.0, seeds=1, d=24).seen.shape == (1, 20, 24)
    assert linear.problem(distance=0.1, seeds=1, d=4, k=1, m=2).seen.shape == (1, 2, 4)


def test_an_unknown_method():
    with pytest.raises(KeyError, match="method 'ft' is unknown; choose from: probe, fine-tuning, LP-FT"):
        linear.train(linear.problem(distance=0.1, seeds=1), "ft")
