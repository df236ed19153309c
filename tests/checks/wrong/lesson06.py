"""Typical wrong answers to the exercises of lesson 06, each with the message that it should get."""

from __future__ import annotations

from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn

from tlcourse.training import interval

# 6.1 soft prompt


def asked(*, vectors=None, mask=None, cut=None, times=1):
    """The right answer, with one part at a time to be replaced."""

    def with_prompt(transformer, prompt, embeddings, attention_mask):
        n, tokens = len(embeddings), len(prompt)
        first = prompt.expand(n, -1, -1)
        ones = attention_mask.new_ones(n, tokens)
        both = vectors(prompt, embeddings) if vectors else torch.cat([first, embeddings], dim=1)
        seen = mask(ones, attention_mask) if mask else torch.cat([ones, attention_mask], dim=1)
        for _ in range(times):
            output = transformer(inputs_embeds=both, attention_mask=seen)
        hidden = output.last_hidden_state
        return cut(hidden, tokens, output) if cut else hidden[:, tokens:]

    return with_prompt


def over_the_first(prompt, embeddings):
    return torch.cat([prompt.expand(len(embeddings), -1, -1), embeddings[:, len(prompt) :]], dim=1)


def scrambled(prompt, embeddings):
    n, (tokens, dim) = len(embeddings), prompt.shape
    return torch.cat([prompt.repeat_interleave(n, dim=0).view(n, tokens, dim), embeddings], dim=1)


def scaled(prompt, embeddings):
    return torch.cat([prompt.expand(len(embeddings), -1, -1) / len(prompt), embeddings], dim=1)


def never_read(transformer, prompt, embeddings, attention_mask):
    return torch.cat([prompt.expand(len(embeddings), -1, -1), embeddings], dim=1)[:, len(prompt) :]


def in_place(transformer, prompt, embeddings, attention_mask):
    result = asked()(transformer, prompt, embeddings, attention_mask)
    embeddings *= 0
    return result


@torch.no_grad()
def no_gradient(transformer, prompt, embeddings, attention_mask):
    return asked()(transformer, prompt, embeddings, attention_mask)


# 6.2 (IA)³


class Scaled(nn.Module):
    """The right answer."""

    def __init__(self, base, feedforward):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.feedforward = feedforward
        self.scales = nn.Parameter(self.start(base.in_features if feedforward else base.out_features))

    def start(self, n):
        return torch.ones(n)

    def forward(self, x):
        return self.base(self.scales * x) if self.feedforward else self.scales * self.base(x)


def scaled_by(*, start=None, forward=None):
    """The right class with its start, or the computation of self and x, replaced."""
    methods = {"start": lambda self, n: start(n)} if start else {}
    if forward:
        methods["forward"] = forward
    return type("IA3", (Scaled,), methods)


class OneScale(Scaled):
    def start(self, n):
        return torch.ones(())


class InputsOfKeys(Scaled):
    def __init__(self, base, feedforward):
        super().__init__(base, True)


class OutputsOfFeedforward(Scaled):
    def __init__(self, base, feedforward):
        super().__init__(base, False)


class Buffer(Scaled):
    def __init__(self, base, feedforward):
        super().__init__(base, feedforward)
        scales = self.scales.detach()
        del self.scales
        self.scales = scales


class Unfrozen(Scaled):
    def __init__(self, base, feedforward):
        super().__init__(base, feedforward)
        base.requires_grad_(True)


class AllFrozen(Scaled):
    def __init__(self, base, feedforward):
        super().__init__(base, feedforward)
        self.requires_grad_(False)


class OtherName(nn.Module):
    def __init__(self, base, feedforward):
        super().__init__()
        self.l = nn.Parameter(torch.ones(base.out_features))


class IntoTheBase(Scaled):
    def forward(self, x):
        with torch.no_grad():
            self.base.weight += 1e-6
        return super().forward(x)


def without_bias(self, x):
    if self.feedforward:
        return Scaled.forward(self, x)
    plain = F.linear(x, self.base.weight)
    return self.scales * plain if self.base.bias is None else self.scales * plain + self.base.bias


