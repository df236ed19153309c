"""What training costs: compute, energy, carbon dioxide and money.

C ≈ 6ND (Kaplan et al. 2020, arXiv:2001.08361, Section 2.1): each token costs 2 operations a parameter on the way
forward and 4 on the way back. Energy and emissions as Patterson et al. 2021 (arXiv:2104.10350) and Luccioni et al. 2022
(arXiv:2211.02001) compute them.
"""

from __future__ import annotations

from dataclasses import dataclass

FLOPS_PER_PARAMETER_AND_TOKEN = 6
SECONDS_PER_HOUR = 3600
Number = float | int


@dataclass(frozen=True)
class Accelerator:
    """peak: operations a second, dense, at `precision`, as the maker promises. watts: largest power of the chip."""

    name: str
    peak: Number
    watts: Number
    precision: str
    source: str


ACCELERATORS = {
    "V100": Accelerator("V100", 125e12, 300, "fp16", "NVIDIA V100 data sheet, SXM2"),
    "A100": Accelerator("A100", 312e12, 400, "bf16", "NVIDIA A100 80GB data sheet, SXM"),
    "H100": Accelerator("H100", 989e12, 700, "bf16", "NVIDIA H100 data sheet, SXM, without sparsity"),
}

INTENSITY = {
    "Jean Zay, France": (57.0, "Luccioni et al. 2022, arXiv:2211.02001"),
    "United States, mean": (385.0, "Touvron et al. 2023, arXiv:2302.13971, Section 6"),
    "GPT-3's data centre": (429.0, "Patterson et al. 2021, arXiv:2104.10350, Table 4"),
}
"""Grams of carbon dioxide (equivalent) for a kWh of electricity, and who says so."""


@dataclass(frozen=True)
class Footprint:
    """What a training run takes. flops: operations. hours: of one accelerator. kwh: at the meter of the data centre.
    grams: of carbon dioxide equivalent. cost: in the currency of the hourly price."""

    flops: float
    hours: float
    kwh: float
    grams: float
    cost: float


def training_flops(parameters: Number, tokens: Number) -> float:
    """6ND. For mixtures of experts N is what one token passes through.

    Attention to the context comes on top: a share of context / (12 · width) with a causal mask, twice that without.
    Raises ValueError for numbers that are not above 0.
    """
    _above_zero(parameters=parameters, tokens=tokens)
    return float(FLOPS_PER_PARAMETER_AND_TOKEN * parameters * tokens)


def accelerator_hours(flops: Number, chip: Accelerator, *, utilisation: Number) -> float:
    """Hours of one chip that reaches this share of its peak. 0.3 to 0.5 is usual for large models.

    Raises ValueError for a utilisation outside 0 … 1.
    """
    _above_zero(flops=flops, utilisation=utilisation)
    if utilisation > 1:
        raise ValueError(f"utilisation is {utilisation}; no chip does more than its peak, so give a share of it")
    return flops / (chip.peak * utilisation) / SECONDS_PER_HOUR


def utilisation(flops: Number, hours: Number, chip: Accelerator) -> float:
    """Share of the peak that a run has reached, from the hours that it reports."""
    _above_zero(flops=flops, hours=hours)
    return flops / (hours * SECONDS_PER_HOUR * chip.peak)


def energy_kwh(hours: Number, *, watts: Number, overhead: Number = 1.1) -> float:
    """kWh of so many chip hours. overhead: power usage effectiveness, the whole data centre over its computers.

    The other parts of a computer, idle machines, failed runs and making the hardware are not in it. For BLOOM, idle
    machines and making it doubled the emissions (Luccioni et al. 2022).
    Raises ValueError for an overhead below 1.
    """
    _above_zero(hours=hours, watts=watts)
    if overhead < 1:
        raise ValueError(
            f"overhead is {overhead}; a data centre uses at least what its computers use, so give 1 or more"
        )
    return float(hours * watts * overhead) / 1000


def emissions_grams(kwh: Number, *, intensity: Number) -> float:
    """Grams of CO2 equivalent; intensity: grams for a kWh, which differs tenfold between grids (see `INTENSITY`)."""
    if kwh < 0 or intensity < 0:
        raise ValueError(f"kwh={kwh}, intensity={intensity}: neither can be below 0")
    return float(kwh * intensity)


def training_footprint(
    parameters: Number,
    tokens: Number,
    chip: Accelerator,
    *,
    utilisation: Number,
    intensity: Number,
    price: Number,
    overhead: Number = 1.1,
) -> Footprint:
    """All of it, from size and data. price: of one accelerator for an hour.

    Raises ValueError for numbers that make no sense.
    """
    _above_zero(price=price)
    flops = training_flops(parameters, tokens)
    hours = accelerator_hours(flops, chip, utilisation=utilisation)
    kwh = energy_kwh(hours, watts=chip.watts, overhead=overhead)
    return Footprint(flops, hours, kwh, emissions_grams(kwh, intensity=intensity), hours * price)


def _above_zero(**numbers: Number) -> None:
    for name, value in numbers.items():
        if not value > 0:
            raise ValueError(f"{name} is {value}; it must be above 0")
