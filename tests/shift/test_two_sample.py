"""Two-sample tests: right statistics, false alarms at the level, and each test's blind spot."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from tlcourse import shift, training
from tlcourse.shift.kernels import gaussian_kernel
from tlcourse.shift.two_sample import permuted_mmd2

DRAWS = 60
TESTS = {
    "mmd": lambda x, y, seed: shift.mmd_test(x, y, permutations=99, seed=seed),
    "classifier": lambda x, y, seed: shift.classifier_test(x, y, seed=seed),
    "features": lambda x, y, seed: shift.feature_tests(x, y),
}


@pytest.mark.parametrize("name", TESTS)
def test_false_alarms_are_at_the_level(gaussian, name: str):
    """At a level of 20 %, where 60 draws say something; domains of other sizes, as in life."""
    pairs = [(gaussian(40, seed=2 * i), gaussian(25, seed=2 * i + 1), i) for i in range(DRAWS)]
    alarms = sum(TESTS[name](*pair).rejects(0.2) for pair in pairs)
    assert stats.binom.cdf(alarms, DRAWS, 0.2) < 0.999, f"{alarms} false alarms in {DRAWS}"
    if name != "features":  # Holm and small steps of its p-values make that one cautious
        assert stats.binom.cdf(alarms, DRAWS, 0.2) > 0.001


@pytest.mark.parametrize("name", TESTS)
def test_a_shift_is_found(gaussian, name: str):
    found = TESTS[name](gaussian(150), gaussian(120, 1.0, seed=1), 0)
    assert found.rejects(0.01)
    assert 0 < found.p_value <= 0.01


def test_the_statistic_and_the_permutations(gaussian):
    x, y = gaussian(13), gaussian(8, 0.5, seed=1)
    rows, sigma = torch.cat([x, y]), 1.7
    kernel = gaussian_kernel(rows, rows, sigma).fill_diagonal_(0)
    columns = torch.stack(
        [torch.randperm(21, generator=torch.Generator().manual_seed(i)) < 13 for i in range(5)], dim=1
    )
    columns[:, 0] = torch.arange(21) < 13
    found = permuted_mmd2(kernel, columns.float())
    for column, value in zip(columns.T, found, strict=True):
        assert value.item() == pytest.approx(shift.mmd2(rows[column], rows[~column], bandwidth=sigma).item(), abs=1e-5)
    assert shift.mmd_test(x, y, bandwidth=sigma).statistic == pytest.approx(found[0].item(), abs=1e-5)


def test_the_p_value_counts_the_true_assignment(gaussian):
    far = shift.mmd_test(gaussian(20), gaussian(20, 9.0, seed=1), permutations=49)
    assert far.p_value == 1 / 50
    same = shift.mmd_test(gaussian(20), gaussian(20), permutations=49)
    assert same.p_value > 0.5


def test_one_feature_at_a_time_is_blind_to_correlation():
    """The same marginals, another correlation: only tests that see features together notice."""
    generator = torch.Generator().manual_seed(3)
    a, b = torch.randn(2, 300, 2, generator=generator)
    b = torch.stack([b[:, 0], 0.95 * b[:, 0] + (1 - 0.95**2) ** 0.5 * b[:, 1]], dim=1)
    assert shift.mmd_test(a, b, permutations=99).rejects()
    assert not shift.feature_tests(a, b).rejects()


def test_the_linear_classifier_is_blind_to_spread(gaussian):
    assert not shift.classifier_test(gaussian(200), 2 * gaussian(200, seed=1), seed=0).rejects()
    assert shift.mmd_test(gaussian(200), 2 * gaussian(200, seed=1), permutations=99).rejects()


def test_auc_of_the_classifier(gaussian):
    """The best line between two unit normals at distance d ranks right with probability Φ(d / √2)."""
    found = shift.classifier_test(gaussian(3000), gaussian(1500, 1.5, seed=1), l2=1.0)
    assert found.statistic == pytest.approx(stats.norm.cdf(1.5 / 2**0.5), abs=0.02)
    many = shift.classifier_test(gaussian(60, dim=200), gaussian(60, seed=1, dim=200))
    assert many.p_value > 0.01, "rows that the classifier has learned by heart must not count"


def test_each_feature_is_kolmogorov_smirnov(gaussian):
    x, y = gaussian(60), gaussian(50, 1.0, seed=1)
    found = shift.feature_tests(x, y, correction=shift.bonferroni)
    for i in range(4):
        expected = stats.ks_2samp(x[:, i].double().numpy(), y[:, i].double().numpy())
        assert found.statistics[i].item() == pytest.approx(expected.statistic)
        assert found.p_values[i].item() == pytest.approx(expected.pvalue)
        assert found.corrected[i].item() == pytest.approx(min(1, 4 * expected.pvalue))
    assert found.features() == [0]
    assert found.p_value == found.corrected[0]


def test_holm_by_hand():
    p = torch.tensor([0.01, 0.04, 0.03, 0.005])
    assert shift.holm(p).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert shift.bonferroni(p).tolist() == pytest.approx([0.04, 0.16, 0.12, 0.02])
    assert shift.holm(torch.tensor([0.9, 0.8])).tolist() == pytest.approx([1, 1])
    many = torch.rand(50, generator=torch.Generator().manual_seed(0)) ** 3
    assert (shift.holm(many) <= shift.bonferroni(many) + 1e-12).all()


def test_the_seed_decides_and_the_global_state_stays(gaussian):
    x, y = gaussian(60), gaussian(60, 0.3, seed=1)
    state = torch.get_rng_state()
    for test in (shift.mmd_test, shift.classifier_test):
        assert test(x, y, seed=1) == test(x, y, seed=1)
        assert len({test(x, y, seed=seed).p_value for seed in range(6)}) > 1
    assert torch.equal(torch.get_rng_state(), state)


def test_p_values_of_permutations_with_ties():
    """All rows alike: every assignment is as large as the true one, and so the p-value is 1."""
    same = torch.zeros(6, 2)
    assert shift.mmd_test(same, same, permutations=19, bandwidth=1.0).p_value == 1
    # 2 against 2 far away: of the six ways to take two rows, the true one and its mirror image are the largest
    apart = torch.tensor([[0.0], [0.1], [9.0], [9.1]])
    found = shift.mmd_test(apart[:2], apart[2:], permutations=600, bandwidth=1.0)
    assert found.p_value == pytest.approx(1 / 3, abs=0.06)


def test_the_classifier_learns_one_half_and_ranks_the_other(gaussian, monkeypatch):
    fits, ranked = [], []

    class Spy:
        def __init__(self, rows, labels, *, l2):
            fits.append((rows, labels))
            self.probe = training_probe(rows, labels, l2=l2)

        def scores(self, rows):
            ranked.append(rows)
            return self.probe.scores(rows)

    training_probe = training.probe
    monkeypatch.setattr(training, "probe", Spy)
    x, y = gaussian(15, dim=1).double(), gaussian(10, 0.5, seed=1, dim=1).double()
    found = shift.classifier_test(x, y)
    [(rows, labels)] = fits
    assert labels.tolist() == [0] * 7 + [1] * 5
    new_y, new_x = ranked
    assert torch.equal(torch.cat([rows[:7], new_x]).sort(dim=0).values, x.sort(dim=0).values)
    assert torch.equal(torch.cat([rows[7:], new_y]).sort(dim=0).values, y.sort(dim=0).values)
    auc = (new_y > new_x.T).double().mean().item()  # one column, and a slope that is above 0 here
    assert rows[7:].mean() > rows[:7].mean()
    assert found.statistic == pytest.approx(auc)


def test_corrected_p_values_end_at_1():
    for correction in (shift.bonferroni, shift.holm):
        assert correction(torch.tensor([0.9, 0.6, 1.0])).tolist() == [1, 1, 1]
        assert correction(torch.tensor([0.4])).tolist() == pytest.approx([0.4])


def test_bad_input(unchecked, gaussian):
    for test in (shift.mmd_test, shift.classifier_test, shift.feature_tests):
        with pytest.raises(ValueError, match="source is 4 wide and target 3"):
            test(gaussian(20), gaussian(20, dim=3))
        with pytest.raises(ValueError, match="source holds NaN"):
            test(gaussian(20, float("nan")), gaussian(20))
    with pytest.raises(ValueError, match=r"target is .* with n ≥ 4"):
        shift.classifier_test(gaussian(20), gaussian(3))
    with pytest.raises(ValueError, match="permutations is 9; with fewer than 19"):
        shift.mmd_test(gaussian(20), gaussian(20), permutations=9)
    with pytest.raises(ValueError, match=r"p_values run from 0\.5 to 1\.5"):
        shift.holm(torch.tensor([0.5, 1.5]))
