"""Typical wrong answers to the exercises of lesson 11, each with the message that it should get."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F


def cost(*, each=6, hour=3600, reached=lambda peak, share: peak * share, pay=lambda hours, price: hours * price):
    def training_cost(parameters, tokens, *, peak, utilisation, price):
        flops = each * parameters * tokens
        hours = flops / reached(peak, utilisation) / hour
        return flops, hours, pay(hours, price)

    return training_cost


def bits(*, log=math.log2, rank=lambda losses, i: int((losses <= losses[i]).sum()), all_of_them=True):
    def exposure(losses, index):
        below = log(rank(losses, index))
        return log(len(losses)) - below if all_of_them else below

    return exposure


def cosines(w, a):
    return (F.normalize(w, dim=1) @ F.normalize(a, dim=1).T).mean(dim=1)


def to_the_mean(w, a):
    return F.cosine_similarity(w, a.mean(dim=0, keepdim=True))


def effect(*, near=cosines, sign=1, spread=lambda s_x, s_y: torch.cat([s_x, s_y]).std()):
    def effect_size(x, y, a, b):
        s_x, s_y = near(x, a) - near(x, b), near(y, a) - near(y, b)
        return sign * (s_x.mean() - s_y.mean()) / spread(s_x, s_y)

    return effect_size


CARD = """---
license: mit
---
# A small model
## Model details
A transformer with a million weights, made by one student in a course.
## Intended use
For lessons about language models, and not for decisions about people.
## Factors
English texts of four kinds; groups of authors were not recorded at all.
## Metrics
Loss in nats a token, and balanced accuracy where classes differ in size.
## Evaluation data
Texts of the same four collections that were held out before training.
## Training data
Sixteen thousand tweets, reviews and sentences from newspapers, collected before 2014.
## Quantitative analyses
Balanced accuracy 0.62 after tuning on few labels, mean of 4 runs.
## Ethical considerations
The authors of the texts were not asked; names may be those of real people.
## Caveats and recommendations
Measure it on your own texts before you rely on any of its answers.
"""


def changed(old, new):
    assert old in CARD
    return CARD.replace(old, new)


WRONG = {
    "training_cost": [
        ("forward only", cost(each=2), "forward pass alone"),
        ("no six", cost(each=1), "not yet 6"),
        ("seconds", cost(hour=1), "These are seconds"),
        ("at its peak", cost(reached=lambda peak, share: peak), "No chip runs at its peak"),
        ("multiplied by the share", cost(reached=lambda peak, share: peak / share), "do not multiply"),
        ("price divided", cost(pay=lambda hours, price: hours / price), "cost = hours"),
    ],
    "exposure": [
        ("nats", bits(log=math.log), "These are nats"),
        ("largest loss first", bits(rank=lambda losses, i: int((losses >= losses[i]).sum())), "Turned round"),
        ("itself left out", bits(rank=lambda losses, i: int((losses < losses[i]).sum())), "one too small"),
        ("rank alone", bits(all_of_them=False), "the rank alone"),
        ("the loss itself", lambda losses, i: float(losses[i]) / math.log(2), "counted from the smallest loss"),
    ],
    "effect_size": [
        ("dot products", effect(near=lambda w, a: (w @ a.T).mean(dim=1)), "dot products"),
        ("mean vector", effect(near=to_the_mean), "mean vector of the attributes"),
        ("no spread", effect(spread=lambda s_x, s_y: 1.0), "Divide it by a standard deviation"),
        ("pooled", effect(spread=lambda s_x, s_y: (s_x.var() / 2 + s_y.var() / 2).sqrt()), "is Cohen's d"),
        ("population", effect(spread=lambda s_x, s_y: torch.cat([s_x, s_y]).std(correction=0)), "divides by n here"),
        ("sign", effect(sign=-1), "sign is turned"),
    ],
    "model_card": [
        ("no header", changed("---\nlicense: mit\n---\n", ""), "Begin with a header"),
        ("unknown licence", changed("license: mit", "license: free"), "Give an SPDX name"),
        ("section missing", changed("## Training data", "Training data"), "no section Training data"),
        ("placeholder", changed("collected before 2014", "TODO: when"), "still a placeholder"),
        (
            "empty",
            changed("English texts of four kinds; groups of authors were not recorded at all.", ""),
            "reading 'Factors'",
        ),
        (
            "no number",
            changed("0.62 after tuning on few labels, mean of 4 runs", "is good, as several tests show"),
            "No number",
        ),
        ("no spread", changed(", mean of 4 runs", ""), "without its spread"),
        (
            "for everything",
            changed(", and not for decisions about people", " and all other tasks"),
            "what the model is not for",
        ),
        ("promise", changed("Measure it", "The model is free of bias. Measure it"), "No test shows that"),
    ],
}
