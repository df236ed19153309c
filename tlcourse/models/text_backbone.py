"""Networks that turn texts into features: MiniLM, and DistilBERT from the hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tlcourse import assets
from tlcourse.models.drawing import drawn_by
from tlcourse.models.fingerprints import fingerprint
from tlcourse.models.sources import check_loaded, check_pretrained, checkpoint_folder, from_hugging_face, quiet, resolve

_HUB = {"minilm": None, "distilbert": "distilbert/distilbert-base-uncased"}


class TextBackbone(nn.Module):
    """A transformer encoder whose feature of a text is the mean over its tokens.

    `net` is the transformers model, `tokenizer` its tokenizer; texts are cut at `max_length` tokens.
    """

    net: Any

    def __init__(self, name: str, net: Any, tokenizer: Any, *, max_length: int = 128) -> None:
        super().__init__()
        self.name = name
        self.net = net
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.dim = int(net.config.hidden_size)

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages, from shallow to deep: the embeddings, then each layer."""
        return ("embeddings", *(f"layer.{i}" for i in range(self.net.config.num_hidden_layers)))

    def collate(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Token numbers `input_ids` and `attention_mask` (1 for a token, 0 for padding), both (n, longest text).

        Raises ValueError when there is no text, TypeError when an item is no string.
        """
        check_texts(texts)
        return dict(
            self.tokenizer(
                list(texts),
                padding=True,
                truncation=True,
                max_length=self.max_length,
                return_tensors="pt",
                return_token_type_ids=False,
            )
        )

    def forward(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "n dim"]:
        """Mean-pooled features of a batch made by `collate`."""
        batch = self._on_device(batch)
        hidden = self.net(**batch).last_hidden_state
        return masked_mean(hidden, batch["attention_mask"])

    def stage_features(self, batch: Mapping[str, Tensor]) -> dict[str, Float[Tensor, "n dim"]]:
        """Mean-pooled output of every stage, from shallow to deep, in one forward pass."""
        batch = self._on_device(batch)
        hidden = self.net(**batch, output_hidden_states=True).hidden_states
        return {stage: masked_mean(h, batch["attention_mask"]) for stage, h in zip(self.stages, hidden, strict=True)}

    def fingerprint(self) -> str:
        """Name, cut and exact weights, for caches."""
        return f"{self.name}-{self.max_length}-{fingerprint(self.net)}"

    def _on_device(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if "input_ids" not in batch or "attention_mask" not in batch:
            raise ValueError("batch needs input_ids and attention_mask; make it with backbone.collate(list_of_texts)")
        device = next(self.net.parameters()).device
        return {key: value.to(device) for key, value in batch.items()}


def check_texts(texts: Sequence[str]) -> None:
    """Raise ValueError when there is no text or a single one without a list, TypeError when an item is no string."""
    if isinstance(texts, str) or len(texts) == 0:
        raise ValueError("texts must be a list with at least one text; put a single text into a list")
    wrong = next((i for i, item in enumerate(texts) if not isinstance(item, str)), None)
    if wrong is not None:
        raise TypeError(f"texts[{wrong}] is a {type(texts[wrong]).__name__}; every text must be a string")


def masked_mean(hidden: Float[Tensor, "n tokens dim"], mask: Int[Tensor, "n tokens"]) -> Float[Tensor, "n dim"]:
    """Mean over the tokens whose mask is 1; padding has no say.

    A row without any token gives zeros.
    """
    weights = mask.to(hidden.dtype)[:, :, None]
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


def text(
    name: str = "minilm",
    *,
    pretrained: bool = True,
    source: str | None = None,
    checkpoint: str | Path | None = None,
    seed: int = 0,
) -> TextBackbone:
    """A text backbone with its pre-trained weights, in evaluation mode.

    `name`: "minilm" (built in, 384 features) or "distilbert" (Hugging Face, 768).
    `pretrained=False`: the same architecture and tokenizer with random weights drawn by `seed`.
    `source="hub"` (or TLCOURSE_SOURCE=hub) takes the larger counterpart.
    `checkpoint`: a folder on this disk, written by `save_pretrained` of a model and its tokenizer.

    Raises KeyError for an unknown name, ValueError for a folder that is no checkpoint.
    """
    check_pretrained(pretrained, checkpoint)
    chosen = resolve(name, source, _HUB)
    repository = _HUB[chosen]
    if checkpoint is not None:
        net, tokenizer = _load(checkpoint_folder(checkpoint), pretrained=True, seed=seed)
    elif repository is None:
        net, tokenizer = _load(str(assets.path(chosen)), pretrained=pretrained, seed=seed)
    else:
        net, tokenizer = from_hugging_face(
            repository,
            lambda local_only: _load(repository, pretrained=pretrained, seed=seed, local_only=local_only),
            builtin="minilm",
        )
    return TextBackbone(chosen, net, tokenizer).eval()


def _load(where: str, *, pretrained: bool, seed: int, local_only: bool = True) -> tuple[nn.Module, Any]:
    """The encoder and its tokenizer. BERT's pooler is left out: nothing here uses it, so it would never be trained."""
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    with quiet(), drawn_by(seed):
        tokenizer = AutoTokenizer.from_pretrained(where, local_files_only=local_only)
        config = AutoConfig.from_pretrained(where, local_files_only=local_only)
        pooler = {"add_pooling_layer": False} if config.model_type == "bert" else {}
        if not pretrained:
            return AutoModel.from_config(config, dtype=torch.float32, **pooler), tokenizer
        net, report = AutoModel.from_pretrained(
            where,
            use_safetensors=True,
            dtype=torch.float32,
            local_files_only=local_only,
            output_loading_info=True,
            **pooler,
        )
    check_loaded(where, report)
    return net, tokenizer
