"""What is read of the processor, on machines that are described here."""

import pytest

from mmlandmark.utils import cpu

X86 = "processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\nflags\t\t: fpu avx512f {}\n\nprocessor\t: 1\n"
ARM = "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd {}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (X86.format("avx512_bf16"), True),
        (X86.format("amx_bf16"), True),
        (X86.format("avx512_vnni"), False),
        (ARM.format("bf16"), True),
        (ARM.format("sve"), False),
        ("processor: 0\n", None),
        (None, None),
    ],
)
def test_instructions_for_bfloat16(tmp_path, monkeypatch, text, expected):
    info = tmp_path / "cpuinfo"
    if text is not None:
        info.write_text(text)
    monkeypatch.setattr(cpu, "_INFO", info)
    assert cpu.has_bfloat16() is expected


def test_the_name(tmp_path, monkeypatch):
    info = tmp_path / "cpuinfo"
    info.write_text(X86)
    monkeypatch.setattr(cpu, "_INFO", info)
    assert cpu.cpu_model() == "Some CPU @ 2.00GHz"
    info.write_text(ARM)
    monkeypatch.setattr(cpu.platform, "processor", lambda: "")
    monkeypatch.setattr(cpu.platform, "machine", lambda: "aarch64")
    assert cpu.cpu_model() == "aarch64"
