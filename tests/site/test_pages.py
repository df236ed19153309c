"""How files of the repository become pages: links, quizzes, explorers, navigation, docstrings, slides."""

from __future__ import annotations

import html
import importlib
import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from course_site import api, explorers, links, notebooks, quizzes, slides, stage, vendor

from tlcourse.assets import registry
from tlcourse.lesson import frames, quiz
from tlcourse.lesson.outputs import code_hash

ROOT = Path(__file__).resolve().parents[2]
LESSON = ROOT / "notebooks" / "13_domain_adaptation.ipynb"
FRAMES = ROOT / "docs" / "frames"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("README.md", "notebooks/01_a.ipynb", "solutions/01_a.ipynb", "docs/x.md", "table.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "wanted", "taken"),
    [
        ("[a](../README.md)", "[a](../index.md)", None),
        ("[a](../docs/x.md#A-Long-Way)", "[a](../docs/x.md#a-long-way)", None),
        ("[a](../solutions/01_a.ipynb)", "{download}`a <../solutions/01_a.ipynb>`", "solutions/01_a.ipynb"),
        ("[a](../table.toml)", "[a](../table.toml)", "table.toml"),
        ("[a](../solutions)", "[a](../index.md)", None),
        ("[a](https://example.org) [b](#here) [c](gone.md)", "[a](https://example.org) [b](#here) [c](gone.md)", None),
        ("`[a](../README.md)`", "`[a](../README.md)`", None),
    ],
)
def test_links_of_the_repository_become_links_of_the_site(
    tree: Path, text: str, wanted: str, taken: str | None
) -> None:
    took: list[Path] = []
    pages = [Path("README.md"), Path("notebooks/01_a.ipynb"), Path("docs/x.md")]
    renamed = {Path("README.md"): Path("index.md")}
    page = tree / "notebooks/01_a.ipynb"
    change = links.rewriter(page, root=tree, pages=pages, renamed=renamed, take=took.append)
    assert change(text) == wanted
    assert took == ([Path(taken)] if taken else [])


def test_links_of_the_home_page_start_at_the_top(tree: Path) -> None:
    renamed = {Path("README.md"): Path("index.md")}
    pages = [Path("README.md"), Path("docs/x.md")]
    change = links.rewriter(tree / "README.md", root=tree, pages=pages, renamed=renamed, take=lambda _: None)
    assert change("[a](docs/x.md)") == "[a](docs/x.md)"


def test_a_quiz_has_every_question_answer_and_feedback() -> None:
    questions = quiz.load("13")
    page = html.unescape(quizzes.page(questions))
    for question in questions:
        assert question["question"] in page
        for answer in question["answers"]:
            assert f'data-feedback="{answer["feedback"]}">{answer["answer"]}</button>' in page
    assert page.count('data-correct="true"') == sum(a["correct"] for q in questions for a in q["answers"])
    assert quizzes.page(questions).count('role="status"') == len(questions)


def test_words_of_a_quiz_cannot_break_out_of_it() -> None:
    answers = [{"answer": "<b>", "correct": True}, {"answer": "`x < 1`", "correct": False, "feedback": 'say "no"'}]
    page = quizzes.page([{"question": "a < b?", "type": "many_choice", "answers": answers}])
    assert "&lt;b&gt;" in page
    assert "<code>x &lt; 1</code>" in page
    assert "say &quot;no&quot;" in page
    assert "More than one answer" in page


def index(**changes: Any) -> dict[str, Any]:
    controls = [
        {"name": "labels", "label": "labels", "kind": "slider", "choices": [1, 5, 20]},
        {"name": "way", "label": "way", "kind": "buttons", "choices": ["a", "<b>"]},
    ]
    made = [[f"{i}.webp", f"Picture {i} & text", 640] for i in range(6)]
    return {"controls": controls, "start": [1, 1], "all": False, "frames": made, **changes}


def test_an_explorer_starts_at_its_first_values() -> None:
    page = explorers.page(index(), folder="f", name="e")
    assert '<img class="explorer-frame" alt="Picture 3 &amp; text" width="640" src="f/3.webp">' in page
    assert 'min="0" max="2" step="1" value="1"' in page
    assert 'aria-valuetext="5"' in page
    assert "checked>&lt;b&gt;</label>" in page
    assert "Some of the choices" in page
    data = json.loads(html.unescape(re.findall(r'data-explorer="([^"]*)"', page)[0]))
    assert data["sizes"] == [3, 2]
    assert len(data["frames"]) == 6
    labels = re.findall(r'<label for="([^"]+)"', page)
    assert labels == re.findall(r'<input id="([^"]+)"', page)


def test_many_choices_are_a_list_and_a_single_one_is_a_text() -> None:
    many = {"name": "way", "label": "way", "kind": "buttons", "choices": list("abcdef")}
    one = {"name": "text", "label": "text", "kind": "text", "choices": ["a word"]}
    page = explorers.page(index(controls=[many, one], start=[2, 0]), folder="f", name="e")
    assert '<option value="2" selected>c</option>' in page
    assert "text: a word</p>" in page


def test_a_lesson_gets_its_quiz_and_an_explorer_only_with_fresh_frames(tmp_path: Path) -> None:
    notebook = notebooks.lesson(LESSON, frames_at=tmp_path, frames_url="u")
    shown = json.dumps(notebook)
    assert "quiz-question" in shown
    assert "data-explorer" not in shown
    needed = frames.until_explorer(notebook)
    assert needed is not None
    (tmp_path / "13").mkdir()
    for hashed, wanted in (("another", 0), (code_hash(needed), 1)):
        text = json.dumps(index(code_hash=hashed))
        (tmp_path / "13" / frames.INDEX).write_text(text, encoding="utf-8")
        made = json.dumps(notebooks.lesson(LESSON, frames_at=tmp_path, frames_url="u"))
        assert made.count("data-explorer") == wanted


