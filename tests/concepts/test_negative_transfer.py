"""Pooling a source that agrees helps, one that contradicts hurts, and its weight says how much."""

import pytest
import torch

from tlcourse import concepts, training


def domain(n: int, rule: torch.Tensor, seed: int):
    features = torch.randn(n, len(rule), generator=torch.Generator().manual_seed(seed))
    return features, (features @ rule > 0).long()


RULE = torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
OTHER = torch.tensor([1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])


def test_a_source_with_the_same_rule_helps_and_one_with_another_hurts():
    target, test = domain(12, RULE, 1), domain(2000, RULE, 2)
    alone = concepts.pooled_accuracy(domain(400, RULE, 3), target, test, source_weight=0.0)
    assert alone == training.probe(*target, l2=10.0).balanced_accuracy(*test)
    assert concepts.pooled_accuracy(domain(400, RULE, 3), target, test) > alone + 0.1
    assert concepts.pooled_accuracy(domain(400, OTHER, 3), target, test) < alone - 0.1


def test_weight_goes_from_source_to_target():
    source, target, test = domain(400, OTHER, 3), domain(60, RULE, 1), domain(2000, RULE, 2)
    accuracy = [concepts.pooled_accuracy(source, target, test, source_weight=w) for w in (1.0, 0.1, 0.01)]
    assert accuracy == sorted(accuracy)
    assert accuracy[-1] > accuracy[0] + 0.2


def test_gain_is_paired():
    gain = concepts.transfer_gain([0.5, 0.7, 0.9], [0.4, 0.6, 0.8])
    assert gain.mean == pytest.approx(0.1)
    assert gain.high - gain.low < 1e-6


def test_bad_input():
    target = domain(12, RULE, 1)
    with pytest.raises(ValueError, match="source_weight is -1"):
        concepts.pooled_accuracy(target, target, target, source_weight=-1.0)
    with pytest.raises(ValueError, match="pair them run by run"):
        concepts.transfer_gain([0.5, 0.6], [0.4])
