"""The smallest input that a function takes works, the next smaller one has an error of ours, and seeds are 0."""

from __future__ import annotations

import inspect

import pytest
import torch
from scipy.stats import chi2
from torch import nn

from tlcourse import shift
from tlcourse.shift.diagnose import shares_test
from tlcourse.shift.inputs import shares


def test_every_seed_is_0_by_default():
    defaults = {
        f"{name} {parameter.name}": parameter.default
        for name, thing in ((name, getattr(shift, name)) for name in shift.__all__)
        if callable(thing)
        for parameter in inspect.signature(thing).parameters.values()
        if parameter.name == "seed" and parameter.default is not parameter.empty
    }
    assert len(defaults) > 5
    assert {name: value for name, value in defaults.items() if value != 0} == {}


def test_a_confusion_matrix_of_one_row(unchecked):
    one, none = torch.tensor([1]), torch.empty(0, dtype=torch.long)
    assert shift.joint_confusion(one, one, n_classes=2).tolist() == [[0, 0], [0, 1]]
    with pytest.raises(ValueError, match="predictions must be class numbers from 0 to 1, at least one"):
        shift.joint_confusion(none, none, n_classes=2)


def test_the_fisher_of_one_example(unchecked):
    model, x = nn.Linear(3, 2), torch.ones(1, 3)
    assert (shift.diagonal_fisher(model, x, torch.tensor([1]))["weight"] > 0).all()
    with pytest.raises(ValueError, match="0 inputs and 0 labels; give one for each, at least one"):
        shift.diagonal_fisher(model, x[:0], torch.empty(0, dtype=torch.long))


@pytest.mark.parametrize("values", [torch.full((2, 2), 0.25), torch.ones(1), torch.tensor([0.5, torch.nan])])
def test_shares_are_one_for_each_of_two_classes_or_more(values: torch.Tensor):
    with pytest.raises(ValueError, match=r"wanted are .* give one share for each class, two classes or more"):
        shares(values, "wanted")
    assert shares(torch.tensor([0.25, 0.75]), "wanted").tolist() == [0.25, 0.75]


@pytest.mark.parametrize("bad", [{"dim": 0}, {"n_classes": 1}, {"lr": 0.0}, {"lr": -0.1}, {"lr": float("nan")}])
def test_the_smallest_online_model(bad: dict[str, float]):
    smallest = {"dim": 1, "n_classes": 2, "lr": 1e-3}
    assert shift.OnlineLogistic(**smallest).predict(torch.ones(1)) == 0
    with pytest.raises(ValueError, match="give 1, 2 or more, and a rate above 0"):
        shift.OnlineLogistic(**(smallest | bad))


def test_two_examples_are_enough_for_statistics(classifier, pictures):
    model, two = classifier(), pictures(2)
    shift.adapt_batch_norm(model, two)
    features = model.backbone.conv(two.pixels.float() / 255)
    torch.testing.assert_close(model.backbone.norm.running_mean.cpu(), features.detach().cpu().mean(dim=(0, 2, 3)))


def test_a_stream_of_one_item(unchecked):
    one = torch.ones(1, 1), torch.tensor([0])
    assert shift.prequential(shift.OnlineLogistic(1, 2), *one).right.tolist() == [1.0]
    with pytest.raises(ValueError, match="0 inputs"):
        shift.prequential(shift.OnlineLogistic(1, 2), one[0][:0], one[1][:0])


def test_certain_predictions_are_probabilities():
    sure = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    assert shift.em_priors(sure, torch.tensor([0.5, 0.5])).target.tolist() == pytest.approx([0.25, 0.75])


@pytest.mark.parametrize("swap", [False, True])
def test_a_class_that_only_one_domain_predicts(swap: bool):
    domains = (torch.tensor([0, 0, 0, 1, 1, 1]), torch.zeros(6, dtype=torch.long))
    several = shares_test(*(reversed(domains) if swap else domains))
    assert several == pytest.approx(chi2.sf(4.0, df=1))  # by hand: (3 − 1.5)² / 1.5 · 2 + (3 − 4.5)² / 4.5 · 2
    assert shares_test(domains[1], domains[1]) == 1.0


def test_the_mmd_of_pairs_by_hand():
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[3.0], [5.0]])
    kernel = {gap: torch.exp(torch.tensor(-(gap**2) / (2 * 1.5**2))) for gap in (1.0, 2.0, 5.0)}
    expected = kernel[1.0] + kernel[2.0] - kernel[5.0] - kernel[2.0]
    torch.testing.assert_close(shift.linear_mmd2(x, y, bandwidth=1.5), expected)


def test_the_next_class_is_the_one_above():
    labels = torch.arange(60) % 3
    made = shift.concept_shift(torch.arange(60.0), labels, share=1.0, n_classes=3)
    assert made.target_labels.tolist() == ((labels[made.target] + 1) % 3).tolist()
