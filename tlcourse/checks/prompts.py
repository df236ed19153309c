"""Does an answer put a soft prompt before every text, let attention see it, and leave its outputs out?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from tlcourse.checks.base import CheckFailed
from tlcourse.checks.expect import close, expect, tensor
from tlcourse.peft import SoftPrompt

Answer = Callable[..., Any]
DIM = 6
CALL = "transformer(inputs_embeds=…, attention_mask=…)"


class Reader(nn.Module):
    """A frozen transformer of one layer of attention, called as those of Hugging Face; it notes what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, DIM)
        self.query, self.value = nn.Linear(DIM, DIM), nn.Linear(DIM, DIM)
        self.places = nn.Parameter(torch.randn(40, DIM))
        self.seen: list[tuple[Any, Any]] = []
        self.judge: Callable[[Any, Any], None] = lambda vectors, mask: None
        self.requires_grad_(False)

    def get_input_embeddings(self) -> nn.Embedding:
        """The table of vectors, as transformers call it."""
        return self.table

    def forward(self, inputs_embeds: Any = None, attention_mask: Any = None) -> SimpleNamespace:
        """One vector for each position."""
        self.seen.append((inputs_embeds, attention_mask))
        self.judge(inputs_embeds, attention_mask)
        hidden = inputs_embeds + self.places[: inputs_embeds.shape[1]]
        scores = self.query(hidden) @ hidden.transpose(1, 2) / DIM**0.5
        if attention_mask is not None:
            scores = scores.masked_fill(attention_mask[:, None, :] == 0, -1e9)
        mixed = torch.tanh(hidden + scores.softmax(dim=-1) @ self.value(hidden))
        return SimpleNamespace(last_hidden_state=mixed, hidden_states=None)


def check_prompt(answer: Answer) -> None:
    """CheckFailed unless answer(transformer, prompt, embeddings, mask) is what `peft.SoftPrompt` gives."""
    for n, text, tokens in ((4, 7, 3), (5, 6, 2), (3, 4, 6), (1, 5, 1)):
        Question(n, text, tokens).put(answer)


