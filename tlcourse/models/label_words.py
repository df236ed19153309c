"""A language model as a classifier: one word for each class (Schick and Schütze 2021, arXiv:2001.07676, Section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tlcourse.models.language_model import LanguageModel
from tlcourse.models.text_backbone import check_texts

SLOT = "{text}"


class LabelWords(nn.Module):
    """Logits of one word for each class, as the next token after `template` with the text in its {text}.

    `net` is the language model's own network, not a copy; texts are cut at `max_length` tokens before they are put
    into the template. Without any training this is zero-shot classification.

    Raises ValueError for a template without {text}, fewer than two words, or words that do not begin with tokens of
    their own.
    """

    net: Any

    def __init__(
        self, language: LanguageModel, words: Sequence[str], *, template: str = SLOT, max_length: int = 64
    ) -> None:
        super().__init__()
        if SLOT not in template:
            raise ValueError(f"template {template!r} has no place for the text; write {SLOT} into it")
        if isinstance(words, str) or len(words) < 2:
            raise ValueError(f"words are {words!r}; give a list with one word for each class, two or more")
        self.net = language.net
        self.tokenizer = language.tokenizer
        self.template = template
        self.max_length = max_length
        ids = [self.tokenizer(word)["input_ids"][0] for word in words]
        if len(set(ids)) < len(ids):
            raise ValueError(f"two of the words {list(words)} begin with the same token; choose others")
        self.register_buffer("ids", torch.tensor(ids), persistent=False)

    def collate(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """`input_ids` and `attention_mask` (n, longest prompt), padded at the end.

        Raises ValueError when there is no text, TypeError when an item is no string.
        """
        check_texts(texts)
        cut = self.tokenizer(list(texts), truncation=True, max_length=self.max_length)["input_ids"]
        prompts = [self.template.replace(SLOT, self.tokenizer.decode(ids)) for ids in cut]
        return dict(self.tokenizer(prompts, padding=True, padding_side="right", return_tensors="pt"))

    def forward(self, batch: dict[str, Tensor]) -> Float[Tensor, "n classes"]:
        """Logits of the classes' words after each prompt of a batch made by `collate`."""
        mask = batch["attention_mask"]
        # Counted from the end: a soft prompt may come to stand before the text. The head has 49,152 outputs, so it is
        # applied to no other position than these.
        ends, which = (mask.sum(dim=1) - mask.shape[1] - 1).unique(return_inverse=True)
        logits = self.net(**batch, logits_to_keep=ends, use_cache=False).logits
        return logits[torch.arange(len(mask), device=mask.device), which][:, self.ids]
