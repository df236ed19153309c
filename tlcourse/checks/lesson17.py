"""Checks of lesson 17: a prompt of examples, contextual calibration, a prefix read once, and a curve read rightly."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tlcourse.checks.base import check
from tlcourse.checks.curves import check_beats, check_start
from tlcourse.checks.expect import close, expect, number, tensor

Answer = Callable[..., Any]
Weights = dict[str, Tensor]
SLOT, BLANK = "{text}", "\n\n"


@check
def build_prompt(answer: Answer) -> None:
    """examples with their words, a blank line between two, the question last and open"""
    texts = random.sample(["dull", "a joy", "fine acting", "too long", "see it twice", "no plot", "warm"], 5)
    labels = [0, 0, 1, 0] if random.random() < 0.5 else [1, 1, 0, 1]
    words = random.choice([(" bad", " good"), (" no", " yes"), (" cold", " hot")])
    template = random.choice(["Review: {text}\nSentiment:", "{text} =>", "Text: {text}. Verdict:"])
    examples, question = list(zip(texts, labels, strict=False)), texts[4]
    tried = f"build_prompt({examples}, {question!r}, {template!r}, {words})"
    found = answer(list(examples), question, template, words)
    expect(isinstance(found, str), tried=tried, got=type(found).__name__, misconception="Return one string.")
    last = template.replace(SLOT, question)

    def written(word: Callable[[int], str] = lambda label: words[label]) -> list[str]:
        return [template.replace(SLOT, text) + word(label) for text, label in examples]

    right = BLANK.join([*written(), last])
    unlike = "Write the word as it is given: it brings its own space."
    cases = (
        ([right + word for word in words], "The question has a word: the answer is given away. Leave it open."),
        (
            [right + " "],
            "The prompt ends with a space, and the word to come brings its own. Then no known token fits: end without.",
        ),
        ([right + "\n", right + BLANK], "There is a line break after the question. Its word should follow at once."),
        (
            [BLANK.join([last, *written()])],
            "The question stands first. The network goes on from the end, so it comes last.",
        ),
        (
            [BLANK.join([*written(lambda label: words[1 - label]), last])],
            "The words have changed places: words[label] is that of class `label`.",
        ),
        (
            [BLANK.join([*written(lambda label, pad=pad: f"{pad}{label}"), last]) for pad in ("", " ")],  # type: ignore[misc]
            "The examples end with the number of their class. Write its word: words[label].",
        ),
        ([gap.join([*written(), last]) for gap in ("", " ", "\n")], "The blank line between two parts is missing."),
        ([BLANK.join(written()) + last], "The last example runs into the question: a blank line there, too."),
        ([BLANK.join([*written(), question])], "The question is not in the template, so it looks unlike the examples."),
        (
            [BLANK.join([*written(lambda label: words[label].strip()), last])],
            f"The space before the word is lost. {unlike}",
        ),
        ([BLANK.join([*written(lambda label: " " + words[label]), last])], f"Two spaces before the word. {unlike}"),
        ([BLANK.join([*written(lambda label: ""), last])], "The examples have no word: then they show no class."),
        ([BLANK.join([*written()[::-1], last])], "The examples are in reverse order. Keep theirs."),
        ([last], "The examples are missing."),
    )
    for wrong, reason in cases:
        expect(found not in wrong, tried=tried, got=repr(found), misconception=reason)
    rule = f"It should be {right!r}."
    expect(found == right, tried=tried, got=repr(found), misconception=rule)
    found = answer([], question, template, words)
    tried = f"build_prompt([], {question!r}, {template!r}, {words})"
    alone = "Without examples the prompt is the question in its template, and nothing before it."
    expect(found == last, tried=tried, got=repr(found), misconception=alone)


@check
def calibrate(answer: Answer) -> None:
    """probabilities of the classes, divided by what inputs without content get, and normalised"""
    n, m, classes = 6, 3, random.choice([2, 3, 4])
    # The words hold another share of all probability in each row, as they do after real prompts.
    scores = torch.randn(n, classes, dtype=torch.float64) - 2 - 3 * torch.rand(n, 1, dtype=torch.float64)
    bias = torch.linspace(-1, 1, classes, dtype=torch.float64)[torch.randperm(classes)]
    shares = torch.tensor([[-1.0], [-3.0], [-5.0]], dtype=torch.float64)[torch.randperm(m)]
    empty = bias + 0.8 * torch.randn(m, classes, dtype=torch.float64) + shares - 2
    kept = scores.clone(), empty.clone()
    tried = f"calibrate(log_probs of shape {(n, classes)}, content_free of shape {(m, classes)})"
    given = answer(scores, empty)
    chosen = (
        "These are classes, one for each row. Return their probabilities: how sure an answer is gets lost by argmax."
    )
    if isinstance(given, Tensor):
        expect(given.shape != (n,), tried=tried, got=f"shape {tuple(given.shape)}", misconception=chosen)
    found = tensor(
        given, (n, classes), tried=tried, misconception="One row for each test input, one column for each class."
    )
    same = torch.equal(scores, kept[0]) and torch.equal(empty, kept[1])
    expect(same, tried=tried, got="changed arguments", misconception="The arguments have changed. Work on new tensors.")

    def normal(value: Tensor) -> Tensor:
        return value / value.sum(dim=1, keepdim=True)

    p, none = scores.softmax(dim=1), empty.softmax(dim=1)
    prior = none.mean(dim=0)
    right = normal(p / prior)
    geometric = empty.log_softmax(dim=1).mean(dim=0).exp()
    loud, logs = empty.exp().mean(dim=0), empty.mean(dim=0).exp()
    cases = (
        ([p, scores.exp()], "Nothing is calibrated: the content-free inputs are not used."),
        (
            [normal(p / geometric), normal(p / logs), p / geometric],
            "This is the mean of the logarithms. Take that of the probabilities: one tiny value must not rule.",
        ),
        (
            [normal(p / loud), normal(scores.exp() / loud), p / loud, scores.exp() / loud],
            "The content-free rows are averaged before they add up to 1, so rows with likelier words count more.",
        ),
        (
            [p - prior, normal(p - prior), (p - prior).softmax(dim=1), normal((p - prior).clamp_min(0))],
            "The bias is subtracted. Divide by it: a difference is no probability, it can be below 0.",
        ),
        (
            [normal(p / p.mean(dim=0)), p / p.mean(dim=0)],
            "The mean is that of the test inputs. Then an answer depends on which others were asked with it.",
        ),
        ([normal(p * prior), p * prior], "Multiplied: the bias now counts twice. Divide by it."),
        ([p / prior], "The rows do not add up to 1: divide each by its sum."),
        ([(p / prior).softmax(dim=1)], "A softmax of a quotient of probabilities. Divide each row by its sum instead."),
        ([right.log()], "These are logarithms. Return probabilities."),
        (
            [normal(scores.softmax(dim=0) / prior), normal(p / empty.softmax(dim=0).mean(dim=0))],
            "The softmax runs over the inputs. It should run over the classes: dim=1.",
        ),
    )
    known = [(value, why) for values, why in cases for value in values]
    rule = "Softmax over the classes, divided by the mean of the content-free rows, each row divided by its sum."
    close(found, right, tried=tried, misconception=rule, known=known)


def attend(tokens: Tensor, weights: Weights, past: int, *, first: int | None = None, sees: int | None = None) -> Tensor:
    """Rows of causal attention from `past` on; `first` and `sees` move the question's places and its mask."""
    p = past if first is None else first
    places = torch.cat([weights["places"][:past], weights["places"][p : p + len(tokens) - past]])
    hidden = tokens + places
    queries, keys, values = (hidden @ weights[name] for name in ("query", "key", "value"))
    scores = queries[past:] @ keys.T / keys.shape[1] ** 0.5
    visible = torch.ones(scores.shape).tril(past if sees is None else sees).bool()
    return scores.masked_fill(~visible, -torch.inf).softmax(dim=1) @ values


