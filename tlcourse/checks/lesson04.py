"""Checks of lesson 04: pooling over tokens, warm-up, forgetting, and the spread of two ways over seeds."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tlcourse.checks import ramps, spreads
from tlcourse.checks.base import check
from tlcourse.checks.diagnosis import Case, diagnose
from tlcourse.checks.expect import close, expect, number, tensor
from tlcourse.models.text_backbone import masked_mean as right_mean
from tlcourse.training.evaluation import balanced_accuracy

Answer = Callable[..., Any]
Known = list[tuple[Tensor, str]]
MASK_AXIS = (
    "The mask has landed on the wrong axis. It says which *tokens* count: give it a last axis, mask[:, :, None]."
)
COUNT_AXIS = "The count of one text divides another one. Each row has its own count: mask.sum(dim=1, keepdim=True)."


@check
def masked_mean(answer: Answer) -> None:
    """mean over the tokens of each text; padding, wherever it stands, has no say"""
    hidden, mask = _texts(6, 6, 6)  # three equal sizes: a mask on a wrong axis fits as well, and gives itself away
    _check_mean(answer, hidden, mask, tried="6 texts of 2 to 6 tokens, padded at the end to 6 tokens; 6 features")
    kept, kept_mask = hidden.clone(), mask.clone()
    answer(hidden, mask)
    expect(
        hidden.equal(kept) and mask.equal(kept_mask),
        tried="masked_mean(hidden, mask), and a look at hidden and mask afterwards",
        got="they are not what they were",
        misconception="`*=`, `/=` and names that end in _ write into the tensor of the caller. Make a new one.",
    )
    scattered = mask.gather(1, torch.rand(6, 6).argsort(dim=1))
    _check_mean(answer, hidden, scattered, tried="the same, but with padding anywhere: some tokenizers pad on the left")
    for n, tokens, dim in ((4, 9, 3), (1, 2, 5)):
        _check_mean(answer, *_texts(n, tokens, dim), tried=f"hidden of shape ({n}, {tokens}, {dim})")
    _check_empty_row(answer)
    hidden, mask = _texts(3, 5, 4)
    expect(
        answer(hidden.requires_grad_(), mask).requires_grad,
        tried="masked_mean(hidden, mask) with a hidden that requires a gradient",
        got="a result without gradient",
        misconception="Nothing below the pooling could learn. Leave out detach, numpy and torch.no_grad.",
    )


def _texts(n: int, tokens: int, dim: int) -> tuple[Tensor, Tensor]:
    """Random outputs, padding included, and the mask of n texts of 2 to `tokens` tokens, the first of full length."""
    length = torch.randint(2, tokens + 1, (n,))
    length[0] = tokens
    if n > 1:
        length[1] = 2 + tokens // 4
    return torch.randn(n, tokens, dim) + 0.3, (torch.arange(tokens) < length[:, None]).long()


def _check_mean(answer: Answer, hidden: Tensor, mask: Tensor, *, tried: str) -> None:
    value, shape = answer(hidden.clone(), mask.clone()), (hidden.shape[0], hidden.shape[2])
    each = "One vector for each text, shape (texts, features). `hidden[mask.bool()]` throws all texts together."
    found = tensor(value, shape, tried=tried, misconception=each)
    whole = "The mask holds whole numbers, the mean does not. Keep to the type of `hidden`."
    expect(found.is_floating_point(), tried=tried, got=f"a tensor of {found.dtype}", misconception=whole)
    right = right_mean(hidden, mask)
    row = int((found - right).abs().amax(dim=1).argmax())
    known = (message for wrong, message in _wrong_means(hidden, mask) if torch.allclose(found, wrong, atol=1e-4))
    expect(
        torch.allclose(found, right, atol=1e-4),
        tried=tried,
        got=f"{_first(found[row])} for a text of {int(mask[row].sum())} tokens, not {_first(right[row])}",
        misconception=next(known, "Sum the vectors of the text's tokens, and divide by their number."),
    )


def _first(vector: Tensor) -> str:
    return "[" + ", ".join(f"{value:.2f}" for value in vector[:3].tolist()) + ", …]"


def _wrong_means(hidden: Tensor, mask: Tensor) -> Known:
    """Results that are wrong in a known way, each with its misconception."""
    w = mask.to(hidden.dtype)
    total, count = (hidden * w[:, :, None]).sum(dim=1), w.sum(dim=1, keepdim=True)
    picked = torch.stack([h[m].mean(dim=0) for h, m in zip(hidden, mask, strict=True)])
    prefix = torch.stack([h[: int(c)].mean(dim=0) for h, c in zip(hidden, count.flatten(), strict=True)])
    whole = "One count for the whole batch. A text's mean would depend on its neighbours; count row by row."
    right = total / count
    known = [
        (hidden.mean(dim=1), "Padding leaks: this is the mean over all positions. Padding has vectors too, not zeros."),
        (total / mask.shape[1], "The sum leaves padding out, the division does not: divide by each text's own tokens."),
        (total, "This is the sum. A long text would get a long vector: divide by the number of its tokens."),
        (hidden[:, 0], "This is the first token's vector alone. Asked is the mean over all tokens of the text."),
        (picked, "An integer mask as an index picks the positions 0 and 1, again and again. `mask.bool()` selects."),
        *((total / each, whole) for each in (w.sum(), w.sum() / len(w), count.min())),
        (total / (count + 1), "1 was added to every count, which changes every mean. Only a count of 0 needs help."),
        (
            (hidden.sum(dim=1) - total) / (mask.shape[1] - count).clamp(min=1),
            "The mask is upside down: 1 marks a token.",
        ),
        (right / right.norm(dim=1, keepdim=True), "The vectors were scaled to length 1. Asked is the mean as it is."),
        (prefix, "You take the first tokens, as many as there are. The padding may come first: use the mask itself."),
    ]
    return [*known, *_wrong_axes(hidden, w)] if len(set(hidden.shape)) == 1 else known


def _wrong_axes(hidden: Tensor, w: Tensor) -> Known:
    """What comes out when mask, count or sum runs along a wrong axis; all sizes are equal."""
    counts = [w.sum(dim=1)[:, None], w.sum(dim=1)[None], w.sum(dim=0)[:, None], w.sum(dim=0)[None]]
    masked = hidden * w[:, :, None]
    sums = [(hidden * w).sum(dim=1), (hidden * w[:, None]).sum(dim=1), (hidden * w.T[:, :, None]).sum(dim=1)]
    axis = "You averaged along another axis: dim 0 counts texts, dim 1 tokens, dim 2 features."
    return [
        *((total / c, MASK_AXIS) for total in sums for c in [*counts, torch.tensor(len(w))]),
        *((masked.sum(dim=1) / c, COUNT_AXIS) for c in counts[1:]),
        *((masked.sum(dim=dim) / c, axis) for dim in (0, 2) for c in [*counts, torch.tensor(len(w))]),
    ]


def _check_empty_row(answer: Answer) -> None:
    hidden, mask = _texts(3, 5, 4)
    mask[1] = 0
    tried = "a batch in which the mask of one text is all 0"
    value = answer(hidden, mask)
    expect(
        not torch.isnan(value).any(),
        tried=tried,
        got="NaN",
        misconception="0 / 0, and one NaN spoils every weight at the next step. Divide by `clamp(min=1)` of the count.",
    )
    zeros = "Without a token there is nothing to average: return zeros for this text."
    others = "The text without tokens has changed the others. Each row counts for itself."
    close(value[1], torch.zeros(4), tried=tried, misconception=zeros, tolerance=1e-3)
    close(value[[0, 2]], right_mean(hidden, mask)[[0, 2]], tried=tried, misconception=others, tolerance=1e-4)


@check
def warmup_linear(answer: Answer) -> None:
    """up to 1 at step `rising`, then straight down; no step is wasted at rate 0"""
    ramps.check_warmup(answer)


@check
def forgetting(answer: Answer) -> None:
    """lost is accuracy before − after; forgotten counts what was right and is wrong now"""
    for part, asked in _ASKED.items():
        diagnose(_cases(answer, part), otherwise=asked)


def _cases(answer: Answer, part: str) -> Callable[[], Case]:
    """Questions about one part of the answer; the network has become worse and better by turns."""
    worse = cycle((True, False))
    return lambda: _forgetting_case(answer, part, next(worse))


_ASKED = {
    "order": "",
    "lost": "`lost` is the accuracy of `before` minus the accuracy of `after`, both measured against `labels`.",
    "forgotten": "`forgotten` is the number of examples right before and wrong after, divided by the number of all.",
}


def _forgetting_case(answer: Answer, part: str, worse: bool) -> Case:
    """One question about the whole answer: are the numbers in order, is the first right, is the second?"""
    before, after, labels, counts = _predictions(worse=worse)
    changes = ", ".join(f"{count} {name}" for name, count in counts.items())
    tried = f"{len(labels)} examples: {changes}"
    value = answer(before, after, labels)
    fits = isinstance(value, (tuple, list, Tensor)) and np.shape(value)[:1] == (2,)
    two = "Return two numbers: lost, forgotten."
    expect(fits, tried=tried, got=type(value).__name__, misconception=two)
    lost, forgotten = (number(item, tried=tried) for item in value)
    n = len(labels)
    forgot, gained = counts["right → wrong"], counts["wrong → right"]
    right_lost, right_forgotten = (forgot - gained) / n, forgot / n
    if part == "order":
        swapped = abs(lost - right_forgotten) < 1e-4 and abs(forgotten - right_lost) < 1e-4
        order = "The two have changed places: first lost, then forgotten."
        return Case(tried, lost if swapped else right_lost, right_lost, [(right_forgotten, order)])
    if part == "lost":
        return Case(f"{tried}; `lost`", lost, right_lost, _wrong_losses(before, after, labels, counts))
    return Case(f"{tried}; `forgotten`", forgotten, right_forgotten, _wrong_shares(counts))


def _predictions(*, worse: bool) -> tuple[Tensor, Tensor, Tensor, dict[str, int]]:
    """Predictions of 4 classes before and after, labels, and how many examples changed in which way."""
    forgot, step = int(torch.randint(25, 45, ())), int(torch.randint(8, 16, ()))
    counts = {
        "right → wrong": forgot,
        "wrong → right": forgot - step if worse else forgot + step,
        "wrong → wrong otherwise": int(torch.randint(50, 60, ())),
        "right twice": int(torch.randint(70, 90, ())),
        "wrong twice alike": int(torch.randint(100, 120, ())),
    }
    n = sum(counts.values())
    labels = torch.multinomial(torch.tensor([0.5, 0.25, 0.15, 0.1]), n, replacement=True)
    wrong, other = (labels + 1) % 4, (labels + 2) % 4
    kind = torch.arange(5).repeat_interleave(torch.tensor(list(counts.values())))[torch.randperm(n)]
    before = torch.where((kind == 0) | (kind == 3), labels, wrong)
    after = torch.where((kind == 1) | (kind == 3), labels, torch.where(kind == 2, other, wrong))
    return before, after, labels, counts


def _wrong_losses(before: Tensor, after: Tensor, labels: Tensor, counts: dict[str, int]) -> list[tuple[float, str]]:
    n, forgot, gained = len(labels), counts["right → wrong"], counts["wrong → right"]
    lost, at_first = (forgot - gained) / n, (forgot + counts["right twice"]) / n
    churn = "Any change of prediction counts here. A change says nothing before you look at the labels."
    no_gain = "Never below 0: a network that got better at the old task has a negative loss."
    balanced = balanced_accuracy(before, labels) - balanced_accuracy(after, labels)
    return [
        (abs(lost), no_gain),
        (max(lost, 0.0), no_gain),
        (-lost, "The sign: before − after, so that forgetting is a loss above 0."),
        ((forgot + gained + counts["wrong → wrong otherwise"]) / n, churn),
        (float((before == after).double().mean()), churn),
        (forgot / n, "Only what got worse is counted. Accuracy also rises by what was wrong and is right now."),
        (lost / at_first, "This is a share of the accuracy before. Return the difference of the two accuracies."),
        (lost * n, "This is a number of examples. Divide by the number of all."),
        (100 * lost, "These are percentage points. Return shares from 0 to 1."),
        (at_first - lost, "This is the accuracy after. Subtract it from the one before."),
        (balanced, "This is balanced accuracy. Asked is the plain share of right predictions."),
    ]


def _wrong_shares(counts: dict[str, int]) -> list[tuple[float, str]]:
    n, forgot, gained = sum(counts.values()), counts["right → wrong"], counts["wrong → right"]
    known, moved = forgot + counts["right twice"], counts["wrong → wrong otherwise"]
    drop = "This is the drop in accuracy. What was gained elsewhere hides in it what was forgotten: count one by one."
    wrong_now = forgot + moved + counts["wrong twice alike"]
    return [
        *((value / n, drop) for value in (forgot - gained, max(forgot - gained, 0), abs(forgot - gained))),
        ((forgot + gained + moved) / n, "Every changed prediction counts, also from wrong to right."),
        ((forgot + moved) / n, "Wrong before and wrong otherwise now: there was nothing to forget. Right before, too."),
        (forgot / known, "Divided by the examples right before. Here the share is one of all examples."),
        (forgot / wrong_now, "Divided by the examples wrong now. Here the share is one of all examples."),
        (gained / n, "This is what was gained: wrong before, right now."),
        (wrong_now / n, "This is everything wrong now. Forgotten is only what was right before."),
        (float(forgot), "This is a number of examples. Divide by the number of all."),
        (100 * forgot / n, "This is a percentage. Return a share from 0 to 1."),
    ]


@check
def steadier(answer: Answer) -> None:
    """by the ratio of sample spreads, and only when its bootstrap interval leaves out 1"""
    spreads.check_steadier(answer)
