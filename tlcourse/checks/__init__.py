"""The checks of the exercises: one module per lesson, `from tlcourse.checks import lesson01 as check`."""

from __future__ import annotations

import ast
from pathlib import Path


def names() -> dict[str, tuple[str, ...]]:
    """Names of the checks of each lesson, {"01": ("few_labels", …)}, in the order of the file.

    Reads the source instead of importing it, because the checks import torch.
    """
    found = {}
    for file in sorted(Path(__file__).parent.glob("lesson[0-9][0-9].py")):
        body = ast.parse(file.read_text(encoding="utf-8")).body
        found[file.stem.removeprefix("lesson")] = tuple(
            node.name
            for node in body
            if isinstance(node, ast.FunctionDef)
            and any(isinstance(mark, ast.Name) and mark.id == "check" for mark in node.decorator_list)
        )
    return found
