"""tools/slurm_train.sh with commands in place of those of Slurm."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "tools" / "slurm_train.sh"
# The code of each call is a line of `codes`; a call whose code is `wait` waits for a warning.
SRUN = """#!/usr/bin/env bash
trap 'echo warned >> warnings; exit 75' USR1
echo "$@" >> calls
echo "$PWD $PYTHONPATH" > where
code=$(sed -n "$(wc -l < calls)p" codes)
if [ "$code" = wait ]; then while true; do sleep 0.05; done; fi
exit "$code"
"""

SCONTROL = """#!/usr/bin/env bash
if [ "$1" = show ]; then printf 'JobId=1\\n   Command=%s gpu name c.py\\n   WorkDir=/\\n' "$SCRIPT"; exit; fi
echo "$@" > "$FAKE/requeued"
"""


@pytest.fixture
def slurm(tmp_path):
    """Return what starts the script, with codes that srun ends with, in a folder for what is called."""
    for name, text in dict(srun=SRUN, scontrol=SCONTROL).items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)

    def start(*codes, script=SCRIPT, **environment):
        (tmp_path / "codes").write_text("".join(f"{code}\n" for code in codes))
        variables = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
        variables.update(FAKE=str(tmp_path), PATH=f"{tmp_path}:{os.environ['PATH']}", **environment)
        words = ["bash", script, "gpu", "name", "c.py", "--seed", "1"]
        return subprocess.Popen(words, env=variables, stderr=subprocess.PIPE, text=True, cwd=tmp_path)

    return start


def calls(folder) -> list[str]:
    return (folder / "calls").read_text().splitlines()


def test_slurm_warns_and_the_code_is_that_of_the_run(slurm, tmp_path):
    process = slurm(3, GPUS="4", GPUS_PER_NODE="2", WARN_SECONDS="300")
    assert process.wait(60) == 3
    (call,) = calls(tmp_path)
    assert "--signal=USR1@300 --ntasks=4 --ntasks-per-node=2" in call
    assert call.endswith(f"{SCRIPT.parent}/train.py c.py --launcher slurm --seed 1")
    folder, path = (tmp_path / "where").read_text().split()
    assert folder == str(tmp_path), "a config and results are relative to where the user is"
    assert path.split(":")[0] == str(SCRIPT.parents[1])


def test_sbatch_runs_a_copy_of_the_script(slurm, tmp_path):
    copied = tmp_path / "spool" / "job1" / "slurm_script"
    copied.parent.mkdir(parents=True)
    copied.write_bytes(SCRIPT.read_bytes())
    assert slurm(0, script=copied, SLURM_JOB_ID="4711", SCRIPT=str(SCRIPT)).wait(60) == 0
    assert f"{SCRIPT.parent}/train.py c.py" in calls(tmp_path)[0]
    process = slurm(0, script=copied)
    assert process.wait(60) == 2
    assert "start this script from a clone of the repository" in process.stderr.read()


def test_a_run_that_stopped_is_queued_again(slurm, tmp_path):
    process = slurm(75, 75, 0)
    assert process.wait(60) == 0
    assert [call.count("--resume") > 0 for call in calls(tmp_path)] == [False, True, True]
    assert process.stderr.read().count("queued again, with --resume") == 2


def test_a_batch_job_is_requeued(slurm, tmp_path):
    assert slurm(75, SLURM_JOB_ID="4711").wait(60) == 75
    assert (tmp_path / "requeued").read_text() == "requeue 4711\n"
    assert "--resume" not in calls(tmp_path)[0]
    (tmp_path / "calls").unlink()
    assert slurm(0, SLURM_JOB_ID="4711", SLURM_RESTART_COUNT="1").wait(60) == 0
    assert calls(tmp_path)[0].endswith("--seed 1 --resume")


@pytest.mark.parametrize(("number", "again"), [(signal.SIGTERM, False), (signal.SIGUSR1, True)])
def test_a_signal_to_the_script_reaches_the_run(slurm, tmp_path, number, again):
    process = slurm("wait", 0)
    deadline = time.monotonic() + 60
    while not (tmp_path / "calls").is_file():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.2)
    process.send_signal(number)
    assert process.wait(60) == (0 if again else 75)
    assert (tmp_path / "warnings").read_text() == "warned\n"
    assert len(calls(tmp_path)) == 1 + again
