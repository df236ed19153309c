"""Does an answer find the right parts of a model: the numbers that are trained, and the layers that are meant?"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tlcourse import peft
from tlcourse.checks.base import CheckFailed
from tlcourse.checks.diagnosis import Case, diagnose
from tlcourse.checks.expect import expect, number

Answer = Callable[..., Any]


def check_count(answer: Answer) -> None:
    """CheckFailed unless answer(model) is (trained, all), each parameter once."""
    for part, asked in _COUNTED.items():
        diagnose(lambda part=part: _count_case(answer, part), otherwise=asked)  # type: ignore[misc]


_COUNTED = {
    "order": "",
    "all": "The second number: the entries of all parameters, each parameter once.",
    "trained": "The first number: the entries of the parameters whose requires_grad is True, each parameter once.",
}


class _Counted(nn.Module):
    """A frozen network with tied embeddings, LoRA layers of two tasks, one of them shared, and a new head."""

    def __init__(self) -> None:
        super().__init__()
        words, dim, wide, classes = (int(torch.randint(low, high, ())) for low, high in _SIZES)
        self.embed, self.norm = nn.Embedding(words, dim), nn.BatchNorm1d(dim)
        self.decoder = nn.Linear(dim, words, bias=False)
        self.decoder.weight = self.embed.weight
        self.requires_grad_(False)
        rank = int(torch.randint(2, 6, ()))
        shared = peft.LoRALinear(nn.Linear(dim, wide).requires_grad_(False), rank=rank, alpha=8)
        single = peft.LoRALinear(nn.Linear(wide, dim).requires_grad_(False), rank=rank, alpha=8)
        self.blocks = nn.ModuleList([nn.ModuleList([shared, single]), nn.ModuleList([shared])])
        self.other_task = peft.LoRALinear(nn.Linear(dim, dim), rank=rank, alpha=8).requires_grad_(False)
        self.head = nn.Linear(dim, classes)


_SIZES = ((40, 60), (10, 20), (21, 30), (3, 7))


def _count_case(answer: Answer, part: str) -> Case:
    """One question about the whole answer: are the numbers in order, is the second right, is the first?"""
    model = _Counted()
    tried = "a network with tied embeddings, LoRA layers (one stands in two places) and a head that is trained"
    value = answer(model)
    two = "Return two numbers: trained, all."
    fits = isinstance(value, (tuple, list, Tensor)) and np.shape(value)[:1] == (2,)
    expect(fits, tried=tried, got=type(value).__name__, misconception=two)
    trained, everything = (number(item, tried=tried) for item in value)
    once = list(model.parameters())
    learn = [value for value in once if value.requires_grad]
    right_trained, right_all = _numbers(learn), _numbers(once)
    if part == "order":
        swapped = trained == right_all and everything == right_trained
        order = "The two have changed places: first what is trained, then all."
        return Case(tried, trained if swapped else right_trained, right_trained, [(right_all, order)])
    if part == "all":
        return Case(f"{tried}; all", everything, right_all, _wrong_totals(model, once, right_trained))
    return Case(f"{tried}; trained", trained, right_trained, _wrong_trained(model, learn, right_all))


def _numbers(tensors: Any) -> float:
    return float(sum(value.numel() for value in tensors))


def _each_module(model: nn.Module) -> list[Tensor]:
    """The parameters as a walk over the modules and all of their parts finds them, many of them again and again."""
    return [value for module in model.modules() for value in module.parameters()]


def _wrong_totals(model: nn.Module, once: Sequence[Tensor], trained: float) -> list[tuple[float, str]]:
    twice = [value for _, value in model.named_parameters(remove_duplicate=False)]
    total, buffers = _numbers(once), _numbers(model.buffers())
    state = "state_dict lists a tied weight under each of its names, and buffers, which are no parameters."
    return [
        (_numbers(twice), "What stands in two places is one parameter, and in memory once. `parameters()` knows that."),
        (_numbers(model.state_dict().values()), state),
        (total + buffers, "Buffers are counted too, such as the running means of BatchNorm. They are no parameters."),
        (
            _numbers(_each_module(model)),
            "`parameters()` goes into nested modules: yours finds many of them repeatedly.",
        ),
        (total - trained, "The second number leaves out what is trained. All means frozen and trained together."),
        (float(len(once)), "This is the number of tensors. `numel()` says how many numbers a tensor holds."),
    ]


def _wrong_trained(model: _Counted, learn: Sequence[Tensor], everything: float) -> list[tuple[float, str]]:
    named = [(name, value) for name, value in model.named_parameters() if value.requires_grad]
    right, head = _numbers(learn), _numbers(model.head.parameters())
    first, second = (_numbers(value for name, value in named if name.endswith(end)) for end in (".A", ".B"))
    again = [value for _, value in model.named_parameters(remove_duplicate=False) if value.requires_grad]
    asleep = _numbers((model.other_task.A, model.other_task.B))
    fixed = "An adapter of another task is counted too. It is frozen: go by requires_grad, and not by the name."
    no_head = "The head is missing. It is new, and trains along: a comparison with full fine-tuning has to count it."
    only = "Only one of the two factors is counted. A and B both learn."
    return [
        (everything, "Everything is counted. Trained is only what asks for a gradient: requires_grad is True."),
        (everything - right, "These are the frozen ones. Trained is where requires_grad is True."),
        (right - head, no_head),
        (right - head + asleep, f"{no_head} And a frozen adapter is counted: go by requires_grad, not by names."),
        (right + asleep, fixed),
        *((value + extra, only) for value in (first, second) for extra in (0, head)),
        (_numbers(again), "One LoRA layer stands in two places. It is one set of numbers."),
        (_numbers(value for value in _each_module(model) if value.requires_grad), "Nested modules are counted again."),
        (_numbers(value for value in learn if value.ndim > 1), "The bias of the head is missing."),
        (float(len(learn)), "This is the number of tensors that are trained. Sum up their `numel()`."),
        (right / everything, "This is a share. Return the number itself."),
        (100 * right / everything, "This is a percentage. Return the number itself."),
    ]


class _Named(nn.Module):
    """Layers under names that are easily taken for each other."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 4)
        self.blocks = nn.ModuleList([_block() for _ in range(3)])
        self.head = nn.Linear(4, 2)


