"""Checks of lesson 11: the price of a training, exposure, the effect size of WEAT, and a model card."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from tlcourse import foundation
from tlcourse.checks.base import check
from tlcourse.checks.diagnosis import Case, diagnose
from tlcourse.checks.expect import close, expect, tensor

Answer = Callable[..., Any]
SECTIONS = (
    "Model details",
    "Intended use",
    "Factors",
    "Metrics",
    "Evaluation data",
    "Training data",
    "Quantitative analyses",
    "Ethical considerations",
    "Caveats and recommendations",
)
FEWEST_WORDS = 8


@check
def training_cost(answer: Answer) -> None:
    """operations are 6ND, hours follow from the share of the peak that is reached, and the price from the hours"""
    n, d = float(torch.randint(1, 90, ())) * 1e9, float(torch.randint(1, 20, ())) * 1e11
    peak, share, price = 3e14, 0.2 + 0.3 * float(torch.rand(())), 1.5 + 2 * float(torch.rand(()))
    tried = f"training_cost({n:.0e}, {d:.0e}, peak={peak:.0e}, utilisation={share:.2f}, price={price:.2f})"
    found = answer(n, d, peak=peak, utilisation=share, price=price)
    triple = isinstance(found, tuple) and len(found) == 3
    expect(triple, tried=tried, got=f"{type(found).__name__}", misconception="Return (flops, hours, cost).")
    flops, hours, cost = map(float, found)
    right = 6 * n * d
    per_token = (
        (2 / 6, "That is the forward pass alone: 2ND. The backward pass takes 4ND more."),
        (1 / 6, "N times D is not yet 6."),
    )
    tried_flops = f"operations of {tried} over 6ND"
    close(flops / right, 1.0, tried=tried_flops, misconception="C = 6 · N · D.", known=per_token)
    seconds = right / (peak * share)
    cases = (
        (3600, "These are seconds. An hour has 3,600."),
        (share, "No chip runs at its peak: divide by peak · utilisation."),
        (share**2, "A lower utilisation makes it take longer: divide by it, do not multiply."),
    )
    rule = "hours = flops / (peak · utilisation) / 3600."
    tried_hours = f"hours of {tried} over the right ones"
    close(hours * 3600 / seconds, 1.0, tried=tried_hours, misconception=rule, known=cases)
    close(cost / (hours * price), 1.0, tried=f"cost of {tried}", misconception="cost = hours · price.")


@check
def exposure(answer: Answer) -> None:
    """log₂ of the number of secrets, less log₂ of the rank of the true one, in bits"""
    size = int(torch.randint(200, 900, ()))
    losses = torch.rand(size) * 10 + 5
    rank = next(r for r in torch.randint(3, size // 4, (9,)).tolist() if r * r != size)  # else log₂ rank would be right
    index = int(losses.argsort()[rank - 1])
    tried = f"exposure(losses, {index}) for {size} secrets, the true one of rank {rank}"
    value = float(answer(losses.clone(), index))
    right = math.log2(size) - math.log2(rank)
    cases = (
        (math.log(size) - math.log(rank), "These are nats. Bits are logarithms of base 2."),
        (math.log2(size) - math.log2(size - rank + 1), "Turned round: rank 1 is the secret with the smallest loss."),
        (math.log2(size) - math.log2(rank - 1), "The rank is one too small: count the true secret itself."),
        (math.log2(rank), "That is log₂ of the rank alone. Subtract it from log₂ of the number of secrets."),
    )
    rule = "log₂|R| − log₂ rank, the rank counted from the smallest loss."
    close(value, right, tried=tried, misconception=rule, known=cases)
    best = float(answer(losses.clone(), int(losses.argmin())))
    close(best, math.log2(size), tried="exposure of the likeliest secret", misconception="At rank 1 it is log₂|R|.")


@check
def effect_size(answer: Answer) -> None:
    """difference of the mean associations of X and Y, in standard deviations over both"""
    diagnose(lambda: _effect_case(answer), otherwise="(mean s(X) − mean s(Y)) / std of s over X ∪ Y.")


def _effect_case(answer: Answer) -> Case:
    x, y, a, b = (torch.randn(n, 12) * (0.5 + 2 * torch.rand(n, 1)) + torch.randn(12) for n in (7, 7, 5, 6))
    tried = "effect_size(x, y, a, b) for 7, 7, 5 and 6 random vectors of different length"
    value = float(tensor(torch.as_tensor(answer(x, y, a, b)).double(), (), tried=tried))

    def d(s: Callable[[torch.Tensor], torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        return s(x), s(y)

    def size(s_x: torch.Tensor, s_y: torch.Tensor, *, spread: torch.Tensor | float | None = None) -> float:
        both = torch.cat([s_x, s_y]).std() if spread is None else spread
        return float((s_x.mean() - s_y.mean()) / both)

    cosine = d(lambda w: (F.normalize(w) @ F.normalize(a).T).mean(1) - (F.normalize(w) @ F.normalize(b).T).mean(1))
    products = d(lambda w: (w @ a.T).mean(1) - (w @ b.T).mean(1))
    centre = d(
        lambda w: F.cosine_similarity(w, a.mean(0, keepdim=True)) - F.cosine_similarity(w, b.mean(0, keepdim=True))
    )
    pooled = (cosine[0].var() / 2 + cosine[1].var() / 2).sqrt()
    population = torch.cat(cosine).std(correction=0)
    known = [
        (-size(*cosine), "The sign is turned: X and A come first."),
        (size(*products), "These are dot products, in which long vectors count more. Normalise first: cosines."),
        (
            size(*centre),
            "This compares with the mean vector of the attributes. Take the cosine with each, then the mean.",
        ),
        (size(*cosine, spread=1.0), "The difference of the means is there. Divide it by a standard deviation."),
        (
            size(*cosine, spread=pooled),
            "The spread within X and within Y, pooled, is Cohen's d. WEAT takes it over X ∪ Y.",
        ),
        (size(*cosine, spread=population), "The standard deviation divides by n here. Use n − 1, as torch's std does."),
    ]
    return Case(tried, value, size(*cosine), known)


@check
def model_card(card: str) -> None:
    """has a known licence, nine sections that say something, a number with its spread, and no promise of safety"""
    tried = "reading the card"
    text = isinstance(card, str)
    expect(
        text,
        tried=tried,
        got=type(card).__name__,
        misconception="The card is one text, from '---' to its last section.",
    )
    try:
        licence = foundation.of_model_card(card.strip())
        foundation.terms(licence)
    except ValueError:
        reason = "Begin with a header: a line ---, then license: and its name, then a line ---."
        expect(False, tried=tried, got="no licence", misconception=reason)
    except KeyError:
        reason = "Give an SPDX name that foundation.TERMS knows, such as cc-by-4.0."
        expect(False, tried=tried, got="an unknown licence", misconception=reason)
    bodies = _sections(card)
    absent = [name for name in SECTIONS if name.lower() not in bodies]
    reason = "Each section begins with a line '## Name'. A card without it leaves the reader to guess."
    expect(not absent, tried=tried, got=f"no section {', '.join(absent)}", misconception=reason)
    for name in SECTIONS:
        body = bodies[name.lower()]
        template = re.search(
            r"\b(todo|tbd|lorem|more information needed)\b|\.\.\.|…|\[[^\]\d]*[a-z][^\]\d]*\](?!\()",
            body,
            re.IGNORECASE,
        )
        reason = "There is still a placeholder. If you do not know it, write that it was not measured."
        expect(template is None, tried=f"reading '{name}'", got=body[:60], misconception=reason)
        reason = f"Say it in a sentence, at least {FEWEST_WORDS} words, or say why it is not known."
        expect(
            len(body.split()) >= FEWEST_WORDS,
            tried=f"reading '{name}'",
            got=body[:60] or "nothing",
            misconception=reason,
        )
    numbers = bodies["quantitative analyses"]
    some = re.search(r"\d", numbers)
    expect(
        some,
        tried="reading 'Quantitative analyses'",
        got=numbers[:60],
        misconception="No number. Give what was measured.",
    )
    spread = re.search(
        r"±|\[\s*[\d.]+\s*,|interval|seeds?|runs?|draws?|standard deviation|\bsd\b", numbers, re.IGNORECASE
    )
    reason = "A number without its spread, or how many runs it comes from, cannot be compared."
    expect(spread, tried="reading 'Quantitative analyses'", got=numbers[:60], misconception=reason)
    limits = re.search(r"\b(not|never|no|without|outside|only)\b", bodies["intended use"], re.IGNORECASE)
    reason = "Say also what the model is not for: a stranger will try it."
    expect(limits, tried="reading 'Intended use'", got=bodies["intended use"][:60], misconception=reason)
    promises = [found for sentence in re.split(r"[.!?]\s|\n", card) if (found := _promise(sentence))]
    reason = "No test shows that. Say which tests were made, and what they cannot see."
    expect(not promises, tried=tried, got=", ".join(promises), misconception=reason)


def _promise(sentence: str) -> str:
    """What a sentence promises that no test can show; empty where it promises nothing, or denies it."""
    tests = r"(tests?|testing|evaluations?|audits?|analys[ei]s|measurements?|checks?|assessments?)"
    done = r"(measured|tested|evaluated|checked|assessed)"  # "no bias was measured" may be a lack of tests
    found = re.search(
        rf"\b(bias[- ]free|free of bias|unbiased|no bias(?!\s+(\w+\s+)?({tests}|{done})\b)|"
        r"(perfectly|completely) safe)\b",
        sentence,
        re.IGNORECASE,
    )
    denied = found and re.search(
        r"\b(not|never|nobody|no one|nothing|cannot|whether|if)\b|n't\b", sentence[: found.start()], re.IGNORECASE
    )
    return found[0] if found and not denied else ""


def _sections(card: str) -> dict[str, str]:
    """Name of a section, in small letters → what stands below it."""
    parts = re.split(r"^##[ \t]+(.+?)[ \t]*$", card, flags=re.MULTILINE)
    return {name.lower(): body.strip() for name, body in zip(parts[1::2], parts[2::2], strict=True)}
