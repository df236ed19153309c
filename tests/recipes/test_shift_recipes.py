"""The runs behind lesson 13: no label of the target teaches or chooses, and every draw is what it says."""

import math
from dataclasses import replace

import pytest
import torch

from tlcourse import data, shift, training
from tlcourse.recipes import domain_adaptation, text_adaptation
from tlcourse.recipes.text_adaptation import METHODS, World


@pytest.fixture
def short(monkeypatch):
    """Digits: few steps, few pictures for the measures without labels."""
    monkeypatch.setattr(domain_adaptation, "STEPS", 3)
    monkeypatch.setattr(domain_adaptation, "LONG", 4)
    monkeypatch.setattr(domain_adaptation, "COMPARED", 60)
    whole = {(side, part): domain_adaptation.domain(side, part) for side in ("source", "target") for part in PARTS}
    few = {key: pictures.few(20, seed=0) for key, pictures in whole.items()}
    monkeypatch.setattr(domain_adaptation, "domain", lambda side, part: few[side, part])
    return few


PARTS = ("train", "test")


@pytest.fixture
def world():
    """Two classes along a diagonal, moved in the target, where positives are more frequent."""
    generator = torch.Generator().manual_seed(0)

    def rows(n: int, positive: float, offset: float):
        labels = (torch.arange(n) < positive * n).long()
        side = (2.0 * labels - 1)[:, None]
        return torch.randn(n, 6, generator=generator) + side * torch.tensor([1.0, 1, 1, 0, 0, 0]) + offset, labels

    sizes = ((200, 0.4, 0.0), (80, 0.4, 0.0), (160, 0.7, 0.5), (100, 0.7, 0.5))
    return World(*(tensor for size in sizes for tensor in rows(*size)))


def test_both_domains_show_the_same_digits_and_no_test_digit_is_learned():
    for part in PARTS:
        source, target = (domain_adaptation.domain(side, part) for side in ("source", "target"))
        assert torch.equal(source.labels, target.labels)
        assert source.pixels.shape == target.pixels.shape == (len(source), 3, 28, 28)
        assert not torch.equal(source.pixels, target.pixels)
    train, test = (
        {digit.numpy().tobytes() for digit in domain_adaptation.domain("source", part).pixels} for part in PARTS
    )
    assert not train & test


@pytest.mark.parametrize("method", [*domain_adaptation.WEIGHTS, "source only", "oracle"])
def test_the_oracle_alone_reads_labels_of_the_target(short, method):
    weight = 1.0 if method in domain_adaptation.WEIGHTS else None
    first, record = domain_adaptation.adapted(method, weight, seed=0, steps=3)
    pictures = short["target", "train"]
    short["target", "train"] = replace(pictures, labels=pictures.labels.flip(0))
    second, _ = domain_adaptation.adapted(method, weight, seed=0, steps=3)
    assert len(record.losses) == 3
    assert len(record.penalties) == (0 if weight is None else 3)
    assert torch.equal(first.head.weight, second.head.weight) == (method != "oracle")


def test_a_job_is_trained_with_the_weight_that_was_chosen_and_measured(short):
    chosen = [
        {"part": "weights", "method": "DANN", "weight": w, "seed": 0, "information": i, "target": t}
        for w, i, t in ((0.1, 1.0, 0.9), (0.3, 1.5, 0.1), (1.0, 1.5, 0.8))
    ]
    row = domain_adaptation.work({"part": "more", "method": "DANN", "seed": 3}, chosen)
    assert row["weight"] == 0.3  # the lower one of two equals; accuracy on the target has no say
    assert row["penalty"] == pytest.approx(math.log(2), abs=0.2)
    for name in ("source", "target", "target_plain", "reverse"):
        assert 0 <= row[name] <= 1
    assert 0 <= row["a_distance"] <= 2
    assert 0 <= row["information"] <= math.log(10)
    oracle = domain_adaptation.work({"part": "ends", "method": "oracle", "seed": 0}, [])
    assert not {"weight", "reverse"} & set(oracle)


