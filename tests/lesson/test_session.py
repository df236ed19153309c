"""Claims, budget and the one line at the start."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from IPython.utils.capture import RichOutput, capture_output

import tlcourse as tl
from tlcourse.checks import progress
from tlcourse.lesson import budget
from tlcourse.lesson.session import BudgetExceeded, ClaimFailed, Lesson


def summary(lesson: Lesson) -> RichOutput:
    with capture_output() as shown:
        lesson.finish()
    (output,) = shown.outputs
    return output


def test_start_prints_one_line_and_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    tl.start("05_lora", seed=3)
    first = torch.rand(1), np.random.rand(), random.random()
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("Lesson 05_lora: seed 3, device ")
    assert line.endswith("; budget 60 s and 3 GB")
    tl.start("05_lora", seed=3)
    assert (torch.rand(1), np.random.rand(), random.random()) == first
    tl.start("05_lora", seed=4)
    assert torch.rand(1) != first[0]


def test_start_asks_for_large_pages_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")
    tl.start("05_lora")
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "0"
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE")
    tl.start("05_lora")
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "1"


@pytest.mark.parametrize("name", ["5_lora", "05_lora.ipynb", "lora", "05 lora", ""])
def test_start_wants_the_notebooks_name(name: str) -> None:
    with pytest.raises(ValueError, match=r'without "\.ipynb"'):
        tl.start(name)


@pytest.mark.parametrize("yes", [True, np.bool_(True), torch.tensor(True), torch.tensor([True]), np.array([True])])
def test_claim_that_holds_is_printed(yes: object, capsys: pytest.CaptureFixture[str]) -> None:
    lesson = Lesson("05_lora")
    lesson.claim("few weights move", yes, "1.2 %")
    lesson.claim("and fast", yes)
    assert capsys.readouterr().out == "✓ few weights move (1.2 %)\n✓ and fast\n"


@pytest.mark.parametrize("no", [False, np.bool_(False), torch.tensor(False)])
def test_claim_that_fails_says_so_without_traceback(no: object, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ClaimFailed, match=r"^few weights move \(12 %\)\n  This run does not show") as caught:
        Lesson("05_lora").claim("few weights move", no, "12 %")
    assert caught.value._render_traceback_()[0].startswith("✗ few weights move (12 %)\n")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("unclear", [0.7, 1, None, "yes", np.array([True, False]), torch.ones(2) > 0, math.nan])
def test_claim_wants_one_yes_or_no(unclear: object) -> None:
    with pytest.raises(TypeError, match="must be one yes or no"):
        Lesson("05_lora").claim("text", unclear)


def test_claim_wants_words() -> None:
    with pytest.raises(ValueError, match="state the finding"):
        Lesson("05_lora").claim(" ", True)


def test_finish_sums_up_beside_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "peak_memory_gb", lambda: 1.5)
    lesson = Lesson("05_lora", seconds=45, memory_gb=2)
    lesson.claim("a", True, "1")
    lesson.claim("b", True)
    output = summary(lesson)
    facts = output.metadata["tlcourse"]["finish"]
    assert facts["claims"] == ["✓ a (1)", "✓ b"]
    assert facts["memory_gb"] == 1.5
    assert 0 <= facts["seconds"] < 60
    lines = output.data["text/plain"].splitlines()
    assert lines[:3] == ["Lesson 05_lora: 2 of 2 claims hold", "✓ a (1)", "✓ b"]
    assert lines[3].startswith("time")
    assert lines[3].endswith("budget 45 s")
    assert lines[4] == "memory    1.50 GB  budget 2 GB (peak)"


def test_finish_fails_on_a_failed_claim_until_it_is_mended() -> None:
    lesson = Lesson("05_lora", memory_gb=1000)
    lesson.claim("a", True)
    with pytest.raises(ClaimFailed):
        lesson.claim("b", False)
    with pytest.raises(ClaimFailed, match="1 of 2 claims"):
        summary(lesson)
    lesson.claim("b", True)
    assert summary(lesson).data["text/plain"].startswith("Lesson 05_lora: 2 of 2")


def test_finish_fails_on_memory_but_never_on_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "peak_memory_gb", lambda: 2.1)
    with pytest.raises(BudgetExceeded, match=r"2\.10 GB is above the budget of 2 GB"):
        summary(Lesson("05_lora", memory_gb=2))
    summary(Lesson("05_lora", memory_gb=2.2, seconds=0))


def test_finish_notes_the_lesson_only_when_a_reader_runs_it(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("TLCOURSE_PROGRESS", str(tmp_path / "p.json"))
    monkeypatch.setenv("TLCOURSE_HEADLESS", "1")
    summary(Lesson("05_lora", memory_gb=1000))
    assert progress.read().lessons == {}
    monkeypatch.delenv("TLCOURSE_HEADLESS")
    summary(Lesson("05_lora", memory_gb=1000))
    assert list(progress.read().lessons) == ["05"]


def test_peak_memory_sees_what_was_freed_again() -> None:
    before = budget.peak_memory_gb()
    assert 0.01 < before < 100
    wanted = int((before + 0.3) * 1e9)
    block = bytearray(wanted)
    block[::4096] = b"x" * len(block[::4096])
    del block
    assert budget.peak_memory_gb() > before + 0.2


def test_peak_memory_is_not_that_of_the_process_that_started_this_one() -> None:
    ask = "from tlcourse.lesson.budget import peak_memory_gb as peak; print(peak())"
    start = f"import subprocess, sys; held = b'x' * 600_000_000; subprocess.run([sys.executable, '-c', {ask!r}])"
    told = subprocess.check_output([sys.executable, "-c", start], text=True)
    assert float(told) < 0.4
