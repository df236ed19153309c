"""Explorers and quizzes: what a reader gets, live and on paper."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from typing import Any

import ipywidgets
import pytest
from IPython.utils.capture import capture_output
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from tlcourse.lesson import explorer, quiz, style
from tlcourse.lesson.session import Lesson

ALT = "Accuracy at {labels} labels in style {style}."
CONTROLS: dict[str, object] = {"labels": [1, 5, 20], "style": ["noto", "twemoji"]}


@pytest.fixture(autouse=True)
def look() -> None:
    plt.switch_backend("agg")
    plt.close("all")
    style.use()


class Drawing:
    """A `draw` that remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, str]] = []

    def __call__(self, labels: int, style: str) -> Figure:
        self.asked.append((labels, style))
        if labels == 20 and style == "twemoji":
            raise ValueError("no <result> here")
        fig, ax = plt.subplots(figsize=(5, 3))
        ax.plot([0, labels])
        return fig


def made(draw: Callable[..., Figure], **changes: Any) -> explorer.Explorer:
    return explorer.Explorer(draw, **{"alt": ALT, "controls": CONTROLS, "start": {"labels": 5}, **changes})


def test_figure_follows_the_controls_and_frames_are_remembered() -> None:
    draw = Drawing()
    live = made(draw)
    first = live.frame.value
    live.controls["labels"].value = 20
    assert 'alt="Accuracy at 20 labels in style noto."' in live.frame.value
    assert live.frame.value != first
    live.controls["labels"].value = 5
    assert live.frame.value == first
    assert draw.asked == [(5, "noto"), (20, "noto")]
    assert plt.get_fignums() == []


def test_one_move_of_a_control_draws_one_frame() -> None:
    draw = Drawing()
    live = made(draw)
    drawn = len(draw.asked)
    live.controls["labels"].value = 1
    assert draw.asked[drawn:] == [(1, "noto")]


def test_error_while_redrawing_is_shown_in_place_and_left_again() -> None:
    live = made(Drawing(), start={"style": "twemoji"})
    live.controls["labels"].value = 20
    assert live.frame.value == '<pre role="alert">ValueError: no &lt;result&gt; here</pre>'
    live.controls["labels"].value = 1
    assert "Accuracy at 1 labels" in live.frame.value


def test_error_in_the_first_frame_is_an_error_of_the_cell() -> None:
    with pytest.raises(ValueError, match="no <result> here"):
        made(Drawing(), start={"labels": 20, "style": "twemoji"})


def test_output_has_widgets_for_readers_and_a_frame_for_paper() -> None:
    with capture_output() as outputs:
        Lesson("05_lora").explorer(Drawing(), alt=ALT, controls=CONTROLS)
    (output,) = outputs.outputs
    assert "application/vnd.jupyter.widget-view+json" in output.data
    assert 'alt="Accuracy at 1 labels in style noto."' in output.data["text/html"]
    assert "onload" not in output.data["text/html"]
    assert output.metadata["tlcourse"]["alt"] == "Accuracy at 1 labels in style noto."


def test_every_choice_becomes_its_control_with_a_label() -> None:
    own = ipywidgets.FloatSlider(description="own", value=0.5)
    controls = {
        "log_axis": True,
        "few": ["a", "b"],
        "many": list("abcdef"),
        "rank": range(1, 9),
        "text": "a sad face",
        "own": own,
    }

    def draw(log_axis: bool, few: str, many: str, rank: int, text: str, own: float) -> Figure:
        assert (log_axis, few, many, rank, text, own) == (True, "a", "a", 3, "a sad face", 0.5)
        return plt.figure()

    live = explorer.Explorer(draw, alt="What is drawn here is nothing.", controls=controls, start={"rank": 3})
    kinds = [type(widget).__name__ for widget in live.controls.values()]
    assert kinds == ["Checkbox", "ToggleButtons", "Dropdown", "SelectionSlider", "Text", "FloatSlider"]
    assert [widget.description for widget in live.controls.values()][:2] == ["log axis", "few"]


