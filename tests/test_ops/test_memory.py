"""Memory of the native operators, each measured in a process of its own."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmlandmark.ops import backend

HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
SET_UP = """
import torch
from mmlandmark.ops import ewc_loss, gaussian_heatmap, soft_argmax
from mmlandmark.testing.measure import peak_memory
pred = torch.randn(1, 8, 512, 1024, requires_grad=True)
points = torch.full((1, 8, 2), 200.0)
calls = {
    "ewc": lambda: torch.autograd.grad(ewc_loss(pred, points, 4.0), pred),
    "soft_argmax": lambda: torch.autograd.grad(soft_argmax(pred, 10.0).sum(), pred),
    "heatmap": lambda: gaussian_heatmap(points, (512, 1024), 4.0),
    "loss": lambda: ewc_loss(pred.detach(), points, 4.0),
}
"""

pytestmark = [
    pytest.mark.skipif(backend().name != "native", reason="the twins take what PyTorch takes"),
    pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads /proc"),
]


LINUX_HAS_THEM = HUGE_PAGES.exists() and "[never]" not in HUGE_PAGES.read_text()


@functools.cache
def measured(huge_pages: str) -> str:
    """Return what a process says of either test: every import takes seconds."""
    code = """
import os
for name, call in calls.items():
    child = os.fork()
    if not child:
        print(name, peak_memory(call) / (4 * pred.numel()), flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
maps = calls["heatmap"]()
middle = maps.data_ptr() + maps.nbytes // 2
inside = False
for line in open("/proc/self/smaps"):
    start = line.split()[0]
    if "-" in start:
        first, last = (int(end, 16) for end in start.split("-"))
        inside = first <= middle < last
    elif inside and start == "VmFlags:":
        print("hg", int("hg" in line.split()))
"""
    environment = dict(os.environ, MMLANDMARK_HUGE_PAGES=huge_pages)
    words = [sys.executable, "-c", SET_UP + code]
    return subprocess.run(words, check=True, capture_output=True, text=True, env=environment).stdout


@pytest.mark.slow
@pytest.mark.parametrize("huge_pages", ["0", "1"])
def test_nothing_beside_the_result_is_in_memory(huge_pages):
    lines = map(str.split, measured(huge_pages).splitlines())
    maps = {name: float(taken) for name, taken in lines if name != "hg"}
    assert maps == pytest.approx(dict(ewc=1, soft_argmax=1, heatmap=1, loss=0), abs=0.15)


@pytest.mark.skipif(not LINUX_HAS_THEM, reason="only where Linux has huge pages can they be asked for")
@pytest.mark.parametrize("wish", ["0", "1"])
def test_large_maps_ask_for_huge_pages(wish):
    # How many it gets is for Linux to say, by how broken up the memory is: "hg" is that it was asked.
    assert f"hg {wish}" in measured(wish).splitlines()
