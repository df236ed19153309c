"""Typical wrong answers to the exercises of lesson 17, each with the message that it should get."""

from __future__ import annotations

import torch


def filled(template, text):
    return template.replace("{text}", text)


def prompt(
    word=lambda words, label: words[label],
    gap="\n\n",
    before="\n\n",
    after=lambda words: "",
    ask=filled,
    order=lambda parts: parts,
):
    def build_prompt(examples, question, template, words):
        parts = order([filled(template, text) + word(words, label) for text, label in examples])
        return gap.join(parts) + before + ask(template, question) + after(words)

    return build_prompt


def question_first(examples, question, template, words):
    parts = [filled(template, text) + words[label] for text, label in examples]
    return "\n\n".join([filled(template, question), *parts])


def divided(prior, rule=lambda p, prior: p / prior, end=lambda q: q / q.sum(dim=1, keepdim=True)):
    return lambda scores, empty: end(rule(scores.softmax(dim=1), prior(scores, empty)))


def mean_prior(scores, empty):
    return empty.softmax(dim=1).mean(dim=0)


def over_inputs(scores, empty):
    q = scores.softmax(dim=0) / mean_prior(scores, empty)
    return q / q.sum(dim=1, keepdim=True)


def as_it_is(q):
    return q


def cached(start=None, mask=lambda past, asked: past, keep=False, own=True, old=True, scale=True, rows=False):
    def attend_with_cache(tokens, cache, weights):
        past, asked = len(cache["keys"]), len(tokens)
        first = past if start is None else start
        hidden = tokens + weights["places"][first : first + asked]
        keys, values = hidden @ weights["key"], hidden @ weights["value"]
        joined = {}
        for name, new in (("keys", keys), ("values", values)):
            joined[name] = torch.cat(([cache[name]] if old else []) + ([new] if own else []))
        if keep:
            cache.update(joined)
        scores = hidden @ weights["query"] @ joined["keys"].T / (hidden.shape[1] ** 0.5 if scale else 1)
        seen = torch.ones(scores.shape).tril(mask(past, asked) if old else 0).bool()
        found = scores.masked_fill(~seen, -torch.inf).softmax(dim=1) @ joined["values"]
        return torch.cat([cache["values"], found]) if rows else found

    return attend_with_cache


MEMORY = []


def remembers(tokens, cache, weights):
    """Keeps the first question's tokens behind the cache in a place of its own."""
    MEMORY.append(tokens)
    joined = torch.cat(MEMORY)
    return cached()(joined, cache, weights)[-len(tokens) :]


def stays(network, ridge):
    good = network <= 1.5 * ridge
    return next((k for k in range(len(good)) if good[k:].all()), None)


def first_time(network, ridge):
    return int((network <= 1.5 * ridge).nonzero()[0])


def shifted(by):
    def start(network, ridge):
        found = stays(network, ridge)
        return None if found is None else found + by

    return start


def without_none(network, ridge):
    found = stays(network, ridge)
    return len(network) if found is None else found


def without_zero(network, ridge):
    return stays(network, ridge) or None


def curve(
    start=stays,
    beats=lambda network, ridge, least, dim: network[dim] < least[dim],
    ratio=lambda network, ridge, least, dim: network[2 * dim] / ridge[2 * dim],
):
    def read_curve(network, ridge, least_squares, dim):
        given = network, ridge, least_squares, dim
        return start(network, ridge), bool(beats(*given)), float(ratio(*given))

    return read_curve


