"""Compute, energy, emissions and cost: units, published runs, and what is refused."""

from __future__ import annotations

import pytest

from tlcourse.foundation import (
    ACCELERATORS,
    INTENSITY,
    RUNS,
    accelerator_hours,
    emissions_grams,
    energy_kwh,
    training_flops,
    training_footprint,
    utilisation,
)

BY_NAME = {run.name: run for run in RUNS}


def test_six_n_d() -> None:
    assert training_flops(2, 3) == 36
    assert training_flops(175e9, 300e9) == pytest.approx(3.15e23)


@pytest.mark.parametrize("name", [run.name for run in RUNS if run.flops])
def test_six_n_d_is_what_makers_say(name: str) -> None:
    run = BY_NAME[name]
    assert training_flops(run.parameters, run.tokens) == pytest.approx(run.flops, rel=0.05)


@pytest.mark.parametrize("name", [run.name for run in RUNS if run.hours and run.mwh])
def test_published_energy_is_hours_times_power(name: str) -> None:
    run = BY_NAME[name]
    overhead = 1.1 if name.startswith("LLaMA") else 1.0  # BLOOM's figure is what the chips themselves used
    kwh = energy_kwh(run.hours, watts=ACCELERATORS[run.chip].watts, overhead=overhead)
    assert kwh / 1000 == pytest.approx(run.mwh, rel=0.02)


@pytest.mark.parametrize(
    ("name", "grid"),
    [
        ("GPT-3", "GPT-3's data centre"),
        ("BLOOM", "Jean Zay, France"),
        ("LLaMA-7B", "United States, mean"),
        ("LLaMA-65B", "United States, mean"),
    ],
)
def test_published_emissions_are_energy_times_intensity(name: str, grid: str) -> None:
    run = BY_NAME[name]
    tonnes = emissions_grams(run.mwh * 1000, intensity=INTENSITY[grid][0]) / 1e6
    assert tonnes == pytest.approx(run.tonnes, rel=0.03)


@pytest.mark.parametrize("name", [run.name for run in RUNS if run.hours])
def test_known_runs_used_a_third_to_a_half_of_the_peak(name: str) -> None:
    run = BY_NAME[name]
    share = utilisation(training_flops(run.parameters, run.tokens), run.hours, ACCELERATORS[run.chip])
    assert 0.25 < share < 0.55


def test_everything_has_a_source() -> None:
    assert all("arXiv" in run.source for run in RUNS)
    assert all(chip.source and chip.name == name for name, chip in ACCELERATORS.items())
    assert all(source for _, source in INTENSITY.values())
    assert len(BY_NAME) == len(RUNS)


def test_a_run_by_hand() -> None:
    chip = ACCELERATORS["A100"]
    found = training_footprint(1e9, 20e9, chip, utilisation=0.4, intensity=400, price=2, overhead=1.2)
    assert found.flops == 1.2e20
    assert found.hours == pytest.approx(1.2e20 / (312e12 * 0.4 * 3600))
    assert found.hours == pytest.approx(accelerator_hours(1.2e20, chip, utilisation=0.4))
    assert found.kwh == pytest.approx(found.hours * 0.4 * 1.2)
    assert found.grams == pytest.approx(found.kwh * 400)
    assert found.cost == pytest.approx(found.hours * 2)
    assert utilisation(found.flops, found.hours, chip) == pytest.approx(0.4)


def test_errors() -> None:
    chip = ACCELERATORS["A100"]
    for wrong in ((0, 1), (1, -1), (float("nan"), 1)):
        with pytest.raises(ValueError, match="must be above 0"):
            training_flops(*wrong)
    with pytest.raises(ValueError, match="no chip does more than its peak"):
        accelerator_hours(1e20, chip, utilisation=40)
    with pytest.raises(ValueError, match="give 1 or more"):
        energy_kwh(10, watts=400, overhead=0.9)
    with pytest.raises(ValueError, match="neither can be below 0"):
        emissions_grams(10, intensity=-1)
    with pytest.raises(ValueError, match="price is 0"):
        training_footprint(1e9, 1e9, chip, utilisation=0.4, intensity=400, price=0)
