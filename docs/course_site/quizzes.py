"""Quizzes as plain HTML; `_static/course.js` answers the clicks."""

from __future__ import annotations

import html
import re
from typing import Any


def page(questions: list[dict[str, Any]]) -> str:
    """The questions as groups of buttons, each with a place where its feedback is read out."""
    parts = [_question(number, question) for number, question in enumerate(questions, start=1)]
    return f'<div class="quiz" role="group" aria-label="Quiz">\n{"".join(parts)}</div>'


def _question(number: int, question: dict[str, Any]) -> str:
    right = sum(answer["correct"] for answer in question["answers"])
    many = question["type"] == "many_choice"
    note = '<p class="quiz-note">More than one answer may be right.</p>' if many else ""
    answers = "".join(_answer(answer) for answer in question["answers"])
    return (
        f'<fieldset class="quiz-question" data-right="{right}">'
        f"<legend>{number}. {_text(question['question'])}</legend>{note}{answers}"
        '<p class="quiz-feedback" role="status"></p></fieldset>\n'
    )


def _answer(answer: dict[str, Any]) -> str:
    feedback = answer.get("feedback") or ("Right." if answer["correct"] else "Not so.")
    return (
        f'<button type="button" class="quiz-answer" data-correct="{str(answer["correct"]).lower()}" '
        f'data-feedback="{html.escape(feedback)}">{_text(answer["answer"])}</button>'
    )


def _text(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))
