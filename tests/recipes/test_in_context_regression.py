"""The networks behind lesson 17's regression: trained and tested on different tasks, and shipped as they were."""

import pytest
import torch

from tlcourse import recipes
from tlcourse.meta import errors_by_examples, ridge
from tlcourse.recipes import in_context_regression as run


def test_a_short_run_learns_and_writes_its_network(monkeypatch, tmp_path):
    monkeypatch.setattr(run, "STEPS", 60)
    monkeypatch.setattr(run, "TESTS", 200)
    monkeypatch.setattr(run, "FILE", tmp_path / "network.safetensors")
    row = run.work({"seed": 0}, [])
    assert sum(row["loss"][-5:]) < sum(row["loss"][:5])
    assert set(row["near"]) == {"network", "least squares", "ridge"}
    assert all(len(found) == run.EXAMPLES for part in ("near", "far") for found in row[part].values())
    run.finish([row], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["network.safetensors"]


def test_the_shipped_network_is_the_first_of_the_table():
    test = run.tasks(run.TESTS, seed=100)
    with torch.no_grad():
        found = errors_by_examples(run.load()(test), test)
    row = recipes.load("in_context_regression")["rows"][0]
    assert found.tolist() == pytest.approx(row["near"]["network"], abs=2e-3)
    best = errors_by_examples(ridge(test, run.NOISE**2), test)
    assert bool((found > 0.95 * best).all()), "nothing beats the mean of the posterior but chance"


def test_tests_are_on_tasks_that_no_training_has():
    generator = torch.Generator().manual_seed(1)
    trained = torch.randn(4, run.EXAMPLES, run.DIM, generator=generator)
    assert not torch.allclose(run.tasks(4, seed=100).inputs, trained)
    assert torch.equal(run.tasks(4, seed=100, scale=3.0).inputs, 3 * run.tasks(4, seed=100).inputs)
