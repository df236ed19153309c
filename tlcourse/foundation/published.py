"""What makers of known models have said about their training, each number with its source.

Numbers that a source does not give are None, never a guess. Compute that a source gives can be compared with 6ND.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedRun:
    """parameters, tokens: of the final run. flops: as published. hours: of one accelerator of the kind `chip`.
    mwh, tonnes: electricity, and emissions of CO2 equivalent from it (where it was drawn, before any offsets)."""

    name: str
    year: int
    parameters: float | int
    tokens: float | int
    source: str
    flops: float | int | None = None
    chip: str | None = None
    hours: float | int | None = None
    mwh: float | int | None = None
    tonnes: float | int | None = None


_LLAMA = "Touvron et al. 2023, arXiv:2302.13971, Table 15; emissions as if all ran at the US mean"
RUNS = (
    PublishedRun(
        "GPT-3",
        2020,
        175e9,
        300e9,
        "Brown et al. 2020, arXiv:2005.14165, Tables 2.1 and D.1; energy and emissions: Patterson et al. 2021, "
        "arXiv:2104.10350, Table 4",
        flops=3.14e23,
        chip="V100",
        mwh=1287,
        tonnes=552.1,
    ),
    PublishedRun(
        "BLOOM",
        2022,
        176e9,
        366e9,
        "Luccioni et al. 2022, arXiv:2211.02001 (dynamic power); tokens: BigScience, model card",
        chip="A100",
        hours=1_082_990,
        mwh=433,
        tonnes=24.7,
    ),
    PublishedRun("LLaMA-7B", 2023, 6.7e9, 1.0e12, _LLAMA, chip="A100", hours=82_432, mwh=36, tonnes=14),
    PublishedRun("LLaMA-13B", 2023, 13.0e9, 1.0e12, _LLAMA, chip="A100", hours=135_168, mwh=59, tonnes=23),
    PublishedRun("LLaMA-65B", 2023, 65.2e9, 1.4e12, _LLAMA, chip="A100", hours=1_022_362, mwh=449, tonnes=173),
    PublishedRun(
        "Llama 2 70B",
        2023,
        70e9,
        2.0e12,
        "Touvron et al. 2023, arXiv:2307.09288, Table 2, and Meta, model card; emissions before offsets",
        chip="A100",
        hours=1_720_320,
        tonnes=291.42,
    ),
    PublishedRun(
        "Llama 3.1 405B",
        2024,
        405e9,
        15.6e12,
        "Grattafiori et al. 2024, arXiv:2407.21783, Section 3; hours and emissions (location-based): Meta, model card",
        flops=3.8e25,
        chip="H100",
        hours=30.84e6,
        tonnes=8930,
    ),
    PublishedRun(
        "SmolLM2-135M", 2025, 135e6, 2e12, "Ben Allal et al. 2025, arXiv:2502.02737; tokens: Hugging Face, model card"
    ),
)
