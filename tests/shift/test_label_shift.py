"""Prior shift: exact on populations, close on samples, and the correction that needs no training."""

from __future__ import annotations

import pytest
import torch

from tlcourse import shift

GIVEN = torch.tensor([[0.8, 0.15, 0.1], [0.15, 0.75, 0.2], [0.05, 0.1, 0.7]], dtype=torch.float64)
"""p(predicted i | true j), not symmetric."""
SOURCE, TARGET = torch.tensor([0.5, 0.3, 0.2]).double(), torch.tensor([0.1, 0.3, 0.6]).double()


def test_bbse_is_exact_on_a_population():
    found = shift.bbse(GIVEN * SOURCE, GIVEN @ TARGET)
    assert found.target.tolist() == pytest.approx(TARGET.tolist())
    assert found.weights.tolist() == pytest.approx((TARGET / SOURCE).tolist())


def test_a_class_that_is_absent_from_the_target_gets_no_weight():
    found = shift.bbse(GIVEN * SOURCE, GIVEN @ torch.tensor([0.4, 0.6, 0.0]).double())
    assert found.target.tolist() == pytest.approx([0.4, 0.6, 0.0], abs=1e-6)


def test_noise_cannot_make_a_share_negative():
    found = shift.bbse(GIVEN * SOURCE, torch.tensor([0.0, 0.02, 0.98]).double())
    assert found.target.min() == 0
    assert found.target.sum() == pytest.approx(1)
    assert (found.weights * SOURCE).tolist() == pytest.approx(found.target.tolist())


def test_joint_confusion_has_predictions_in_its_rows():
    predictions, labels = torch.tensor([0, 0, 1, 1, 1]), torch.tensor([0, 1, 1, 1, 0])
    assert shift.joint_confusion(predictions, labels, n_classes=2).tolist() == [[0.2, 0.2], [0.2, 0.4]]
    one_way = shift.joint_confusion(torch.tensor([0, 1]), torch.tensor([1, 1]), n_classes=2)
    assert one_way.tolist() == [[0, 0.5], [0, 0.5]]