def _block() -> nn.ModuleDict:
    attention = nn.ModuleDict({name: nn.Linear(4, 4) for name in ("query", "key", "value", "out")})
    bank = nn.ModuleDict({"dense": nn.Linear(4, 4)})
    mlp = nn.ModuleDict({"up": nn.Linear(4, 8), "act": nn.GELU(), "down": nn.Linear(8, 4)})
    return nn.ModuleDict(
        {"norm": nn.LayerNorm(4), "attention": attention, "crossquery": nn.Linear(4, 4), "query_bank": bank, "mlp": mlp}
    )


LEAVES = ("query", "key", "value", "out", "crossquery", "dense", "up", "down", "head")


def check_find(answer: Answer) -> None:
    """CheckFailed unless answer(model, targets) gives the right names, and an error that helps where there are none."""
    linear = [name for name, module in _Named().named_modules() if isinstance(module, nn.Linear)]
    deep = "Layers lie in layers: `named_modules` finds all, `named_children` the first level. Ends of names match too."
    ends = "A target also matches the end of a name after a dot, of any length: `name.endswith(f'.{target}')`."
    whole = "A target may be the whole name of a layer: `name == target`."
    _check_matches(answer, ["query"], linear, deep)
    _check_matches(answer, ["attention.value"], linear, ends)
    _check_matches(answer, ["head"], linear, whole)
    _check_matches(answer, ["blocks.1.mlp.up"], linear, whole)
    _check_matches(answer, ["key", "attention.key"], linear, "Both targets match the same layers. Each is named once.")
    _check_matches(answer, ["value", "key"], linear, "Several targets: a layer is meant if any of them matches.")
    _check_silence(answer)
    _check_message(answer)


