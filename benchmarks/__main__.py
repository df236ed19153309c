"""`make bench`: run the benchmarks, print one table, and write it into RESULTS.md when all of them ran.

    python -m benchmarks                  all of them, one after the other
    python -m benchmarks lessons          one

A benchmark is a module of this folder with `main() -> list[Row]`, where a row is (name, ours, peer, ratio, setting):
two quantities with their unit as text, ours over the peer's, and what was run. It may also have
`failures(rows) -> list[str]`, one sentence for each bar that was missed; then the exit status is 1.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

Row = tuple[str, str, str, float, str]

HERE = Path(__file__).parent
COLUMNS = ("what", "ours", "peer or budget", "ratio", "setting")


def names() -> list[str]:
    """The benchmarks there are."""
    return sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_"))


def table(rows: Sequence[Row]) -> str:
    """The rows as aligned text under their headings."""
    cells = [COLUMNS, *((name, ours, peer, f"{ratio:.2f}", setting) for name, ours, peer, ratio, setting in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def report(rows: Sequence[Row], failures: Sequence[str]) -> str:
    """The rows as a page in Markdown, under what was measured where."""
    import torch

    head = [
        "# Benchmarks",
        "",
        "Written by `make bench`. Ours beside each peer, or beside the budget. Both sides run in turns in one process,",
        "so compare the ratio; seconds depend on the machine. For a rate (…/s) more is better, elsewhere less.",
        "",
        f"{torch.get_num_threads()} threads, torch {torch.__version__.split('+')[0]}.",
        "",
    ]
    body = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    body += [f"| {name} | {ours} | {peer} | {ratio:.2f} | {setting} |" for name, ours, peer, ratio, setting in rows]
    missed = ["", "Missed:", "", *(f"- {failure}" for failure in failures)] if failures else []
    return "\n".join([*head, *body, *missed, ""])


def run(chosen: Sequence[str]) -> int:
    """Run the chosen benchmarks (none: all), print their rows and the bars that they miss."""
    known = names()
    if unknown := sorted(set(chosen) - set(known)):
        print(f"no benchmark {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    rows: list[Row] = []
    failures: list[str] = []
    for name in chosen or known:
        print(f"{name} …", file=sys.stderr, flush=True)
        module = importlib.import_module(f"benchmarks.{name}")
        found = module.main()
        rows += found
        failures += getattr(module, "failures", lambda rows: [])(found)
    print(table(rows))
    if not chosen:
        (HERE / "RESULTS.md").write_text(report(rows, failures), encoding="utf-8")
    for failure in failures:
        print(f"✗ {failure}")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