@pytest.mark.parametrize("choices", [[], [1], 3, None, {"a": 1}, ipywidgets.HBox()])
def test_choices_that_make_no_control_are_refused(choices: object) -> None:
    with pytest.raises(ValueError, match="control 'labels': give at least two choices"):
        made(Drawing(), controls={"labels": choices, "style": ["noto", "twemoji"]}, start={})


def test_faulty_explorers_are_refused() -> None:
    with pytest.raises(ValueError, match="start 7"):
        made(Drawing(), start={"labels": 7})
    with pytest.raises(KeyError, match="start names"):
        made(Drawing(), start={"label": 5})
    with pytest.raises(ValueError, match="at least one control"):
        made(Drawing(), controls={}, start={})
    with pytest.raises(ValueError, match="does not describe"):
        made(Drawing(), alt="Accuracy")


def question(kind: str = "multiple_choice") -> dict[str, Any]:
    answers = [
        {"answer": "A", "correct": True, "feedback": "Yes."},
        {"answer": "B", "correct": False, "feedback": "Both at zero never move."},
        {"answer": "C", "correct": False, "feedback": "A random start does harm."},
    ]
    return {"question": "Which one?", "type": kind, "answers": copy.deepcopy(answers)}


def test_quiz_is_shown_and_marked() -> None:
    with capture_output() as outputs:
        Lesson("05_lora").quiz([question(), question("many_choice"), question()])
    assert [output.metadata["tlcourse"]["quiz"] for output in outputs.outputs] == [3, 3]
    code = outputs.outputs[1].data["application/javascript"]
    assert "Both at zero never move." in code
    assert "typeof MathJax != 'undefined'" not in code, "it would reach for the network"
    assert "'aria-live', 'polite'" in code, "feedback is read out"
    assert ":focus-within{outline" in outputs.outputs[0].data["text/html"], "the keyboard's place can be seen"


def test_quiz_of_a_lesson_is_found_by_its_number(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiz, "FOLDER", tmp_path)
    (tmp_path / "05.json").write_text(json.dumps([question()] * 3))
    with capture_output() as outputs:
        Lesson("05_lora").quiz()
    assert len(outputs.outputs) == 2
    with pytest.raises(KeyError, match=r"no quiz '06'; there are: 05"):
        Lesson("06_peft").quiz()


def change(path: tuple[Any, ...], value: object) -> list[dict[str, Any]]:
    questions: Any = [question(), question("many_choice"), question()]
    place = questions
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return questions


@pytest.mark.parametrize(
    ("questions", "message"),
    [
        ([question()] * 2, "3 to 5 questions"),
        ([question()] * 6, "3 to 5 questions"),
        ({"question": 1}, "3 to 5 questions"),
        (change((1, "question"), " "), "question 2: needs a text"),
        (change((1, "type"), "essay"), "question 2: type='essay'"),
        (change((0, "answers"), question()["answers"][:2]), "question 1: needs a list of at least 3"),
        (change((0, "answers", 1, "answer"), "A"), "question 1: an answer is empty or appears twice"),
        (change((0, "answers", 1, "correct"), "no"), 'question 1: every answer needs "correct"'),
        (change((0, "answers", 1, "correct"), True), "question 1: 2 answers are correct"),
        (change((1, "answers", 0, "correct"), False), "question 2: 0 answers are correct"),
        (change((2, "answers", 2, "feedback"), "No."), "question 3: the wrong answer 'C' needs \"feedback\""),
        (change((2, "answers", 0, "feedback"), "Because $B=0$."), "question 3: formulas are not set"),
    ],
)
def test_faulty_quizzes_are_refused(questions: object, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        quiz.validate(questions)


def test_many_choice_may_have_several_right_answers() -> None:
    questions = change((1, "answers", 1, "correct"), True)
    assert quiz.validate(questions) is questions
