"""What a call gets that names no setting, and results: nobody changes them, and two of them are not the same."""

from __future__ import annotations

import dataclasses
import inspect
import math
from typing import Any

import pytest
import torch
from torch import nn

from tlcourse import shift

DEFAULTS: dict[str, dict[str, Any]] = {
    "Adversary": {"hidden": 64},
    "LwF": {"weight": 1.0, "temperature": 2.0},  # Li and Hoiem: T = 2
    "EWC": {"weight": 100.0, "examples": 256},
    "OnlineLogistic": {"lr": 0.1},
    "Replay": {"capacity": 200, "batch_size": 32},
    "Tent": {"lr": 1e-3},  # Wang et al.: Adam at 0.001
    "adapt": {"weight": 1.0, "batch_size": 64, "lr": 1e-3},
    "adapt_batch_norm": {"batch_size": 256},
    "classifier_test": {"l2": 10.0},
    "coral": {"ridge": 1.0},  # Sun et al., Algorithm 1
    "corrupt": {"severity": 3},
    "density_ratio": {"l2": 1.0},
    "diagnose": {"level": 0.05, "permutations": 500},
    "distillation": {"temperature": 2.0},
    "em_priors": {"tolerance": 1e-8, "most": 10_000},
    "hide": {"rate": 0.15},  # Devlin et al.
    "kmm": {"largest": 10.0, "ridge": 1e-3, "steps": 2000},
    "learn_sequence": {"batch_size": 32, "lr": 1e-3},
    "mmd_test": {"permutations": 500},
    "out_of_fold_ratio": {"folds": 5, "l2": 1.0},
    "prequential": {"delay": 0},
    "pretrain_on_texts": {"lr": 5e-5, "head_lr": 1e-3, "rate": 0.15, "warmup": 0.1, "batch_size": 32, "max_length": 48},
    "ramp": {"gamma": 10.0},  # Ganin et al., Section 5.2.2
    "self_train": {"rounds": 5, "l2": 1.0},
    "standardise": {"epsilon": 1e-3},
    "weighted_probe": {"l2": 1.0},
}
"""The numbers of the lessons come from calls that leave these out: another default would change them unseen."""
ONLY_MEMORY = {"diagonal_fisher": {"batch_size"}, "task_accuracy": {"batch_size"}}


def test_defaults_are_as_stated_and_none_is_forgotten():
    found: dict[str, dict[str, Any]] = {}
    for name in shift.__all__:
        thing = getattr(shift, name)
        if not callable(thing) or name in ("Adwin", "PageHinkley"):  # those are compared with river
            continue
        for setting, parameter in inspect.signature(thing).parameters.items():
            number = type(parameter.default) in (int, float)
            if number and setting != "seed" and setting not in ONLY_MEMORY.get(name, ()):
                found.setdefault(name, {})[setting] = parameter.default
    assert found == DEFAULTS


def test_detectors_have_rivers_constants():
    drift = pytest.importorskip("river.drift", reason="river is in the extra `dev`: pip install 'tlcourse[dev]'")
    mine, theirs = shift.Adwin(), drift.ADWIN()
    assert (mine.delta, mine.clock, mine.grace) == (theirs.delta, theirs.clock, theirs.grace_period)
    assert (mine.most, mine.least) == (theirs.max_buckets, theirs.min_window_length)
    page, theirs = shift.PageHinkley(), drift.PageHinkley()
    assert (page.threshold, page.delta, page.forget) == (theirs.threshold, theirs.delta, theirs.alpha)
    assert page.least == theirs.min_instances


def test_a_p_value_of_permutations_has_500_of_them_by_default(gaussian):
    far = gaussian(20), gaussian(20, 9.0, seed=1)
    assert shift.mmd_test(*far).p_value == 1 / 501
    assert shift.diagnose(lambda rows: torch.zeros(len(rows), dtype=torch.long), *far).inputs == 1 / 501


RESULTS = {name: getattr(shift, name) for name in shift.__all__ if dataclasses.is_dataclass(getattr(shift, name))}
BY_VALUE = {"Diagnosis", "TwoSample"}
"""Those of numbers alone."""


def filled(kind: type) -> Any:
    """A result with a tensor in every field; what the fields should hold does not matter here."""
    made = object.__new__(kind)
    for field in dataclasses.fields(kind):
        object.__setattr__(made, field.name, torch.ones(3))
    return made


def test_there_are_results():
    assert len(RESULTS) > 8
    assert RESULTS.keys() >= BY_VALUE


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_cannot_be_changed(name: str):
    made = filled(RESULTS[name])
    for field in dataclasses.fields(RESULTS[name]):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made, field.name, torch.zeros(3))
        assert (getattr(made, field.name) == 1).all()


@pytest.mark.parametrize("name", sorted(RESULTS.keys() - BY_VALUE))
def test_results_with_tensors_are_told_apart_by_identity(name: str):
    """Equal fields would have to be compared element by element, and a tensor has no truth value."""
    one, twin = filled(RESULTS[name]), filled(RESULTS[name])
    assert one == one
    assert one != twin
    assert len({one, twin}) == 2


def test_results_of_numbers_are_equal_by_value():
    assert shift.TwoSample(0.5, 0.1) == shift.TwoSample(0.5, 0.1)
    assert shift.Diagnosis(0.5, 0.5, 0.5, None, "none") == shift.Diagnosis(0.5, 0.5, 0.5, None, "none")


def test_anything_with_the_right_methods_is_a_model_or_a_detector():
    for detector in (shift.Adwin(), shift.PageHinkley()):
        assert isinstance(detector, shift.Detector)
        assert not isinstance(detector, shift.OnlineModel)
    assert isinstance(shift.OnlineLogistic(1, 2), shift.OnlineModel)
    assert not isinstance(nn.Linear(1, 2), shift.Detector)


def test_a_level_that_is_just_reached_rejects():
    for level in (0.05, 0.25):
        exact, above = shift.TwoSample(1.0, level), shift.TwoSample(1.0, math.nextafter(level, 1))
        assert exact.rejects(level)
        assert not above.rejects(level)
    assert shift.TwoSample(1.0, 0.05).rejects()
    assert not shift.TwoSample(1.0, 0.051).rejects()
    p = torch.tensor([0.2, 0.05, 0.01, 0.051], dtype=torch.float64)
    found = shift.PerFeature(p, p, p)
    assert found.features() == [2, 1]
    assert found.features(0.2) == [2, 1, 3, 0]
    assert found.p_value == 0.01
    assert found.rejects(0.01)
    assert not found.rejects(0.009)
    assert shift.PerFeature(p[:2], p[:2], p[:2]).rejects()
    assert not shift.PerFeature(p[3:], p[3:], p[3:]).rejects()
