"""A short quiz at the end of a lesson, shown by jupyterquiz.

Questions live in `quizzes/NN.json`: a list of `{"question": …, "type": …, "answers": …}`, where the type is
"multiple_choice" or "many_choice" and the answers are a list of `{"answer": …, "correct": true, "feedback": …}`.
Every wrong answer is explained. Answers can be read in the page: a quiz is for the reader, not for grading.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "quizzes"

# White text on these grounds has a contrast of 5:1 or more.
_COLOURS = {
    "--jq-multiple-choice-bg": "#0b4f7d",
    "--jq-many-choice-bg": "#5b3a86",
    "--jq-mc-button-bg": "#fdfdfb",
    "--jq-mc-button-border": "#767676",
    "--jq-mc-button-inset-shadow": "#555555",
    "--jq-incorrect-color": "#b3261e",
    "--jq-correct-color": "#00664a",
    "--jq-text-color": "#ffffff",
    "--jq-link-color": "#cfe5ff",
}

# A dark page would swallow the colours of the feedback.
_CSS = (
    "<style>.MCButton:focus-within{outline:3px solid #D55E00;outline-offset:2px}"
    ".Quiz .Feedback:not(:empty){background:#fdfdfb;border-radius:6px;padding:4px 8px}</style>"
)


def load(number: str) -> list[dict[str, Any]]:
    """The questions of lesson `number` ("01"). KeyError if there is no such quiz, ValueError if it is faulty."""
    file = FOLDER / f"{number}.json"
    if not file.exists():
        there = ", ".join(sorted(path.stem for path in FOLDER.glob("*.json"))) or "none yet"
        raise KeyError(f"no quiz {number!r}; there are: {there}. Write {file.name} in {FOLDER}")
    return validate(json.loads(file.read_text(encoding="utf-8")), name=file.name)


def validate(questions: object, *, name: str = "quiz") -> list[dict[str, Any]]:
    """`questions` unchanged; ValueError that lists everything that is wrong with them."""
    faults = list(_faults(questions))
    if faults:
        raise ValueError(f"{name}: " + "; ".join(faults))
    assert isinstance(questions, list)
    return questions


def _faults(questions: object) -> Iterator[str]:
    if not isinstance(questions, list) or not 3 <= len(questions) <= 5:
        yield "a quiz is a list of 3 to 5 questions"
    for number, question in enumerate(questions if isinstance(questions, list) else [], start=1):
        for fault in _question_faults(question):
            yield f"question {number}: {fault}"


def _question_faults(question: object) -> Iterator[str]:
    if not isinstance(question, dict) or not str(question.get("question", "")).strip():
        yield 'needs a text under "question"'
        return
    kind, answers = question.get("type"), question.get("answers")
    if kind not in ("multiple_choice", "many_choice"):
        yield f'type={kind!r} must be "multiple_choice" (one right answer) or "many_choice"'
    if not isinstance(answers, list) or len(answers) < 3 or not all(isinstance(answer, dict) for answer in answers):
        yield "needs a list of at least 3 answers"
        return
    if any("$" in text or "\\(" in text for text in _words(question, answers)):
        yield "formulas are not set in a quiz: write them in Unicode, as in B = 0 or ‖w‖²"
    texts = [str(answer.get("answer", "")).strip() for answer in answers]
    if "" in texts or len(set(texts)) < len(texts):
        yield "an answer is empty or appears twice"
    if not all(isinstance(answer.get("correct"), bool) for answer in answers):
        yield 'every answer needs "correct": true or false'
    right = sum(answer.get("correct") is True for answer in answers)
    if right == 0 or (kind == "multiple_choice" and right > 1):
        yield f"{right} answers are correct; multiple_choice has exactly one, many_choice at least one"
    for text, answer in zip(texts, answers, strict=True):
        if not answer.get("correct") and len(str(answer.get("feedback", "")).strip()) < 15:
            yield f'the wrong answer {text!r} needs "feedback" that explains it'


def _words(question: dict[str, Any], answers: list[dict[str, Any]]) -> list[str]:
    return [str(question["question"]), *(str(part) for answer in answers for part in answer.values())]


def show(questions: str | list[dict[str, Any]]) -> None:
    """Display the quiz of a lesson by its number, or a list of questions."""
    from IPython.display import display
    from IPython.utils.capture import capture_output
    from jupyterquiz import display_quiz

    items = load(questions) if isinstance(questions, str) else validate(questions)
    with capture_output(stdout=False, stderr=False) as shown:
        display_quiz(items, max_width=760, border_radius=6, colors=_COLOURS)
    for output in shown.outputs:
        # The mark lets saved notebooks leave out the large block of JavaScript.
        data = {kind: _mended(kind, text) for kind, text in output.data.items()}
        display(data, raw=True, metadata={"tlcourse": {"quiz": len(items)}})


def _mended(kind: str, text: str) -> str:
    """What jupyterquiz writes, with a focus that can be seen and feedback that is read out.

    JupyterLab's MathJax is not the one that jupyterquiz looks for: it would stop with an error, or load another from
    the network.
    """
    if kind == "text/html":
        return text + _CSS
    if kind == "application/javascript":
        text = text.replace("typeof MathJax != 'undefined'", "false")
        return (
            text + "\ndocument.querySelectorAll('.Feedback').forEach(box => box.setAttribute('aria-live', 'polite'));\n"
        )
    return text
