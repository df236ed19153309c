"""Does an answer choose a method within its budgets, by means over seeds and intervals, and say when none fits?"""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Callable
from typing import Any

import torch

from tlcourse.checks.base import CheckFailed
from tlcourse.checks.expect import expect
from tlcourse.checks.method_tables import Row, in_words, low_end, named, random_table, right_choice

Answer = Callable[..., Any]
Wrong = dict[str, str]
MEMORY, SECONDS, TASKS, STORAGE = 8.0, 600.0, 40, 1000.0

LUCKY = "It has the luckiest single seed. Compare the means over all seeds."
BLIND = "The best mean decides alone. Its lead is within the interval of the paired differences: take the smaller one."
UNPAIRED = "Seeds move all methods alike, so its own interval is wide. Take the differences seed by seed."
SMALL = "It is the smallest, but clearly worse than the best that fits: the whole interval of best − other is above 0."
ALL_TASKS = "One task would fit, all of them do not: each task has a file of its own. tasks × stored ≤ storage."
BREAKS_MEMORY = "It needs more memory for training than there is."
BREAKS_TIME = "It takes more seconds than there are."
BREAKS_MERGE = "It cannot be merged, and merge=True asks for a method that can."
MUST_NOT = "merge=False says that it need not be mergeable, not that it must not be."
EXACT = "The best uses a budget up to the last bit, and that still fits: ≤, not <."
YARDSTICK = "You compare with a method that does not fit. Sort out first, then look for the best of what is left."
GENERAL = "Sort out what breaks a budget; take the best mean; of all whose paired interval holds 0, the smallest file."


def check_choice(answer: Answer) -> None:
    """CheckFailed unless the answer chooses what `right_choice` chooses, in cases made for one mistake each."""
    for case in (_merge_free, _smallest, _luckiest, _near_and_far, _tasks, _memory, _time, _merge, _exact, _yardstick):
        rows, budget, wrong = case()
        _check_case(answer, rows, budget, wrong)
    _check_none_fits(answer)
    for _ in range(25):
        _check_random(answer)


def _budget(**changed: Any) -> dict[str, Any]:
    return {"tasks": TASKS, "storage": STORAGE, "memory": MEMORY, "seconds": SECONDS, "merge": False, **changed}


Case = tuple[list[Row], dict[str, Any], Wrong]


def _smallest() -> Case:
    rows = random_table(5, 0.005, best={"mean": 0.8, "stored": 20.0}, far={"mean": 0.6, "stored": 0.5})
    return rows, _budget(), {"far": SMALL}


def _luckiest() -> Case:
    spike = torch.full((12,), -0.02).double()
    spike[random.randrange(12)] = 0.22
    lucky = {"mean": 0.68, "noise": spike, "stored": 4.0}
    return random_table(12, 0.005, best={"mean": 0.8, "stored": 9.0}, lucky=lucky), _budget(), {"lucky": LUCKY}


def _near_and_far() -> Case:
    rows = random_table(
        5,
        0.04,
        top={"mean": 0.8, "stored": 20.0, "own": 0.001},
        near={"mean": 0.797, "stored": 8.0, "own": 0.01},
        close={"mean": 0.77, "stored": 4.0, "own": 0.006},
        far={"mean": 0.6, "stored": 0.5, "own": 0.006},
    )
    return rows, _budget(), {"top": BLIND, "close": UNPAIRED, "far": SMALL}


def _breaking(why: str, budget: dict[str, Any], **cost: Any) -> Case:
    rows = random_table(5, 0.02, breaking={"mean": 0.85, **cost}, fitting={"mean": 0.78, **_within(cost)})
    return rows, budget, {"breaking": why}


def _within(cost: dict[str, Any]) -> dict[str, Any]:
    return {key: True if key == "mergeable" else 0.5 * value for key, value in cost.items()}


def _tasks() -> Case:
    return _breaking(ALL_TASKS, _budget(), stored=1.6 * STORAGE / TASKS)


def _memory() -> Case:
    return _breaking(BREAKS_MEMORY, _budget(), memory=1.5 * MEMORY)


def _time() -> Case:
    return _breaking(BREAKS_TIME, _budget(), seconds=1.5 * SECONDS)


def _merge() -> Case:
    return _breaking(BREAKS_MERGE, _budget(merge=True), mergeable=False)


