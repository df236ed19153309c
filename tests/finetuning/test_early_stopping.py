"""How many steps, by cross-validation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tlcourse import models, training
from tlcourse.data import Table
from tlcourse.finetuning import choose_steps
from tlcourse.finetuning.early_stopping import _folds


def table(n: int = 24, n_classes: int = 3) -> Table:
    labels = torch.arange(n) % n_classes
    noise = torch.randn(n, 2, generator=torch.Generator().manual_seed(0))
    features = torch.cat([torch.arange(float(n))[:, None], labels[:, None] + 0.1 * noise], dim=1)
    names = tuple("abcdefgh"[:n_classes])
    return Table(name="rows", labels=labels, classes=names, features=features, columns=("row", "x", "y"))


def history(losses: dict[int, float]) -> training.History:
    nothing = torch.zeros(1, dtype=torch.int64)
    results = tuple(training.Evaluation(0.0, 0.0, loss, nothing, 1) for loss in losses.values())
    return training.History((), results, tuple(losses), max(losses, default=0), 0, 0.0, False, 0)


class Fit:
    """In place of a training: the losses that it is told, fold by fold, and what it was given."""

    def __init__(self, *losses: dict[int, float]) -> None:
        self.losses = losses
        self.calls: list[dict[str, Any]] = []

    def __call__(self, model: nn.Module, train: Table, **settings: Any) -> training.History:
        self.calls.append({"model": model, "train": train, **settings})
        return history(self.losses[len(self.calls) - 1])


def rows(part: Table) -> list[int]:
    return part.features[:, 0].int().tolist()


def fresh(seed: int) -> nn.Module:
    return models.MLP([3, 3], seed=seed)


def test_the_mean_over_the_folds_decides():
    fit = Fit({4: 1.0, 8: 0.5, 12: 0.9}, {4: 0.8, 8: 0.7, 12: 0.1}, {4: 0.9, 8: 0.3, 12: 1.1})
    choice = choose_steps(fresh, table(), fit, most=12, folds=3)
    assert choice.steps == 8, "although one fold alone would choose 12"
    assert choice.losses == pytest.approx({4: 0.9, 8: 0.5, 12: 0.7})
    assert list(choice.losses) == [4, 8, 12]


@given(st.integers(1, 30), st.integers(2, 4))
def test_the_lowest_step_is_found_wherever_it_is(best: int, folds: int):
    fit = Fit(*({step: float(abs(step - best) + fold) for step in range(1, 31)} for fold in range(folds)))
    assert choose_steps(fresh, table(), fit, most=30, folds=folds).steps == best


def test_of_equals_the_first():
    fit = Fit(*[{3: 0.5, 6: 0.5, 9: 0.6}] * 4)
    assert choose_steps(fresh, table(), fit, most=9).steps == 3
    assert len(fit.calls) == 4, "four folds, if nothing is said"


def test_only_steps_that_all_folds_have_are_compared():
    choice = choose_steps(fresh, table(), Fit({2: 0.0, 6: 0.5, 9: 0.4}, {9: 0.6, 3: 0.0, 6: 0.3}), most=9, folds=2)
    assert choice.steps == 6
    assert choice.losses == pytest.approx({6: 0.4, 9: 0.5})


def test_each_fold_is_held_out_once_from_a_fresh_model():
    fit, made = Fit(*[{1: 1.0}] * 3), []

    def make_model(seed: int) -> nn.Module:
        made.append(seed)
        return fresh(seed)

    data = table(25, 3)
    choose_steps(make_model, data, fit, most=7, folds=3, seed=5)
    assert made == [5, 5, 5]
    assert len({id(call["model"]) for call in fit.calls}) == 3
    for call in fit.calls:
        assert (call["steps"], call["seed"]) == (7, 5)
        assert sorted(rows(call["train"]) + rows(call["validation"])) == list(range(25))
        assert all(number in call["train"].labels for number in range(3))
    held_out = [row for call in fit.calls for row in rows(call["validation"])]
    assert sorted(held_out) == list(range(25)), "every label serves once"


def test_another_seed_makes_other_folds():
    held_out = []
    for seed in (0, 0, 1):
        fit = Fit(*[{1: 1.0}] * 4)
        choose_steps(fresh, table(), fit, most=1, seed=seed)
        held_out.append([rows(call["validation"]) for call in fit.calls])
    assert held_out[0] == held_out[1] != held_out[2]


@given(st.lists(st.integers(2, 9), min_size=1, max_size=6), st.integers(2, 9), st.integers(0, 3))
def test_folds_have_their_share_of_every_class_and_are_alike_in_size(sizes: list[int], folds: int, seed: int):
    folds = min(folds, *sizes)
    order = torch.randperm(sum(sizes), generator=torch.Generator().manual_seed(seed))
    labels = (torch.arange(len(sizes)) * 2).repeat_interleave(torch.tensor(sizes))[order]
    fold = _folds(labels, folds, seed)
    assert set(fold.tolist()) == set(range(folds))
    for number, size in enumerate(sizes):
        counts = torch.bincount(fold[labels == 2 * number], minlength=folds)
        assert int(counts.sum()) == size
        assert int(counts.max() - counts.min()) <= 1
    counts = torch.bincount(fold, minlength=folds)
    assert int(counts.max() - counts.min()) <= 1


def test_on_a_real_training():
    def fit(model: nn.Module, train: Table, *, steps: int, validation: Table, seed: int) -> training.History:
        return training.fit(model, train, steps=steps, lr=0.3, batch_size=6, validation=validation, seed=seed)

    choice = choose_steps(fresh, table(), fit, most=12)
    assert list(choice.losses) == [3, 6, 9, 12]
    assert choice.losses[choice.steps] == min(choice.losses.values())


@pytest.mark.parametrize("folds", [-1, 0, 1, 6])
def test_folds_that_make_no_sense(folds: int):
    data = table(17, 3)  # 6, 6 and 5 of a class
    fit = Fit()
    with pytest.raises(ValueError, match=f"folds is {folds}; give 2 or more, and at most 5, the size of the smallest"):
        choose_steps(fresh, data, fit, most=3, folds=folds)
    assert fit.calls == []


def test_as_many_folds_as_the_smallest_class_has():
    data = table(17, 3).where(torch.tensor([True] * 9 + [False] + [True] * 7))
    assert set(_folds(data.labels, 5, 0).tolist()) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("losses", [({}, {}), ({1: 0.5}, {2: 0.5})])
def test_a_fit_that_does_not_validate(losses: tuple[dict[int, float], ...]):
    fit: Callable[..., training.History] = Fit(*losses)
    with pytest.raises(ValueError, match="no step in common; fit must hand validation= on to"):
        choose_steps(fresh, table(), fit, most=2, folds=2)
