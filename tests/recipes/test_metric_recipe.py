"""The runs behind lesson 15: nothing of the held-out classes teaches, and each job measures what it says."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from tlcourse import data
from tlcourse.recipes import metric_emoji, metric_family


@pytest.fixture
def short(monkeypatch):
    for name, value in {"STEPS": 2, "EPISODES": 20, "TUNING_STEPS": 1, "WAY": 5}.items():
        monkeypatch.setattr(metric_family, name, value)
    monkeypatch.setattr(metric_family, "kept", {})
    for module in (metric_family, metric_emoji):
        module.classifier.cache_clear()
    yield
    for module in (metric_family, metric_emoji):
        module.classifier.cache_clear()


def test_test_letters_are_of_other_scripts_and_changed():
    pictures, labels = metric_family.test_glyphs()
    plain = data.glyphs(part="test")
    assert torch.equal(labels, plain.labels)
    assert (pictures - plain.pixels / 255).abs().mean() > 0.05
    letters, turned = metric_family.train_glyphs()
    assert len(letters) == 4 * len(data.glyphs(part="train"))
    assert int(turned.max()) + 1 == 4 * data.glyphs(part="train").n_classes


@pytest.mark.parametrize("method", ["pixels", "untrained", "classifier", *metric_family.METHODS])
def test_a_job_of_glyphs(short, method):
    row = metric_family.work({"part": "glyphs", "method": method, "seed": 0}, [])
    assert 0.15 < row["one"] <= 1
    assert 0.15 < row["three"] <= 1
    assert 0 < row["one_half"] < 0.3
    assert ("loss" in row) == (method in metric_family.METHODS) == (method in metric_family.kept)


def test_fine_tuning_leaves_the_network_as_it_was(short):
    network = metric_family.classifier(0)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    row = metric_family.work({"part": "tuning", "method": "fine-tuned classifier", "seed": 0}, [])
    assert 0.15 < row["one"] <= 1
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_splits_of_emoji_share_no_concept_and_the_honest_one_no_subgroup():
    emoji = metric_emoji.concepts(metric_emoji.SIDE)
    for honest in (True, False):
        test = metric_emoji.held_out(1, honest=honest)
        assert not set(emoji.labels[test].tolist()) & set(emoji.labels[~test].tolist())
        shared = set(emoji.groups[test].tolist()) & set(emoji.groups[~test].tolist())
        assert bool(shared) != honest


@pytest.mark.parametrize("method", [*metric_emoji.CONTROLS, *metric_emoji.METHODS])
def test_a_job_of_emoji(short, method):
    row = metric_emoji.work({"split": "subgroups", "method": method, "seed": 1}, [])
    assert row["held_out"] > 100
    assert 0.15 < row["one"] <= 1
    assert 0.12 < row["three"] <= 1


def test_the_emoji_classifier_trains_on_the_other_concepts_only(short, monkeypatch):
    seen = {}

    def watched(pictures, labels, *, seed):
        seen["pictures"], seen["labels"] = pictures, labels
        return metric_family.fitted_classifier(pictures, labels, seed=seed)

    monkeypatch.setattr(metric_emoji, "family", SimpleNamespace(fitted_classifier=watched))
    metric_emoji.classifier("random", 2)
    test = metric_emoji.held_out(2, honest=False)
    emoji = metric_emoji.concepts(metric_emoji.SIDE)
    assert torch.equal(seen["pictures"], emoji.pixels[~test].float() / 255)
    assert len(seen["labels"].unique()) == int(seen["labels"].max()) + 1 == len(emoji.labels[~test].unique())


def test_the_shipped_networks_are_those_that_were_measured():
    rows = metric_family_rows()
    pictures, labels = metric_family.test_glyphs()
    for method in metric_family.METHODS:
        row = next(r for r in rows if r["method"] == method and r["seed"] == 0)
        found = metric_family.accuracy(metric_family.load(method), pictures, labels, 1).interval
        assert found.mean == pytest.approx(row["one"], abs=0.01)
    with pytest.raises(KeyError, match="choose from: prototypical"):
        metric_family.load("siamese")


def metric_family_rows():
    from tlcourse.recipes import results

    return results.load("metric_family")["rows"]
