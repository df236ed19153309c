"""Errors that speak to the reader: shown as a few lines of text, without a traceback."""

from __future__ import annotations

import re
import textwrap


class Friendly(Exception):
    """An error whose message is all that the reader needs to see."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of the traceback."""
        return ["\n".join(_wrap(line) for line in f"✗ {self}".splitlines())]


def _wrap(line: str) -> str:
    """`line` broken between words, its further lines indented below where its text begins."""
    label = re.match(r"\s*(?:Tried:|Came out:|Likely:|✗)?\s*", line)
    indent = " " * (label.end() if label else 0)
    return textwrap.fill(line, 96, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


class CheckFailed(Friendly):
    """An answer that does not hold, with what was tried, what came out and the likely misconception."""

    def __init__(self, *, tried: str = "", got: str = "", misconception: str = "", name: str = "") -> None:
        self.tried, self.got, self.misconception, self.name = tried, got, misconception, name
        super().__init__(tried, got, misconception)

    def __str__(self) -> str:
        rows = {"Tried": self.tried, "Came out": self.got, "Likely": self.misconception}
        lines = [f"  {label + ':':<10}{text}" for label, text in rows.items() if text]
        return "\n".join([self.name, *lines] if self.name else lines).strip()
