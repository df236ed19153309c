"""Phases that join one optimizer, from the head to the input."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tlcourse import training
from tlcourse.finetuning import depths, gradual_unfreezing, unfreezing_plan


@given(st.data())
def test_the_plan_is_a_partition_from_the_top(data: st.DataObject):
    stages = data.draw(st.integers(1, 9))
    phases = data.draw(st.integers(2, stages + 1))
    model = nn.Sequential(*(nn.Linear(1, 1) for _ in range(stages + 1)))
    names = [str(i) for i in range(stages)]
    plan, depth = unfreezing_plan(model, phases=phases, stages=names), depths(model, stages=names)
    assert len(plan) == phases
    assert sorted(name for part in plan for name in part) == sorted(depth)
    assert plan[0] == [f"{stages}.weight", f"{stages}.bias"], "the head alone"
    for upper, lower in pairwise(plan):
        assert min(depth[name] for name in upper) > max(depth[name] for name in lower)
    sizes = [len({depth[name] for name in part}) for part in plan[1:]]
    assert max(sizes) - min(sizes) <= 1, "shared as evenly as can be"


@pytest.mark.parametrize("phases", [-1, 0, 1, 6])
def test_phases_that_make_no_sense(classifier, pictures, phases: int):
    model = classifier()
    with pytest.raises(ValueError, match=f"phases is {phases}; give 2 or more, and at most 5: one for each stage"):
        unfreezing_plan(model, phases=phases)
    with pytest.raises(ValueError, match=f"phases is {phases}"):
        gradual_unfreezing(model, pictures(), steps=10, lr=0.1, phases=phases)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_too_few_steps(classifier, pictures):
    model = classifier()
    with pytest.raises(ValueError, match="steps is 4 for 5 phases; give each at least one"):
        gradual_unfreezing(model, pictures(), steps=4, lr=0.1, phases=5)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert [h.steps for h in gradual_unfreezing(model, pictures(), steps=5, lr=0.1, phases=5)] == [1] * 5


@pytest.mark.parametrize(("steps", "phases"), [(7, 3), (8, 4), (11, 5), (9, 2)])
def test_steps_are_shared_exactly(classifier, pictures, steps: int, phases: int):
    found = [h.steps for h in gradual_unfreezing(classifier(), pictures(), steps=steps, lr=0.01, phases=phases)]
    assert len(found) == phases
    assert sum(found) == steps
    assert max(found) - min(found) <= 1


class Spy:
    """In place of `training.fit`: what each phase was given, and the model and the optimizer before and after."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.phases: list[dict] = []
        self.fit = training.fit
        monkeypatch.setattr(training, "fit", self)

    def __call__(self, model: nn.Module, dataset: object, **settings: object) -> training.History:
        rule = settings["optimizer"]
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        moments = _moments(rule, model)
        history = self.fit(model, dataset, **settings)
        after = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        moved = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
        self.phases.append(
            {**settings, "moved": moved, "moments before": moments, "moments after": _moments(rule, model)}
        )
        return history


def _moments(rule: torch.optim.Optimizer, model: nn.Module) -> dict[str, tuple[float, torch.Tensor]]:
    name = {parameter: name for name, parameter in model.named_parameters()}
    return {name[p]: (float(s["step"]), s["exp_avg"].clone()) for p, s in rule.state.items()}


