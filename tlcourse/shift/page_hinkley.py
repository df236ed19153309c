"""Page-Hinkley: add up how far the items are above their mean, and see whether it climbs (Page 1954, Biometrika 41)."""

from __future__ import annotations

import math

from tlcourse.shift.inputs import check_item


class PageHinkley:
    """Feed it numbers, such as 1 for each error; `update` says whether their mean has risen.

    delta: rise per item that is no matter. threshold: λ, how far the sum must climb above its lowest point; larger
    means fewer false alarms and later true ones. forget: factor of the sum at each item. No alarm before `least` items.
    Only rises count: when the errors become fewer nobody has to be woken.
    """

    rose = True

    def __init__(
        self, *, threshold: float = 50.0, delta: float = 0.005, forget: float = 0.9999, least: int = 30
    ) -> None:
        if not threshold > 0 or not 0 < forget <= 1:
            raise ValueError(f"threshold is {threshold} and forget {forget}; give threshold > 0 and 0 < forget ≤ 1")
        self.threshold, self.delta, self.forget, self.least = threshold, delta, forget, least
        self.reset()

    def reset(self) -> None:
        """Start anew, as after an alarm."""
        self.count, self.mean, self.sum, self.lowest = 0, 0.0, 0.0, math.inf

    def update(self, value: float) -> bool:
        """Add an item. True: an alarm; the next item starts anew.

        Raises ValueError for a value that is not finite.
        """
        check_item(value)
        self.count += 1
        self.mean += (value - self.mean) / self.count
        self.sum = self.forget * self.sum + value - self.mean - self.delta
        self.lowest = min(self.lowest, self.sum)
        alarm = self.count >= self.least and self.sum - self.lowest > self.threshold
        if alarm:
            self.reset()
        return alarm
