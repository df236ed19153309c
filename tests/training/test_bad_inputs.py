"""What a reader sees for bad input: our own errors, without the shape checks that only tests have."""

from __future__ import annotations

from collections.abc import Iterator

import jaxtyping
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.utils.data import TensorDataset

from tlcourse import models, training

shapes = st.lists(st.integers(0, 4), min_size=0, max_size=3)


@pytest.fixture(autouse=True, scope="module")
def _as_readers_run_it() -> Iterator[None]:
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@given(shapes)
@settings(deadline=None)
def test_probe_names_features_of_another_shape(shape: list[int]):
    assume(len(shape) != 2 or 0 in shape)
    with pytest.raises(ValueError, match="features"):
        training.probe(torch.zeros(shape), torch.zeros(3, dtype=torch.int64))


@given(shapes)
@settings(deadline=None)
def test_probe_names_labels_of_another_shape(shape: list[int]):
    assume(shape != [3])
    with pytest.raises(ValueError, match="labels"):
        training.probe(torch.randn(3, 2), torch.zeros(shape, dtype=torch.int64))


@given(st.sampled_from([float("nan"), float("inf"), -float("inf")]), st.integers(0, 9), st.integers(0, 4))
@settings(deadline=None)
def test_probe_names_values_that_are_not_finite(value: float, row: int, column: int):
    features = torch.randn(10, 5)
    fitted = training.probe(features, torch.arange(10) % 2)
    features[row, column] = value
    with pytest.raises(ValueError, match="NaN or infinity"):
        training.probe(features, torch.arange(10) % 2)
    with pytest.raises(ValueError, match="NaN or infinity"):
        fitted.predict(features)


def test_probe_says_what_else_is_wrong():
    features, labels = torch.randn(10, 5), torch.arange(10) % 2
    with pytest.raises(ValueError, match="at least two"):
        training.probe(features, labels * 0)
    with pytest.raises(ValueError, match="l2"):
        training.probe(features, labels, l2=0.0)
    with pytest.raises(ValueError, match="float"):
        training.probe(features.long(), labels)
    with pytest.raises(ValueError, match="whole numbers"):
        training.probe(features, labels.float())
    with pytest.raises(ValueError, match="same for every example"):
        training.probe(torch.ones(10, 5), labels)
    with pytest.raises(ValueError, match="fitted on 5"):
        training.probe(features, labels).predict(features[:, :4])
    with pytest.raises(ValueError, match="10 whole numbers"):
        training.probe(features, labels).accuracy(features, labels[:3])


@given(st.integers(-3, 6), st.integers(-3, 6))
@settings(deadline=None)
def test_fit_and_evaluate_name_labels_out_of_range(low: int, high: int):
    assume(min(low, high) < 0 or max(low, high) > 2)
    data = TensorDataset(torch.randn(2, 4), torch.tensor([low, high]))
    with pytest.raises(ValueError, match="labels run from"):
        training.fit(models.MLP([4, 3]), data, steps=1)
    with pytest.raises(ValueError, match="labels run from"):
        training.evaluate(models.MLP([4, 3]), data)


@given(
    st.sampled_from(["epochs", "steps", "batch_size", "accumulate", "lr", "clip", "patience", "seed"]),
    st.integers(-5, -1),
)
@settings(deadline=None)
def test_fit_names_numbers_that_make_no_sense(argument: str, value: int):
    data = TensorDataset(torch.randn(6, 4), torch.arange(6) % 3)
    budget = {} if argument in ("epochs", "steps") else {"steps": 1}
    with pytest.raises(ValueError, match=argument):
        training.fit(models.MLP([4, 3]), data, **{argument: value}, **budget, validation=data)


def test_every_label_of_a_container_is_looked_at_before_the_first_step():
    class Points:
        inputs = torch.randn(9, 4)
        labels = torch.tensor([0, 1, 2, 0, 1, 2, 0, 3, 1])

        def __len__(self) -> int:
            return 9

    with pytest.raises(ValueError, match="labels run from 0 to 3"):
        training.evaluate(models.MLP([4, 3]), Points(), batch_size=4)
    assert Points.labels[torch.randperm(9, generator=torch.Generator().manual_seed(0))[:2]].max() < 3
    with pytest.raises(ValueError, match="labels run from 0 to 3"):
        training.fit(models.MLP([4, 3]), Points(), steps=1, batch_size=2)


def test_inputs_that_no_one_collates():
    with pytest.raises(TypeError, match="no collate"):
        training.fit(models.MLP([4, 3]), [("text", 0), ("another", 1)], steps=1)
