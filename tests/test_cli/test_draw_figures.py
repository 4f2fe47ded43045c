"""mmlandmark draw-figures: from the command line to a picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from mmlandmark.apis import train_config
from mmlandmark.cli import draw_figures, invoke
from mmlandmark.testing import tiny_config

ROOT = Path(__file__).parents[2]


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
    invoke("draw-figures", [figure, *sources, "--out", str(path), *arguments])
    assert capsys.readouterr().out == f"wrote {path}\n"
    assert cv2.imread(str(path)) is not None


def test_weights_of_configs(tmp_path):
    path = tmp_path / "weights.png"
    config = ROOT / "configs" / "farnet" / "farnet_densenet-narrow_isbi2015_160x128_cpu.py"
    invoke("draw-figures", ["loss-weights", str(config), "--out", str(path)])
    assert cv2.imread(str(path)) is not None


def test_names(tmp_path):
    assert draw_figures.named(["runs/a/epoch_1.pth", "runs/b", "c=x=y/z.py"]) == {
        "a": "runs/a/epoch_1.pth",
        "b": "runs/b",
        "c": "x=y/z.py",
    }
    with pytest.raises(ValueError, match="two sources are called 'a'"):
        draw_figures.named(["runs/a", "a=b"])
    with pytest.raises(ValueError, match=r"--modules names \['c'\]; the sources are \['a'\]"):
        invoke("draw-figures", ["features", "a=x", "--modules", "c=neck", "--out", str(tmp_path / "f.png")])
