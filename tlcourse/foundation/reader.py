"""A transformer of the course as a backbone for classifiers: pre-train, then fine-tune (Dai and Le 2015,
arXiv:1511.01432; Howard and Ruder 2018, arXiv:1801.06146)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from tlcourse.foundation.tokenizer import PAD, Tokenizer
from tlcourse.foundation.transformer import Transformer
from tlcourse.models.fingerprints import fingerprint
from tlcourse.models.text_backbone import masked_mean


class TextReader(nn.Module):
    """The mean of a transformer's last states over the tokens of a text, causal or not.

    It has what `models.Classifier` and `training.features` ask of a backbone. Texts are cut to the context.
    """

    def __init__(self, transformer: Transformer, tokenizer: Tokenizer) -> None:
        super().__init__()
        if len(tokenizer) != transformer.vocabulary:
            raise ValueError(
                f"the tokenizer has {len(tokenizer)} tokens and the transformer {transformer.vocabulary}; "
                "take the pair that was trained together"
            )
        self.transformer = transformer
        self.tokenizer = tokenizer
        self.dim = transformer.dim

    def collate(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Token numbers `ids`, filled up with `PAD`, and `mask`, true where there is a token.

        Raises ValueError when there is no text or one is empty.
        """
        if isinstance(texts, str) or len(texts) == 0 or not all(texts):
            raise ValueError("texts must be a list of texts, none of them empty; put a single text into a list")
        cut = [torch.tensor(self.tokenizer.encode(text)[: self.transformer.context]) for text in texts]
        ids = pad_sequence(cut, batch_first=True, padding_value=PAD)
        lengths = torch.tensor([len(tokens) for tokens in cut])
        return {"ids": ids, "mask": torch.arange(ids.shape[1]) < lengths[:, None]}

    def forward(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "n dim"]:
        """One vector a text, for a batch made by `collate`."""
        home = next(self.transformer.parameters()).device
        ids, mask = batch["ids"].to(home), batch["mask"].to(home)
        return masked_mean(self.transformer.hidden(ids, mask), mask.long())

    def fingerprint(self) -> str:
        """The exact weights and words, for caches."""
        words = hashlib.sha256(self.tokenizer.core.to_str().encode()).hexdigest()[:16]
        return f"reader-{words}-{fingerprint(self.transformer)}"
