"""Which shift is it? Tests that answer differently to each kind, and what no test can say without labels.

The test of predicted classes is that of Lipton, Wang and Smola 2018 (arXiv:1802.03916).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tlcourse.shift.corrections import holm
from tlcourse.shift.inputs import domains, whole_numbers
from tlcourse.shift.two_sample import classifier_test, mmd_test

LEAST = 8
"""Rows that a predicted class needs in each domain to be tested."""


@dataclass(frozen=True)
class Diagnosis:
    """p-values: do the `inputs` differ, the shares of the `predictions`, the inputs `within` a predicted class, and the
    `errors` (None without labels); `verdict` is what they say together."""

    inputs: float
    predictions: float
    within: float
    errors: float | None
    verdict: str


def diagnose(
    predict: Callable[[Tensor], Tensor],
    source: Float[Tensor, "n dim"],
    target: Float[Tensor, "m dim"],
    *,
    source_labels: Int[Tensor, " n"] | None = None,
    target_labels: Int[Tensor, " m"] | None = None,
    level: float = 0.05,
    permutations: int = 500,
    seed: int = 0,
) -> Diagnosis:
    """Tests in an order that narrows the kind down.

    `predict`: class numbers of rows, from a classifier that has seen neither `source` nor `target`. The verdict:
    - "none": nothing differs; "none seen": the same without labels, so that the rule may have changed unseen
    - "concept": the inputs are alike, and the errors are not
    - "prior": predicted classes have other shares, and within a class nothing differs
    - "covariate": the inputs differ also within a predicted class
    - "unclear": the inputs differ, and no test says how
    Where the inputs differ, a change of the errors proves nothing more: covariate shift alone can bring it.

    Raises ValueError for labels of one domain only, domains of different widths, and when no predicted class has
    8 rows in both domains.
    """
    x, y = domains(source, target)
    if (source_labels is None) != (target_labels is None):
        raise ValueError("labels of one domain only; the errors are compared, so give source_labels and target_labels")
    guesses = [whole_numbers(predict(rows), len(rows), "predictions") for rows in (source, target)]
    inputs = mmd_test(x, y, permutations=permutations, seed=seed).p_value
    predictions = shares_test(*guesses)
    within = within_class_test(x, y, *guesses, seed=seed)
    errors = None
    if source_labels is not None and target_labels is not None:
        truths = [
            whole_numbers(t, len(g), "labels") for t, g in zip((source_labels, target_labels), guesses, strict=True)
        ]
        errors = errors_test(*(g != t for g, t in zip(guesses, truths, strict=True)))
    seen = bool((holm(torch.tensor([inputs, predictions])) <= level).any())
    if not seen:
        verdict = "none seen" if errors is None else "concept" if errors <= level else "none"
    else:
        verdict = "covariate" if within <= level else "prior" if predictions <= level else "unclear"
    return Diagnosis(inputs, predictions, within, errors, verdict)


def shares_test(source: Int[Tensor, " n"], target: Int[Tensor, " m"]) -> float:
    """p-value of the χ² test that the predicted classes have the same shares; 1 when a single class was predicted."""
    from scipy.stats import chi2_contingency

    n_classes = int(max(source.max(), target.max())) + 1
    counts = torch.stack([torch.bincount(guesses, minlength=n_classes) for guesses in (source, target)])
    counts = counts[:, counts.sum(dim=0) > 0]
    return 1.0 if counts.shape[1] < 2 else float(chi2_contingency(counts.numpy(), correction=False).pvalue)


def within_class_test(
    source: Float[Tensor, "n dim"],
    target: Float[Tensor, "m dim"],
    source_predictions: Int[Tensor, " n"],
    target_predictions: Int[Tensor, " m"],
    *,
    seed: int = 0,
) -> float:
    """Smallest corrected p-value of the classifier test among rows of one predicted class.

    It asks whether the inputs differ beyond the shares of the classes. Predicted classes stand in for the true ones:
    with a poor classifier, other shares of the true classes change the inputs within a predicted one as well.
    Raises ValueError when no class is predicted 8 times in both domains.
    """
    p_values = []
    for c in torch.cat([source_predictions, target_predictions]).unique():
        rows = source[source_predictions == c], target[target_predictions == c]
        if min(map(len, rows)) >= LEAST:
            p_values.append(classifier_test(*rows, seed=seed).p_value)
    if not p_values:
        raise ValueError(
            f"no class is predicted {LEAST} times or more in both domains; a class that is absent from the target "
            "cannot be compared, so give more rows, or a classifier that predicts more than one class"
        )
    return float(holm(torch.tensor(p_values, dtype=torch.float64)).min())


def errors_test(source: Tensor, target: Tensor) -> float:
    """p-value of Fisher's exact test that errors (True) are as frequent in both domains."""
    from scipy.stats import fisher_exact

    return float(fisher_exact([[int(e.sum()), int((~e).sum())] for e in (source, target)]).pvalue)
