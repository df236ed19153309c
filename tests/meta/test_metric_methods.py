"""Metric methods: equal to plain loops and to easyfsl, blind to the order of classes, and able to learn."""

from __future__ import annotations

import math

import easyfsl.methods
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tlcourse import meta, models

WAY, SHOT, QUERY, DIM, TASKS = 4, 3, 5, 6, 2


def episodes(*shape: int, seed: int = 0, tasks: int = TASKS) -> meta.Episodes:
    """Episodes of random items, the examples of a class not side by side."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.stack([torch.randperm(WAY * SHOT, generator=generator) for _ in range(tasks)])
    return meta.Episodes(
        support=torch.randn(tasks, WAY * SHOT, *shape, generator=generator),
        support_labels=order % WAY,
        query=torch.randn(tasks, WAY * QUERY, *shape, generator=generator),
        query_labels=torch.arange(WAY).repeat_interleave(QUERY).expand(tasks, -1),
        classes=torch.arange(WAY).expand(tasks, -1),
    )


def test_prototypes_and_distances_are_those_of_a_loop():
    found = episodes(DIM)
    means = meta.prototypes(found.support, found.support_labels, WAY)
    distances = meta.squared_distances(found.query, means)
    for t in range(TASKS):
        for c in range(WAY):
            mean = found.support[t][found.support_labels[t] == c].mean(dim=0)
            torch.testing.assert_close(means[t, c], mean)
            for q in range(3):
                assert distances[t, q, c].item() == pytest.approx(
                    ((found.query[t, q] - mean) ** 2).sum().item(), rel=1e-4
                )


def test_easyfsl_gives_the_root_of_our_distances():
    found = episodes(DIM)
    ours = meta.PrototypicalNetwork(nn.Identity())(found)
    for t in range(TASKS):
        peer = easyfsl.methods.PrototypicalNetworks(nn.Identity())
        peer.process_support_set(found.support[t], found.support_labels[t])
        torch.testing.assert_close(ours[t], F.log_softmax(-peer(found.query[t]).square(), dim=1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("in_context", [False, True])
def test_matching_equals_easyfsl(in_context):
    found = episodes(DIM)
    context = meta.FullContext(DIM) if in_context else None
    peer = easyfsl.methods.MatchingNetworks(nn.Identity(), feature_dimension=DIM)
    if context is not None:
        peer.support_features_encoder, peer.query_features_encoding_cell = context.both_ways, context.reader
    else:
        peer.encode_support_features = peer.encode_query_features = lambda features: features
    for t in range(TASKS):
        with torch.no_grad():
            one = found.take(slice(t, t + 1))
            support, query = (one.support, one.query) if context is None else context(one.support, one.query)
            attention = (query @ F.normalize(support, dim=-1).mT).softmax(dim=-1)  # easyfsl leaves queries their length
            ours = (meta.vote(attention, one.support_labels, WAY) + 1e-6).log()
            peer.process_support_set(found.support[t], found.support_labels[t])
            torch.testing.assert_close(ours[0], peer(found.query[t]), rtol=1e-4, atol=1e-5)


def test_the_attention_kernel_is_a_softmax_of_cosines():
    found = episodes(DIM)
    weights = meta.attention_kernel(found.query, found.support, sharpness=3.0)
    q, s = found.query[1, 2], found.support[1]
    cosines = torch.stack([q @ row / q.norm() / row.norm() for row in s])
    torch.testing.assert_close(weights[1, 2], (3 * cosines).softmax(dim=0))
    torch.testing.assert_close(
        meta.attention_kernel(5 * found.query, found.support), meta.attention_kernel(found.query, found.support)
    )
    probabilities = meta.MatchingNetwork(nn.Identity())(found).exp()
    torch.testing.assert_close(probabilities.sum(dim=-1), torch.ones(TASKS, WAY * QUERY))


def test_the_paper_s_kernel_cannot_be_sure():
    support = torch.eye(5)[None]
    assert meta.attention_kernel(support, -support + 2 * support * torch.eye(5)).max() < 0.66


def test_relation_scores_are_those_of_all_pairs():
    """Against easyfsl with the same layers on every concatenated pair."""
    found = episodes(3, 7, 7)
    module = meta.RelationModule(3, hidden=4).eval()

    class Pairs(nn.Module):
        def forward(self, pairs):
            return module.score(module.second(module.first(module.pair(pairs))).mean(dim=(2, 3)))

    ours = meta.RelationNetwork(nn.Identity(), module)(found)
    for t in range(TASKS):
        peer = easyfsl.methods.RelationNetworks(nn.Identity(), feature_dimension=3, relation_module=Pairs())
        peer.process_support_set(found.support[t], found.support_labels[t])
        torch.testing.assert_close(ours[t], peer(found.query[t]), rtol=1e-4, atol=1e-5)
    scores = F.one_hot(found.query_labels, WAY).float()
    loss = meta.RelationNetwork(nn.Identity(), module).loss(found)
    assert loss.item() == pytest.approx(((ours - scores) ** 2).mean().item(), rel=1e-5)


METHODS = {
    "prototypical": lambda: meta.PrototypicalNetwork(meta.Conv4(width=4)),
    "matching": lambda: meta.MatchingNetwork(meta.Conv4(width=4)),
    "matching in context": lambda: meta.MatchingNetwork(meta.Conv4(width=4), context=meta.FullContext(4, steps=2)),
    "relation": lambda: meta.RelationNetwork(meta.ConvMaps(width=4), meta.RelationModule(4)),
}


@pytest.mark.parametrize("name", METHODS)
def test_other_numbers_for_the_classes_permute_the_scores(name):
    """Nothing may depend on which class has which number; batch norm in evaluation mode."""
    method, found = METHODS[name]().eval(), episodes(1, 16, 16)
    turned = meta.Episodes(
        found.support, (found.support_labels + 1) % WAY, found.query, found.query_labels, found.classes
    )
    torch.testing.assert_close(method(turned), method(found).roll(1, dims=-1), rtol=1e-4, atol=1e-5)
    assert method(found).shape == (TASKS, WAY * QUERY, WAY)


@pytest.mark.parametrize("name", METHODS)
def test_episodes_do_not_see_each_other(name):
    method, found = METHODS[name]().eval(), episodes(1, 16, 16)
    alone = method(found.take(slice(1, 2)))
    torch.testing.assert_close(method(found)[1:], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_training_moves_every_weight_and_lowers_the_loss(name):
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(6, 1, 16, 16, generator=generator)
    labels = torch.arange(6).repeat_interleave(8)
    items = means[labels] + 0.3 * torch.randn(48, 1, 16, 16, generator=generator)
    method = METHODS[name]()
    before = {k: p.detach().clone() for k, p in method.named_parameters()}
    losses = meta.train_episodic(method, items, labels, steps=40, n_way=3, k_shot=2, n_query=2, tasks=2, lr=1e-2)
    assert len(losses) == 40
    assert sum(losses[-8:]) < 0.8 * sum(losses[:8])
    still = [k for k, p in method.named_parameters() if torch.equal(p, before[k]) and "bias" not in k]
    assert not still
    assert not method.training
    result = meta.evaluate_episodes(method, items, labels, episodes=120, n_way=3, k_shot=1, n_query=2)
    assert result.interval.mean > 0.6
    assert len(result.accuracy) == 120


def test_evaluation_embeds_once_and_that_changes_nothing():
    method = METHODS["prototypical"]().eval()
    labels = torch.arange(6).repeat_interleave(5)
    items = torch.randn(30, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    found = meta.evaluate_episodes(method, items, labels, episodes=10, n_way=3, n_query=2, at_once=5, seed=3)
    generator = torch.Generator().manual_seed(3)
    direct = []
    for _ in range(2):
        drawn = meta.sample_episodes(items, labels, tasks=5, n_way=3, k_shot=1, n_query=2, generator=generator)
        direct.append((method(drawn).argmax(-1) == drawn.query_labels).double().mean(dim=1))
    torch.testing.assert_close(found.accuracy, torch.cat(direct))
    with pytest.raises(ValueError, match="episodes is 1"):
        meta.evaluate_episodes(method, items, labels, episodes=1)
    with pytest.raises(ValueError, match="steps is 0"):
        meta.train_episodic(method, items, labels, steps=0, n_way=2)


class Watched(meta.PrototypicalNetwork):
    """Notes how many episodes come at once, and whether a graph is kept."""

    def __init__(self, embed: nn.Module) -> None:
        super().__init__(embed)
        self.seen: list[tuple[int, bool]] = []

    def compare(self, features):
        self.seen.append((len(features), torch.is_grad_enabled()))
        return super().compare(features)


def points(classes: int = 6, each: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Classes that overlap, in four dimensions."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(classes).repeat_interleave(each)
    return torch.randn(classes, 4, generator=generator)[labels] + torch.randn(
        len(labels), 4, generator=generator
    ), labels


def linear() -> meta.PrototypicalNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return meta.PrototypicalNetwork(nn.Linear(4, 3))


def test_episodes_come_some_at_once_and_no_more_than_needed():
    items, labels = points()
    method = Watched(nn.Identity())
    for episodes_, at_once, wanted in ((100, 50, 2), (101, 50, 3), (2, 1, 2), (7, 9, 1)):
        method.seen.clear()
        found = meta.evaluate_episodes(method, items, labels, episodes=episodes_, n_way=2, at_once=at_once)
        assert len(found.accuracy) == episodes_
        assert method.seen == [(at_once, False)] * wanted
    for bad in ({"episodes": 1}, {"at_once": 0}):
        with pytest.raises(ValueError, match="give 2 or more, and 1 or more"):
            meta.evaluate_episodes(method, items, labels, n_way=2, **bad)


def test_items_are_embedded_in_order_and_without_a_graph():
    embed, items = nn.Linear(4, 3), points()[0]
    with torch.no_grad():
        wanted = embed(items)
    for batch_size in (1, 5, 256):
        found = meta.embed_all(embed, items, batch_size=batch_size)
        assert not found.requires_grad
        torch.testing.assert_close(found.cpu(), wanted)


def test_by_default_600_episodes_of_five_ways_one_shot_and_three_queries():
    """50 at once, from seed 0: one of them changed would be another draw."""
    items, labels = points()
    default = meta.evaluate_episodes(linear(), items, labels)
    given = {"episodes": 600, "n_way": 5, "k_shot": 1, "n_query": 3, "seed": 0, "at_once": 50}
    assert len(default.accuracy) == 600
    assert torch.equal(default.accuracy, meta.evaluate_episodes(linear(), items, labels, **given).accuracy)
    other = meta.evaluate_episodes(linear(), items, labels, **{**given, "seed": 1})
    assert not torch.equal(default.accuracy, other.accuracy)


def test_by_default_training_has_one_episode_of_one_shot_and_three_queries_at_a_time():
    items, labels = points()
    default, given = linear(), linear()
    losses = meta.train_episodic(default, items, labels, steps=3, n_way=3)
    same = meta.train_episodic(
        given, items, labels, steps=3, n_way=3, k_shot=1, n_query=3, tasks=1, lr=1e-3, change=None, seed=0
    )
    assert losses == same
    assert torch.equal(default.embed.weight, given.embed.weight)


def test_training_is_adam_along_a_cosine():
    items, labels = points()
    ours, theirs = linear(), linear()
    losses = meta.train_episodic(ours, items, labels, steps=5, n_way=3, k_shot=2, n_query=2, tasks=4, lr=0.02, seed=7)
    generator, optimizer = torch.Generator().manual_seed(7), torch.optim.Adam(theirs.parameters())
    for step in range(5):
        optimizer.param_groups[0]["lr"] = 0.02 * (1 + math.cos(math.pi * step / 5)) / 2
        drawn = meta.sample_episodes(items, labels, tasks=4, n_way=3, k_shot=2, n_query=2, generator=generator)
        optimizer.zero_grad()
        loss = -theirs(drawn).gather(2, drawn.query_labels[:, :, None]).mean()
        assert losses[step] == pytest.approx(loss.item(), rel=1e-4)
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(ours.embed.weight, theirs.embed.weight, rtol=1e-4, atol=1e-6)


def test_support_and_query_of_every_batch_are_changed():
    items, labels = points()
    seen = []

    def change(part, generator):
        seen.append(part.shape)
        return part * torch.rand(len(part), 1, generator=generator)

    still = linear()
    losses = meta.train_episodic(linear(), items, labels, steps=2, n_way=3, k_shot=1, n_query=2, tasks=5, change=change)
    assert seen == [(15, 4), (30, 4)] * 2
    assert losses != meta.train_episodic(still, items, labels, steps=2, n_way=3, k_shot=1, n_query=2, tasks=5)
    nothing = meta.train_episodic(linear(), items, labels, steps=1, n_way=3, change=lambda part, _: 0 * part)
    assert nothing == pytest.approx([math.log(3)])  # all alike: every class is as likely


def test_one_step_is_enough_and_a_rate_must_be_above_0():
    items, labels = points()
    assert len(meta.train_episodic(linear(), items, labels, steps=1, n_way=2)) == 1
    for bad in ({"steps": 0}, {"steps": 1, "lr": 0.0}, {"steps": 1, "lr": -0.1}, {"steps": 1, "lr": float("nan")}):
        with pytest.raises(ValueError, match="give 1 or more, and a number above 0"):
            meta.train_episodic(linear(), items, labels, n_way=2, **bad)


def test_the_loss_is_the_mean_over_queries_and_episodes():
    found = episodes(DIM)
    method = meta.PrototypicalNetwork(nn.Identity())
    logs = [method(found)[t, q, found.query_labels[t, q]].item() for t in range(TASKS) for q in range(WAY * QUERY)]
    assert method.loss(found).item() == pytest.approx(-sum(logs) / len(logs), rel=1e-5)


def test_support_and_query_share_the_statistics_of_batch_norm():
    found, embed = episodes(DIM), nn.Sequential(nn.Flatten(0, 1), nn.BatchNorm1d(DIM), nn.Unflatten(0, (TASKS, -1)))
    features = meta.embedded(embed, found)
    everything = torch.cat([found.support, found.query], dim=1).flatten(0, 1)
    mean, spread = everything.mean(dim=0), everything.std(dim=0, correction=0)
    torch.testing.assert_close(features.support, (found.support - mean) / spread, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(features.query, (found.query - mean) / spread, rtol=1e-3, atol=1e-4)
    assert torch.equal(features.query_labels, found.query_labels)


def test_a_class_without_any_attention_is_not_impossible():
    """A log-probability of −∞ would be a loss that no step can mend: the least is a millionth."""
    corners = torch.eye(3)[None]
    numbers = torch.arange(3)[None]
    found = meta.MatchingNetwork(nn.Identity(), sharpness=1000.0)(
        meta.Episodes(corners, numbers, corners, numbers, numbers)
    )
    torch.testing.assert_close(found[0], math.log(1e-6) * (1 - torch.eye(3)))


def test_sharpness_is_10_in_the_network_and_1_in_the_paper_s_kernel():
    found = episodes(DIM)
    default, ten = meta.MatchingNetwork(nn.Identity()), meta.MatchingNetwork(nn.Identity(), sharpness=10.0)
    assert torch.equal(default(found), ten(found))
    one = meta.attention_kernel(found.query, found.support)
    assert torch.equal(one, meta.attention_kernel(found.query, found.support, sharpness=1.0))
    half = torch.tensor([[[1.0, 0.0], [0.5, math.sqrt(0.75)]]])  # cosines 1 and 1/2 with the first
    found = meta.attention_kernel(half[:, :1], half)[0, 0]
    assert (found[0] / found[1]).item() == pytest.approx(math.exp(0.5), rel=1e-5)


def test_centred_features_have_length_one():
    found = meta.centred(torch.tensor([[3.0, 5.0], [-2.0, 1.0], [0.0, -1.0]]), torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(found, torch.tensor([[0.6, 0.8], [-1.0, 0.0], [0.0, -1.0]]))


def test_conv4_is_the_one_of_the_models_for_any_leading_dimensions():
    ours, theirs = meta.Conv4(2, 8), models.Conv4(2, 8)
    ours.load_state_dict(theirs.state_dict())
    pictures = torch.randn(3, 4, 2, 28, 28)
    for net in (ours, theirs):
        net.train()
    torch.testing.assert_close(
        ours(pictures), theirs(pictures.flatten(0, 1)).unflatten(0, (3, 4)), rtol=1e-4, atol=1e-5
    )
    maps = meta.ConvMaps(2, 8)
    assert maps(torch.zeros(3, 4, 2, 28, 28, dtype=torch.uint8)).shape == (3, 4, 8, 7, 7)


@pytest.mark.usefixtures("unchecked")
def test_bad_input():
    support, labels = torch.randn(1, 3, 2), torch.tensor([[0, 0, 2]])
    with pytest.raises(ValueError, match="no support example for class 1 of 3"):
        meta.prototypes(support, labels, 3)
    with pytest.raises(ValueError, match="expected 0 to 1"):
        meta.prototypes(support, labels, 2)
    with pytest.raises(ValueError, match="run from -1 to 1; expected 0 to 1"):
        meta.prototypes(support, labels.clamp(max=1).sub(torch.tensor([[1, 0, 0]])), 2)
    two = torch.tensor([[0, 1, 2, 3], [3, 3, 0, 0]])
    with pytest.raises(ValueError, match="labels of episode 1 have no support example for class 1 of 4"):
        meta.prototypes(torch.randn(2, 4, 3), two, 4)
    attention = torch.full((1, 2, 3), 1 / 3)
    with pytest.raises(ValueError, match="no support example for class 1 of 3"):
        meta.vote(attention, labels, 3)
    with pytest.raises(ValueError, match="run from 0 to 2; expected 0 to 1"):
        meta.vote(attention, labels, 2)
    with pytest.raises(ValueError, match=r"expected \(…, 1, h, w\)"):
        meta.Conv4()(torch.zeros(2, 3, 28, 28))
    with pytest.raises(ValueError, match="poolings"):
        meta.ConvMaps(poolings=5)
    with pytest.raises(ValueError, match=r"sharpness is 0\.0"):
        meta.MatchingNetwork(nn.Identity(), sharpness=0.0)
    with pytest.raises(ValueError, match="steps is 0"):
        meta.FullContext(4, steps=0)
    with pytest.raises(ValueError, match="pool less"):
        meta.RelationNetwork(nn.Identity(), meta.RelationModule(3))(episodes(3, 3, 3))
    with pytest.raises(NotImplementedError, match="what a method defines"):
        meta.Comparison(nn.Identity())(episodes(3))


def test_measuring_puts_the_mode_back():
    method = METHODS["prototypical"]().train()
    items, labels = torch.rand(30, 1, 16, 16), torch.arange(30) % 3
    meta.evaluate_episodes(method, items, labels, episodes=2, n_way=2, n_query=2)
    assert method.training
