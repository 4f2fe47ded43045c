"""tools/draw_figures.py: from the command line to a picture."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import pytest

from mmlandmark.apis import train_config
from mmlandmark.testing import tiny_config

ROOT = Path(__file__).parents[2]
_SPEC = importlib.util.spec_from_file_location("draw_figures", ROOT / "tools" / "draw_figures.py")
tool = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(tool)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    train_config(tiny_config(folder, max_epochs=1, **{"model.backbone.widths": (4, 8, 8)}))
    return folder


@pytest.mark.parametrize(
    ("figure", "arguments"),
    [
        ("features", ["--modules", "a=backbone.down1,backbone.up1", "b=backbone.up1,backbone.up2"]),
        ("configuration", ["--cfg-options", "test_dataloader.dataset.offset=5"]),
    ],
)
def test_figures_of_checkpoints(figure, arguments, folder, tmp_path, capsys):
    path = tmp_path / "out" / "figure.png"
    sources = [f"a={folder}", f"b={folder / 'epoch_1.pth'}"]
    tool.main([figure, *sources, "--out", str(path), *arguments])
    assert capsys.readouterr().out == f"wrote {path}\n"
    assert cv2.imread(str(path)) is not None


def test_weights_of_configs(tmp_path):
    path = tmp_path / "weights.png"
    config = ROOT / "configs" / "farnet" / "farnet_densenet-narrow_isbi2015_160x128_cpu.py"
    tool.main(["loss-weights", str(config), "--out", str(path)])
    assert cv2.imread(str(path)) is not None


def test_names(tmp_path):
    assert tool.named(["runs/a/epoch_1.pth", "runs/b", "c=x=y/z.py"]) == {
        "a": "runs/a/epoch_1.pth",
        "b": "runs/b",
        "c": "x=y/z.py",
    }
    with pytest.raises(ValueError, match="two sources are called 'a'"):
        tool.named(["runs/a", "a=b"])
    with pytest.raises(ValueError, match=r"--modules names \['c'\]; the sources are \['a'\]"):
        tool.main(["features", "a=x", "--modules", "c=neck", "--out", str(tmp_path / "f.png")])
