"""The report must come out whatever is broken, say what to do, and give nothing private away."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from tlcourse import assets
from tlcourse.cli import checkup, classroom, doctor, main
from tlcourse.cli.finding import Finding


def test_a_sound_machine_has_no_problem(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--offline"]) == 0, capsys.readouterr().out
    shown = capsys.readouterr().out
    for topic in ("Python", "packages", "device", "threads", "memory", "assets", "disk", "kernel", "settings"):
        assert f" {topic} " in shown
    assert "network" not in shown
    assert "✗" not in shown


def test_a_problem_sets_the_exit_status_and_its_remedy_is_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> Finding:
        return Finding("disk", "problem", "0.1 GB free", "Free 2 GB.")

    monkeypatch.setattr(checkup, "CHECKS", (checkup.python, broken))
    assert main(["doctor"]) == 1
    shown = capsys.readouterr().out
    assert "✗ disk    0.1 GB free" in shown
    assert "What to do:\n✗ disk: Free 2 GB." in shown
    assert "1 problem" in shown


def test_a_check_that_breaks_is_part_of_the_report() -> None:
    def half_installed() -> Finding:
        raise ImportError("libtorch.so: no such file")

    finding = doctor.examine(half_installed)
    assert finding.state == "problem"
    assert "libtorch.so" in finding.value


def test_the_report_shortens_the_home_folder() -> None:
    text = doctor.report([Finding("assets", "ok", f"all in {Path.home()}/.cache")])
    assert str(Path.home()) not in text
    assert "~/.cache" in text


def test_missing_and_outdated_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["numpy>=99", "no-such-package>=1", "ruff>=99; extra == 'dev'"]
    monkeypatch.setattr(checkup.metadata, "requires", lambda name: wanted)
    finding = checkup.packages()
    assert finding.state == "problem"
    assert "numpy" in finding.value
    assert "needs >=99" in finding.value
    assert "no-such-package missing" in finding.value
    assert "ruff" not in finding.value  # not a reader's business
    assert "pip install" in finding.remedy


@pytest.mark.parametrize(
    ("states", "state", "remedy"),
    [
        ({"minilm": "ok", "smollm2": "absent"}, "note", "tlcourse fetch"),
        ({"minilm": "corrupt: model.safetensors", "smollm2": "absent"}, "problem", "tlcourse fetch"),
        ({"minilm": "ok", "smollm2": "ok"}, "ok", ""),
    ],
)
def test_assets_absent_or_damaged(
    states: dict[str, str], state: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assets, "verify", lambda: states)
    finding = checkup.cache()
    assert finding.state == state
    assert remedy in finding.remedy


def test_a_full_disk_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1e8))
    finding = checkup.disk()
    assert finding.state == "problem"
    assert "TLCOURSE_HOME" in finding.remedy


def test_the_disk_of_a_cache_that_does_not_exist_yet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TLCOURSE_HOME", str(tmp_path / "not" / "yet"))
    assert "free" in checkup.disk().value


@pytest.mark.parametrize(("cores", "threads", "state"), [(4, 4, "ok"), (2, 8, "note"), (1, 1, "note")])
def test_threads_beside_the_cores(cores: int, threads: int, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import joblib
    import torch

    monkeypatch.setattr(joblib, "cpu_count", lambda: cores)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    finding = checkup.threads()
    assert finding.state == state
    assert (f"OMP_NUM_THREADS={cores}" in finding.remedy) == (threads > cores)


def test_little_memory_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1e9, total=8e9))
    assert checkup.memory().state == "note"


def test_no_index_is_a_note_with_a_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = tmp_path / "pip.conf"
    settings.write_text("[global]\nno-index = true\n")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(settings))
    finding = checkup.network()
    assert finding.state == "note"
    assert "pip config list" in finding.remedy


def test_a_kernel_of_another_python_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    from jupyter_client.kernelspec import KernelSpecManager

    monkeypatch.setattr(
        KernelSpecManager, "get_kernel_spec", lambda self, name: SimpleNamespace(argv=["/opt/other/bin/python"])
    )
    finding = checkup.kernel()
    assert finding.state == "problem"
    assert "ipykernel install --sys-prefix" in finding.remedy
    assert "kernelspec remove" in finding.remedy, "it does not exist any more"
    monkeypatch.setattr(classroom.shutil, "which", lambda program: program)
    assert "kernelspec remove" not in checkup.kernel().remedy


def test_another_environment_is_activated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path))
    finding = checkup.environment()
    assert finding.state == "note"
    assert str(tmp_path) in finding.remedy


def test_the_course_of_another_folder_is_a_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "tlcourse").mkdir()
    (tmp_path / "notebooks" / "00_start_here.ipynb").touch()
    assert checkup.environment().state == "ok"
    monkeypatch.chdir(tmp_path)
    finding = checkup.environment()
    assert finding.state == "problem"
    assert "pip install -e" in finding.remedy


def test_a_read_only_home_is_a_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(dir: Path) -> None:
        raise OSError(30, "Read-only file system")

    assert checkup.folders().state == "ok"
    monkeypatch.setenv("TLCOURSE_PROGRESS", str(tmp_path / "not" / "yet" / "progress.json"))
    assert checkup.folders().state == "ok"
    assert not (tmp_path / "not").exists(), "the report leaves nothing behind"
    monkeypatch.setattr(classroom.tempfile, "TemporaryFile", refuse)
    finding = checkup.folders()
    assert finding.state == "problem"
    for name in ("TLCOURSE_PROGRESS", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR", "the notebooks"):
        assert name in finding.value


def test_a_taken_port_is_a_note_and_a_blocked_machine_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        monkeypatch.setattr(classroom, "PORT", server.getsockname()[1])
        assert checkup.port().state == "note"
    assert checkup.port().state == "ok"

    def refuse(address: object, timeout: float) -> None:
        raise PermissionError("blocked")

    monkeypatch.setattr(classroom.socket, "create_connection", refuse)
    finding = checkup.port()
    assert finding.state == "problem"
    assert "firewall" in finding.remedy


def test_a_proxy_that_catches_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    assert checkup.proxy().state == "ok"
    monkeypatch.setenv("http_proxy", "http://user:secret@proxy:3128")
    finding = checkup.proxy()
    assert finding.state == "note"
    assert "no_proxy" in finding.remedy
    assert "secret" not in finding.value + finding.remedy
    monkeypatch.setenv("no_proxy", "localhost,127.0.0.1")
    assert checkup.proxy().state == "ok"


def test_settings_show_proxies_by_name_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://user:password@proxy")
    monkeypatch.setenv("TLCOURSE_DEVICE", "cpu")
    value = checkup.settings().value
    assert "https_proxy is set" in value
    assert "TLCOURSE_DEVICE=cpu" in value
    assert "password" not in value
