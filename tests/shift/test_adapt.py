"""The common loop: on vectors and on pictures; what each method reads, moves and leaves."""

from __future__ import annotations

import copy
import time
from dataclasses import replace

import pytest
import torch

from tlcourse import models, shift, training

METHODS = {
    "coral": lambda dim: shift.weighted(shift.coral_loss),
    "mmd": lambda dim: shift.weighted(shift.mmd_loss),
    "dann": lambda dim: shift.Adversary(dim, hidden=16),
}


@pytest.fixture
def moons(table):
    """moons(angle, seed): two half-moons, turned."""
    from sklearn.datasets import make_moons

    def make(angle: float, seed: int):
        points, labels = make_moons(300, noise=0.08, random_state=seed)
        turn = torch.tensor(angle).deg2rad()
        matrix = torch.tensor([[turn.cos(), turn.sin()], [-turn.sin(), turn.cos()]])
        features = (torch.from_numpy(points).float() - torch.tensor([0.5, 0.25])) @ matrix
        return table(features, torch.from_numpy(labels).long())

    return make


def small(seed: int) -> models.Classifier:
    """Two hidden layers; the features are what the second one gives before its ReLU."""
    return models.Classifier(models.MLP([2, 32, 16], seed=seed), 2, seed=seed)


def run(method: str | None, moons, **settings) -> tuple[models.Classifier, shift.Adaptation]:
    model = small(0)
    penalty = METHODS[method](16) if method else None
    source, target = moons(0.0, 0), moons(35.0, 50)
    return model, shift.adapt(model, source, target, penalty=penalty, lr=0.005, batch_size=100, **settings)


def test_dann_and_mmd_turn_from_a_feature_that_moved(table):
    """Two columns tell the classes apart, and the better one has moved. CORAL does not look at means: no gain there."""

    def domain(offset: float, seed: int):
        noise = 0.7 * torch.randn(400, 2, generator=torch.Generator().manual_seed(seed))
        labels = torch.arange(400) % 2
        side = 2.0 * labels - 1
        return table(noise + torch.stack([1.5 * side + offset, 1.2 * side], dim=1), labels)

    found = {}
    for name, penalty in ((None, None), *((name, make(8)) for name, make in METHODS.items())):
        model = models.Classifier(models.MLP([2, 16, 8]), 2)
        shift.adapt(model, domain(0.0, 0), domain(3.0, 1), penalty=penalty, steps=120, lr=0.005)
        found[name] = training.evaluate(model, domain(3.0, 2)).accuracy
    assert found[None] < 0.75, found
    assert min(found["dann"], found["mmd"]) > found[None] + 0.08, found
    assert found["coral"] < found[None] + 0.08, found


@pytest.mark.parametrize("method", METHODS)
def test_the_features_become_more_alike(moons, method: str):
    plain, _ = run(None, moons, steps=100)
    aligned, record = run(method, moons, steps=100, weight=3.0)
    source, target = moons(0.0, 0).features, moons(35.0, 50).features
    distance = shift.coral_loss if method == "coral" else shift.mmd_loss
    with torch.no_grad():
        before, after = (
            distance(*(shift.standardise(m.backbone(torch.cat([source, target]))).split(300))) for m in (plain, aligned)
        )
    assert after < before
    assert len(record.losses) == len(record.penalties) == 100
    assert record.losses[-1] < record.losses[0]


def test_target_labels_are_never_read(moons, table):
    a, b = small(0), small(0)
    source, target = moons(0.0, 0), moons(35.0, 1)
    scrambled = table(target.features, 1 - target.labels)
    for model, domain in ((a, target), (b, scrambled)):
        shift.adapt(model, source, domain, penalty=shift.weighted(shift.coral_loss), steps=5)
    for one, other in zip(a.parameters(), b.parameters(), strict=True):
        assert torch.equal(one, other)


def test_weight_zero_is_source_only_and_the_seed_decides(moons):
    source, target = moons(0.0, 0), moons(35.0, 1)

    def weights(penalty, seed=0, weight=1.0):
        model = small(0)
        shift.adapt(model, source, target, penalty=penalty, steps=6, seed=seed, weight=weight)
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    penalty = shift.weighted(shift.coral_loss)
    state = torch.get_rng_state()
    torch.testing.assert_close(weights(penalty, weight=0.0), weights(None))
    assert torch.equal(weights(penalty), weights(penalty))
    assert not torch.equal(weights(penalty), weights(penalty, seed=1))
    assert not torch.equal(weights(penalty), weights(None))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_strength_follows_the_ramp(moons):
    seen = []

    def penalty(source, target, strength):
        seen.append(strength)
        return 0 * source.sum()

    shift.adapt(small(0), moons(0.0, 0), moons(35.0, 1), penalty=penalty, steps=4, weight=0.5)
    assert seen == pytest.approx([0.5 * shift.ramp(k / 4) for k in range(4)])


