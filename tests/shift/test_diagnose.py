"""The verdict for each kind of shift between two hospitals, and what no test sees."""

from __future__ import annotations

import importlib
from collections import Counter

import pytest
import torch

from tlcourse import data, shift, training


@pytest.fixture(scope="module")
def hospital():
    """Patients, standardised; a classifier that learned from a third of them; the rest are to be divided."""
    patients = data.breast_cancer()
    x = shift.standardise(patients.features)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    seen, rest = order[:150], order[150:]
    return training.probe(x[seen], patients.labels[seen], l2=10.0), x[rest], patients.labels[rest]


def made(kind: str, x: torch.Tensor, y: torch.Tensor, seed: int) -> shift.Shifted:
    if kind == "covariate":
        return shift.covariate_shift(x[:, 1], y, strength=2.0, seed=seed)  # texture: says little about the class
    if kind == "prior":
        return shift.prior_shift(y, priors=[0.7, 0.3], seed=seed)
    return shift.concept_shift(x[:, 1], y, share=0.5 if kind == "concept" else 0.0, n_classes=2, seed=seed)


@pytest.mark.parametrize("kind", ["none", "covariate", "prior", "concept"])
def test_each_kind_is_told_with_labels_and_concept_shift_only_then(hospital, kind: str):
    probe, x, y = hospital
    verdicts, blind = Counter(), Counter()
    for seed in range(6):
        m = made(kind, x, y, seed)
        labels = {"source_labels": m.source_labels, "target_labels": m.target_labels}
        arguments = {"permutations": 99, "seed": seed}
        verdicts[shift.diagnose(probe.predict, x[m.source], x[m.target], **labels, **arguments).verdict] += 1
        without = shift.diagnose(probe.predict, x[m.source], x[m.target], **arguments)
        blind[without.verdict] += 1
        assert without.errors is None
    assert verdicts[kind] >= 5, verdicts
    assert blind["none seen" if kind in ("none", "concept") else kind] >= 5, blind


def test_p_values_of_the_parts():
    from scipy.stats import chi2, fisher_exact

    from tlcourse.shift.diagnose import errors_test, shares_test

    a, b = torch.tensor([0] * 30 + [2] * 10), torch.tensor([0] * 10 + [2] * 30)
    assert shares_test(a, b) == pytest.approx(chi2.sf(20, 1))  # 4 cells, each (10 off 20)² / 20 = 5
    assert shares_test(a[:30], b[:10]) == 1
    wrong, right = torch.arange(20) < 9, torch.arange(25) < 2
    assert errors_test(wrong, right) == pytest.approx(fisher_exact([[9, 11], [2, 23]]).pvalue)


def test_a_small_class_is_left_out_and_one_that_is_absent_is_an_error(gaussian):
    x, y = gaussian(60), gaussian(60, seed=1)
    some = (torch.arange(60) < 5).long()
    p_value = shift.within_class_test(x, y, some, some)
    assert p_value == shift.classifier_test(x[5:], y[5:]).p_value
    with pytest.raises(ValueError, match=r"no class is predicted 8 times.*absent from the target"):
        shift.within_class_test(x, y, torch.zeros(60, dtype=torch.long), torch.ones(60, dtype=torch.long))


VERDICTS = [
    # inputs, predictions, within, errors; at a level of ½, of which Holm asks both of the first two together
    (0.25, 1.0, 0.5, None, "covariate"),
    (0.25, 1.0, 0.6, None, "unclear"),
    (0.25, 0.5, 0.6, None, "prior"),
    (1.0, 0.25, 0.6, None, "prior"),
    (1.0, 0.25, 0.5, 0.1, "covariate"),
    (0.26, 0.26, 0.1, None, "none seen"),
    (0.26, 0.26, 0.1, 0.5, "concept"),
    (0.26, 0.26, 0.1, 0.51, "none"),
]


@pytest.mark.parametrize(("inputs", "predictions", "within", "errors", "verdict"), VERDICTS)
def test_the_verdict_follows_from_the_p_values(
    gaussian, monkeypatch, inputs: float, predictions: float, within: float, errors: float | None, verdict: str
):
    module = importlib.import_module("tlcourse.shift.diagnose")
    monkeypatch.setattr(module, "mmd_test", lambda *_, **__: shift.TwoSample(0.0, inputs))
    monkeypatch.setattr(module, "shares_test", lambda *_: predictions)
    monkeypatch.setattr(module, "within_class_test", lambda *_, **__: within)
    monkeypatch.setattr(module, "errors_test", lambda *_: errors)
    x = gaussian(10)
    guesses = torch.zeros(10, dtype=torch.long)
    labels = {} if errors is None else {"source_labels": guesses, "target_labels": guesses}
    found = shift.diagnose(lambda rows: guesses[: len(rows)], x, x, level=0.5, **labels)
    assert found == shift.Diagnosis(inputs, predictions, within, errors, verdict)


def test_eight_rows_of_a_class_are_enough_and_seven_are_not(gaussian):
    x, y = gaussian(30), gaussian(30, seed=1)
    for rare in (x, y):
        first = (torch.arange(30) >= 8).long()
        predicted = (first, torch.zeros(30, dtype=torch.long)) if rare is x else (first * 0, first)
        expected = shift.classifier_test(x[:8], y) if rare is x else shift.classifier_test(x, y[:8])
        assert shift.within_class_test(x, y, *predicted) == expected.p_value
        fewer = tuple(p.masked_fill(torch.arange(30) == 0, 1) if p.any() else p for p in predicted)
        with pytest.raises(ValueError, match="no class is predicted 8 times"):
            shift.within_class_test(x, y, *fewer)


def test_a_class_that_is_predicted_once_counts():
    from scipy.stats import chi2

    from tlcourse.shift.diagnose import shares_test

    a, b = torch.tensor([0] * 9 + [1]), torch.zeros(10, dtype=torch.long)
    assert shares_test(a, b) == pytest.approx(chi2.sf(2 * 0.25 / 9.5 + 2 * 0.25 / 0.5, 1))


def test_errors_are_wrong_predictions(gaussian, monkeypatch):
    seen = []
    monkeypatch.setattr(
        importlib.import_module("tlcourse.shift.diagnose"), "errors_test", lambda *e: seen.extend(e) or 1.0
    )
    x, y = gaussian(20), gaussian(24, seed=1)
    truth = torch.arange(24) % 2
    shift.diagnose(
        lambda rows: torch.zeros(len(rows), dtype=torch.long),
        x,
        y,
        source_labels=truth[:20],
        target_labels=1 - truth,
        permutations=19,
    )
    assert [e.long().tolist() for e in seen] == [truth[:20].tolist(), (1 - truth).tolist()]


@pytest.mark.parametrize("which", ["source_labels", "target_labels"])
def test_labels_of_one_domain_only(gaussian, which: str):
    with pytest.raises(ValueError, match="give source_labels and target_labels"):
        shift.diagnose(
            lambda rows: (rows[:, 0] > 0).long(),
            gaussian(40),
            gaussian(40),
            **{which: torch.zeros(40, dtype=torch.long)},
        )
