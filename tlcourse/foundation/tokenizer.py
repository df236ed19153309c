"""Byte-pair encoding (Sennrich, Haddow and Birch 2016, arXiv:1508.07909) over bytes (Radford et al. 2019, Section 2.2).

Start from single letters and merge, again and again, the pair of neighbours that occurs most often. `learn_merges` and
`merge` are the idea in plain Python; `train_bpe` does the same with the library tokenizers, which is what runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import torch
from jaxtyping import Int64
from tokenizers import Tokenizer as LibraryTokenizer
from tokenizers import decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from torch import Tensor

SPECIAL = ("<pad>", "<end>", "<mask>")
"""Tokens that stand for no text: filling, end of a text, hidden token. They have the numbers 0, 1 and 2."""
PAD, END, MASK = range(len(SPECIAL))
BYTES = 256
"""Any text is a sequence of these, so that no character is unknown."""

Pair = tuple[str, str]


def learn_merges(words: Mapping[str, int], n: int) -> list[Pair]:
    """The first n merges for words that occur so often (Algorithm 1 of Sennrich et al.).

    Of pairs that are equally frequent, the one whose parts are older comes first; letters are as old as their place in
    the alphabet. Stops early when every word is one piece.
    """
    age = {letter: i for i, letter in enumerate(sorted({letter for word in words for letter in word}))}
    spelled: dict[tuple[str, ...], int] = {tuple(word): count for word, count in words.items()}
    merges: list[Pair] = []
    while len(merges) < n:
        pairs: Counter[Pair] = Counter()
        for pieces, count in spelled.items():
            for pair in pairwise(pieces):
                pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], age[pair[0]], age[pair[1]]))
        merges.append(best)
        age.setdefault("".join(best), len(age))
        spelled = {merge(pieces, best): count for pieces, count in spelled.items()}
    return merges


def merge(pieces: Sequence[str], pair: Pair) -> tuple[str, ...]:
    """The pieces with every occurrence of the pair, from left to right, made one."""
    merged: list[str] = []
    i = 0
    while i < len(pieces):
        found = tuple(pieces[i : i + 2]) == pair
        merged.append("".join(pair) if found else pieces[i])
        i += 2 if found else 1
    return tuple(merged)


def apply_merges(word: str, merges: Iterable[Pair]) -> tuple[str, ...]:
    """The pieces of a word: every merge in the order in which it was learned."""
    pieces: tuple[str, ...] = tuple(word)
    for pair in merges:
        pieces = merge(pieces, pair)
    return pieces


class Tokenizer:
    """Texts to token numbers and back. Numbers 0 to 2 are `SPECIAL`, then come the 256 bytes, then the merges."""

    def __init__(self, core: LibraryTokenizer) -> None:
        self.core = core
        core.encode_special_tokens = True  # "<end>" in a text is five letters, not the end
        found = tuple(core.id_to_token(i) for i in range(len(SPECIAL)))
        if found != SPECIAL:
            raise ValueError(f"the first tokens are {found} and not {SPECIAL}; make the tokenizer with train_bpe")

    def __len__(self) -> int:
        return self.core.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """Token numbers of a text."""
        return self.core.encode(text, add_special_tokens=False).ids

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of token numbers; special tokens are left out."""
        return self.core.decode([int(token) for token in tokens], skip_special_tokens=True)

    def pieces(self, text: str) -> list[str]:
        """The text cut at the borders of its tokens; a token that is a part of a letter shows as "�"."""
        return [self.core.decode([token]) for token in self.encode(text)]

    def stream(self, texts: Sequence[str]) -> Int64[Tensor, " tokens"]:
        """All texts one after the other, each closed by `END`. Raises ValueError when there is no text."""
        if isinstance(texts, str) or len(texts) == 0:
            raise ValueError("texts must be a list with at least one text; put a single text into a list")
        encoded = self.core.encode_batch(list(texts), add_special_tokens=False)
        return torch.tensor([token for text in encoded for token in (*text.ids, END)])

    def save(self, path: Path) -> None:
        """Write one JSON file, in the format of the library."""
        path.write_text(self.core.to_str(), "utf-8")

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """Read what `save` wrote. Raises FileNotFoundError for no such file."""
        return cls(LibraryTokenizer.from_str(path.read_text("utf-8")))


def train_bpe(texts: Sequence[str], *, vocabulary: int) -> Tokenizer:
    """A byte-level tokenizer with `vocabulary` tokens in all, learned from the texts.

    The special tokens and the 256 bytes are always there; `vocabulary` = 259 has no merges and reads single bytes. The
    texts are cut into words first, so that no token spans two of them; a space belongs to the word after it.
    Raises ValueError for no texts, or a vocabulary below 259.
    """
    if isinstance(texts, str) or len(texts) == 0:
        raise ValueError("texts must be a list with at least one text; put a single text into a list")
    least = len(SPECIAL) + BYTES
    if vocabulary < least:
        raise ValueError(f"vocabulary is {vocabulary}; special tokens and bytes alone are {least}")
    core = LibraryTokenizer(BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    return Tokenizer(core)
