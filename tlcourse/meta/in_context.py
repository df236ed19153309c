"""Classification by a prompt of examples (Brown et al. 2020, arXiv:2005.14165), and contextual calibration of what
comes out (Zhao, Wallace, Feng, Klein and Singh 2021, arXiv:2102.09690).

No weight changes. The examples, called demonstrations, stand before the question, and the network that continues the
text is asked how likely each class's word is.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tlcourse.models import LanguageModel

SLOT = "{text}"
CONTENT_FREE = ("N/A", "[MASK]", "")
"""Inputs that say nothing (Zhao et al. 2021, Section 5); the scores after them are the bias of the prompt."""


@dataclass(frozen=True)
class Wording:
    """How an example is written: `template` with its {text}, then the word of its class, `separator` between two.

    Raises ValueError for a template without {text}, fewer than two words, an empty or repeated word, or a separator
    that does not begin with white space (a tokenizer might join it with the word before).
    """

    words: tuple[str, ...]
    template: str = "Review: {text}\nSentiment:"
    separator: str = "\n\n"

    def __post_init__(self) -> None:
        if SLOT not in self.template:
            raise ValueError(f"template {self.template!r} has no place for the text; write {SLOT} into it")
        if isinstance(self.words, str) or len(self.words) < 2:
            raise ValueError(f"words are {self.words!r}; give one word for each class, two or more")
        if not all(word.strip() for word in self.words) or len(set(self.words)) < len(self.words):
            raise ValueError(f"words are {self.words!r}; none may be empty and no two the same")
        if not self.separator[:1].isspace():
            raise ValueError(f"separator is {self.separator!r}; let it begin with a space or a new line")


@dataclass(frozen=True, eq=False)
class Prefix:
    """The keys and values that a network has computed for the first `tokens` tokens of a prompt, layer by layer."""

    tokens: int
    cache: tuple[tuple[Float[Tensor, "1 heads tokens dim"], Float[Tensor, "1 heads tokens dim"]], ...]


def write_demonstrations(examples: Sequence[tuple[str, int]], *, wording: Wording) -> str:
    """Each text in the template, followed by its class's word. No example: an empty string."""
    for i, (_, label) in enumerate(examples):
        if isinstance(label, str) or not 0 <= label < len(wording.words):
            raise ValueError(
                f"examples[{i}] has class {label!r}, and there are words for 0 to {len(wording.words) - 1}; "
                "give (text, class number) pairs"
            )
    written = [wording.template.replace(SLOT, text) + wording.words[label] for text, label in examples]
    return wording.separator.join(written)


def write_prompt(examples: Sequence[tuple[str, int]], text: str, *, wording: Wording) -> str:
    """The demonstrations, then `text` in the same template with its word left out."""
    return write_demonstrations(examples, wording=wording) + _question(text, wording, first=not examples)


def _question(text: str, wording: Wording, *, first: bool) -> str:
    return ("" if first else wording.separator) + wording.template.replace(SLOT, text)


@torch.no_grad()
def encode_prefix(language: LanguageModel, text: str) -> Prefix:
    """Read `text` once and keep what later tokens need of it; an empty text gives a prefix of no tokens.

    Raises ValueError for a text that is longer than the network's context.
    """
    ids = language.tokenizer(text)["input_ids"] if text else []
    if not ids:
        return Prefix(0, ())
    _check_length(language, len(ids))
    cache = _empty_cache()
    batch = torch.tensor([ids], device=_device(language))
    language.net.base_model(input_ids=batch, use_cache=True, **{_cache_argument(language): cache})
    return Prefix(len(ids), tuple((layer.keys, layer.values) for layer in cache.layers))


@torch.no_grad()
def score_words(
    language: LanguageModel,
    texts: Sequence[str],
    *,
    words: Sequence[str],
    prefix: Prefix | None = None,
    batch_size: int = 8,
) -> Float[Tensor, "n classes"]:
    """log P(word | text) for each text and word, the sum over a word's tokens; on the CPU.

    With a `prefix`, each text goes on where the prefix ends, and only the text is computed.
    Raises ValueError for no text, an empty one, or one too long for the network's context.
    """
    if isinstance(texts, str) or len(texts) == 0:
        raise ValueError("texts must be a list with at least one text; put a single text into a list")
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; give 1 or more")
    before = prefix or Prefix(0, ())
    tokens = [language.tokenizer(text)["input_ids"] for text in texts]
    answers = [language.tokenizer(word)["input_ids"] for word in words]
    if not all(tokens) or not all(answers):
        raise ValueError("a text or a word has no token; give texts and words that are not empty")
    _check_length(language, before.tokens + max(map(len, tokens)) + max(map(len, answers)) - 1)
    scores = torch.empty(len(texts), len(words))
    # Neighbours in length share a batch, so that little of it is padding.
    for rows in torch.tensor([len(ids) for ids in tokens]).argsort(stable=True).split(batch_size):
        scores[rows] = _score_batch(language, [tokens[i] for i in rows.tolist()], answers, before)
    return scores


