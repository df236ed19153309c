"""Textiles, digits and sentiment: counts, content, fixed splits without leaks."""

from __future__ import annotations

import html
import re
from importlib import import_module

import pytest
import torch

from tlcourse import data

digits = import_module("tlcourse.data.digits")
sentiment = import_module("tlcourse.data.sentiment")

PARTED = [
    *[(f"sentiment {d}", lambda part, d=d: data.sentiment(d, part=part)) for d in sentiment.DOMAINS],
    ("mnist", data.mnist),
    ("optdigits", data.optdigits),
    ("textiles", lambda part: data.textiles(part=part)),
]


def keys(dataset):
    if isinstance(dataset, data.Texts):
        return [re.sub(r"\W+", " ", text.lower()).strip() or text for text in dataset.texts]
    return [item.numpy().tobytes() for item in dataset.inputs]


@pytest.mark.parametrize(("name", "load"), PARTED, ids=[name for name, _ in PARTED])
def test_parts_are_disjoint_complete_and_fixed(name, load):
    whole, train, test = (load(part) for part in ("all", "train", "test"))
    assert set(keys(train)) | set(keys(test)) == set(keys(whole))
    assert not set(keys(train)) & set(keys(test)), "the same item is on both sides"
    assert len(set(keys(whole))) == len(whole), "an item is there twice"
    assert not set(train.groups.tolist()) & set(test.groups.tolist())
    assert train.classes == test.classes == whole.classes
    assert min(train.counts().values()) > 0
    assert min(test.counts().values()) > 0
    with pytest.raises(KeyError, match=r"part='tset' is unknown. Did you mean 'test'\?"):
        load("tset")


@pytest.mark.parametrize(
    ("load", "train", "test"),
    [
        (lambda part: data.sentiment("tweets", part=part), (715, 1590), (296, 677)),
        (lambda part: data.sentiment("nyt", part=part), (1281, 821), (475, 353)),
        (lambda part: data.sentiment("amazon", part=part), (825, 1126), (406, 612)),
        (lambda part: data.sentiment("movies", part=part), (3536, 3508), (1539, 1487)),
        (data.mnist, (400,) * 10, (100,) * 10),
        (data.optdigits, (127, 130, 127, 131, 129, 130, 129, 128, 127, 129), (51, 52, 50, 52, 52, 52, 52, 51, 47, 51)),
        (lambda part: data.textiles(part=part), (700, 350, 350), (300, 150, 150)),
    ],
)
def test_counts_of_the_parts(load, train, test):
    assert tuple(load("train").counts().values()) == train
    assert tuple(load("test").counts().values()) == test


def test_optdigits_forms_start_where_the_sequence_of_digits_starts_again():
    labels = data.optdigits().labels.tolist()
    sequence = labels[30:42]  # what follows the first three runs of 0 … 9
    found = [i - 30 for i in range(len(labels)) if labels[i : i + 12] == sequence]
    assert tuple(found) == digits.FORMS
    assert data.optdigits().groups.unique().tolist() == list(range(14))


def test_digits_are_ink_on_black_and_look_like_their_class():
    for load in (data.mnist, data.optdigits):
        train, test = load("train"), load("test")
        assert train.pixels.shape[1] == 1
        assert int(train.pixels.max()) == 255
        assert int(train.pixels[:, :, 0, 0].max()) < 20
        means = torch.stack([train.pixels[train.labels == c].float().mean(0) for c in range(10)]).flatten(1)
        nearest = torch.cdist(test.pixels.float().flatten(1), means).argmin(1)
        assert (nearest == test.labels).float().mean() > 0.75


def test_textiles_carry_their_file():
    cloth = data.textiles()
    assert cloth.counts() == {"nominal": 1000, "local": 500, "global": 500}
    assert all(
        file.split("/")[0] == cloth.classes[label] for file, label in zip(cloth.meta["file"], cloth.labels, strict=True)
    )
    for size in (7, 251):
        with pytest.raises(ValueError, match="8 … 250"):
            data.textiles(size=size)


@pytest.mark.parametrize("domain", sentiment.DOMAINS)
def test_sentiment_text_is_clean(domain):
    for text in data.sentiment(domain, threshold=0.01).texts:
        assert html.unescape(text) == text, "an HTML entity is left"
        assert not re.search("[\x80-\x9f]|Ã[\x80-\xbf]|\ufffd", text), "decoded with the wrong encoding"
        assert text == text.strip()


def test_sentiment_encodings_line_by_line():
    rows = sentiment._rows("1\t2.0\tclichés &amp;amp; –\n".encode() + "2_7\t-1\tclichés".encode("latin-1"))
    assert rows == [("1", "2.0", "clichés & –"), ("2", "-1", "clichés")]
    assert any("cliché" in text for text in data.sentiment("movies").texts)


def test_sentiment_threshold_filters_and_keeps_sides():
    strict, loose = (data.sentiment("amazon", part="test", threshold=t) for t in (1.5, 0.1))
    assert set(strict.texts) < set(loose.texts)
    assert all(abs(float(r)) >= 1.5 for r in strict.meta["rating"])
    for dataset in (strict, loose):
        assert [float(r) > 0 for r in dataset.meta["rating"]] == [bool(label) for label in dataset.labels]
    train = data.sentiment("amazon", part="train", threshold=0.1)
    assert not set(train.meta["source"]) & set(strict.meta["source"])
    for wrong in (0.0, 4.0, float("nan")):
        with pytest.raises(ValueError, match="threshold"):
            data.sentiment(threshold=wrong)
    with pytest.raises(ValueError, match="no text of 'nyt' is rated"):
        data.sentiment("nyt", threshold=3.99)


def test_sentences_of_one_article_are_one_group():
    articles = data.sentiment("nyt")
    assert len(articles.groups.unique()) == len(set(articles.meta["source"])) == 497
    assert data.sentiment("tweets").groups.unique().numel() == len(data.sentiment("tweets"))


def test_unknown_domain_lists_the_near_matches():
    with pytest.raises(KeyError, match=r"domain='movie' is unknown. Did you mean 'movies'\? Choose from: tweets, nyt"):
        data.sentiment("movie")
