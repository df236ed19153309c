"""The file that a participant of the capstone hands in.

    # {"method": "frozen probe, 64 px", "cpu_seconds": 3.1, "validation": 0.28}
    id,label
    t000,face
    …

The first line says how the labels were made: in words, in how many seconds of CPU time, and which balanced accuracy the
method had on labelled pictures that it had not learned from. Below, one line for each test picture.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from jaxtyping import Int
from torch import Tensor

from tlcourse.data.capstone import Capstone

HEADER = ["id", "label"]
FACTS = ("method", "cpu_seconds", "validation")
LONGEST, MOST_SECONDS = 200, 1e6  # of the words for the method, and of a run that anybody would wait for
EXAMPLE = '# {"method": "frozen probe, 64 px", "cpu_seconds": 3.1, "validation": 0.28}'


class SubmissionError(ValueError):
    """A file that cannot be scored; the message says what to change."""


@dataclass(frozen=True)
class Submission:
    """What was handed in: `labels` by id, and what the first line says."""

    labels: Mapping[str, str]
    method: str
    cpu_seconds: float
    validation: float


def write(
    path: str | Path,
    labels: Int[Tensor, " n"] | Sequence[int],
    *,
    task: Capstone,
    method: str,
    cpu_seconds: float,
    validation: float,
) -> Path:
    """Write a submission: class numbers in the order of `task.test`. Returns the path.

    Raises ValueError for another number of labels, numbers that are no class, or facts that make no sense.
    """
    numbers = [int(label) for label in labels]
    if len(numbers) != len(task.ids):
        raise ValueError(f"labels has {len(numbers)} entries; give one for each of the {len(task.ids)} test pictures")
    if not all(0 <= number < len(task.classes) for number in numbers):
        raise ValueError(f"labels run from {min(numbers)} to {max(numbers)}; give 0 to {len(task.classes) - 1}")
    facts = checked({"method": method, "cpu_seconds": round(cpu_seconds, 2), "validation": round(validation, 4)})
    rows = [f"{name},{task.classes[number]}" for name, number in zip(task.ids, numbers, strict=True)]
    lines = [f"# {json.dumps(facts, ensure_ascii=False)}", ",".join(HEADER), *rows]
    path = Path(path)
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def read(path: str | Path, *, ids: Sequence[str], classes: Sequence[str]) -> Submission:
    """Read a submission for these pictures and classes.

    Raises SubmissionError, naming the line, for a file that is not as the module's text says.
    """
    lines = _lines(Path(path))
    facts = _facts(lines[0])
    if len(lines) < 2 or _cells(lines[1]) != HEADER:
        found = lines[1].strip() if len(lines) > 1 else "nothing"
        raise SubmissionError(f"line 2 is {found[:60]!r}; it should be the header: id,label")
    labels = _labels(lines[2:], ids, classes)
    return Submission(labels={name: labels[name] for name in ids}, **facts)


def checked(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of the first line. Raises SubmissionError for a missing or unknown one, or one that makes no sense."""
    missing, unknown = [name for name in FACTS if name not in facts], sorted(set(facts) - set(FACTS))
    if missing or unknown:
        wrong = f"lacks {', '.join(missing)}" if missing else f"has {', '.join(unknown)}, which nobody asked for"
        raise SubmissionError(f"line 1 {wrong}; write it as in: {EXAMPLE}")
    if not isinstance(facts["method"], str) or not facts["method"].strip():
        raise SubmissionError("method is empty or no text; say in a few words how the labels were made")
    if len(facts["method"]) > LONGEST or not facts["method"].isprintable():
        raise SubmissionError(f"method is longer than {LONGEST} characters or has line breaks; give one short line")
    for name, top in (("cpu_seconds", MOST_SECONDS), ("validation", 1.0)):
        value = facts[name]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 <= value <= top:
            wanted = "a share between 0 and 1, as 0.43 for 43 %" if name == "validation" else "seconds, 0 or more"
            raise SubmissionError(f"{name} is {repr(value)[:40]}; give {wanted}, as a number without quotes")
    return {"method": facts["method"].strip(), **{name: float(facts[name]) for name in FACTS[1:]}}


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "not there"
        raise SubmissionError(f"{path} is {kind}; give the CSV file (the current folder is {Path.cwd()})")
    try:
        lines = path.read_bytes().decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise SubmissionError(f"{path} is no UTF-8 text (byte {error.start}); save it as CSV in UTF-8") from None
    if not any(line.strip() for line in lines):
        raise SubmissionError(f"{path} is empty; write it with tlcourse.checks.submissions.write")
    return lines


def _facts(line: str) -> dict[str, Any]:
    if not line.startswith("#"):
        quoted = " (a spreadsheet has put quotes round it: mend it in a text editor)" if line.startswith('"#') else ""
        raise SubmissionError(f"line 1 is {line[:60]!r}{quoted}; it should say how it was made, as in: {EXAMPLE}")
    try:
        facts = json.loads(line.lstrip("# "), object_pairs_hook=_once)
    except SubmissionError:
        raise
    except json.JSONDecodeError as error:
        raise SubmissionError(f"line 1 is no JSON after the # ({error.msg}); write it as in: {EXAMPLE}") from None
    except (ValueError, RecursionError):  # numbers of thousands of digits, brackets in brackets without end
        raise SubmissionError(f"line 1 cannot be read; write it as in: {EXAMPLE}") from None
    if not isinstance(facts, dict):
        raise SubmissionError(f"line 1 holds a {type(facts).__name__}; write names and values, as in: {EXAMPLE}")
    return checked(facts)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    twice = sorted(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
    if twice:
        raise SubmissionError(f"line 1 says {', '.join(twice)} twice; give each once, as in: {EXAMPLE}")
    return dict(pairs)


def _cells(line: str) -> list[str]:
    """The columns of a line; a line that no CSV reader takes is one column."""
    try:
        return [cell.strip() for cell in next(csv.reader([line]), [])]
    except csv.Error:
        return [line]


def _labels(lines: Sequence[str], ids: Sequence[str], classes: Sequence[str]) -> dict[str, str]:
    """Labels by id. Every id once, every label a class."""
    known, labels, seen = set(ids), {}, Counter[str]()
    for number, line in enumerate(lines, start=3):
        if not line.strip():
            continue
        cells = _cells(line)
        if len(cells) != len(HEADER):
            raise SubmissionError(f"line {number} has {len(cells)} columns ({line[:60]!r}); give two: id,label")
        name, label = cells
        if name not in known:
            raise SubmissionError(f"line {number}: {name!r} is no test picture; ids run from {ids[0]} to {ids[-1]}")
        if label not in classes:
            near = get_close_matches(label.lower(), classes, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise SubmissionError(f"line {number}: {label!r} is no class.{hint} There are: {', '.join(classes)}")
        seen[name] += 1
        labels[name] = label
    twice = [name for name, count in seen.items() if count > 1]
    if twice:
        raise SubmissionError(f"these ids stand there more than once: {_some(twice)}; give each picture one label")
    missing = [name for name in ids if name not in labels]
    if missing:
        raise SubmissionError(
            f"{len(labels)} of {len(ids)} pictures have a label; missing: {_some(missing)}. Guess where you do not know"
        )
    return labels


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
