"""Forgetting, counted by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tlcourse.finetuning import Forgetting, forgetting

LABELS = torch.tensor([0, 0, 0, 0, 1, 1])
BEFORE = torch.tensor([0, 0, 0, 1, 1, 0])  # right: 3 of 4 and 1 of 2
AFTER = torch.tensor([0, 1, 1, 0, 0, 0])  # right: 2 of 4 and 0 of 2; one that was wrong is right now


def test_by_hand():
    found = forgetting(BEFORE, AFTER, LABELS)
    assert found.before == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert found.after == pytest.approx((2 / 4 + 0) / 2)
    assert found.lost == pytest.approx(0.625 - 0.25)
    assert found.forgotten == pytest.approx(3 / 6)
    assert found.gained == pytest.approx(1 / 6)


def test_shares_of_all_examples_when_not_balanced():
    found = forgetting(BEFORE, AFTER, LABELS, balanced=False)
    assert (found.before, found.after) == pytest.approx((4 / 6, 2 / 6))
    assert found.lost == pytest.approx(found.forgotten - found.gained)


def test_examples_that_change_places_are_counted():
    labels = torch.zeros(4, dtype=torch.int64)
    found = forgetting(torch.tensor([0, 0, 1, 1]), torch.tensor([1, 1, 0, 0]), labels)
    assert found == Forgetting(before=0.5, after=0.5, forgotten=0.5, gained=0.5)
    assert found.lost == 0


def test_a_network_that_got_better_lost_less_than_nothing():
    found = forgetting(AFTER, BEFORE, LABELS)
    assert found.lost == pytest.approx(-0.375)
    assert (found.forgotten, found.gained) == pytest.approx((1 / 6, 3 / 6))


@given(st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=1, max_size=12))
def test_accuracy_falls_by_what_is_forgotten_less_what_is_gained(rows: list[tuple[int, int, int]]):
    before, after, labels = torch.tensor(rows).T
    found = forgetting(before, after, labels, balanced=False)
    assert found.lost == pytest.approx(found.forgotten - found.gained, abs=1e-12)
    same = forgetting(before, before, labels)
    assert (same.lost, same.forgotten, same.gained) == (0, 0, 0)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("lengths", [(5, 6, 6), (6, 5, 6), (6, 6, 5), (0, 0, 0)])
def test_predictions_of_other_examples(lengths: tuple[int, int, int]):
    n, m, k = lengths
    message = f"{n} predictions before, {m} after and {k} labels; give all three for the same examples"
    with pytest.raises(ValueError, match=message):
        forgetting(BEFORE[:n], AFTER[:m], LABELS[:k])
