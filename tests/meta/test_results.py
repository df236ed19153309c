"""What the package hands out stays as it is: results and settings are frozen, and tensors are not compared."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from tlcourse import meta

ONES = torch.ones(2, 3)
NUMBERS = torch.zeros(2, 3, dtype=torch.long)
WITH_TENSORS = {
    "Episodes": lambda: meta.Episodes(ONES, NUMBERS, ONES, NUMBERS, NUMBERS),
    "FewShot": lambda: meta.FewShot(ONES[0]),
    "Prefix": lambda: meta.Prefix(3, ((ONES[None, :, :, None], ONES[None, :, :, None]),)),
    "RegressionTasks": lambda: meta.RegressionTasks(ONES[:, :, None], ONES),
    "Sinusoids": lambda: meta.Sinusoids(ONES[0], ONES[1]),
}
SETTINGS = {"InnerLoop": lambda: meta.InnerLoop(0.1), "Wording": lambda: meta.Wording((" no", " yes"))}


@pytest.mark.parametrize("name", [*WITH_TENSORS, *SETTINGS])
def test_no_field_can_be_assigned(name: str):
    made = (WITH_TENSORS | SETTINGS)[name]()
    for field in dataclasses.fields(made):
        before = getattr(made, field.name)
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made, field.name, before)


@pytest.mark.parametrize("name", WITH_TENSORS)
def test_tensors_are_told_apart_by_identity(name: str):
    """Equal fields would have to be compared number by number, and a tensor has no truth value."""
    one = WITH_TENSORS[name]()
    twin = dataclasses.replace(one)  # the same tensors in another object
    assert one == one
    assert one != twin
    assert len({one, twin}) == 2


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_are_compared_by_value(name: str):
    assert SETTINGS[name]() == SETTINGS[name]()


def test_the_mean_of_the_episodes_has_an_interval():
    """Accuracies 0.5 and 0.7: the mean 0.6, and Student's t with one degree of freedom, 12.706 · 0.1."""
    found = meta.FewShot(torch.tensor([0.5, 0.7])).interval
    assert found.mean == pytest.approx(0.6)
    assert found.high - found.mean == pytest.approx(1.2706, abs=1e-3)
    assert str(meta.FewShot(torch.tensor([0.5, 0.5, 0.5])).interval) == "0.500 ± 0.000"