@pytest.fixture
def world():
    """Two unit normals at −1 and 1 with equal shares in the source: p(1 | x) = σ(2 x)."""

    def draw(n: int, share: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        y = (torch.rand(n, generator=generator) < share).long()
        x = torch.randn(n, generator=generator) + 2 * y - 1
        p = torch.sigmoid(2 * x)
        return torch.stack([1 - p, p], dim=1), y

    return draw


@pytest.mark.parametrize("share", [0.1, 0.5, 0.85])
def test_bbse_and_em_find_the_share(world, share: float):
    p_source, y_source = world(4000, 0.5, 0)
    p_target, _ = world(4000, share, 1)
    confusion = shift.joint_confusion(p_source.argmax(dim=1), y_source, n_classes=2)
    mu = torch.bincount(p_target.argmax(dim=1), minlength=2) / 4000
    assert shift.bbse(confusion, mu).target[1].item() == pytest.approx(share, abs=0.03)
    found = shift.em_priors(p_target, [0.5, 0.5])
    assert found.target[1].item() == pytest.approx(share, abs=0.03)
    assert found.weights.tolist() == pytest.approx((2 * found.target).tolist())


def test_em_stops_where_the_likelihood_is_greatest(world):
    p, _ = world(500, 0.3, 2)
    grid = torch.linspace(0.001, 0.999, 999).double()
    likelihood = (p[:, :1].double() * 2 * (1 - grid) + p[:, 1:].double() * 2 * grid).log().sum(dim=0)
    assert shift.em_priors(p, [0.5, 0.5]).target[1] == pytest.approx(float(grid[likelihood.argmax()]), abs=2e-3)


def test_correction_is_bayes_rule(world):
    """With shares 1 − q and q the logit moves by log(q / (1 − q))."""
    p, _ = world(50, 0.5, 3)
    found = shift.correct(p, [0.5, 0.5], [0.2, 0.8])
    expected = torch.sigmoid(torch.logit(p[:, 1].double()) + torch.tensor(4.0).double().log())
    torch.testing.assert_close(found[:, 1], expected, atol=1e-6, rtol=1e-5)
    assert torch.equal(shift.correct(p, [0.3, 0.7], [0.3, 0.7]).argmax(dim=1), p.argmax(dim=1))


def test_moving_the_threshold_is_the_same_decision(world):
    p, y = world(4000, 0.9, 4)
    threshold = shift.moved_threshold(0.5, 0.9)
    assert threshold == pytest.approx(0.1)
    by_threshold = (p[:, 1] > threshold).long()
    assert torch.equal(by_threshold, shift.correct(p, [0.5, 0.5], [0.1, 0.9]).argmax(dim=1))
    assert (by_threshold == y).float().mean() > (p.argmax(dim=1) == y).float().mean() + 0.03
    assert shift.moved_threshold(0.3, 0.3) == pytest.approx(0.5)


def test_the_confusion_of_three_classes_counts_each_pair():
    predictions, labels = torch.tensor([0, 2, 1, 1]), torch.tensor([2, 0, 1, 0])
    expected = torch.zeros(3, 3, dtype=torch.float64)
    for i, j in zip(predictions, labels, strict=True):
        expected[i, j] += 0.25
    assert torch.equal(shift.joint_confusion(predictions, labels, n_classes=3), expected)


@pytest.mark.parametrize(("diagonal", "fits"), [((0.6, 0.3988, 0.0012), True), ((0.6, 0.3995, 0.0005), False)])
def test_an_inverse_exists_in_practice_up_to_a_condition_of_a_thousand(diagonal: tuple[float, ...], fits: bool):
    """A diagonal matrix has its entries as singular values: the last is 1/500 of the first, or 1/1200."""
    confusion = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    mu = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    if fits:
        assert shift.bbse(confusion, mu).target.tolist() == pytest.approx(mu.tolist())
    else:
        with pytest.raises(ValueError, match="the confusion matrix is singular"):
            shift.bbse(confusion, mu)


def test_em_takes_the_mean_first_and_stops_by_itself(world):
    p, _ = world(60, 0.3, 2)
    assert shift.em_priors(p, [0.5, 0.5], most=1).target.tolist() == pytest.approx(p.double().mean(dim=0).tolist())
    second = shift.correct(p, [0.5, 0.5], p.double().mean(dim=0)).mean(dim=0)
    assert shift.em_priors(p, [0.5, 0.5], most=2).target.tolist() == pytest.approx(second.tolist())
    found = shift.em_priors(p, [0.5, 0.5], most=10**9).target
    torch.testing.assert_close(shift.correct(p, [0.5, 0.5], found).mean(dim=0), found, atol=1e-7, rtol=0)
    rough = shift.em_priors(p, [0.5, 0.5], tolerance=0.01).target
    assert 1e-5 < (rough - found).abs().max() < 0.1


def test_a_row_that_the_target_cannot_hold_gets_zeros():
    found = shift.correct(torch.tensor([[1.0, 0.0], [0.5, 0.5]]), [0.5, 0.5], [0.0, 1.0])
    assert found.tolist() == [[0, 0], [0, 1]]


def test_the_threshold_is_where_the_corrected_probability_is_a_half():
    for before, after in ((0.2, 0.6), (0.7, 0.1), (0.3, 0.9)):
        cut = shift.moved_threshold(before, after)
        there = shift.correct(torch.tensor([[1 - cut, cut]]).double(), [1 - before, before], [1 - after, after])
        assert there[0].tolist() == pytest.approx([0.5, 0.5])
    assert shift.moved_threshold(0.2, 0.6) == pytest.approx(1 / 7)  # the odds rise from ¼ to 3/2, sixfold


def test_bad_input(unchecked):
    useless = torch.full((2, 2), 0.25)
    with pytest.raises(ValueError, match=r"confusion matrix is singular .*use a better one, or merge"):
        shift.bbse(useless, torch.tensor([0.5, 0.5]))
    never = torch.tensor([[0.6, 0.3, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.1]])
    with pytest.raises(ValueError, match="singular"):
        shift.bbse(never, torch.tensor([0.5, 0.0, 0.5]))
    with pytest.raises(ValueError, match="class 2 has no labelled source row"):
        shift.bbse(torch.diag(torch.tensor([0.5, 0.5, 0.0])), torch.tensor([0.5, 0.4, 0.1]))
    with pytest.raises(ValueError, match=r"confusion is \(2, 2\) and target_predictions 3 long"):
        shift.bbse(useless, torch.tensor([0.5, 0.4, 0.1]))
    with pytest.raises(ValueError, match="labels must be class numbers from 0 to 1"):
        shift.joint_confusion(torch.tensor([0, 1]), torch.tensor([0, 2]), n_classes=2)
    with pytest.raises(ValueError, match=r"add up to 1 in each row; take logits\.softmax"):
        shift.em_priors(torch.tensor([[2.0, 1.0]]), [0.5, 0.5])
    with pytest.raises(ValueError, match="source_priors give class 1 a share of 0"):
        shift.correct(torch.tensor([[0.4, 0.6]]), [1.0, 0.0], [0.5, 0.5])
    with pytest.raises(ValueError, match="2 probabilities a row, 2 source and 3 target shares"):
        shift.correct(torch.tensor([[0.4, 0.6]]), [0.5, 0.5], [0.2, 0.4, 0.4])
    with pytest.raises(ValueError, match=r"target_prior is 1\.0"):
        shift.moved_threshold(0.5, 1.0)
