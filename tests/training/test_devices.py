from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from tlcourse import training


def test_device_follows_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TLCOURSE_DEVICE", "cpu")
    assert training.device() == torch.device("cpu")
    monkeypatch.delenv("TLCOURSE_DEVICE")
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert training.device().type == best


@pytest.mark.parametrize("name", ["quantum", "cuda:99", "cpu gpu"])
def test_a_device_that_is_not_there(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TLCOURSE_DEVICE", name)
    with pytest.raises(ValueError, match="TLCOURSE_DEVICE"):
        training.device()


def test_seed_everything_seeds_all_three():
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(1))

    training.seed_everything(3)
    first = draw()
    training.seed_everything(3)
    assert draw() == first
    training.seed_everything(4)
    assert all(a != b for a, b in zip(draw(), first, strict=True))
    with pytest.raises(ValueError, match="seed"):
        training.seed_everything(2**32)


def test_threads_sets_torch_and_blas(monkeypatch: pytest.MonkeyPatch):
    np.ones((2, 2)) @ np.ones((2, 2))
    before = torch.get_num_threads()
    try:
        assert training.threads(2) == torch.get_num_threads() == 2
        assert training.threads(1) == torch.get_num_threads() == 1
        assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"} == {1}
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        assert training.threads() == 2
        with pytest.raises(ValueError, match="thread"):
            training.threads(0)
    finally:
        training.threads(before)
