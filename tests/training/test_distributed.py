"""The shipped example gives the same weights on one process and on two."""

from __future__ import annotations

import re
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

EXAMPLE = Path(__file__).parents[2] / "examples" / "distributed_fit.py"
# 1,797 digits: an epoch is two updates of 2 x 449 pictures, which two processes share unevenly, and one update of a
# single picture, of which the second process has none.
SETTING = ["--steps", "9", "--batch-size", "449", "--accumulate", "2"]


def test_two_processes_train_the_same_weights_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("TLCOURSE_DEVICE", "cpu")
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), "--out", str(tmp_path / "one"), *SETTING])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    alone = capsys.readouterr().out

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    launcher = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--multi_gpu"]
    launcher += ["--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    done = subprocess.run(
        [*launcher, "--main_process_port", str(port), str(EXAMPLE), "--out", str(tmp_path / "two"), *SETTING],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert re.findall(r"processes \d", alone + done.stdout) == ["processes 1", "processes 2"], "one report from each"
    assert re.findall(r"last loss [\d.]{5}", done.stdout) == re.findall(r"last loss [\d.]{5}", alone)

    one, two = load_file(tmp_path / "one"), load_file(tmp_path / "two")
    assert one.keys() == two.keys()
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-6