def test_batch_norm_sees_one_domain_at_a_time_and_ends_with_the_target(classifier, pictures):
    source, target = pictures(64), pictures(48, bright=80, seed=1)
    means = []
    model = classifier().train()
    handle = model.backbone.norm.register_forward_pre_hook(lambda _, inputs: means.append(inputs[0].mean().item()))
    shift.adapt(model, source, target, penalty=shift.weighted(shift.coral_loss), steps=5, batch_size=32, lr=1e-6)
    handle.remove()
    pairs = torch.tensor(means[:10]).reshape(5, 2)
    assert (pairs[:, 0] - pairs[:, 1]).abs().min() > 10 * pairs.std(dim=0).max()
    expected = copy.deepcopy(model)
    shift.adapt_batch_norm(expected, target)
    torch.testing.assert_close(model.backbone.norm.running_mean, expected.backbone.norm.running_mean)
    assert not model.training
    only = classifier()
    shift.adapt(only, source, target, penalty=None, steps=1, batch_size=32)
    shift.adapt_batch_norm(expected := copy.deepcopy(only), source)
    torch.testing.assert_close(only.backbone.norm.running_mean, expected.backbone.norm.running_mean)


def test_the_adversary_learns_along(moons):
    adversary = shift.Adversary(16)
    before = copy.deepcopy(adversary.state_dict())
    shift.adapt(small(0), moons(0.0, 0), moons(35.0, 1), penalty=adversary, steps=1)
    for name, tensor in adversary.state_dict().items():
        assert not torch.equal(tensor, before[name]), name


def test_the_defaults_are_adam_at_a_thousandth_on_batches_of_64_at_full_weight(moons):
    source, target = moons(0.0, 0), moons(35.0, 1)
    seen = []

    def penalty(a, b, strength):
        seen.append((len(a), len(b), strength))
        return strength * shift.coral_loss(a, b)

    plain, given = small(0), small(0)
    shift.adapt(plain, source, target, penalty=penalty, steps=3)
    assert seen == [(64, 64, pytest.approx(shift.ramp(k / 3))) for k in range(3)]
    adam = {"optimizer": lambda parameters: torch.optim.Adam(parameters, lr=1e-3)}
    shift.adapt(given, source, target, penalty=penalty, steps=3, **adam)
    for one, other in zip(plain.parameters(), given.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_both_domains_are_walked_through_in_orders_of_their_own(moons):
    """The same rows in both domains, and yet other batches."""
    rows, batches = moons(0.0, 0), []
    model = small(0)
    model.backbone.register_forward_pre_hook(lambda _, inputs: batches.append(inputs[0].clone()))
    shift.adapt(model, rows, rows, penalty=shift.weighted(shift.coral_loss), steps=2, batch_size=100)
    assert len(batches) == 4
    assert not torch.equal(batches[0], batches[1])
    assert not torch.equal(batches[2], batches[3])


def test_the_seconds_are_those_of_the_training(moons):
    begun = time.perf_counter()
    made = shift.adapt(small(0), moons(0.0, 0), moons(35.0, 1), penalty=None, steps=2)
    assert 0 < made.seconds < time.perf_counter() - begun
    assert made.penalties == ()


def test_one_step_goes_down_the_sum_of_loss_and_penalty(moons):
    source, target = moons(0.0, 0), moons(35.0, 1)
    model, expected = small(0), small(0)
    sgd = {"optimizer": lambda parameters: torch.optim.SGD(parameters, lr=0.1), "batch_size": 300}
    made = shift.adapt(model, source, target, penalty=lambda a, b, _: 3 * shift.coral_loss(a, b), steps=1, **sgd)
    a, b = expected.backbone(source.features), expected.backbone(target.features)
    loss = torch.nn.functional.cross_entropy(expected.head(a), source.labels)
    (loss + 3 * shift.coral_loss(a, b)).backward()
    assert made.losses[0] == pytest.approx(loss.item(), rel=1e-5)
    assert made.penalties[0] == pytest.approx(3 * shift.coral_loss(a, b).item(), rel=1e-4)
    for found, start in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(found, start - 0.1 * start.grad, atol=1e-5, rtol=1e-4)


def test_bad_input(moons, classifier, pictures, unchecked):
    source, target = moons(0.0, 0), moons(35.0, 1)
    penalty = shift.weighted(shift.coral_loss)
    with pytest.raises(ValueError, match=r"source has the classes a, b and target b, a; keep those that both have"):
        shift.adapt(small(0), source, replace(target, classes=("b", "a")), penalty=penalty, steps=1)
    with pytest.raises(ValueError, match="source has the classes a, b and target a, b, c"):
        shift.adapt(small(0), source, replace(target, classes=("a", "b", "c")), penalty=penalty, steps=1)
    with pytest.raises(ValueError, match="source is a Table and target a Images"):
        shift.adapt(small(0), source, pictures(), penalty=penalty, steps=1)
    with pytest.raises(ValueError, match="steps is 0, batch_size 64, and the domains have 300 and 300"):
        shift.adapt(small(0), source, target, penalty=penalty, steps=0)
    three = [replace(d, classes=("a", "b", "c"), labels=d.labels + 1) for d in (source, target)]
    with pytest.raises(ValueError, match="labels run from 1 to 2, but the model has 2 outputs"):
        shift.adapt(small(0), *three, penalty=penalty, steps=1)
    with pytest.raises(FloatingPointError, match="training loss is"):
        shift.adapt(small(0), source, target, penalty=penalty, steps=5, lr=1e30)
