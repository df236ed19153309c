"""Tables that a screen reader can walk through: a caption, and headers for every column and row."""

from __future__ import annotations

import html
from collections.abc import Sequence


def table(rows: Sequence[Sequence[object]], *, columns: Sequence[str], caption: str) -> None:
    """Display `rows` as an HTML table; the first entry of each row is its header.

    Floats are shown with three digits. Raises ValueError for an empty table, an uneven row or a missing caption.
    """
    from IPython.display import display

    names = [str(name) for name in columns]
    cells = [[_text(value) for value in row] for row in rows]
    if not names or not cells:
        raise ValueError("a table needs at least one row and one column")
    if not caption.strip():
        raise ValueError("caption is empty: say in a sentence what the table shows")
    for number, row in enumerate(cells):
        if len(row) != len(names):
            raise ValueError(f"row {number} has {len(row)} entries for {len(names)} columns ({', '.join(names)})")
    right = [all(_is_number(row[column]) for row in rows) for column in range(len(names))]
    bundle = {"text/html": _html(cells, names, caption, right), "text/plain": _plain(cells, names, caption)}
    display(bundle, raw=True, metadata={"tlcourse": {"caption": caption}})


def _text(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _is_number(value: object) -> bool:
    if isinstance(value, str):
        return value.lstrip("+-−").replace("%", "").strip()[:1].isdigit()
    return not isinstance(value, bool)


def _html(cells: list[list[str]], names: list[str], caption: str, right: list[bool]) -> str:
    def cell(tag: str, column: int, text: str, scope: str = "") -> str:
        side = "right" if right[column] and column else "left"
        return f'<{tag}{scope} style="text-align:{side}">{html.escape(text)}</{tag}>'

    head = "".join(cell("th", column, name, ' scope="col"') for column, name in enumerate(names))
    body = "".join(
        "<tr>"
        + "".join(
            cell("td", column, text) if column else cell("th", column, text, ' scope="row"')
            for column, text in enumerate(row)
        )
        + "</tr>\n"
        for row in cells
    )
    title = f'<caption style="caption-side:top;text-align:left;padding:4px 0">{html.escape(caption)}</caption>'
    start = f'<table style="min-width:min(100%,520px)">\n{title}'
    return f"{start}\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>"


def _plain(cells: list[list[str]], names: list[str], caption: str) -> str:
    widths = [max(len(row[column]) for row in [names, *cells]) for column in range(len(names))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in [names, *cells]]
    return "\n".join([caption, *lines])