def test_navigation_has_every_page_under_the_parts_of_the_readme() -> None:
    rows = (
        "00 | [s](x) | q | 1",
        " | **Part 1 · C** | | ",
        "01 | [a](x) | q | 1",
        " | **Part 2** | | ",
        "02 | b | q | ",
    )
    readme = "".join(f"| {row} |\n" for row in rows)
    assert stage.parts(readme, ["00", "01"]) == [("Lessons", ["00"]), ("Part 1 · C", ["01"])]
    assert stage.parts(readme, ["01", "02", "03"])[-1] == ("Part 2", ["02", "03"])
    pages = stage.sources(ROOT)
    listed = stage.contents(ROOT, pages)
    for page in pages:
        if page != stage.HOME:
            assert listed.count(f"\n{page.with_suffix('').as_posix()}\n") == 1, page


def test_a_second_staging_writes_nothing_and_clears_what_is_gone(tmp_path: Path) -> None:
    stage.stage(ROOT, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    (tmp_path / "notebooks" / "99_gone.ipynb").write_text("{}", encoding="utf-8")
    stage.stage(ROOT, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before


def test_docstrings_become_restructured_text() -> None:
    text = 'Scale `alpha/rank` of *x_i* and |y| (arXiv:2106.09685).\n\n- one `a\n  b`\n- two\n\nx = assets.path("x")\n'
    assert api.restructured(text.splitlines()) == [
        r"Scale ``alpha/rank`` of \*x\_i\* and \|y\| (`arXiv:2106.09685 <https://arxiv.org/abs/2106.09685>`__).",
        "",
        "- one ``a b``",
        "",
        "- two",
        "",
        "::",
        "",
        '    x = assets.path("x")',
        "",
    ]


@pytest.mark.parametrize("name", sorted(api.formulas()))
def test_a_formula_belongs_to_something_that_is_there(name: str) -> None:
    parts = name.split(".")
    module = importlib.import_module(".".join(parts[:3]))
    for part in parts[3:]:
        assert hasattr(module, part)


def test_what_pages_load_is_pinned_and_hashed() -> None:
    table = registry.load(vendor.TABLE)
    assert set(table) == {"mathjax", "reveal", "axe"}
    assert all(asset.kind == "npm" and asset.archive for asset in table.values())


def cell(kind: str, source: str, **more: Any) -> Any:
    made = nbformat.v4.new_code_cell(source) if kind == "code" else nbformat.v4.new_markdown_cell(source)
    made.update(more)
    return made


def test_slides_begin_at_headings_and_go_down_when_they_are_full() -> None:
    figure = [nbformat.v4.new_output("display_data", data={"text/html": "<img alt='x'>"})]
    cells = [
        cell("markdown", "# Title"),
        cell("code", "x = 1"),
        cell("markdown", "## Part\n\ntext"),
        cell("code", "plot()", outputs=figure),
        cell("markdown", "**What to see.** " + "word " * 150),
        cell("code", "hub()", metadata={"tags": ["nbval-skip"]}),
        cell("markdown", "### Further"),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    assert slides.slide_types(notebook) == ["slide", "-", "slide", "-", "subslide", "skip", "-"]
    before = code_hash(notebook)
    cells[1].metadata["slideshow"] = {"slide_type": "fragment"}
    slides.prepare(notebook)
    kinds = [c.metadata["slideshow"]["slide_type"] for c in notebook.cells]
    assert kinds[1] == "fragment", "what the author has set stays"
    assert kinds[2] == "slide"
    assert code_hash(notebook) == before
    assert slides.HIDDEN in notebook.cells[3].metadata["tags"]
    assert "tags" not in notebook.cells[1].metadata


def test_a_heading_within_a_cell_begins_a_slide() -> None:
    parts = slides.split(cell("markdown", "**What to see.** x\n\n## 2 · Next\n\ny\n### Deeper\nz"))
    assert [part.source.splitlines()[0] for part in parts] == ["**What to see.** x", "## 2 · Next", "### Deeper"]
    assert len({part.id for part in parts}) == 3
    parts[0].metadata["slideshow"] = {"slide_type": "slide"}
    assert "slideshow" not in parts[1].metadata
    kept = cell("markdown", "x\n\n## y", metadata={"slideshow": {"slide_type": "notes"}})
    assert slides.split(kept) == [kept]


def test_slides_are_readable_without_a_network(tmp_path: Path) -> None:
    (page,) = slides.build([LESSON], tmp_path, frames_at=FRAMES)
    text = page.read_text(encoding="utf-8")
    assert page.name == "13.slides.html"
    loads = re.findall(r'<(?:script|link|img)\b[^>]*?(?:src|href)="([^"]+)"', text)
    assert loads
    for url in loads:
        assert url.startswith("data:") or (tmp_path / url).is_file(), url[:100]
    assert "13 · Domain adaptation slides</title>" in text
    assert "data-explorer" in text
    assert len(re.findall(r"<section><section>", text)) > 9, "every part of the lesson begins to the right"
    assert re.search(r"<details><summary>Answer</summary>\s*<p>", text), "the answer stays folded"
