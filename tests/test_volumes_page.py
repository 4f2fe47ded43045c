"""The page on volumes is run as it stands, on small heads and in a few seconds."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest

from mmlandmark.cli.entry import invoke
from mmlandmark.structures import apply_matrix, swap_lps_ras
from test_docs import ROOT, blocks, commands

PAGE = ROOT / "docs" / "volumes.md"
# What is given another value, so that the test takes seconds.
SHORT = {"--num-train": ["8"], "--num-test": ["2"], "--size": ["24", "32", "32"], "--minutes": ["0.05"]}


def shortened(arguments: list[str]) -> list[str]:
    """Return the arguments of a command with the values of ``SHORT``."""
    short: list[str] = []
    skipping = False
    for word in arguments:
        skipping = skipping and not word.startswith("-")
        if skipping:
            continue
        short.append(word)
        if word in SHORT:
            short += SHORT[word]
            skipping = True
    return short


def test_commands_of_the_page_lead_from_a_folder_to_points_in_mm(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ran = [words[1:] for words in commands(PAGE) if words[0] == "mmlandmark"]
    assert [words[0] for words in ran] == [
        "phantoms", "convert", "plan", "train", "test", "browse", "pack", "predict",
    ]  # fmt: skip
    for command, *arguments in ran:
        assert not invoke(command, shortened(arguments)), (command, capsys.readouterr().out[-1500:])
    said = capsys.readouterr().out
    for line in ("spacing ", "extent ", "orientation ", "values ", "split ", "mirrors "):
        assert f"  {line}" in said
    report = (tmp_path / "my_heads" / "run" / "test" / "report.md").read_text()
    assert "Errors in mm" in report
    assert (tmp_path / "sheet.png").is_file()
    volumes = sorted((tmp_path / "heads" / "images").iterdir())
    assert len(volumes) == 10
    assert len(list((tmp_path / "predictions" / "overlays").iterdir())) == 10

    module: dict = {}
    exec(compile("\n".join(blocks(PAGE, "python")), str(PAGE), "exec"), module)
    found = module["landmarks_in_mm"](tmp_path / "heads.mml.pth", volumes[0])
    stem = volumes[0].name.removesuffix(".nii.gz")
    markups = json.loads((tmp_path / "predictions" / "slicer" / f"{stem}.mrk.json").read_text())["markups"][0]
    assert markups["coordinateSystem"] == "LPS"
    placed = {p["label"]: p["position"] for p in markups["controlPoints"] if p["positionStatus"] == "defined"}
    assert len(placed) > 5
    for name, position in placed.items():
        assert position == pytest.approx(found[name], abs=1e-3)
    image = nibabel.load(volumes[0])
    voxels = apply_matrix(np.linalg.inv(swap_lps_ras(image.affine)), np.array(list(placed.values())))
    assert ((voxels > -1) & (voxels < np.array(image.shape))).all()
