"""How many small faults the tests of a package notice.

    python tests/mutation/run.py peft shift --sample 40 --seed 1 --write

Draws mutants of the package's files (mutants.py), tries each in a copy of the project (trial.py) with the tests in
tests/<package>, and prints those that no test noticed. A mutant on which the tests take longer than a minute counts as
noticed. `--write` adds the run to results.json, from which RESULTS.md is made. `--only tlcourse/peft/lora.py:34` tries
every mutant of a file or line. Survivors that compute the same as the original are named in equivalent.json; they
count as survivors all the same, and the last column leaves them out.
"""

from __future__ import annotations

import argparse
import ast
import json
import math
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mutants import enumerate_mutants, sample
from trial import WARM, Project

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def main(arguments: Sequence[str]) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", nargs="+", help="such as peft")
    parser.add_argument("--sample", type=int, default=40, help="mutants of each package")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop drawing after so long, for each package")
    parser.add_argument("--only", default="", help="FILE or FILE:LINE: all mutants there")
    parser.add_argument("--note", default="", help="a remark for the table")
    parser.add_argument("--root", type=Path, default=ROOT, help="the project")
    parser.add_argument("--cold", action="store_true", help="import no heavy library first: for a small project")
    parser.add_argument("--write", action="store_true", help="add to results.json and RESULTS.md")
    chosen = parser.parse_args(arguments)
    for package in chosen.packages:
        row = run(chosen.root.resolve(), package, chosen)
        print(json.dumps({key: value for key, value in row.items() if key != "survivors"}))
        if chosen.write and not chosen.only:
            write(row)
    return 0


def run(root: Path, package: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """One row of the table: a package, a sample and its survivors."""
    files = [str(path.relative_to(root)) for path in sorted((root / "tlcourse" / package).glob("*.py"))]
    everything = [mutant for file in files for mutant in enumerate_mutants(root, file)]
    drawn = sample(everything, chosen.sample, chosen.seed)
    if chosen.only:
        file, _, line = chosen.only.partition(":")
        drawn = [mutant for mutant in everything if mutant.file == file and line in ("", str(mutant.line))]
    random.Random(chosen.seed).shuffle(drawn)  # so that what --minutes leaves is a sample too
    project, began = Project(root, package, warm=() if chosen.cold else WARM), time.monotonic()
    survivors, late, tried = [], 0, 0
    try:
        project.learn()
        print(f"{package}: {len(everything)} mutants, {len(drawn)} drawn; {time.monotonic() - began:.0f} s", flush=True)
        for test in project.left_out:
            print(f"{test} fails without a mutant and is left out")
        for mutant in drawn:
            if time.monotonic() - began > 60 * chosen.minutes:
                break
            tried += 1
            start = time.monotonic()
            tests = project.files_for(mutant, body_of(root / mutant.file, mutant.line))
            verdict = project.judge(mutant, tests)
            late += verdict == "timeout"
            if verdict == "survived":
                survivors.append(asdict(mutant))
            place, seconds = f"{mutant.file}:{mutant.line}", time.monotonic() - start
            print(f"{verdict:9}{seconds:5.1f} s  {place}  {mutant.operator}\n    - {mutant.was}\n    + {mutant.now}")
            sys.stdout.flush()
    finally:
        project.close()
    return {
        "package": package,
        "seed": chosen.seed,
        "mutants": len(everything),
        "sampled": tried,
        "killed": tried - len(survivors),
        "timeouts": late,
        "seconds": round(time.monotonic() - began),
        "note": chosen.note,
        "left_out": project.left_out,
        "survivors": sorted(survivors, key=lambda mutant: (mutant["file"], mutant["line"])),
    }


def body_of(path: Path, line: int) -> range:
    """The lines in the body of the innermost function around a line; else of the class; else of the file."""
    tree = ast.parse(path.read_text("utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    around = [node for node in ast.walk(tree) if isinstance(node, (*kinds, ast.ClassDef)) and _spans(node, line)]
    if not around:
        return range(1, len(path.read_text("utf-8").splitlines()) + 1)
    inner = max(around, key=lambda node: node.lineno)
    first = inner.body[0].lineno if isinstance(inner, kinds) else inner.lineno
    return range(first, (inner.end_lineno or first) + 1)


def _spans(node: Any, line: int) -> bool:
    first = min([node.lineno, *(item.lineno for item in node.decorator_list)])
    return bool(first <= line <= node.end_lineno)


def wilson(killed: int, n: int) -> tuple[float, float]:
    """The 95 % interval of Wilson for a share."""
    if n == 0:
        return 0.0, 1.0
    z, share = 1.959964, killed / n
    middle, half = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


def write(row: dict[str, Any]) -> None:
    """Put the row in the place of the one with its package and seed, and make the page again."""
    path = HERE / "results.json"
    rows = json.loads(path.read_text("utf-8")) if path.exists() else []
    key = (row["package"], row["seed"], row["note"])
    rows = [other for other in rows if (other["package"], other["seed"], other["note"]) != key] + [row]
    rows.sort(key=lambda item: (item["package"], item["seed"], item["note"]))
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", "utf-8")
    known = json.loads((HERE / "equivalent.json").read_text("utf-8"))
    (HERE / "RESULTS.md").write_text(page(rows, known), "utf-8")


def page(rows: Sequence[dict[str, Any]], known: Sequence[dict[str, str]]) -> str:
    """The runs as a page in Markdown, and under them each survivor."""
    why = {(item["file"], item["was"], item["now"]): item["why"] for item in known}

    def reason(mutant: dict[str, Any]) -> str:
        return why.get((mutant["file"], mutant["was"].strip(), mutant["now"].strip()), "")

    head = [
        "package",
        "seed",
        "mutants",
        "drawn",
        "killed",
        "share",
        "95 % interval",
        "without equivalent ones",
        "note",
    ]
    lines = [
        "# Mutation tests",
        "",
        "Written by `python tests/mutation/run.py PACKAGE… --sample N --seed S --write`. A mutant is the package with",
        "one small fault; it is killed when a test of the package fails on it. The interval is Wilson's. The share",
        "counts mutants that compute the same as the original as survivors; the column after it leaves them out.",
        "",
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
    ]
    for row in rows:
        n, killed = row["sampled"], row["killed"]
        low, high = wilson(killed, n)
        same = sum(bool(reason(mutant)) for mutant in row["survivors"])
        cells = [row["package"], row["seed"], row["mutants"], n, killed, f"{killed / n:.0%}"]
        left_out = [f"without {Path(test).name}, which failed" for test in row.get("left_out", [])]
        remarks = "; ".join([row["note"], *left_out] if row["note"] else left_out)
        cells += [f"{low:.0%} to {high:.0%}", f"{killed / max(1, n - same):.0%}", remarks]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    for row in rows:
        lines += ["", f"## Survivors: {row['package']}, seed {row['seed']}{', ' * bool(row['note'])}{row['note']}", ""]
        for mutant in row["survivors"]:
            equivalent = f"  Equivalent: {reason(mutant)}." if reason(mutant) else ""
            lines += [f"- `{mutant['file']}:{mutant['line']}` {mutant['operator']}{equivalent}", "  ```diff"]
            lines += [f"  - {mutant['was']}", f"  + {mutant['now']}", "  ```"]
        if not row["survivors"]:
            lines.append("None.")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
