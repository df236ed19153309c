"""Linear CKA against the HSIC formula, and what it must not depend on."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tlcourse.concepts import linear_cka

SIZES = [(60, 7, 12), (60, 12, 7), (15, 40, 30), (15, 40, 6), (15, 15, 15)]  # below and above n on either side


def views(n: int, d1: int, d2: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    common = torch.randn(n, 3, generator=generator)
    x, y = (
        common @ torch.randn(3, d, generator=generator) + torch.randn(n, d, generator=generator) + 3 for d in (d1, d2)
    )
    return x, y


def hsic(k: np.ndarray, m: np.ndarray) -> float:
    """tr(K H L H) with the centring matrix H, up to the factor (n − 1)⁻² that cancels (Eq. 3)."""
    n = len(k)
    centring = np.eye(n) - np.ones((n, n)) / n
    return float(np.trace(k @ centring @ m @ centring))


@pytest.mark.parametrize(("n", "d1", "d2"), SIZES)
def test_equals_the_hsic_formula(n: int, d1: int, d2: int):
    x, y = views(n, d1, d2)
    k, m = ((f @ f.T).double().numpy() for f in (x.double(), y.double()))
    expected = hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))
    assert 0.05 < expected < 0.95
    assert linear_cka(x, y) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize(("n", "d1", "d2"), SIZES)
def test_does_not_depend_on_rotation_scale_shift_or_side(n: int, d1: int, d2: int):
    x, y = views(n, d1, d2)
    value = linear_cka(x, y)
    turn = torch.linalg.qr(torch.randn(d1, d1, generator=torch.Generator().manual_seed(1)))[0]
    assert linear_cka(x @ turn, y) == pytest.approx(value, abs=1e-5)
    assert linear_cka(1e-3 * x, 50 * y) == pytest.approx(value, abs=1e-5)
    assert linear_cka(x + torch.arange(float(d1)), y - 7) == pytest.approx(value, abs=1e-5)
    assert linear_cka(y, x) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(("n", "d"), [(60, 7), (15, 40)])
def test_is_one_for_itself_and_depends_on_the_pairing(n: int, d: int):
    x, _ = views(n, d, d)
    assert linear_cka(x, x) == pytest.approx(1, abs=1e-12)
    assert linear_cka(x, x.flip(0)) < 0.9
    stretched = x * torch.logspace(0, 2, d)
    assert linear_cka(x, stretched) < 0.99, "invertible maps other than rotations do count"


def test_is_near_zero_for_unrelated_features():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2000, 5, generator=generator), torch.randn(2000, 5, generator=generator)
    assert linear_cka(x, y) < 0.02


@given(st.integers(2, 12), st.floats(-1e6, 1e6), st.booleans())
def test_refuses_features_without_variation(n: int, value: float, swap: bool):
    constant = torch.full((n, 3), value, dtype=torch.float64)
    varied = torch.arange(2.0 * n, dtype=torch.float64).reshape(n, 2)
    with pytest.raises(ValueError, match="second are the same" if swap else "first are the same"):
        linear_cka(*((varied, constant) if swap else (constant, varied)))
