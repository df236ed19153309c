"""Typical wrong answers to the exercises of lesson 13, each with the message that it should get."""

from __future__ import annotations

import torch


def turned(a, b):
    return lambda x, s: a(s) * x + b(s) * x.detach()


def coral(covariance=lambda x: torch.cov(x.T), end=lambda gap, d: gap.square().sum() / (4 * d**2)):
    return lambda s, t: end(covariance(s) - covariance(t), s.shape[1])


def setter(mean=lambda f: f.mean(0), variance=lambda f: f.var(0, correction=0)):
    def adapt_norm(norm, features):
        with torch.no_grad():
            norm.running_mean.copy_(mean(features))
            norm.running_var.copy_(variance(features))

    return adapt_norm


def one_pass(norm, features):
    norm.train()
    norm(features)


def scaled(norm, features):
    setter()(norm, features)
    norm.weight.data.fill_(1.0)


def frozen(norm, features):
    setter()(norm, features)
    norm.requires_grad_(False).eval()


def chooser(honest, peeked=lambda s, a: a.mean(1).max()):
    return lambda s, a: (float(honest(s, a)), float(peeked(s, a)))


def by_mean(s, a):
    return a.mean(1)[s.mean(1).argmax()]


WRONG = {
    "reverse": [
        ("no sign", turned(lambda s: s, lambda s: 1 - s), "The sign is missing"),
        ("no strength", turned(lambda s: -1, lambda s: 2), "strength is not used"),
        ("value too", lambda x, s: -s * x, "The value has changed"),
        ("as it is", lambda x, s: 1 * x, "passes as it is"),
        ("cut", lambda x, s: x.detach(), "No gradient comes back"),
    ],
    "coral_loss": [
        ("no factor", coral(end=lambda g, d: g.square().sum()), "1 / \\(4 d²\\) is missing"),
        ("4 d", coral(end=lambda g, d: g.square().sum() / (4 * d)), "not by 4 d"),
        ("mean", coral(end=lambda g, d: g.square().mean() / (4 * d**2)), "divide once more"),
        ("root", coral(end=lambda g, d: g.square().sum().sqrt() / (4 * d**2)), "no root"),
        ("n", coral(lambda x: torch.cov(x.T, correction=0)), "number of rows minus 1"),
        ("moments", coral(lambda x: x.T @ x / (len(x) - 1)), "second moments"),
        ("means", lambda s, t: (s.mean(0) - t.mean(0)).square().sum(), "These are the means"),
    ],
    "adapt_norm": [
        ("nothing", lambda norm, f: None, "Nothing has changed"),
        ("deviation", setter(variance=lambda f: f.std(0, correction=0)), "standard deviation"),
        ("n - 1", setter(variance=lambda f: f.var(0)), "Divided by n − 1"),
        ("momentum", one_pass, "a tenth of the way"),
        ("scale", scaled, "scale and shift stay"),
        ("frozen as well", frozen, "leave the layer as it was"),
    ],
    "honest_and_peeked": [
        ("swapped", lambda s, a: (float(a.mean(1).max()), float(by_mean(s, a))), "honest comes first"),
        ("measure", chooser(lambda s, a: s.mean(1).max()), "That is the measure itself"),
        ("both", chooser(lambda s, a: a.mean(1).max()), "may look at `seen` only"),
        ("single", chooser(lambda s, a: a.mean(1)[s.max(1).values.argmax()]), "highest single value"),
        ("first seed", chooser(lambda s, a: a.mean(1)[s[:, 0].argmax()]), "by one seed"),
        ("worst seed", chooser(lambda s, a: a.mean(1)[s.min(1).values.argmax()]), "by the worst seed"),
        ("each seed", chooser(by_mean, lambda s, a: a.max(0).values.mean()), "several weights"),
    ],
}
