"""`@check` and its ready-made tests: what a reader sees, and that nothing wrong slips through."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.interactiveshell import InteractiveShell

from tlcourse.checks import progress
from tlcourse.checks.base import CheckFailed, check
from tlcourse.checks.expect import close, expect, number, raises, tensor


@check
def doubles(double) -> None:
    """Twice its input, for any shape.

    This line is not shown.
    """
    x = torch.randn(3, 4)
    close(double(x), 2 * x, tried="double(x)", misconception="Multiply by 2, do not add 2.")


def double(x: torch.Tensor) -> torch.Tensor:
    return 2 * x


def failed(answer: object) -> CheckFailed:
    with pytest.raises(CheckFailed) as caught:
        doubles(answer)
    return caught.value


def test_pass_prints_what_holds(capsys: pytest.CaptureFixture[str]) -> None:
    doubles(double)
    assert capsys.readouterr().out == "✓ double: Twice its input, for any shape\n"


def test_failure_says_what_was_tried_what_came_out_and_why() -> None:
    failure = failed(lambda x: x + 2)
    assert failure.tried == "double(x)"
    assert failure.got.startswith("differs from the right result by up to ")
    assert failure.misconception == "Multiply by 2, do not add 2."


def test_failure_is_shown_without_traceback_in_short_lines() -> None:
    error = CheckFailed(tried="a", got="word " * 60, misconception="b", name="LoRALinear")
    shell = InteractiveShell.instance()
    try:
        raise error
    except CheckFailed:
        (text,) = error._render_traceback_()
        shown: list[str] = []
        shell._showtraceback = lambda kind, value, lines: shown.extend(lines)  # type: ignore[method-assign]
        shell.showtraceback()
    assert shown == [text]
    lines = text.splitlines()
    assert lines[:2] == ["✗ LoRALinear", "  Tried:    a"]
    assert lines[-1] == "  Likely:   b"
    assert max(map(len, lines)) <= 96
    assert lines[3].startswith(" " * 12 + "word"), "further lines stand below the text"


@pytest.mark.parametrize("answer", [None, ...])
def test_values_left_open_are_not_written_yet(answer: object) -> None:
    assert "Not written yet" in failed(answer).misconception


def test_stub_is_not_written_yet_but_a_worded_error_is_the_readers() -> None:
    def stub(x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError()

    def refuses(x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError("no 3-d input")

    assert "Not written yet" in failed(stub).misconception
    assert "NotImplementedError: no 3-d input" in failed(refuses).got


def test_readers_exception_names_its_line() -> None:
    def halves(x: torch.Tensor) -> torch.Tensor:
        return x @ x

    failure = failed(halves)
    assert failure.tried == "calling your code"
    assert failure.got.startswith("it stopped with RuntimeError: ")
    assert "of `halves`: `return x @ x`" in failure.misconception


def test_what_a_check_cannot_use_is_the_answers_fault() -> None:
    failure = failed("a string")
    assert "TypeError: 'str' object is not callable" in failure.got


def test_wrong_type_shape_and_nan_are_told() -> None:
    assert failed(lambda x: None).misconception == "Is the `return` missing?"
    assert failed(lambda x: x.tolist()).got == "list, not a tensor"
    assert failed(lambda x: 2 * x.T).got == "shape (4, 3), not (3, 4)"
    assert failed(lambda x: 2 * x[:1]).got == "shape (1, 4), not (3, 4)", "must not pass by broadcasting"
    assert failed(lambda x: x * float("nan")).got == "NaN or infinity"


def test_inputs_are_fresh_and_the_readers_random_state_is_kept() -> None:
    seen = []

    def spy(x: torch.Tensor) -> torch.Tensor:
        seen.append(x[0, 0].item())
        random.random(), np.random.rand()
        return 2 * x

    torch.manual_seed(0), np.random.seed(0), random.seed(0)
    expected = torch.rand(1).item(), np.random.rand(), random.random()
    torch.manual_seed(0), np.random.seed(0), random.seed(0)
    doubles(spy), doubles(spy)
    assert len(set(seen)) == 2
    assert (torch.rand(1).item(), np.random.rand(), random.random()) == expected


def test_pass_is_noted_failure_is_not(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("TLCOURSE_PROGRESS", str(tmp_path / "p.json"))

    def test(answer: object) -> None:
        """Anything but 1."""
        expect(answer != 1, tried="", got="1", misconception="")

    test.__module__ = "tlcourse.checks.lesson42"
    noted = check(test)
    with pytest.raises(CheckFailed):
        noted(1)
    assert progress.read().checks == {}
    noted(2)
    assert list(progress.read().checks["42"]) == ["test"]


def test_a_check_without_docstring_is_refused() -> None:
    with pytest.raises(ValueError, match="'silent' needs a docstring"):

        @check
        def silent(answer: object) -> None:
            pass


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 10))
def test_close_accepts_within_tolerance_and_nothing_else(value: float, gap: float) -> None:
    words = {"tried": "t", "misconception": "m"}
    close(value, value, **words)
    close(torch.tensor([value]), torch.tensor([value]), **words)
    off = value + 2 * gap * max(1.0, abs(value))
    with pytest.raises(CheckFailed):
        close(off, value, tolerance=gap, **words)
    with pytest.raises(CheckFailed):
        close(torch.tensor([off + gap]), torch.tensor([value]), tolerance=gap, **words)


@pytest.mark.parametrize("kind", [float, lambda value: torch.full((2, 3), value)], ids=["number", "tensor"])
def test_close_tells_a_known_mistake_and_never_holds_it_against_what_is_right(kind: Callable[[float], object]) -> None:
    words = {"tried": "t", "misconception": "another mistake"}
    known = [(kind(float("inf")), "infinite"), (kind(1.0), "not doubled"), (kind(3.0), "added")]
    with pytest.raises(CheckFailed, match="added"):
        close(kind(3.0), kind(2.0), known=known, **words)
    with pytest.raises(CheckFailed, match="another mistake"):
        close(kind(5.0), kind(2.0), known=known, **words)
    close(kind(1.0), kind(1.0), known=known, **words)


@pytest.mark.parametrize("value", [3, 3.0, np.float32(3), np.array([3.0]), torch.tensor(3.0), torch.tensor([[3]])])
def test_number_accepts_what_is_one_number(value: object) -> None:
    assert number(value, tried="t") == 3.0


@pytest.mark.parametrize("value", [None, "three", torch.ones(2), [3], float("nan"), float("inf"), torch.tensor(1) / 0])
def test_number_refuses_everything_else(value: object) -> None:
    with pytest.raises(CheckFailed):
        number(value, tried="t")


def test_tensor_is_detached() -> None:
    assert not tensor(torch.ones(2, requires_grad=True), tried="t").requires_grad


def test_raises_wants_this_error() -> None:
    def bad(error: Exception) -> None:
        raise error

    words = {"tried": "k too large", "misconception": "Refuse."}
    raises(ValueError, lambda: bad(ValueError()), **words)
    with pytest.raises(CheckFailed, match="no error, but int"):
        raises(ValueError, lambda: 3, **words)
    with pytest.raises(CheckFailed, match="KeyError, not ValueError"):
        raises(ValueError, lambda: bad(KeyError()), **words)
    with pytest.raises(NotImplementedError):
        raises(ValueError, lambda: bad(NotImplementedError()), **words)
