"""Simulated shifts: what moves, what must not move, and that the stated truth is the truth."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import zscore

from tlcourse import shift

N = 20_000


@pytest.fixture
def pool() -> tuple[torch.Tensor, torch.Tensor]:
    """A score, and a label that is likelier to be 1 where the score is high."""
    generator = torch.Generator().manual_seed(0)
    score = torch.randn(N, generator=generator)
    return score, (torch.rand(N, generator=generator) < torch.sigmoid(score)).long()


def rule(score: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Share of class 1 in five bands of the score."""
    band = torch.bucketize(score, torch.tensor([-1.0, -0.3, 0.3, 1.0]))
    return torch.stack([labels[band == b].double().mean() for b in range(5)])


def test_covariate_shift_moves_the_inputs_and_not_the_rule(pool):
    score, labels = pool
    made = shift.covariate_shift(score, labels, strength=1.0)
    source, target = score[made.source], score[made.target]
    assert target.mean() - source.mean() > 0.7
    assert torch.allclose(rule(source, made.source_labels), rule(target, made.target_labels), atol=0.06)
    assert torch.equal(made.target_labels, labels[made.target])


def test_its_weights_are_the_true_ratio(pool):
    score, labels = pool
    made = shift.covariate_shift(3 * score + 7, labels, strength=1.5)  # the scale of the score is no matter
    source, target = score[made.source], score[made.target]
    assert made.weights.mean() == pytest.approx(1, abs=0.05)
    for function in (lambda x: x, lambda x: (x > 0.5).float(), torch.square):
        weighted = (made.weights * function(source)).mean()
        assert weighted == pytest.approx(float(function(target).double().mean()), abs=0.05)
    assert (1 / made.target_weights).mean() == pytest.approx(1, abs=0.1)


def test_strength_zero_is_no_shift(pool):
    score, labels = pool
    made = shift.covariate_shift(score, labels, strength=0.0)
    assert torch.allclose(made.weights, torch.ones_like(made.weights))
    assert score[made.source].mean() == pytest.approx(float(score[made.target].mean()), abs=0.05)
    assert 0.48 < len(made.target) / N < 0.52


def test_prior_shift_reaches_the_shares_and_leaves_each_class_as_it_is(pool):
    score, labels = pool
    made = shift.prior_shift(labels, priors=[0.2, 0.8])
    assert made.target_labels.double().mean() == pytest.approx(0.8, abs=2e-4)
    assert made.source_labels.double().mean() == pytest.approx(float(labels.double().mean()), abs=1e-3)
    for c in (0, 1):
        before = score[made.source][made.source_labels == c].mean()
        assert score[made.target][made.target_labels == c].mean() == pytest.approx(float(before), abs=0.06)
        expected = (0.2, 0.8)[c] / float((made.source_labels == c).double().mean())
        assert made.weights[made.source_labels == c] == pytest.approx(expected, rel=1e-3)
        assert made.target_weights[made.target_labels == c] == pytest.approx(expected, rel=1e-3)


def test_concept_shift_moves_the_rule_and_not_the_inputs(pool):
    score, labels = pool
    made = shift.concept_shift(score, labels, share=0.3, n_classes=2)
    assert score[made.source].mean() == pytest.approx(float(score[made.target].mean()), abs=0.05)
    assert torch.equal(made.source_labels, labels[made.source])
    changed = made.target_labels != labels[made.target]
    assert changed.double().mean() == pytest.approx(0.3, abs=0.02)
    assert score[made.target][changed].min() > score[made.target][~changed].max()
    assert (made.weights == 1).all()


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0.0), (1.0, 1.0)])
def test_none_or_all_of_the_rule(pool, share: float, expected: float):
    score, labels = pool
    made = shift.concept_shift(score, labels + 1, share=share, n_classes=3)
    assert (made.target_labels != labels[made.target] + 1).double().mean() == expected
    assert int(made.target_labels.max()) <= 2


def test_nobody_is_in_both_domains_or_twice_and_the_seed_decides(pool):
    score, labels = pool
    makers = {
        "covariate": lambda seed: shift.covariate_shift(score, labels, strength=1.0, seed=seed),
        "prior": lambda seed: shift.prior_shift(labels, priors=[0.7, 0.3], seed=seed),
        "concept": lambda seed: shift.concept_shift(score, labels, share=0.5, n_classes=2, seed=seed),
    }
    for kind, make in makers.items():
        made, again, other = make(3), make(3), make(4)
        everyone = torch.cat([made.source, made.target])
        assert made.kind == kind
        assert len(everyone.unique()) == len(everyone)
        assert torch.equal(made.target, again.target)
        assert not torch.equal(made.target[:500], other.target[:500])


