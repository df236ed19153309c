"""Typical wrong answers to the exercises of lesson 18, each with the message that it should get."""

from __future__ import annotations

import json
import pickle

import torch
from safetensors.torch import load_file, save_file

from tlcourse import training
from tlcourse.checks import capstone_answers
from tlcourse.data.capstone import CLASSES, OFFICIAL, deal


def by_picture(fold):
    """A fold for each picture: `fold(i, label)` of the i-th picture in the order of the names."""

    def folds(picture, labels, k):
        names, row = picture.unique(return_inverse=True)
        of = torch.stack([labels[row == i][0] for i in range(len(names))])
        each = torch.tensor([fold(i, int(label), k) for i, label in enumerate(of)])
        return each[row]

    return folds


def unevenly(picture, labels, k):
    """The first half of each class in one fold."""
    fold = torch.empty_like(labels)
    for c in labels.unique():
        for i, name in enumerate(picture[labels == c].unique()):
            fold[picture == name] = max(0, i - k)
    return fold


def text(first=json.dumps, label=lambda i, classes: classes[i], order=list, header="id,label", mark="# "):
    def submission(ids, labels, classes, facts):
        rows = [f"{n},{label(int(i), classes)}" for n, i in zip(order(ids), labels, strict=True)]
        return "\n".join([mark + first(facts), header, *rows]) + "\n"

    return submission


def tensors(probe):
    return {n: getattr(probe, n).contiguous() for n in ("weight", "bias", "mean", "scale", "classes")}


def keep(probe, classes, file):
    save_file(tensors(probe), file, metadata={"classes": "\n".join(classes)})


def restore(file, classes=None):
    from safetensors import safe_open

    with safe_open(file, framework="pt") as saved:
        return training.Probe(**load_file(file)), tuple(saved.metadata()["classes"].split("\n"))


def without_scale(file):
    stored = load_file(file)
    plain = {"mean": torch.zeros(6), "scale": torch.ones(6)}
    return training.Probe(**{**stored, **plain}), restore(file)[1]


def cracked():
    """Labels out of the hashes."""
    sealed = capstone_answers.load()
    return torch.tensor(
        [
            next(c for c, name in enumerate(CLASSES) if sealed.right(n, name) or sealed.bait(n, name))
            for n in sealed.hashes
        ]
    )


def looked_up():
    """Labels out of the table of emoji."""
    return deal(OFFICIAL)[2].labels


def mostly(label, n=280):
    guesses = torch.full((n,), label)
    guesses[: n // 4] = torch.arange(n // 4) % 10
    return guesses


WRONG = {
    "folds": [
        ("rows", lambda picture, labels, k: torch.arange(len(labels)) % k, "You split rows"),
        ("by class", by_picture(lambda i, label, k: label), "A fold without a class"),
        ("uneven", unevenly, "different numbers of a class"),
        ("from one", by_picture(lambda i, label, k: 1 + i % k), "Number the folds"),
    ],
    "submission": [
        ("numbers", text(label=lambda i, classes: i), "is no class"),
        ("no facts", text(first=lambda f: "", mark=""), "line 1 is"),
        ("percent", text(first=lambda f: json.dumps({**f, "validation": 37.5})), "validation is 37.5"),
        ("no header", text(header="t000,face"), "should be the header"),
        ("mixed", text(order=sorted), "moved to other ids"),
        ("rounded", text(first=lambda f: json.dumps({**f, "cpu_seconds": 12})), "as they are"),
        ("path", lambda ids, labels, classes, facts: 3, "Return the text"),
    ],
    "beats_weak": [
        ("scores", lambda task: torch.zeros(280, 10), "Take argmax"),
        ("too many", lambda task: torch.arange(481) % 10, "did the unlabelled target come along"),
        ("one class", lambda task: mostly(3), "Nearly everything has one label"),
        ("guesses", lambda task: torch.arange(280) % 10, "not 10% above"),
        ("from one", lambda task: torch.arange(280) % 10 + 1, "from 0 to 9"),
        ("out of the hashes", lambda task: cracked(), "decoys carry"),
        ("looked up", lambda task: looked_up(), "Were labels looked up"),
    ],
    "saved_model": [
        ("pickle", (lambda p, c, f: f.write_bytes(pickle.dumps(tensors(p))), restore), "This is a pickle"),
        ("no scale", (keep, without_scale), "mean and scale"),
        ("no classes", (keep, lambda f: (restore(f)[0], (0, 1, 2))), "names of the classes"),
        ("probe only", (keep, lambda f: restore(f)[0]), "Return the pair"),
        ("elsewhere", (lambda p, c, f: keep(p, c, f.with_suffix(".other")), restore), "Write to the path"),
    ],
}
