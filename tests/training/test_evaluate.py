from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import balanced_accuracy_score
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from tlcourse import training
from tlcourse.training.evaluation import balanced_accuracy, evaluate_on


class Logits(nn.Module):
    """Returns its input; batch norm tells whether evaluation mode is kept."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x)


def sample(n: int = 50) -> TensorDataset:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (n,), generator=generator)  # class 3 never occurs
    return TensorDataset(torch.randn(n, 4, generator=generator) + F.one_hot(labels, 4), labels)


@pytest.mark.parametrize("batch_size", [7, 256])
def test_numbers_are_those_of_scikit_learn(batch_size: int):
    x, labels = sample()[:]
    found = training.evaluate(Logits(), sample(), batch_size=batch_size)
    logits = x / (1 + 1e-5) ** 0.5
    assert torch.equal(found.predictions, logits.argmax(dim=1))
    assert found.accuracy == pytest.approx(float((logits.argmax(1) == labels).double().mean()))
    assert found.loss == pytest.approx(F.cross_entropy(logits, labels).item(), abs=1e-6)
    assert found.n == 50


def test_balanced_accuracy_is_scikit_learns():
    guess, truth = torch.tensor([0, 0, 1, 1, 1, 2]), torch.tensor([0, 2, 1, 1, 2, 2])
    assert balanced_accuracy(guess, truth) == pytest.approx(balanced_accuracy_score(truth, guess))
    assert balanced_accuracy(torch.tensor([0, 3, 3]), torch.tensor([0, 0, 2])) == pytest.approx(0.25)


@pytest.mark.parametrize("training_mode", [True, False])
def test_leaves_mode_and_statistics_alone(training_mode: bool):
    model = Logits().train(training_mode)
    training.evaluate(model, sample())
    assert model.training is training_mode
    assert model.norm.running_mean.abs().max() == 0


def test_refuses_empty_data_and_labels_without_an_output():
    x, labels = sample()[:]
    with pytest.raises(ValueError, match="empty"):
        training.evaluate(Logits(), TensorDataset(x[:0], labels[:0]))
    with pytest.raises(ValueError, match="one output for each class"):
        training.evaluate(Logits(), TensorDataset(x, labels + 2))
    with pytest.raises(ValueError, match="batch_size"):
        training.evaluate(Logits(), sample(), batch_size=0)


def test_a_part_held_in_evaluation_mode_stays_there():
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5), nn.Linear(3, 2)).train()
    model[1].eval()
    training.evaluate(model, TensorDataset(torch.randn(6, 3), torch.arange(6) % 2))
    assert [module.training for module in model] == [True, False, True]


def test_labels_that_are_numbers_have_a_loss_and_no_accuracy():
    numbers = TensorDataset(torch.randn(9, 4), torch.randn(9, 4))
    found = evaluate_on(Logits(), numbers, torch.device("cpu"), loss=F.mse_loss, batch_size=4)
    expected = F.mse_loss(Logits().eval()(numbers[:][0]), numbers[:][1])
    assert found.loss == pytest.approx(float(expected), abs=1e-6)
    assert math.isnan(found.accuracy)
    assert math.isnan(found.balanced_accuracy)
    assert len(found.predictions) == 0


def test_classes_counted_in_32_bits_are_classes():
    x, labels = sample()[:]
    found = training.evaluate(Logits(), TensorDataset(x, labels.int()))
    assert found.accuracy == training.evaluate(Logits(), sample()).accuracy
