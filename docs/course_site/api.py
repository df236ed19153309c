"""Pages of the package's rooms, and docstrings made fit for Sphinx."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

FORMULAS = Path(__file__).parents[1] / "formulas.toml"
CODE_LINE = re.compile(r"^(>>> |tlcourse |python |make |from |import |[\w., ]+ = \S+\()")
ROW = re.compile(r"(\w+): {1,}(\S.*)")
SIGNATURE = re.compile(r'<dt class="sig.*?</dt>', re.DOTALL)
PAPER = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


def pages(package: Path) -> dict[str, str]:
    """Text of each page by its name: an index, and one page for each folder of the package."""
    rooms = sorted(path.parent for path in package.glob("*/__init__.py"))
    texts = {f"api/{room.name}.rst": _room(room) for room in rooms}
    toc = "\n".join(f"   {room.name}" for room in rooms)
    texts["api/index.rst"] = (
        f"{_title('The package tlcourse')}Every method that a lesson explains is a short file of this package. "
        "Signatures carry the shapes of tensors; docstrings name the paper and its equation.\n\n"
        f".. toctree::\n   :maxdepth: 1\n\n{toc}\n"
    )
    return texts


def _room(room: Path) -> str:
    modules = sorted(path.stem for path in room.glob("*.py") if not path.stem.startswith("_"))
    head = f"{_title(f'tlcourse.{room.name}')}.. automodule:: tlcourse.{room.name}\n   :no-members:\n"
    return head + "".join(
        f"\n{_title(f'{room.name}/{name}.py', '-')}.. automodule:: tlcourse.{room.name}.{name}\n   :members:\n"
        for name in modules
        if not re.fullmatch(r"lesson\d\d", name)  # the checks of exercises would spoil them
    )


def _title(text: str, line: str = "=") -> str:
    return f"{text}\n{line * len(text)}\n\n"


def formulas() -> dict[str, list[str]]:
    """TeX of the formulas by the full name of what they belong to."""
    table = tomllib.loads(FORMULAS.read_text(encoding="utf-8"))
    return {f"tlcourse.{room}.{name}": tex for room, names in table.items() for name, tex in names.items()}


def process(app: Any, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Sphinx's hook for docstrings: plain text and `code` become reStructuredText, formulas are added."""
    for file in (FORMULAS, Path(__file__)):
        app.env.note_dependency(str(file))
    lines[:] = restructured(lines)
    for tex in formulas().get(name, ()):
        lines += ["", ".. math::", "", *(f"   {line}" for line in tex.strip().splitlines()), ""]


def plain_signatures(app: Any, name: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Sphinx's hook for pages: the lines of a signature are no list of definitions, as a screen reader would say."""
    if "body" in context and name.startswith("api/"):
        context["body"] = SIGNATURE.sub(_plain, context["body"])


def _plain(found: re.Match[str]) -> str:
    lines = re.sub(r"<dd>", '<div class="sig-line">', found[0]).replace("</dd>", "</div>")
    return lines.replace("<dl>", "<div>").replace("</dl>", "</div>")


def skip(app: Any, what: str, name: str, obj: object, skipped: bool, options: object) -> bool | None:
    """Sphinx's hook for members: what another library wrote has pages of its own."""
    home = getattr(obj, "__module__", None) or "tlcourse"
    return True if not str(home).startswith("tlcourse") and callable(obj) else None


def restructured(lines: list[str]) -> list[str]:
    """A docstring of plain paragraphs, lists, `name: meaning` rows and `code` as reStructuredText."""
    made: list[str] = []
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines)):
        rows = paragraph.splitlines()
        if not rows:
            continue
        if all(row.startswith("    ") for row in rows) or CODE_LINE.match(rows[0]):
            made += ["::", "", *(f"    {row}" for row in rows), ""]
        else:
            made += _paragraph(rows)
    return made


def _paragraph(rows: list[str]) -> list[str]:
    """Lists are set off by blank lines, as reStructuredText wants them; other rows are one paragraph."""
    blocks: list[str] = []
    table = sum(bool(ROW.match(row)) for row in rows) > 1
    for row in rows:
        item = re.match(r"\s*(?:-|\d+\.) (.*)", row)
        field = ROW.match(row) if table else None
        if item or field:
            blocks.append(f"- {item[1]}" if item else f"- `{field[1]}`: {field[2]}" if field else "")
        elif blocks and (row.startswith(" ") or not blocks[-1].startswith("- ")):
            blocks[-1] += f" {row.strip()}"
        else:
            blocks.append(row.strip())
    return [line for block in blocks for line in (_inline(block), "")]


def _inline(text: str) -> str:
    parts = re.split(r"(`+[^`]+`+)", text)
    return "".join(_code(part) if index % 2 else _escaped(part) for index, part in enumerate(parts))


def _code(part: str) -> str:
    return f"``{' '.join(part.strip('`').split())}``"


def _escaped(part: str) -> str:
    text = re.sub(r"([\\*|_])", r"\\\1", part)
    return PAPER.sub(r"`arXiv:\1 <https://arxiv.org/abs/\1>`__", text)
