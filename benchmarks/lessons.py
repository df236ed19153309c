"""Each lesson alone, in a fresh kernel: seconds and peak memory beside the budget of 60 s and 3 GB on two cores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tlcourse.cli.course import lessons
from tlcourse.lesson.execute import Run, execute

SECONDS = 60.0
MEMORY_GB = 3.0
ROOT = Path(__file__).resolve().parents[1]

Row = tuple[str, str, str, float, str]


def row(run: Run) -> Row:
    """The row of one run; its ratio is that of the scarcer resource, infinite for a lesson that did not finish."""
    if run.failure or run.memory_gb is None:
        ratio, ours = float("inf"), run.failure.splitlines()[-1][:60] if run.failure else "no lesson.finish()"
    else:
        ratio = max(run.seconds / SECONDS, run.memory_gb / MEMORY_GB)
        ours = f"{run.seconds:.1f} s, {run.memory_gb:.2f} GB"
    setting = f"{len(run.claims)} claims; ratio of the scarcer resource"
    return run.notebook.stem, ours, f"{SECONDS:.0f} s, {MEMORY_GB:.0f} GB", ratio, setting


def main() -> list[Row]:
    """One row per lesson. The budget is for warm caches, so a lesson that is over it gets a second run."""
    rows = []
    for notebook in lessons(ROOT).values():
        found = row(execute(notebook, progress=False))
        rows.append(found if found[3] <= 1 else row(execute(notebook, progress=False)))
    return rows


def failures(rows: Sequence[Row]) -> list[str]:
    """A sentence for each lesson that failed or is over its budget."""
    return [f"{name}: {ours}, budget {budget}" for name, ours, budget, ratio, _ in rows if ratio > 1]
