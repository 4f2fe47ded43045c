"""mmlandmark flops: what a config's detector costs."""

import json

import pytest

from mmlandmark.cli import invoke
from mmlandmark.testing import tiny_config


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "tiny.py"
    tiny_config(tmp_path / "run").dump(path)
    return path


def test_it_counts_and_measures(config, tmp_path, capsys):
    out = tmp_path / "cost.json"
    invoke("flops", [str(config), "--rounds", "2", "--out", str(out)])
    printed = capsys.readouterr().out
    assert "one image of 1 x 64 x 64" in printed
    found = json.loads(out.read_text())
    rows = {row["module"]: row for row in found["modules"]}
    # 1 -> 8 -> 8, 8 -> 16 -> 16 at a quarter, 24 -> 8 -> 8; head 8 -> 19.
    pixels = 64 * 64
    macs = 9 * (8 + 64 + (128 + 256) // 4 + 192 + 64) * pixels + 8 * 19 * pixels
    assert rows["total"]["macs"] == macs
    assert rows["total"]["macs"] == rows["backbone"]["macs"] + rows["head"]["macs"]
    assert f"{macs / 1e9:.5g}" in printed
    assert f"{macs / 2**30:.10g}" in printed
    assert found["latency_seconds"] > 0
    assert found["threads"] >= 1


def test_a_size_can_be_given(config, capsys):
    invoke("flops", [str(config), "--rounds", "0", "--size", "32", "64", "--depth", "1"])
    printed = capsys.readouterr().out
    assert "one image of 1 x 32 x 64" in printed
    assert "latency" not in printed
    assert "backbone.up1" not in printed


def test_any_stage_can_be_counted(tmp_path, capsys):
    config = tiny_config(tmp_path / "run")
    wide = dict(backbone=dict(widths=(16, 32)))
    config.stages = [dict(name="teacher", model=wide), dict(name="student")]
    config.dump(tmp_path / "two.py")
    totals = []
    for words in ([], ["--stage", "student"], ["--stage", "teacher"]):
        invoke("flops", [str(tmp_path / "two.py"), "--rounds", "0", "--depth", "0", *words])
        totals.append(next(line for line in capsys.readouterr().out.splitlines() if line.startswith("total")))
    assert totals[0] == totals[1] != totals[2]
    with pytest.raises(ValueError, match="no stage 'x'"):
        invoke("flops", [str(tmp_path / "two.py"), "--stage", "x"])


def test_a_record_lies_beside_the_config(config, tmp_path, capsys):
    invoke("flops", [str(config), "--rounds", "0", "--record"])
    record = json.loads((tmp_path / "costs" / "tiny.json").read_text())
    total = next(row for row in record["modules"] if row["module"] == "total")
    assert record["models"] == 1
    assert record["parameters"] == total["parameters"] > 0
    assert "models: 1" in capsys.readouterr().out
    invoke("flops", [str(config), "--rounds", "0", "--record", str(tmp_path / "arms" / "wide.json")])
    assert (tmp_path / "arms" / "wide.json").is_file()
    with pytest.raises(SystemExit):
        invoke("flops", [str(config), "--record", "--out", str(tmp_path / "other.json")])


def test_without_any_size_it_asks(tmp_path):
    config = tiny_config(tmp_path / "run")
    config.test_dataloader.dataset.pipeline = [dict(type="LoadImage")]
    config.dump(tmp_path / "tiny.py")
    with pytest.raises(ValueError, match="give --size H W"):
        invoke("flops", [str(tmp_path / "tiny.py")])
