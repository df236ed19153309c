"""The table of `make bench`, and that it notices a lesson over its budget."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))


@pytest.mark.parametrize(
    ("seconds", "memory", "failure", "over"),
    [
        (30.0, 1.0, "", False),
        (61.0, 1.0, "", True),
        (30.0, 3.1, "", True),
        (5.0, None, "", True),
        (5.0, 1.0, "NameError", True),
    ],
)
def test_a_lesson_over_its_budget_is_a_failure(seconds: float, memory: float | None, failure: str, over: bool) -> None:
    from benchmarks import lessons
    from tlcourse.lesson.execute import Run

    run = Run(Path("01_why_transfer.ipynb"), claims=("a",), seconds=seconds, memory_gb=memory, failure=failure)
    found = lessons.failures([lessons.row(run)])
    assert bool(found) == over
    if over:
        assert found[0].startswith("01_why_transfer: ")
        assert found[0].endswith("budget 60 s, 3 GB")


def test_a_slow_first_run_gets_a_second_on_warm_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import lessons
    from tlcourse.lesson.execute import Run

    seconds = iter([90.0, 20.0])
    monkeypatch.setattr(lessons, "lessons", lambda root: {"01": Path("01_a.ipynb")})
    monkeypatch.setattr(
        lessons,
        "execute",
        lambda path, progress: Run(path, claims=(), seconds=next(seconds), memory_gb=1.0, failure=""),
    )
    assert lessons.failures(lessons.main()) == []


def test_the_table_and_the_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from benchmarks import __main__ as bench

    fast, slow = ModuleType("benchmarks.fast"), ModuleType("benchmarks.slow")
    fast.main = lambda: [("fit", "1.0 s", "0.9 s", 1.111, "10 steps")]  # type: ignore
    slow.main = lambda: [("lesson", "70 s", "60 s", 1.167, "")]  # type: ignore
    slow.failures = lambda rows: [f"{rows[0][0]} is over"]  # type: ignore
    monkeypatch.setitem(sys.modules, "benchmarks.fast", fast)
    monkeypatch.setitem(sys.modules, "benchmarks.slow", slow)
    monkeypatch.setattr(bench, "names", lambda: ["fast", "slow"])
    monkeypatch.setattr(bench, "HERE", tmp_path)
    assert bench.run(["fast"]) == 0
    assert "lesson" not in (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert "fit   1.0 s  0.9 s           1.11   10 steps" in capsys.readouterr().out
    assert bench.run([]) == 1
    assert "✗ lesson is over" in capsys.readouterr().out
    page = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert page.count("| fit | 1.0 s | 0.9 s | 1.11 | 10 steps |") == 1
    assert "- lesson is over" in page
    fast.main = lambda: [("fit", "0.8 s", "0.9 s", 0.889, "10 steps")]  # type: ignore
    bench.run(["fast"])
    again = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert again == page.replace("1.0 s | 0.9 s | 1.11", "0.8 s | 0.9 s | 0.89"), "one section is replaced"
    assert bench.run(["fats"]) == 2


def test_every_benchmark_of_the_folder_has_a_main() -> None:
    from benchmarks.__main__ import names

    assert "lessons" in names()
    for name in names():
        assert "def main(" in (ROOT / "benchmarks" / f"{name}.py").read_text(encoding="utf-8"), name


def test_medians_alternate_the_order() -> None:
    from benchmarks._clock import medians

    calls: list[str] = []
    seconds = medians(lambda: calls.append("a"), lambda: calls.append("b"), rounds=3)
    assert "".join(calls) == "baabba"
    assert len(seconds) == 2