WRONG = {
    "build_prompt": [
        ("label leaks", prompt(after=lambda words: words[1]), "answer is given away"),
        ("trailing space", prompt(after=lambda words: " "), "ends with a space"),
        ("line break", prompt(after=lambda words: "\n\n"), "line break after the question"),
        ("question first", question_first, "The question stands first"),
        ("words swapped", prompt(word=lambda words, label: words[1 - label]), "changed places"),
        ("numbers", prompt(word=lambda words, label: f" {label}"), "number of their class"),
        ("no separator", prompt(gap="", before=""), "blank line between two parts is missing"),
        ("one line break", prompt(before=""), "runs into the question"),
        ("bare question", prompt(ask=lambda template, text: text), "not in the template"),
        ("stripped", prompt(word=lambda words, label: words[label].strip()), "space before the word is lost"),
        ("two spaces", prompt(word=lambda words, label: " " + words[label]), "Two spaces"),
        ("reversed", prompt(order=lambda parts: parts[::-1]), "reverse order"),
        ("no word", prompt(word=lambda words, label: ""), "have no word"),
        ("no examples", lambda e, q, t, w: filled(t, q), "examples are missing"),
        ("blank line first", prompt(), "Without examples"),
    ],
    "calibrate": [
        ("not calibrated", lambda s, e: s.softmax(dim=1), "Nothing is calibrated"),
        ("mean of logs", divided(lambda s, e: e.log_softmax(dim=1).mean(dim=0).exp()), "mean of the logarithms"),
        ("words not normalised", divided(lambda s, e: e.exp().mean(dim=0)), "rows with likelier words"),
        ("subtracted", divided(mean_prior, lambda p, prior: p - prior, as_it_is), "bias is subtracted"),
        ("test inputs", divided(lambda s, e: s.softmax(dim=1).mean(dim=0)), "mean is that of the test inputs"),
        ("multiplied", divided(mean_prior, lambda p, prior: p * prior), "counts twice"),
        ("not normalised", divided(mean_prior, end=as_it_is), "do not add up to 1"),
        ("softmax at the end", divided(mean_prior, end=lambda q: q.softmax(dim=1)), "softmax of a quotient"),
        ("argmax", divided(mean_prior, end=lambda q: q.argmax(dim=1)), "These are classes"),
        (
            "logarithms",
            divided(mean_prior, end=lambda q: (q / q.sum(dim=1, keepdim=True)).log()),
            "These are logarithms",
        ),
        ("over the inputs", over_inputs, "runs over the inputs"),
    ],
    "attend_with_cache": [
        ("places restart", cached(start=0), "places restart at 0"),
        ("mask without prefix", cached(mask=lambda past, asked: 0), "mask forgets the prefix"),
        ("no mask", cached(mask=lambda past, asked: past + asked), "Nothing is masked"),
        ("not itself", cached(mask=lambda past, asked: past - 1), "does not see itself"),
        ("the next one", cached(mask=lambda past, asked: past + 1), "sees the next one"),
        ("cache grows", cached(keep=True), "cache has changed"),
        ("cache unused", cached(old=False), "sees itself alone"),
        ("prefix alone", cached(own=False), "sees the prefix alone"),
        ("no scale", cached(scale=False), "not divided by the square root"),
        ("all rows", cached(rows=True), "prefix's rows are not wanted"),
        ("remembers", remembers, "Does something remain"),
    ],
    "read_curve": [
        ("first time", curve(first_time), "This is the first time"),
        ("one too many", curve(shifted(1)), "One too many"),
        ("one too few", curve(shifted(-1)), "The next one is the start"),
        ("never is a number", curve(without_none), "Return None"),
        ("zero is none", curve(without_zero), "Near from the beginning"),
        ("upside down start", curve(lambda n, r: stays(r, n)), "the right way round"),
        ("loses", curve(beats=lambda n, r, least, d: n[d] > least[d]), "so it wins"),
        ("against ridge", curve(beats=lambda n, r, least, d: n[d] < r[d]), "Compared with ridge"),
        ("entry before", curve(beats=lambda n, r, least, d: n[d - 1] < least[d - 1]), "Entry dim − 1 decides"),
        ("entry after", curve(beats=lambda n, r, least, d: n[d + 1] < least[d + 1]), "Entry dim \\+ 1 decides"),
        ("all entries", curve(beats=lambda n, r, least, d: n.mean() < least.mean()), "All entries"),
        ("any entry", curve(beats=lambda n, r, least, d: (n < least).any()), "It may win elsewhere"),
        ("inverse", curve(ratio=lambda n, r, least, d: r[2 * d] / n[2 * d]), "Upside down"),
        ("difference", curve(ratio=lambda n, r, least, d: n[2 * d] - r[2 * d]), "This is the difference"),
        ("least squares", curve(ratio=lambda n, r, least, d: n[2 * d] / least[2 * d]), "ratio to least squares"),
        ("at dim", curve(ratio=lambda n, r, least, d: n[d] / r[d]), "ratio after dim examples"),
        ("one before", curve(ratio=lambda n, r, least, d: n[2 * d - 1] / r[2 * d - 1]), "entry 2 · dim − 1"),
    ],
}
