"""One run of a lesson: what it claims, shows and costs."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from tlcourse.checks.friendly import Friendly


class ClaimFailed(Friendly):
    """A claim of the lesson that this run does not support."""


class BudgetExceeded(Friendly):
    """A lesson that took more memory than it promises."""


def start(name: str, *, seed: int = 0, seconds: int | float = 60, memory_gb: int | float = 3.0) -> Lesson:
    """Set seed, device, threads, memory pages and plot style for the lesson `name` ("05_lora"); prints one line.

    `seconds` and `memory_gb` are the budget on two cores that `finish` reports against.
    """
    if not re.fullmatch(r"\d\d_[a-z0-9_]+", name):
        raise ValueError(f'name={name!r} must be the name of the notebook without ".ipynb", as in "05_lora"')
    from tlcourse import training
    from tlcourse.lesson import style

    # Linux hands out memory in pages of 4 KB; in a virtual machine that can take half the time of a training step.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # PyTorch then asks for pages of 2 MB for its large tensors
    style.use()
    training.seed_everything(seed)
    threads = training.threads()
    print(
        f"Lesson {name}: seed {seed}, device {training.device()}, {threads} thread{'s'[: threads != 1]}; "
        f"budget {seconds:g} s and {memory_gb:g} GB"
    )
    return Lesson(name, seconds=seconds, memory_gb=memory_gb)


class Lesson:
    """The handle of a running lesson, made by `tl.start`."""

    def __init__(self, name: str, *, seconds: int | float = 60, memory_gb: int | float = 3.0) -> None:
        self.name, self.seconds, self.memory_gb = name, seconds, memory_gb
        self.claims: dict[str, tuple[bool, str]] = {}
        self._began = time.perf_counter()

    def claim(self, text: str, condition: object, detail: str = "") -> None:
        """Hold the text to its word: print `✓ text (detail)`, or raise ClaimFailed.

        `condition` is one yes or no: a bool, or an array or tensor of one bool.
        """
        holds = _yes_or_no(condition)
        if not text.strip():
            raise ValueError("text is empty: state the finding in a sentence")
        line = f"{text} ({detail})" if detail else text
        self.claims[text] = (holds, line)
        if not holds:
            raise ClaimFailed(
                f"{line}\n  This run does not show what the text says. If you changed a setting above, that is your "
                "finding: why does it matter?\n  If not, please report it with the output of `tlcourse doctor`."
            )
        print(f"✓ {line}")

    def show(self, fig: Figure, *, alt: str, width: int | None = None) -> None:
        """Display a figure with a text for those who cannot see it, and close it.

        `alt` says in a sentence what is plotted and what one sees; `width` is in CSS pixels.
        """
        from tlcourse.lesson import figures

        figures.show(fig, alt=alt, width=width)

    def table(self, rows: Sequence[Sequence[object]], *, columns: Sequence[str], caption: str) -> None:
        """Display a table; the first entry of each row is its header."""
        from tlcourse.lesson import tables

        tables.table(rows, columns=columns, caption=caption)

    def source(self, thing: object) -> None:
        """Display the source of a function, class or module with its file and lines."""
        from tlcourse.lesson import source

        source.show(thing)

    def quiz(self, questions: str | list[dict[str, Any]] | None = None) -> None:
        """Display a quiz: this lesson's own by default, one by its number, or a list of questions."""
        from tlcourse.lesson import quiz

        quiz.show(self.name[:2] if questions is None else questions)

    def explorer(
        self,
        draw: Callable[..., Figure],
        *,
        alt: str,
        controls: Mapping[str, object],
        start: Mapping[str, object] | None = None,
    ) -> None:
        """Display controls and the figure that `draw` makes of their values; see `tlcourse.lesson.explorer`."""
        from tlcourse.lesson import explorer

        explorer.show(draw, alt=alt, controls=controls, start=start or {})

    def finish(self) -> None:
        """Sum up: claims, seconds and peak memory beside the budget; notes the lesson as done.

        Raises ClaimFailed if a claim failed and BudgetExceeded if the lesson took too much memory. Seconds are only
        reported: machines differ.
        """
        from IPython.display import display

        from tlcourse.checks import progress
        from tlcourse.lesson.budget import peak_memory_gb

        seconds, memory = time.perf_counter() - self._began, peak_memory_gb()
        lines = [f"{'✓' if holds else '✗'} {line}" for holds, line in self.claims.values()]
        held = sum(holds for holds, _ in self.claims.values())
        text = "\n".join(
            [
                f"Lesson {self.name}: {held} of {len(lines)} claims hold",
                *lines,
                f"time    {seconds:6.1f} s   budget {self.seconds:g} s",
                f"memory  {memory:6.2f} GB  budget {self.memory_gb:g} GB (peak)",
            ]
        )
        facts = {"claims": lines, "seconds": round(seconds, 2), "memory_gb": round(memory, 3)}
        display({"text/plain": text}, raw=True, metadata={"tlcourse": {"finish": facts}})
        if held < len(lines):
            raise ClaimFailed(f"{len(lines) - held} of {len(lines)} claims do not hold; see the ✗ above")
        if memory > self.memory_gb:
            raise BudgetExceeded(
                f"peak memory {memory:.2f} GB is above the budget of {self.memory_gb:g} GB: "
                "work in smaller batches, or free what is no longer needed"
            )
        if "TLCOURSE_HEADLESS" not in os.environ:
            progress.note_lesson(self.name[:2])


def _yes_or_no(condition: object) -> bool:
    """`condition` as a bool; TypeError for what is not one yes or no, such as a score or a mask."""
    item = getattr(condition, "item", None)
    try:
        value = item() if callable(item) else condition
    except (ValueError, RuntimeError):
        value = condition
    if not isinstance(value, bool):
        raise TypeError(f"condition={condition!r} must be one yes or no: write a comparison, and .all() for many")
    return value