class Question:
    """A transformer, a prompt and a batch of texts of 2 or more tokens, padded at the end or the beginning."""

    def __init__(self, n: int, text: int, tokens: int) -> None:
        self.n, self.text, self.tokens = n, text, tokens
        self.reader = Reader()
        self.prompt = nn.Parameter(torch.randn(tokens, DIM))
        self.vectors = torch.randn(n, text, DIM)
        length = torch.randint(2, text, (n,))
        mask = (torch.arange(text) < length[:, None]).long()
        self.mask = mask if tokens % 2 else mask.flip(1)
        self.tried = f"a prompt of {tokens} vectors, and {n} texts padded to {text} tokens"

    def put(self, answer: Answer) -> None:
        """Ask the question, and judge what the transformer is given and what comes back."""
        right = SoftPrompt(self.reader, self.tokens)
        right.prompt = self.prompt
        wanted = right(inputs_embeds=self.vectors, attention_mask=self.mask).last_hidden_state
        vectors, mask = self.vectors.clone(), self.mask.clone()
        self.reader.seen.clear()
        self.reader.judge = self._judge
        result = self._call(answer, vectors, mask)
        self._check_calls()
        self._check_result(result, wanted)
        same = vectors.equal(self.vectors) and mask.equal(self.mask)
        expect(
            same,
            tried=f"{self.tried}; then a look at embeddings and mask",
            got="they are not what they were",
            misconception="You write into the tensors of the caller. torch.cat makes new ones.",
        )
        self._check_gradient(result, wanted)

    def _call(self, answer: Answer, vectors: Tensor, mask: Tensor) -> Any:
        try:
            return answer(self.reader, self.prompt, vectors, mask)
        except RuntimeError as error:
            said = str(error).split("\n")[0]
            if "same number of dimensions" in said:
                why = "The prompt has two axes and the batch has three: prompt.expand(len(embeddings), -1, -1)."
            elif "Sizes of tensors must match" in said:
                why = "torch.cat repeats nothing. Prompt and mask need one copy for each text, not one for the batch."
            else:
                raise
            raise CheckFailed(tried=self.tried, got=f"RuntimeError: {said}", misconception=why) from None

    def _check_calls(self) -> None:
        calls = len(self.reader.seen)
        why = (
            "The prompt has an effect only on what the transformer reads: call it with the longer vectors and mask."
            if calls == 0
            else "One call for the whole batch is enough: prompt and text are read together."
        )
        expect(calls == 1, tried=self.tried, got=f"{calls} calls of the transformer", misconception=why)

    def _judge(self, vectors: Any, mask: Any) -> None:
        """CheckFailed unless the transformer is given the prompt and the text, and a mask for both."""
        tried = f"{self.tried}: what {CALL} is given"
        known = "Pass the longer vectors as inputs_embeds; they are a tensor."
        expect(isinstance(vectors, Tensor), tried=tried, got=type(vectors).__name__, misconception=known)
        shape = (self.n, self.tokens + self.text, DIM)
        if tuple(vectors.shape) != shape:
            raise CheckFailed(
                tried=tried,
                got=f"inputs_embeds of shape {tuple(vectors.shape)}, not {shape}",
                misconception=self._shape_fault(vectors),
            )
        for holds, got, why in self._order_rules(vectors):
            expect(holds, tried=tried, got=got, misconception=why)
        self._judge_mask(mask, tried)

    def _shape_fault(self, vectors: Tensor) -> str:
        if vectors.shape != self.vectors.shape:
            return "Join the two along axis 1, which counts tokens: torch.cat([…, …], dim=1)."
        if vectors.equal(self.vectors):
            return "The prompt is not there. The text alone is read as before."
        if self.tokens < self.text and vectors[:, self.tokens :].equal(self.vectors[:, self.tokens :]):
            return "The prompt has taken the place of the first tokens. It comes on top: nothing of the text is lost."
        return "The prompt was mixed into the text's vectors. It has positions of its own, before the text."

    def _order_rules(self, vectors: Tensor) -> Iterator[tuple[bool, str, str]]:
        own = self.prompt.detach().expand(self.n, -1, -1)
        text_first = vectors[:, : self.text].equal(self.vectors) and vectors[:, self.text :].equal(own)
        yield (
            not text_first,
            "the text, then the prompt",
            "The prompt comes after the text. Put it first: in a causal model the text could not see it otherwise.",
        )
        yield (
            vectors[:, self.tokens :].equal(self.vectors),
            "other vectors where the text should be",
            "After the prompt come the vectors of the text, all of them and unchanged.",
        )
        head = vectors[:, : self.tokens]
        mixed = head.reshape(-1, DIM).sort(dim=0).values.equal(own.reshape(-1, DIM).sort(dim=0).values)
        why = (
            "The copies are in another order. One prompt serves every text: prompt.expand(n, -1, -1)."
            if mixed
            else "Every text begins with the learned vectors themselves, row by row as they stand in `prompt`."
        )
        yield head.equal(own), "other vectors where the prompt should be", why

    def _judge_mask(self, mask: Any, tried: str) -> None:
        none = "Without a mask attention reads the padding as well. Extend the mask and hand it on."
        expect(isinstance(mask, Tensor), tried=tried, got=f"attention_mask={mask!r:.20}", misconception=none)
        expect(
            tuple(mask.shape) != (self.n, self.text),
            tried=tried,
            got=f"a mask for {self.text} positions, where there are {self.tokens + self.text}",
            misconception="The mask was not extended. Ones for the prompt go before it.",
        )
        found = tensor(mask, (self.n, self.tokens + self.text), tried=tried)
        ones = torch.ones(self.n, self.tokens, dtype=torch.long)
        rest = torch.ones_like(self.mask)
        for wrong, why in (
            (
                [self.mask, ones],
                "The ones are at the wrong end of the mask: the prompt comes first, and so do its ones.",
            ),
            (
                [0 * ones, self.mask],
                "The prompt's mask is 0, so no token attends to it: whatever it learns, nobody reads.",
            ),
            ([ones, rest], "All ones: now padding is read as text. Keep the text's mask, and put ones before it."),
        ):
            same = torch.cat(wrong, dim=1).equal(found.long()) and not self._right_mask(ones).equal(found.long())
            expect(not same, tried=tried, got=f"for one text {found[0].long().tolist()}", misconception=why)
        why = "1 for every vector of the prompt, then the text's mask as it is."
        expect(
            self._right_mask(ones).equal(found.long()),
            tried=tried,
            got=f"for one text {found[0].tolist()}, not {self._right_mask(ones)[0].tolist()}",
            misconception=why,
        )
        kind = "torch.ones makes decimals, and torch.cat then makes all of them decimals. mask.new_ones keeps the type."
        got = f"a mask of {found.dtype}, where the text's is {self.mask.dtype}"
        expect(found.dtype == self.mask.dtype, tried=tried, got=got, misconception=kind)

    def _right_mask(self, ones: Tensor) -> Tensor:
        return torch.cat([ones, self.mask], dim=1)

    def _check_result(self, result: Any, wanted: Tensor) -> None:
        tried = f"{self.tried}: what comes back"
        whole = "Return the tensor last_hidden_state of what the transformer gives, not all of it."
        expect(not isinstance(result, SimpleNamespace), tried=tried, got="the output object", misconception=whole)
        shape = tuple(getattr(result, "shape", ()))
        fault = {
            (self.n, self.tokens + self.text, DIM): "The prompt's outputs are still there. Whoever pools or counts "
            "tokens expects one vector for each token of the text: cut the first ones off.",
            (self.n, self.tokens, DIM): "These are the outputs of the prompt. Keep those of the text.",
        }
        found = tensor(result, (self.n, self.text, DIM), tried=tried, misconception=fault.get(shape, ""))
        kept, right = found[:, self.tokens :], wanted.detach()[:, : max(self.text - self.tokens, 0)]
        cut = kept.numel() > 0 and torch.allclose(kept, right, atol=1e-5)
        why = (
            "Outputs were cut off at the wrong end: the prompt's are the first ones."
            if cut
            else "The outputs should be those of the text's positions, as the transformer gives them."
        )
        close(found, wanted, tried=tried, misconception=why)

    def _check_gradient(self, result: Tensor, wanted: Tensor) -> None:
        tried = f"{self.tried}: the gradient of the result with respect to the prompt"
        weights = torch.randn_like(wanted)
        right = torch.autograd.grad((wanted * weights).sum(), self.prompt)[0]
        found = None
        if result.requires_grad:
            found = torch.autograd.grad((result * weights).sum(), self.prompt, allow_unused=True)[0]
        stopped = "The prompt could not learn. Leave out detach, .data and torch.no_grad."
        expect(found is not None, tried=tried, got="none", misconception=stopped)
        close(found, right, tried=tried, misconception="Every copy of the prompt adds to its gradient.")
