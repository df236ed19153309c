"""Relative links of the repository as links of the site."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection
from pathlib import Path
from urllib.parse import unquote

CODE = r"(?P<code>^(```|~~~).*?^\2|`[^`\n]*`)"
TARGET = r"(?P<open>!?\[(?P<text>[^\]]*)\]\()(?P<url>[^)\s]+)(?P<close>\))"
LINK = re.compile(f"{CODE}|{TARGET}", re.MULTILINE | re.DOTALL)
OUTSIDE = re.compile(r"[a-z][a-z0-9+.-]*:")


def rewriter(
    page: Path, *, root: Path, pages: Collection[Path], renamed: dict[Path, Path], take: Callable[[Path], None]
) -> Callable[[str], str]:
    """A function that rewrites the links of `page` (a path below `root`).

    `pages` are the files that the site has as pages, `renamed` those among them that have another name there; other
    files are handed to `take`, to be copied for download.
    """
    here = root / renamed.get(page.relative_to(root), page.relative_to(root))

    def one(found: re.Match[str]) -> str:
        if found["code"] or OUTSIDE.match(found["url"]) or found["url"].startswith("#"):
            return found[0]
        file, _, anchor = unquote(found["url"]).partition("#")
        target = (page.parent / file).resolve()
        if not target.exists() or not target.is_relative_to(root):
            return found[0]
        name = target.relative_to(root)
        if target.is_dir():
            name, anchor = Path("index.md"), ""
        elif name not in pages:
            take(name)
            if name.suffix in (".ipynb", ".md"):  # Sphinx would look for a page
                return f"{{download}}`{found['text']} <{Path(os.path.relpath(root / name, here.parent)).as_posix()}>`"
        there = root / renamed.get(name, name)
        address = Path(os.path.relpath(there, here.parent)).as_posix()
        return f"{found['open']}{address}{'#' + _slug(anchor) if anchor else ''}{found['close']}"

    return lambda text: LINK.sub(one, text)


def _slug(anchor: str) -> str:
    """The anchor of a heading as MyST makes it, from the forms of GitHub and JupyterLab."""
    return re.sub(r"[^\w\- ]", "", anchor.lower()).replace(" ", "-")
