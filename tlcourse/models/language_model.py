"""Networks that continue a text: SmolLM2-135M, and SmolLM2-360M from the hub."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tlcourse import assets
from tlcourse.models.sources import asset_digest, check_loaded, checkpoint_folder, from_hugging_face, quiet, resolve

_HUB = {"smollm2": None, "smollm2_360m": "HuggingFaceTB/SmolLM2-360M-Instruct"}
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """A causal language model `net` of transformers with its `tokenizer`."""

    name: str
    net: Any
    tokenizer: Any

    @torch.no_grad()
    def next_logits(self, prompts: Sequence[str]) -> Float[Tensor, "n vocabulary"]:
        """Scores of every token as the next one after each prompt.

        Raises ValueError when there is no prompt or one is empty.
        """
        if isinstance(prompts, str) or len(prompts) == 0 or not all(prompts):
            raise ValueError("prompts must be a list of texts, none of them empty")
        batch = self.tokenizer(list(prompts), return_tensors="pt", padding=True, padding_side="right")
        batch = batch.to(next(self.net.parameters()).device)
        last = batch["attention_mask"].sum(dim=1) - 1
        # The head has 49,152 outputs: it is applied to the last token only.
        hidden = self.net.base_model(**batch).last_hidden_state
        return self.net.get_output_embeddings()(hidden[torch.arange(len(last)), last])

    @torch.no_grad()
    def complete(self, prompt: str, *, tokens: int = 20) -> str:
        """The likeliest continuation, token by token (greedy), at most `tokens` long.

        Raises ValueError for an empty prompt or fewer than one token.
        """
        if not prompt or tokens < 1:
            raise ValueError("prompt must not be empty, and tokens must be 1 or more")
        batch = self.tokenizer(prompt, return_tensors="pt").to(next(self.net.parameters()).device)
        output = self.net.generate(**batch, max_new_tokens=tokens, do_sample=False)
        return self.tokenizer.decode(output[0, batch["input_ids"].shape[1] :], skip_special_tokens=True)


def language(
    name: str = "smollm2", *, source: str | None = None, checkpoint: str | Path | None = None
) -> LanguageModel:
    """A causal language model in 32-bit floats, in evaluation mode.

    `name`: "smollm2" (built in, 135 million parameters) or "smollm2_360m" (Hugging Face).
    `source="hub"` (or TLCOURSE_SOURCE=hub) takes the larger counterpart.
    `checkpoint`: a folder on this disk, written by `save_pretrained` of a model and its tokenizer.
    The first load of smollm2 turns its four-bit file into 540 MB of safetensors in the cache.

    Raises KeyError for an unknown name, ValueError for a folder that is no checkpoint.
    """
    chosen = resolve(name, source, _HUB)
    repository = _HUB[chosen]
    if checkpoint is not None:
        net, tokenizer = _load(checkpoint_folder(checkpoint))
    elif repository is None:
        folder = assets.derived(chosen, {"asset": asset_digest(chosen), "dtype": "float32"}, _dequantise)
        net, tokenizer = _load(str(folder))
    else:
        net, tokenizer = from_hugging_face(
            repository, lambda local_only: _load(repository, local_only=local_only), builtin="smollm2"
        )
    return LanguageModel(chosen, net.eval(), tokenizer)


def _load(where: str, *, local_only: bool = True) -> tuple[nn.Module, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with quiet():
        # The tokenizer first: what is not there is noticed at once, where the model looks for it in many places.
        tokenizer = AutoTokenizer.from_pretrained(where, local_files_only=local_only)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            where, use_safetensors=True, dtype=torch.float32, local_files_only=local_only, output_loading_info=True
        )
    net, report = loaded
    check_loaded(where, report)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return net, tokenizer


def _dequantise(folder: Path) -> None:
    """Model and tokenizer from the four-bit file, saved so that the next load neither parses nor converts."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = assets.path("smollm2")
    with quiet(), redirect_stderr(io.StringIO()):  # its bar knows no switch
        net: Any = AutoModelForCausalLM.from_pretrained(where, gguf_file=_GGUF, dtype=torch.float32)
        # transformers will not save what it believes to be quantised still.
        net.hf_quantizer = None
        del net.config.quantization_config
        net.save_pretrained(folder)
        AutoTokenizer.from_pretrained(where, gguf_file=_GGUF).save_pretrained(folder)
