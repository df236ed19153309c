"""The verdict for each kind of shift between two hospitals, and what no test sees."""

from __future__ import annotations

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


def test_labels_of_one_domain_only(gaussian):
    with pytest.raises(ValueError, match="give source_labels and target_labels"):
        shift.diagnose(
            lambda rows: (rows[:, 0] > 0).long(),
            gaussian(40),
            gaussian(40),
            source_labels=torch.zeros(40, dtype=torch.long),
        )
