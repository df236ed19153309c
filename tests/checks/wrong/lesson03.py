"""Typical wrong answers to the exercises of lesson 03, each with the message that it should get."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

# 3.1 Freezing


def hold_weights(module):
    for weight in module.parameters():
        weight.requires_grad = False


def stay(module):
    """The right way to hold a module in evaluation mode."""
    module.eval()
    module.train = lambda mode=True: module


def held(*, before=hold_weights, after=stay):
    """The right answer, with one part at a time to be replaced; both parts are given the backbone."""

    def freeze_backbone(model):
        before(model.backbone)
        after(model.backbone)

    return freeze_backbone


def nothing(module):
    """Leaves the module as it is."""


def no_grad_block(module):
    with torch.no_grad():
        for weight in module.parameters():
            weight.detach()


def no_grad_forward(module):
    module.forward = torch.no_grad()(module.forward)


def whole_model(model):
    hold_weights(model)
    stay(model.backbone)


def a_copy(model):
    model = copy.deepcopy(model)
    held()(model)
    return model


def no_gradients_at_all(model):
    held()(model)
    model.forward = torch.no_grad()(model.forward)


def model_deaf(model):
    hold_weights(model.backbone)
    stay(model)


def each_norm(kinds, parts):
    def hold(backbone):
        for part in parts(backbone):
            if isinstance(part, kinds):
                stay(part)

    return hold


def set_norms(**values):
    def change(backbone):
        for part in backbone.modules():
            if isinstance(part, _BatchNorm):
                for name, value in values.items():
                    setattr(part, name, value)

    return change


def reset_statistics(backbone):
    for part in backbone.modules():
        if isinstance(part, _BatchNorm):
            part.reset_running_stats()
    stay(backbone)


def zero_weights(backbone):
    for weight in backbone.parameters():
        weight.data.zero_()
    stay(backbone)


def without_affine(backbone):
    set_norms(affine=False, weight=None, bias=None)(backbone)
    stay(backbone)


def only(kind):
    def hold(backbone):
        for part in backbone.modules():
            if isinstance(part, kind):
                hold_weights(part)

    return hold


def no_biases(backbone):
    for name, weight in backbone.named_parameters():
        if "weight" in name:
            weight.requires_grad = False


def without_mode(backbone):
    backbone.eval()
    backbone.train = lambda: backbone


def returns_nothing(model):
    hold_weights(model.backbone)
    switch = model.train

    def train(mode=True):
        switch(mode)
        model.backbone.eval()

    model.train = train


# 3.2 Learning rates by depth


def groups_with(
    rate=lambda i, top, lr, decay: lr * decay ** (top - i),
    *,
    params=lambda stage: [w for w in stage.parameters() if w.requires_grad],
    keep=lambda stage: True,
):
    """The right answer, with one part at a time to be replaced: the rate of stage i, whose head is number top."""

    def layer_decay_groups(stages, lr, decay):
        stages = [stage for stage in stages if keep(stage)]
        top = len(stages) - 1
        return [{"params": params(stage), "lr": rate(i, top, lr, decay)} for i, stage in enumerate(stages)]

    return layer_decay_groups


def lr_shrinks_first(stages, lr, decay):
    groups = []
    for stage in reversed(stages):
        lr *= decay
        groups.append({"params": [w for w in stage.parameters() if w.requires_grad], "lr": lr})
    return groups


def one_generator(stages, lr, decay):
    groups = []
    for i, stage in enumerate(stages):
        weights = (w for w in stage.parameters() if w.requires_grad)
        if any(True for _ in weights):
            groups.append({"params": weights, "lr": lr * decay ** (len(stages) - 1 - i)})
    return groups


def layer_by_layer(stages, lr, decay):
    layers = [layer for stage in stages for layer in stage if list(layer.parameters())]
    return groups_with()(layers, lr, decay)


def unfreezes(stages, lr, decay):
    for stage in stages:
        stage.requires_grad_(True)
    return groups_with()(stages, lr, decay)


def without_rates(stages, lr, decay):
    return [{"params": list(stage.parameters())} for stage in stages]


def of_each_module(stage):
    return [w for module in stage.modules() for w in module.parameters() if w.requires_grad]


def first_level(stage):
    return [w for layer in stage.children() for w in layer.parameters(recurse=False) if w.requires_grad]


# 3.3 Gradual unfreezing


def freeze_all(stages):
    for stage in stages:
        stage.requires_grad_(False)


def adam(stages, lr):
    return torch.optim.Adam([w for stage in stages for w in stage.parameters()], lr=lr)


def phases(
    *,
    order=reversed,
    first=freeze_all,
    unfreeze=lambda stage: stage.requires_grad_(True),
    add=lambda o, stage, lr: o.add_param_group({"params": stage.parameters()}),
    make=lambda stage, lr: torch.optim.Adam(stage.parameters(), lr=lr),
    give=lambda optimizer: optimizer,
):
    """The right answer, with one part at a time to be replaced."""

    def gradual(stages, train_phase, lr):
        first(stages)
        optimizer = None
        for stage in order(stages):
            unfreeze(stage)
            if optimizer is None:
                optimizer = make(stage, lr)
            else:
                add(optimizer, stage, lr)
            train_phase(give(optimizer))

    return gradual


def new_optimizer(stages, train_phase, lr):
    freeze_all(stages)
    for i in reversed(range(len(stages))):
        stages[i].requires_grad_(True)
        train_phase(adam(stages[i:], lr))


def only_the_new_one(stages, train_phase, lr):
    freeze_all(stages)
    for stage in reversed(stages):
        stage.requires_grad_(True)
        train_phase(adam([stage], lr))


def refreezes(stages, train_phase, lr):
    optimizer = adam(stages, lr)
    for stage in reversed(stages):
        freeze_all(stages)
        stage.requires_grad_(True)
        train_phase(optimizer)


def adds_twice(stages, train_phase, lr):
    freeze_all(stages)
    optimizer = adam(stages[-1:], lr)
    for i in reversed(range(len(stages))):
        stages[i].requires_grad_(True)
        optimizer.add_param_group({"params": stages[i].parameters()})
        train_phase(optimizer)


def trains_first(stages, train_phase, lr):
    freeze_all(stages)
    optimizer = adam(stages[-1:], lr)
    stages[-1].requires_grad_(True)
    train_phase(optimizer)
    for stage in reversed(stages[:-1]):
        train_phase(optimizer)
        stage.requires_grad_(True)
        optimizer.add_param_group({"params": stage.parameters()})


def two_at_first(stages, train_phase, lr):
    freeze_all(stages)
    optimizer = adam(stages[-1:], lr)
    stages[-1].requires_grad_(True)
    for stage in reversed(stages[:-1]):
        stage.requires_grad_(True)
        optimizer.add_param_group({"params": stage.parameters()})
        train_phase(optimizer)


def never_the_input(stages, train_phase, lr):
    first, *rest = stages
    freeze_all([first])
    phases()(rest, train_phase, lr)


# 3.4 L2-SP


def values(module):
    return [weight.detach().clone() for weight in module.parameters()]


def squares(weights, start):
    return sum((w - w0).square().sum() for w, w0 in zip(weights, start, strict=True))


def penalty(
    *,
    copy=values,
    here=lambda module: module.parameters(),
    way=squares,
    end=lambda a, old, b, new: a / 2 * old + b / 2 * new,
    finish=lambda value: value,
):
    """The right answer, with one part at a time to be replaced."""

    def l2_sp(model, alpha, beta):
        start = copy(model.backbone)

        def omega():
            new = list(here(model.head))
            old = way(here(model.backbone), start)
            return finish(end(alpha, old, beta, way(new, [torch.zeros(1)] * len(new))))

        return omega

    return l2_sp


def head_to_start(model, alpha, beta):
    start = values(model)
    return lambda: alpha / 2 * squares(model.parameters(), start)


def head_in_both(model, alpha, beta):
    start = values(model)
    heads = model.head.parameters
    return lambda: alpha / 2 * squares(model.parameters(), start) + beta / 2 * sum(w.square().sum() for w in heads())


def head_in_name(model, alpha, beta):
    start = {name: weight.detach().clone() for name, weight in model.named_parameters()}

    def omega():
        total = torch.zeros(())
        for name, weight in model.named_parameters():
            total = total + (beta / 2 * weight.square().sum() if "head" in name else 0)
            total = total + (0 if "head" in name else alpha / 2 * (weight - start[name]).square().sum())
        return total

    return omega


def whole_state(model, alpha, beta):
    start = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    heads = model.head.parameters

    def omega():
        now = model.backbone.state_dict(keep_vars=True)
        old = sum((now[name].double() - start[name]).square().sum() for name in start)
        return alpha / 2 * old + beta / 2 * sum(w.square().sum() for w in heads())

    return omega


def no_bias(module):
    return [weight for name, weight in module.named_parameters() if not name.endswith("bias")]


def by(measure):
    return lambda weights, start: sum(measure(w - w0) for w, w0 in zip(weights, start, strict=True))


WRONG = {
    "freeze_backbone": [
        ("weights only", held(after=nothing), "Statistics are no weights"),
        ("eval once", held(after=nn.Module.eval), "until the next `model.train"),
        ("eval only, for good", held(before=nothing), "Evaluation mode holds statistics"),
        ("no_grad block", held(before=no_grad_block, after=nothing), "neither changes the weights"),
        ("no_grad in the forward pass", held(before=no_grad_forward), "No gradient arrives there"),
        ("the head too", whole_model, "The head is new"),
        ("a copy", a_copy, "another model, a copy"),
        ("nothing has a gradient", no_gradients_at_all, "without any gradient"),
        ("momentum 0", held(after=set_norms(momentum=0.0)), "normalises by the batch at hand"),
        ("statistics reset", held(after=reset_statistics), "Statistics were reset"),
        ("weights zeroed", held(after=zero_weights), "Weights have other values"),
        ("affine off", held(after=without_affine), "Keep them all"),
        ("all but BatchNorm's weights", held(before=only((nn.Conv2d, nn.Linear))), "a weight and a bias of its own"),
        ("BatchNorm's weights only", held(before=only(_BatchNorm)), "Some parts were left out"),
        ("no biases", held(before=no_biases), "The biases still learn"),
        ("BatchNorm2d only", held(after=each_norm(nn.BatchNorm2d, nn.Module.modules)), "This one is a BatchNorm1d"),
        ("first level only", held(after=each_norm(_BatchNorm, nn.Module.children)), "inside a block"),
        ("the whole model deaf", model_deaf, "no longer reaches the head"),
        ("train without mode", held(after=without_mode), "has to take the mode"),
        ("train returns nothing", returns_nothing, "returns its module"),
    ],
    "layer_decay_groups": [
        ("reversed", groups_with(lambda i, top, lr, decay: lr * decay**i), "What is near the input"),
        ("reversed, once too often", groups_with(lambda i, top, lr, decay: lr * decay ** (i + 1)), "and even it"),
        ("all the same", groups_with(lambda i, top, lr, decay: lr), "has no effect"),
        ("once too often", lr_shrinks_first, "Once too often"),
        ("once too few", groups_with(lambda i, top, lr, decay: lr * decay ** max(0, top - 1 - i)), "Once too few"),
        ("two rates", groups_with(lambda i, top, lr, decay: lr * (1 if i == top else decay)), "Two rates only"),
        ("linear", groups_with(lambda i, top, lr, decay: lr * (1 - (1 - decay) * (top - i))), "not a multiple"),
        ("divided", groups_with(lambda i, top, lr, decay: lr / decay ** (top - i)), "You divide by decay"),
        ("lr forgotten", groups_with(lambda i, top, lr, decay: decay ** (top - i)), "lr is missing"),
        ("frozen stages not counted", groups_with(keep=lambda s: s[0].weight.requires_grad), "no group has stages.3"),
        (
            "depth of what trains",
            groups_with(keep=lambda s: any(w.requires_grad for w in s.parameters())),
            "only stages that train",
        ),
        ("frozen ones too", groups_with(params=lambda s: list(s.parameters())), "whose requires_grad is True"),
        ("unfreezes", unfreezes, "only sort weights"),
        ("no biases", groups_with(params=no_bias), "All biases are missing"),
        ("first level", groups_with(params=first_level), "no group has stages.0..2"),
        ("of each module", groups_with(params=of_each_module), "updated twice"),
        ("generator used twice", one_generator, "gone through once"),
        ("copies", groups_with(params=values), "copies, or"),
        ("layer by layer", layer_by_layer, "Count stages, not layers"),
        ("no rates", without_rates, "the rate of the optimizer"),
    ],
    "gradual": [
        ("new optimizer each phase", new_optimizer, "forgets what Adam has learned"),
        ("group forgotten", phases(add=lambda o, stage, lr: None), "never moves. Add a group"),
        ("still frozen", phases(unfreeze=lambda stage: None), "Unfreeze it too"),
        ("all at once", lambda stages, phase, lr: phase(adam(stages, lr)), "All stages train at once"),
        ("input first", phases(order=iter), "The wrong end"),
        ("waiting stages not frozen", phases(first=lambda stages: None), "pile up"),
        ("added twice", adds_twice, "A stage joins once"),
        ("frozen again", refreezes, "Do not freeze a stage again"),
        ("an optimizer for each stage", only_the_new_one, "has the new stage only"),
        ("trains, then unfreezes", trains_first, "should join before this phase"),
        ("two in the first phase", two_at_first, "joins too early"),
        ("one stage never", never_the_input, "was called 3 times"),
        (
            "weights without biases",
            phases(make=lambda stage, lr: torch.optim.Adam(no_bias(stage), lr=lr)),
            "joins with all of its parameters",
        ),
        (
            "another rate",
            phases(add=lambda o, stage, lr: o.add_param_group({"params": stage.parameters(), "lr": lr / 10})),
            "every stage learns at `lr`",
        ),
        (
            "without memory",
            phases(make=lambda stage, lr: torch.optim.SGD(stage.parameters(), lr=lr)),
            "has no memory",
        ),
        ("hands on something else", phases(give=lambda optimizer: optimizer.param_groups), "was given list"),
    ],
    "l2_sp": [
        (
            "to zero",
            penalty(copy=lambda module: [torch.zeros_like(w) for w in module.parameters()]),
            "You pull to zero",
        ),
        ("not copied", penalty(copy=lambda module: list(module.parameters())), "Without `clone"),
        ("a number", lambda model, alpha, beta: penalty()(model, alpha, beta)(), "A number belongs to one moment"),
        (
            "computed once",
            lambda model, alpha, beta: (lambda value: lambda: value)(penalty()(model, alpha, beta)()),
            "The value is that of the beginning",
        ),
        ("head to its start", head_to_start, "its random start"),
        ("head in both", head_in_both, "The head is in both parts"),
        ("head forgotten", penalty(end=lambda a, old, b, new: a / 2 * old), "The head is missing"),
        ("no ½", penalty(end=lambda a, old, b, new: a * old + b * new), "factor ½"),
        ("changed places", penalty(end=lambda a, old, b, new: b / 2 * old + a / 2 * new), "changed places"),
        ("norms", penalty(way=by(torch.linalg.vector_norm)), "Lengths are not squared"),
        ("means", penalty(way=by(lambda x: x.square().mean())), "a mean of squares"),
        ("absolute values", penalty(way=by(lambda x: x.abs().sum())), "absolute values"),
        ("sum, then square", penalty(way=by(lambda x: x.sum().square())), "Square each entry first"),
        (
            "no biases",
            penalty(here=no_bias, copy=lambda module: [w.detach().clone() for w in no_bias(module)]),
            "The biases are missing",
        ),
        ("state_dict", whole_state, "and even a counter"),
        ("head in the name", head_in_name, "also finds the layer conv_head"),
        ("detached", penalty(finish=lambda value: value.detach()), "pull at nothing"),
        ("a float", penalty(finish=lambda value: value.item()), "A float does not remember"),
        (
            "clone without detach",
            penalty(copy=lambda m: [w.clone() for w in m.parameters()]),
            "the two gradients cancel",
        ),
    ],
}
