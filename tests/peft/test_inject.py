"""Finding layers by name, freezing, taking adapters away, counting."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from tlcourse import models
from tlcourse.peft import (
    LoRALinear,
    Recipe,
    adapters,
    count_parameters,
    find,
    inject,
    inject_adapter,
    inject_bitfit,
    inject_dora,
    inject_ia3,
    inject_lora,
    inject_prefix,
    inject_prompt,
    inject_vera,
    quantize_linears,
    remove,
    shelf,
    switch,
)

EVERY_METHOD = {
    "lora": lambda m: inject_lora(m, "c_attn", rank=2, alpha=4),
    "dora": lambda m: inject_dora(m, "c_attn", rank=2, alpha=4),
    "vera": lambda m: inject_vera(m, "c_attn", rank=2),
    "ia3": lambda m: inject_ia3(m, ("c_attn", "mlp.c_proj"), feedforward="mlp.c_proj"),
    "adapter": lambda m: inject_adapter(m, "c_proj", size=3, norms="ln_*"),
    "bitfit": inject_bitfit,
    "prompt": lambda m: inject_prompt(m, 3),
    "prefix": lambda m: inject_prefix(m, 3),
}


def found(model: nn.Module, targets: Any) -> list[str]:
    return [place.path for place in find(model, targets)]


def test_a_pattern_is_a_name_or_its_end_with_wildcards(build: Any):
    model = build("llama")
    queries = [f"model.layers.{i}.self_attn.q_proj" for i in (0, 1)]
    assert found(model, "q_proj") == found(model, "self_attn.q_proj") == found(model, ["*.q_proj"]) == queries
    assert found(model, queries[1]) == queries[1:]
    assert found(model, "layers.[1].*.?_proj") == [f"model.layers.1.self_attn.{name}_proj" for name in "qkvo"], (
        "gate_proj, up_proj and down_proj have more than one letter before the underscore"
    )
    assert len(found(model, "*")) == 2 * 7 + 1
    assert len(found(model, ("*", "!lm_head"))) == 2 * 7
    assert found(model, ("*_proj", "!layers.0.*", "!mlp.*")) == [
        f"model.layers.1.self_attn.{name}_proj" for name in "qkvo"
    ]
    assert found(model, ("v_proj", "q_proj")) == sorted(found(model, "q_proj") + found(model, "v_proj"))


def test_a_name_inside_another_does_not_count(build: Any):
    with pytest.raises(ValueError, match="no linear layer"):
        find(build("llama"), "proj")


def test_both_kinds_of_linear_layer_are_found(build: Any):
    model = build("gpt2")
    assert isinstance(model.transformer.h[0].attn.c_attn, Conv1D)
    assert len(found(model, "*")) == 2 * 4 + 1


BAD_TARGETS = {
    "misspelt": ("q_porj", r"'q_porj' matches no linear layer; near it: q_proj"),
    "one of two": (("q_proj", "vproj"), r"'vproj' matches no linear layer; near it: .*v_proj"),
    "nothing like it": ("conv", r"the names end in: q_proj, k_proj, v_proj, o_proj, gate_proj"),
    "a whole block": ("mlp", r"'model.layers.0.mlp', which is no linear layer; inside it .* down_proj, gate_proj"),
    "a norm": ("norm", r"'model.norm', which is no linear layer; name another"),
    "no pattern": ((), "give at least one pattern"),
    "only exceptions": ("!q_proj", "give at least one pattern"),
    "an exception that matches nothing": (("*", "!head"), "'!head' matches no linear layer; near it: lm_head"),
    "all taken away": (("q_proj", "!self_attn.*"), "take away every linear layer"),
}


@pytest.mark.parametrize("case", BAD_TARGETS)
def test_a_pattern_that_matches_nothing_says_what_comes_near(case: str, build: Any):
    targets, message = BAD_TARGETS[case]
    model = build("llama")
    before = dict(model.named_modules())
    with pytest.raises(ValueError, match=message):
        inject_lora(model, targets, rank=2, alpha=4)
    assert dict(model.named_modules()) == before
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert adapters(model) == ()


def stack(names: str) -> nn.Module:
    return nn.ModuleDict({name: nn.Linear(1, 1) for name in names.split()})


HINTS = {
    "eight layers of a block": ("block", {"block": stack("a b c d e f g h i j")}, "are: a, b, c, d, e, f, g, h$"),
    "five ends of names": ("proj", {"b": stack("proj1 proj2 proj3 proj4 proj5 proj6")}, "near it: (proj., ){4}proj.$"),
    "three names": ("layer.9.x", {f"layer_{i}": stack("xx") for i in range(4)}, "it: (layer_..xx, ){2}layer_..xx$"),
    "twelve ends": ("zzz", {"b": stack("a b c d e f g h i j k l m n")}, "in: a, b, c, d, e, f, g, h, i, j, k, l$"),
}  # fmt: skip


@pytest.mark.parametrize("case", HINTS)
def test_hints_stay_short(case: str):
    pattern, parts, message = HINTS[case]
    with pytest.raises(ValueError, match=message):
        find(nn.ModuleDict(parts), pattern)


def test_what_only_looks_like_a_linear_layer_is_none():
    model = nn.ModuleDict({"two": nn.Bilinear(2, 2, 2), "one": nn.Linear(2, 2)})
    assert hasattr(model["two"], "out_features")
    assert found(model, "*") == ["one"]


def test_a_place_is_itself_and_does_not_change(build: Any):
    model = build("llama")
    first, second = (find(model, "lm_head")[0] for _ in range(2))
    assert first.original is second.original
    assert first != second
    with pytest.raises(FrozenInstanceError):
        first.path = "other"  # type: ignore[misc]


def test_adapters_and_shelves_are_themselves_and_recipes_do_not_change():
    recipe = Recipe("own", {})
    assert recipe == Recipe("own", {})
    assert shelf.Adapter(recipe, {}) != shelf.Adapter(recipe, {})
    assert shelf.shelf(nn.Linear(1, 1)) != shelf.shelf(nn.Linear(1, 1)), "those of two models without adapters"
    for thing, name in ((recipe, "method"), (shelf.Adapter(recipe, {}), "recipe")):
        with pytest.raises(FrozenInstanceError):
            setattr(thing, name, None)


@pytest.mark.parametrize("method", EVERY_METHOD)
def test_only_the_adapter_is_trained_and_the_base_does_not_move(method: str, build: Any, batch: Any, stir: Any):
    model = build("gpt2")
    base = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    parameters = list(model.parameters())
    EVERY_METHOD[method](model)
    assert not any(parameter.requires_grad for parameter in parameters)
    rule = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(2):
        model(**batch).logits.square().mean().backward()
        rule.step()
        rule.zero_grad()
    assert (model(**batch).logits - remove(model)(**batch).logits).abs().max() > 1e-3
    assert all(torch.equal(tensor, base[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("method", EVERY_METHOD)
def test_taking_it_away_gives_the_very_model_back(method: str, build: Any, batch: Any, stir: Any):
    model = build("gpt2")
    model.transformer.wpe.weight.requires_grad_(False)
    modules, parameters = list(model.named_modules()), list(model.named_parameters())
    learning = [parameter.requires_grad for _, parameter in parameters]
    attributes, logits = set(vars(model)), model(**batch).logits
    EVERY_METHOD[method](model)
    stir(model)
    assert remove(model) is model
    assert [(name, id(thing)) for name, thing in model.named_modules()] == [(n, id(m)) for n, m in modules]
    assert [(name, id(thing)) for name, thing in model.named_parameters()] == [(n, id(p)) for n, p in parameters]
    assert [parameter.requires_grad for _, parameter in parameters] == learning
    assert set(vars(model)) == attributes
    assert torch.equal(model(**batch).logits, logits)


@pytest.mark.parametrize("method", ["lora", "dora", "vera", "ia3", "adapter", "bitfit"])
def test_starts_as_the_bare_model(method: str, build: Any, batch: Any):
    model = build("gpt2")
    bare = model(**batch).logits
    tolerance = 5e-3 if method == "adapter" else 1e-5
    assert (EVERY_METHOD[method](model)(**batch).logits - bare).abs().max() <= tolerance


@pytest.mark.parametrize("method", ["lora", "dora", "prefix", "prompt", "adapter"])
def test_the_seed_decides_where_it_starts(method: str, build: Any):
    make = {
        "lora": lambda m, s: inject_lora(m, "c_attn", rank=2, alpha=4, seed=s),
        "dora": lambda m, s: inject_dora(m, "c_attn", rank=2, alpha=4, seed=s),
        "prefix": lambda m, s: inject_prefix(m, 2, hidden=4, seed=s),
        "prompt": lambda m, s: inject_prompt(m, 2, seed=s),
        "adapter": lambda m, s: inject_adapter(m, "c_proj", size=2, seed=s),
    }[method]

    def start(seed: int) -> Tensor:
        torch.seed()
        model = make(build("gpt2"), seed)
        return torch.cat([p.detach().flatten() for p in model.parameters() if p.requires_grad])

    state = torch.random.get_rng_state()
    make(build("gpt2"), 0)
    assert torch.equal(state, torch.random.get_rng_state()), "the global random state is left alone"
    assert torch.equal(start(3), start(3))
    assert not torch.equal(start(3), start(4))


def test_a_layer_in_two_places_gets_one_adapter():
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    inject_lora(model, "*", rank=2, alpha=4)
    assert isinstance(model[0], LoRALinear)
    assert model[0] is model[2]
    remove(model)
    assert model[0] is shared
    assert model[2] is shared


def test_a_second_adapter_is_put_on_the_base_and_not_on_the_first(build: Any):
    model = build("gpt2")
    inject_lora(model, "c_attn", rank=2, alpha=4, name="first")
    inject_lora(model, "c_attn", rank=2, alpha=4, name="second")
    assert isinstance(model.transformer.h[0].attn.c_attn.base, Conv1D)


def test_own_methods_are_injected_the_same_way(build: Any, batch: Any):
    class Shift(nn.Module):
        def __init__(self, base: nn.Module) -> None:
            super().__init__()
            self.base, self.by = base, nn.Parameter(torch.ones(()))

        def forward(self, x: Tensor) -> Tensor:
            return self.base(x) + self.by

    model = build("llama")
    bare = model(**batch).logits
    inject(model, "o_proj", lambda path, layer: Shift(layer), recipe=Recipe("shift", {}), name="mine")
    assert count_parameters(model)[0] == 2
    assert not torch.allclose(model(**batch).logits, bare, atol=1e-3)
    assert torch.equal(remove(model)(**batch).logits, bare)


def test_names_are_taken_once(build: Any):
    model = inject_lora(build("gpt2"), "c_attn", rank=2, alpha=4)
    with pytest.raises(ValueError, match=r"has an adapter 'default'; give another name=, or call remove"):
        inject_bitfit(model)
    with pytest.raises(ValueError, match="has an adapter 'default'"):
        inject_ia3(model, "c_attn")
    assert adapters(model) == ("default",)


def test_adapters_of_a_part_are_handled_by_that_part(build: Any):
    classifier = models.Classifier(models.MLP([4, 8, 6]), 3)
    inject_lora(classifier.backbone, "*", rank=2, alpha=4)
    assert classifier.head.weight.requires_grad, "a new head beside the backbone stays trainable"
    for act in (lambda: switch(classifier, None), lambda: inject_lora(classifier, "head", rank=2, alpha=4, name="b")):
        with pytest.raises(ValueError, match=r"hand over that part: model\.backbone"):
            act()
    with pytest.raises(ValueError, match="is an adapter already; hand over the model that it was put on"):
        inject_lora(classifier.backbone.layers, "0", rank=2, alpha=4)


def test_parameters_are_counted_once(build: Any):
    model = build("llama")
    total = sum(parameter.numel() for parameter in model.parameters())
    assert count_parameters(model) == (total, total)
    inject_lora(model, "q_proj", rank=3, alpha=4)
    assert count_parameters(model) == (2 * 3 * (32 + 32), total + 2 * 3 * (32 + 32))
    switch(model, None)
    assert count_parameters(model) == (0, total)
    remove(model)
    assert count_parameters(quantize_linears(model, ("*", "!lm_head"))) == ((61 + 5) * 32, total)
