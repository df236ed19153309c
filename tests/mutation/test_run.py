"""The mutation tester itself: which mutants there are, which are drawn, and that a bad test is told from a good one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
SOURCE = '''"""A docstring with 1 + 1."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numbers import Number

Kind = int | None
__all__ = ["total"]


def total(values: "list[Number]", extra: int | None = None) -> int | float:
    """Sum of `values`, from 10."""
    if not isinstance(values, list | tuple):
        raise ValueError(f"values has {3 - 2} fault")
    result = 10
    for value in values:
        result = result + value
    return abs(result) if result >= 0 else abs(result)
'''
TEST = """from tlcourse.toy.sums import total


def test_total():
    assert total([1, 2]) == 13
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose package has the name of ours, and is not ours."""
    for path, text in {
        "tlcourse/__init__.py": "",
        "tlcourse/toy/__init__.py": "",
        "tlcourse/toy/sums.py": SOURCE,
        "tests/toy/test_sums.py": TEST,
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, "utf-8")
    return tmp_path


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))


def test_the_mutants_are_always_the_same_and_leave_text_and_annotations_alone(project: Path):
    from mutants import enumerate_mutants

    found = enumerate_mutants(project, "tlcourse/toy/sums.py")
    assert found == enumerate_mutants(project, "tlcourse/toy/sums.py")
    assert {mutant.line for mutant in found} == {14, 16, 17, 18, 19}
    for mutant in found:
        assert mutant.applied(SOURCE) != SOURCE
        assert mutant.was in " ".join(SOURCE.split())
    assert ("result = result + value", "result = result - value") in {(mutant.was, mutant.now) for mutant in found}


def test_the_sign_before_keywords_is_no_product(tmp_path: Path):
    from mutants import enumerate_mutants

    (tmp_path / "a.py").write_text("def f(a, *, b):\n    return a * b\n", "utf-8")
    assert [(mutant.line, mutant.now) for mutant in enumerate_mutants(tmp_path, "a.py")] == [(2, "return a / b")]


def test_a_sample_is_repeatable_and_spread():
    from mutants import Mutant, sample

    everything = [Mutant(f"{i // 10}.py", i, "AddNot", 0, "", "") for i in range(50)]
    drawn = sample(everything, 5, seed=3)
    assert drawn == sample(everything, 5, seed=3)
    assert drawn != sample(everything, 5, seed=4)
    assert [mutant.file for mutant in drawn] == ["0.py", "1.py", "2.py", "3.py", "4.py"]
    assert sample(everything, 80, seed=0) == everything
    seen = {mutant.line for seed in range(200) for mutant in sample(everything, 5, seed)}
    assert len(seen) == 50


def test_wilsons_interval():
    """Against the worked figures of Newcombe (1998), table I: 81 of 263 gives 0.2553 to 0.3662, 0 of 20 0 to 0.1611."""
    from run import wilson

    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)


def judge(project: Path) -> tuple[dict[str, str], dict[str, int]]:
    """The verdict on every mutant, by the line that it makes, and the row of the table."""
    command = [sys.executable, str(HERE / "run.py"), "toy", "--root", str(project), "--cold", "--sample", "100"]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=100)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    judged = {lines[i + 2].strip()[2:]: line.split()[0] for i, line in enumerate(lines) if "sums.py:" in line}
    return judged, json.loads(lines[-1])


def test_a_fault_is_killed_and_one_that_changes_nothing_survives(project: Path):
    judged, row = judge(project)
    assert judged["result = result - value"] == "killed"
    assert judged["for value in []:"] == "killed"
    assert judged["return abs(result) if result > 0 else abs(result)"] == "survived"
    assert judged["return abs(result) if not result >= 0 else abs(result)"] == "survived"
    assert row["killed"] == sum(verdict == "killed" for verdict in judged.values()) < row["sampled"]
    assert (project / "tlcourse/toy/sums.py").read_text("utf-8") == SOURCE


def test_a_fault_that_breaks_the_import_of_a_conftest_is_killed(project: Path):
    (project / "tlcourse/toy/sums.py").write_text("FIRST = [1][0]\n", "utf-8")
    (project / "tests/toy/conftest.py").write_text("import tlcourse.toy.sums\n", "utf-8")
    (project / "tests/toy/test_sums.py").write_text("def test_nothing():\n    pass\n", "utf-8")
    judged, _ = judge(project)
    assert judged["FIRST = [1][ 1]"] == "killed"
    assert judged["FIRST = [ 2][0]"] == "survived"