def _score_batch(
    language: LanguageModel, tokens: list[list[int]], answers: list[list[int]], prefix: Prefix
) -> Float[Tensor, "n classes"]:
    """Words that differ only in their last token share one pass: two words of one token each need one."""
    scores = torch.empty(len(tokens), len(answers))
    for lead in dict.fromkeys(tuple(answer[:-1]) for answer in answers):
        log_probs = _next_log_probs(language, [[*ids, *lead] for ids in tokens], len(lead) + 1, prefix)
        for column, answer in enumerate(answers):
            if tuple(answer[:-1]) == lead:
                picked = log_probs[:, torch.arange(len(answer)), torch.tensor(answer, device=log_probs.device)]
                scores[:, column] = picked.sum(dim=1).cpu()
    return scores


def _next_log_probs(
    language: LanguageModel, tokens: list[list[int]], last: int, prefix: Prefix
) -> Float[Tensor, "n last vocabulary"]:
    """log P of the next token after each of the `last` tokens of every row."""
    lengths = torch.tensor([len(ids) for ids in tokens])
    # Padding stands at the end, where no token before it can see it: a causal network needs no mask.
    ids: Int[Tensor, "n longest"] = torch.zeros(len(tokens), int(lengths.max()), dtype=torch.long)
    for row, item in zip(ids, tokens, strict=True):
        row[: len(item)] = torch.tensor(item)
    device = _device(language)
    past = {_cache_argument(language): _for_rows(prefix, len(tokens))} if prefix.tokens else {"use_cache": False}
    hidden = language.net.base_model(input_ids=ids.to(device), **past).last_hidden_state
    places = (lengths[:, None] - last + torch.arange(last)).to(device)
    ends = hidden[torch.arange(len(tokens), device=device)[:, None], places]
    return language.net.get_output_embeddings()(ends).float().log_softmax(dim=-1)


def _for_rows(prefix: Prefix, n: int) -> Any:
    """The prefix as the past of n rows, which share its memory until they go on."""
    cache = _empty_cache()
    for layer, pair in enumerate(prefix.cache):
        keys, values = (tensor.expand(n, -1, -1, -1) for tensor in pair)
        cache.update(keys, values, layer)
    return cache


def _empty_cache() -> Any:
    from transformers import DynamicCache

    return DynamicCache()


def _cache_argument(language: LanguageModel) -> str:
    """What this version of transformers calls the past keys and values."""
    arguments = inspect.signature(language.net.base_model.forward).parameters
    return "cache" if "cache" in arguments else "past_key_values"


def classify_in_context(
    language: LanguageModel,
    examples: Sequence[tuple[str, int]],
    texts: Sequence[str],
    *,
    wording: Wording,
    batch_size: int = 8,
) -> Float[Tensor, "n classes"]:
    """log P(word | demonstrations, text); the demonstrations are read once for all texts.

    `examples` are (text, class number) pairs; with none of them this is zero-shot classification.
    """
    if isinstance(texts, str):
        raise ValueError("texts must be a list with at least one text; put a single text into a list")
    prefix = encode_prefix(language, write_demonstrations(examples, wording=wording))
    questions = [_question(text, wording, first=not examples) for text in texts]
    return score_words(language, questions, words=wording.words, prefix=prefix, batch_size=batch_size)


def calibrate(scores: Float[Tensor, "n classes"], reference: Float[Tensor, "m classes"]) -> Float[Tensor, "n classes"]:
    """Divide each class's probability by its mean on the reference: W = diag(p_ref)⁻¹ and b = 0 (Zhao et al. 2021,
    Section 5). Log-probabilities of the classes come in and go out.

    `reference`: scores of inputs without content after the same demonstrations. With the scores of many unlabelled
    texts it is batch calibration (Zhou et al. 2023, arXiv:2309.17249), which supposes that the classes are equally
    frequent among them.
    Raises ValueError when the two have other classes, or the reference has no row.
    """
    if scores.ndim != 2 or reference.ndim != 2 or scores.shape[1] != reference.shape[1] or len(reference) == 0:
        raise ValueError(
            f"scores are {tuple(scores.shape)} and reference {tuple(reference.shape)}; give (n, classes) and "
            "(m, classes) with the same classes and at least one row"
        )
    # In logarithms throughout: probabilities of far-fetched words would underflow.
    prior = reference.log_softmax(dim=1).logsumexp(dim=0)
    return (scores.log_softmax(dim=1) - prior).log_softmax(dim=1)


def _check_length(language: LanguageModel, tokens: int) -> None:
    longest = language.net.config.max_position_embeddings
    if tokens > longest:
        raise ValueError(
            f"the prompt has {tokens:,} tokens and the context of {language.name} ends at {longest:,}; "
            "give fewer or shorter demonstrations"
        )


def _device(language: LanguageModel) -> torch.device:
    return next(language.net.parameters()).device