def _merge_free() -> Case:
    rows = random_table(5, 0.02, best={"mean": 0.85}, other={"mean": 0.78, "mergeable": False, "stored": 9.0})
    return rows, _budget(), {"other": MUST_NOT}


def _exact() -> Case:
    full = {"stored": STORAGE / TASKS, "memory": MEMORY, "seconds": SECONDS}
    return random_table(5, 0.02, best={"mean": 0.85, **full}, other={"mean": 0.78}), _budget(), {"other": EXACT}


def _yardstick() -> Case:
    rows = random_table(
        5,
        0.02,
        unfit={"mean": 0.9, "memory": 2 * MEMORY, "stored": 24.0},
        first={"mean": 0.8, "stored": 20.0, "own": 0.001},
        second={"mean": 0.797, "stored": 8.0, "own": 0.01},
    )
    return rows, _budget(), {"unfit": YARDSTICK, "first": YARDSTICK, "": YARDSTICK}


def _ask(answer: Answer, table: list[Row], budget: dict[str, Any], *, tried: str) -> str:
    """The name that the answer returns."""
    given = copy.deepcopy(table)
    found = answer(given, **budget)
    same = given == table
    kept = "The caller goes on with the table. Make a new list, and leave the old one as it is."
    expect(same, tried=f"{tried}; then a look at the table", got="it is not what it was", misconception=kept)
    known = isinstance(found, str) and found in {row["name"] for row in table}
    name = 'Return the name alone, as it stands in the table: row["name"].'
    expect(known, tried=tried, got=f"{found!r:.40}", misconception=name)
    return found


def _check_case(answer: Answer, rows: list[Row], budget: dict[str, Any], wrong: Wrong) -> None:
    table, roles = named(rows)
    tried, right = in_words(table, budget), right_choice(table, **budget)
    try:
        found = _ask(answer, table, budget, tried=tried)
    except ValueError as error:
        why = wrong.get("", "One of them fits, see the numbers.")
        raise CheckFailed(tried=tried, got=f"ValueError: {error}", misconception=why) from None
    expect(
        found == right,
        tried=tried,
        got=f"{found}, not {right}",
        misconception=wrong.get(roles[found], GENERAL),
    )


def _check_none_fits(answer: Answer) -> None:
    """Without a method that fits there is a ValueError of the answer's own."""
    table, _ = named(random_table(5, 0.02, a={"mean": 0.8, "memory": 2 * MEMORY}, b={"mean": 0.7, "stored": STORAGE}))
    budget = _budget()
    tried = f"{in_words(table, budget)}, where nothing fits"
    try:
        found = answer(copy.deepcopy(table), **budget)
    except ValueError as error:
        said = str(error)
        own = bool(said) and not re.search("empty sequence|argument is empty", said)
        why = "This is Python's own complaint about an empty list. Say to the reader that no method fits the budgets."
        expect(own, tried=tried, got=f"ValueError: {said or 'no message'}", misconception=why)
        return
    except (IndexError, TypeError, UnboundLocalError) as error:
        got = f"{type(error).__name__}: {error}"
        why = "Nothing is left to take the best of. Look for this case first, and raise a ValueError that says so."
        raise CheckFailed(tried=tried, got=got, misconception=why) from None
    why = "Whoever uses the result would run out of memory or disk later. Raise a ValueError here."
    raise CheckFailed(tried=tried, got=f"{found!r:.40}, and no error", misconception=why)


def _check_random(answer: Answer) -> None:
    """A table and budgets at random; those where a lower end is nearly 0 or nothing fits are left out."""
    rows = {
        f"row {i}": {
            "mean": random.uniform(0.75, 0.8),
            "own": random.uniform(0.005, 0.02),
            "stored": random.uniform(1, 40),
            "memory": random.uniform(2, 10),
            "seconds": random.uniform(100, 800),
            "mergeable": random.random() < 0.6,
        }
        for i in range(7)
    }
    table, _ = named(random_table(random.choice((4, 5, 8)), 0.03, **rows))
    budget = _budget(merge=random.random() < 0.5)
    edges = [abs(low_end(a, b)) for a in table for b in table if a is not b]
    try:
        right = right_choice(table, **budget)
    except ValueError:
        return
    if min(edges) > 1e-5:
        tried = in_words(table, budget)
        found = _ask(answer, table, budget, tried=tried)
        expect(found == right, tried=tried, got=f"{found}, not {right}", misconception=GENERAL)
