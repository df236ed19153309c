"""Self-training: which guesses are believed, where it helps, and where it repeats an error."""

from __future__ import annotations

import pytest
import torch

from tlcourse import shift, training


def test_the_surest_of_each_class_are_kept():
    p = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.95, 0.05], [0.4, 0.6]])
    assert shift.surest(p, 0.5).tolist() == [True, False, False, True, True]
    assert shift.surest(p, 0.01).tolist() == [False, False, False, True, True]
    assert shift.surest(p, 1.0).all()


@pytest.fixture
def domains(gaussian):
    """Two classes on a diagonal; the target is moved along it, and its second column tells the classes apart better."""
    labels = torch.arange(400) % 2
    side = (2.0 * labels - 1)[:, None]
    source = 0.7 * gaussian(400, dim=2) + side * torch.tensor([1.0, 0.4])
    target = 0.4 * gaussian(400, seed=1, dim=2) + side * torch.tensor([0.5, 2.0]) + torch.tensor([0.0, 2.2])
    return source, target, labels


def test_it_helps_where_the_classes_are_apart_and_believes_everything_in_the_end(domains):
    source, target, labels = domains
    before = training.probe(source, labels).accuracy(target, labels)
    found = shift.self_train(source, labels, target)
    assert before < 0.95
    assert found.probe.accuracy(target, labels) > before + 0.02
    assert torch.equal(found.labels, found.probe.predict(target))
    assert found.kept.all()


def test_one_round_believes_all_guesses_of_the_first_probe(domains):
    source, target, labels = domains
    first = training.probe(source, labels)
    both = torch.cat([source, target]), torch.cat([labels, first.predict(target)])
    expected = training.probe(*both)
    found = shift.self_train(source, labels, target, rounds=1)
    torch.testing.assert_close(found.probe.weight, expected.weight, atol=1e-4, rtol=1e-4)


def test_belief_grows_round_by_round(domains):
    source, target, labels = domains
    expected = training.probe(source, labels)
    for share in (0.5, 1.0):
        kept = shift.surest(expected.scores(target).softmax(dim=1), share)
        guesses = expected.predict(target)[kept]
        expected = training.probe(torch.cat([source, target[kept]]), torch.cat([labels, guesses]))
    found = shift.self_train(source, labels, target, rounds=2)
    torch.testing.assert_close(found.probe.weight, expected.weight, atol=1e-4, rtol=1e-4)
    at_once = shift.self_train(source, labels, target, rounds=1)
    assert not torch.allclose(found.probe.weight, at_once.probe.weight, atol=1e-3)


def test_wrong_guesses_are_learned_too(gaussian):
    """The classes have changed sides: self-training makes the first probe's error its own."""
    labels = torch.arange(200) % 2
    source = gaussian(200, dim=1) + 4.0 * labels[:, None]
    target = gaussian(200, seed=1, dim=1) + 4.0 * (1 - labels)[:, None]
    assert shift.self_train(source, labels, target).probe.accuracy(target, labels) < 0.1


def test_bad_input(unchecked, gaussian):
    labels = torch.arange(9) % 2
    with pytest.raises(ValueError, match="source is 4 wide and target 3"):
        shift.self_train(gaussian(9), labels, gaussian(9, dim=3))
    with pytest.raises(ValueError, match="rounds is 0"):
        shift.self_train(gaussian(9), labels, gaussian(9), rounds=0)
    with pytest.raises(ValueError, match=r"labels are .* expected 9 class numbers"):
        shift.self_train(gaussian(9), labels[:8], gaussian(9))
    with pytest.raises(ValueError, match=r"share is 0\.0"):
        shift.surest(torch.ones(3, 2) / 2, 0.0)
