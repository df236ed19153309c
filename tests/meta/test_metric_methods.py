"""Metric methods: equal to plain loops and to easyfsl, blind to the order of classes, and able to learn."""

from __future__ import annotations

import easyfsl.methods
import jaxtyping
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


def test_bad_input():
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        support, labels = torch.randn(1, 3, 2), torch.tensor([[0, 0, 2]])
        with pytest.raises(ValueError, match="no support example for class 1 of 3"):
            meta.prototypes(support, labels, 3)
        with pytest.raises(ValueError, match="expected 0 to 1"):
            meta.prototypes(support, labels, 2)
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
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
