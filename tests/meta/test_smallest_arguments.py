"""The smallest arguments that the networks of meta-learning take, and what they are by default."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tlcourse.meta.conv4 import Conv4, ConvMaps
from tlcourse.meta.matching import FullContext, MatchingNetwork
from tlcourse.meta.regression_transformer import RegressionTransformer
from tlcourse.meta.relation_network import RelationModule


def test_any_sharpness_above_0():
    assert MatchingNetwork(nn.Identity(), sharpness=0.5).sharpness == 0.5
    for none in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="give a number above 0"):
            MatchingNetwork(nn.Identity(), sharpness=none)


def test_conv4_is_64_wide_and_can_be_1():
    assert (ConvMaps().in_channels, ConvMaps().width, ConvMaps().smallest) == (1, 64, 4)
    assert (Conv4().in_channels, Conv4().width, Conv4().dim, Conv4().smallest) == (1, 64, 64, 16)
    assert Conv4(3, 5).dim == 5
    assert ConvMaps(1, 1, poolings=0).width == 1
    assert ConvMaps(1, 1, poolings=4).smallest == 16
    for bad in ((0, 1, 0), (1, 0, 0), (1, 1, -1), (1, 1, 5)):
        with pytest.raises(ValueError, match="give 1 or more, 1 or more, and 0 to 4"):
            ConvMaps(*bad[:2], poolings=bad[2])


@pytest.mark.parametrize("poolings", range(5))
def test_each_pooling_halves_the_maps(poolings: int):
    """3x3 convolutions with a border keep the size; all that shrinks a map is the pooling."""
    net = ConvMaps(1, 2, poolings=poolings).eval()
    assert net(torch.rand(1, 1, 16, 32)).shape == (1, 2, 16 // 2**poolings, 32 // 2**poolings)


def test_pictures_may_be_as_small_as_the_poolings_leave_something_of():
    net = ConvMaps(1, 2).eval()
    assert net(torch.rand(3, 1, 4, 5)).shape == (3, 2, 1, 1)
    assert net(torch.rand(2, 3, 1, 5, 4)).shape == (2, 3, 2, 1, 1)
    assert net(torch.rand(2, 1, 3, 1, 4, 4)).shape == (2, 1, 3, 2, 1, 1)
    for shape in ((3, 1, 3, 8), (3, 1, 8, 3), (0, 1, 8, 8), (2, 0, 1, 8, 8), (3, 2, 8, 8), (1, 8, 8)):
        with pytest.raises(ValueError, match=r"expected \(…, 1, h, w\), h and w ≥ 4"):
            net(torch.rand(shape))


def test_bytes_are_scaled_to_0_and_1():
    net = ConvMaps(1, 3, poolings=1).eval()  # in training mode batch norm would take out any scale
    pixels = torch.randint(0, 256, (2, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(net(pixels), net(pixels.float() / 255))


def test_a_full_context_reads_once_or_more_or_as_often_as_there_are_examples():
    generator = torch.Generator().manual_seed(0)
    support, query = (torch.randn(3, n, 4, generator=generator) for n in (2, 5))
    once, twice, as_often = (FullContext(4, steps=steps)(support, query)[1] for steps in (1, 2, None))
    torch.testing.assert_close(as_often, twice)  # of two examples
    assert not torch.allclose(once, twice)
    with pytest.raises(ValueError, match="give 1 or more, or None"):
        FullContext(4, steps=0)


def test_relation_layers_are_those_of_the_figure():
    """Sung et al. 2018, Figure 3: 64 filters of 3x3, maps side by side, 8 hidden units and one score."""
    module = RelationModule()
    assert module.pair.weight.shape == (64, 128, 3, 3)
    assert module.second[0].weight.shape == (64, 64, 3, 3)
    assert [tuple(layer.weight.shape) for layer in module.score if isinstance(layer, nn.Linear)] == [(8, 64), (1, 8)]
    assert tuple(RelationModule(3, hidden=2).score[0].weight.shape) == (2, 3)


@pytest.mark.usefixtures("unchecked")
def test_relations_of_maps_from_4x4():
    module = RelationModule(2).eval()
    maps = torch.rand(1, 3, 2, 4, 4)
    assert module(maps, maps).shape == (1, 3, 3)
    assert module.second(module.first(torch.rand(1, 2, 4, 4))).shape == (1, 2, 1, 1)  # halved twice
    assert module.second(module.first(torch.rand(1, 2, 9, 12))).shape == (1, 2, 2, 3)
    for low in (maps[..., :3, :], maps[..., :3]):
        with pytest.raises(ValueError, match="expected 4x4 or more"):
            module(low, low)


@pytest.mark.parametrize(
    "make",
    [
        lambda **seed: ConvMaps(1, 2, **seed),
        lambda **seed: Conv4(1, 2, **seed),
        lambda **seed: RelationModule(2, **seed),
        lambda **seed: FullContext(3, **seed),
        lambda **seed: RegressionTransformer(2, 2, width=4, **seed),
    ],
    ids=["ConvMaps", "Conv4", "RelationModule", "FullContext", "RegressionTransformer"],
)
def test_weights_are_those_of_seed_0_unless_told_otherwise(make):
    """And PyTorch's own random numbers go on as if nothing had been drawn."""
    state = torch.get_rng_state()
    default, zero, one = (make(**seed).state_dict() for seed in ({}, {"seed": 0}, {"seed": 1}))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(default[name], zero[name]) for name in zero)
    assert any(not torch.equal(default[name], one[name]) for name in one)
