"""What every lesson and every exercise has: each rule returns a list of problems, empty when all is well."""

from __future__ import annotations

import ast
import html
import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
from IPython.core.inputtransformer2 import TransformerManager

from tlcourse.checks.generate import BEGIN, STUB
from tlcourse.lesson.outputs import WIDGET, code_hash

Notebook = nbformat.NotebookNode
LARGEST = 1_500_000  # bytes
OPENING = ("You will be able to", "Before you start", "Time")
CLOSING = ("when it fails", "go further", "references")
TITLE = r"### Exercise (\d+)\.(\d+) · .+ \(([●○]{5}), (\d+) minutes\)"


def markdown(notebook: Notebook) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def code_cells(notebook: Notebook) -> list[Notebook]:
    """The code cells that are run everywhere."""
    return [c for c in notebook.cells if c.cell_type == "code" and "nbval-skip" not in c.metadata.get("tags", [])]


def calls(source: str, owner: str) -> list[str]:
    """Names of the methods that `source` calls on the variable `owner`."""
    tree = ast.parse(TransformerManager().transform_cell(source))
    return [
        node.func.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == owner
    ]


def file_problems(path: Path) -> Iterator[str]:
    """Valid, of a modest size, with ids that are there and unique, for the kernel that everyone has."""
    raw = json.loads(path.read_text(encoding="utf-8"))
    ids = [cell.get("id") for cell in raw["cells"]]
    if None in ids or len(set(ids)) < len(ids):
        yield "cell ids are missing or not unique"
    if path.stat().st_size > LARGEST:
        yield f"{path.stat().st_size / 1e6:.2f} MB; keep it under {LARGEST / 1e6} MB"
    if raw["metadata"].get("kernelspec", {}).get("name") != "python3":
        yield "the kernel should be python3"
    if "widgets" in raw["metadata"]:
        yield "the state of widgets is saved"
    try:
        nbformat.validate(raw)
    except nbformat.ValidationError as error:
        yield f"not a valid notebook: {error.message}"


