"""Importance weights: a known ratio is recovered, means are matched, and the effective sample size tells the price."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch
from scipy.optimize import LinearConstraint, brentq, minimize

from tlcourse import shift, training
from tlcourse.shift.kernels import gaussian_kernel
from tlcourse.shift.kmm import _project


def test_a_known_gaussian_ratio_is_recovered(gaussian):
    """Unit normals at 0 and at δ: the logarithm of the ratio is δ x − δ² / 2."""
    source, target = gaussian(4000, dim=2), gaussian(1000, 1.0, seed=1, dim=2)
    ratio = shift.density_ratio(source, target, l2=1e-3)
    new = gaussian(200, 0.5, seed=2, dim=2)
    expected = new[:, 0].double() - 0.5
    assert (ratio(new).log() - expected).abs().max() < 0.35
    assert (ratio(new).log() - expected).abs().mean() < 0.1
    assert ratio(source).mean() == pytest.approx(1, abs=0.05), "domains of other sizes must not show"
    assert (ratio(source) * source[:, 0]).mean() == pytest.approx(1.0, abs=0.1)


def test_other_spreads_need_squares(gaussian):
    source, target = gaussian(4000, dim=1), 0.6 * gaussian(4000, seed=1, dim=1)

    def bent(rows):
        return torch.cat([rows, rows.square()], dim=1)

    grid = torch.linspace(-1.5, 1.5, 7)[:, None]
    expected = (-torch.log(torch.tensor(0.6)) + (1 - 1 / 0.36) * grid.square() / 2).flatten()
    found = shift.density_ratio(bent(source), bent(target), l2=1e-3)(bent(grid)).log()
    assert (found - expected).abs().max() < 0.25
    straight = shift.density_ratio(source, target, l2=1e-3)(grid).log()
    assert straight.abs().max() < 0.2


def test_rows_learned_by_heart_look_unlikely(gaussian):
    """No shift, so the ratio is 1 everywhere; with many features only the rows left out say so."""
    source, target = gaussian(80, dim=60), gaussian(80, seed=1, dim=60)
    inside = shift.density_ratio(source, target, l2=0.1)(source)
    outside = shift.out_of_fold_ratio(source, target, l2=0.1)
    assert inside.log().median() < -1
    assert abs(outside.log().median()) < abs(inside.log().median()) / 2
    state = torch.get_rng_state()
    assert torch.equal(outside, shift.out_of_fold_ratio(source, target, l2=0.1))
    assert torch.equal(torch.get_rng_state(), state)


def test_kmm_solves_its_quadratic_program(gaussian):
    source, target = gaussian(25, dim=2), gaussian(15, 1.0, seed=1, dim=2)
    found = shift.kmm(source, target, bandwidth=1.0, largest=3.0, steps=20_000)
    x, y, n = source.double(), target.double(), 25
    kernel = (gaussian_kernel(x, x, 1.0) + 1e-3 * torch.eye(n)).numpy()
    kappa = gaussian_kernel(x, y, 1.0).sum(dim=1).numpy() * n / 15

    def loss(beta):
        return 0.5 * beta @ kernel @ beta - kappa @ beta

    slack = (5 - 1) / 5
    best = minimize(
        loss,
        x0=[1.0] * n,
        jac=lambda beta: kernel @ beta - kappa,
        bounds=[(0, 3)] * n,
        constraints=LinearConstraint([[1 / n] * n], 1 - slack, 1 + slack),
        method="SLSQP",
        options={"maxiter": 1000, "ftol": 1e-12},
    )
    assert loss(found.numpy()) == pytest.approx(best.fun, rel=1e-5)
    assert found.min() >= 0
    assert found.max() <= 3


def test_kmm_moves_the_mean_and_knows_no_shift(gaussian):
    source, target = gaussian(300, dim=2), gaussian(300, 1.0, seed=1, dim=2)
    beta = shift.kmm(source, target)
    moved = (beta[:, None] * source).sum(dim=0) / beta.sum()
    assert moved[0] == pytest.approx(1.0, abs=0.25)
    assert abs(moved[1]) < 0.15
    assert shift.kmm(source, source).sub(1).abs().mean() < 0.05


def test_kmm_keeps_the_mean_weight_within_its_slack(gaussian):
    """A target far away would like all weights to be 0."""
    beta = shift.kmm(gaussian(16), gaussian(16, 30.0, seed=1), bandwidth=1.0)
    assert beta.mean() == pytest.approx(1 - (4 - 1) / 4, rel=1e-5)


def test_effective_sample_size():
    assert shift.effective_sample_size(torch.full((50,), 3.0)) == pytest.approx(50)
    assert shift.effective_sample_size(torch.tensor([0.0, 7.0, 0.0])) == pytest.approx(1)
    assert shift.effective_sample_size(torch.tensor([3.0, 1.0])) == pytest.approx(16 / 10)


def test_flatten_and_clip():
    weights = torch.tensor([1.0, 4.0, 16.0])
    assert shift.flatten(weights, 1.0).tolist() == pytest.approx([1 / 7, 4 / 7, 16 / 7])
    assert shift.flatten(weights, 0.5).tolist() == pytest.approx([3 / 7, 6 / 7, 12 / 7])
    assert shift.flatten(weights, 0.0).tolist() == [1, 1, 1]
    assert shift.clip(weights, 2.0).tolist() == pytest.approx([1 / 7, 4 / 7, 2])


def test_a_weighted_probe_counts_rows_as_copies(gaussian):
    x = gaussian(60)
    y = (x[:, 0] + gaussian(60, seed=1)[:, 0] > 0).long()
    weights = torch.tensor([0.0, 1.0, 3.0]).repeat(20)
    copies = torch.arange(60).repeat_interleave(weights.long())
    # a probe standardises its rows, so copies are compared on features where that changes little
    found = shift.weighted_probe(x, y, weights, l2=1e-3, scaling="common")
    expected = training.probe(x[copies], y[copies], l2=1e-3, scaling="common")
    torch.testing.assert_close(found.scores(x), expected.scores(x), atol=0.02, rtol=0.02)
    tenfold = shift.weighted_probe(x, y, 10 * weights, l2=1.0)
    assert torch.equal(tenfold.predict(x), shift.weighted_probe(x, y, weights, l2=1.0).predict(x))


def test_weighting_wins_under_covariate_shift_and_measures_the_target(gaussian):
    """A line cannot follow a bent rule everywhere; weights tell it where the target is."""
    x = gaussian(4000, dim=1)
    y = (x[:, 0].square() > 1).long()
    made = shift.covariate_shift(x[:, 0], y, strength=2.0)
    plain = training.probe(x[made.source], y[made.source])
    weighted = shift.weighted_probe(x[made.source], y[made.source], made.weights)
    on_target = [p.accuracy(x[made.target], y[made.target]) for p in (plain, weighted)]
    assert on_target[1] > on_target[0] + 0.1
    for probe, truth in zip((plain, weighted), on_target, strict=True):
        guesses = probe.predict(x[made.source])
        found = shift.weighted_accuracy(guesses, y[made.source], made.weights)
        assert found == pytest.approx(truth, abs=0.04)
        assert probe.accuracy(x[made.source], y[made.source]) != pytest.approx(truth, abs=0.04)


def test_kmm_takes_nesterovs_steps_with_the_rate_of_the_largest_eigenvalue(gaussian):
    """A few steps by another route: NumPy's eigenvalues, and Brent's method for the projection."""
    source, target = gaussian(12, dim=2), gaussian(9, 1.0, seed=1, dim=2)
    x, y, n = source.double(), target.double(), 12
    kernel = gaussian_kernel(x, x, 1.0).numpy() + 0.01 * np.eye(n)
    kappa = gaussian_kernel(x, y, 1.0).sum(dim=1).numpy() * n / 9
    slack = 1 - 1 / n**0.5

    def nearest(beta):
        mean = beta.clip(0, 2).mean()
        if abs(mean - 1) <= slack:
            return beta.clip(0, 2)
        wanted = 1 + slack * np.sign(mean - 1)
        return (beta + brentq(lambda move: (beta + move).clip(0, 2).mean() - wanted, -99, 99)).clip(0, 2)

    beta = ahead = np.ones(n)
    for step in range(6):
        before = beta
        beta = nearest(ahead - (kernel @ ahead - kappa) / np.linalg.eigvalsh(kernel).max())
        ahead = beta + step / (step + 3) * (beta - before)
        found = shift.kmm(source, target, largest=2.0, bandwidth=1.0, ridge=0.01, steps=step + 1)
        assert found.tolist() == pytest.approx(beta.tolist(), abs=1e-6)


def test_kmm_stops_when_nothing_moves_any_more(gaussian):
    source = gaussian(10, dim=2)
    found = shift.kmm(source, source, ridge=1.0, steps=10**9)
    torch.testing.assert_close(found, shift.kmm(source, source, ridge=1.0, steps=3000), atol=1e-5, rtol=0)


@pytest.mark.parametrize("offset", [-6.0, -2.0, 0.0, 2.0, 6.0])
def test_the_projection_of_kmm_is_the_nearest_point(offset: float):
    start = offset + 2 * torch.randn(9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = _project(start, 3.0, 0.25)
    best = minimize(
        lambda beta: ((beta - start.numpy()) ** 2).sum(),
        x0=[1.0] * 9,
        bounds=[(0, 3)] * 9,
        constraints=LinearConstraint([[1 / 9] * 9], 0.75, 1.25),
        method="SLSQP",
        options={"ftol": 1e-14},
    )
    assert found.tolist() == pytest.approx(best.x.tolist(), abs=1e-5)
    assert -1e-12 <= found.min() <= found.max() <= 3 + 1e-12
    assert 0.75 - 1e-12 <= found.mean() <= 1.25 + 1e-12


def test_each_row_is_judged_by_a_classifier_that_has_not_seen_it(gaussian, monkeypatch):
    source, target, fits = gaussian(23), gaussian(12, seed=1), []

    def spy(x, y, *, l2):
        fits.append((x, y))
        return shift.density_ratio(x, y, l2=l2)

    monkeypatch.setattr(importlib.import_module("tlcourse.shift.density_ratio"), "density_ratio", spy)
    found = shift.out_of_fold_ratio(source, target, folds=4)
    assert sorted(len(x) for x, _ in fits) == [17, 17, 17, 18]  # 23 rows without a quarter of them
    assert [len(y) for _, y in fits] == [9] * 4
    rows = source.double()
    left_out = torch.stack([~torch.isin(rows[:, 0], x[:, 0]) for x, _ in fits])
    assert (left_out.sum(dim=0) == 1).all(), "each row is left out once"
    for (x, y), out in zip(fits, left_out, strict=True):
        torch.testing.assert_close(found[out], shift.density_ratio(x, y)(rows[out]))


def test_rows_of_a_small_weight_still_count(gaussian):
    """Only those of weight 0 are left out."""
    x = gaussian(40)
    y = (x[:, 0] + gaussian(40, seed=1)[:, 0] > 0).long()
    weights = torch.tensor([0.01, 0.5, 1.5, 2.0]).repeat(10)
    mean_one = (weights / weights.mean()).double()
    expected = training.probe(x, y, l2=1.0, weights=mean_one)
    torch.testing.assert_close(shift.weighted_probe(x, y, weights).scores(x), expected.scores(x), atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match="weights are 0 for every row of class 0"):
        shift.weighted_probe(x, y, y.double())


def test_weighted_accuracy_by_hand():
    guesses, truths = torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1])
    assert shift.weighted_accuracy(guesses, truths, torch.tensor([1.0, 5.0, 2.0])) == pytest.approx(3 / 8)


def test_bad_input(unchecked, gaussian):
    x, y = gaussian(20), torch.arange(20) % 2
    for method in (shift.density_ratio, shift.out_of_fold_ratio, shift.kmm):
        with pytest.raises(ValueError, match="source is 4 wide and target 3"):
            method(x, gaussian(20, dim=3))
    with pytest.raises(ValueError, match="folds is 1; give 2 to 10"):
        shift.out_of_fold_ratio(x, x, folds=1)
    with pytest.raises(ValueError, match=r"largest is 0\.5"):
        shift.kmm(x, x, largest=0.5)
    for bad in (torch.tensor([1.0, -1.0]), torch.zeros(2), torch.tensor([1.0, float("inf")])):
        with pytest.raises(ValueError, match="weights must be finite, 0 or more, and not all 0"):
            shift.effective_sample_size(bad)
    with pytest.raises(ValueError, match="give one for each of the 20 rows"):
        shift.weighted_probe(x, y, torch.ones(19))
    with pytest.raises(ValueError, match="weights are 0 for every row of class 1"):
        shift.weighted_probe(x, y, (y == 0).float())
    with pytest.raises(ValueError, match=r"power is 2\.0"):
        shift.flatten(torch.ones(3), 2.0)
    with pytest.raises(ValueError, match=r"largest is 0\.0"):
        shift.clip(torch.ones(3), 0.0)
    with pytest.raises(ValueError, match=r"labels are .* expected 20 class numbers"):
        shift.weighted_accuracy(y, y[:3], torch.ones(20))
