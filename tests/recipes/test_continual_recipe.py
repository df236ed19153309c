"""The sequences of lesson 14: what is chosen never sees the test part, and a strategy gets what it was told to."""

from __future__ import annotations

import torch

from tlcourse import data, peft, shift
from tlcourse.recipes import continual_learning as recipe


def rows_of(tables) -> set[tuple[float, ...]]:
    return {tuple(row.tolist()) for table in tables for row in table.features}


def test_strengths_are_chosen_without_the_test_part():
    fit, judge = recipe.digits(choosing=True)
    train, test = recipe.digits(choosing=False)
    assert len(fit) + len(judge) == len(train)
    assert rows_of([fit, judge]) == rows_of([train])
    assert len(test) == len(data.optdigits("test"))
    assert set(recipe.SEEDS).isdisjoint(recipe.CHOICE_SEEDS)


def test_the_two_digit_settings_have_the_same_pairs_and_another_exam():
    by_class, by_task = (recipe.sequence(setting, 3) for setting in ("class", "task"))
    assert [t.classes for t in by_class] == [t.classes for t in by_task]
    assert {t.outputs for t in by_class} == {tuple(range(10))}
    assert [t.outputs for t in by_task] == [t.classes for t in by_task]


def test_the_best_strength_is_that_of_the_right_setting_and_arm():
    rows = [
        {"part": "choose", "setting": setting, "arm": "EWC", "weight": weight, "seed": seed, "end": [end, end]}
        for setting, ends in (("class", (0.1, 0.2, 0.9, 0.3, 0.4)), ("task", (0.9, 0.2, 0.1, 0.1, 0.1)))
        for weight, end in zip(recipe.WEIGHTS["EWC"], ends, strict=True)
        for seed in (100, 101)
    ]
    assert recipe.best_weight(rows, "class", "EWC") == 100.0
    assert recipe.best_weight(rows, "task", "EWC") == 1.0


def test_every_strategy_has_its_name_and_strength():
    assert type(recipe.strategy("naive", None, 0)) is shift.Naive
    ewc, lwf, replay = (recipe.strategy(arm, 7.0, 0) for arm in ("EWC", "LwF", "replay"))
    assert isinstance(ewc, shift.EWC)
    assert isinstance(lwf, shift.LwF)
    assert isinstance(replay, shift.Replay)
    assert (ewc.weight, lwf.weight, replay.memory.capacity) == (7.0, 7.0, recipe.KEPT)
    assert replay.batch_size * 2 == recipe.BATCH


def test_an_adapter_per_task_leaves_the_first_network_alone(monkeypatch):
    monkeypatch.setattr(recipe, "STEPS", 30)
    tasks, model = recipe.sequence("task", 0)[:3], recipe.network("task", 0)
    found = recipe.adapters(model, tasks, 0)
    assert min(found["told"]) > 0.8
    assert len(found["guessed"]) == 3
    assert peft.adapters(model) == tuple(t.name for t in tasks[1:])
    peft.switch(model, None)
    with torch.no_grad():
        own = shift.task_accuracy(model, tasks[0])
    assert round(own, 4) == found["told"][0]
