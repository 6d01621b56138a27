"""Two processes under torchrun, killed and started again. Slow: six interpreters load PyTorch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from training.run_folder import CHECKPOINT, LOG

STEPS = 40
PATIENCE = 300  # seconds on a busy machine; the test waits for a checkpoint, not for the clock


def started(out: Path) -> subprocess.Popen[bytes]:
    out.mkdir(exist_ok=True)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launch, "-m", "tests.discs", str(out), str(STEPS)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)


def losses(out: Path) -> list[dict[str, float]]:
    records = [json.loads(line) for line in (out / LOG).read_text().splitlines()]
    return [{name: value for name, value in record.items() if name not in ("time", "phase")} for record in records]


@pytest.mark.slow
@pytest.mark.timeout(3 * PATIENCE)
@pytest.mark.skipif(sys.platform == "win32", reason="exit codes of killed processes are POSIX's")
def test_two_killed_processes_resume_to_the_same_loss_curve(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert started(whole).wait(PATIENCE) == 0

    run, begun = started(killed), time.monotonic()
    while not (killed / CHECKPOINT).exists() and run.poll() is None and time.monotonic() < begun + PATIENCE:
        time.sleep(0.02)
    launcher = psutil.Process(run.pid)
    everybody = [launcher, *launcher.children(recursive=True)]  # workers lead sessions of their own
    for process in everybody:
        process.kill()
    psutil.wait_procs(everybody[1:])
    assert run.wait() == -9  # killed
    assert started(killed).wait(PATIENCE) == 0

    assert [record["step"] for record in losses(whole)] == [10, 20, 30, 40]
    assert losses(killed) == losses(whole)
