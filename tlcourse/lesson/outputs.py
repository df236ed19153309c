"""What is saved of a lesson's outputs, and how one sees that they are stale."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from nbformat import NotebookNode

_BAR = re.compile(r"\d%\||\d(it|cell|s)?/\w+\]|\[\d+:\d+<")  # as tqdm draws them
WIDGET = "application/vnd.jupyter.widget-view+json"


def code_hash(notebook: NotebookNode) -> str:
    """Hash of the code cells: outputs saved under another one are stale."""
    sources = [cell.source.rstrip() for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\0".join(sources).encode()).hexdigest()


def clean(notebook: NotebookNode) -> None:
    """Leave what a reader needs, and what does not change from run to run without a reason.

    Widgets become their first frame, quizzes a line of text, and progress bars go. Other messages on stderr stay, so
    that their author sees them.
    """
    notebook.metadata.pop("widgets", None)
    notebook.metadata.kernelspec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata.language_info = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in map(_kept, cell.outputs) if output is not None]
            cell.outputs = _one_quiz_line(cell.outputs)


def _kept(output: Any) -> Any:
    """`output` as it is saved, or None."""
    if output.output_type == "stream":
        if output.name == "stderr":
            output.text = _without_bars(output.text)
        return output if output.text else None
    if output.output_type not in ("display_data", "execute_result"):
        return output
    output.data.pop(WIDGET, None)
    if count := output.metadata.get("tlcourse", {}).get("quiz"):
        line = f"Quiz of {count} questions: run this notebook to answer them."
        output.data = NotebookNode({"text/markdown": f"*{line}*", "text/plain": line})
    return output if set(output.data) - {"text/plain"} or "tlcourse" in output.metadata or _is_result(output) else None


def _is_result(output: Any) -> bool:
    """Whether plain text is worth keeping: not the mere name of a widget."""
    text = output.data.get("text/plain", "")
    return bool(text) and "IPY_MODEL_" not in text and not text.startswith(("VBox(", "HBox(", "Output("))


def _without_bars(text: str) -> str:
    """`text` without the states of progress bars, which end in carriage returns."""
    kept = [line for line in re.split(r"[\r\n]+", text) if line.strip() and not _BAR.search(line)]
    return "".join(f"{line}\n" for line in kept)


def _one_quiz_line(outputs: list[Any]) -> list[Any]:
    """A quiz is several outputs; its line of text is needed once."""
    kept, seen = [], False
    for output in outputs:
        is_quiz = bool(output.get("metadata", {}).get("tlcourse", {}).get("quiz"))
        if not (is_quiz and seen):
            kept.append(output)
        seen = seen or is_quiz
    return kept
