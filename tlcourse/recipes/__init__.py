"""The long runs behind the tables and networks that the course ships: `tlcourse recipe NAME` repeats one.

Each recipe is a module with `settings()`, `jobs()`, `work(job, rows)` and `finish(rows, folder)`. It can be stopped and
started again. Results lie in `recipes/results/` and are read with `load`.
"""

from tlcourse.recipes import (
    capstone_references,
    continual_learning,
    course_gpt,
    domain_adaptation,
    emoji_autoencoder,
    emoji_contrastive,
    emoji_diffusion,
    in_context_language,
    in_context_regression,
    language_adapters,
    learning_curves,
    maml_family,
    metric_emoji,
    metric_family,
    peft_family,
    scaling_family,
    shift_detectors,
    source_networks,
    strategy_grid,
    text_adaptation,
    text_fine_tuning,
)
from tlcourse.recipes.results import load, names, run

__all__ = [
    "capstone_references",
    "continual_learning",
    "course_gpt",
    "domain_adaptation",
    "emoji_autoencoder",
    "emoji_contrastive",
    "emoji_diffusion",
    "in_context_language",
    "in_context_regression",
    "language_adapters",
    "learning_curves",
    "load",
    "maml_family",
    "metric_emoji",
    "metric_family",
    "names",
    "peft_family",
    "run",
    "scaling_family",
    "shift_detectors",
    "source_networks",
    "strategy_grid",
    "text_adaptation",
    "text_fine_tuning",
]
