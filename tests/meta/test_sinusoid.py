"""The tasks of the paper's first experiment: their ranges, their values, and a mean near zero."""

from __future__ import annotations

import math

import pytest
import torch

from tlcourse.meta import Sinusoids, sample_sinusoids


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_amplitudes_phases_and_inputs_fill_their_ranges():
    draw = generator()
    tasks = sample_sinusoids(4000, generator=draw)
    inputs, _ = tasks.points(3, generator=draw)
    assert inputs.shape == (4000, 3, 1)
    for found, low, high in ((tasks.amplitude, 0.1, 5.0), (tasks.phase, 0.0, math.pi), (inputs, -5.0, 5.0)):
        assert low <= float(found.min()) < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < float(found.max()) <= high
        assert float(found.mean()) == pytest.approx((low + high) / 2, abs=0.03 * (high - low))


def test_values_are_those_of_a_shifted_sine():
    tasks = Sinusoids(torch.tensor([2.0, 1.0]), torch.tensor([0.0, math.pi / 2]))
    found = tasks.at(torch.tensor([[[math.pi / 2]], [[0.0]]]))
    torch.testing.assert_close(found.flatten(), torch.tensor([2.0, -1.0]))


def test_the_same_generator_gives_the_same_tasks():
    one, other = (sample_sinusoids(5, generator=generator(3)) for _ in range(2))
    assert torch.equal(one.amplitude, other.amplitude)
    assert torch.equal(one.points(4, generator=generator(1))[1], other.points(4, generator=generator(1))[1])
    assert not torch.equal(one.phase, sample_sinusoids(5, generator=generator(4)).phase)


def test_numbers_below_one_are_refused():
    with pytest.raises(ValueError, match="tasks is 0; give 1 or more"):
        sample_sinusoids(0, generator=generator())
    with pytest.raises(ValueError, match="n is 0; give 1 point or more"):
        sample_sinusoids(2, generator=generator()).points(0, generator=generator())


def test_a_single_task_with_a_single_point():
    draw = generator()
    tasks = sample_sinusoids(1, generator=draw)
    inputs, values = tasks.points(1, generator=draw)
    assert (len(tasks), inputs.shape, values.shape) == (1, (1, 1, 1), (1, 1, 1))
    assert values.item() == pytest.approx(
        tasks.amplitude.item() * math.sin(inputs.item() - tasks.phase.item()), abs=1e-5
    )
