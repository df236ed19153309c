"""Which known misconception explains wrong numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tlcourse.checks.friendly import CheckFailed


@dataclass(frozen=True)
class Case:
    """One question to an answer: what came out, what is right, and what known misconceptions would have given."""

    tried: str
    found: float
    right: float
    known: list[tuple[float, str]]

    @property
    def holds(self) -> bool:
        """Whether the right number came out."""
        return _near(self.found, self.right)


def diagnose(ask: Callable[[], Case], *, otherwise: str = "", times: int = 3) -> None:
    """CheckFailed with the misconception that explains all wrong results of several random questions.

    One match may be chance, so every wrong result has to match. Without a match the words are `otherwise`; if these
    are empty nothing is said, for checks that go on to test properties.
    """
    wrong = [case for case in (ask() for _ in range(times)) if not case.holds]
    if not wrong:
        return
    likely = next(_in_all([_matching(case) for case in wrong]), otherwise)
    if likely:
        got = f"{wrong[0].found:.4g}, not {wrong[0].right:.4g}"
        raise CheckFailed(tried=wrong[0].tried, got=got, misconception=likely)


def _matching(case: Case) -> list[str]:
    return [misconception for value, misconception in case.known if _near(case.found, value)]


def _in_all(lists: list[list[str]]) -> Iterator[str]:
    return (entry for entry in lists[0] if all(entry in other for other in lists))


def _near(found: float, value: float) -> bool:
    return abs(found - value) <= 1e-4 * max(1.0, abs(value))
