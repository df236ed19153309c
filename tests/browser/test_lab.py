"""JupyterLab in a real browser: a lesson runs, an exercise is solved, an explorer is moved by mouse and by keyboard."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
LESSON, EXERCISES = "01_why_transfer.ipynb", "01_why_transfer_exercises.ipynb"
RUN = 400_000  # milliseconds for a whole lesson on a busy machine
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},  # all cells are in the page
}
# A command's promise resolves when its last cell is done. Before the kernel is connected it would do nothing.
COMMAND = """async ([command, ms, index]) => {
    const app = window.jupyterapp, panel = app.shell.currentWidget, end = Date.now() + ms;
    const kernel = () => panel.context.sessionContext.session?.kernel;
    while (!(panel.context.sessionContext.isReady && kernel()?.connectionStatus === 'connected'
             && kernel()?.status === 'idle')) {
        if (Date.now() > end) throw new Error('the kernel does not start');
        await new Promise(resolve => setTimeout(resolve, 100));
    }
    if (index !== null) panel.content.activeCellIndex = index;
    const late = new Promise((_, no) => setTimeout(() => no(new Error('the cells do not finish')), ms));
    await Promise.race([app.commands.execute(command), late]);
}"""
CELLS = """() => [...window.jupyterapp.shell.currentWidget.content.widgets].map(cell => ({
    type: cell.model.type, id: cell.model.id, tags: cell.model.getMetadata('tags') ?? [],
    count: cell.model.executionCount ?? null, outputs: cell.model.outputs?.toJSON() ?? [] }))"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, quiet_environment: dict[str, str]) -> Iterator[str]:
    """The address of a JupyterLab with copies of a lesson and its exercises; `{}` is for the notebook."""
    folder = tmp_path_factory.mktemp("course")
    shutil.copyfile(ROOT / "notebooks" / LESSON, folder / LESSON)
    shutil.copyfile(ROOT / "exercises" / LESSON, folder / EXERCISES)
    for name, setting in SETTINGS.items():
        file = Path(quiet_environment["JUPYTERLAB_SETTINGS_DIR"], f"@jupyterlab/{name}.jupyterlab-settings")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(setting), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(8)
    options = [
        "--no-browser",
        "--allow-root",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={folder}",
        f"--IdentityProvider.token={token}",
        "--LabApp.expose_app_in_browser=True",
    ]
    log = folder / "lab.log"
    with log.open("w") as out:
        command = [sys.executable, "-m", "jupyterlab", *options]
        server = subprocess.Popen(command, env=quiet_environment, stdout=out, stderr=out)
        try:
            _wait(f"http://127.0.0.1:{port}/api?token={token}", server, log)
            yield f"http://127.0.0.1:{port}/lab/tree/{{}}?token={token}&reset"
        finally:
            server.terminate()
            server.wait(30)


