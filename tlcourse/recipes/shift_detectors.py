"""Lesson 12: what every detector says of shifts whose truth is known, between two hospitals (about 6 minutes).

Each draw divides the patients anew: some teach the classifier, the rest are two hospitals. Without a shift the
p-values should be uniform; with one, the share of small ones is the power. Under prior shift, also how well the
target's shares are estimated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tlcourse import data, shift, training

TAUGHT = 150  # patients that the classifier learns from
L2 = 10.0
SCORE = "mean texture"  # what covariate and concept shift depend on
SIZES = {
    "none": (0.0,),
    "covariate": (0.1, 0.25, 0.5, 1.0),  # strength
    "prior": (0.45, 0.5, 0.55, 0.6, 0.7),  # share of malignant in the target
    "concept": (0.02, 0.05, 0.1, 0.25),  # share of the target with another rule
}
TESTS = ("mmd", "classifier", "features", "predictions", "within", "errors")
DRAWS = {"none": 300, "covariate": 100, "prior": 100, "concept": 100}
BLOCK = 50  # draws a job
PERMUTATIONS = 199


@dataclass(frozen=True, eq=False)
class Hospitals:
    """A classifier that has seen neither hospital, all patients outside its training, and who of them is where."""

    probe: training.Probe
    features: Float[Tensor, "n dim"]
    labels: Int[Tensor, " n"]
    made: shift.Shifted

    @property
    def source(self) -> Float[Tensor, "source dim"]:
        """Measurements of the old hospital."""
        return self.features[self.made.source]

    @property
    def target(self) -> Float[Tensor, "target dim"]:
        """Measurements of the new hospital."""
        return self.features[self.made.target]


def settings() -> dict[str, Any]:
    """What the numbers depend on. malignant: the share in the pool, which is that of a target without a shift."""
    patients = data.breast_cancer()
    return {
        "taught": TAUGHT,
        "l2": L2,
        "score": SCORE,
        "sizes": SIZES,
        "draws": DRAWS,
        "permutations": PERMUTATIONS,
        "malignant": round(float((patients.labels == 0).double().mean()), 4),
    }


def jobs() -> list[dict[str, Any]]:
    """Blocks of draws of each kind and size."""
    return [
        {"kind": kind, "size": size, "first": first}
        for kind, sizes in SIZES.items()
        for size in sizes
        for first in range(0, DRAWS[kind], BLOCK)
    ]


def work(job: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """p-values of each test in each draw, the verdicts, and under prior shift the estimated shares of malignant."""
    result: dict[str, Any] = {name: [] for name in (*TESTS, "verdicts")}
    if job["kind"] == "prior":
        result |= {"truth": [], "bbse": [], "em": [], "counted": []}
    for seed in range(job["first"], job["first"] + BLOCK):
        pair = hospitals(job["kind"], job["size"], seed=seed)
        p_values, verdict = all_tests(pair, seed=seed)
        for name in TESTS:
            result[name].append(round(p_values[name], 5))
        result["verdicts"].append(verdict)
        if job["kind"] == "prior":
            for name, share in malignant_shares(pair).items():
                result[name].append(round(share, 5))
    return result


@lru_cache(maxsize=1)
def patients() -> tuple[Float[Tensor, "n dim"], Int[Tensor, " n"], int]:
    """Standardised measurements, classes (0 is malignant), and the column of SCORE."""
    table = data.breast_cancer()
    return shift.standardise(table.features), table.labels, table.columns.index(SCORE)


def hospitals(kind: str, size: float, *, seed: int) -> Hospitals:
    """One draw: who teaches the classifier, and who goes to which hospital. The same seed, the same teachers."""
    x, y, column = patients()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    probe = training.probe(x[order[:TAUGHT]], y[order[:TAUGHT]], l2=L2)
    x, y = x[order[TAUGHT:]], y[order[TAUGHT:]]
    if kind == "prior":
        made = shift.prior_shift(y, priors=[size, 1 - size], seed=seed)
    elif kind == "concept":
        made = shift.concept_shift(x[:, column], y, share=size, n_classes=2, seed=seed)
    else:
        made = shift.covariate_shift(x[:, column], y, strength=size, seed=seed)
    return Hospitals(probe, x, y, made)


def all_tests(pair: Hospitals, *, seed: int) -> tuple[dict[str, float], str]:
    """p-values of all TESTS, and the verdict. Only "errors" and the verdict look at the target's labels."""
    said = shift.diagnose(
        pair.probe.predict,
        pair.source,
        pair.target,
        source_labels=pair.made.source_labels,
        target_labels=pair.made.target_labels,
        permutations=PERMUTATIONS,
        seed=seed,
    )
    assert said.errors is not None
    p_values = {
        "mmd": said.inputs,
        "classifier": shift.classifier_test(pair.source, pair.target, seed=seed).p_value,
        "features": shift.feature_tests(pair.source, pair.target).p_value,
        "predictions": said.predictions,
        "within": said.within,
        "errors": said.errors,
    }
    return p_values, said.verdict


def malignant_shares(pair: Hospitals) -> dict[str, float]:
    """Share of malignant in the target: the truth, estimates of BBSE and EM, and the predictions counted."""
    guesses = pair.probe.predict(pair.source)
    confusion = shift.joint_confusion(guesses, pair.made.source_labels, n_classes=2)
    counted = torch.bincount(pair.probe.predict(pair.target), minlength=2).double() / len(pair.target)
    before = torch.bincount(pair.made.source_labels, minlength=2).double() / len(pair.source)
    probabilities = pair.probe.scores(pair.target).softmax(dim=1)
    return {
        "truth": float((pair.made.target_labels == 0).double().mean()),
        "bbse": float(shift.bbse(confusion, counted).target[0]),
        "em": float(shift.em_priors(probabilities, before).target[0]),
        "counted": float(counted[0]),
    }


def finish(rows: list[dict[str, Any]], folder: Path) -> None:
    """Nothing to add: the rows are the result."""
