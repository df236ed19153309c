"""Typical wrong answers to the exercises of lesson 05, each with the message that it should get."""

from __future__ import annotations

import copy
import math
from difflib import get_close_matches

import torch
import torch.nn.functional as F
from torch import nn

# 5.1 Counting


def learns(weight):
    return weight.requires_grad


def counted(trained=lambda model: total(filter(learns, model.parameters())), whole=lambda m: total(m.parameters())):
    """The right answer, with one of the two numbers to be replaced."""
    return lambda model: (trained(model), whole(model))


def total(weights):
    return sum(weight.numel() for weight in weights)


def with_names(keep):
    return counted(lambda model: total(weight for name, weight in model.named_parameters() if keep(name, weight)))


def each_module(model):
    return [weight for module in model.modules() for weight in module.parameters()]


def each_name(model):
    return [weight for _, weight in model.named_parameters(remove_duplicate=False)]


def lora_names(name, weight):
    return name.endswith((".A", ".B"))


right_count = counted()


# 5.2 The layer


def kaiming(factor):
    nn.init.kaiming_uniform_(factor, a=math.sqrt(5))


def freeze(layer):
    layer.base.requires_grad_(False)


def correction(layer, x):
    return x @ layer.A.T @ layer.B.T


def built(
    *,
    hold=lambda base: base,
    a=lambda base, rank: torch.empty(rank, base.in_features),
    b=lambda base, rank: torch.zeros(base.out_features, rank),
    start=lambda layer: kaiming(layer.A),
    wrap=nn.Parameter,
    frozen=freeze,
    scale=lambda alpha, rank: alpha / rank,
    forward=lambda layer, x: layer.base(x) + layer.scale * correction(layer, x),
    after=lambda layer: None,
):
    """The right answer, with one part at a time to be replaced."""

    class LoRALinear(nn.Module):
        def __init__(self, base, rank, alpha):
            super().__init__()
            self.base = hold(base)
            self.alpha, self.rank = alpha, rank
            self.A, self.B = wrap(a(base, rank)), wrap(b(base, rank))
            self.scale = scale(alpha, rank)
            start(self)
            frozen(self)
            after(self)

        def forward(self, x):
            return forward(self, x)

    return LoRALinear


def random_b(base, rank):
    return torch.randn(base.out_features, rank)


def drawn(initialise):
    """A drawn in another way."""
    return built(start=lambda layer: initialise(layer.A.data))


def writes_into_the_base(layer, x):
    layer.base.weight.data += layer.scale * (layer.B @ layer.A)
    return layer.base(x)


def frozen_by_no_grad(layer, x):
    with torch.no_grad():
        old = layer.base(x)
    return old + layer.scale * correction(layer, x)


def freeze_weight(layer):
    layer.base.weight.requires_grad = False


def without_scale(layer):
    del layer.scale


def rows_only(layer, x):
    return layer.base(x) + layer.scale * (layer.B @ layer.A @ x.transpose(0, -1)).transpose(0, -1)


# 5.3 Merging


def change(layer):
    return (layer.scale * layer.B @ layer.A).detach()


def merged(weight, *, bias=lambda layer: layer.base.bias):
    """A new layer with this weight, and the base's bias unless told otherwise."""

    def merge(layer):
        with torch.no_grad():
            values = weight(layer)
        new = nn.Linear(values.shape[1], values.shape[0], bias=layer.base.bias is not None)
        new.weight = nn.Parameter(values)
        if new.bias is not None:
            new.bias = bias(layer)
        return new

    return merge


def w(layer):
    return layer.base.weight


def own_bias(layer):
    new = nn.Linear(layer.base.in_features, layer.base.out_features)
    new.weight = nn.Parameter(w(layer) + change(layer))
    return new


def bias_always(layer):
    new = own_bias(layer)
    if layer.base.bias is not None:
        new.bias = layer.base.bias
    return new


def in_place(layer):
    layer.base.weight.data += change(layer)
    return layer.base


