"""`tlcourse capstone`: the rules and a first solution, and the score of a submission."""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from tlcourse.cli.course import CommandError

SCRIPT = Path("my_capstone.py")
RULES = """\
The capstone: sort {test} noisy pictures into {classes} classes.
  {train} labelled pictures by one team of designers, {target} unlabelled ones like those of the test
  60 seconds of CPU time, from the first look at a picture to the last label; time.process_time() counts them
  the course's code and its ImageNet and text networks; nothing that was trained on emoji, and no emoji tables
  one label for each test picture; tune on labelled pictures only
classes: {names}"""


def run(arguments: argparse.Namespace) -> int:
    """Start or score; 1 when a score does not stand."""
    if arguments.action == "start":
        return start(Path(arguments.file or SCRIPT))
    if arguments.file is None:
        raise CommandError("which submission? Give the file: tlcourse capstone score my_capstone.csv")
    return score(Path(arguments.file), None if arguments.report is None else Path(arguments.report))


def start(path: Path) -> int:
    """Print the rules and write the weak reference as a script to begin with; what exists is not written over."""
    from tlcourse import data

    if path.exists():
        raise CommandError(f"{path} is there already. Give another name: tlcourse capstone start second.py")
    if path.suffix != ".py":
        raise CommandError(f"{path} should end in .py: it is the script that `start` writes for you to change")
    task = data.capstone()
    sizes = {"train": len(task.train), "target": len(task.target), "test": len(task.test)}
    print(RULES.format(**sizes, classes=len(task.classes), names=", ".join(task.classes)))
    _write(path, Path(__file__).with_name("capstone_start.py").read_text("utf-8"))
    print(
        f"\nwritten: {path}. Change METHOD and solve() in it, run it, and then: tlcourse capstone score my_capstone.csv"
    )
    return 0


def score(path: Path, report: Path | None) -> int:
    """Print the score of a submission, class by class, and write its report card."""
    from tlcourse.checks import capstone, submissions
    from tlcourse.data.capstone import CLASSES, TESTED, numbered
    from tlcourse.lesson import report_card

    if report is not None and report.suffix.lower() not in (".html", ".htm"):
        raise CommandError(f"{report} should end in .html: the report card is a web page")
    ids = numbered("t", TESTED * len(CLASSES))
    try:
        handed = submissions.read(path, ids=ids, classes=CLASSES)
    except submissions.SubmissionError as error:
        raise CommandError(str(error)) from None
    weak, strong = references()
    result = capstone.score(handed, weak=weak, strong=strong)
    print("\n".join(lines(result)))
    if report is not None:
        _write(report, report_card.page(result))
        print(f"report card: {report}")
    return int(not result.stands)


def references() -> tuple[float, float]:
    """Balanced accuracy of the weak and the strong reference, means over their seeds."""
    from tlcourse import recipes

    rows = [row for row in recipes.load("capstone_references")["rows"] if row["part"] == "official"]
    weak, strong = (
        statistics.mean(row["balanced_accuracy"] for row in rows if row["method"] == method)
        for method in ("weak", "strong")
    )
    return weak, strong


def lines(result) -> list[str]:  # type: ignore[no-untyped-def]  # Score is imported only when it is needed
    """What `score` prints."""
    mine = result.balanced_accuracy
    shown = [
        f"{result.submission.method} ({result.submission.cpu_seconds:.1f} s of CPU time)",
        f"balanced accuracy {mine.mean:.1%}, 95 % interval {mine.low:.1%} to {mine.high:.1%}",
        f"weak reference {result.weak:.1%}, strong reference {result.strong:.1%}: {place(result.position)}",
        "",
        f"{'class':<10} {'right':>6} {'given':>6}",
    ]
    shown += [f"{name:<10} {share:>6.0%} {result.given[name]:>6}" for name, share in result.recall.items()]
    marks = {"refused": "✗ refused:", "note": "· to explain:"}
    return [*shown, *(f"\n{marks[finding.kind]} {finding.text}" for finding in result.findings)]


def place(position: float) -> str:
    """Where a score lies between the references, in words."""
    if position < -0.02:
        return "you are below the weak one"
    return f"you are {abs(round(100 * position))} % of the way from one to the other"


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise CommandError(f"{path} cannot be written ({error.strerror}); choose a folder of yours") from None
