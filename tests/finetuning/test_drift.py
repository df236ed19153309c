"""Drift of features and weights, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tlcourse.finetuning import depths, feature_drift, weight_drift


def test_feature_drift_by_hand():
    before = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    after = torch.tensor([[3.0, 1.0], [2.0, 2.0]])
    assert feature_drift(before, after) == pytest.approx((3 / 5 + 2 / 2) / 2)
    assert feature_drift(after, before) == pytest.approx((3 / 10**0.5 + 2 / 8**0.5) / 2)


def test_feature_drift_of_nothing_of_scale_and_of_a_turn():
    before = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    assert feature_drift(before, before.clone()) == 0
    assert feature_drift(before, 2 * before) == pytest.approx(1)
    assert feature_drift(before, -before) == pytest.approx(2)
    assert feature_drift(7 * before, 7 * before + 0.7) == pytest.approx(feature_drift(before, before + 0.1), rel=1e-5)
    assert feature_drift(before, torch.zeros_like(before)) == pytest.approx(1)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (torch.ones(3, 2), torch.ones(4, 2)),
        (torch.ones(3, 2), torch.ones(3, 1)),
        (torch.ones(3), torch.ones(3)),
        (torch.ones(0, 2), torch.ones(0, 2)),
    ],
)
def test_features_of_other_examples(before: torch.Tensor, after: torch.Tensor):
    with pytest.raises(ValueError, match=r"before has shape \(.*\) and after \(.*\); give features of the same"):
        feature_drift(before, after)


def test_an_example_of_zeros_has_no_length():
    with pytest.raises(ValueError, match="features are all 0; there is no length to compare with"):
        feature_drift(torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.ones(2, 2))


def two_layers() -> nn.Module:
    model = nn.Sequential(nn.Linear(2, 1), nn.Linear(1, 1))
    for parameter, value in zip(model.parameters(), ([[3.0, 0.0]], [4.0], [[2.0]], [0.0]), strict=True):
        parameter.data = torch.tensor(value)
    return model


def test_weight_drift_by_hand():
    model = two_layers()
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    with torch.no_grad():
        model[0].weight += torch.tensor([[0.0, 3.0]])
        model[0].bias += 4
        model[1].bias += 1
    found = weight_drift(model, start, depths(model, stages=["0"]))
    assert found == pytest.approx({0: 5 / 5, 1: 1 / 2})
    assert list(found) == [0, 1]
    together = weight_drift(model, start, dict.fromkeys(start, 7))
    assert together == pytest.approx({7: (26 / 29) ** 0.5})


def test_weight_drift_goes_from_shallow_to_deep_and_is_zero_where_nothing_moved():
    model = two_layers()
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    assert weight_drift(model, start, {name: 3 - int(name[0]) for name in start}) == {2: 0.0, 3: 0.0}
    assert list(weight_drift(model, start, {name: 3 - int(name[0]) for name in start})) == [2, 3]


def test_a_new_head_is_left_out():
    model = two_layers()
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    start["1.weight"] = torch.zeros(5, 1)
    del start["1.bias"]
    assert list(weight_drift(model, start, depths(model, stages=["0"]))) == [0]


def test_a_start_in_another_type_and_with_a_graph():
    model = two_layers()
    start = {name: p.double() * 2 for name, p in model.named_parameters()}
    found = weight_drift(model, start, depths(model, stages=["0"]))
    assert found == pytest.approx({0: 0.5, 1: 0.5})
    assert all(isinstance(value, float) for value in found.values())


def test_weights_that_began_at_zero():
    model = two_layers()
    start = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    found = weight_drift(model, start, dict.fromkeys(start, 0))
    assert found[0] > 1e6
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert weight_drift(model, start, dict.fromkeys(start, 0)) == {0: 0.0}


def test_nothing_in_common():
    model = two_layers()
    for start in ({}, {"0.weight": torch.zeros(9)}, {"other": torch.zeros(1, 2)}):
        with pytest.raises(ValueError, match="no parameter of this model; clone its named_parameters"):
            weight_drift(model, start, depths(model, stages=["0"]))