def test_every_weight_is_tried_before_one_is_used():
    jobs = domain_adaptation.jobs()
    tried = [(j["method"], j["weight"]) for j in jobs if j["part"] == "weights"]
    assert {m: tuple(dict.fromkeys(w for n, w in tried if n == m)) for m in domain_adaptation.WEIGHTS} == (
        domain_adaptation.WEIGHTS
    )
    parts = [job["part"] for job in jobs]
    assert parts.index("more") > max(i for i, part in enumerate(parts) if part == "weights")


def test_information_is_high_when_guesses_are_sure_and_spread():
    sure = 50 * torch.eye(10)
    assert domain_adaptation.information(sure) == pytest.approx(math.log(10), abs=1e-4)
    assert domain_adaptation.information(sure[:1].expand(10, -1)) == pytest.approx(0, abs=1e-4)
    assert domain_adaptation.information(torch.zeros(10, 10)) == pytest.approx(0, abs=1e-4)


def test_draws_share_no_text_between_learning_choosing_and_testing():
    first, rest = text_adaptation.rows_of("nyt", "all", 0)
    whole = data.sentiment("nyt")
    assert sorted([*first.tolist(), *rest.tolist()]) == list(range(len(whole)))
    assert not set(whole.groups[first].tolist()) & set(whole.groups[rest].tolist())
    learned, _ = text_adaptation.rows_of("nyt", "train", 0)
    tested, _ = text_adaptation.rows_of("nyt", "test", 0)
    assert not set(whole.groups[learned].tolist()) & set(whole.groups[tested].tolist())
    assert not torch.equal(tested, text_adaptation.rows_of("nyt", "test", 1)[0])


def test_a_share_of_positives_is_kept(monkeypatch):
    labels = torch.arange(400) % 2
    monkeypatch.setattr(text_adaptation, "embedded", lambda name, further=None: (torch.zeros(400, 2), labels))
    rows = text_adaptation.with_share("nyt", torch.arange(100, 400), 0.2, 100, 0)
    assert len(rows.unique()) == 100
    assert int(rows.min()) >= 100
    assert int(labels[rows].sum()) == 20


@pytest.mark.parametrize("method", METHODS)
def test_only_what_says_so_reads_labels_of_the_target(monkeypatch, world, method):
    monkeypatch.setattr(text_adaptation, "STEPS", 20)
    guesses, _ = METHODS[method](world, 0)
    assert training.evaluation.balanced_accuracy(guesses, world.test_labels) > 0.6
    blind = replace(world, test_labels=torch.zeros_like(world.test_labels))
    assert torch.equal(METHODS[method](blind, 0)[0], guesses)
    wrong = replace(world, target_labels=(torch.arange(len(world.target)) % 9 == 0).long())
    same = torch.equal(METHODS[method](wrong, 0)[0], guesses)
    assert same == (method not in ("oracle", "standardised, shares known"))


def test_shares_of_the_source_itself_change_nothing(world):
    shares = text_adaptation.shares_of(torch.cat([world.labels, world.choice_labels]))
    assert torch.equal(text_adaptation.matched(world, shares)[0], text_adaptation.standardised(world, 0)[0])
    equal = text_adaptation.matched(world, text_adaptation.shares_of(world.target_labels))[0]
    plain = text_adaptation.standardised(world, 0)[0]
    assert equal.double().mean() > plain.double().mean()  # positives are no longer pulled to the middle


def test_pre_training_reads_training_texts_of_the_target_alone(monkeypatch):
    read = {}
    monkeypatch.setattr(
        shift, "pretrain_on_texts", lambda model, texts, *, steps: read.update(texts=texts, steps=steps)
    )
    text_adaptation.backbone.__wrapped__("tweets")
    assert read["texts"] == data.sentiment("tweets", part="train").texts
    assert read["steps"] == text_adaptation.MASKED_STEPS


def test_a_row_says_what_shares_there_are_and_what_is_estimated(monkeypatch, world):
    monkeypatch.setattr(text_adaptation, "drawn", lambda *arguments: world)
    row = text_adaptation.work({"source": "nyt", "target": "tweets", "draw": 0, "method": "source only"}, [])
    assert row["source_positive"] == pytest.approx(0.4)
    assert row["target_positive"] == pytest.approx(0.7)
    assert row["estimated_positive"] == pytest.approx(0.7, abs=0.15)
