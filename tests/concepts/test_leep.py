"""LEEP against a plain double loop, and toys with known answers."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tlcourse.concepts import leep


def by_loops(theta: list[list[float]], labels: list[int]) -> float:
    """The paper's three steps, one number at a time."""
    n, sources, targets = len(theta), range(len(theta[0])), sorted(set(labels))
    joint = {(y, z): sum(theta[i][z] for i in range(n) if labels[i] == y) / n for y in targets for z in sources}
    marginal = {z: sum(joint[y, z] for y in targets) for z in sources}
    total = 0.0
    for i in range(n):
        total += math.log(sum(joint[labels[i], z] / marginal[z] * theta[i][z] for z in sources if marginal[z] > 0))
    return total / n


def probabilities(n: int, sources: int, sharpness: float, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.softmax(sharpness * torch.randn(n, sources, generator=generator), dim=1)


@given(st.integers(2, 20), st.integers(1, 8), st.sampled_from([0.1, 1.0, 10.0]), st.integers(0, 10**6), st.data())
def test_equals_the_double_loop(n: int, sources: int, sharpness: float, seed: int, data: st.DataObject):
    theta = probabilities(n, sources, sharpness, seed)
    labels = data.draw(st.lists(st.integers(-3, 3), min_size=n, max_size=n).filter(lambda y: len(set(y)) > 1))
    found = leep(theta, torch.tensor(labels))
    assert found == pytest.approx(by_loops(theta.double().tolist(), labels), abs=1e-9)
    assert found <= 1e-12


def test_source_that_knows_the_classes_scores_zero():
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    theta = torch.nn.functional.one_hot(torch.tensor([3, 0, 4])[labels], 6).float()  # source classes 1, 2, 5 never
    assert leep(theta, labels) == pytest.approx(0, abs=1e-12)


def test_source_that_says_always_the_same_scores_the_entropy_of_the_labels():
    labels = torch.tensor([0] * 6 + [1] * 3 + [2])
    theta = torch.tensor([[0.5, 0.2, 0.3]]).expand(10, 3)
    entropy = -sum(p * math.log(p) for p in (0.6, 0.3, 0.1))
    assert leep(theta, labels) == pytest.approx(-entropy, abs=1e-7)


def test_toy_worked_out_by_hand():
    # P(y, z): y = 0 → (0.4, 0.1), y = 1 → (0.15, 0.35); P(y=0 | z) = 8/11 and 2/9.
    theta = torch.tensor([[0.9, 0.1], [0.7, 0.3], [0.5, 0.5], [0.1, 0.9]])
    first, second = 8 / 11, 2 / 9
    expected = (
        math.log(0.9 * first + 0.1 * second)
        + math.log(0.7 * first + 0.3 * second)
        + math.log(0.5 * (1 - first) + 0.5 * (1 - second))
        + math.log(0.1 * (1 - first) + 0.9 * (1 - second))
    ) / 4
    assert leep(theta, torch.tensor([0, 0, 1, 1])) == pytest.approx(expected, abs=1e-7)


@given(st.floats(0.01, 100).filter(lambda factor: abs(factor - 1) > 1e-2), st.integers(0, 3))
def test_refuses_rows_that_are_no_distributions(factor: float, row: int):
    theta = probabilities(4, 3, 1.0, 0)
    theta[row] *= factor
    with pytest.raises(ValueError, match="apply softmax"):
        leep(theta, torch.tensor([0, 1, 0, 1]))


def test_refuses_negative_probabilities():
    with pytest.raises(ValueError, match="apply softmax"):
        leep(torch.tensor([[1.5, -0.5], [0.5, 0.5]]), torch.tensor([0, 1]))
