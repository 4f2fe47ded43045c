"""Time and memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from mmlandmark.testing.measure import kernel_launches, median_ratio, paired_times

ROOT = Path(__file__).parents[2]
SIZE = 2**26


def test_functions_take_turns_and_each_is_measured_in_every_round():
    calls = []
    functions = {name: lambda name=name: calls.append(name) for name in "abc"}
    seconds = paired_times(functions, rounds=3, warmup=2)
    assert {name: len(times) for name, times in seconds.items()} == dict(a=3, b=3, c=3)
    assert calls[:6] == list("aabbcc")  # warm-up
    measured = calls[6::2]  # each is called once more right before it is measured
    assert measured == list("abcbcacab")


def test_times_are_seconds():
    seconds = paired_times(dict(short=lambda: None, long=lambda: time.sleep(0.02)), rounds=3)
    assert min(seconds["long"]) >= 0.02
    assert max(seconds["short"]) < 0.02
    assert median_ratio([2.0, 9.0, 4.0], [1.0, 3.0, 2.0]) == 2


@pytest.mark.slow
def test_peak_memory_is_what_a_call_needs_beyond_what_was_in_use():
    # In a process of its own: one that has trained keeps the memory it frees.
    code = (
        "import torch\n"
        "from mmlandmark.testing.measure import peak_memory\n"
        f"kept = torch.zeros({SIZE}, dtype=torch.uint8)\n"
        f"print(peak_memory(lambda: torch.zeros({SIZE}, dtype=torch.uint8)))"
    )
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    if done.stdout.strip() == "None":
        pytest.skip("this system does not tell the memory of a process")
    assert 0.9 * SIZE < int(done.stdout) < 1.5 * SIZE


@pytest.mark.skipif(not torch.cuda.is_available(), reason="kernels run on a GPU")
def test_kernels_are_counted_and_copies_are_not():
    x = torch.ones(8, device="cuda")
    assert kernel_launches(lambda: x + 1) == 1
    assert kernel_launches(lambda: x.clone()) == 0
