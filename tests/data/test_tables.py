"""Breast cancer, photographs, and loading by name."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tlcourse import data
from tlcourse.data import registry


def test_breast_cancer_parts():
    whole, train, test = (data.breast_cancer(part) for part in ("all", "train", "test"))
    assert whole.counts() == {"malignant": 212, "benign": 357}
    assert (train.counts(), test.counts()) == (
        {"malignant": 148, "benign": 250},
        {"malignant": 64, "benign": 107},
    )
    rows = [set(map(tuple, part.features.tolist())) for part in (whole, train, test)]
    assert rows[1] | rows[2] == rows[0]
    assert not rows[1] & rows[2]
    malignant = whole.features[whole.labels == 0, whole.columns.index("mean radius")]
    benign = whole.features[whole.labels == 1, whole.columns.index("mean radius")]
    assert malignant.mean() > benign.mean() + 4


def test_photographs_are_in_colour():
    pictures = data.photographs()
    assert pictures.pixels.shape == (2, 3, 427, 640)
    red, green, blue = pictures.pixels[1, :, 200:230, 300:330].float().mean((1, 2))  # the orange flower
    assert red > green + 20 > blue + 40


@pytest.mark.parametrize("name", [n for n in registry.LOADERS if n not in registry.HUB])
def test_load_by_name_gives_the_training_part(name):
    direct = data.sentiment if name in ("tweets", "nyt", "amazon", "movies") else getattr(data, name)
    expected = direct(name, part="train") if direct is data.sentiment else direct(part="train")
    assert data.load(name).fingerprint() == expected.fingerprint()
    assert len(data.load(name, part="test")) != len(expected)


@pytest.fixture
def loaded(monkeypatch):
    calls = []
    one = data.Texts(name="x", texts=("a",), labels=torch.tensor([0]), classes=("a",))
    for name in registry.LOADERS:
        monkeypatch.setitem(registry.LOADERS, name, lambda *, name=name, **given: calls.append((name, given)) or one)
    return calls


def test_the_hub_takes_the_counterpart(loaded, monkeypatch):
    for name, counterpart in data.COUNTERPARTS.items():
        data.load(name, source="hub", part="test")
        assert loaded[-1] == (counterpart, {"part": "test"})
    monkeypatch.setenv("TLCOURSE_SOURCE", "hub")
    data.load("emoji", size=32)
    assert loaded[-1] == ("cifar10", {"part": "train", "size": 32})
    data.load("mnist")
    assert loaded[-1] == ("mnist", {"part": "train"})
    data.load("emoji", source="builtin")
    assert loaded[-1] == ("emoji", {"part": "train"})
    data.load("eurosat")
    assert loaded[-1] == ("eurosat", {"part": "train"})


def test_load_refuses_what_does_not_exist(monkeypatch):
    with pytest.raises(KeyError, match=r"name='movie' is unknown. Did you mean 'movies'"):
        data.load("movie")
    with pytest.raises(KeyError, match="source='web'"):
        data.load("emoji", source="web")
    with pytest.raises(KeyError, match="no counterpart on the hub; these have one: emoji"):
        data.load("mnist", source="hub")
    with pytest.raises(ValueError, match="no choice of sizes"):
        data.load("mnist", size=32)
    monkeypatch.setenv("TLCOURSE_SOURCE", "hubb")
    with pytest.raises(KeyError, match="hubb"):
        data.load("emoji")


@given(st.text().filter(lambda name: name not in registry.LOADERS))
def test_any_other_name_is_a_key_error_that_lists_the_names(name):
    with pytest.raises(KeyError, match="emoji, textiles, glyphs"):
        data.load(name)
    for load in (data.emoji, data.mnist, data.textiles, data.breast_cancer, data.glyphs, data.sentiment, data.sst2):
        with pytest.raises(KeyError, match="part="):
            load(part=name)


@given(st.one_of(st.integers(max_value=7), st.integers(min_value=1025)))
def test_any_size_out_of_range_is_a_value_error(size):
    for load in (data.emoji, data.textiles, data.glyphs, data.cifar10, data.flowers102, data.eurosat):
        with pytest.raises(ValueError, match=f"size={size}: choose a whole number of pixels"):
            load(size=size)
