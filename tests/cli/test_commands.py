"""The commands as a reader meets them: in a process of their own, or through `main`."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tlcourse import assets
from tlcourse.cli import lab, main
from tlcourse.cli.course import START, CommandError, lesson, lessons, root
from tlcourse.cli.parser import build_parser

COMMANDS = ("lab", "run", "fetch", "assets", "doctor", "exercises", "progress", "recipe", "release", "capstone")


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """A course folder with three lessons that hold nothing."""
    (tmp_path / "notebooks").mkdir()
    for name in ("00_start_here", "01_why_transfer", "02_what_transfers"):
        (tmp_path / "notebooks" / f"{name}.ipynb").write_text("{}")
    return tmp_path


def test_without_a_command_the_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    for command in COMMANDS:
        assert f"  {command} " in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leave:
        main([command, "--help"])
    assert leave.value.code == 0
    assert f"examples:\n  tlcourse {command}" in capsys.readouterr().out


def test_every_example_in_the_help_is_a_command_that_parses() -> None:
    parser = build_parser()
    texts = [parser.epilog or ""]
    texts += [p.epilog or "" for p in parser._subparsers._group_actions[0].choices.values()]  # type: ignore
    examples = [line.strip() for text in texts for line in text.splitlines() if "tlcourse " in line[:40]]
    assert len(examples) > 15
    for example in examples:
        command = example.split("  ")[0].split(" > ")[0].split("tlcourse ", 1)[1].split()
        if command[0] != "COMMAND":
            parser.parse_args(command)


def test_help_is_quick_because_it_loads_nothing_heavy() -> None:
    code = "import sys; from tlcourse.cli.parser import build_parser; build_parser(); print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


def test_the_installed_command_is_this_one() -> None:
    script = Path(sys.executable).with_name("tlcourse")
    assert subprocess.check_output([script, "--version"], text=True).startswith("tlcourse 0.")


def test_root_is_the_nearest_course_above(course: Path) -> None:
    (course / "exercises" / "deep").mkdir(parents=True)
    assert root(course / "exercises" / "deep") == course


def test_without_a_course_the_error_says_where_to_go(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "tlcourse.cli.course.__file__", str(tmp_path / "site-packages" / "tlcourse" / "cli" / "course.py")
    )
    monkeypatch.chdir(tmp_path)
    assert main(["lab"]) == 1
    assert "Change to the folder that you cloned" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["1", "01", "01_why_transfer", "why_transfer", "notebooks/01_why_transfer.ipynb"])
def test_a_lesson_has_many_names(course: Path, name: str) -> None:
    assert lesson(course, name).name == "01_why_transfer.ipynb"


def test_an_unknown_lesson_names_the_near_one_and_all(course: Path) -> None:
    with pytest.raises(CommandError, match=r"Did you mean why_transfer\?.*00_start_here, 01_why_transfer, 02_what"):
        lesson(course, "why_transfr")
    assert list(lessons(course)) == ["00", "01", "02"]


def test_run_refuses_an_unknown_lesson_before_it_runs_any(
    course: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(course)
    assert main(["run", "00", "99"]) == 1
    captured = capsys.readouterr()
    assert "tlcourse: no lesson '99'" in captured.err
    assert captured.out == ""


def test_assets_lists_all_with_state_and_licence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["assets"]) == 0
    shown = capsys.readouterr().out
    for asset in assets.table():
        row = next(line for line in shown.splitlines() if line.startswith(f"{asset.name} "))
        assert asset.licence in row
        assert "ok" in row.split()


def test_assets_shows_one_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["assets", "emoji_openmoji"]) == 0
    shown = capsys.readouterr().out
    assert "CC-BY-SA-4.0" in shown
    assert "HfG" in shown  # its citation


@pytest.mark.parametrize("command", ["fetch", "assets"])
def test_an_unknown_asset_is_a_message_not_a_traceback(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "openmoji"]) == 1
    assert capsys.readouterr().err.startswith("tlcourse: no asset is called 'openmoji'; did you mean emoji_openmoji")


def test_fetch_says_where_everything_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "minilm", "emojibase"]) == 0
    assert f"2 of 2 assets are in place in {assets.home()}" in capsys.readouterr().out


def test_absent_assets_are_reported_with_the_command_to_run(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", "from tlcourse.cli import main; raise SystemExit(main(['assets']))"],
        env={**os.environ, "TLCOURSE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert "Not here yet: efficientnet_lite0" in run.stdout
    assert run.stdout.rstrip().endswith("Run: tlcourse fetch")


@pytest.mark.parametrize("command", [["doctor", "--offline"], ["progress"]])
def test_what_is_printed_into_a_file_on_windows_keeps_its_marks(command: list[str]) -> None:
    run = subprocess.run(
        [sys.executable, "-c", f"from tlcourse.cli import main; main({command})"],
        env={**os.environ, "PYTHONIOENCODING": "cp1252"},  # what Python takes for files there
        capture_output=True,
    )
    assert not run.stderr, run.stderr.decode("utf-8")
    assert set(run.stdout.decode("utf-8")) & set("✓✗○●")


def test_a_reader_that_has_seen_enough_is_no_defect() -> None:
    program = f"{shlex.quote(sys.executable)} -c 'from tlcourse.cli import main; main([\"assets\"])'"
    run = subprocess.run(["sh", "-c", f"{program} | true"], capture_output=True, text=True)
    assert not run.stderr, run.stderr


def test_errors_of_others_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(names: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(assets, "fetch", broken)
    with pytest.raises(RuntimeError, match="a defect"):
        main(["fetch"])


def test_an_interrupt_ends_with_a_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(names: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(assets, "fetch", interrupted)
    assert main(["fetch"]) == 130
    assert "Run the same command again" in capsys.readouterr().err


def test_lab_opens_even_when_fetching_fails(
    course: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from jupyterlab.labapp import LabApp

    def offline() -> None:
        raise assets.AssetUnavailable("no network; run `tlcourse fetch` later")

    served: list[list[str]] = []
    monkeypatch.setattr(assets, "fetch", offline)
    monkeypatch.setattr(LabApp, "launch_instance", served.append)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(course)
    assert main(["lab", "--no-browser", "--port", "9123", "--", "--ServerApp.quit_button=False"]) == 0
    assert "no network" in capsys.readouterr().err
    (options,) = served
    assert "--ServerApp.ip=127.0.0.1" in options
    assert "--ServerApp.port=9123" in options
    assert "--no-browser" in options
    assert options[-1] == "--ServerApp.quit_button=False"
    assert os.environ["PATH"].startswith(str(Path(sys.executable).parent))


def test_lab_has_a_new_token_at_every_start_and_opens_the_first_lesson(course: Path) -> None:
    options = lab.server_arguments(course, port=8888, browser=True, token="secret")
    assert "--IdentityProvider.token=secret" in options
    assert f"--LabApp.default_url=/lab/tree/{START.as_posix()}" in options
    assert "--no-browser" not in options
