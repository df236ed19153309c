"""The capstone's report card: one HTML page that needs nothing else, readable in light and dark."""

from __future__ import annotations

import html
from collections.abc import Sequence

from tlcourse.checks.capstone import BUDGET, Score

STYLE = """
.card { --ink: #222; --paper: #fdfdfb; --line: #767676; --mine: #0072B2; --bad: #a33c00;
  color: var(--ink); background: var(--paper); font: 16px/1.5 system-ui, sans-serif; max-width: 44rem;
  margin: 1rem auto; padding: 1rem 1.5rem; }
@media (prefers-color-scheme: dark) {
  .card { --ink: #e8e8e4; --paper: #1c1d1f; --line: #9a9a9a; --mine: #58b4ec; --bad: #ff9e6b; } }
.card h1 { font-size: 1.5rem; margin: 0 0 .5rem; color: var(--ink); }
.card h2 { font-size: 1.15rem; margin: 1.2rem 0 .3rem; color: var(--ink); }
.card table { border-collapse: collapse; color: var(--ink); background: var(--paper); }
.card caption { text-align: left; padding: .3rem 0; color: var(--ink); }
.card th, .card td { padding: .15rem .8rem .15rem 0; text-align: right; border-bottom: 1px solid var(--line);
  color: var(--ink); background: var(--paper); }
.card th:first-child { text-align: left; }
.card svg { width: 100%; height: auto; }
.card svg text { fill: var(--ink); font-size: 13px; }
.card .refused { color: var(--bad); font-weight: bold; }
"""


def page(score: Score) -> str:
    """The whole page, to be written to a file."""
    head = '<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">'
    scheme = "<style>:root { color-scheme: light dark; } body { margin: 0; background: Canvas; }</style>"
    title = "<title>Capstone: report card</title>"
    return (
        f'<!DOCTYPE html>\n<html lang="en-GB">\n<head>\n{head}\n{title}\n{scheme}\n</head>\n'
        f"<body>\n<main>\n{section(score)}\n</main>\n</body>\n</html>\n"
    )


def section(score: Score) -> str:
    """The card alone, to be shown in a notebook."""
    mine, handed = score.balanced_accuracy, score.submission
    verdict = "The score stands." if score.stands else "The score does not stand."
    css = "" if score.stands else ' class="refused"'
    lines = [
        f"<style>{STYLE}</style>",
        '<div class="card">',
        f"<h1>Capstone: {html.escape(handed.method)}</h1>",
        f"<p><strong>Balanced accuracy {mine.mean:.1%}</strong>, 95 % interval {mine.low:.1%} to {mine.high:.1%}.</p>",
        f"<p{css}>{verdict}</p>",
        _ruler(score),
        f"<p>CPU time: {handed.cpu_seconds:.1f} s of {BUDGET:.0f} s. Its validation: {handed.validation:.1%}.</p>",
        _findings(score),
        "<h2>Class by class</h2>",
        _table(score),
        "<h2>Where to look next</h2>",
        f"<p>{advice(score)}</p>",
        "</div>",
    ]
    return "\n".join(line for line in lines if line)


def advice(score: Score) -> str:
    """The two classes with the most to gain, and the labels that were given too often."""
    low = sorted(score.recall, key=lambda name: score.recall[name])[:2]
    fair = sum(score.given.values()) / len(score.given)
    often = [name for name, count in score.given.items() if count > 1.5 * fair]
    text = f"Most is lost on {low[0]} and {low[1]}."
    if often:
        text += f" Given far more often than a tenth of the time: {', '.join(often)}. What do those pictures share?"
    return text


def _ruler(score: Score) -> str:
    """From 0 to 100 %: the score with its interval, and where chance and the references lie."""
    mine = score.balanced_accuracy

    def x(value: float) -> float:
        return round(20 + 560 * min(max(value, 0.0), 1.0), 1)

    marks = (("chance", 1 / len(score.recall)), ("weak", score.weak), ("strong", score.strong))
    ticks = "".join(
        f'<line x1="{x(v)}" x2="{x(v)}" y1="34" y2="62" stroke="var(--line)" stroke-width="2"/>'
        f'<text x="{x(v)}" y="{80 if i != 1 else 96}" text-anchor="middle">{name} {v:.0%}</text>'
        for i, (name, v) in enumerate(marks)
    )
    alt = (
        f"Balanced accuracy on a line from 0 to 100 %: yours {mine.mean:.0%} ({mine.low:.0%} to {mine.high:.0%}), "
        f"chance {marks[0][1]:.0%}, weak reference {score.weak:.0%}, strong reference {score.strong:.0%}."
    )
    return (
        f'<svg viewBox="0 0 600 104" role="img" aria-label="{alt}">'
        f'<line x1="20" x2="580" y1="48" y2="48" stroke="var(--line)"/>{ticks}'
        f'<line x1="{x(mine.low)}" x2="{x(mine.high)}" y1="48" y2="48" stroke="var(--mine)" stroke-width="6"/>'
        f'<circle cx="{x(mine.mean)}" cy="48" r="9" fill="var(--mine)"/>'
        f'<text x="{x(mine.mean)}" y="24" text-anchor="middle" font-weight="bold">yours {mine.mean:.0%}</text></svg>'
    )


def _findings(score: Score) -> str:
    if not score.findings:
        return ""
    items = (
        f'<li class="{finding.kind}">{"Refused: " if finding.kind == "refused" else "To explain: "}'
        f"{html.escape(finding.text)}</li>"
        for finding in score.findings
    )
    return f"<h2>What the scorer says</h2>\n<ul>{''.join(items)}</ul>"


def _table(score: Score) -> str:
    def row(tag: str, cells: Sequence[str]) -> str:
        first = f'<th scope="{"col" if tag == "th" else "row"}">{cells[0]}</th>'
        scope = ' scope="col"' if tag == "th" else ""
        return f"<tr>{first}{''.join(f'<{tag}{scope}>{cell}</{tag}>' for cell in cells[1:])}</tr>"

    body = "\n".join(
        row("td", (name, f"{score.recall[name]:.0%}", str(score.given[name]))) for name in sorted(score.recall)
    )
    caption = "<caption>Share of each class that is right, and how often it was the answer</caption>"
    return (
        f"<table>{caption}\n<thead>{row('th', ('class', 'right', 'given'))}</thead>\n<tbody>\n{body}\n</tbody></table>"
    )
