"""`tlcourse fetch` and `tlcourse assets`: the models and data that the lessons use."""

from __future__ import annotations

import argparse
import sys
import textwrap

from tlcourse import assets
from tlcourse.cli.course import CommandError


def run(arguments: argparse.Namespace) -> int:
    """Fetch the named assets, list all of them, or show the named ones in full."""
    try:
        if arguments.command == "fetch":
            return fetch(arguments.names)
        return show(arguments.names) if arguments.names else table()
    except KeyError as error:  # an unknown name; the message lists the near ones
        raise CommandError(error.args[0]) from error


def fetch(names: list[str]) -> int:
    """Download and verify `names` (all by default)."""
    folders = assets.fetch(names or None)
    print(f"{len(folders)} of {len(folders)} assets are in place in {assets.home()}")
    return 0


def table() -> int:
    """One line per asset; the exit status is 1 when one of them is damaged."""
    states = assets.verify()
    rows = [("NAME", "STATE", "SIZE", "LICENCE", "WHAT IT IS")]
    for asset in assets.table():
        rows.append((asset.name, states[asset.name].split(":")[0], size(asset.bytes), asset.licence, asset.title))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]))
    print(f"\nin {assets.home()}")
    absent = sorted(name for name, state in states.items() if state == "absent")
    damaged = {name: state for name, state in states.items() if state.startswith("corrupt")}
    if absent:
        print(f"Not here yet: {', '.join(absent)}. Run: tlcourse fetch")
    for name, state in damaged.items():
        print(f"{name} is {state}. Run: tlcourse fetch {name}", file=sys.stderr)
    return 1 if damaged else 0


def show(names: list[str]) -> int:
    """Everything known about each of `names`."""
    states = assets.verify(names)
    by_name = {asset.name: asset for asset in assets.table()}
    for name in names:
        asset = by_name[name]
        print(f"{asset.title} ({name})\n")
        for label, value in (
            ("what", asset.description),
            ("state", f"{states[name]}, {size(asset.bytes)}"),
            ("licence", asset.licence),
            ("cite", asset.citation),
            ("home page", asset.url),
        ):
            print(textwrap.fill(value, width=100, initial_indent=f"  {label:<11}", subsequent_indent=" " * 13))
        print()
    return 0


def size(count: int) -> str:
    """Bytes for people, in decimal units: 17_000_000 is "17 MB"."""
    if not count:
        return "with pip"
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000  # type: ignore[assignment]
    return f"{count:.1f} GB"
