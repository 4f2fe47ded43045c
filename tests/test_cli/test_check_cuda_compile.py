"""The report of ptxas is read right, and a spill is an error."""

from __future__ import annotations

from mmlandmark.cli import check_cuda_compile, invoke

REPORT = """
ptxas info    : Compiling entry function '_Z4loopIfEvT_' for 'sm_80'
ptxas info    : Function properties for _Z4loopIfEvT_
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 4096 bytes smem, 400 bytes cmem[0]
ptxas info    : Compiling entry function '_Z4loopIfEvT_' for 'sm_90'
ptxas info    : Function properties for _Z4loopIfEvT_
    16 bytes stack frame, 12 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 38 registers, used 1 barriers, 4096 bytes smem
"""


def test_report_keeps_the_most_of_all_gpus():
    kernels = check_cuda_compile.kernels_of(REPORT)
    assert kernels == {"_Z4loopIfEvT_": dict(registers=40, stack=16, spilled=20, shared=4096)}


def test_without_nvcc_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert invoke("check-cuda-compile", []) == 0
    assert "no nvcc on this machine" in capsys.readouterr().out


def test_a_spill_fails(monkeypatch, capsys):
    monkeypatch.setattr(check_cuda_compile, "compile_kernels", lambda *_: REPORT)
    monkeypatch.setattr(check_cuda_compile, "check_torch_side", lambda _: "checked")
    monkeypatch.setattr(check_cuda_compile, "readable", lambda names: {name: name for name in names})
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert invoke("check-cuda-compile", ["--archs", "80", "90"]) == 1
    assert "registers are spilled by _Z4loopIfEvT_" in capsys.readouterr().err
