"""Memory of the native operators, each measured in a process of its own."""

from __future__ import annotations

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


def run(code: str, **variables: str) -> str:
    environment = dict(os.environ, **variables)
    return subprocess.run(
        [sys.executable, "-c", SET_UP + code], check=True, capture_output=True, text=True, env=environment
    ).stdout


@pytest.mark.parametrize("huge_pages", ["0", "1"])
def test_nothing_beside_the_result_is_in_memory(huge_pages):
    code = """
import os
for name, call in calls.items():
    child = os.fork()
    if not child:
        print(name, peak_memory(call) / (4 * pred.numel()), flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""
    lines = run(code, MMLANDMARK_HUGE_PAGES=huge_pages).splitlines()
    maps = {name: float(taken) for name, taken in map(str.split, lines)}
    assert maps == pytest.approx(dict(ewc=1, soft_argmax=1, heatmap=1, loss=0), abs=0.15)


@pytest.mark.skipif(
    not HUGE_PAGES.exists() or "[madvise]" not in HUGE_PAGES.read_text(),
    reason="only where Linux gives huge pages to those who ask can their effect be seen",
)
@pytest.mark.parametrize(("wish", "given"), [("0", False), ("1", True)])
def test_large_maps_are_in_huge_pages(wish, given):
    code = """
maps = calls["heatmap"]()
rollup = open("/proc/self/smaps_rollup").read()
print(next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("AnonHugePages")))
"""
    kilobytes = int(run(code, MMLANDMARK_HUGE_PAGES=wish))
    assert (kilobytes >= 8 << 10) == given
