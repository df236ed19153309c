"""`make bench`: run the benchmarks, print one table, and write it into RESULTS.md.

    python -m benchmarks                  all of them, one after the other
    python -m benchmarks lessons          one

A benchmark is a module of this folder with `main() -> list[Row]`, where a row is (name, ours, peer, ratio, setting):
two quantities with their unit as text, ours over the peer's, and what was run. It may also have
`failures(rows) -> list[str]`, one sentence for each bar that was missed; then the exit status is 1.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

Row = tuple[str, str, str, float, str]

HERE = Path(__file__).parent
HEAD = """# Benchmarks

Written by `make bench`: ours beside each peer, or beside the budget. Both sides run in turns in one process (but for
`probe_sweep`, which is one run of each), so compare the ratio; seconds depend on the machine. Numbers are medians,
unless the setting says *best of*; then it has the medians too. For a rate (…/s) more is better, elsewhere less.
"""
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


def section(name: str, rows: Sequence[Row], failures: Sequence[str]) -> str:
    """The part of RESULTS.md that belongs to one benchmark."""
    import torch

    threads = torch.get_num_threads()
    version = torch.__version__.split("+")[0]
    lines = [f"## {name}", "", f"{threads} thread{'s' * (threads > 1)}, torch {version}.", ""]
    lines += [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    lines += [f"| {what} | {ours} | {peer} | {ratio:.2f} | {setting} |" for what, ours, peer, ratio, setting in rows]
    if failures:
        lines += ["", "Missed:", "", *(f"- {failure}" for failure in failures)]
    return "\n".join([*lines, ""])


def write(found: Mapping[str, str]) -> None:
    """Replace the sections of the benchmarks that ran; the others stay as they were."""
    path = HERE / "RESULTS.md"
    old = path.read_text(encoding="utf-8").split("\n## ")[1:] if path.exists() else []
    kept = {text.split("\n", 1)[0]: f"## {text}" for text in old}
    sections = {**kept, **found}
    body = "\n".join(sections[name].rstrip("\n") + "\n" for name in sorted(sections) if name in names())
    path.write_text(f"{HEAD}\n{body}", encoding="utf-8")


def run(chosen: Sequence[str]) -> int:
    """Run the chosen benchmarks (none: all), print their rows and the bars that they miss."""
    known = names()
    if unknown := sorted(set(chosen) - set(known)):
        print(f"no benchmark {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    rows: list[Row] = []
    failures: list[str] = []
    sections: dict[str, str] = {}
    for name in chosen or known:
        print(f"{name} …", file=sys.stderr, flush=True)
        module = importlib.import_module(f"benchmarks.{name}")
        found = module.main()
        missed = getattr(module, "failures", lambda rows: [])(found)
        rows += found
        failures += missed
        if found:
            sections[name] = section(name, found, missed)
    print(table(rows))
    write(sections)
    for failure in failures:
        print(f"✗ {failure}")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
