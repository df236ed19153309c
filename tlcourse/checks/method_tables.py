"""Tables of methods with what they reach and cost, and the choice that the text of exercise 6.4 describes."""

from __future__ import annotations

import random
from typing import Any

import torch

from tlcourse.training import interval

Row = dict[str, Any]
NAMES = ["LoRA", "DoRA", "IA3", "BitFit", "adapter", "prefix", "prompt", "VeRA", "full", "head only"]


def right_choice(table: list[Row], *, tasks: int, storage: float, memory: float, seconds: float, merge: bool) -> str:
    """The name of the method to take. Raises ValueError when none fits."""
    fitting = [
        row
        for row in table
        if tasks * row["stored"] <= storage
        and row["memory"] <= memory
        and row["seconds"] <= seconds
        and (row["mergeable"] or not merge)
    ]
    if not fitting:
        raise ValueError("no method fits these budgets")
    best = max(fitting, key=lambda row: sum(row["accuracies"]) / len(row["accuracies"]))
    equal = [row for row in fitting if row is best or low_end(best, row) <= 0]
    return str(min(equal, key=lambda row: row["stored"])["name"])


def low_end(best: Row, row: Row) -> float:
    """The lower end of the interval of best − row, seed by seed."""
    return interval([a - b for a, b in zip(best["accuracies"], row["accuracies"], strict=True)]).low


def random_table(seeds: int, shared: float, /, **roles: dict[str, Any]) -> list[Row]:
    """Rows by role: a mean, the spread of its own over seeds, and what it costs; seeds move all rows by `shared`."""
    common = shared * standard(seeds)
    rows = []
    for role, values in roles.items():
        mean, own = values.pop("mean"), values.pop("own", 0.002)
        noise = values.pop("noise", None)
        noise = own * standard(seeds) if noise is None else noise
        accuracies = (mean + common + noise).tolist()
        row = {"stored": 5.0, "memory": 4.0, "seconds": 300.0, "mergeable": True, **values}
        rows.append({"role": role, "accuracies": accuracies, **row})
    return rows


def standard(seeds: int) -> torch.Tensor:
    """Random numbers of mean 0 and standard deviation 1."""
    noise = torch.randn(seeds).double()
    return (noise - noise.mean()) / noise.std()


def named(rows: list[Row]) -> tuple[list[Row], dict[str, str]]:
    """The rows in random order under random names, and the role of each name."""
    names = random.sample(NAMES, len(rows))
    roles = {name: row["role"] for name, row in zip(names, rows, strict=True)}
    table = [
        {"name": name, **{key: value for key, value in row.items() if key != "role"}}
        for name, row in zip(names, rows, strict=True)
    ]
    random.shuffle(table)
    return table, roles


def in_words(table: list[Row], budget: dict[str, Any]) -> str:
    """The table and the budgets in a few words."""
    rows = "; ".join(
        f"{row['name']} {sum(row['accuracies']) / len(row['accuracies']):.3f}, {row['stored']:.4g} MB, "
        f"{row['memory']:.3g} GB, {row['seconds']:.3g} s{'' if row['mergeable'] else ', not mergeable'}"
        for row in table
    )
    limits = ", ".join(f"{key}={value:.4g}" if key != "merge" else f"merge={value}" for key, value in budget.items())
    return f"choose(table, {limits}) on means over {len(table[0]['accuracies'])} seeds: {rows}"
