"""Reading CSV and JSONL with errors that name the line."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import NamedTuple

DELIMITERS = (",", ";", "\t")


class Row(NamedTuple):
    """One labelled text, and the line of the file on which it starts."""

    line: int
    text: str
    label: str


def read_csv(path: Path, text: str, label: str, encoding: str | None) -> list[Row]:
    """Rows of a file with a header; separated by commas, semicolons or tabs, whichever fits the header."""
    content = decode(path, encoding)
    lines = content.split("\n", 1)
    header = lines[0].rstrip("\r")
    fits = (d for d in DELIMITERS if {text, label} <= set(next(csv.reader([header], delimiter=d), [])))
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=next(fits, ","), strict=True)
    rows: list[Row] = []
    columns: list[str] = []
    line = 1
    try:
        for fields in reader:
            if not columns:
                columns = [name.strip() for name in fields]
                _require(path, columns, text, label)
            elif any(field.strip() for field in fields):
                rows.append(_row(path, line, columns, fields, text, label))
            line = reader.line_num + 1
    except csv.Error as error:
        hint = 'a quotation mark is not closed, or a text with quotation marks is not written as "like ""this"""'
        raise ValueError(f"{path}, line {line}: not valid CSV ({error}); {hint}") from error
    if not columns:
        raise ValueError(f"{path} is empty; the first line must name the columns, such as {text},{label}")
    return rows


def _row(path: Path, line: int, columns: list[str], fields: list[str], text: str, label: str) -> Row:
    if len(fields) != len(columns):
        raise ValueError(
            f"{path}, line {line}: {len(fields)} fields, but the header has {len(columns)} columns; "
            "put texts that contain the separator into quotation marks"
        )
    values = dict(zip(columns, fields, strict=True))
    return _checked(path, line, values[text], values[label], text, label)


def read_jsonl(path: Path, text: str, label: str, encoding: str | None) -> list[Row]:
    """Rows of a file with one JSON object a line."""
    rows = []
    for line, raw in enumerate(decode(path, encoding).split("\n"), start=1):
        if not raw.strip():
            continue
        try:
            entry = json.loads(raw)
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{path}, line {line}: not valid JSON ({error.msg} at column {error.colno}); "
                f'write one object a line, such as {{"{text}": "…", "{label}": "…"}}'
            ) from error
        if not isinstance(entry, dict):
            raise ValueError(f"{path}, line {line}: a JSON object was expected, not a {type(entry).__name__}")
        _require(path, list(entry), text, label, line)
        if not isinstance(entry[text], str | None):
            raise ValueError(f"{path}, line {line}: {text!r} must be a text, not a {type(entry[text]).__name__}")
        if isinstance(entry[label], dict | list):
            raise ValueError(f"{path}, line {line}: {label!r} must be one name or number, not several")
        value = "" if entry[label] is None else str(entry[label])
        rows.append(_checked(path, line, entry[text] or "", value, text, label))
    return rows


def decode(path: Path, encoding: str | None) -> str:
    """The file as text; raises ValueError naming the first line that is not in the encoding."""
    raw = path.read_bytes()
    if encoding is None and raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise ValueError(f"{path} is UTF-16; pass encoding='utf-16', or save it as UTF-8")
    try:
        content = raw.decode(encoding or "utf-8-sig")
    except LookupError as error:
        raise ValueError(f"encoding={encoding!r} is unknown; try 'utf-8', 'cp1252' or 'latin-1'") from error
    except UnicodeDecodeError as error:
        number = raw.count(b"\n", 0, error.start) + 1
        lines = raw.split(b"\n")
        line, others = lines[number - 1].rstrip(b"\r"), b"\n".join(lines[: number - 1] + lines[number:])
        raise ValueError(f"{path}, line {number}: {_remedy(line, others, encoding or 'utf-8')}") from error
    if "\0" in content:
        number = content[: content.index("\0")].count("\n") + 1
        raise ValueError(
            f"{path}, line {number}: a zero byte; this is no text file, or it is UTF-16: pass encoding='utf-16'"
        )
    return content


def _remedy(line: bytes, others: bytes, encoding: str) -> str:
    problem = f"{line[:60].decode('cp1252', 'replace')!r} is not {encoding.upper()}"
    if encoding == "utf-8" and not _is_ascii_or_broken(others):
        return f"{problem} but other lines are: the file mixes encodings; write this line anew and save all as UTF-8"
    return f"{problem}; pass encoding='cp1252' (Excel on Windows) or 'latin-1', or save the file as UTF-8"


def _is_ascii_or_broken(raw: bytes) -> bool:
    try:
        return raw.decode("utf-8").isascii()
    except UnicodeDecodeError:
        return True


def _require(path: Path, columns: list[str], text: str, label: str, line: int = 1) -> None:
    for argument, name in (("text", text), ("label", label)):
        if name not in columns:
            there = ", ".join(map(repr, columns))
            raise ValueError(
                f"{path}, line {line}: no column {name!r}; there are {there}; pass {argument}='…' with one"
            )


def _checked(path: Path, line: int, text: str, label: str, text_name: str, label_name: str) -> Row:
    for name, value in ((text_name, text), (label_name, label)):
        if not value.strip():
            raise ValueError(f"{path}, line {line}: {name!r} is empty; fill it in, or delete the line")
    return Row(line, text.strip(), label.strip())
