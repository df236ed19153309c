"""The capstone's references: no label of the target teaches, copies stay together, and the result is what it says."""

from dataclasses import replace

import pytest
import torch

from tlcourse import recipes, shift
from tlcourse.checks import capstone
from tlcourse.data.capstone import Capstone, deal
from tlcourse.recipes import capstone_references as run


@pytest.fixture
def task():
    """A few pictures of one deal."""
    train, target, test = (part.resized(32) for part in deal("a test"))
    return Capstone(train=train, target=target.take(range(20)), test=test.take(range(30)))


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(run, "LARGE", 32)
    monkeypatch.setattr(
        run, "smooth", lambda pictures, size=32: shift.corrupt(pictures, "blur", severity=3).resized(size)
    )
    monkeypatch.setattr(run, "SMALL", 32)
    monkeypatch.setattr(run, "TUNED", 32)
    monkeypatch.setattr(run, "STEPS", 2)
    monkeypatch.setattr(run, "_deal", lambda *seed, **kind: tuple(part.resized(32) for part in deal(*seed, **kind)))


@pytest.mark.parametrize("solve", [run.weak, lambda task: run.strong(task, seed=0)])
def test_references_read_no_label_of_the_target(task, small, solve):
    first = solve(task)
    shuffled = {
        name: replace(part, labels=part.labels.flip(0)) for name, part in (("target", task.target), ("test", task.test))
    }
    assert torch.equal(first, solve(replace(task, **shuffled)))
    assert first.shape == (30,)


def test_copies_differ_and_share_the_label(task):
    copies = run.as_noisy(task.train, noise=0.1, seed=0, copies=3)
    assert len(copies) == 120
    assert torch.equal(copies.labels, task.train.labels.repeat(3))
    assert not torch.equal(copies.pixels[:40], copies.pixels[40:80])
    again = run.as_noisy(task.train, noise=0.1, seed=0, copies=3)
    assert torch.equal(copies.pixels, again.pixels)


def test_without_noise_a_copy_keeps_the_white_paper(task):
    copies = run.as_noisy(task.train, noise=0.0, seed=1, copies=1)
    assert copies.pixels[:, :, 0, 0].float().mean() > 240


def test_validation_keeps_copies_of_a_picture_together():
    """Features that name the picture and say nothing of the class: by rows all are right, by pictures few."""
    picture = torch.arange(40).repeat(3)
    labels = (torch.arange(40) // 4).repeat(3)
    assert run.validated(torch.eye(40)[picture], labels, picture, "common") < 0.35
    assert run.validated(torch.eye(10)[labels], labels, picture, "common") == 1


def test_every_kind_of_job_gives_a_row(small, monkeypatch):
    monkeypatch.setattr(run, "SHOT_COUNTS", (1, 2))
    parts = {job["part"]: job for job in run.jobs()}
    ladder = run.work(parts["ladder"], [])["accuracy"]
    assert list(ladder) == ["1", "2"]
    assert all(0 <= score <= 1 for steps in ladder.values() for score in steps.values())
    assert tuple(ladder["1"]) == run.LADDER
    assert run.work(parts["tuned"], [])["cpu_seconds"] > 0
    assert 0 <= run.work(parts["official"], [])["validation"] <= 1


def test_the_shipped_result_keeps_its_promises():
    rows = recipes.load("capstone_references")["rows"]
    official = {m: [r for r in rows if r["part"] == "official" and r["method"] == m] for m in ("weak", "strong")}
    assert len(official["strong"]) >= 5
    assert max(r["cpu_seconds"] for part in official.values() for r in part) < capstone.BUDGET
    gap = min(r["balanced_accuracy"] for r in official["strong"]) - official["weak"][0]["balanced_accuracy"]
    assert gap > 0.25
    oracle = max(s["oracle"] for r in rows if r["part"] == "ladder" for s in r["accuracy"].values())
    assert oracle < capstone.CEILING - 0.1