def _wait(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(480):
        try:
            urllib.request.urlopen(address, timeout=1).close()
            return
        except OSError:
            assert server.poll() is None, log.read_text()
            time.sleep(0.25)
    raise AssertionError(f"JupyterLab does not answer: {log.read_text()[-2000:]}")


def opened(browser: Any, address: str) -> Any:
    page = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page()
    page.set_default_timeout(120_000)
    page.goto(address)
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    # The notebook begins with one empty cell, and gets its own ones a moment later.
    page.wait_for_function("() => window.jupyterapp?.shell.currentWidget?.context?.isReady")
    page.wait_for_function(
        "() => { const { widgets, model } = window.jupyterapp.shell.currentWidget.content;"
        " return widgets.length > 1 && widgets.length === model.cells.length; }"
    )
    return page


@pytest.fixture(scope="module")
def lesson(browser: Any, lab: str) -> Iterator[Any]:
    """Lesson 01, after Run All."""
    page = opened(browser, lab.format(LESSON))
    page.evaluate(COMMAND, ["notebook:run-all-cells", RUN, None])
    # The count of the last cell may come a moment after its answer.
    page.wait_for_function(f"() => ({CELLS})().every(cell => cell.type !== 'code' || cell.count)")
    yield page
    page.context.close()


def test_run_all_runs_every_cell_of_lesson_01_without_an_error(lesson: Any) -> None:
    cells = [cell for cell in lesson.evaluate(CELLS) if cell["type"] == "code"]
    assert len(cells) > 5
    assert [cell["id"] for cell in cells if not cell["count"]] == [], "these cells were not run"
    for cell in cells:
        errors = [output["evalue"] for output in cell["outputs"] if output["output_type"] == "error"]
        assert errors == [] or "raises-exception" in cell["tags"], errors
    shown = json.dumps([cell["outputs"] for cell in cells], ensure_ascii=False)
    assert "claims hold" in shown
    assert "✗" not in shown


def test_the_figure_follows_the_slider_within_a_second(lesson: Any) -> None:
    slider = lesson.locator(".widget-slider [role=slider]").first
    slider.focus()
    seconds = [_moved(lesson, key) for key in ("ArrowLeft", "ArrowRight", "ArrowRight", "ArrowLeft", "ArrowLeft")]
    assert min(seconds) < 1, seconds  # the quickest: others may have waited for a busy machine


def _moved(page: Any, key: str) -> float:
    """Seconds from a key to another picture in the explorer."""
    before = _picture(page)
    began = time.perf_counter()
    page.keyboard.press(key)
    page.wait_for_function(
        "before => { const i = document.querySelector('.widget-vbox .widget-html img');"
        " return i && i.src !== before && i.complete; }",
        arg=before,
        polling=20,
    )
    return time.perf_counter() - began


def _picture(page: Any) -> str:
    return str(page.locator(".widget-vbox .widget-html img").first.get_attribute("src"))


def test_the_explorer_is_used_by_keyboard_alone(lesson: Any) -> None:
    """From the editor of the explorer's cell, the Tab key reaches each control, and keys change the figure."""
    index = next(i for i, cell in enumerate(lesson.evaluate(CELLS)) if cell["id"] == "explorer-code")
    lesson.evaluate(
        "i => { const panel = window.jupyterapp.shell.currentWidget;"
        " panel.content.activeCellIndex = i; panel.content.mode = 'command'; panel.content.activeCell.node.focus(); }",
        index,
    )
    _tab_to(lesson, ".widget-toggle-button")
    _moved(lesson, "Enter")
    _tab_to(lesson, "[role=slider]")
    name = lesson.evaluate("() => document.activeElement.getAttribute('aria-label')")
    assert name == "labels", "a screen reader would not say which slider this is"
    _moved(lesson, "ArrowRight")


def _tab_to(page: Any, selector: str) -> None:
    """Press Tab until a control of the explorer that can change something has the focus, and keeps it."""
    here = (
        "s => { const e = document.activeElement;"
        " return e.matches(s) && !!e.closest('.widget-vbox') && !e.matches('.mod-active'); }"
    )
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate(here, selector):
            page.wait_for_timeout(300)  # JupyterLab may move the focus back a moment after a key
            if page.evaluate(here, selector):
                return
    raise AssertionError(f"the Tab key does not reach {selector}")


def test_an_exercise_from_stub_to_passed_check(browser: Any, lab: str) -> None:
    page = opened(browser, lab.format(EXERCISES))
    place = {cell["id"]: index for index, cell in enumerate(page.evaluate(CELLS))}

    def run(name: str) -> str:
        page.evaluate(COMMAND, ["notebook:run-cell", 120_000, place[name]])
        return json.dumps(page.evaluate(CELLS)[place[name]]["outputs"], ensure_ascii=False)

    assert "error" not in run("imports")
    run("e1-answer")
    stub = run("e1-check")
    assert "✗" in stub
    assert "✓" not in stub
    solution = nbformat.read(ROOT / "solutions" / LESSON, as_version=4)
    answer = next(cell.source for cell in solution.cells if cell.id == "e1-answer")
    editor = page.locator(".jp-Notebook .jp-Cell").nth(place["e1-answer"]).locator(".cm-content")
    editor.click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(answer)
    assert "error" not in run("e1-answer")
    passed = run("e1-check")
    assert "✓" in passed
    assert "✗" not in passed
    page.context.close()
