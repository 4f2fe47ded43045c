"""A process on a CPU keeps the memory it frees."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from mmlandmark.utils.host_memory import keep_freed_memory

if sys.argv[1] == "keep":
    print("kept", keep_freed_memory())
for _ in range(20):  # glibc 2.36 needs a few rounds until a freed block fits the next aligned one
    torch.ones(16 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    torch.ones(16 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(argument: str) -> int:
    """Return how often the kernel had to map memory while 64 MiB were taken and freed eight times."""
    lines = subprocess.run(
        [sys.executable, "-c", PROGRAM, argument], check=True, capture_output=True, text=True
    ).stdout.split("\n")
    assert ("kept True" in lines) == (argument == "keep")
    return int(lines[-2])


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_memory_of_freed_tensors_is_used_again():
    assert page_faults("keep") < 100 < 1000 < page_faults("leave")


RETURNING = """
from pathlib import Path
from mmlandmark.utils.host_memory import keep_freed_memory, return_freed_memory

def pages():
    return int(Path("/proc/self/statm").read_text().split()[0])

print(keep_freed_memory())
before = pages()
taken = bytearray(1 << 30)
del taken
kept = pages() - before
print(return_freed_memory(), kept * 4096 >= 1 << 30, (pages() - before) * 4096 < 1 << 28)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has malloc_trim")
def test_kept_memory_can_be_returned():
    done = subprocess.run([sys.executable, "-c", RETURNING], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["True"] * 4
