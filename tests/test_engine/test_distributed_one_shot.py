"""Two ranks, forks of this process, learn from one template: the same features and labels, and one result."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmlandmark import apis
from mmlandmark.cli import invoke
from mmlandmark.engine import LandmarkRunner, latest_checkpoint, plan_of_stages, stage_to_test
from mmlandmark.testing import phantom_dataloader, tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint
from two_processes import (
    in_two,
    need_nodes,
    need_two_processes,
    nodes_by_namespaces,
    on_two_nodes,
    same_weights,
)

DETECTOR = dict(
    _delete_=True,
    type="TemplateDetector",
    data_preprocessor=dict(type="LandmarkDataPreprocessor", mean=0.4, std=0.25, channels=1),
    backbone=dict(type="UNet", in_channels=1, widths=(4, 6), out_indices=(0, 1), norm_cfg=dict(type="BN")),
    neck=dict(type="AdapterDecoder", adapter_channels=0, embedding=4, widths=(4,), receptive_fields=1),
    head=dict(
        type="TemplateHead",
        num_landmarks=19,
        codec=dict(type="GaussianHeatmapCodec", sigma=2.0, decoder="argmax"),
    ),
    contrast=dict(type="CascadeContrastLoss"),
)
TEMPLATE = dict(type="TemplateHook", template=dict(offset=7, num_samples=1))
LABELS = dict(type="PseudoLabelHook", selector=dict(type="KeepAll"))
UNSEEN = dict(val_cfg=None, val_dataloader=None, val_evaluator=None)


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> Path:
    """Train CC2D, then adapters on its weights and labels, and test, all in two processes."""
    need_two_processes()
    folder = tmp_path_factory.mktemp("both")
    loader = phantom_dataloader(num_samples=8)  # two steps
    loader["dataset"]["unlabelled"] = True
    adapters = dict(
        neck=dict(adapter_channels=2, independent=True),
        patches=dict(around="landmarks", one_landmark=True),
    )
    config = tiny_config(
        folder / "run",
        max_epochs=1,
        model=DETECTOR,
        train_dataloader=loader,
        custom_hooks=[TEMPLATE],
        stages=[
            dict(name="ssl", **UNSEEN),
            dict(name="adapters", load_from="run:ssl:last", model=adapters, custom_hooks=[TEMPLATE, LABELS]),
        ],
        test_dataloader=phantom_dataloader(num_samples=5, batch_size=1, train=False, offset=100),
    )
    config.dump(folder / "one_shot.py")
    in_two(invoke, "train", [str(folder / "one_shot.py")])
    record = str(folder / "record.json")
    in_two(invoke, "test", [str(folder / "one_shot.py"), "--no-figures", "--record", record])
    return folder


@pytest.mark.slow
def test_two_processes_report_what_one_reports(both, tmp_path):
    together = json.loads((both / "record.json").read_text())["metrics"]
    config = Config.fromfile(both / "one_shot.py")
    config.launcher = "none"
    alone = apis.test_config(config, apis.find_checkpoint(config, None), out_dir=tmp_path)
    assert together["num_images"] == 5
    assert together == alone, "to the last digit"


@pytest.mark.slow
@nodes_by_namespaces
def test_two_nodes_learn_from_a_template_as_one_node_does(both, tmp_path, namespaces):
    """The features of the template, pseudo labels and weights are the same, bit by bit."""
    need_nodes(namespaces)
    words = ("train", both / "one_shot.py", "--work-dir", tmp_path / "nodes")
    done = on_two_nodes(*words, cwd=tmp_path, namespaces=namespaces)
    assert done.returncode == 0, done.stderr[-3000:]
    assert load_checkpoint(both / "run" / "01_ssl" / "epoch_1.pth")["meta"]["iter"] == 2
    for stage in ("01_ssl", "02_adapters"):
        same_weights(both / "run" / stage / "epoch_1.pth", tmp_path / "nodes" / stage / "epoch_1.pth")
    name = "02_adapters/pseudo_labels/epoch_0.json"
    assert (both / "run" / name).read_bytes() == (tmp_path / "nodes" / name).read_bytes()


@pytest.mark.slow
def test_the_checkpoint_holds_the_features_that_one_process_encodes(both, tmp_path):
    """It is what a test in one process, which encodes them anew, predicts with."""
    checkpoint = latest_checkpoint(both / "run" / "02_adapters")
    config = Config.fromfile(both / "one_shot.py")
    tested = stage_to_test(config, config.work_dir, "adapters")
    tested.launcher, tested.load_from, tested.work_dir = "none", str(checkpoint), str(tmp_path)
    runner = LandmarkRunner.from_cfg(tested)
    runner.test()
    saved, encoded = load_checkpoint(checkpoint)["state_dict"], runner.model.state_dict()
    names = [name for name in encoded if name.startswith("head.template")]
    assert names
    for name in names:
        torch.testing.assert_close(encoded[name], saved[name], rtol=0, atol=1e-6)
        assert saved[name].any()


@pytest.mark.slow
def test_two_processes_label_as_one(both, tmp_path):
    config = Config.fromfile(both / "one_shot.py")
    config.launcher, config.work_dir = "none", str(tmp_path)
    second = plan_of_stages(config, str(tmp_path)).children[1].config
    second.load_from = str(latest_checkpoint(both / "run" / "01_ssl"))
    LandmarkRunner.from_cfg(second).train()
    name = Path("pseudo_labels", "epoch_0.json")
    ours = json.loads((both / "run" / "02_adapters" / name).read_text())
    theirs = json.loads((Path(second.work_dir) / name).read_text())
    assert ours == theirs