@check
def attend_with_cache(answer: Answer) -> None:
    """the question's rows of the full pass, from the keys and values of a prefix that is read once"""
    dim, past, asked = random.choice([4, 6]), random.choice([5, 7]), 3
    # Small queries and keys: no token takes all the attention, so each hidden or shown one is noticed.
    weights = {name: 0.6 * torch.randn(dim, dim, dtype=torch.float64) / dim**0.5 for name in ("query", "key", "value")}
    weights["places"] = torch.randn(past + asked + 8, dim, dtype=torch.float64)
    prefix = torch.randn(past, dim, dtype=torch.float64)
    hidden = prefix + weights["places"][:past]
    kept = {"keys": hidden @ weights["key"], "values": hidden @ weights["value"]}
    cache = {name: value.clone() for name, value in kept.items()}
    tried = f"attend_with_cache({asked} tokens, a cache of {past}, weights)"
    question = torch.randn(asked, dim, dtype=torch.float64)
    shape = "One row for each token of the question. The prefix's rows are not wanted again."
    found = tensor(answer(question.clone(), cache, weights), (asked, dim), tried=tried, misconception=shape)
    whole = torch.cat([prefix, question])
    right = attend(whole, weights, past)
    bare = {**weights, "places": torch.cat([weights["places"][:past], torch.zeros(asked, dim, dtype=torch.float64)])}
    soft = {**weights, "query": weights["query"] * dim**0.5}
    scores = (question + weights["places"][past : past + asked]) @ weights["query"] @ kept["keys"].T / dim**0.5
    alone = [attend(question, {**weights, "places": weights["places"][at:]}, 0) for at in (0, past)]
    cases = (
        (
            [attend(whole, weights, past, first=0)],
            "The question's places restart at 0. Its first token stands behind the prefix, at place p.",
        ),
        ([attend(whole, bare, past)], "The question's tokens have no place: add weights['places'][p : p + q]."),
        (
            [attend(whole, weights, past, sees=0)],
            "The mask forgets the prefix: row i of the question is row p + i of the prompt. Use tril(diagonal=p).",
        ),
        (
            [attend(whole, weights, past, sees=past + asked)],
            "Nothing is masked: a token of the question sees those after it.",
        ),
        ([attend(whole, weights, past, sees=past - 1)], "A token does not see itself: one column too few is visible."),
        (
            [attend(whole, weights, past, sees=past + 1)],
            "Each token sees the next one: one column too many is visible.",
        ),
        (alone, "The question sees itself alone. Put the cached keys and values before its own."),
        ([scores.softmax(dim=1) @ kept["values"]], "The question sees the prefix alone. It needs its own keys, too."),
        ([attend(whole, soft, past)], "The scores are not divided by the square root of d."),
    )
    known = [(value, why) for values, why in cases for value in values]
    close(found, right, tried=tried, misconception="It should equal the last rows of the full pass.", known=known)
    changed = "The cache has changed: the next question would see this one. Join keys into a new variable."
    same = all(cache[name].shape == kept[name].shape and torch.equal(cache[name], kept[name]) for name in kept)
    expect(same and set(cache) == set(kept), tried=tried, got="another cache", misconception=changed)
    for length in (1, 4):
        other = torch.randn(length, dim, dtype=torch.float64)
        found = answer(other.clone(), cache, weights)
        tried = f"attend_with_cache({length} tokens, the same cache, weights), the next question"
        later = "The first question came out right, this one does not. Does something remain from the first?"
        close(found, attend(torch.cat([prefix, other]), weights, past), tried=tried, misconception=later)


