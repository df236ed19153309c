"""The recipe of lesson 12, on a few draws: what it ships comes out again, and a large shift is seen."""

from __future__ import annotations

import pytest

from tlcourse.recipes import load
from tlcourse.recipes import shift_detectors as recipe


@pytest.mark.parametrize("kind", ["none", "covariate", "concept"])
def test_two_draws_are_those_of_the_shipped_result(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    size = recipe.SIZES[kind][-1]
    shipped = next(row for row in load("shift_detectors")["rows"] if (row["kind"], row["size"]) == (kind, size))
    monkeypatch.setattr(recipe, "BLOCK", 2)
    again = recipe.work({"kind": kind, "size": size, "first": shipped["first"]}, [])
    for name in recipe.TESTS:
        assert again[name] == pytest.approx(shipped[name][:2], abs=0.02), name
    assert again["verdicts"] == shipped["verdicts"][:2]


def test_a_large_covariate_shift_gives_a_small_p_value_and_none_does_not() -> None:
    p_values = {
        kind: recipe.all_tests(recipe.hospitals(kind, size, seed=5), seed=5)[0]
        for kind, size in (("none", 0.0), ("covariate", 1.0))
    }
    assert p_values["covariate"]["mmd"] < 0.01 < p_values["none"]["mmd"]