def test_the_weights_are_the_formula_on_a_small_pool():
    """Scores 0.00 to 0.11: only their order and distances count, in standard deviations."""
    score, labels = torch.arange(12.0) / 100, torch.arange(12) % 2
    made = shift.covariate_shift(score, labels, strength=0.7)
    z = torch.from_numpy(zscore(score.double().numpy()))
    chance = 1 / (1 + torch.exp(-0.7 * z))
    expected = chance / (1 - chance) * (1 - chance).mean() / chance.mean()
    torch.testing.assert_close(made.weights, expected[made.source])
    torch.testing.assert_close(made.target_weights, expected[made.target])


def test_halves_have_half_of_each_class():
    labels = torch.arange(30) % 3
    for seed in range(5):
        made = shift.concept_shift(torch.arange(30.0), labels, share=0.0, n_classes=3, seed=seed)
        assert made.source_labels.bincount().tolist() == made.target_labels.bincount().tolist() == [5, 5, 5]


@pytest.mark.parametrize("seed", range(6))
def test_a_rule_that_changes_for_nobody_or_everybody_spares_no_row(seed: int):
    score, labels = torch.tensor([3.0, 1.0, 2.0, 0.0]), torch.tensor([0, 1, 2, 0])
    for share, step in ((0.0, 0), (1.0, 1)):
        made = shift.concept_shift(score, labels, share=share, n_classes=3, seed=seed)
        assert made.target_labels.tolist() == ((labels[made.target] + step) % 3).tolist()
        assert made.source_labels.tolist() == labels[made.source].tolist()


def test_the_share_with_the_highest_score_changes():
    labels = torch.zeros(20, dtype=torch.long)
    made = shift.concept_shift(torch.arange(20.0), labels, share=0.25, n_classes=2)
    assert made.target_labels.tolist() == (made.target >= 15).long().tolist()


def test_bad_input(pool, unchecked):
    score, labels = pool
    with pytest.raises(ValueError, match="score is the same for every row"):
        shift.covariate_shift(torch.zeros(9), labels[:9], strength=1.0)
    with pytest.raises(ValueError, match=r"labels are .* expected 9 class numbers"):
        shift.covariate_shift(score[:9], labels[:8], strength=1.0)
    with pytest.raises(ValueError, match=r"share is 1\.5"):
        shift.concept_shift(score, labels, share=1.5, n_classes=2)
    with pytest.raises(ValueError, match=r"priors give class 0 a share of 0; a class that is absent"):
        shift.prior_shift(labels, priors=[0.0, 1.0])
    with pytest.raises(ValueError, match=r"priors add up to 0\.9000; divide"):
        shift.prior_shift(labels, priors=[0.1, 0.8])
    with pytest.raises(ValueError, match="priors are 3 shares; give one for each class"):
        shift.prior_shift(labels, priors=[0.1, 0.8, 0.1])
    with pytest.raises(ValueError, match="class 1 has too few rows"):
        shift.prior_shift(torch.tensor([0] * 6 + [1] * 6), priors=[0.99, 0.01])


def test_a_domain_that_stays_empty():
    score, labels = torch.arange(4.0), torch.tensor([0, 1, 0, 1])
    errors = []
    for seed in range(100):  # one in eight of them
        try:
            shift.covariate_shift(score, labels, strength=0.0, seed=seed)
        except ValueError as error:
            errors.append(str(error))
    assert 2 < len(errors) < 30
    assert errors[0].startswith("strength 0.0 leaves one domain empty; take a weaker one")


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
def test_equal_scores_leave_the_share_as_it_was_asked_for(share: float):
    score = torch.tensor([0.0] * 70 + [1.0] * 30)
    found = shift.concept_shift(score, torch.zeros(100, dtype=torch.long), share=share, n_classes=2)
    changed = int(found.target_labels.sum())
    assert changed == pytest.approx(share * len(found.target), abs=6)
    assert share < 1 or changed == len(found.target)
