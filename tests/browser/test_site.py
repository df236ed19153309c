"""The site in a real browser: it can be read, searched, used by keyboard, and asks nobody else for anything."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
LESSONS = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
EXPLORER = ".explorer"
LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "audio": "src", "video": "src"}


def test_home_leads_to_a_lesson_and_on_to_its_exercises(page: Any, site: str) -> None:
    page.goto(site)
    assert "Transfer learning" in page.title()
    page.locator("nav a", has_text="05 · LoRA").first.click()
    page.wait_for_url("**/notebooks/05_lora.html")
    assert page.locator("h1").first.inner_text().startswith("05 ·")
    page.locator("nav a", has_text="05 · Exercises").first.click()
    page.wait_for_url("**/exercises/05_lora.html")
    assert page.get_by_text("YOUR CODE HERE").count() > 0


def test_search_finds_the_lesson_on_lora(page: Any, site: str) -> None:
    page.goto(site)
    page.keyboard.press("Control+k")
    page.keyboard.type("LoRA")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=LoRA*")
    page.wait_for_selector("#search-results a[href*='notebooks/05_lora']")


def test_an_answer_of_the_quiz_is_explained(page: Any, site: str) -> None:
    page.goto(f"{site}/notebooks/05_lora.html")
    question = page.locator(".quiz-question").first
    feedback = question.locator(".quiz-feedback")
    assert feedback.inner_text() == ""
    wrong, right = question.locator("[data-correct=false]").first, question.locator("[data-correct=true]").first
    wrong.click()
    assert feedback.inner_text() == f"✗ {wrong.get_attribute('data-feedback')}"
    right.focus()
    page.keyboard.press("Enter")
    assert feedback.inner_text().startswith("✓ ")
    assert "is-right" in str(right.get_attribute("class"))
    assert "is-wrong" not in str(wrong.get_attribute("class"))


def test_every_lesson_has_its_quiz(html: Path) -> None:
    for stem in LESSONS[1:]:
        text = (html / "notebooks" / f"{stem}.html").read_text(encoding="utf-8")
        assert text.count('<div class="quiz"') == 1, stem
        assert "run this notebook to answer" not in text, stem


def test_the_slider_moves_the_figure(page: Any, site: str) -> None:
    page.goto(f"{site}/notebooks/01_why_transfer.html")
    box = page.locator(EXPLORER)
    slider, figure = box.locator("input[type=range]"), box.locator("img")
    seen = {}
    for place in range(int(str(slider.get_attribute("max"))) + 1):
        slider.fill(str(place))
        source = figure.get_attribute("src")
        page.wait_for_function("i => i.complete && i.naturalWidth > 0", arg=figure.element_handle())
        seen[source] = figure.get_attribute("alt")
        assert box.locator("output").inner_text() == slider.get_attribute("aria-valuetext")
    assert len(seen) > 1, "every place of the slider shows the same picture"
    assert len(set(seen.values())) == len(seen), "the text for a figure must follow it"


def test_the_explorer_is_used_by_keyboard_alone(page: Any, site: str) -> None:
    page.goto(f"{site}/notebooks/13_domain_adaptation.html")
    figure = page.locator(f"{EXPLORER} img")
    # Where a reader is who has come to the explorer's code with the Tab key.
    page.evaluate("""() => { const all = [...document.querySelectorAll('a[href], button, input')];
        const box = document.querySelector('.explorer');
        all.filter(e => box.compareDocumentPosition(e) & Node.DOCUMENT_POSITION_PRECEDING
                        && e.offsetParent && e.closest('.bd-article')).at(-1).focus(); }""")
    reached = []
    for key in ("ArrowRight", "ArrowLeft"):
        for _ in range(6):
            page.keyboard.press("Tab")
            kind = page.evaluate("() => document.activeElement.closest('.explorer') && document.activeElement.type")
            if kind:
                break
        before = figure.get_attribute("src")
        page.keyboard.press(key)
        reached.append(kind)
        assert figure.get_attribute("src") != before, kind
    assert reached == ["radio", "range"]


def test_dark_and_light(page: Any, site: str) -> None:
    page.goto(f"{site}/notebooks/13_domain_adaptation.html")
    grounds = {}
    for mode in ("dark", "light"):
        page.locator("button.theme-switch-button:visible").first.click()
        choice = page.locator(f".theme-change-button[data-mode={mode}]")
        if choice.count():  # newer themes open a menu, older ones go from one mode to the next
            choice.first.click()
        theme = page.evaluate("() => document.documentElement.dataset.theme")
        grounds[theme] = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert set(grounds) == {"light", "dark"}
    assert _brightness(grounds["dark"]) < 60 < 200 < _brightness(grounds["light"])


def _brightness(colour: str) -> float:
    numbers = [float(number) for number in re.findall(r"[\d.]+", colour)[:3]]
    return sum(numbers) / 3


def test_a_formula_is_drawn_on_an_api_page_and_the_paper_is_linked(page: Any, site: str) -> None:
    page.goto(f"{site}/api/peft.html")
    page.wait_for_selector("mjx-container svg")
    assert page.locator("a[href='https://arxiv.org/abs/2106.09685']").count() > 0


def test_first_use_of_a_term_leads_to_the_glossary(page: Any, site: str) -> None:
    page.goto(f"{site}/notebooks/05_lora.html")
    page.locator("a[href$='glossary.html#term-LoRA']").click()
    page.wait_for_url("**/docs/glossary.html#term-LoRA")
    assert page.locator("#term-LoRA").is_visible()


@pytest.mark.parametrize(
    "name", ["index", "notebooks/13_domain_adaptation", "exercises/05_lora", "docs/glossary", "api/models", "search"]
)
def test_no_barrier_that_axe_calls_serious(page: Any, site: str, build: Any, name: str) -> None:
    from course_site import vendor

    page.goto(f"{site}/{name}.html")
    page.wait_for_load_state("load")
    page.add_script_tag(path=str(vendor.path("axe", "axe.min.js")))
    assert serious(page, "light", "{}") == []
    assert serious(page, "dark", "{runOnly: ['color-contrast']}") == []


def serious(page: Any, theme: str, options: str) -> list[str]:
    """What axe finds in the page with `theme`, once its colours have arrived: the theme fades from one to the other."""
    page.add_style_tag(content="*, *::before, *::after { transition: none !important; animation: none !important; }")
    page.evaluate(f"() => {{ document.documentElement.dataset.theme = '{theme}'; }}")
    chosen = f"{{resultTypes: ['violations'], preload: false, ...{options}}}"
    found = page.evaluate(f"() => axe.run(document, {chosen})")
    return [
        f"{rule['id']}: {rule['help']}: {rule['nodes'][0]['html'][:200]} ({len(rule['nodes'])} places)"
        for rule in found["violations"]
        if rule["impact"] in ("serious", "critical")
    ]


def test_axe_would_find_a_barrier(page: Any, site: str, build: Any) -> None:
    from course_site import vendor

    page.goto(f"{site}/docs/glossary.html")
    page.add_script_tag(path=str(vendor.path("axe", "axe.min.js")))
    page.evaluate(
        "() => { document.querySelector('article').innerHTML = "
        "'<button></button><p style=\"color:#ccc;background:#fff\">pale words</p>'; }"
    )
    found = serious(page, "light", "{}")
    assert {"button-name", "color-contrast"} <= {line.split(":")[0] for line in found}


@pytest.mark.parametrize("stem", LESSONS)
def test_a_lesson_opens_without_a_complaint(page: Any, site: str, stem: str) -> None:
    page.goto(f"{site}/notebooks/{stem}.html")
    page.wait_for_load_state("load")
    page.wait_for_function("() => [...document.images].every(i => i.complete && i.naturalWidth > 0)")
    if page.locator(".math").count():
        page.wait_for_selector("mjx-container")
        assert page.locator("mjx-container [data-mjx-error]").count() == 0


class _Page(HTMLParser):
    """What a page loads, and its pictures without a text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.silent: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in LOADS and given.get(LOADS[tag]):
            self.loads.append(str(given[LOADS[tag]]))
        if tag == "link" and given.get("rel") in ("stylesheet", "preload", "icon", "preconnect", "modulepreload"):
            self.loads.append(str(given.get("href")))
        if tag == "img" and not (given.get("alt") or "").strip():
            self.silent.append(str(given.get("src"))[:80])


