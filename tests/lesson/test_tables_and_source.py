"""Tables that a screen reader can walk through, and source that is the real one."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from IPython.utils.capture import capture_output

from tlcourse.lesson import quiz, source, tables
from tlcourse.lesson.session import Lesson


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs).get("scope")))

    def handle_data(self, data: str) -> None:
        self.text += data + "|"


def test_table_has_caption_and_headers_for_rows_and_columns() -> None:
    with capture_output() as outputs:
        Lesson("05_lora").table([["a<b", 0.71234], ["c", 12]], columns=["method", "accuracy"], caption="What came out.")
    page = Tags(outputs.outputs[0].data["text/html"])
    assert page.seen.count(("th", "col")) == 2
    assert page.seen.count(("th", "row")) == 2
    assert ("caption", None) in page.seen
    assert {"a<b", "0.712", "12", "What came out."} <= set(page.text.split("|"))
    assert "What came out." in outputs.outputs[0].data["text/plain"]


@pytest.mark.parametrize(
    ("rows", "caption", "message"),
    [([], "c", "at least one row"), ([["a", 1, 2]], "c", "row 0 has 3 entries for 2"), ([["a", 1]], " ", "caption is")],
)
def test_faulty_tables_are_refused(rows: list[list[object]], caption: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tables.table(rows, columns=["method", "accuracy"], caption=caption)


class Example:
    """Has a method."""

    def method(self) -> str:
        """Fences ``` inside."""
        return "```"


class Fenced:
    """Shows how to call it.

    ```
    Fenced()
    ```
    """


def test_source_is_the_real_text_with_file_and_lines() -> None:
    text = source.markdown(tables.table)
    assert text.startswith("**`tlcourse/lesson/tables.py`**, lines ")
    lines = [int(number) for number in re.search(r"lines (\d+) to (\d+)", text).groups()]
    every = Path(tables.__file__).read_text(encoding="utf-8").splitlines(keepends=True)
    code = "".join(every[lines[0] - 1 : lines[1]])
    assert code.startswith("def table(")
    assert f"```python\n{code}```\n" in text
    assert '"""A short quiz at the end' in source.markdown(quiz)
    assert "lines 1 to" in source.markdown(quiz)


def test_source_of_a_method_is_not_indented_and_fences_are_longer_than_those_inside() -> None:
    text = source.markdown(Example.method)
    assert "\ndef method(self)" in text
    assert '\n    return "```"' in text
    text = source.markdown(Fenced)
    assert "\n\n````python\n" in text
    assert text.endswith("\n````\n")


@pytest.mark.parametrize("thing", [3, "text", len, Example().method()])
def test_what_has_no_source_is_refused(thing: object) -> None:
    with pytest.raises(TypeError, match="has no Python source to show"):
        source.markdown(thing)
