"""What every check is made of.

A check takes the reader's object and tests properties of it on fresh random inputs:

    @check
    def doubles(double):
        \"\"\"twice its input, for any shape\"\"\"
        x = torch.randn(3, 4)
        close(double(x), 2 * x, tried="double(x) for x of shape (3, 4)", misconception="Multiply, do not add 2.")

It prints `✓ double: twice its input, for any shape`, or raises `CheckFailed`. Ready-made tests
(`close`, `tensor` …) are in `tlcourse.checks.expect`.
"""

from __future__ import annotations

import functools
import linecache
import re
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tlcourse.checks import progress
from tlcourse.checks.friendly import CheckFailed

__all__ = ["CheckFailed", "check", "explain", "fresh_inputs"]

_UNWRITTEN = "Not written yet: replace `raise NotImplementedError()` (or `...`) by your own code and run its cell."


def check(test: Callable[..., None]) -> Callable[..., None]:
    """Turn a test of a reader's answer into a check: friendly failures, `✓` and a note when it passes.

    The first line of the docstring says what holds when the check passes.
    """
    name = test.__name__
    holds = (test.__doc__ or "").strip().split("\n")[0].rstrip(".")
    if not holds:
        raise ValueError(f"check {name!r} needs a docstring whose first line says what holds when it passes")
    lesson = re.search(r"lesson(\d\d)$", test.__module__)

    @functools.wraps(test)
    def run(*answers: object) -> None:
        label = getattr(answers[0], "__name__", name) if answers else name
        try:
            if any(answer is None or answer is ... for answer in answers):
                raise NotImplementedError
            with fresh_inputs():
                test(*answers)
        except CheckFailed as failure:
            failure.name = failure.name or label
            raise
        except Exception as error:
            raise explain(error, name=label) from None
        print(f"✓ {label}: {holds}")
        if lesson:
            progress.note_check(lesson[1], name)

    return run


@contextmanager
def fresh_inputs() -> Iterator[None]:
    """New random inputs inside; outside, the reader's random state goes on as if nothing had happened."""
    import random

    import numpy as np
    import torch

    kept = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed()
    seed = random.getrandbits(31)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)  # not that of a graphics card, which nothing puts back
    try:
        yield
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])
        torch.set_rng_state(kept[2])


def explain(error: Exception, *, name: str) -> CheckFailed:
    """The failure to show for an exception that the reader's code, or the check's use of its result, raised."""
    if isinstance(error, NotImplementedError) and not error.args:
        return CheckFailed(misconception=_UNWRITTEN, name=name)
    what = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_readers(frame.filename)]
    if frames:
        line = frames[-1].line or linecache.getline(frames[-1].filename, frames[-1].lineno or 0).strip()
        where = f"line {frames[-1].lineno} of `{frames[-1].name}`" + (f": `{line}`" if line else "")
        return CheckFailed(
            tried="calling your code", got=f"it stopped with {what}", misconception=f"Look at {where}.", name=name
        )
    return CheckFailed(
        tried="working with what your code is or returned",
        got=what,
        misconception="Are the arguments, and the type of the result, as the text says?",
        name=name,
    )


def _is_readers(filename: str) -> bool:
    """Whether a frame belongs to the reader's own code: not to this package, another package or Python."""
    ours = str(Path(__file__).parents[1])
    return not filename.startswith((ours, *sysconfig.get_paths().values(), "<frozen", "<@beartype"))