def shallow_copy(layer):
    new = copy.copy(layer.base)
    new.weight = nn.Parameter(w(layer) + change(layer))
    return new


def twice(layer):
    layer.base.weight.data += change(layer)
    return merged(lambda layer: w(layer) + change(layer))(layer)


def clears_the_adapter(layer):
    new = merged(lambda layer: w(layer) + change(layer))(layer)
    nn.init.zeros_(layer.B)
    return new


def the_layer_itself(layer):
    layer.base.weight.data += change(layer)
    nn.init.zeros_(layer.B)
    return layer


# 5.4 Targets


def full_match(name, target):
    return name == target or name.endswith(f".{target}")


def told(target, names, close=get_close_matches):
    """The right words for a target without a match."""
    leaves = list(dict.fromkeys(name.rsplit(".", 1)[-1] for name in names))
    return f"target {target!r} matches no linear layer; there are: {', '.join(close(target, leaves) or leaves)}"


def found(
    *,
    matches=full_match,
    kind=nn.Linear,
    fails=lambda targets, names, match: [t for t in targets if not any(match(n, t) for n in names)],
    say=told,
    error=ValueError,
    chosen=lambda targets, names, match: [n for n in names if any(match(n, t) for t in targets)],
    names=lambda model: model.named_modules(),
):
    """The right answer, with one part at a time to be replaced."""

    def find_targets(model, targets):
        there = [name for name, module in names(model) if isinstance(module, kind) and name]
        for target in fails(targets, there, matches):
            raise error(say(target, there))
        return chosen(targets, there, matches)

    return find_targets


def never(targets, names, match):
    return []


def nothing_at_all(targets, names, match):
    return targets if not any(match(n, t) for n in names for t in targets) else []


def target_by_target(targets, names, match):
    return [n for t in targets for n in names if match(n, t)]


def without_repeats(targets, names, match):
    return list(dict.fromkeys(target_by_target(targets, names, match)))


def same_near_name(target, names):
    leaves = [name.rsplit(".", 1)[-1] for name in names]
    return f"target {target!r} matches nothing; near: {get_close_matches(target, leaves) or set(leaves)}"


def near_or_nothing(target, names):
    return told(target, names, close=lambda t, leaves: get_close_matches(t, leaves) or ["no near name"])


def norm_counts(model, targets):
    """A target counts as matched when any module has the name."""
    modules = dict(model.named_modules())
    names = [name for name in modules if isinstance(modules[name], nn.Linear)]
    for target in targets:
        if not any(full_match(name, target) for name in modules):
            raise ValueError(told(target, names))
    return [name for name in names if any(full_match(name, target) for target in targets)]


# 5.5 Energy


def energy(part, *, of=lambda before, after: after - before, values=torch.linalg.svdvals):
    """A share made from the singular values and k."""
    return lambda before, after, k: part(values(of(before, after)), k)


def squares(s, k):
    return (s**2)[:k].sum() / (s**2).sum()


def whole_rows(before, after, k):
    d = (after - before) ** 2
    return d[:k].sum() / d.sum()


def writes(before, after, k):
    after -= before
    return squares(torch.linalg.svdvals(after), k)


def gram(d):
    return torch.linalg.eigvalsh(d @ d.T)