# 6.3 DoRA


class Lengths(nn.Module):
    """The right answer."""

    def __init__(self, base, rank, alpha):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.scale = alpha / rank
        self.A = nn.Parameter(torch.rand(rank, base.in_features) - 0.5)
        self.B = nn.Parameter(torch.zeros(base.out_features, rank))
        self.magnitude = self.keep(self.start(base.weight))

    def keep(self, values):
        return nn.Parameter(values)

    def start(self, weight):
        return weight.norm(dim=1)

    def matrix(self):
        return self.base.weight + self.scale * self.B @ self.A

    def norm(self, matrix):
        return matrix.norm(dim=1).detach()

    def weight(self):
        return (self.magnitude / self.norm(self.matrix()))[:, None] * self.matrix()

    def forward(self, x):
        return F.linear(x, self.weight(), self.base.bias)


def lengths(**parts):
    """The right class with some methods replaced."""
    return type("DoRA", (Lengths,), parts)


def product(self):
    return self.base.weight + self.B @ self.A


def by(norm):
    """The weight with rows divided by a norm of self."""
    return lambda self: (self.magnitude / norm(self))[:, None] * self.matrix()


class TrainedBase(Lengths):
    def __init__(self, base, rank, alpha):
        super().__init__(base, rank, alpha)
        base.requires_grad_(True)


def scaled_bias(self, x):
    right = F.linear(x, self.weight())
    factor = (self.magnitude / self.norm(self.matrix())).detach()
    return right if self.base.bias is None else right + factor * self.base.bias


# 6.4 choice


def mean(row):
    return sum(row["accuracies"]) / len(row["accuracies"])


def paired(best, row):
    return interval([a - b for a, b in zip(best["accuracies"], row["accuracies"], strict=True)]).low <= 0


def overlap(best, row):
    return interval(row["accuracies"]).high >= interval(best["accuracies"]).low


def chooser(*, score=mean, drop=(), equal=paired, below=None, alike=None, per_task=True, none=None):
    """The right answer, with one part at a time to be replaced. `drop`: budgets that are ignored."""
    fits_in = below or (lambda cost, limit: cost <= limit)
    merges = alike or (lambda row, merge: row["mergeable"] or not merge)

    def choose(table, *, tasks, storage, memory, seconds, merge):
        costs = {"memory": memory, "seconds": seconds}
        fitting = [
            row
            for row in table
            if fits_in((tasks if per_task else 1) * row["stored"], storage)
            and all(name in drop or fits_in(row[name], limit) for name, limit in costs.items())
            and ("merge" in drop or merges(row, merge))
        ]
        if not fitting:
            if none:
                return none(table)
            raise ValueError("nothing fits these budgets")
        best = max(fitting, key=score)
        return min((r for r in fitting if r is best or equal(best, r)), key=lambda row: row["stored"])["name"]

    return choose


def raise_like_max(table):
    raise ValueError("max() iterable argument is empty")


def best_first(table, **budget):
    best = max(table, key=mean)
    if best["memory"] > budget["memory"] and len(table) == 3:
        raise ValueError("the best does not fit")
    return chooser()(table, **budget)


def sorts_the_table(table, **budget):
    name = chooser()(table, **budget)
    table.append(table.pop(0))
    return name


def whole_row(table, **budget):
    name = chooser()(table, **budget)
    return next(row for row in table if row["name"] == name)