def _check_matches(answer: Answer, targets: list[str], linear: list[str], otherwise: str) -> None:
    """The linear layers that match, in the order of the model, each once."""
    tried = f"find_targets(model, {targets})"
    right = [n for n in linear if any(n == target or n.endswith(f".{target}") for target in targets)]
    try:
        value = answer(_Named(), targets)
    except ValueError as error:
        got = f"ValueError: {error!s:.80}"
        raise CheckFailed(tried=f"{tried}; {right[0]} matches", got=got, misconception=otherwise) from None
    hint = "Is the `return` missing?" if value is None else "Return a list of names: strings such as 'blocks.0.mlp.up'."
    fits = isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value)
    expect(fits, tried=tried, got=type(value).__name__, misconception=hint)
    found = list(value)
    everything = [name for name, _ in _Named().named_modules() if name]
    part = "A part of a name is not enough: 'query' would hit 'crossquery', and 'q' nearly everything."
    plain = (
        "`endswith` without the dot takes the end of a word for a word: 'query' would hit 'crossquery'. "
        "Compare with f'.{target}'."
    )
    known = [
        ([n for n in everything if any(t in n for t in targets)], f"{part} And only linear layers are asked."),
        ([n for n in linear if any(t in n for t in targets)], part),
        ([n for n in linear if any(n.endswith(t) for t in targets)], plain),
        ([n for n in everything if any(n.endswith(t) for t in targets)], f"{plain} And only linear layers are asked."),
        ([], otherwise),
    ]
    got = f"{len(found)} names, not {len(right)}: {', '.join(found[:5])}{' …' if len(found) > 5 else ''}"
    why = next((message for wrong, message in known if found == wrong), otherwise)
    twice = "A layer that two targets match is named twice, and would get two adapters. Loop over names, not targets."
    expect(len(set(found)) == len(found), tried=tried, got=got, misconception=twice)
    expect(set(found) == set(right), tried=tried, got=got, misconception=why)
    order = "The names come in the order of the targets. Loop over the layers of the model, then over the targets."
    expect(found == right, tried=tried, got=", ".join(found), misconception=order)


def _error(answer: Answer, targets: list[str], silent: str) -> str:
    """What the ValueError says that should come."""
    tried = f"find_targets(model, {targets})"
    kind = "A wrong argument is a ValueError. Whoever calls this function waits for one."
    try:
        value = answer(_Named(), targets)
    except ValueError as error:
        return str(error)
    except NotImplementedError:
        raise
    except Exception as error:
        raise CheckFailed(tried=tried, got=f"{type(error).__name__}, no ValueError", misconception=kind) from None
    got = f"no error, but {len(value)} names" if isinstance(value, (list, tuple)) else f"{type(value).__name__}"
    raise CheckFailed(tried=tried, got=got, misconception=silent)


def _check_silence(answer: Answer) -> None:
    """An error wherever one of the targets matches no linear layer."""
    lost = "No layer matches, and nobody is told. No adapter would train, and the head alone would make the loss fall."
    half = "One target matches, one does not: some adapters are missing without a word. Look at each target by itself."
    kind = (
        "'norm' is a LayerNorm: a name that matches, but no linear layer that could get an adapter. That is an error."
    )
    for targets, silent in ((["qurey"], lost), (["value", "qurey"], half), (["value", "norm"], kind)):
        _error(answer, targets, silent)


def _check_message(answer: Answer) -> None:
    """The error names the target that failed and the names that come near, or all when none does."""
    targets = ["value", "qurey"]
    tried, text = f"find_targets(model, {targets}), and its error", _error(answer, targets, "")
    said, words = f"“{text:.200}”", re.findall(r"\w+", text)
    which = "The error does not say which target it is about. Put it into the text: f'target {target!r} …'."
    near = "The error does not help. What was meant is 'query': look for near names with difflib.get_close_matches."
    often = "The same name stands there for every layer. Take each last part once: `dict.fromkeys` keeps the order."
    many = (
        "All names are listed. A large model has hundreds. Compare with the last parts, and name those that come near."
    )
    expect("qurey" in words, tried=tried, got=said, misconception=which)
    expect("query" in words, tried=tried, got=said, misconception=near)
    expect(not {"down", "dense"} & set(words), tried=tried, got=said, misconception=many)
    expect(words.count("query") == 1, tried=tried, got=said, misconception=often)
    tried, text = "find_targets(model, ['xyzzy']), and its error", _error(answer, ["xyzzy"], "")
    missing = [leaf for leaf in LEAVES if leaf not in re.findall(r"\w+", text)]
    none = "Nothing comes near. Then say what there is: the last parts of the names of all linear layers, each once."
    expect(not missing, tried=tried, got=f"“{text:.200}”", misconception=none)
