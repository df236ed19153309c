"""Emoji: what is drawn, how it is labelled, and that held-out subgroups are held out."""

from __future__ import annotations

from importlib import import_module

import pytest
import torch

from tlcourse import assets, data

emoji = import_module("tlcourse.data.emoji")
STYLES = emoji.STYLES


@pytest.mark.parametrize("style", STYLES)
def test_each_style_draws_the_same_concepts_on_white(style):
    pictures = data.emoji(style)
    assert pictures.pixels.shape == (1561, 3, 64, 64)
    for column in ("name", "category", "subgroup", "tags"):
        assert pictures.meta[column] == data.emoji("noto").meta[column]
    assert torch.equal(pictures.groups, data.emoji("noto").groups)
    assert len(set(pictures.meta["name"])) == 1561
    ink = pictures.pixels.amin(1) < 245
    assert ink.float().mean((1, 2)).min() > 0.02, "a picture is (nearly) empty"
    share_of_white_corners = (pictures.pixels[:, :, [0, 0, -1, -1], [0, -1, 0, -1]] >= 250).all(1).float().mean()
    assert share_of_white_corners > 0.85, "the background is not white"


def test_colours_are_red_green_blue_in_this_order():
    names = data.emoji("noto").meta["name"]
    for style in STYLES:
        pixels = data.emoji(style).pixels.float()
        red, green, blue = pixels[names.index("red heart"), :, 24:40, 24:40].mean((1, 2))
        assert red > 180, style
        assert max(green, blue) < 110, style
        red, green, blue = pixels[names.index("blue heart"), :, 24:40, 24:40].mean((1, 2))
        assert blue > red + 50, style


def test_labels_follow_unicode():
    pictures = data.emoji()
    assert pictures.classes == (*emoji.HELD_OUT, "Flags")
    assert pictures.counts() == {
        "Smileys & Emotion": 165,
        "People & Body": 319,
        "Animals & Nature": 156,
        "Food & Drink": 130,
        "Travel & Places": 218,
        "Activities": 84,
        "Objects": 262,
        "Symbols": 219,
        "Flags": 8,
    }
    row = pictures.meta["name"].index("octopus")
    assert pictures.meta["category"][row] == pictures.classes[pictures.labels[row]] == "Animals & Nature"
    assert pictures.meta["subgroup"][row] == "animal-marine"
    assert "squid" not in pictures.meta["tags"][row]
    assert "creature" in pictures.meta["tags"][row]


def test_other_labels_and_several_styles():
    assert data.emoji(label="subgroup").n_classes == 95
    four = data.emoji(STYLES, label="name")
    assert len(four) == 4 * 1561
    assert set(four.counts().values()) == {4}
    assert four.meta["style"] == tuple(style for style in STYLES for _ in range(1561))
    assert torch.equal(four.pixels[1561:3122], data.emoji("twemoji").pixels)


def test_train_and_test_share_no_subgroup_in_any_style():
    train, test = (data.emoji(STYLES, part=part) for part in ("train", "test"))
    assert not set(train.groups.tolist()) & set(test.groups.tolist())
    assert not set(train.meta["subgroup"]) & set(test.meta["subgroup"])
    assert not set(train.meta["name"]) & set(test.meta["name"])
    assert len(train) + len(test) == 4 * (1561 - 8)
    assert train.classes == test.classes == tuple(emoji.HELD_OUT)
    for category, n in train.counts().items():
        assert 0.25 < test.counts()[category] / (n + test.counts()[category]) < 0.4, category
    one = data.emoji("fluent", part="test")
    assert one.meta["name"] == data.emoji("noto", part="test").meta["name"]
    assert torch.equal(one.pixels, test.where(torch.tensor([s == "fluent" for s in test.meta["style"]])).pixels)


def test_held_out_subgroups_exist_in_their_category():
    pictures = data.emoji()
    places = set(zip(pictures.meta["category"], pictures.meta["subgroup"], strict=True))
    assert {(c, s) for c, subgroups in emoji.HELD_OUT.items() for s in subgroups.split()} < places


def test_a_changed_copy_leaves_later_loads_alone():
    first = data.emoji()
    before = first.fingerprint()
    first.pixels.zero_()
    first.labels.zero_()
    assert data.emoji().fingerprint() == before


def test_rendered_once(monkeypatch):
    data.emoji("noto")
    emoji._style.cache_clear()
    monkeypatch.setattr(emoji, "_render", lambda *_: pytest.fail("rendered again"))
    assert len(data.emoji("noto")) == 1561


def test_the_cache_key_names_the_renderer_and_the_pictures(monkeypatch):
    keys = []
    derived = assets.derived
    monkeypatch.setattr(
        assets, "derived", lambda kind, key, build: keys.append((kind, key)) or derived(kind, key, build)
    )
    emoji._style.cache_clear()
    data.emoji("twemoji")
    key = dict(keys)["emoji"]
    assert {"style", "size", "resvg", "emoji_twemoji", "emojibase"} <= set(key)
    assert len(key["emoji_twemoji"]) == 64


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"style": "notto"}, KeyError, "style='notto' is unknown. Did you mean 'noto'"),
        ({"style": ("noto", "noto")}, ValueError, "different styles"),
        ({"style": ()}, ValueError, "one or more"),
        ({"label": "categories"}, KeyError, "category"),
        ({"part": "valid"}, KeyError, "all, train, test"),
        ({"size": 4}, ValueError, "8 … 512"),
        ({"size": 64.5}, (ValueError, TypeError), "whole"),
    ],
)
def test_wrong_arguments(change, error, message, unchecked):
    with pytest.raises(error, match=message):
        data.emoji(**change)


def test_large_pictures_do_not_stay_in_memory(monkeypatch):
    emoji._style.cache_clear()
    monkeypatch.setattr(emoji, "KEPT", 31)
    read_anew = [data.emoji(size=32).pixels for _ in range(2)]
    assert emoji._style.cache_info().currsize == 0
    monkeypatch.setattr(emoji, "KEPT", 32)
    kept = data.emoji(size=32).pixels
    assert emoji._style.cache_info().currsize == 1
    assert torch.equal(kept, read_anew[0])
    assert torch.equal(kept, read_anew[1])
