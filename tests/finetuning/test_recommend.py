"""The recommendation is what the rows say, within the budget, with what cannot be told apart beside it."""

import pytest

from tlcourse import finetuning, recipes
from tlcourse.finetuning.recommend import arms_at, shipped_grid, told_apart


def rows(target: str = "near", labels: int = 5) -> list[dict]:
    """Three arms: cheap and poor, middling, dear and best; the last two differ by less than their seeds do."""
    accuracies = {
        ("frozen features", 40): ((0.40, 0.41, 0.42), 1.0),
        ("last block", 40): ((0.50, 0.56, 0.59), 5.0),
        ("full", 40): ((0.55, 0.55, 0.58), 20.0),
    }
    return [
        {
            "phase": "grid",
            "target": target,
            "labels": labels,
            "strategy": strategy,
            "steps": steps,
            "seed": seed,
            "balanced_accuracy": values[seed],
            "cpu_seconds": cost * (1 + seed / 10),
        }
        for (strategy, steps), (values, cost) in accuracies.items()
        for seed in (2, 0, 1)
    ]


def test_best_mean_wins_and_what_cannot_be_told_apart_stands_beside_it():
    found = finetuning.recommend("near", 5, grid=rows())
    assert found.best.strategy == "full"
    assert [arm.strategy for arm in found.as_good] == ["last block"]
    assert found.cheapest.strategy == "last block"
    assert found.best.accuracy.mean == pytest.approx(0.56)
    assert found.best.cpu_seconds == pytest.approx(22.0)
    assert found.best.accuracies == (0.55, 0.55, 0.58)
    assert found.measured


def test_the_budget_leaves_out_what_costs_more():
    assert finetuning.recommend("near", 5, 6.0, grid=rows()).best.strategy == "last block"
    alone = finetuning.recommend("near", 5, 1.1, grid=rows())
    assert alone.best.strategy == "frozen features"
    assert alone.as_good == ()
    with pytest.raises(ValueError, match=r"cheapest way, frozen features, took 1\.1; raise the budget"):
        finetuning.recommend("near", 5, 0.5, grid=rows())


def test_the_nearest_number_of_labels_on_a_logarithmic_axis():
    both = rows(labels=1) + rows(labels=20)
    assert finetuning.recommend("near", 4, grid=both).labels == 1
    assert finetuning.recommend("near", 5, grid=both).labels == 20
    far_off = finetuning.recommend("near", 500, grid=both)
    assert (far_off.labels, far_off.measured) == (20, False)


def test_rows_of_the_other_target_and_of_the_choice_of_rates_do_not_count():
    noise = [{**row, "balanced_accuracy": 0.99} for row in rows("far")]
    choice = [{**rows()[0], "phase": "choose", "balanced_accuracy": 0.99}]
    assert finetuning.recommend("near", 5, grid=rows() + noise + choice).best.accuracy.mean == pytest.approx(0.56)


def test_bad_inputs():
    with pytest.raises(KeyError, match="similarity 'middling' is unknown; choose from: near, far"):
        finetuning.recommend("middling", 5, grid=rows())
    with pytest.raises(ValueError, match="labels is 0"):
        finetuning.recommend("near", 0, grid=rows())


def test_the_shipped_table_is_the_recipe_s():
    shipped = [dict(row) for row in shipped_grid()]
    assert shipped == recipes.load("strategy_grid")["rows"]
    for similarity in ("near", "far"):
        for labels in (1, 5, 20):
            found = finetuning.recommend(similarity, labels)
            arms = arms_at([r for r in shipped if r["phase"] == "grid" and r["target"] == similarity], labels)
            assert len(arms) == len(recipes.strategy_grid.ARMS)
            assert found.best.accuracy.mean == max(arm.accuracy.mean for arm in arms)
            assert all(not told_apart(found.best, arm) for arm in found.as_good)
