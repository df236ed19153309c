"""Relative links and #anchors of notebooks and Markdown files lead somewhere (offline)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    path
    for folder in (
        ROOT,
        ROOT / "docs",
        ROOT / "docs" / "teaching",
        ROOT / "notebooks",
        ROOT / "solutions",
        ROOT / "exercises",
    )
    for path in (*folder.glob("*.md"), *folder.glob("*.ipynb"))
)
LINK = re.compile(r"(?<!\\)\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)|(?:href|src)=[\"']([^\"']+)")
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*$", re.MULTILINE)
CODE = re.compile(r"^(```|~~~).*?^\1|<!--.*?-->|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def prose(path: Path) -> str:
    """The Markdown of a page without code and comments, where a link is not a link."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells)
    return CODE.sub("", text)


def anchors(path: Path) -> set[str]:
    """The #anchors of a page, in the forms of GitHub (lower case) and JupyterLab (as written)."""
    found = set(re.findall(r"<a\s+(?:id|name)=[\"']([^\"']+)", prose(path)))
    for heading in HEADING.findall(prose(path)):
        found.add(heading.replace(" ", "-"))
        found.add(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-"))
    return found


def broken(path: Path) -> list[str]:
    """The relative links of a page that lead nowhere."""
    bad = []
    for match in LINK.finditer(prose(path)):
        url = match[1] or match[2]
        if re.match(r"[a-z][a-z0-9+.-]*:", url):  # https:, mailto:, attachment:
            continue
        file, _, anchor = unquote(url).partition("#")
        target = path.parent / file if file else path
        readable = target.suffix in (".md", ".ipynb")
        if not target.exists() or (anchor and readable and anchor not in anchors(target)):
            bad.append(url)
    return bad


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_broken_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# A heading, with a comma\n")
    cells = [
        {"cell_type": "markdown", "source": ["[a](other.md) [b](gone.md) [c](other.md#a-heading-with-a-comma)\n"]},
        {"cell_type": "markdown", "source": ["![d](gone.png) <img src='gone.svg'> [e](other.md#elsewhere)\n"]},
        {"cell_type": "code", "source": ["x[0](gone.py)"]},
    ]
    page = tmp_path / "page.ipynb"
    page.write_text(json.dumps({"cells": cells}))
    assert broken(page) == ["gone.md", "gone.png", "gone.svg", "other.md#elsewhere"]
