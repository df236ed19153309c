"""The runs behind lesson 17: the prompts are what they say, nothing is learned from a test review."""

from functools import lru_cache

import pytest
import torch

from tlcourse import recipes
from tlcourse.recipes import in_context_language as run


def test_examples_are_balanced_and_no_test_review_is_among_them():
    tested = set(run.reviews("test").texts)
    for shots in run.SHOTS[2:]:
        for draw in run.DRAWS:
            examples = run.chosen(draw, shots)
            assert sum(label for _, label in examples) == shots // 2
            assert len(dict(examples)) == shots
            assert not tested & set(dict(examples))
    assert [run.chosen(draw, 1)[0][1] for draw in (0, 1)] == [0, 1]
    assert int(run.reviews("test").labels.sum()) == len(tested) / 2


def test_orders_and_labels_change_nothing_else():
    examples = run.chosen(0, 4)
    assert len(run.PATTERNS) == 6
    for pattern in run.PATTERNS:
        found = run.ordered(examples, pattern)
        assert "".join("-+"[label] for _, label in found) == pattern
        assert sorted(found) == sorted(examples)
    whole = run.chosen(0, 16)
    flipped, mixed = (run.relabelled(whole, name, 0) for name in ("flipped", "random"))
    assert [text for text, _ in flipped] == [text for text, _ in mixed] == [text for text, _ in whole]
    assert all(a != b for (_, a), (_, b) in zip(whole, flipped, strict=True))
    assert sum(label for _, label in mixed) == 8
    assert mixed != whole


def test_the_border_is_where_calibration_puts_it():
    row = {"margins": [0.0, 2.0], "content_free": [2.0, 2.0]}
    assert run.border(row, "none") == 0.0
    assert run.border(row, "content-free") == pytest.approx(2.0)
    assert 0 < run.border(row, "batch") < 2.0


def test_jobs_score_and_train(monkeypatch):
    few = run.reviews("test").few(2, seed=0)
    train = run.reviews("train")
    monkeypatch.setattr(run, "reviews", lru_cache(lambda part: few if part == "test" else train))
    monkeypatch.setattr(run, "STEPS", 1)
    before = torch.cat([p.detach().flatten()[:5] for p in run.smollm2().net.parameters()])
    rows = recipes.load("in_context_language")["rows"]
    shipped = next(row for row in rows if row["part"] == "shots" and row["shots"] == 2)
    found = run.work({"part": "shots", "shots": 2, "draw": 0}, [])
    assert found["content_free"] == pytest.approx(shipped["content_free"], abs=0.01)
    assert len(run.work({"part": "probe", "shots": 2, "draw": 0}, [])["margins"]) == 4
    monkeypatch.setattr(run, "MOST", 2)
    assert len(run.lora_margins(run.chosen(0, 2), seed=0, steps=1)) == 4
    after = torch.cat([p.detach().flatten()[:5] for p in run.smollm2().net.parameters()])
    assert torch.equal(before, after)