WRONG = {
    "with_prompt": [
        ("not expanded", asked(vectors=lambda p, e: torch.cat([p, e], dim=1)), "prompt has two axes and the batch"),
        ("one for the batch", asked(vectors=lambda p, e: torch.cat([p[None], e], dim=1)), "torch.cat repeats nothing"),
        (
            "after the text",
            asked(vectors=lambda p, e: torch.cat([e, p.expand(len(e), -1, -1)], dim=1)),
            "The prompt comes after the text",
        ),
        ("in place of tokens", asked(vectors=over_the_first), "taken the place of the first tokens"),
        ("added", asked(vectors=lambda p, e: e + p.mean(dim=0)), "mixed into the text's vectors"),
        ("left out", asked(vectors=lambda p, e: e), "The text alone is read as before"),
        ("wrong axis", asked(vectors=lambda p, e: torch.cat([e, e], dim=0)), "along axis 1, which counts tokens"),
        ("another order", asked(vectors=scrambled), "The copies are in another order"),
        ("other vectors", asked(vectors=scaled), "begins with the learned vectors themselves"),
        (
            "text changed",
            asked(vectors=lambda p, e: torch.cat([p.expand(len(e), -1, -1), 2 * e], dim=1)),
            "all of them and unchanged",
        ),
        ("never read", never_read, "call it with the longer vectors and mask"),
        ("read twice", asked(times=2), "One call for the whole batch"),
        ("mask not extended", asked(mask=lambda ones, m: m), "The mask was not extended"),
        ("mask 0", asked(mask=lambda ones, m: torch.cat([0 * ones, m], dim=1)), "no token attends to it"),
        ("mask at the end", asked(mask=lambda ones, m: torch.cat([m, ones], dim=1)), "at the wrong end of the mask"),
        ("mask of ones", asked(mask=lambda ones, m: torch.ones_like(torch.cat([ones, m], dim=1))), "All ones"),
        ("no mask", asked(mask=lambda ones, m: None), "attention reads the padding as well"),
        ("decimals", asked(mask=lambda ones, m: torch.cat([ones.float(), m], dim=1)), "mask.new_ones keeps the type"),
        ("not cut off", asked(cut=lambda h, t, o: h), "The prompt's outputs are still there"),
        ("wrong end cut", asked(cut=lambda h, t, o: h[:, : h.shape[1] - t]), "cut off at the wrong end"),
        ("outputs of the prompt", asked(cut=lambda h, t, o: h[:, :t]), "These are the outputs of the prompt"),
        ("output object", asked(cut=lambda h, t, o: SimpleNamespace()), "not all of it"),
        ("in place", in_place, "write into the tensors of the caller"),
        ("no gradient", no_gradient, "The prompt could not learn"),
    ],
    "ia3": [
        ("zeros", scaled_by(start=torch.zeros), "Scales of 0 switch every feature off"),
        ("random", scaled_by(start=torch.randn), "not random"),
        ("inputs of keys", InputsOfKeys, "Keys and values are outputs of their layer"),
        ("outputs of feed-forward", OutputsOfFeedforward, "A feed-forward layer has its inputs scaled"),
        (
            "applied to inputs",
            scaled_by(forward=lambda self, x: self.base(self.scales * x)),
            "For keys and values the outputs are",
        ),
        (
            "applied to outputs",
            scaled_by(forward=lambda self, x: self.scales * self.base(x)),
            "In a feed-forward layer the inputs are",
        ),
        ("bias not scaled", scaled_by(forward=without_bias), "left out of the scaling"),
        (
            "added",
            scaled_by(start=torch.zeros, forward=lambda self, x: self.base(x) + self.scales),
            "The scales are added",
        ),
        (
            "one plus",
            scaled_by(start=torch.zeros, forward=lambda self, x: (1 + self.scales) * self.base(x)),
            "The factor is 1 \\+ scales",
        ),
        ("both", scaled_by(forward=lambda self, x: self.scales * self.base(self.scales * x)), "both scaled"),
        ("no effect", scaled_by(forward=lambda self, x: self.base(x)), "have no effect on the output"),
        ("one scale", OneScale, "One scale for the whole layer"),
        ("buffer", Buffer, "so no optimizer moves it"),
        ("another name", OtherName, "Keep the scales as self.scales"),
        ("base learns", Unfrozen, "W and b are the base's, and frozen"),
        ("nothing learns", AllFrozen, "The scales are frozen too"),
        (
            "detached",
            scaled_by(
                forward=lambda self, x: (
                    self.base(self.scales.detach() * x) if self.feedforward else self.scales.detach() * self.base(x)
                )
            ),
            "No gradient arrives",
        ),
        ("base written to", IntoTheBase, "You scale the weight of the base itself"),
        ("a function", lambda base, feedforward: torch.ones(3), "a class made from nn.Module"),
    ],
    "dora": [
        ("ones", lengths(start=lambda self, w: torch.ones(len(w))), "cut every row to length 1"),
        ("zeros", lengths(start=lambda self, w: torch.zeros(len(w))), "switch the layer off"),
        ("squares", lengths(start=lambda self, w: w.square().sum(dim=1)), "These are squares of the lengths"),
        ("sums", lengths(start=lambda self, w: w.abs().sum(dim=1)), "Sums of absolute values"),
        ("random", lengths(start=lambda self, w: torch.rand(len(w))), "It starts as the length of each row"),
        ("lengths of columns", lengths(start=lambda self, w: w.norm(dim=0)), "shape \\(5,\\)"),
        ("whole matrix", lengths(start=lambda self, w: w.norm()), "shape \\(\\)"),
        ("keepdim", lengths(start=lambda self, w: w.norm(dim=1, keepdim=True)), "leaves a second axis"),
        ("no parameter", lengths(keep=lambda self, values: values), "Then the length is fixed"),
        ("not kept", lengths(keep=lambda self, values: None), "Keep the lengths as self.magnitude"),
        (
            "norm of columns",
            lengths(weight=by(lambda self: self.matrix().norm(dim=0).detach())),
            "runs over the wrong axis",
        ),
        ("norm of W", lengths(norm=lambda self, m: self.base.weight.norm(dim=1)), "The length is that of W alone"),
        ("scale forgotten", lengths(matrix=product), "The scale is missing"),
        (
            "scale forgotten in the norm",
            lengths(norm=lambda self, m: product(self).norm(dim=1).detach()),
            "in one of the two only",
        ),
        ("not divided", lengths(norm=lambda self, m: torch.ones(len(m))), "Nothing is divided by its length"),
        ("no magnitude", lengths(weight=lambda self: self.matrix()), "The magnitude has no effect"),
        ("bias scaled", lengths(forward=scaled_bias), "The bias was scaled too"),
        ("bias forgotten", lengths(forward=lambda self, x: F.linear(x, self.weight())), "bias of the base is missing"),
        ("live norm", lengths(norm=lambda self, m: m.norm(dim=1)), "runs through the norm as well"),
        (
            "all detached",
            lengths(
                weight=lambda self: (
                    self.magnitude[:, None] * (self.matrix() / self.matrix().norm(dim=1, keepdim=True)).detach()
                )
            ),
            "Too much is detached",
        ),
        ("base learns", TrainedBase, "W and b are frozen"),
    ],
    "choose": [
        ("luckiest seed", chooser(score=lambda row: max(row["accuracies"])), "luckiest single seed"),
        ("no interval", chooser(equal=lambda best, row: False), "The best mean decides alone"),
        ("unpaired", chooser(equal=overlap), "Seeds move all methods alike"),
        ("smallest", chooser(equal=lambda best, row: True), "clearly worse than the best that fits"),
        ("one task", chooser(per_task=False), "all of them do not"),
        ("no memory", chooser(drop=("memory",)), "more memory for training than there is"),
        ("no time", chooser(drop=("seconds",)), "more seconds than there are"),
        ("no merge", chooser(drop=("merge",)), "asks for a method that can"),
        ("must not merge", chooser(alike=lambda row, merge: row["mergeable"] == merge), "not that it must not be"),
        ("strictly below", chooser(below=lambda cost, limit: cost < limit), "≤, not <"),
        ("best of all", best_first, "You compare with a method that does not fit"),
        ("none", chooser(none=lambda table: None), "would run out of memory or disk"),
        ("max of nothing", chooser(none=raise_like_max), "Python's own complaint"),
        ("index", chooser(none=lambda table: [][0]), "Nothing is left to take the best of"),
        ("table changed", sorts_the_table, "The caller goes on with the table"),
        ("whole row", whole_row, "Return the name alone"),
    ],
}
