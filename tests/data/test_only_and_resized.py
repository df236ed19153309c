"""Parts of a dataset by class, pictures at another size, and texts by where they come from."""

import pytest
import torch

from tlcourse import data


def toy() -> data.Images:
    pixels = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1).expand(6, 1, 16, 16).contiguous() * 40
    return data.Images(name="toy", labels=torch.tensor([0, 1, 2, 0, 1, 2]), classes=("a", "b", "c"), pixels=pixels)


def test_only_keeps_and_renumbers_in_the_order_given():
    part = toy().only(["c", "a"])
    assert part.classes == ("c", "a")
    assert part.labels.tolist() == [1, 0, 1, 0]
    assert part.pixels[:, 0, 0, 0].tolist() == [0, 80, 120, 200]


def test_only_names_the_unknown_class():
    with pytest.raises(KeyError, match="classes='d' is unknown"):
        toy().only(["d"])


def test_resized_keeps_flat_pictures_and_everything_else():
    small = toy().resized(8)
    assert small.pixels.shape == (6, 1, 8, 8)
    assert small.pixels.dtype == torch.uint8
    assert small.pixels[:, 0, 3, 3].tolist() == [0, 40, 80, 120, 160, 200]
    assert torch.equal(small.labels, toy().labels)
    with pytest.raises(ValueError, match="size=4"):
        toy().resized(4)


def test_text_sources_are_balanced_and_share_no_article_between_the_parts():
    train, test = data.text_sources(part="train", each=50), data.text_sources(part="test", each=50)
    assert train.classes == ("tweets", "nyt", "amazon", "movies")
    assert list(train.counts().values()) == [50] * 4
    assert all(
        source.startswith(train.classes[label])
        for source, label in zip(train.meta["source"], train.labels, strict=True)
    )
    assert not set(train.meta["source"]) & set(test.meta["source"])
    groups = {}
    for source, group in zip(train.meta["source"], train.groups.tolist(), strict=True):
        assert groups.setdefault(group, source) == source
    assert train.fingerprint() == data.text_sources(part="train", each=50).fingerprint()


def test_text_sources_refuse_more_than_there_are():
    with pytest.raises(ValueError, match="each=100000"):
        data.text_sources(part="test", each=100_000)
