"""ADWIN: a window that grows while nothing changes and drops its old end when something did (Bifet and Gavaldà 2007,
SIAM International Conference on Data Mining, "Learning from time-changing data with adaptive windowing").

This is ADWIN2 with the constants of the library river. After an alarm river forgets the whole window, where the paper
keeps the new end of it: call `reset` after each alarm, and both alarm at the same items.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tlcourse.shift.inputs import check_item


@dataclass
class Bucket:
    """`size` items in a row: their `total`, and `spread` = Σ (x − mean)²."""

    size: int
    total: float
    spread: float

    def joined(self, other: Bucket) -> Bucket:
        """Both as one."""
        size, gap = self.size + other.size, self.total / self.size - other.total / other.size
        return Bucket(
            size, self.total + other.total, self.spread + other.spread + self.size * other.size / size * gap**2
        )

    def without(self, part: Bucket) -> Bucket:
        """What is left when `part` is taken out again."""
        size, total = self.size - part.size, self.total - part.total
        gap = part.total / part.size - total / size
        spread = self.spread - part.spread - part.size * size / self.size * gap**2
        return Bucket(size, total, max(0.0, spread))  # rounding may leave a little less than nothing


class Adwin:
    """Feed it numbers, such as 1 for each error; `update` says whether their mean has changed, `rose` whether upwards.

    delta: share of false alarms that is aimed at, per check. The window is looked at every `clock` items, and both its
    parts must have `least` items. Of each bucket size 1, 2, 4, … at most `most` buckets are kept, so that a window of n
    items takes log n memory; the price is that it can be cut between buckets only.
    """

    def __init__(
        self, *, delta: float = 0.002, clock: int = 32, most: int = 5, least: int = 5, grace: int = 10
    ) -> None:
        if not 0 < delta < 1:
            raise ValueError(f"delta is {delta}; give the share of false alarms, between 0 and 1, for example 0.002")
        if min(clock, most, least) < 1:
            raise ValueError(f"clock is {clock}, most {most}, least {least}; give 1 or more of each")
        self.delta, self.clock, self.most, self.least, self.grace = delta, clock, most, least, grace
        self.reset()

    def reset(self) -> None:
        """An empty window."""
        self.rows: list[list[Bucket]] = [[]]  # buckets of size 1, of size 2, …; in each row the oldest first
        self.window: Bucket | None = None
        self.seen = 0
        self.rose = False  # whether the last change was a rise

    @property
    def width(self) -> int:
        """Items in the window."""
        return self.window.size if self.window else 0

    @property
    def mean(self) -> float:
        """Mean of the window; 0 when it is empty."""
        return self.window.total / self.window.size if self.window else 0.0

    def update(self, value: float) -> bool:
        """Add an item. True: the window has just been cut, because its older part had another mean.

        Raises ValueError for a value that is not finite.
        """
        check_item(value)
        item = Bucket(1, float(value), 0.0)
        self.rows[0].append(item)
        self.window = self.window.joined(item) if self.window else item
        self._compress()
        self.seen += 1
        if self.seen % self.clock or self.width <= self.grace:
            return False
        before, changed = self.mean, False
        while self._has_cut():
            self._drop_oldest()
            changed = True
        self.rose = self.mean > before
        return changed

    def _compress(self) -> None:
        """Where a row is too long, join its two oldest buckets into one of the next row."""
        for size, row in enumerate(self.rows):
            if len(row) <= self.most:
                return
            if size + 1 == len(self.rows):
                self.rows.append([])
            self.rows[size + 1].append(row.pop(0).joined(row.pop(0)))

    def _has_cut(self) -> bool:
        """Whether the window can be cut so that the two means are further apart than chance allows."""
        assert self.window is not None
        old: Bucket | None = None
        for row in reversed(self.rows):
            for bucket in row:
                old = old.joined(bucket) if old else bucket
                if self._differ(old, self.window.size - old.size, self.window.total - old.total):
                    return True
        return False

    def _differ(self, old: Bucket, new_size: int, new_total: float) -> bool:
        """|mean difference| > ε_cut of Eq. 3.1, with the variance of the window."""
        assert self.window is not None
        if min(old.size, new_size) < self.least:
            return False
        confidence = math.log(2 * math.log(self.window.size) / self.delta)
        shares = 1 / (old.size - self.least + 1) + 1 / (new_size - self.least + 1)
        variance = self.window.spread / self.window.size
        cut = math.sqrt(2 * shares * variance * confidence) + 2 / 3 * shares * confidence
        return abs(old.total / old.size - new_total / new_size) > cut

    def _drop_oldest(self) -> None:
        assert self.window is not None
        self.window = self.window.without(self.rows[-1].pop(0))
        while len(self.rows) > 1 and not self.rows[-1]:
            self.rows.pop()
