"""What a reader sees for bad input to any score: our own errors, without the shape checks that only tests have."""

from collections.abc import Callable, Iterator

import jaxtyping
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from tlcourse.concepts import h_score, leep, linear_cka, log_me, proxy_a_distance

Score = Callable[..., float]
shapes = st.lists(st.integers(0, 4), max_size=3)
LABELLED = {"h_score": h_score, "leep": leep, "log_me": log_me}
ALL = {
    **LABELLED,
    "linear_cka": lambda features, _: linear_cka(features, features),
    "proxy_a_distance": lambda features, _: proxy_a_distance(features, features),
}
scores = pytest.mark.parametrize("score", ALL.values(), ids=ALL)
labelled = pytest.mark.parametrize("score", LABELLED.values(), ids=LABELLED)


@pytest.fixture(autouse=True, scope="module")
def _as_readers_run_it() -> Iterator[None]:
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def distributions() -> torch.Tensor:
    return torch.softmax(torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), dim=1)


LABELS = torch.tensor([0, 1, 0, 1, 2, 2])


@scores
@given(shape=shapes)
def test_features_of_another_shape(score: Score, shape: list[int]):
    assume(len(shape) != 2 or shape[0] < 2 or shape[1] == 0)
    with pytest.raises(ValueError, match=r"of shape .*expected floats \(n, dim\)"):
        score(torch.zeros(shape), torch.zeros(shape[:1], dtype=torch.int64))


@scores
@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool])
def test_features_that_are_no_floats(score: Score, dtype: torch.dtype):
    with pytest.raises(ValueError, match="expected floats"):
        score(distributions().to(dtype), LABELS)


@scores
@given(
    value=st.sampled_from([float("nan"), float("inf"), -float("inf")]), row=st.integers(0, 5), column=st.integers(0, 2)
)
def test_values_that_are_not_finite(score: Score, value: float, row: int, column: int):
    features = distributions()
    features[row, column] = value
    with pytest.raises(ValueError, match="NaN or infinity"):
        score(features, LABELS)


@labelled
@given(shape=shapes)
def test_labels_of_another_shape(score: Score, shape: list[int]):
    assume(shape != [6])
    with pytest.raises(ValueError, match="expected 6 whole numbers"):
        score(distributions(), torch.zeros(shape, dtype=torch.int64))


@labelled
def test_labels_of_another_kind(score: Score):
    with pytest.raises(ValueError, match="expected 6 whole numbers"):
        score(distributions(), LABELS.float())
    with pytest.raises(ValueError, match="at least two"):
        score(distributions(), torch.full((6,), 7))


@labelled
def test_any_float_type_any_integer_type_and_gradients_are_taken(score: Score):
    features = distributions()
    value = score(features, LABELS)
    assert score(features.double(), LABELS.to(torch.uint8)) == pytest.approx(value, abs=1e-6)
    assert score(features.clone().requires_grad_(), LABELS) == value
    assert torch.equal(features, distributions()), "the arguments stay as they are"


@given(st.integers(2, 9), st.integers(2, 9))
def test_cka_of_other_examples(n: int, m: int):
    assume(n != m)
    with pytest.raises(ValueError, match=f"first has {n} rows and second {m}"):
        linear_cka(torch.randn(n, 3), torch.randn(m, 3))


def test_a_distance_of_other_widths():
    with pytest.raises(ValueError, match="source is 4 wide and target 3"):
        proxy_a_distance(torch.randn(9, 4), torch.randn(9, 3))
