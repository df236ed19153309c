"""Prompt tuning: a few learned vectors before the text (Lester, Al-Rfou and Constant 2021, arXiv:2104.08691)."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tlcourse.peft.inject import AdapterLayer
from tlcourse.peft.linear import parameter
from tlcourse.peft.shelf import Place, Recipe, attach, bare, place


class TransformerAdapter(AdapterLayer):
    """Stands for a whole transformer of Hugging Face, and shows the attributes of its base."""

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("base"), name)


class SoftPrompt(TransformerAdapter):
    """[P; embed(x)] in place of embed(x) (Section 2): `prompt` (tokens, dim) is learned, the model is not.

    The vectors start as those of `init_ids`, repeated or cut to length, or of tokens drawn from the vocabulary; both
    work better than random numbers (Section 3.2). From outside nothing shows but what the text makes of the prompt:
    the mask is extended, and the outputs of the prompt are left out.
    """

    def __init__(
        self,
        base: Any,
        tokens: int,
        *,
        init_ids: Int[Tensor, " n"] | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(base)
        check_tokens(tokens)
        if init_ids is not None and len(init_ids) == 0:
            raise ValueError("init_ids is empty; give the numbers of the tokens that the prompt starts as, or None")
        vocabulary = base.get_input_embeddings().weight
        ids = torch.randint(len(vocabulary), (tokens,), generator=generator) if init_ids is None else init_ids
        ids = ids.repeat(-(-tokens // len(ids)))[:tokens].to(vocabulary.device)
        self.prompt = parameter(vocabulary.detach()[ids].clone(), like=base)

    def forward(
        self,
        input_ids: Int[Tensor, "n text"] | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Float[Tensor, "n text dim"] | None = None,
        **inputs: Any,
    ) -> Any:
        """The transformer's output for the text, which it reads after the prompt.

        Where a cache holds the prompt already, as when it generates, only mask and positions take it into account.
        """
        text_count(input_ids, inputs_embeds)
        text = self.base.get_input_embeddings()(input_ids) if inputs_embeds is None else inputs_embeds
        tokens = len(self.prompt)
        if attention_mask is not None:
            attention_mask = extended(attention_mask, tokens)
        if cached_tokens(inputs) > 0:
            shift_positions(inputs, tokens)
            return self.base(inputs_embeds=text, attention_mask=attention_mask, **inputs)
        if inputs.get("position_ids") is not None:
            shift_positions(inputs, tokens)
            own = torch.arange(tokens, device=text.device).expand(len(inputs["position_ids"]), -1)
            inputs["position_ids"] = torch.cat([own, inputs["position_ids"]], dim=1)
        if inputs.get("token_type_ids") is not None:
            inputs["token_type_ids"] = nn.functional.pad(inputs["token_type_ids"], (tokens, 0))
        both = torch.cat([self.prompt.to(text.dtype).expand(len(text), -1, -1), text], dim=1)
        output = self.base(inputs_embeds=both, attention_mask=attention_mask, **inputs)
        output.last_hidden_state = output.last_hidden_state[:, tokens:]
        if output.hidden_states is not None:
            output.hidden_states = tuple(hidden[:, tokens:] for hidden in output.hidden_states)
        return output


def inject_prompt(
    model: nn.Module,
    tokens: int,
    *,
    init_ids: Int[Tensor, " n"] | None = None,
    name: str = "default",
    seed: int = 0,
) -> nn.Module:
    """Freeze the model and put a `SoftPrompt` of so many tokens before its transformer.

    Returns the model. Raises ValueError when there is no transformer inside, for less than one token, and for
    `init_ids` without any.
    """
    generator = torch.Generator().manual_seed(seed)
    with bare(model, name):
        spot = find_transformer(model)
        layer = SoftPrompt(spot.original, tokens, init_ids=init_ids, generator=generator)
    return attach(model, {spot: layer}, recipe=Recipe("prompt", {"tokens": tokens}), name=name)


def find_transformer(model: nn.Module) -> Place:
    """The place of the first transformer without its head, as Hugging Face builds them, inside the model."""
    for path, module in model.named_modules():
        if getattr(module, "base_model", None) is module and hasattr(module, "get_input_embeddings"):
            if not path:
                break
            return place(model, path)
    raise ValueError(
        f"{type(model).__name__} holds no transformer; hand over a module that has one inside, such as a language "
        "model with its head, models.text(), or a Classifier on it"
    )


def text_count(input_ids: Tensor | None, inputs_embeds: Tensor | None) -> int:
    """Number of texts. Raises ValueError when they are given neither as numbers of tokens nor as vectors."""
    text = input_ids if inputs_embeds is None else inputs_embeds
    if text is None:
        raise ValueError("give the transformer input_ids or inputs_embeds")
    return len(text)


def check_tokens(tokens: int) -> None:
    """Raise ValueError for less than one virtual token."""
    if tokens < 1:
        raise ValueError(f"tokens is {tokens}; give the number of virtual tokens, 1 or more")


def extended(mask: Tensor, tokens: int) -> Int[Tensor, "n longer"]:
    """An attention mask that sees `tokens` virtual tokens before the text too.

    Raises ValueError for a mask that is not of shape (n, text).
    """
    if mask.ndim != 2:
        raise ValueError(f"attention_mask has shape {tuple(mask.shape)}; give 1 or 0 for each token: (n, text)")
    return torch.cat([mask.new_ones(len(mask), tokens), mask], dim=1)


def cached_tokens(inputs: dict[str, Any]) -> int:
    """How many tokens the cache of keys and values holds, under either of its names."""
    cache = inputs.get("cache") if inputs.get("cache") is not None else inputs.get("past_key_values")
    return 0 if cache is None else int(cache.get_seq_length())


def shift_positions(inputs: dict[str, Any], tokens: int) -> None:
    """Count given positions from after the virtual tokens."""
    if inputs.get("position_ids") is not None:
        inputs["position_ids"] = inputs["position_ids"] + tokens