@check
def read_curve(answer: Answer) -> None:
    """from where on the network is near ridge, whether it beats least squares, and how near it comes"""
    dim = random.choice([3, 4])
    longest = 2 * dim + 5
    ridge = torch.linspace(4, 0.3, longest, dtype=torch.float64) + 0.05 * torch.rand(longest, dtype=torch.float64)

    def reader(network: Tensor, least: Tensor, tried: str) -> tuple[Any, Any, Any]:
        found = answer(network.clone(), ridge.clone(), least.clone(), dim)
        three = isinstance(found, tuple) and len(found) == 3
        expect(three, tried=tried, got=type(found).__name__, misconception="Return (start, beats, ratio).")
        return found

    check_start(lambda times: reader(times * ridge, 5 * ridge, "read_curve")[0], longest)
    check_beats(lambda network, least: reader(network, least, "read_curve")[1], ridge, dim)
    times = 1.05 + 0.4 * torch.rand(longest, dtype=torch.float64)
    network, least = times * ridge, (2 + times) * ridge
    tried = f"read_curve(…, dim={dim}), its third result"
    found = number(reader(network, least, tried)[2], tried=tried)
    end = 2 * dim
    cases = (
        (ridge[end] / network[end], "Upside down: divide the network's error by ridge's."),
        (network[end] - ridge[end], "This is the difference. Divide."),
        (network[end] / least[end], "This is the ratio to least squares. Ridge is asked for."),
        (network[dim] / ridge[dim], "This is the ratio after dim examples. It is asked for after 2 · dim."),
        (times[end - 1], "This is entry 2 · dim − 1. Entry 0 is the error after none, so it is network[2 * dim]."),
        (times[end + 1], "This is entry 2 · dim + 1. No example has to be added: it is network[2 * dim]."),
        (times[-1], "This is the end of the curve. It is asked for after 2 · dim examples."),
        (times.mean(), "This is a mean over the curve. One entry is asked for."),
    )
    rule = "The network's error divided by ridge's, entry 2 · dim."
    close(found, times[end].item(), tried=tried, misconception=rule, known=cases)