WRONG = {
    "count": [
        ("all as trained", counted(lambda model: total(model.parameters())), "Everything is counted"),
        ("frozen", with_names(lambda name, weight: not weight.requires_grad), "These are the frozen ones"),
        (
            "head forgotten",
            with_names(lambda n, weight: learns(weight) and lora_names(n, weight)),
            "has to count it\\.$",
        ),
        ("by name, no head", with_names(lora_names), "And a frozen adapter is counted"),
        ("by name", with_names(lambda n, weight: lora_names(n, weight) or "head" in n), "adapter of another task"),
        ("only A", with_names(lambda name, weight: learns(weight) and not name.endswith(".B")), "Only one of the two"),
        (
            "tied twice, trained",
            counted(lambda model: total(filter(learns, each_name(model)))),
            "stands in two places. It is one set",
        ),
        ("nested, trained", counted(lambda model: total(filter(learns, each_module(model)))), "Nested modules are"),
        (
            "weights only",
            with_names(lambda n, weight: learns(weight) and weight.ndim > 1),
            "bias of the head is missing",
        ),
        (
            "tensors, trained",
            counted(lambda model: len(list(filter(learns, model.parameters())))),
            "Sum up their `numel",
        ),
        ("share", counted(lambda m: right_count(m)[0] / right_count(m)[1]), "This is a share"),
        ("percentage", counted(lambda m: 100 * right_count(m)[0] / right_count(m)[1]), "This is a percentage"),
        (
            "tied twice, all",
            counted(whole=lambda model: total(each_name(model))),
            "is one parameter, and in memory once",
        ),
        ("state_dict", counted(whole=lambda model: total(model.state_dict().values())), "state_dict lists"),
        ("buffers", counted(whole=lambda m: total([*m.parameters(), *m.buffers()])), "Buffers are counted too"),
        ("nested, all", counted(whole=lambda model: total(each_module(model))), "goes into nested modules"),
        ("all is frozen", counted(whole=lambda m: right_count(m)[1] - right_count(m)[0]), "leaves out what is trained"),
        ("tensors, all", counted(whole=lambda model: len(list(model.parameters()))), "`numel\\(\\)` says how many"),
        (
            "first axis",
            counted(whole=lambda model: sum(map(len, model.parameters()))),
            "The second number: the entries",
        ),
        ("changed places", lambda model: right_count(model)[::-1], "changed places"),
        ("one number", lambda model: right_count(model)[0], "Return two numbers"),
    ],
    "lora_layer": [
        ("both random", built(b=random_b), "A and B are both random"),
        ("both zero", built(start=lambda layer: nn.init.zeros_(layer.A)), "A and B both start at zero"),
        ("A zero", built(b=random_b, start=lambda layer: nn.init.zeros_(layer.A)), "Here A is zero and B is random"),
        (
            "A as (in, rank)",
            built(
                a=lambda base, rank: torch.empty(base.in_features, rank),
                forward=lambda layer, x: layer.base(x) + layer.scale * (x @ layer.A @ layer.B.T),
            ),
            "hands its initialiser the rank for the fan-in",
        ),
        (
            "B as (rank, out)",
            built(
                b=lambda base, rank: torch.zeros(rank, base.out_features),
                forward=lambda layer, x: layer.base(x) + layer.scale * (x @ layer.A.T @ layer.B),
            ),
            "as nn.Linear stores its weight",
        ),
        ("fan-out", drawn(lambda a: nn.init.kaiming_uniform_(a, a=math.sqrt(5), mode="fan_out")), "the fan-out"),
        ("default Kaiming", drawn(nn.init.kaiming_uniform_), "draws √6 times as far"),
        ("1/in", drawn(lambda a: a.uniform_(-1 / a.shape[1], 1 / a.shape[1])), "the root is missing"),
        ("standard normal", drawn(nn.init.normal_), "Use nn.init.kaiming_uniform_"),
        ("positive", drawn(lambda a: a.uniform_(0, a.shape[1] ** -0.5)), "`torch.rand` starts at 0"),
        ("plain tensors", built(wrap=lambda values: values.requires_grad_()), "does not find a plain tensor"),
        ("no scale", built(forward=lambda layer, x: layer.base(x) + correction(layer, x)), "The scale is missing"),
        ("alpha alone", built(scale=lambda alpha, rank: alpha), "The scale is alpha alone"),
        ("rsLoRA", built(scale=lambda alpha, rank: alpha / rank**0.5), "that of rsLoRA"),
        ("upside down", built(scale=lambda alpha, rank: rank / alpha), "upside down"),
        (
            "scaled twice",
            built(forward=lambda layer, x: layer.base(x) + layer.scale**2 * correction(layer, x)),
            "The scale acts twice",
        ),
        (
            "base scaled",
            built(
                forward=lambda layer, x: layer.scale * (layer.base(x) + correction(layer, x)), scale=lambda a, r: a / r
            ),
            "With B at zero",
        ),
        (
            "scale not kept",
            built(
                forward=lambda layer, x: layer.base(x) + layer.alpha / layer.rank * correction(layer, x),
                after=without_scale,
            ),
            "Keep alpha / rank as",
        ),
        (
            "transposed",
            built(
                forward=lambda layer, x: (
                    layer.base(x)
                    + layer.scale
                    * (F.linear(x, layer.A) @ layer.B.T if x.shape[-1] != layer.B.shape[0] else x @ layer.B @ layer.A)
                )
            ),
            "B A is transposed",
        ),
        ("correction alone", built(forward=lambda layer, x: layer.scale * correction(layer, x)), "The base is missing"),
        (
            "bias lost",
            built(forward=lambda layer, x: F.linear(x, layer.base.weight + layer.scale * layer.B @ layer.A)),
            "The bias of the base is lost",
        ),
        (
            "subtracted",
            built(forward=lambda layer, x: layer.base(x) - layer.scale * correction(layer, x)),
            "is subtracted",
        ),
        ("writes into the base", built(forward=writes_into_the_base), "writes the correction into the base"),
        ("base trains", built(frozen=lambda layer: None), "The base still learns"),
        ("bias trains", built(frozen=freeze_weight), "A part of the base still learns"),
        ("all frozen", built(frozen=lambda layer: layer.requires_grad_(False)), "Freeze the base, not the whole layer"),
        (
            "scale trains",
            built(scale=lambda alpha, rank: nn.Parameter(torch.tensor(alpha / rank))),
            "What else is a constant",
        ),
        ("a copy", built(hold=copy.deepcopy), "holds a copy or the bare numbers"),
        ("rows only", built(forward=rows_only), "Features are the last axis"),
        ("base without gradient", built(forward=frozen_by_no_grad), "The base runs without gradient"),
        (
            "x detached",
            built(forward=lambda layer, x: layer.base(x) + layer.scale * correction(layer, x.detach())),
            "The correction passes no gradient",
        ),
        (
            "factor detached",
            built(forward=lambda layer, x: layer.base(x) + layer.scale * (x @ layer.A.data.T @ layer.B.T)),
            "cut it off from the loss",
        ),
        ("other names", lambda base, rank, alpha: base, "look for `self.A` and `self.B`"),
    ],
    "merge": [
        ("scale forgotten", merged(lambda layer: w(layer) + layer.B @ layer.A), "The scale is forgotten"),
        ("scale twice", merged(lambda layer: w(layer) + layer.scale**2 * layer.B @ layer.A), "The scale acts twice"),
        ("all scaled", merged(lambda layer: layer.scale * (w(layer) + layer.B @ layer.A)), "on the weight of the base"),
        (
            "transposed",
            merged(lambda layer: w(layer) + layer.scale * layer.A.T @ layer.B.T),
            "The change is transposed",
        ),
        ("A B", merged(lambda layer: w(layer) + layer.scale * layer.A @ layer.B), "only fits because all is square.$"),
        ("A B, transposed", merged(lambda layer: w(layer) + layer.B.T @ layer.A.T), "And it is transposed"),
        ("subtracted", merged(lambda layer: w(layer) - change(layer)), "The change is subtracted"),
        ("base alone", merged(lambda layer: w(layer).clone()), "still that of the base"),
        ("change alone", merged(change), "This is the change alone"),
        ("bias lost", merged(lambda layer: w(layer) + change(layer), bias=lambda layer: None), "The bias is lost"),
        ("own bias", own_bias, "Put that of the base in its place"),
        ("bias where none is", bias_always, "This base has no bias"),
        (
            "bias scaled",
            merged(
                lambda layer: w(layer) + change(layer), bias=lambda layer: nn.Parameter(layer.scale * layer.base.bias)
            ),
            "The scale acts on the bias too",
        ),
        ("in place", in_place, "The base itself has got the change"),
        ("shallow copy", shallow_copy, "holds the very weight of the base"),
        ("twice", twice, "The change is in twice"),
        ("adapter cleared", clears_the_adapter, "The adapter itself was changed"),
        ("the layer", the_layer_itself, "Return one plain nn.Linear"),
        ("a weight", lambda layer: w(layer) + change(layer), "A weight alone is no layer"),
    ],
    "find_targets": [
        ("silent", found(fails=never), "No layer matches, and nobody is told"),
        ("only when all fail", found(fails=nothing_at_all), "some adapters are missing without a word"),
        ("any module counts", norm_counts, "'norm' is a LayerNorm"),
        ("substring", found(matches=lambda name, target: target in name), "nearly everything.$"),
        (
            "substring of any module",
            found(matches=lambda name, target: target in name, kind=nn.Module),
            "nearly everything. And only",
        ),
        ("endswith", found(matches=str.endswith), "takes the end of a word for a word"),
        (
            "last part",
            found(matches=lambda name, target: name.rsplit(".", 1)[-1] == target),
            "matches the end of a name after a dot",
        ),
        (
            "never the whole name",
            found(matches=lambda name, target: name.endswith(f".{target}")),
            "may be the whole name",
        ),
        ("first level", found(names=lambda model: model.named_children()), "finds all, `named_children`"),
        ("twice", found(chosen=target_by_target), "would get two adapters"),
        ("by target", found(chosen=without_repeats), "in the order of the targets"),
        (
            "all must match",
            found(chosen=lambda ts, names, match: [n for n in names if all(match(n, t) for t in ts)]),
            "if any of them matches",
        ),
        ("assertion", found(error=AssertionError), "A wrong argument is a ValueError"),
        ("no target", found(say=lambda target, names: "no layer matches"), "does not say which target"),
        ("no near names", found(say=lambda target, names: f"{target} matches nothing"), "look for near names"),
        ("all names", found(say=lambda target, names: f"{target} is not one of {names}"), "All names are listed"),
        ("near again and again", found(say=same_near_name), "stands there for every layer"),
        ("near or nothing", found(say=near_or_nothing), "Nothing comes near"),
        ("a number", lambda model, targets: len(found()(model, targets)), "Return a list of names"),
    ],
    "energy_share": [
        ("not squared", energy(lambda s, k: s[:k].sum() / s.sum()), "The singular values are not squared"),
        ("count", energy(lambda s, k: k / len(s)), "k over the number of directions"),
        ("entries", lambda before, after, k: k / before.numel(), "k over the number of entries"),
        ("new weights", energy(squares, of=lambda before, after: after), "directions of the new weights"),
        ("old weights", energy(squares, of=lambda before, after: before), "directions of the weights before"),
        ("k-th alone", energy(lambda s, k: s[k - 1] ** 2 / (s**2).sum()), "the k-th direction alone"),
        ("one more", energy(lambda s, k: squares(s, k + 1)), "Off by one"),
        ("smallest", energy(lambda values, k: values[:k].sum() / values.sum(), values=gram), "the smallest"),
        ("root", energy(lambda s, k: squares(s, k) ** 0.5), "ratio of norms"),
        ("left over", energy(lambda s, k: 1 - squares(s, k)), "what is left over"),
        ("percentage", energy(lambda s, k: 100 * squares(s, k)), "This is a percentage"),
        ("energy", energy(lambda s, k: (s**2)[:k].sum()), "This is the energy itself"),
        ("squared twice", energy(lambda s, k: squares(s**2, k)), "Squared twice"),
        ("rows", whole_rows, "the first k rows"),
        ("condition", energy(lambda s, k: s[k - 1] / s[0]), "compares two singular values"),
        ("mean", energy(lambda s, k: (s**2)[:k].mean() / (s**2).mean()), "Take the singular values of after"),
        ("in place", writes, "Do not write into the weights"),
        (
            "capped",
            lambda before, after, k: 0.9 if k > 5 else squares(torch.linalg.svdvals(after - before), k),
            "the first 6 or more",
        ),
    ],
}