def test_no_page_loads_from_elsewhere_and_every_picture_has_a_text(html: Path) -> None:
    pages = sorted(html.rglob("*.html"))
    assert len(pages) > len(LESSONS)
    for file in pages:
        found = _Page(file.read_text(encoding="utf-8"))
        outside = [url[:80] for url in found.loads if re.match(r"(https?:)?//", url)]
        assert (file.name, outside, found.silent) == (file.name, [], [])
    for sheet in html.rglob("*.css"):
        assert not re.search(r"url\(\s*['\"]?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet


def test_slides_move_by_keyboard(page: Any, build: Any, serve: Callable[[Path], str], tmp_path: Path) -> None:
    from course_site import slides

    lesson = ROOT / "notebooks" / "13_domain_adaptation.ipynb"
    slides.build([lesson], tmp_path, frames_at=ROOT / "docs" / "frames")
    page.goto(f"{serve(tmp_path)}/13.slides.html")
    page.wait_for_function("() => window.Reveal?.isReady()")
    assert page.locator("section.present h1").first.is_visible()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => Reveal.getIndices().h === 1")
    assert page.locator("section.present h2").first.is_visible()
    assert page.locator("mjx-container").count() > 0
    page.wait_for_function("() => [...document.images].every(i => i.complete && i.naturalWidth > 0)")