@pytest.mark.parametrize("train_mode", [True, False])
def test_a_stage_keeps_still_until_its_phase_and_all_train_in_the_end(classifier, pictures, monkeypatch, train_mode):
    spy, model = Spy(monkeypatch), classifier()
    plan, parameters = unfreezing_plan(model, phases=4), dict(model.named_parameters())
    gradual_unfreezing(model, pictures(), steps=12, lr=0.02, phases=4, train_mode=train_mode)
    joined: set[str] = set()
    for phase, names in zip(spy.phases, plan, strict=True):
        joined |= set(names)
        norms = [name for name in model.state_dict() if name.endswith("running_mean")]
        moving = {name for name in norms if train_mode and name.replace("running_mean", "weight") in joined}
        assert {name for name in phase["moved"] if name in parameters} == joined
        assert {name for name in phase["moved"] if name in norms} == moving
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_adam_remembers_the_head_through_all_phases(classifier, pictures, monkeypatch):
    spy, model = Spy(monkeypatch), classifier()
    gradual_unfreezing(model, pictures(), steps=11, lr=0.02, phases=4)
    assert len({id(phase["optimizer"]) for phase in spy.phases}) == 1
    assert spy.phases[0]["moments before"] == {}
    for earlier, later in pairwise(spy.phases):
        assert earlier["moments after"].keys() == later["moments before"].keys()
        for name, (step, average) in earlier["moments after"].items():
            assert later["moments before"][name][0] == step
            assert torch.equal(later["moments before"][name][1], average)
            assert average.abs().max() > 0
    steps = {name: step for name, (step, _) in spy.phases[-1]["moments after"].items()}
    assert steps["head.weight"] == steps["head.bias"] == 11
    assert steps["backbone.blocks.2.0.weight"] == 11 - 2
    assert steps["backbone.stem.0.weight"] == 3


def test_equals_a_bare_loop_with_one_optimizer(classifier, pictures):
    ours, bare, data = classifier(), classifier(), pictures(20)
    settings = {"lr": 0.02, "weight_decay": 0.1}
    histories = gradual_unfreezing(
        ours, data, steps=7, phases=3, batch_size=8, schedule=training.cosine, clip=0.1, seed=3, **settings
    )
    losses: list[float] = []
    parameters, rule = dict(bare.named_parameters()), None
    bare.requires_grad_(False)
    for phase, (names, steps) in enumerate(zip(unfreezing_plan(bare, phases=3), (2, 2, 3), strict=True)):
        joining = [parameters[name].requires_grad_() for name in names]
        if rule is None:
            rule = torch.optim.AdamW(joining, **settings, fused=True)
        else:
            rule.add_param_group({"params": joining})
        for module in bare.modules():  # a frozen BatchNorm computes as in evaluation mode
            module.train(not isinstance(module, nn.BatchNorm2d) or module.weight.requires_grad)
        order = torch.randperm(20, generator=torch.Generator().manual_seed(3 + phase))
        for step, batch in enumerate(order.split(8)[:steps]):
            for group in rule.param_groups:
                group["lr"] = 0.02 * 0.5 * (1 + math.cos(math.pi * step / steps))
            loss = F.cross_entropy(bare(data.pixels[batch]), data.labels[batch])
            rule.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(bare.parameters(), 0.1)
            rule.step()
            losses.append(loss.item())
    assert [loss for history in histories for loss in history.losses] == pytest.approx(losses, abs=1e-6)
    for name, tensor in ours.state_dict().items():
        torch.testing.assert_close(tensor, bare.state_dict()[name], atol=1e-6, rtol=1e-5, msg=name)


def test_every_setting_reaches_the_loop(classifier, pictures, monkeypatch):
    spy, augment = Spy(monkeypatch), lambda pixels: pixels
    gradual_unfreezing(
        classifier(),
        pictures(),
        steps=6,
        lr=0.02,
        phases=2,
        stages=["backbone.blocks.0"],
        batch_size=5,
        schedule=training.cosine,
        augment=augment,
        clip=0.5,
        train_mode=False,
        seed=10,
    )
    for number, phase in enumerate(spy.phases):
        assert phase["seed"] == 10 + number
        assert (phase["steps"], phase["batch_size"], phase["clip"], phase["train_mode"]) == (3, 5, 0.5, False)
        assert (phase["schedule"], phase["augment"]) == (training.cosine, augment)
    groups = spy.phases[0]["optimizer"].param_groups
    assert [len(group["params"]) for group in groups] == [2 * 4 + 2, 2 * 4], "above the stage, and up to its end"
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(0.02, 0.01)] * 2
