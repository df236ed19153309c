"""Checks of lesson 18: honest folds, a readable submission, a result above the weak reference, a saved model."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tlcourse import training
from tlcourse.checks import capstone, submissions
from tlcourse.checks.base import check
from tlcourse.checks.expect import expect, tensor
from tlcourse.data.capstone import CLASSES, TESTED
from tlcourse.data.capstone import capstone as capstone_task

Answer = Callable[..., Any]
WEAK, STRONG = 0.22, 0.55  # balanced accuracy of the references, rounded; the recipe has them in full
BETTER = 0.10  # above the weak reference: more than the luck of a draw


@check
def folds(answer: Answer) -> None:
    """copies of a picture stay together, and every fold has every class"""
    pictures, copies, k = 24, 3, 4
    labels = torch.arange(3).repeat_interleave(pictures // 3)
    order = torch.randperm(pictures * copies)
    picture = torch.arange(pictures).repeat(copies)[order]
    y = labels.repeat(copies)[order]
    names = torch.randperm(1000)[:pictures]
    tried = f"folds(picture, labels, {k}) for {copies} copies each of {pictures} pictures of 3 classes, in random order"
    found = tensor(answer(names[picture], y, k), (len(y),), tried=tried, misconception="Return a fold for each row.")
    outside = sorted({int(fold) for fold in found.unique()} - set(range(k)))
    numbers = f"Number the folds 0 … {k - 1}."
    expect(not outside, tried=tried, got=f"fold {outside[0] if outside else ''}", misconception=numbers)
    sides = [len(found[picture == p].unique()) for p in range(pictures)]
    torn = "You split rows. The copies of a picture would be in training and in validation at once: split pictures."
    got = f"{sum(side > 1 for side in sides)} pictures in several folds"
    expect(max(sides) == 1, tried=tried, got=got, misconception=torn)
    per = torch.stack([torch.bincount(found[y == c], minlength=k) for c in range(3)]) // copies
    empty = "A fold without a class: its recall cannot be measured. Deal the pictures of each class out one by one."
    expect(bool((per > 0).all()), tried=tried, got=f"pictures by class and fold {per.tolist()}", misconception=empty)
    uneven = "The folds have different numbers of a class. Deal out: the i-th picture of a class goes to fold i % k."
    even = bool((per == pictures // 3 // k).all())
    expect(even, tried=tried, got=f"pictures by class and fold {per.tolist()}", misconception=uneven)


@check
def submission(answer: Answer) -> None:
    """a text that the scorer reads, with the right label at each id"""
    ids = [f"t{i:03}" for i in torch.randperm(900)[:12].tolist()]
    labels = torch.randint(len(CLASSES), (len(ids),))
    labels[0] = 7
    facts = {"method": "frozen probe", "cpu_seconds": 12.5, "validation": 0.375}
    tried = f"submission(ids, labels, classes, facts) for {len(ids)} pictures"
    text = answer(ids, labels, CLASSES, facts)
    expect(isinstance(text, str), tried=tried, got=type(text).__name__, misconception="Return the text of the file.")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "submission.csv"
        file.write_text(text, "utf-8")
        try:
            read = submissions.read(file, ids=ids, classes=CLASSES)
        except submissions.SubmissionError as error:
            reason = str(error).replace(str(file), "the file")
            hint = "The scorer sends it back for this reason. The lesson shows the first lines of a good one."
            expect(False, tried=tried, got=reason, misconception=hint)
    kept = (read.method, read.cpu_seconds, read.validation) == tuple(facts.values())
    other = "The first line should give the facts as they are, without rounding or changing them."
    expect(kept, tried=tried, got=f"{read.cpu_seconds} s, {read.validation}", misconception=other)
    right = [CLASSES[label] for label in labels.tolist()]
    wrong = [name for name, label in zip(ids, right, strict=True) if read.labels[name] != label]
    mixed = "Labels have moved to other ids. Keep both in the order in which they came."
    expect(not wrong, tried=tried, got=f"another label for {len(wrong)} pictures", misconception=mixed)


@check
def beats_weak(solve: Answer) -> None:
    """honest, within the minute, and ten points or more above the weak reference"""
    tried = "solve(task), your labels of the 280 test pictures"
    begun = time.process_time()
    labels = solve(capstone_task())
    seconds = time.process_time() - begun
    if isinstance(labels, torch.Tensor) and labels.ndim == 2:
        scores = "These are scores of the classes. Take argmax(dim=1)."
        expect(False, tried=tried, got=f"shape {tuple(labels.shape)}", misconception=scores)
    found = tensor(labels, tried=tried, misconception="Return a tensor of class numbers.").flatten()
    total = TESTED * len(CLASSES)
    count = "One label for each picture of task.test; did the unlabelled target come along?"
    expect(len(found) == total, tried=tried, got=f"{len(found)} labels", misconception=count)
    whole = bool((found == found.round()).all() and (found >= 0).all() and (found < len(CLASSES)).all())
    numbers = f"Class numbers are whole and go from 0 to {len(CLASSES) - 1}."
    expect(whole, tried=tried, got=f"values from {found.min():.3g} to {found.max():.3g}", misconception=numbers)
    named = {f"t{i:03}": CLASSES[int(label)] for i, label in enumerate(found)}
    handed = submissions.Submission(named, method="exercise", cpu_seconds=seconds, validation=0.5)
    result = capstone.score(handed, weak=WEAK, strong=STRONG)
    refused = next((finding.text for finding in result.findings if finding.kind == "refused"), "")
    expect(result.stands, tried=tried, got=f"{result.balanced_accuracy.mean:.0%}", misconception=refused)
    same = "Nearly everything has one label. Look at what the probe gets: are both domains smoothed and scaled alike?"
    got = f"balanced accuracy {result.balanced_accuracy.mean:.1%}"
    expect(max(result.given.values()) < 0.6 * total, tried=tried, got=got, misconception=same)
    low = f"That is not {BETTER:.0%} above the weak reference ({WEAK:.0%}). Put the target's noise on labelled copies."
    expect(result.balanced_accuracy.mean >= WEAK + BETTER, tried=tried, got=got, misconception=low)


@check
def saved_model(save: Answer, load: Answer) -> None:
    """the loaded probe predicts the same, knows its classes, and the file holds no code"""
    x, y = torch.randn(60, 6) * torch.tensor([1.0, 9, 1, 1, 4, 1]) + 5, torch.arange(60) % 3
    x[:, 1] += 9 * y
    probe = training.probe(x, y)
    classes = tuple(f"kind {i}" for i in torch.randperm(100)[:3].tolist())
    tried = "save(probe, classes, file), then load(file)"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.safetensors"
        save(probe, classes, file)
        expect(file.is_file(), tried=tried, got="no file", misconception="Write to the path that you are given.")
        raw = file.read_bytes()
        pickled = raw[:2] == b"PK" or raw[:1] == b"\x80"
        code = "This is a pickle: loading it can run any code. Use safetensors, which holds numbers and text only."
        expect(not pickled, tried=tried, got="a pickled file", misconception=code)
        found = load(file)
    pair = isinstance(found, tuple) and len(found) == 2
    expect(pair, tried=tried, got=type(found).__name__, misconception="Return the pair (probe, classes).")
    again, names = found
    fresh = torch.randn(40, 6) * x.std(0) + x.mean(0)
    got = again.predict(fresh)
    same = torch.equal(got, probe.predict(fresh))
    scale = "Are mean and scale saved, too? Without them the weights meet features in other units."
    expect(same, tried=tried, got="other predictions on fresh features", misconception=scale)
    lost = "The names of the classes are part of the model: without them 0 means nothing. Save them as metadata."
    expect(tuple(names) == classes, tried=tried, got=f"classes {names!r}", misconception=lost)
