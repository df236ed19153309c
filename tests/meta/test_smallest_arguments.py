"""The smallest arguments that the networks of meta-learning take, and what they are by default."""

from __future__ import annotations

import pytest
from torch import nn

from tlcourse.meta.conv4 import ConvMaps
from tlcourse.meta.matching import MatchingNetwork


def test_any_sharpness_above_0():
    assert MatchingNetwork(nn.Identity(), sharpness=0.5).sharpness == 0.5
    for none in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="give a number above 0"):
            MatchingNetwork(nn.Identity(), sharpness=none)


def test_conv4_is_64_wide_and_can_be_1():
    assert (ConvMaps().in_channels, ConvMaps().width, ConvMaps().smallest) == (1, 64, 4)
    assert ConvMaps(1, 1, poolings=0).width == 1
    assert ConvMaps(1, 1, poolings=4).smallest == 16
    for bad in ((0, 1, 0), (1, 0, 0), (1, 1, -1), (1, 1, 5)):
        with pytest.raises(ValueError, match="give 1 or more, 1 or more, and 0 to 4"):
            ConvMaps(*bad[:2], poolings=bad[2])