def opening_problems(notebook: Notebook, stem: str) -> Iterator[str]:
    """Title, question, goals, prerequisites and time stand in this order before the first code."""
    first_code = next((i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"), len(notebook.cells))
    text = "\n\n".join(cell.source for cell in notebook.cells[:first_code])
    if not re.match(rf"# {stem[:2]} · \S", text):
        yield f"should begin with the title '# {stem[:2]} · …'"
    parts = re.split(r"^(?:#+\s*|\*\*)(" + "|".join(OPENING) + r")\b[.:]?(?:\*\*)?", text, flags=re.MULTILINE)
    if tuple(parts[1::2]) != OPENING:
        yield f"before the first code should stand, in this order: {', '.join(OPENING)}; found {parts[1::2]}"
        return
    question = parts[0].split("\n", 1)[-1]
    if len(re.findall(r"\?[*_]*(?=\s|$)", question)) != 1:
        yield "the title should be followed by the lesson's question, one sentence that ends in '?'"
    goals = re.findall(r"^\s*(?:[-*]|\d+\.)\s+\S", parts[2], re.MULTILINE)
    if not 3 <= len(goals) <= 5:
        yield f"You will be able to: {len(goals)} points, should be 3 to 5"
    for unit, words in {"minutes": r"\d\s*min", "seconds": r"\d\s*s(ec|\b)", "memory": r"\d\s*[GM]B"}.items():
        if not re.search(words, parts[6]):
            yield f"Time: the {unit} are missing"


def body_problems(notebook: Notebook, stem: str) -> Iterator[str]:
    """One start, three claims or more, one finish at the end; from lesson 01 on an explorer, a quiz and a close."""
    code = code_cells(notebook)
    used = [name for cell in code for name in calls(cell.source, "lesson")]
    if not code or f'lesson = tl.start("{stem}"' not in code[0].source:
        yield f'the first code cell should call lesson = tl.start("{stem}")'
    if used.count("finish") != 1 or calls(code[-1].source, "lesson")[-1:] != ["finish"]:
        yield "lesson.finish() should be called once, at the end of the last code cell that is always run"
    facts = [output.metadata["tlcourse"]["finish"] for _, output in displayed(notebook) if "finish" in marks(output)]
    if len(facts) != 1 or len(facts[0]["claims"]) < 3:
        yield "the saved outputs should end with a summary of at least 3 claims"
    elif any(not claim.startswith("✓") for claim in facts[0]["claims"]):
        yield "a claim failed in the saved outputs"
    text = markdown(notebook)
    if text.count("<details>") != text.count("</details>"):
        yield "a <details> is not closed"
    if stem[:2] == "00":
        return
    for name in ("explorer", "quiz"):
        if used.count(name) != 1:
            yield f"lesson.{name} is called {used.count(name)} times, should be once"
    if "<details>" not in text or not re.search(r"\*\*Predict", text):
        yield "should ask the reader for a prediction (**Predict.** …, the answer in <details>)"
    bold = " ".join(re.findall(r"^#+ .+$|\*\*.+?\*\*", text, re.MULTILINE)).lower()
    for part in CLOSING:
        wanted = r"when (it|this) fails" if part == "when it fails" else part
        if not re.search(wanted, bold):
            yield f"no heading or bold words {part!r}"


def displayed(notebook: Notebook) -> Iterator[tuple[Notebook, Any]]:
    """Cells and their displayed outputs."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type in ("display_data", "execute_result"):
                yield cell, output


def marks(output: Any) -> dict[str, Any]:
    return dict(output.metadata.get("tlcourse", {}))


def output_problems(notebook: Notebook) -> Iterator[str]:
    """Outputs are fresh, whole and can be read by everyone."""
    if notebook.metadata.get("tlcourse", {}).get("code_hash") != code_hash(notebook):
        yield "the outputs are stale: run make outputs"
    for cell in notebook.cells:
        allowed = "raises-exception" in cell.metadata.get("tags", [])
        for output in cell.get("outputs", []):
            if output.output_type == "error" and not allowed:
                yield f"cell {cell.id}: an error is saved: {output.ename}"
            if output.output_type == "stream" and output.name == "stderr":
                yield f"cell {cell.id}: text on stderr: {output.text.strip()[:100]}"
    for cell, output in displayed(notebook):
        if {WIDGET, "application/javascript"} & set(output.data) or "<script" in output.data.get("text/html", ""):
            yield f"cell {cell.id}: a widget or a script is saved"
        picture = any(kind.startswith("image/") for kind in output.data) or "<img" in output.data.get("text/html", "")
        if picture and not has_alt(output):
            yield f"cell {cell.id}: a figure without alt text; use lesson.show"


def has_alt(output: Any) -> bool:
    """Whether the figure's text stands in its `<img>`, where it reaches a screen reader."""
    alt = str(marks(output).get("alt", ""))
    return bool(alt) and f'alt="{html.escape(alt)}"' in output.data.get("text/html", "")


def picture_problems(notebook: Notebook) -> Iterator[str]:
    """Pictures in the text have alt texts too."""
    text = markdown(notebook)
    for found in re.findall(r"!\[\s*\]\([^)]*\)", text):
        yield f"a picture without alt text: {found}"
    for found in re.findall(r"<img[^>]*>", text):
        if not re.search(r'alt="[^"]{4,}"', found):
            yield f"a picture without alt text: {found}"


def lesson_problems(path: Path) -> list[str]:
    """Everything that is wrong with the lesson in `path`."""
    notebook, stem = nbformat.read(path, as_version=4), path.stem
    rules = (file_problems(path), opening_problems(notebook, stem), body_problems(notebook, stem))
    return [problem for rule in (*rules, output_problems(notebook), picture_problems(notebook)) for problem in rule]


def exercise_problems(path: Path) -> list[str]:
    """Everything that is wrong with the solution or exercise notebook in `path`."""
    notebook = nbformat.read(path, as_version=4)
    return [*file_problems(path), *_exercise_rules(notebook, path.stem), *picture_problems(notebook)]


def _exercise_rules(notebook: Notebook, stem: str) -> Iterator[str]:
    """3 to 6 exercises, each with difficulty, minutes, 2 or 3 hints, a place to write and a graded check."""
    heads = [i for i, cell in enumerate(notebook.cells) if cell.source.startswith("### Exercise")]
    if not 3 <= len(heads) <= 6:
        yield f"{len(heads)} exercises, should be 3 to 6"
    for number, (begin, end) in enumerate(pairwise([*heads, len(notebook.cells)]), start=1):
        part, name = notebook.cells[begin:end], f"exercise {number}"
        title = re.match(TITLE, part[0].source)
        if not title or (int(title[1]), int(title[2])) != (int(stem[:2]), number):
            like = f"### Exercise {int(stem[:2])}.{number} · Name  (●●○○○, 15 minutes)"
            yield f"{name}: the title should be like {like!r}"
        elif "○●" in title[3] or title[3][0] == "○":
            yield f"{name}: the difficulty should be one to five ● followed by ○"
        hints = len(re.findall(r"<details>\s*<summary>Hint \d", "\n".join(cell.source for cell in part)))
        if hints not in (2, 3):
            yield f"{name}: {hints} hints, should be 2 or 3"
        if not any(BEGIN in cell.source or STUB.split("\n")[0] in cell.source for cell in part):
            yield f"{name}: no place for an answer"
        graded = [c for c in part if any(re.fullmatch(r"points-\d+", tag) for tag in c.metadata.get("tags", []))]
        if not any(calls(cell.source, "check") for cell in graded if cell.cell_type == "code"):
            yield f"{name}: no graded cell (tag points-N) calls a check"
        for cell in part:
            if cell.cell_type == "code" and len(calls(cell.source, "check")) > 1:
                yield f"{name}: a cell calls two checks; the first would hide the second"
