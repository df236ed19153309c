"""`tlcourse doctor`: what works on this machine and what to do about the rest."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from tlcourse.cli import checkup
from tlcourse.cli.finding import Check, Finding

_MARKS = {"ok": "✓", "note": "!", "problem": "✗"}


def run(arguments: argparse.Namespace) -> int:
    """Print the report; the exit status is 1 when something keeps the course from working."""
    findings = []
    if sys.stdout.isatty():
        print("Looking around (a few seconds) …\n", file=sys.stderr)
    for check in checkup.CHECKS:
        if arguments.offline and check in checkup.ONLINE:
            continue
        findings.append(examine(check))
    print(report(findings))
    return int(any(finding.state == "problem" for finding in findings))


def examine(check: Check) -> Finding:
    """The finding of `check`; a check that breaks is itself a finding, because a report must always come out."""
    try:
        return check()
    except Exception as error:  # whatever is broken here is what the report is for
        name = check.__name__.replace("_", " ")
        return Finding(name, "problem", f"{type(error).__name__}: {error}", "Paste this report into a bug report.")


def report(findings: Iterable[Finding]) -> str:
    """The findings as plain text that can be pasted anywhere: remedies below the table, personal paths shortened."""
    findings = list(findings)
    width = max(len(finding.topic) for finding in findings)
    lines = [f"{_MARKS[f.state]} {f.topic:<{width}}  {f.value}" for f in findings]
    todo = [f for f in findings if f.remedy]
    if todo:
        lines += ["", "What to do:", *(f"{_MARKS[f.state]} {f.topic}: {f.remedy}" for f in todo)]
    problems = sum(f.state == "problem" for f in findings)
    lines += [
        "",
        f"{problems} problem{'s' * (problems != 1)}" if problems else "Everything that the course needs is here.",
    ]
    return "\n".join(lines).replace(str(Path.home()), "~")
